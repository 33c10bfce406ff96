"""Pooling on arrays (MATHS.md, section 4), float32 or float64.

The images are (n, spatial ..., channels), with layout="NCHW" (n, channels, spatial ...). `padding` as `conv2d`, but at
most half a window; of several equal maxima the first in row-major order takes the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.language.system import System
from pellucid.nn import equations
from pellucid.nn.equations.notation import check_image
from pellucid.nn.equations.window import Integers, Padding
from pellucid.ops.operation import Applied, Array, floats, operation

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool1d",
    "global_avg_pool2d",
    "global_avg_pool3d",
    "global_max_pool1d",
    "global_max_pool2d",
    "global_max_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _check(x: Array, rank: int, layout: str) -> None:
    floats(x=x)
    check_image("x", x.shape, rank, layout)


def _of(x: Array, system: System) -> Applied:
    return Applied(system, {"x": x})


@operation
def max_pool1d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    dilation: Integers = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The largest value of each window over width; the stride is the kernel's extent unless given."""
    _check(x, 1, layout)
    return _of(
        x,
        equations.max_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            layout=layout,
        ),
    )


@operation
def max_pool2d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    dilation: Integers = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The largest value of each window over height and width; the stride is the kernel's extent unless given."""
    _check(x, 2, layout)
    return _of(
        x,
        equations.max_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            layout=layout,
        ),
    )


@operation
def max_pool3d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    dilation: Integers = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The largest value of each window over depth, height and width; the stride is the kernel's extent unless given."""
    _check(x, 3, layout)
    return _of(
        x,
        equations.max_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            layout=layout,
        ),
    )


@operation
def avg_pool1d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NHWC",
) -> Applied:
    """The mean of each window over width, padding counted as cells of value 0 or not at all."""
    _check(x, 1, layout)
    return _of(
        x,
        equations.avg_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            layout=layout,
        ),
    )


@operation
def avg_pool2d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NHWC",
) -> Applied:
    """The mean of each window over height and width, padding counted as cells of value 0 or not at all."""
    _check(x, 2, layout)
    return _of(
        x,
        equations.avg_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            layout=layout,
        ),
    )


@operation
def avg_pool3d(
    x: Array,
    kernel_size: Integers,
    stride: Integers | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NHWC",
) -> Applied:
    """The mean of each window over depth, height and width, padding counted as cells of value 0 or not at all."""
    _check(x, 3, layout)
    return _of(
        x,
        equations.avg_pool(
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            layout=layout,
        ),
    )


@operation
def lp_pool1d(
    x: Array,
    norm_type: float,
    kernel_size: Integers,
    stride: Integers | None = None,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """`(sum(window) abs(x)**p) ** (1/p)` over width, `p` = `norm_type`."""
    _check(x, 1, layout)
    return _of(
        x,
        equations.lp_pool(
            x.shape, norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode, layout=layout
        ),
    )


@operation
def lp_pool2d(
    x: Array,
    norm_type: float,
    kernel_size: Integers,
    stride: Integers | None = None,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """`(sum(window) abs(x)**p) ** (1/p)` over height and width, `p` = `norm_type`."""
    _check(x, 2, layout)
    return _of(
        x,
        equations.lp_pool(
            x.shape, norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode, layout=layout
        ),
    )


@operation
def lp_pool3d(
    x: Array,
    norm_type: float,
    kernel_size: Integers,
    stride: Integers | None = None,
    ceil_mode: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """`(sum(window) abs(x)**p) ** (1/p)` over depth, height and width, `p` = `norm_type`."""
    _check(x, 3, layout)
    return _of(
        x,
        equations.lp_pool(
            x.shape, norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode, layout=layout
        ),
    )


@operation
def adaptive_avg_pool1d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The mean over windows from floor(i*N/M) to ceil((i+1)*N/M), M = `output_size` (None: as many as cells)."""
    _check(x, 1, layout)
    return _of(x, equations.adaptive_avg_pool(x.shape, output_size=output_size, layout=layout))


@operation
def adaptive_avg_pool2d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The mean over windows from floor(i*N/M) to ceil((i+1)*N/M), M = `output_size` (None: as many as cells)."""
    _check(x, 2, layout)
    return _of(x, equations.adaptive_avg_pool(x.shape, output_size=output_size, layout=layout))


@operation
def adaptive_avg_pool3d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The mean over windows from floor(i*N/M) to ceil((i+1)*N/M), M = `output_size` (None: as many as cells)."""
    _check(x, 3, layout)
    return _of(x, equations.adaptive_avg_pool(x.shape, output_size=output_size, layout=layout))


@operation
def adaptive_max_pool1d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The largest value over windows as those of `adaptive_avg_pool2d`, `output_size` of them."""
    _check(x, 1, layout)
    return _of(x, equations.adaptive_max_pool(x.shape, output_size=output_size, layout=layout))


@operation
def adaptive_max_pool2d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The largest value over windows as those of `adaptive_avg_pool2d`, `output_size` of them."""
    _check(x, 2, layout)
    return _of(x, equations.adaptive_max_pool(x.shape, output_size=output_size, layout=layout))


@operation
def adaptive_max_pool3d(x: Array, output_size: int | Sequence[int | None], layout: str = "NHWC") -> Applied:
    """The largest value over windows as those of `adaptive_avg_pool2d`, `output_size` of them."""
    _check(x, 3, layout)
    return _of(x, equations.adaptive_max_pool(x.shape, output_size=output_size, layout=layout))


@operation
def global_avg_pool1d(x: Array, layout: str = "NHWC") -> Applied:
    """The mean of each channel over all positions: (n, c)."""
    _check(x, 1, layout)
    return _of(x, equations.global_avg_pool(x.shape, layout=layout))


@operation
def global_avg_pool2d(x: Array, layout: str = "NHWC") -> Applied:
    """The mean of each channel over all positions: (n, c)."""
    _check(x, 2, layout)
    return _of(x, equations.global_avg_pool(x.shape, layout=layout))


@operation
def global_avg_pool3d(x: Array, layout: str = "NHWC") -> Applied:
    """The mean of each channel over all positions: (n, c)."""
    _check(x, 3, layout)
    return _of(x, equations.global_avg_pool(x.shape, layout=layout))


@operation
def global_max_pool1d(x: Array, layout: str = "NHWC") -> Applied:
    """The largest value of each channel over all positions: (n, c)."""
    _check(x, 1, layout)
    return _of(x, equations.global_max_pool(x.shape, layout=layout))


@operation
def global_max_pool2d(x: Array, layout: str = "NHWC") -> Applied:
    """The largest value of each channel over all positions: (n, c)."""
    _check(x, 2, layout)
    return _of(x, equations.global_max_pool(x.shape, layout=layout))


@operation
def global_max_pool3d(x: Array, layout: str = "NHWC") -> Applied:
    """The largest value of each channel over all positions: (n, c)."""
    _check(x, 3, layout)
    return _of(x, equations.global_max_pool(x.shape, layout=layout))
