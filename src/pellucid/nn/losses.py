"""What a loss is, and the elementwise losses (MATHS.md, section 6); those over classes are in `class_losses.py`.

The equations are in `equations/loss.py`; what stands here is which targets a loss takes: floats of the shape of the
prediction, or labels, which stand for one-hot rows. Each is the mean over all elements unless `reduction` is "sum".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pellucid.errors import ArgumentError
from pellucid.language.system import System
from pellucid.nn.equations import loss
from pellucid.nn.layer import Shape
from pellucid.nn.targets import Array, elementwise

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "SmoothL1Loss",
    "SquaredErrorLoss",
]


class Loss(Protocol):
    """What `build` asks of a loss."""

    @property
    def reduction(self) -> str:
        """ "mean" or "sum"; a network is trained on one number, so "none" is refused when it is built."""
        ...

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """Arrays beside prediction and target that the equations read, by local name."""
        ...

    def system(self, prediction: Shape, target: Shape) -> System:
        """The equations on `y`, the prediction, and `t`, the target as `take` gives it."""
        ...

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """The target as int64 labels or floats of `dtype`; PellucidError where it does not fit the prediction."""
        ...

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """For each row or element counted, whether the prediction is right; None where that has no meaning."""
        ...


@dataclass(frozen=True)
class MSELoss:
    """`(y - t)^2`."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.mse_loss(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class SquaredErrorLoss:
    """`(t - y)^2 / 2`, summed, whose gradient is `y - t`."""

    reduction: str = "sum"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.squared_error_loss(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class L1Loss:
    """`|y - t|`."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.l1_loss(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class MSLELoss:
    """`(log(1 + y) - log(1 + t))^2`; targets must be above -1, and so must predictions."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.msle_loss(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        taken = elementwise(target, prediction, dtype)
        if (taken <= -1).any():
            raise ArgumentError(f"`t` holds {taken.min():g}; MSLELoss takes targets above -1")
        return taken

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class MAPELoss:
    """`|y - t| / max(|t|, eps)`, as a fraction of 1."""

    eps: float = 1e-8
    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.mape_loss(prediction, target, eps=self.eps, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class HuberLoss:
    """`(y - t)^2 / 2` up to `delta`, beyond it the line that continues it."""

    delta: float = 1.0
    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.huber_loss(prediction, target, delta=self.delta, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class SmoothL1Loss:
    """`(y - t)^2 / (2*beta)` up to `beta`, beyond it `|y - t| - beta/2`."""

    beta: float = 1.0
    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.smooth_l1_loss(prediction, target, beta=self.beta, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class HingeLoss:
    """`max(1 - t*y, 0)` for targets 1 and -1; labels become rows of -1 with a 1."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.hinge_loss(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype, low=-1.0)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class KLDivLoss:
    """`t*(log(t) - y)` for log-probabilities `y`; `log_target` says that `t` is one too."""

    log_target: bool = False
    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.kl_div(prediction, target, log_target=self.log_target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether the largest value of each row is where the target's is, for rows that are one-hot."""
        return _one_hot_correct(prediction, target)


@dataclass(frozen=True)
class BCELoss:
    """`-(t*log(y) + (1 - t)*log(1 - y))` for probabilities `y`: behind `Sigmoid`."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.binary_cross_entropy(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether each row's largest probability, or a single one against 1/2, is on the target's side."""
        return _binary_correct(prediction, target, 0.5)


@dataclass(frozen=True)
class BCEWithLogitsLoss:
    """The binary cross-entropy of `sigmoid(y)`, without overflow."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return loss.binary_cross_entropy_with_logits(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether each row's largest logit, or a single one against 0, is on the target's side."""
        return _binary_correct(prediction, target, 0.0)


def _one_hot_correct(prediction: Array, target: Array) -> Array | None:
    classes = prediction.shape[-1]
    ones = (target == 1).sum(-1) == 1
    others = (target <= 0).sum(-1) == classes - 1
    if classes < 2 or not (ones & others).all():
        return None
    return prediction.argmax(-1) == target.argmax(-1)


def _binary_correct(prediction: Array, target: Array, threshold: float) -> Array:
    by_row = _one_hot_correct(prediction, target)
    return by_row if by_row is not None else (prediction > threshold) == (target > 0.5)
