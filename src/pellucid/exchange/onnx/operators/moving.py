"""Operators that move values and compute nothing: they join, cut, pad, repeat and rearrange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Tensor, Value, channels_last
from pellucid.exchange.onnx.writing import access, axis_names, broadcast_shape, cell
from pellucid.nn.equations import shape as equations
from pellucid.nn.equations.notation import system
from pellucid.nn.layer import Shape

__all__ = ["moved"]


def moved(
    node: Node,
    x: Tensor,
    shape: Shape,
    indices: Mapping[int, str],
    constants: Mapping[str, int],
    *,
    part: str = "",
) -> Tensor | Host:
    """A tensor of `shape`, standing in memory as `x` does, that reads `x` along some axes at another index.

    An index is written with `{}` for the axis' own name. Where it is outside of `x` the result is 0.
    """
    if 0 in shape:
        return node.empty(shape, x.dtype)
    names = axis_names(x.rank, x.order)
    read = [indices[axis].format(name) if axis in indices else name for axis, name in enumerate(names)]
    step = system(
        f"{cell('z', names, x.order)} = {cell('x', read, x.order)}",
        constants=constants,
        extents={names[axis]: shape[axis] for axis in indices},
    )
    return node.emit(step, {"x": x}, shape, x.order, part=part)


@operator("Concat")
def concatenate(node: Node) -> Value:
    """The inputs one behind the other, arranged in memory as the first that is computed."""
    values = [node.value(number) for number in range(len(node.inputs))]
    if not values:
        node.damaged("it has no inputs")
    first = values[0].shape
    axis = node.axis(len(first))
    for value in values:
        if len(value.shape) != len(first) or any(
            extent != own for place, (extent, own) in enumerate(zip(value.shape, first, strict=True)) if place != axis
        ):
            raise ShapeError(f"inputs {first} and {value.shape} must agree in every axis but {axis}")
    tensors = [node.as_tensor(value) for value in values if 0 not in value.shape]
    if len(tensors) < 2:
        return tensors[0] if tensors else values[0]
    order = next((x.order for x in tensors if x.host is None), tensors[0].order)
    sources = {f"x{number}": node.arranged(x, order) for number, x in enumerate(tensors)}
    step = equations.concatenate([x.memory for x in sources.values()], dim=order.index(axis))
    extent = sum(x.shape[axis] for x in tensors)
    return node.emit(step, sources, (*first[:axis], extent, *first[axis + 1 :]), order)


@operator("Split", static={1})
def split(node: Node) -> list[Value | None]:
    """Parts of the input along an axis."""
    x = node.tensor(0)
    axis = node.axis(x.rank, 0)
    results: list[Value | None] = []
    start = 0
    for number, size in enumerate(_parts(node, x.shape[axis])):
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        wanted = node.wants(number)
        made = moved(node, x, shape, {axis: "{} + O"}, {"O": start}, part=str(number)) if wanted else None
        results.append(made)
        start += size
    return results


@operator("Slice", static={1, 2, 3, 4})
def cut(node: Node) -> Value:
    """Every `step`-th element from a start to an end, along some axes."""
    x = node.tensor(0)
    starts, ends, given, steps = _bounds(node)
    axes = node.checked_axes(range(len(starts)) if given is None else given, x.rank)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.damaged(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} must have one length")
    if 0 in steps:
        node.damaged(f"its steps {steps} must not be 0")
    shape = list(x.shape)
    indices: dict[int, str] = {}
    constants: dict[str, int] = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        first, last, by = slice(start, end, step).indices(x.shape[axis])
        shape[axis] = len(range(first, last, by))
        if shape[axis] == x.shape[axis] and by > 0:
            continue
        by = by if shape[axis] > 1 else 1
        constants[f"A{axis}"] = first
        indices[axis] = f"{{}} + A{axis}" if by == 1 else f"{{}}*S{axis} + A{axis}"
        if by != 1:
            constants[f"S{axis}"] = by
    return moved(node, x, tuple(shape), indices, constants) if indices else x


@operator("Expand", static={1})
def expand(node: Node) -> Value:
    """Broadcast to a shape."""
    x = node.tensor(0)
    shape = broadcast_shape([x.shape, node.known_integers(1)])
    if shape == x.shape:
        return x
    if any(extent < 1 for extent in shape):
        return node.empty(shape, x.dtype) if min(shape) == 0 else node.damaged(f"its shape {shape} is negative")
    added = len(shape) - x.rank
    order = (*range(added), *(axis + added for axis in x.order))
    names = axis_names(len(shape), order)
    extents = dict(zip(names, shape, strict=True))
    step = system(f"{cell('z', names, order)} = {access('x', x, shape, names)}", extents=extents)
    return node.emit(step, {"x": x}, shape, order, weights={"x": "value"})


@operator("Tile", static={1})
def tile(node: Node) -> Value:
    """The input so many times along each axis."""
    x = node.tensor(0)
    repeats = node.known_integers(1)
    if len(repeats) != x.rank or any(repeat < 0 for repeat in repeats):
        node.damaged(f"its repeats {repeats} must be {x.rank} numbers from 0")
    axes = [axis for axis in range(x.rank) if repeats[axis] != 1]
    shape = tuple(extent * repeat for extent, repeat in zip(x.shape, repeats, strict=True))
    constants = {f"N{axis}": x.shape[axis] for axis in axes}
    return moved(node, x, shape, {axis: f"{{}}%N{axis}" for axis in axes}, constants) if axes else x


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Tensor:
    """Channels become blocks of cells: in the order (row, column, channel), or (channel, row, column)."""
    x, block = _blocks(node)
    if x.shape[1] % block**2:
        raise ShapeError(f"input 0 {x.shape} must have channels divisible by `blocksize` squared (={block**2})")
    mode = node.text("mode", "DCR", choices=("CRD", "DCR"))
    step = (
        equations.depth_to_space(x.memory, block=block)
        if mode == "DCR"
        else equations.pixel_shuffle(x.memory, upscale_factor=block)
    )
    shape = (x.shape[0], x.shape[1] // block**2, x.shape[2] * block, x.shape[3] * block)
    return node.emit(step, {"x": x}, shape, x.order)


@operator("SpaceToDepth")
def space_to_depth(node: Node) -> Tensor:
    """Blocks of cells become channels, in the order (row, column, channel) or (channel, row, column)."""
    x, block = _blocks(node)
    if x.shape[2] % block or x.shape[3] % block:
        raise ShapeError(f"input 0 {x.shape} must have height and width divisible by `blocksize` (={block})")
    shape = (x.shape[0], x.shape[1] * block**2, x.shape[2] // block, x.shape[3] // block)
    if node.text("mode", "DCR", choices=("CRD", "DCR")) == "DCR":
        step = equations.space_to_depth(x.memory, block=block)
    else:
        step = system(
            "z[n,i,j,c*R*R + s*R + t] = x[n,i*R + s,j*R + t,c]",
            constants={"R": block},
            extents={"i": shape[2], "j": shape[3], "s": block, "t": block},
        )
    return node.emit(step, {"x": x}, shape, x.order)


@operator("Trilu", static={1})
def triangle(node: Node) -> Tensor:
    """The upper or lower triangle of matrices, the rest 0."""
    x = node.tensor(0)
    if x.rank < 2:
        node.damaged(f"input 0 {x.shape} must have at least 2 dimensions")
    given = node.known_integers(1) if node.given(1) else (0,)
    if len(given) != 1:
        node.damaged(f"input 1 {given} must be one number")
    most = sum(x.shape[-2:])
    names = axis_names(x.rank, x.order)
    condition = f"{names[-1]} - {names[-2]} {'>=' if node.truth('upper', True) else '<='} K"
    text = f"{cell('z', names, x.order)} = where({condition}, {cell('x', names, x.order)}, 0)"
    step = system(text, constants={"K": min(max(given[0], -most), most)})
    return node.emit(step, {"x": x}, x.shape, x.order)


@operator("ReverseSequence", lookups={1})
def reverse_sequence(node: Node) -> Tensor:
    """Of each sequence the first so many steps in reverse order."""
    x, lengths = node.tensor(0), node.lookup(1)
    if x.rank < 2:
        node.damaged(f"input 0 {x.shape} must have at least 2 dimensions")
    batch, time = node.integer("batch_axis", 1, least=0, most=1), node.integer("time_axis", 0, least=0, most=1)
    if batch == time:
        node.damaged(f"`batch_axis` and `time_axis` (={time}) must differ")
    if lengths.shape != (x.shape[batch],):
        raise ShapeError(f"input 1 {lengths.shape} must have shape {(x.shape[batch],)}")
    names = axis_names(x.rank, x.order)
    read = [*names]
    read[time] = "s"
    length = f"l[{names[batch]}]"
    # One term of the sum is there: the step that stands as far from the end as this one from the beginning.
    turned = f"sum(s : s + {names[time]} == {length} - 1) {cell('x', read, x.order)}"
    own = cell("x", names, x.order)
    step = system(f"{cell('z', names, x.order)} = where({names[time]} < {length}, {turned}, {own})")
    return node.emit(step, {"x": x, "l": lengths}, x.shape, x.order)


@operator("CenterCropPad", static={1})
def center_crop_pad(node: Node) -> Value:
    """The middle of the input, or the input in the middle of zeros."""
    x = node.tensor(0)
    given = node.integers("axes") if node.has("axes") else tuple(range(x.rank))
    axes = node.checked_axes(given, x.rank)
    wanted = node.known_integers(1)
    if len(wanted) != len(axes) or any(extent < 0 for extent in wanted):
        node.damaged(f"its shape {wanted} must be {len(axes)} numbers from 0")
    shape = list(x.shape)
    indices: dict[int, str] = {}
    constants: dict[str, int] = {}
    for axis, extent in zip(axes, wanted, strict=True):
        own, shape[axis] = shape[axis], extent
        if extent != own:
            constants[f"O{axis}"] = (own - extent) // 2 if own > extent else -((extent - own) // 2)
            indices[axis] = f"{{}} + O{axis}"
    return moved(node, x, tuple(shape), indices, constants) if indices else x


def _parts(node: Node, extent: int) -> Sequence[int]:
    """How much of the axis each output of a Split gets."""
    count = len(node.spec.outputs)
    if node.version >= 13 and node.given(1):
        sizes = node.known_integers(1)
    elif node.version < 13 and node.has("split"):
        sizes = node.integers("split")
    else:
        if node.version >= 18 and node.integer("num_outputs", count) != count:
            node.damaged(f"attribute `num_outputs` (={node.integer('num_outputs')}) must be that of outputs: {count}")
        size = -(-extent // count)
        sizes = (*(size for _ in range(count - 1)), extent - size * (count - 1))
        if sizes[-1] < 0 or (node.version < 18 and extent % count):
            raise ShapeError(f"an axis of {extent} is not split into {count} equal parts")
    if len(sizes) != count or any(size < 0 for size in sizes) or sum(sizes) != extent:
        raise ShapeError(f"an axis of {extent} is not split into {count} outputs of sizes {tuple(sizes)}")
    return sizes


def _bounds(node: Node) -> tuple[Sequence[int], Sequence[int], Sequence[int] | None, Sequence[int]]:
    """Starts, ends, axes and steps of a Slice."""
    if node.version < 10:
        starts, ends = (node.integers(name, least=-(2**63), most=2**63) for name in ("starts", "ends"))
        return starts, ends, node.integers("axes") if node.has("axes") else None, (1,) * len(starts)
    starts, ends = node.known_integers(1), node.known_integers(2)
    axes = node.known_integers(3) if node.given(3) else None
    return starts, ends, axes, node.known_integers(4) if node.given(4) else (1,) * len(starts)


def _blocks(node: Node) -> tuple[Tensor, int]:
    shape = node.value(0).shape
    if len(shape) != 4:
        node.damaged(f"input 0 {shape} must have 4 dimensions (batch, channels, height, width)")
    return node.tensor(0, channels_last(4)), node.integer("blocksize", least=1, most=2**31 - 1)
