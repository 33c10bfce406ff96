"""Losses of weighted rows. A target row begins with the row's weight and the mean weight that it is divided by.

The mean over a batch is over its rows, not over their weights: then the gradient of a random batch is on average that
of all rows, however unequal the weights are. Over all rows at once it is the weighted mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.language.system import System
from pellucid.nn.equations.activation import exponentials
from pellucid.nn.equations.notation import system
from pellucid.nn.layer import Shape
from pellucid.nn.targets import floats

__all__ = ["WeightedCrossEntropyLoss", "WeightedSquaredLoss", "weighted_targets"]

Array: TypeAlias = NDArray[Any]

_WEIGHT = "t[n,0] / t[n,1]"
_BESIDE = 2  # columns before the target itself


def weighted_targets(targets: Array, weights: Array, mean: float) -> NDArray[np.float32]:
    """Targets (rows, columns) as the losses here take them: (rows, 2 + columns), the weight and `mean` in front."""
    return np.column_stack([weights, np.full(len(weights), mean), targets]).astype(np.float32)


@dataclass(frozen=True)
class WeightedCrossEntropyLoss:
    """`-w/mean * log softmax(y)` at the label, for logits `y` (rows, classes) and targets (w, mean, label)."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        del target
        softmax = (text.replace("x[", "y[") for text in exponentials("n,c", "[n]"))
        cost = "log(total[n]) - (y[n,c] - stop(largest[n]))"
        return system(
            *softmax,
            f"loss[n] = sum(c) where(t[n,2] == c, {_WEIGHT} * ({cost}), 0)",
            "z = (sum(n) loss[n]) / N",
            constants={"N": prediction[0]},
        )

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return floats(target, (prediction[0], _BESIDE + 1), dtype)

    def correct(self, prediction: Array, target: Array) -> Array:
        """Whether the largest logit is at the label; every row counts alike."""
        return prediction.argmax(-1) == target[:, _BESIDE]


@dataclass(frozen=True)
class WeightedSquaredLoss:
    """`w/mean * (y - t)^2`, its mean over the outputs, for predictions (rows, outputs) and targets (w, mean, t...)."""

    reduction: str = "mean"

    def weights(self, dtype: str) -> Mapping[str, Array]:
        """See `Loss`."""
        del dtype
        return {}

    def system(self, prediction: Shape, target: Shape) -> System:
        """See `Loss`."""
        del target
        rows, outputs = prediction
        return system(
            f"z = (sum(n,o) {_WEIGHT} * (y[n,o] - t[n,o+2])**2) / N",
            constants={"N": rows * outputs},
        )

    def take(self, target: Array, prediction: Shape, dtype: str) -> Array:
        """See `Loss`."""
        return floats(target, (prediction[0], _BESIDE + prediction[1]), dtype)

    def correct(self, prediction: Array, target: Array) -> None:
        """None: numbers are near or far, not right or wrong."""
        del prediction, target
