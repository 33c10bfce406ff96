"""Losses (MATHS.md, section 6): what a network is trained to make small.

The equations are in `equations/loss.py` and `equations/classification.py`; what stands here is which targets a loss
takes. Labels are integers of any type, checked against the classes; elementwise losses take floats of the shape of
the prediction, or labels, which stand for one-hot rows. Each is the mean over the batch unless `reduction` is "sum".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.language.system import System
from pellucid.nn.equations import classification, loss
from pellucid.nn.layer import Shape
from pellucid.nn.targets import Array, check_labels, floats, is_labels, one_hot

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CategoricalCrossEntropyLoss",
    "CrossEntropyLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "NLLLoss",
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
class CrossEntropyLoss:
    """`-log softmax(y)` at the label: for logits, the classes on the last axis.

    `class_weights` (one for each class) weigh the rows, `ignore_index` is a label whose rows do not count,
    `label_smoothing` e takes `(1 - e)*t + e/classes` for the target. Targets are labels, or probabilities of the
    shape of the prediction (without `ignore_index`).
    """

    class_weights: Sequence[float] | None = None
    ignore_index: int | None = None
    label_smoothing: float = 0.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        _check_class_weights(self.class_weights)

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        return _class_weights(self.class_weights, dtype)

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        labelled = target == prediction[:-1]
        return classification.cross_entropy(
            prediction,
            target,
            _weights_shape(self.class_weights),
            ignore_index=self.ignore_index if labelled else None,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        if is_labels(target):
            return check_labels(target, prediction[:-1], prediction[-1], self.ignore_index)
        return floats(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array:
        """Whether the largest logit is at the label."""
        return _largest_at_label(prediction, target, self.ignore_index)


@dataclass(frozen=True)
class NLLLoss:
    """`-y` at the label: for log-probabilities, behind `LogSoftmax`. Attributes as in `CrossEntropyLoss`."""

    class_weights: Sequence[float] | None = None
    ignore_index: int | None = None
    reduction: str = "mean"

    def __post_init__(self) -> None:
        _check_class_weights(self.class_weights)

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        return _class_weights(self.class_weights, dtype)

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        weights = _weights_shape(self.class_weights)
        return classification.nll_loss(
            prediction, target, weights, ignore_index=self.ignore_index, reduction=self.reduction
        )

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        del dtype
        if not is_labels(target):
            raise ArgumentError(f"`t` has dtype {target.dtype}; NLLLoss takes labels (integers)")
        return check_labels(target, prediction[:-1], prediction[-1], self.ignore_index)

    def correct(self, prediction: Array, target: Array) -> Array:
        """Whether the largest log-probability is at the label."""
        return _largest_at_label(prediction, target, self.ignore_index)


@dataclass(frozen=True)
class CategoricalCrossEntropyLoss:
    """`-sum t*log(y)` over the last axis, for probabilities `y`: behind `Softmax`."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        return classification.categorical_cross_entropy(prediction, target, reduction=self.reduction)

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return _elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array:
        """Whether the largest probability is where the target's is."""
        return _largest_at_label(prediction, target, None)


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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

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
        taken = _elementwise(target, prediction, dtype)
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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype, low=-1.0)

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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

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
        return _elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array | None:
        """Whether each row's largest logit, or a single one against 0, is on the target's side."""
        return _binary_correct(prediction, target, 0.0)


def _elementwise(target: Array, prediction: Shape, dtype: str, low: float = 0.0) -> Array:
    """Floats of the prediction's shape; labels as one-hot rows."""
    if is_labels(target) and target.ndim == len(prediction) - 1:
        return one_hot(check_labels(target, prediction[:-1], prediction[-1]), prediction[-1], dtype, low)
    return floats(target, prediction, dtype)


def _check_class_weights(weights: Sequence[float] | None) -> None:
    for number, weight in enumerate(weights or ()):
        if not isfinite(weight) or weight < 0:
            raise ArgumentError(f"`class_weights[{number}]` (={weight}) must be a finite number, 0 or above")


def _class_weights(weights: Sequence[float] | None, dtype: str) -> Mapping[str, Array]:
    return {} if weights is None else {"w": np.asarray(weights, dtype)}


def _weights_shape(weights: Sequence[float] | None) -> Shape | None:
    return None if weights is None else (len(weights),)


def _largest_at_label(prediction: Array, target: Array, ignored: int | None) -> Array:
    labels = target if is_labels(target) else target.argmax(-1)
    right = prediction.argmax(-1) == labels
    return right if ignored is None or not is_labels(target) else right[labels != ignored]


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
