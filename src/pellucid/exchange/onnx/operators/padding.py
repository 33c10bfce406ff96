"""Pad: a constant around the input, its border, its mirror image or the input again; less of it for negative pads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.moving import moved
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor, Value
from pellucid.exchange.onnx.writing import axis_names, cell
from pellucid.nn.equations.notation import system
from pellucid.nn.layer import Shape

__all__: list[str] = []

_MODES = ("constant", "edge", "reflect", "wrap")


@operator("Pad", static={1, 3})
def pad(node: Node) -> Value:
    """Cells before and behind along each axis."""
    x = node.tensor(0)
    mode = node.text("mode", "constant", choices=_MODES)
    pads = _pads(node, x)
    shape = tuple(extent + before + after for extent, (before, after) in zip(x.shape, pads, strict=True))
    if min(shape, default=1) < 0:
        raise ShapeError(f"`pads` {pads} leave nothing of input 0 {x.shape}")
    node.program.check_size(shape)
    padded = [axis for axis, sides in enumerate(pads) if any(sides)]
    constants = {f"P{axis}": pads[axis][0] for axis in padded}
    if not padded:
        return x
    if 0 in shape:
        return node.empty(shape, x.dtype)
    if mode == "wrap":
        constants |= {f"N{axis}": x.shape[axis] for axis in padded}
        return moved(node, x, shape, {axis: f"({{}} - P{axis})%N{axis}" for axis in padded}, constants)
    if mode == "constant":
        return _constant(node, x, shape, padded, constants)
    return _mirrored(node, x, shape, pads, padded, border=mode == "edge")


def _pads(node: Node, x: Tensor) -> list[tuple[int, int]]:
    """Cells before and after each axis."""
    if node.version < 11:
        given, axes = node.integers("pads"), tuple(range(x.rank))
    else:
        given = node.known_integers(1)
        axes = node.checked_axes(node.known_integers(3) if node.given(3) else range(x.rank), x.rank)
    if len(given) != 2 * len(axes):
        node.damaged(f"`pads` {given} must have {2 * len(axes)} numbers, has {len(given)}")
    sides = [(0, 0)] * x.rank
    for axis, before, after in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
        sides[axis] = (before, after)
    return sides


def _constant(node: Node, x: Tensor, shape: Shape, padded: Sequence[int], constants: Mapping[str, int]) -> Value:
    """What is read outside of the input is 0; any other value is chosen by where the cell stands."""
    value = node.number("value", 0.0) if node.version < 11 else node.scalar(2) if node.given(2) else 0.0
    indices = {axis: f"{{}} - P{axis}" for axis in padded}
    if value == 0:
        return moved(node, x, shape, indices, constants)
    names = axis_names(x.rank, x.order)
    read = [indices[axis].format(name) if axis in indices else name for axis, name in enumerate(names)]
    inside = " and ".join(f"0 <= {read[axis]} and {read[axis]} < N{axis}" for axis in padded)
    numbers: dict[str, int | float] = {**constants, **{f"N{axis}": x.shape[axis] for axis in padded}}
    sources = {"x": x}
    outside = "V"
    if value is None:
        fill = node.tensor(2)
        if fill.size != 1:
            node.damaged(f"input 2 {fill.shape} must be one number")
        sources["v"] = fill
        outside = cell("v", ["0"] * fill.rank)
    else:
        numbers["V"] = value
    text = f"{cell('z', names, x.order)} = where({inside}, {cell('x', read, x.order)}, {outside})"
    step = system(text, constants=numbers, extents={names[axis]: shape[axis] for axis in padded})
    return node.emit(step, sources, shape, x.order)


def _mirrored(
    node: Node, x: Tensor, shape: Shape, pads: Sequence[tuple[int, int]], padded: Sequence[int], *, border: bool
) -> Tensor:
    """The border, or the mirror image at it, one axis after the other."""
    final = axis_names(x.rank, x.order)
    texts: list[str] = []
    constants: dict[str, int] = {}
    for number, axis in enumerate(padded):
        extent = x.shape[axis]
        if not border and max(pads[axis]) >= extent:
            raise ShapeError(f"`pads` {pads[axis]} along axis {axis} must be below its extent (={extent})")
        constants |= {f"P{axis}": pads[axis][0], f"L{axis}": extent - 1}
        # Axes that are still as long as the input's have another name than the result's.
        names = [f"{name}0" if place in padded[number + 1 :] else name for place, name in enumerate(final)]
        name, source = names[axis], "x" if number == 0 else f"y{number - 1}"

        below, above = ("0", f"L{axis}") if border else (f"P{axis} - {name}", f"2*L{axis} + P{axis} - {name}")
        before, own, after = (
            cell(source, [*names[:axis], index, *names[axis + 1 :]], x.order)
            for index in (below, f"{name} - P{axis}", above)
        )
        target = cell("z" if axis == padded[-1] else f"y{number}", names, x.order)
        inner = f"where({name} <= L{axis} + P{axis}, {own}, {after})"
        texts.append(f"{target} = where({name} < P{axis}, {before}, {inner})")
    step = system(*texts, constants=constants, extents={final[axis]: shape[axis] for axis in padded})
    return node.emit(step, {"x": x}, shape, x.order)
