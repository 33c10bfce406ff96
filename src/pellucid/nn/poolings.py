"""Pooling layers (MATHS.md, section 4) over channels-last images; their equations are in `equations/pooling.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.errors import ShapeError
from pellucid.nn.equations import pooling as equations
from pellucid.nn.equations.window import Integers, Padding
from pellucid.nn.layer import Shape, Stage
from pellucid.nn.symbolic import apply, only

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LPPool1d",
    "LPPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


@dataclass(frozen=True)
class MaxPool1d:
    """See `MaxPool2d`; over 1 spatial axis."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    dilation: Integers = 1
    ceil_mode: bool = False

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.max_pool(
            _image("MaxPool1d", 1, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class MaxPool2d:
    """The largest value of each window; of several equal ones the first wins. The stride is the window unless given."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    dilation: Integers = 1
    ceil_mode: bool = False

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.max_pool(
            _image("MaxPool2d", 2, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class MaxPool3d:
    """See `MaxPool2d`; over 3 spatial axes."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    dilation: Integers = 1
    ceil_mode: bool = False

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.max_pool(
            _image("MaxPool3d", 3, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class AvgPool1d:
    """See `AvgPool2d`; over 1 spatial axis."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.avg_pool(
            _image("AvgPool1d", 1, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class AvgPool2d:
    """The mean of each window; padding counts as zeros with `count_include_pad`."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.avg_pool(
            _image("AvgPool2d", 2, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class AvgPool3d:
    """See `AvgPool2d`; over 3 spatial axes."""

    kernel_size: Integers
    stride: Integers | None = None
    padding: Padding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.avg_pool(
            _image("AvgPool3d", 3, shapes),
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class LPPool1d:
    """See `LPPool2d`; over 1 spatial axis."""

    norm_type: float
    kernel_size: Integers
    stride: Integers | None = None
    ceil_mode: bool = False

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.lp_pool(
            _image("LPPool1d", 1, shapes),
            norm_type=self.norm_type,
            kernel_size=self.kernel_size,
            stride=self.stride,
            ceil_mode=self.ceil_mode,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class LPPool2d:
    """The p-norm of each window, p = `norm_type`."""

    norm_type: float
    kernel_size: Integers
    stride: Integers | None = None
    ceil_mode: bool = False

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        system = equations.lp_pool(
            _image("LPPool2d", 2, shapes),
            norm_type=self.norm_type,
            kernel_size=self.kernel_size,
            stride=self.stride,
            ceil_mode=self.ceil_mode,
        )
        return Stage(system)

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveAvgPool1d:
    """See `AdaptiveAvgPool2d`; over 1 spatial axis."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_avg_pool(_image("AdaptiveAvgPool1d", 1, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveAvgPool2d:
    """The mean of windows that divide the image into `output_size` parts."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_avg_pool(_image("AdaptiveAvgPool2d", 2, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveAvgPool3d:
    """See `AdaptiveAvgPool2d`; over 3 spatial axes."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_avg_pool(_image("AdaptiveAvgPool3d", 3, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveMaxPool1d:
    """See `AdaptiveMaxPool2d`; over 1 spatial axis."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_max_pool(_image("AdaptiveMaxPool1d", 1, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveMaxPool2d:
    """The largest value of windows that divide the image into `output_size` parts."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_max_pool(_image("AdaptiveMaxPool2d", 2, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class AdaptiveMaxPool3d:
    """See `AdaptiveMaxPool2d`; over 3 spatial axes."""

    output_size: int | Sequence[int | None]

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.adaptive_max_pool(_image("AdaptiveMaxPool3d", 3, shapes), output_size=self.output_size))

    __call__ = apply


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean of each channel over all positions: (batch, ..., channels) becomes (batch, channels)."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.global_avg_pool(only("GlobalAvgPool", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class GlobalMaxPool:
    """The largest value of each channel over all positions: (batch, ..., channels) becomes (batch, channels)."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.global_max_pool(only("GlobalMaxPool", shapes)))

    __call__ = apply


def _image(layer: str, rank: int, shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input, which must have `rank` spatial axes."""
    shape = only(layer, shapes)
    if len(shape) != rank + 2:
        raise ShapeError(
            f"{layer} takes (batch, {rank} spatial, channels), {rank + 2} axes; its input has shape {shape}"
        )
    return shape
