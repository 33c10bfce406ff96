"""Losses over classes (MATHS.md, section 6), the classes on the last axis of the prediction.

The equations are in `equations/classification.py`. Targets are labels, integers of any type that are checked against
the classes, or rows of probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.language.system import System
from pellucid.nn.equations import classification
from pellucid.nn.layer import Shape
from pellucid.nn.targets import Array, check_labels, elementwise, floats, is_labels

__all__ = ["CategoricalCrossEntropyLoss", "CrossEntropyLoss", "NLLLoss"]


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
        return elementwise(target, prediction, dtype)

    def correct(self, prediction: Array, target: Array) -> Array:
        """Whether the largest probability is where the target's is."""
        return _largest_at_label(prediction, target, None)


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
