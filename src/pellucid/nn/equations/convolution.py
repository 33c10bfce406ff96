"""Convolution and transposed convolution in one, two and three dimensions (MATHS.md, section 2).

    z[n,i,j,k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c] * w[s,t,c,k] + b[k]

Each function takes the shapes of the tensors `x`, `w`, `b` and the attributes, and gives the `System` for them.
Images are (n, spatial ..., channels) and kernels (window ..., in_channels / groups, out_channels); with
layout="NCHW" (n, channels, spatial ...) and (out_channels, in_channels / groups, window ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import (
    OUTPUT_AXES,
    SPATIAL_NAMES,
    SUFFIXES,
    WINDOW_AXES,
    Shape,
    channel_of,
    check_image,
    check_rank,
    check_shape,
    image,
    spatial_of,
    system,
)
from pellucid.nn.equations.window import (
    Integers,
    Padding,
    Window,
    convolution_windows,
    integer,
    transposed_windows,
    window_constants,
)

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transpose_over",
]

# The axes of a transposed convolution's result: i, j, l already number its input, as they number the output of
# the convolution that it transposes.
_RESULT_AXES = {1: ("p",), 2: ("p", "q"), 3: ("o", "p", "q")}


def conv1d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """`z[n,i,k] = sum(s,c) x[n,i*S+s*D-P,c] * w[s,c,k] + b[k]`; x (n, width, channels), w (width, c, k)."""
    return _convolution(1, x, w, b, stride, padding, dilation, groups, flip, layout)


def conv2d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """The convolution of this module's head; `flip` turns the kernel by 180 degrees (true convolution)."""
    return _convolution(2, x, w, b, stride, padding, dilation, groups, flip, layout)


def conv3d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """The same over depth, height and width; x (n, depth, height, width, channels)."""
    return _convolution(3, x, w, b, stride, padding, dilation, groups, flip, layout)


def conv_transpose1d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """`z[n,p,c] = sum(i,s,k : i*S+s*D-P == p) x[n,i,k] * w[s,c,k] + b[c]`: the input gradient of `conv1d`."""
    return _transposed(1, x, w, b, stride, padding, output_padding, groups, dilation, flip, layout)


def conv_transpose2d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """The input gradient of `conv2d` used forward, with the same kernel array.

    So the channels of `x` are the last axis of `w` (h, w, out_channels / groups, in_channels); with layout="NCHW"
    the first, as `torch.nn.functional.conv_transpose2d` has it.
    """
    return _transposed(2, x, w, b, stride, padding, output_padding, groups, dilation, flip, layout)


def conv_transpose3d(
    x: Shape,
    w: Shape,
    b: Shape | None = None,
    *,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> System:
    """The input gradient of `conv3d` used forward."""
    return _transposed(3, x, w, b, stride, padding, output_padding, groups, dilation, flip, layout)


def conv_transpose_over(
    windows: Sequence[Window], x: Shape, w: Shape, b: Shape | None = None, *, groups: int = 1
) -> System:
    """A transposed convolution whose `windows` are given, as `transposed_windows` makes them; channels last.

    Cells of the result beyond what the windows reach are 0, plus the bias.
    """
    _, per_group, groups = _transposed_parts(len(windows), x, w, b, groups, "NHWC")
    return _transposed_over(windows, b is not None, groups, per_group, x[-1] // groups, False, "NHWC")


def _kernel(layout: str, window: Sequence[str], c: str, k: str) -> str:
    return ",".join((*window, c, k) if layout == "NHWC" else (k, c, *window))


@cache
def _convolution_text(rank: int, bias: bool, grouped: bool, flip: bool, layout: str) -> str:
    outputs, window, suffixes = OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank]
    c, k = ("u*C+c", "u*K+k") if grouped else ("c", "k")
    read = [f"{i}*S{a}+{s}*D{a}-P{a}" for i, s, a in zip(outputs, window, suffixes, strict=True)]
    taps = _taps(rank, flip)
    text = f"z[{image(layout, outputs, k)}] = sum({','.join(window)},c) "
    text += f"x[{image(layout, read, c)}] * w[{_kernel(layout, taps, 'c', k)}]"
    return text + (f" + b[{k}]" if bias else "")


@cache
def _transposed_text(rank: int, bias: bool, grouped: bool, flip: bool, layout: str) -> str:
    results, inputs, window, suffixes = _RESULT_AXES[rank], OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank]
    c, k = ("u*C+c", "u*K+k") if grouped else ("c", "k")
    meets = [f"{i}*S{a}+{s}*D{a}-P{a} == {p}" for p, i, s, a in zip(results, inputs, window, suffixes, strict=True)]
    text = f"z[{image(layout, results, c)}] = sum({','.join((*inputs, *window))},k : {', '.join(meets)}) "
    text += f"x[{image(layout, inputs, k)}] * w[{_kernel(layout, _taps(rank, flip), 'c', k)}]"
    return text + (f" + b[{c}]" if bias else "")


