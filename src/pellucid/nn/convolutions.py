"""Convolution layers. Images are channels last, kernels `[window..., channels in / groups, channels out]`.

The equations are in `equations/convolution.py`; what stands here is which parameters they read, and how those start.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

from pellucid.errors import ArgumentError
from pellucid.language.system import System
from pellucid.nn.equations import convolution as equations
from pellucid.nn.equations.window import Integers, Padding, integer, per_axis
from pellucid.nn.initialisers import Initialiser, initialiser
from pellucid.nn.layer import Parameter, Shape, Stage
from pellucid.nn.symbolic import apply, only

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


@dataclass(frozen=True)
class Conv1d:
    """`channels` kernels over (batch, width, channels). See `Conv2d`."""

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _convolution(self, 1, equations.conv1d, only("Conv1d", shapes))

    __call__ = apply


@dataclass(frozen=True)
class Conv2d:
    """`channels` kernels of `kernel_size` over (batch, height, width, channels).

    `padding` is a number, one for each axis, a pair of sides for each axis, or "valid", "same", "full"; `flip` turns
    the kernels by 180 degrees (true convolution). Parameters: `weight`, shape (window..., channels in / groups,
    channels), and `bias`.
    """

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _convolution(self, 2, equations.conv2d, only("Conv2d", shapes))

    __call__ = apply


@dataclass(frozen=True)
class Conv3d:
    """`channels` kernels over (batch, depth, height, width, channels). See `Conv2d`."""

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _convolution(self, 3, equations.conv3d, only("Conv3d", shapes))

    __call__ = apply


@dataclass(frozen=True)
class ConvTranspose1d:
    """The input gradient of `Conv1d` used forward. See `ConvTranspose2d`."""

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    output_padding: Integers = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _transposed(self, 1, equations.conv_transpose1d, only("ConvTranspose1d", shapes))

    __call__ = apply


@dataclass(frozen=True)
class ConvTranspose2d:
    """The input gradient of `Conv2d` used forward: `channels` output channels from (batch, height, width, channels).

    `output_padding` lengthens the result where the stride leaves its size open. Parameters: `weight`, shape
    (window..., channels / groups, channels in), and `bias`.
    """

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    output_padding: Integers = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _transposed(self, 2, equations.conv_transpose2d, only("ConvTranspose2d", shapes))

    __call__ = apply


@dataclass(frozen=True)
class ConvTranspose3d:
    """The input gradient of `Conv3d` used forward. See `ConvTranspose2d`."""

    channels: int
    kernel_size: Integers
    stride: Integers = 1
    padding: Padding = 0
    output_padding: Integers = 0
    dilation: Integers = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _transposed(self, 3, equations.conv_transpose3d, only("ConvTranspose3d", shapes))

    __call__ = apply


class _ConvolutionEquation(Protocol):
    def __call__(
        self,
        x: Shape,
        w: Shape,
        b: Shape | None = None,
        *,
        stride: Integers,
        padding: Padding,
        dilation: Integers,
        groups: int,
        flip: bool,
    ) -> System: ...


class _TransposedEquation(Protocol):
    def __call__(
        self,
        x: Shape,
        w: Shape,
        b: Shape | None = None,
        *,
        stride: Integers,
        padding: Padding,
        output_padding: Integers,
        dilation: Integers,
        groups: int,
        flip: bool,
    ) -> System: ...


def _convolution(layer: Conv1d | Conv2d | Conv3d, rank: int, equation: _ConvolutionEquation, x: Shape) -> Stage:
    channels, window, groups = _checked(layer, rank)
    w = (*window, x[-1] // groups, channels)
    parameters = _parameters(layer, w, fan_in=prod(w[:-1]), fan_out=prod(window) * channels // groups)
    system = equation(
        x,
        *(parameter.shape for parameter in parameters),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=groups,
        flip=layer.flip,
    )
    return Stage(system, parameters)


def _transposed(
    layer: ConvTranspose1d | ConvTranspose2d | ConvTranspose3d, rank: int, equation: _TransposedEquation, x: Shape
) -> Stage:
    channels, window, groups = _checked(layer, rank)
    if channels % groups:
        raise ArgumentError(f"`channels` (={channels}) must be divisible by `groups` (={groups})")
    w = (*window, channels // groups, x[-1])
    # Only every stride-th tap meets an output.
    taps = max(1, prod(window) // prod(per_axis("stride", layer.stride, rank, 1)))
    parameters = _parameters(layer, w, fan_in=taps * max(1, x[-1] // groups), fan_out=prod(w[:-1]))
    system = equation(
        x,
        *(parameter.shape for parameter in parameters),
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=groups,
        flip=layer.flip,
    )
    return Stage(system, parameters)


_Layer = Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d


def _checked(layer: _Layer, rank: int) -> tuple[int, Shape, int]:
    """Channels, window and groups of a layer as integers."""
    channels = integer("channels", layer.channels, 1)
    return channels, per_axis("kernel_size", layer.kernel_size, rank, 1), integer("groups", layer.groups, 1)


def _parameters(layer: _Layer, w: Shape, *, fan_in: int, fan_out: int) -> tuple[Parameter, ...]:
    weight = Parameter("weight", "w", w, initialiser(layer.weight), max(1, fan_in), max(1, fan_out), decayed=True)
    bias = Parameter("bias", "b", (layer.channels,), initialiser("zeros"))
    return (weight, bias) if layer.bias else (weight,)
