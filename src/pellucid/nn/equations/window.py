"""The geometry of a sliding window: stride, padding, dilation and the extent of the output along each axis."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.equations.notation import SPATIAL_NAMES, SUFFIXES, Shape

__all__ = [
    "Integers",
    "Padding",
    "Window",
    "check_windows_touch_input",
    "convolution_windows",
    "integer",
    "per_axis",
    "pooling_windows",
    "transposed_windows",
    "window_constants",
]

Integers: TypeAlias = int | Sequence[int]
"""A number for all spatial axes, or one number for each."""

Padding: TypeAlias = int | str | Sequence[int] | Sequence[tuple[int, int]]
"""A number, a number per axis, a pair (before, after) per axis, or "valid", "same", "full"."""


@dataclass(frozen=True)
class Window:
    """One spatial axis: output cell `i` reads the cells `i*stride + s*dilation - before`, `0 <= s < kernel`."""

    name: str
    extent: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    output: int

    @property
    def reach(self) -> int:
        """The number of cells from the first to the last that a window reads, both counted."""
        return self.dilation * (self.kernel - 1) + 1


def integer(name: str, value: object, minimum: int) -> int:
    """`value` as an int; an ArgumentError that names the argument where it is none, or below the minimum."""
    try:
        number = operator.index(cast("int", value))
    except TypeError:
        raise ArgumentError(f"`{name}` (={value!r}) must be an integer") from None
    if number < minimum:
        raise ArgumentError(f"`{name}` (={number}) must be at least {minimum}")
    return number


def per_axis(name: str, value: Integers, rank: int, minimum: int) -> tuple[int, ...]:
    """One integer for each of `rank` spatial axes, from one number or `rank` of them."""
    if isinstance(value, Sequence):
        if isinstance(value, str) or len(value) != rank:
            numbers = "1 number" if rank == 1 else f"{rank} numbers"
            raise ArgumentError(f"`{name}` (={value!r}) must be an integer or {numbers}, one for each spatial axis")
        return tuple(integer(name, entry, minimum) for entry in value)
    return (integer(name, value, minimum),) * rank


def convolution_windows(
    extents: Shape, kernels: Shape, stride: Integers, padding: Padding, dilation: Integers
) -> tuple[Window, ...]:
    """The windows of a convolution over an input with these spatial extents.

    Output per axis: `floor((N + before + after - dilation*(kernel-1) - 1) / stride) + 1`; "same" gives
    `ceil(N / stride)` with the odd cell of padding at the end, "full" pads `dilation*(kernel-1)` on each side.
    """
    windows = _windows(extents, kernels, stride, padding, dilation)
    return tuple(_with_output(window, _floor_output(window)) for window in windows)


def transposed_windows(
    extents: Shape,
    kernels: Shape,
    stride: Integers,
    padding: Padding,
    output_padding: Integers,
    dilation: Integers,
) -> tuple[Window, ...]:
    """The windows of the convolution whose input gradient is the transposed convolution of an input with `extents`.

    `Window.extent` is that of the result, `Window.output` that of the input given here:
    `(N-1)*stride - before - after + dilation*(kernel-1) + output_padding + 1`, or `N*stride` with "same".
    """
    rank = len(extents)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    extra = per_axis("output_padding", output_padding, rank, 0)
    results = tuple(extent * step for extent, step in zip(extents, strides, strict=True))
    sides = padding_sides(padding, results, kernels, strides, dilations)
    windows: list[Window] = []
    for axis, name in enumerate(SPATIAL_NAMES[rank]):
        if extra[axis] >= max(strides[axis], dilations[axis]):
            limit = f"`stride` (={strides[axis]}) or `dilation` (={dilations[axis]})"
            raise ArgumentError(f"`output_padding` (={extra[axis]}) must be smaller than {limit}")
        before, after = sides[axis]
        reach = dilations[axis] * (kernels[axis] - 1) + 1
        size = (extents[axis] - 1) * strides[axis] - before - after + reach + extra[axis]
        size = results[axis] if padding == "same" else size
        if size < 1:
            raise ShapeError(f"output {name} (={size}) must be at least 1: `padding` (={before}, {after}) is too large")
        windows.append(Window(name, size, kernels[axis], strides[axis], dilations[axis], before, after, extents[axis]))
    return tuple(windows)


def pooling_windows(
    extents: Shape,
    kernel_size: Integers,
    stride: Integers | None,
    padding: Padding,
    dilation: Integers = 1,
    ceil_mode: bool = False,
) -> tuple[Window, ...]:
    """The windows of a pooling: the stride is the kernel's extent unless given, padding at most half a window.

    With `ceil_mode` a last window may reach past the padded input if it starts inside the input or the padding
    before it. A window that holds no cell of the input has no maximum and no mean: refused.
    """
    rank = len(extents)
    kernels = per_axis("kernel_size", kernel_size, rank, 1)
    windows = _windows(extents, kernels, kernels if stride is None else stride, padding, dilation)
    if not isinstance(padding, str):
        for window in windows:
            if 2 * max(window.before, window.after) > window.reach:
                side = max(window.before, window.after)
                raise ArgumentError(f"`padding` (={side}) must be at most half of the window (={window.reach})")
    windows = tuple(
        _with_output(window, _ceil_output(window) if ceil_mode and padding != "same" else _floor_output(window))
        for window in windows
    )
    check_windows_touch_input(windows)
    return windows


def check_windows_touch_input(windows: Sequence[Window]) -> None:
    """Refuse a window that lies wholly in the padding."""
    for window in windows:
        for position in range(window.output):
            start = position * window.stride - window.before
            first = max(0, -(start // window.dilation))
            if first >= window.kernel or start + first * window.dilation >= window.extent:
                raise ShapeError(
                    f"window {position} along {window.name} lies wholly in the padding: it reads from {start} to "
                    f"{start + window.reach - 1} of an input of {window.extent}"
                )


def window_constants(windows: Sequence[Window], letters: str) -> dict[str, int]:
    """Constants `SH`, `DH`, `PH`, `FH`, ... of the windows: stride, dilation, padding before, kernel extent."""
    constants: dict[str, int] = {}
    for suffix, window in zip(SUFFIXES[len(windows)], windows, strict=True):
        values = {"S": window.stride, "D": window.dilation, "P": window.before, "F": window.kernel}
        constants |= {letter + suffix: values[letter] for letter in letters}
    return constants


def padding_sides(
    padding: Padding, extents: Shape, kernels: Shape, strides: Shape, dilations: Shape
) -> tuple[tuple[int, int], ...]:
    """The cells of padding before and after each spatial axis."""
    rank = len(extents)
    if isinstance(padding, str):
        return tuple(
            _named_padding(padding, extent, dilation * (kernel - 1) + 1, stride)
            for extent, kernel, stride, dilation in zip(extents, kernels, strides, dilations, strict=True)
        )
    if not isinstance(padding, Sequence):
        both = integer("padding", padding, 0)
        return ((both, both),) * rank
    if len(padding) == rank and all(isinstance(entry, Sequence) and len(entry) == 2 for entry in padding):
        pairs = cast("Sequence[tuple[int, int]]", padding)
        return tuple((integer("padding", pair[0], 0), integer("padding", pair[1], 0)) for pair in pairs)
    if len(padding) == rank and not any(isinstance(entry, Sequence) for entry in padding):
        numbers = [integer("padding", entry, 0) for entry in padding]
        return tuple((number, number) for number in numbers)
    forms = "1 number or 1 pair" if rank == 1 else f"{rank} numbers or {rank} pairs"
    raise ArgumentError(f"`padding` (={padding!r}) must be an integer, {forms} (before, after), or a name")


def _named_padding(name: str, extent: int, reach: int, stride: int) -> tuple[int, int]:
    if name == "valid":
        return 0, 0
    if name == "full":
        return reach - 1, reach - 1
    if name == "same":
        total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
        return total // 2, total - total // 2
    raise ArgumentError(f"`padding` (={name!r}) must be 'valid', 'same' or 'full' where it is a name")


def _windows(
    extents: Shape, kernels: Shape, stride: Integers, padding: Padding, dilation: Integers
) -> tuple[Window, ...]:
    rank = len(extents)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    sides = padding_sides(padding, extents, kernels, strides, dilations)
    return tuple(
        Window(name, extent, kernel, step, spread, before, after, 0)
        for name, extent, kernel, step, spread, (before, after) in zip(
            SPATIAL_NAMES[rank], extents, kernels, strides, dilations, sides, strict=True
        )
    )


def _with_output(window: Window, output: int) -> Window:
    return Window(
        window.name, window.extent, window.kernel, window.stride, window.dilation, window.before, window.after, output
    )


def _floor_output(window: Window) -> int:
    padded = window.extent + window.before + window.after
    if window.reach > padded:
        raise ShapeError(
            f"kernel {window.name} (={window.kernel}, with dilation {window.dilation} reaching over {window.reach}) "
            f"must be at most the padded input (={padded})"
        )
    return (padded - window.reach) // window.stride + 1


def _ceil_output(window: Window) -> int:
    free = window.extent + window.before + window.after - window.reach
    output = -(-free // window.stride) + 1
    if output < 1:
        return _floor_output(window)
    return output - 1 if (output - 1) * window.stride >= window.extent + window.before else output