def _taps(rank: int, flip: bool) -> list[str]:
    """The window's own axes, counted from its end where the kernel is turned."""
    pairs = zip(WINDOW_AXES[rank], SUFFIXES[rank], strict=True)
    return [f"F{suffix}-1-{axis}" if flip else axis for axis, suffix in pairs]


def _convolution(
    rank: int,
    x: Shape,
    w: Shape,
    b: Shape | None,
    stride: Integers,
    padding: Padding,
    dilation: Integers,
    groups: int,
    flip: bool,
    layout: str,
) -> System:
    check_image("x", x, rank, layout)
    kernels, per_group, out_channels = _kernel_parts(rank, w, layout)
    in_channels = channel_of(x, layout)
    groups = _check_groups(groups, in_channels=in_channels, out_channels=out_channels)
    if per_group * groups != in_channels:
        raise ShapeError(
            f"`w` {w} must have `in_channels` / `groups` (={in_channels} / {groups}) input channels, has {per_group}"
        )
    check_shape("b", b, (out_channels,))
    windows = convolution_windows(spatial_of(x, layout), kernels, stride, padding, dilation)
    outputs = {axis: window.output for axis, window in zip(OUTPUT_AXES[rank], windows, strict=True)}
    constants, extents = _bindings(windows, groups, per_group, out_channels // groups, flip)
    text = _convolution_text(rank, b is not None, groups > 1, flip, layout)
    return system(text, constants=constants, extents=outputs | extents)


def _transposed(
    rank: int,
    x: Shape,
    w: Shape,
    b: Shape | None,
    stride: Integers,
    padding: Padding,
    output_padding: Integers,
    groups: int,
    dilation: Integers,
    flip: bool,
    layout: str,
) -> System:
    kernels, per_group, groups = _transposed_parts(rank, x, w, b, groups, layout)
    windows = transposed_windows(spatial_of(x, layout), kernels, stride, padding, output_padding, dilation)
    per_input = channel_of(x, layout) // groups
    return _transposed_over(windows, b is not None, groups, per_group, per_input, flip, layout)


def _transposed_over(
    windows: Sequence[Window], bias: bool, groups: int, per_group: int, per_input: int, flip: bool, layout: str
) -> System:
    rank = len(windows)
    results = {axis: window.extent for axis, window in zip(_RESULT_AXES[rank], windows, strict=True)}
    constants, extents = _bindings(windows, groups, per_group, per_input, flip)
    text = _transposed_text(rank, bias, groups > 1, flip, layout)
    return system(text, constants=constants, extents=results | extents)


def _transposed_parts(
    rank: int, x: Shape, w: Shape, b: Shape | None, groups: int, layout: str
) -> tuple[Shape, int, int]:
    """Window extents, output channels a group, and the number of groups."""
    check_image("x", x, rank, layout)
    kernels, per_group, kernel_channels = _kernel_parts(rank, w, layout)
    in_channels = channel_of(x, layout)
    groups = _check_groups(groups, in_channels=in_channels)
    if kernel_channels != in_channels:
        place = "last" if layout == "NHWC" else "first"
        raise ShapeError(
            f"`w` {w} must have `in_channels` (={in_channels}) in its {place} place, has {kernel_channels}"
        )
    check_shape("b", b, (per_group * groups,))
    return kernels, per_group, groups


def _kernel_parts(rank: int, w: Shape, layout: str) -> tuple[Shape, int, int]:
    """Window extents, input channels a group, and output channels of a kernel's shape."""
    c, k = "in_channels / groups", "out_channels"
    check_rank("w", w, _kernel(layout, SPATIAL_NAMES[rank], c, k).split(","))
    return (w[:-2], w[-2], w[-1]) if layout == "NHWC" else (w[2:], w[1], w[0])


def _check_groups(groups: int, in_channels: int, out_channels: int | None = None) -> int:
    groups = integer("groups", groups, 1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels is not None and channels % groups:
            raise ArgumentError(f"`{name}` (={channels}) must be divisible by `groups` (={groups})")
    return groups


def _bindings(
    windows: Sequence[Window], groups: int, c: int, k: int, flip: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Constants of the windows and the groups; extents of the axes that only appear inside sums of axes.

    `c` and `k` are the numbers of channels in a group of the convolution (of the one transposed, if it is).
    """
    constants = window_constants(windows, "SDPF" if flip else "SDP")
    extents: dict[str, int] = {}
    if flip:
        extents |= {axis: window.kernel for axis, window in zip(WINDOW_AXES[len(windows)], windows, strict=True)}
    if groups > 1:
        constants |= {"C": c, "K": k}
        extents |= {"u": groups, "c": c, "k": k}
    return constants, extents
