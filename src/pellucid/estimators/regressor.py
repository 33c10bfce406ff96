"""`CNNRegressor`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from pellucid.errors import ArgumentError, ShapeError
from pellucid.estimators.base import CNNEstimator, Goal
from pellucid.estimators.examples import Examples
from pellucid.estimators.losses import WeightedSquaredLoss
from pellucid.estimators.standardise import Standardisation

__all__ = ["CNNRegressor"]

Array: TypeAlias = NDArray[Any]


class CNNRegressor(RegressorMixin, CNNEstimator):
    """A network that gives numbers, by the least weighted mean of squared errors. Inputs, parameters and attributes are
    those of `CNNClassifier`, without what is about classes.

    `network` gives as many numbers as `y` has columns; a function gets that count. Targets are standardised too while
    they are learned, each column by itself, so that the loss in `history_` is a fraction of their variance.
    """

    _flat: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for `epochs`, from new parameters unless `warm_start`.

        `y` has a number for each sample, (samples,), or several, (samples, outputs). Weights and errors as in
        `CNNClassifier.fit`.
        """
        fresh, epochs = not (self.warm_start and self._fitted), self._epochs()
        with self._all_or_nothing():
            examples = self._numbered(self._given(X, y, sample_weight, fresh=fresh), fresh=fresh)
            return self._learn(examples, fresh=fresh, epochs=epochs, held_back=bool(self.early_stopping))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over these samples, in batches of `batch_size`; those of the first call say how inputs and targets
        are standardised. Errors as in `fit`; `early_stopping`, which needs all data at once, is refused."""
        if self.early_stopping:
            raise ArgumentError("`early_stopping` (=True) needs all data at once: use fit, not partial_fit")
        fresh = not self._fitted
        with self._all_or_nothing():
            examples = self._numbered(self._given(X, y, sample_weight, fresh=fresh), fresh=fresh)
            return self._learn(examples, fresh=fresh, epochs=1, held_back=False)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(samples,), or (samples, outputs) where `y` had columns; float64."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._flat else outputs

    def _numbered(self, given: Examples, *, fresh: bool) -> Examples:
        """Targets in columns."""
        columns = given.targets.reshape(len(given), -1).astype(np.float64)
        if fresh:
            self._flat = given.targets.ndim == 1
        elif columns.shape[1] != self._goal.outputs:
            raise ShapeError(
                f"`y` has {columns.shape[1]} columns, but {type(self).__name__} was fitted to {self._goal.outputs}"
            )
        return replace(given, targets=columns)

    def _goal_of(self, training: Examples) -> Goal:
        scaling = Standardisation.of("y", training.targets, training.weights)
        return Goal(WeightedSquaredLoss(), training.targets.shape[1], scaling)
