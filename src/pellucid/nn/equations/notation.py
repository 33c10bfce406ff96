"""How the equations of this folder are written down: names of axes, the two layouts, text to `System`.

Axes    n image; i, j, l output position; s, t, r position in the window; c input and k output channel; u group.
Suffix  of a constant names its spatial axis: none in one dimension, H W in two, D H W in three (`SH`, `PW`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.parse import parse
from pellucid.language.syntax import Formula
from pellucid.language.system import System

__all__ = [
    "OUTPUT_AXES",
    "SUFFIXES",
    "WINDOW_AXES",
    "Shape",
    "channel_of",
    "check_image",
    "check_layout",
    "check_rank",
    "check_shape",
    "elementwise_axes",
    "formula",
    "image",
    "spatial_of",
    "system",
    "text_of",
]

Shape = tuple[int, ...]

SUFFIXES = {1: ("",), 2: ("H", "W"), 3: ("D", "H", "W")}
SPATIAL_NAMES = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}
OUTPUT_AXES = {1: ("i",), 2: ("i", "j"), 3: ("i", "j", "l")}
WINDOW_AXES = {1: ("s",), 2: ("s", "t"), 3: ("s", "t", "r")}
LAYOUTS = ("NHWC", "NCHW")

_INNER_AXES = ("i", "j", "l", "m", "p", "r")


@cache
def formula(text: str) -> Formula:
    """The syntax tree of an equation's text; the same object for the same text, for as long as the process lives."""
    return parse(text)


def text_of(equation: Formula) -> str:
    """The text that an equation of this folder was parsed from."""
    assert equation.span is not None, "made by `formula`, so from a text"
    return equation.span.source


def system(
    *texts: str, constants: Mapping[str, int | float] | None = None, extents: Mapping[str, int] | None = None
) -> System:
    """The equations in order of evaluation; the last one's output is the result."""
    equations = tuple(formula(text) for text in texts)
    return System(equations, equations[-1].output.tensor, dict(constants or {}), dict(extents or {}))


def image(layout: str, spatial: Sequence[str], channel: str) -> str:
    """The indices of an image: `n,i,j,c` with channels last ("NHWC"), `n,c,i,j` with channels first ("NCHW")."""
    check_layout(layout)
    return ",".join(("n", *spatial, channel) if layout == "NHWC" else ("n", channel, *spatial))


def check_layout(layout: str) -> None:
    """Refuse a layout that is neither channels last nor channels first; both names serve 1-D and 3-D images too."""
    if layout not in LAYOUTS:
        raise ArgumentError(f"`layout` (={layout!r}) must be 'NHWC' or 'NCHW'")


def spatial_of(shape: Shape, layout: str) -> Shape:
    """The spatial extents of an image's shape."""
    check_layout(layout)
    return shape[1:-1] if layout == "NHWC" else shape[2:]


def channel_of(shape: Shape, layout: str) -> int:
    """The number of channels of an image's shape."""
    check_layout(layout)
    return shape[-1] if layout == "NHWC" else shape[1]


def elementwise_axes(rank: int, channel_position: int = -1) -> list[str]:
    """Names for all axes of an array of any rank: `n` first, `c` at the channel's place, `i, j, ...` between."""
    if rank < 1 or rank > len(_INNER_AXES) + 2:
        raise ShapeError(f"an array must have 1 to {len(_INNER_AXES) + 2} dimensions, this one has {rank}")
    if rank == 1:
        return ["c"]
    axes = ["n", *_INNER_AXES[: rank - 2]]
    axes.insert(channel_position % rank, "c")
    return axes


def check_rank(name: str, shape: Shape, dimensions: Sequence[str]) -> None:
    """Refuse a shape that has not the named dimensions, or an extent of 0."""
    if len(shape) != len(dimensions):
        expected = f"{len(dimensions)} dimensions ({', '.join(dimensions)})"
        raise ShapeError(f"`{name}` {shape} must have {expected}, has {len(shape)}")
    if 0 in shape:
        raise ShapeError(f"`{name}` {shape} is empty")


def check_image(name: str, shape: Shape, rank: int, layout: str) -> None:
    """Refuse a shape that is not a batch of images with `rank` spatial dimensions in this layout."""
    check_rank(name, shape, image(layout, SPATIAL_NAMES[rank], "channels").split(","))


def check_shape(name: str, shape: Shape | None, expected: Shape) -> None:
    """Refuse the shape of an optional array that is given and is not the expected one."""
    if shape is not None and shape != expected:
        raise ShapeError(f"`{name}` {shape} must have shape {expected}")
