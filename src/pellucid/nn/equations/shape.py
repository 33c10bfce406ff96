"""Equations that move values and compute nothing: flatten, concatenate, upsample, channels to space and back."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, check_image, elementwise_axes, system
from pellucid.nn.equations.window import integer

__all__ = ["add", "concatenate", "depth_to_space", "flatten", "pixel_shuffle", "space_to_depth", "upsample_nearest"]


def add(x: Shape, y: Shape) -> System:
    """`z = x + y`, two tensors `x` and `y` of one shape."""
    if x != y:
        raise ShapeError(f"`y` {y} must have the shape of `x` {x}")
    cells = ",".join(elementwise_axes(len(x)))
    return system(f"z[{cells}] = x[{cells}] + y[{cells}]")


def flatten(x: Shape, *, start_dim: int = 1) -> System:
    """All axes from `start_dim` on as one, in row-major order: (n, i, j, c) becomes (n, i*j*c).

    A network takes a view of the same memory instead; this is the equation that the view obeys.
    """
    if not x or 0 in x:
        raise ShapeError(f"`x` {x} must have at least 1 dimension and no extent of 0")
    start = integer("start_dim", start_dim, -len(x))
    if start >= len(x):
        raise ArgumentError(f"`start_dim` (={start_dim}) must be from {-len(x)} to {len(x) - 1}")
    axes = elementwise_axes(len(x))
    kept, joined = axes[: start % len(x)], axes[start % len(x) :]
    place, constants = joined[0], dict[str, int]()
    for axis, extent in zip(joined[1:], x[start % len(x) + 1 :], strict=True):
        constant = f"N{axis}"
        constants[constant] = extent
        place = f"({place})*{constant} + {axis}" if "+" in place else f"{place}*{constant} + {axis}"
    return system(f"z[{','.join((*kept, place))}] = x[{','.join(axes)}]", constants=constants)


def concatenate(shapes: Sequence[Shape], *, dim: int = -1) -> System:
    """The tensors `x0`, `x1`, ... one behind the other along `dim`; their other extents agree.

    `z[n,c] = sum(c0 : c0 == c) x0[n,c0] + sum(c1 : c1 + O1 == c) x1[n,c1]`: each sum has at most one term.
    """
    if not shapes:
        raise ShapeError("`shapes` is empty: at least 1 array must be given")
    first = shapes[0]
    if not -len(first) <= integer("dim", dim, -len(first)) < len(first):
        raise ArgumentError(f"`dim` (={dim}) must be from {-len(first)} to {len(first) - 1}")
    place = dim % len(first)
    for number, shape in enumerate(shapes):
        if shape[:place] + shape[place + 1 :] != first[:place] + first[place + 1 :] or len(shape) != len(first):
            raise ShapeError(f"`x{number}` {shape} must agree with `x0` {first} in every axis but {place}")
        if 0 in shape:
            raise ShapeError(f"`x{number}` {shape} is empty")
    axes = elementwise_axes(len(first), place)
    constants: dict[str, int] = {}
    extents = {"c": sum(shape[place] for shape in shapes)}
    terms: list[str] = []
    offset = 0
    for number, shape in enumerate(shapes):
        own = f"c{number}"
        read = ",".join(own if axis == "c" else axis for axis in axes)
        shifted = own if number == 0 else f"{own} + O{number}"
        if number:
            constants[f"O{number}"] = offset
        terms.append(f"sum({own} : {shifted} == c) x{number}[{read}]")
        extents[own] = shape[place]
        offset += shape[place]
    return system(f"z[{','.join(axes)}] = {' + '.join(terms)}", constants=constants, extents=extents)


def upsample_nearest(x: Shape, *, scale_factor: int | Sequence[int]) -> System:
    """`z[n,i,j,c] = x[n, i//RH, j//RW, c]`: every position repeated; channels last."""
    check_image("x", x, 2, "NHWC")
    factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor, scale_factor)
    if len(factors) != 2:
        raise ArgumentError(f"`scale_factor` (={scale_factor!r}) must be an integer or 2 integers")
    rows, columns = (integer("scale_factor", factor, 1) for factor in factors)
    constants = {"RH": rows, "RW": columns}
    return system(
        "z[n,i,j,c] = x[n,i//RH,j//RW,c]", constants=constants, extents={"i": x[1] * rows, "j": x[2] * columns}
    )


def depth_to_space(x: Shape, *, block: int) -> System:
    """Channels (row, column, c) of a cell become a block of cells: ONNX's DepthToSpace in mode DCR."""
    return _blocks_from_channels("(i%R*R + j%R)*C + c", x, block)


def pixel_shuffle(x: Shape, *, upscale_factor: int) -> System:
    """Channels (c, row, column) of a cell become a block of cells: `torch.nn.functional.pixel_shuffle`."""
    return _blocks_from_channels("c*R*R + i%R*R + j%R", x, upscale_factor, name="upscale_factor")


def space_to_depth(x: Shape, *, block: int) -> System:
    """A block of cells becomes the channels (row, column, c) of one cell: the inverse of `depth_to_space`."""
    check_image("x", x, 2, "NHWC")
    block = integer("block", block, 1)
    for name, extent in (("height", x[1]), ("width", x[2])):
        if extent % block:
            raise ArgumentError(f"`{name}` (={extent}) must be divisible by `block` (={block})")
    extents = {"i": x[1] // block, "j": x[2] // block, "s": block, "t": block}
    constants = {"R": block, "C": x[3]}
    return system("z[n,i,j,(s*R + t)*C + c] = x[n,i*R + s,j*R + t,c]", constants=constants, extents=extents)


def _blocks_from_channels(channel: str, x: Shape, block: int, name: str = "block") -> System:
    check_image("x", x, 2, "NHWC")
    block = integer(name, block, 1)
    if x[3] % block**2:
        raise ArgumentError(f"`channels` (={x[3]}) must be divisible by `{name}` squared (={block**2})")
    channels = x[3] // block**2
    extents = {"i": x[1] * block, "j": x[2] * block, "c": channels}
    constants = {"R": block} | ({"C": channels} if "C" in channel else {})
    return system(f"z[n,i,j,c] = x[n,i//R,j//R,{channel}]", constants=constants, extents=extents)
