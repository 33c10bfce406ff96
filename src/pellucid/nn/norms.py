"""Normalisation layers, and dropout; their equations are in `equations/normalization.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.equations import normalization as equations
from pellucid.nn.equations.activation import identity
from pellucid.nn.initialisers import Constant
from pellucid.nn.layer import Mask, Parameter, Reshape, Running, Shape, Stage, Training
from pellucid.nn.symbolic import apply, only

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Dropout", "LayerNorm", "LocalResponseNorm"]


@dataclass(frozen=True)
class BatchNorm1d:
    """See `BatchNorm2d`; over (batch, channels) or (batch, width, channels)."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _batch_norm(self, only("BatchNorm1d", shapes), (2, 3))

    __call__ = apply


@dataclass(frozen=True)
class BatchNorm2d:
    """Each channel of (batch, height, width, channels) to mean 0 and variance 1, then times `weight` plus `bias`.

    Training takes the statistics of the batch and moves `running_mean` and `running_var` towards them by `momentum`
    (the variance by its unbiased form); inference takes the running ones.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _batch_norm(self, only("BatchNorm2d", shapes), (4,))

    __call__ = apply


@dataclass(frozen=True)
class BatchNorm3d:
    """See `BatchNorm2d`; over (batch, depth, height, width, channels)."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _batch_norm(self, only("BatchNorm3d", shapes), (5,))

    __call__ = apply


@dataclass(frozen=True)
class LayerNorm:
    """The last axes, as many as `normalized_shape` has (all but the batch unless given), to mean 0 and variance 1."""

    normalized_shape: int | Sequence[int] | None = None
    eps: float = 1e-5
    affine: bool = True

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("LayerNorm", shapes)
        given = x[1:] if self.normalized_shape is None else self.normalized_shape
        shape = (given,) if isinstance(given, int) else tuple(given)
        parameters = _scale_and_shift(shape) if self.affine else ()
        system = equations.layer_norm(
            x, *(parameter.shape for parameter in parameters), normalized_shape=shape, eps=self.eps
        )
        return Stage(system, parameters)

    __call__ = apply


@dataclass(frozen=True)
class LocalResponseNorm:
    """`x / (k + alpha / size * sum of x^2 over size neighbouring channels) ** beta`."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("LocalResponseNorm", shapes)
        return Stage(equations.local_response_norm(x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k))

    __call__ = apply


@dataclass(frozen=True)
class Dropout:
    """In training, each element is 0 with probability `p` and else divided by `1 - p`; in inference, nothing.

    The mask follows from the model's seed, the step and the layer alone, whatever the number of threads.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ArgumentError(f"`p` (={self.p}) must be at least 0 and below 1")

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("Dropout", shapes)
        passed = Reshape(x, identity(x))
        if self.p == 0:
            return Stage(passed)
        return Stage(passed, training=lambda: Training(equations.dropout(x, x, p=self.p), mask=Mask("m", x, self.p)))

    __call__ = apply


def _batch_norm(layer: BatchNorm1d | BatchNorm2d | BatchNorm3d, x: Shape, ranks: tuple[int, ...]) -> Stage:
    if len(x) not in ranks:
        wanted = " or ".join(str(rank) for rank in ranks)
        raise ShapeError(f"{type(layer).__name__} takes {wanted} axes; its input has shape {x}")
    channels = (x[-1],)
    affine = _scale_and_shift(channels) if layer.affine else ()
    running = (
        Parameter("running_mean", "mean", channels, Constant(0.0), trained=False),
        Parameter("running_var", "variance", channels, Constant(1.0), trained=False),
    )
    shapes = [parameter.shape for parameter in affine]

    def training() -> Training:
        mean = equations.running_mean(x, channels, momentum=layer.momentum)
        variance = equations.running_variance(x, channels, momentum=layer.momentum)
        return Training(
            equations.batch_norm(x, *shapes, eps=layer.eps),
            running=(Running("running_mean", mean), Running("running_var", variance)),
        )

    inference = equations.batch_norm_inference(x, channels, channels, *shapes, eps=layer.eps)
    return Stage(inference, (*affine, *running), training=training)


def _scale_and_shift(shape: Shape) -> tuple[Parameter, ...]:
    return (Parameter("weight", "w", shape, Constant(1.0)), Parameter("bias", "b", shape, Constant(0.0)))
