"""Pooling (MATHS.md, section 4): maximum, average, Lp, global and adaptive, in one, two and three dimensions.

    z[n,i,j,c] = max(s,t) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c]

Each function takes the shape of `x` and the attributes, and gives a `System`; the number of spatial axes is that
of `x`, so one function serves 1-D, 2-D and 3-D. Of several equal maxima the first in row-major order wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import (
    OUTPUT_AXES,
    SUFFIXES,
    WINDOW_AXES,
    Shape,
    check_image,
    image,
    spatial_of,
    system,
)
from pellucid.nn.equations.window import Integers, Padding, Window, integer, pooling_windows, window_constants

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "avg_pool_over",
    "global_avg_pool",
    "global_max_pool",
    "lp_pool",
    "lp_pool_over",
    "max_pool",
    "max_pool_over",
]


def max_pool(
    x: Shape,
    *,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    dilation: Integers = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> System:
    """The largest value of each window; padding never wins."""
    _rank(x, layout)
    windows = pooling_windows(spatial_of(x, layout), kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_over(windows, layout=layout)


def max_pool_over(windows: Sequence[Window], *, layout: str = "NHWC") -> System:
    """The largest value of each of these windows, which may lie in the padding in any part."""
    rank = len(windows)
    cells, read = _cells(rank, layout), _read(rank, layout, dilated=True)
    text = f"z[{cells}] = max({_window_axes(rank)}) x[{read}]"
    return system(text, constants=window_constants(windows, "SDP"), extents=_window_extents(windows))


def avg_pool(
    x: Shape,
    *,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NHWC",
) -> System:
    """The mean of each window.

    Padding counts as cells of value 0 with `count_include_pad`, else the mean is over the cells of the input
    alone; the part of a window past the padded input (`ceil_mode`) never counts.
    """
    _rank(x, layout)
    windows = pooling_windows(spatial_of(x, layout), kernel_size, stride, padding, 1, ceil_mode)
    return avg_pool_over(windows, count_include_pad=count_include_pad, divisor_override=divisor_override, layout=layout)


def avg_pool_over(
    windows: Sequence[Window],
    *,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NHWC",
) -> System:
    """The mean of each of these windows, which may be dilated, and lie in the padding in any part."""
    rank = len(windows)
    dilated = _is_dilated(windows)
    cells, read = _cells(rank, layout), _read(rank, layout, dilated)
    mean = f"z[{cells}] = (sum({_window_axes(rank)}) x[{read}])"
    constants = window_constants(windows, "SDP" if dilated else "SP")
    extents = _window_extents(windows)
    if divisor_override is not None:
        constants["M"] = integer("divisor_override", divisor_override, 1)
        return system(f"{mean} / M", constants=constants, extents=extents)
    if all(_is_full(window, count_include_pad) for window in windows):
        constants["M"] = math.prod(window.kernel for window in windows)
        return system(f"{mean} / M", constants=constants, extents=extents)
    counts: list[str] = []
    for i, s, a, window in zip(OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank], windows, strict=True):
        start = _start(i, s, a, dilated)
        counts.append(f"count{a}[{i}] = sum({s} : {start} >= LO{a}, {start} < HI{a}) 1")
        constants[f"LO{a}"] = -window.before if count_include_pad else 0
        constants[f"HI{a}"] = window.extent + (window.after if count_include_pad else 0)
    return system(*counts, f"{mean} / {_divisor(rank)}", constants=constants, extents=extents)


def lp_pool(
    x: Shape,
    *,
    norm_type: float,
    kernel_size: Integers,
    stride: Integers | None = None,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> System:
    """`(sum(window) abs(x)**p) ** (1/p)`; the derivative is 0 where the result is 0.

    `torch.nn.functional.lp_pool2d` takes `x**p` without the absolute value, which is no norm for odd p, and
    rescales windows that reach past the input; here a window is its sum, as MATHS.md and ONNX have it.
    """
    _rank(x, layout)
    windows = pooling_windows(spatial_of(x, layout), kernel_size, stride, 0, 1, ceil_mode)
    return lp_pool_over(windows, norm_type=norm_type, layout=layout)


def lp_pool_over(windows: Sequence[Window], *, norm_type: float, layout: str = "NHWC") -> System:
    """The norm of each of these windows, which may be dilated and padded with zeros."""
    power = float(norm_type)
    if not (math.isfinite(power) and power > 0):
        raise ArgumentError(f"`norm_type` (={norm_type}) must be greater than 0 and finite")
    rank = len(windows)
    dilated = _is_dilated(windows)
    cells, read = _cells(rank, layout), _read(rank, layout, dilated)
    constants: dict[str, int | float] = {**window_constants(windows, "SDP" if dilated else "SP")}
    # The root has an infinite derivative at 0: it is taken of 1 there, and its result replaced by 0.
    safe = f"where(total[{cells}] > 0, total[{cells}], 1)"
    if power == 2:
        term, root = f"x[{read}]**2", f"sqrt({safe})"
    else:
        term, root = f"abs(x[{read}])**Q", f"({safe})**R"
        constants |= {"Q": power, "R": 1 / power}
    return system(
        f"total[{cells}] = sum({_window_axes(rank)}) {term}",
        f"z[{cells}] = {root}*[total[{cells}] > 0]",
        constants=constants,
        extents=_window_extents(windows),
    )


def global_avg_pool(x: Shape, *, layout: str = "NHWC") -> System:
    """The mean of each channel over all positions: (n, c)."""
    rank = _rank(x, layout)
    axes = OUTPUT_AXES[rank]
    text = f"z[n,c] = (sum({','.join(axes)}) x[{image(layout, axes, 'c')}]) / M"
    return system(text, constants={"M": math.prod(spatial_of(x, layout))})


def global_max_pool(x: Shape, *, layout: str = "NHWC") -> System:
    """The largest value of each channel over all positions: (n, c)."""
    axes = OUTPUT_AXES[_rank(x, layout)]
    return system(f"z[n,c] = max({','.join(axes)}) x[{image(layout, axes, 'c')}]")


def adaptive_avg_pool(x: Shape, *, output_size: int | Sequence[int | None], layout: str = "NHWC") -> System:
    """The mean over windows from `floor(i*N/M)` to `ceil((i+1)*N/M)`, so that M outputs cover N inputs."""
    rank = _rank(x, layout)
    extents = spatial_of(x, layout)
    sizes = _output_size(output_size, extents)
    if _is_uniform(extents, sizes):
        return avg_pool(x, kernel_size=_uniform_windows(extents, sizes), layout=layout)
    within = _adaptive_windows(rank)
    counts = [
        f"count{a}[{i}] = sum({s} : {condition}) 1"
        for i, s, a, condition in zip(OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank], within, strict=True)
    ]
    read = image(layout, WINDOW_AXES[rank], "c")
    mean = f"z[{_cells(rank, layout)}] = (sum({_window_axes(rank)} : {', '.join(within)}) x[{read}]) / {_divisor(rank)}"
    constants, given = _adaptive_bindings(extents, sizes)
    return system(*counts, mean, constants=constants, extents=given)


def adaptive_max_pool(x: Shape, *, output_size: int | Sequence[int | None], layout: str = "NHWC") -> System:
    """The largest value of windows from `floor(i*N/M)` to `ceil((i+1)*N/M)`."""
    rank = _rank(x, layout)
    extents = spatial_of(x, layout)
    sizes = _output_size(output_size, extents)
    if _is_uniform(extents, sizes):
        return max_pool(x, kernel_size=_uniform_windows(extents, sizes), layout=layout)
    within = ", ".join(_adaptive_windows(rank))
    read = image(layout, WINDOW_AXES[rank], "c")
    text = f"z[{_cells(rank, layout)}] = max({_window_axes(rank)} : {within}) x[{read}]"
    constants, given = _adaptive_bindings(extents, sizes)
    return system(text, constants=constants, extents=given)


def _rank(x: Shape, layout: str) -> int:
    """The number of spatial axes."""
    rank = len(x) - 2
    if rank not in OUTPUT_AXES:
        raise ShapeError(f"`x` {x} must have 3, 4 or 5 dimensions, has {len(x)}")
    check_image("x", x, rank, layout)
    return rank


def _cells(rank: int, layout: str) -> str:
    return image(layout, OUTPUT_AXES[rank], "c")


def _window_axes(rank: int) -> str:
    return ",".join(WINDOW_AXES[rank])


def _read(rank: int, layout: str, dilated: bool) -> str:
    """The index of the input that output (i, j) reads at (s, t) of its window."""
    names = zip(OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank], strict=True)
    return image(layout, [_start(i, s, a, dilated) for i, s, a in names], "c")


def _start(i: str, s: str, suffix: str, dilated: bool) -> str:
    """Where the window of output `i` has its cell `s`."""
    return f"{i}*S{suffix}+{s}*D{suffix}-P{suffix}" if dilated else f"{i}*S{suffix}+{s}-P{suffix}"


def _is_dilated(windows: Sequence[Window]) -> bool:
    return any(window.dilation > 1 for window in windows)


def _window_extents(windows: Sequence[Window]) -> dict[str, int]:
    rank = len(windows)
    outputs = {axis: window.output for axis, window in zip(OUTPUT_AXES[rank], windows, strict=True)}
    return outputs | {axis: window.kernel for axis, window in zip(WINDOW_AXES[rank], windows, strict=True)}


def _is_full(window: Window, count_include_pad: bool) -> bool:
    """True where every window along the axis counts all of its cells."""
    before, after = (window.before, window.after) if count_include_pad else (0, 0)
    last = (window.output - 1) * window.stride - window.before + window.reach
    return window.before == before and last <= window.extent + after


def _divisor(rank: int) -> str:
    """The cells that count in a window: a product of the counts along its axes."""
    return "(" + "*".join(f"count{a}[{i}]" for a, i in zip(SUFFIXES[rank], OUTPUT_AXES[rank], strict=True)) + ")"


def _output_size(output_size: int | Sequence[int | None], extents: Shape) -> Shape:
    sizes = output_size if isinstance(output_size, Sequence) else (output_size,) * len(extents)
    if len(sizes) != len(extents):
        raise ArgumentError(f"`output_size` (={output_size!r}) must be an integer or {len(extents)} integers")
    return tuple(
        extent if size is None else integer("output_size", size, 1) for size, extent in zip(sizes, extents, strict=True)
    )


def _is_uniform(extents: Shape, sizes: Shape) -> bool:
    """True where adaptive windows are the plain windows of a pooling: each as long as its stride."""
    return all(extent % size == 0 for extent, size in zip(extents, sizes, strict=True))


def _uniform_windows(extents: Shape, sizes: Shape) -> tuple[int, ...]:
    return tuple(extent // size for extent, size in zip(extents, sizes, strict=True))


def _adaptive_windows(rank: int) -> list[str]:
    """The conditions under which input position `s` lies in window `i`, one for each axis."""
    names = zip(OUTPUT_AXES[rank], WINDOW_AXES[rank], SUFFIXES[rank], strict=True)
    return [f"({i}*N{a})//M{a} <= {s}, {s} < (({i}+1)*N{a}+M{a}-1)//M{a}" for i, s, a in names]


def _adaptive_bindings(extents: Shape, sizes: Shape) -> tuple[dict[str, int], dict[str, int]]:
    rank = len(extents)
    constants: dict[str, int] = {}
    for suffix, extent, size in zip(SUFFIXES[rank], extents, sizes, strict=True):
        constants |= {f"N{suffix}": extent, f"M{suffix}": size}
    given = dict(zip(OUTPUT_AXES[rank], sizes, strict=True))
    return constants, given | dict(zip(WINDOW_AXES[rank], extents, strict=True))
