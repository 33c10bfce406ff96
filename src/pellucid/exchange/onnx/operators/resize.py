"""Pictures made larger or smaller, axis by axis.

`z[n,i,j,c] = sum(s) a[i,s]*x[n, at[i,s], j, c]`: which cells each one reads and what they count is known before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite

import numpy as np

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.interpolation import COORDINATES, ROUNDINGS, Axis, Taps, nearest, taps
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Tensor, channels_last
from pellucid.exchange.onnx.writing import axis_names, cell
from pellucid.nn.equations.notation import system
from pellucid.nn.equations.shape import upsample_nearest

__all__: list[str] = []

# More cells than this below one kernel are refused: a table of them would be larger than what it reads.
MOST_TAPS = 4096


@operator("Upsample", static=(1,))
def upsample(node: Node) -> Tensor:
    """The operator that Resize replaced: `asymmetric` coordinates, the cell before or linear."""
    mode = node.text("mode", "nearest", choices=("nearest", "linear", "bilinear"))
    x = node.tensor(0)
    scales = node.numbers("scales") if node.version < 9 else _numbers(node, 1)
    axes = _by_scales(node, x, scales, tuple(range(x.rank)))
    _check_size(node, x, axes)
    if mode == "nearest":
        return _read(node, x, {a: nearest(axis, "asymmetric", "floor") for a, axis in axes.items()})
    return _read(node, x, {a: taps(axis, "asymmetric") for a, axis in axes.items()})


@operator("Resize", static=(1, 2, 3))
def resize(node: Node) -> Tensor:
    """Nearest, linear or cubic, with all ways to count coordinates."""
    x = node.tensor(0)
    if node.version < 11:
        mode = node.text("mode", "nearest", choices=("nearest", "linear"))
        axes = _by_scales(node, x, _numbers(node, 1), tuple(range(x.rank)))
        _check_size(node, x, axes)
        if mode == "linear":
            return _read(node, x, {a: taps(axis, "asymmetric") for a, axis in axes.items()})
        # The first version did not say how it rounds; files of its time were made for this.
        rounding = {a: "ceil" if axis.scale < 1 else "floor" for a, axis in axes.items()}
        return _read(node, x, {a: nearest(axis, "asymmetric", rounding[a]) for a, axis in axes.items()})
    mode = node.text("mode", "nearest", choices=("nearest", "linear", "cubic"))
    coordinates = node.text("coordinate_transformation_mode", "half_pixel", choices=_coordinate_modes(node.version))
    rounding = node.text("nearest_mode", "round_prefer_floor", choices=tuple(ROUNDINGS))
    cubic = node.number("cubic_coeff_a", -0.75)
    exclude = node.truth("exclude_outside")
    antialias = node.truth("antialias") if node.version >= 18 else False
    axes = _axes(node, x, coordinates)
    _check_size(node, x, axes)
    if mode == "nearest":
        chosen = {a: nearest(axis, coordinates, rounding) for a, axis in axes.items()}
        return _read(node, x, chosen, node.number("extrapolation_value", 0.0))
    for axis in axes.values():
        if antialias and axis.scale * MOST_TAPS < 4:
            node.refuse(f"with `antialias` a scale (={axis.scale:g}) must be at least {4 / MOST_TAPS:g}")
    coefficient = cubic if mode == "cubic" else None
    chosen = {
        a: taps(axis, coordinates, cubic=coefficient, antialias=antialias, exclude_outside=exclude)
        for a, axis in axes.items()
    }
    return _read(node, x, chosen, node.number("extrapolation_value", 0.0))


@operator("AffineGrid", static=(1,))
def affine_grid(node: Node) -> Tensor:
    """Where the cells of a picture, from -1 to 1 along each axis, lie when a matrix has turned them."""
    theta = node.tensor(0, (0, 1, 2))
    size = node.known_integers(1)
    axes = len(size) - 2
    if axes not in (2, 3) or theta.shape != (size[0], axes, axes + 1) or min(size) < 1:
        node.damaged(f"an input 0 of shape {theta.shape} does not fit the size {size}")
    shape = (size[0], *size[2:], axes)
    node.program.check_size(shape)
    whole = node.truth("align_corners")
    lines = [np.linspace(-1, 1, extent) if whole else (2 * np.arange(extent) + 1) / extent - 1 for extent in size[2:]]
    # The last axis is the first coordinate.
    cells = np.meshgrid(*lines, indexing="ij")[::-1]
    rows = np.stack([*cells, np.ones_like(cells[0])], -1).reshape(-1, axes + 1)
    sources = {"x": theta, "a": node.as_tensor(Host(rows.astype(theta.dtype)))}
    flat = node.emit(
        system("z[n,i,c] = sum(j) a[i,j]*x[n,c,j]"), sources, (size[0], len(rows), axes), dtype=theta.dtype
    )
    return node.view(flat, shape, part="grid")


def _check_size(node: Node, x: Tensor, axes: dict[int, Axis]) -> None:
    """Before any table is made."""
    shape = tuple(axes[a].after if a in axes else extent for a, extent in enumerate(x.shape))
    if not all(shape):
        raise ShapeError(f"a result of shape {shape} has no cells")
    node.program.check_size(shape)


def _coordinate_modes(version: int) -> tuple[str, ...]:
    missing = {"tf_half_pixel_for_nn"} if version >= 13 else set[str]()
    if version < 19:
        missing.add("half_pixel_symmetric")
    return tuple(mode for mode in COORDINATES if mode not in missing)


def _numbers(node: Node, number: int) -> tuple[float, ...]:
    """An input that is a list of known numbers; none where it is left out or empty."""
    if not node.given(number):
        return ()
    array = node.known(number)
    if array.dtype.kind != "f" or array.ndim != 1:
        node.damaged(f"input {number} must be a list of numbers, is {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        node.damaged(f"input {number} (={tuple(array.tolist())}) must be finite")
    return tuple(float(value) for value in array.tolist())


def _by_scales(
    node: Node, x: Tensor, scales: Sequence[float], named: Sequence[int], regions: Sequence[tuple[float, float]] = ()
) -> dict[int, Axis]:
    """The axes by the factors that they grow by."""
    if len(scales) != len(named):
        node.damaged(f"`scales` {tuple(scales)} must have {len(named)} numbers, has {len(scales)}")
    axes: dict[int, Axis] = {}
    for place, (a, scale) in enumerate(zip(named, scales, strict=True)):
        if not scale > 0:
            node.damaged(f"`scales` {tuple(scales)} must be greater than 0")
        after = x.shape[a] * scale
        # A product that a file's float32 brings a hair below the whole number is that number.
        whole = floor(np.float32(x.shape[a]) * np.float32(scale)) if isfinite(after) and after < 2**24 else floor(after)
        axes[a] = Axis(x.shape[a], whole, scale, regions[place] if regions else (0.0, 1.0))
    return axes


def _axes(node: Node, x: Tensor, coordinates: str) -> dict[int, Axis]:
    """The axes, by factors or by extents."""
    named = tuple(range(x.rank))
    if node.has("axes") and node.version >= 18:
        named = node.checked_axes(node.integers("axes"), x.rank)
    regions = _regions(node, len(named)) if coordinates == "tf_crop_and_resize" else ()
    scales = _numbers(node, 2)
    sizes = node.known_integers(3) if node.given(3) else ()
    if bool(scales) == bool(sizes) and x.rank:
        node.damaged(f"one of `scales` and `sizes` must be given, {'both are' if scales else 'none is'}")
    policy = "stretch"
    if node.version >= 18:
        choices = ("stretch", "not_larger", "not_smaller")
        policy = node.text("keep_aspect_ratio_policy", "stretch", choices=choices)
    if scales or not x.rank:
        return _by_scales(node, x, scales, named, regions)
    if len(sizes) != len(named):
        node.damaged(f"`sizes` {sizes} must have {len(named)} numbers, has {len(sizes)}")
    if any(size < 1 for size in sizes):
        node.damaged(f"`sizes` {sizes} must be at least 1")
    ratios = [size / x.shape[a] for a, size in zip(named, sizes, strict=True)]
    if policy != "stretch":
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(ratios)
        sizes = tuple(floor(ratio * x.shape[a] + 0.5) for a in named)
    return {
        a: Axis(x.shape[a], size, ratio, regions[place] if regions else (0.0, 1.0))
        for place, (a, size, ratio) in enumerate(zip(named, sizes, ratios, strict=True))
    }


def _regions(node: Node, count: int) -> tuple[tuple[float, float], ...]:
    region = _numbers(node, 1)
    if len(region) != 2 * count:
        node.damaged(f"`roi` {region} must have {2 * count} numbers, has {len(region)}")
    return tuple(zip(region[:count], region[count:], strict=True))


def _read(node: Node, x: Tensor, axes: dict[int, Taps], beyond: float = 0.0) -> Tensor:
    """The tensor with these axes read anew."""
    changed = {a: read for a, read in axes.items() if not _is_same(read, x.shape[a])}
    shape = tuple(len(axes[a].cells) if a in axes else extent for a, extent in enumerate(x.shape))
    if not changed:
        return node.view(x, x.shape, x.order)
    if all(read.cells.shape[1] == 1 and (read.weights == 1).all() for read in changed.values()):
        factors = _factors(x, changed)
        if factors is not None:
            x = node.tensor(0, channels_last(4))
            return node.emit(upsample_nearest(x.memory, scale_factor=factors), {"x": x}, shape, x.order)
        if not node.program.training:
            return _picked(node, x, changed)
    # What becomes smaller first, so that the rest has less to do.
    for a in sorted(changed, key=lambda a: len(changed[a].cells) / x.shape[a]):
        x = _weighed(node, x, a, changed[a], beyond)
    return x


def _is_same(read: Taps, extent: int) -> bool:
    """Whether every cell reads itself alone."""
    return (
        read.cells.shape == (extent, 1)
        and not read.outside.any()
        and bool((read.cells[:, 0] == np.arange(extent)).all() and (read.weights == 1).all())
    )


def _factors(x: Tensor, axes: dict[int, Taps]) -> tuple[int, int] | None:
    """How often each row and column of a batch of pictures is repeated, where that is all."""
    if x.rank != 4 or not axes.keys() <= {2, 3}:
        return None
    factors = [1, 1]
    for a, read in axes.items():
        factor, rest = divmod(len(read.cells), x.shape[a])
        if rest or (read.cells[:, 0] != np.arange(len(read.cells)) // factor).any():
            return None
        factors[a - 2] = factor
    return factors[0], factors[1]


def _picked(node: Node, x: Tensor, axes: dict[int, Taps]) -> Tensor:
    """Each cell reads one: `z[n,i,j,c] = x[n,p2[i],p3[j],c]`."""
    names = axis_names(x.rank, x.order)
    tables = {f"p{a}": node.table(f"cells{a}", read.cells[:, 0]) for a, read in axes.items()}
    read = [f"p{a}[{name}]" if a in axes else name for a, name in enumerate(names)]
    shape = tuple(len(axes[a].cells) if a in axes else extent for a, extent in enumerate(x.shape))
    step = system(f"{cell('z', names, x.order)} = {cell('x', read, x.order)}")
    return node.emit(step, {"x": x, **tables}, shape, x.order)


def _weighed(node: Node, x: Tensor, a: int, read: Taps, beyond: float) -> Tensor:
    """Each cell reads several along one axis."""
    names = axis_names(x.rank, x.order)
    if node.program.training:
        return _multiplied(node, x, a, read, beyond)
    places = [f"at[{name},s]" if axis == a else name for axis, name in enumerate(names)]
    weights = node.as_tensor(Host(read.weights.astype(x.dtype)))
    sources = {"x": x, "at": node.table(f"cells{a}", read.cells), "a": weights}
    text = f"{cell('z', names, x.order)} = sum(s) a[{names[a]},s]*{cell('x', places, x.order)}"
    return _with_beyond(node, text, sources, x, a, read, beyond)


def _multiplied(node: Node, x: Tensor, a: int, read: Taps, beyond: float) -> Tensor:
    """The same as a product with a matrix: its gradient is another product, and it needs no indices."""
    names = axis_names(x.rank, x.order)
    node.program.check_size((len(read.cells), x.shape[a]))
    matrix = np.zeros((len(read.cells), x.shape[a]))
    np.add.at(matrix, (np.arange(len(read.cells))[:, None], read.cells), read.weights)
    own = f"{names[a]}1"
    places = [own if axis == a else name for axis, name in enumerate(names)]
    sources = {"x": x, "a": node.as_tensor(Host(matrix.astype(x.dtype)))}
    text = f"{cell('z', names, x.order)} = sum({own}) a[{names[a]},{own}]*{cell('x', places, x.order)}"
    return _with_beyond(node, text, sources, x, a, read, beyond)


def _with_beyond(
    node: Node, text: str, sources: dict[str, Tensor], x: Tensor, a: int, read: Taps, beyond: float
) -> Tensor:
    """The equation, and a given number where a cell lies outside of what is read."""
    shape = tuple(len(read.cells) if axis == a else extent for axis, extent in enumerate(x.shape))
    if read.outside.any() and beyond:
        sources["e"] = node.as_tensor(Host(np.where(read.outside, beyond, 0.0).astype(x.dtype)))
        text += f" + e[{axis_names(x.rank, x.order)[a]}]"
    return node.emit(system(text), sources, shape, x.order, part=f"axis{a}")
