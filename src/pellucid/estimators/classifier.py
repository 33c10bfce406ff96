"""`CNNClassifier`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from pellucid.errors import ArgumentError
from pellucid.estimators.base import CNNEstimator, Goal
from pellucid.estimators.examples import Examples
from pellucid.estimators.losses import WeightedCrossEntropyLoss
from pellucid.estimators.standardise import Standardisation

__all__ = ["CNNClassifier"]

Array: TypeAlias = NDArray[Any]


class CNNClassifier(ClassifierMixin, CNNEstimator):
    """A network that tells classes apart, for images (samples, height, width, channels), grey ones without the last
    axis, or vectors (samples, features); numbers of any real type.

    Args:
        network: None for one that suits the input (a small multilayer perceptron for vectors, two or more convolutions
            for images); "lenet5", "vgg", "resnet" or "rnn"; an `nn.Sequential` or `nn.Graph` that gives a logit for
            each class; or a function from the number of classes to one of these.
        image_shape: (height, width) or (height, width, channels); rows of a 2-D `X` are then images, flattened.
        epochs: how often `fit` goes over the data.
        batch_size: samples a step.
        optimizer: "sgd" (with momentum 0.9), "adam", "adamw", "rmsprop", "adagrad"; or an optimiser of
            `pellucid.optim`, which brings its own rate.
        learning_rate: a number, or a schedule of `pellucid.optim`, whose steps count on through all calls.
        class_weight: None, "balanced" (the same weight for every class together), or a weight for each label; times
            the sample's.
        early_stopping: hold `validation_fraction` of the samples back, stop when their loss has not become less for
            `n_iter_no_change` epochs, and keep the parameters of the best one.
        warm_start: `fit` goes on from where the last call ended, with the same standardisation and optimiser.
        random_state: of the first parameters, the order of samples, dropout and the split; the same one gives the same
            bits.
        threads: that share each step; the results do not depend on them.
        dtype: of parameters and arithmetic, "float32" or "float64"; None is float64 for vectors, float32 for images.
        verbose: a line of figures for every epoch, on stderr.

    Attributes:
        classes_: the labels, sorted.
        n_features_in_: how many numbers a sample has, an image's pixels and channels together.
        model_: the `nn.Model`. It takes float32 images, standardised, vectors as (samples, 1, 1, features).
        history_: the `train.History` of all epochs since the model was made.
    """

    classes_: Array

    def __init__(
        self,
        network: object = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 50,
        batch_size: int = 64,
        optimizer: object = "adamw",
        learning_rate: object = 0.003,
        class_weight: str | Mapping[Any, float] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: object = None,
        threads: int = 1,
        dtype: str | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            network,
            image_shape=image_shape,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            random_state=random_state,
            threads=threads,
            dtype=dtype,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for `epochs`, from new parameters unless `warm_start`.

        `y` (samples,) has a label for each sample. A sample of weight 0 counts as absent, one of weight 2 as if it were
        there twice; all weights are relative to their mean.

        Raises:
            ValueError: among its kinds ArgumentError, ShapeError and DataError: `X`, `y` or `sample_weight` do not fit
                each other or a parameter its rule; there is one class only; with `warm_start`, other classes.
            TrainingError: the loss is not finite.
        """
        fresh, epochs = not (self.warm_start and self._fitted), self._epochs()
        with self._all_or_nothing():
            given = self._given(X, y, sample_weight, fresh=fresh)
            check_classification_targets(given.targets)
            classes = np.unique(given.targets)
            if len(classes) < 2:
                raise ArgumentError(
                    f"`y` has one class only, {classes.tolist()}; a classifier needs at least 2 classes"
                )
            if fresh:
                self.classes_ = classes
            self._demand_classes("`y` has the classes", classes)
            return self._learn(self._encoded(given), fresh=fresh, epochs=epochs, held_back=bool(self.early_stopping))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over these samples, in batches of `batch_size`.

        The first call needs `classes`, all labels that will ever come; its samples say how inputs are standardised.
        Errors as in `fit`; `early_stopping` and balanced class weights, which need all data at once, are refused.
        """
        self._demand_whole_data()
        fresh = not self._fitted
        with self._all_or_nothing():
            given = self._given(X, y, sample_weight, fresh=fresh)
            check_classification_targets(given.targets)
            if fresh:
                self.classes_ = _all_classes(classes)
            elif classes is not None:
                self._demand_classes("`classes` are", np.unique(np.asarray(classes)))
            return self._learn(self._encoded(given), fresh=fresh, epochs=1, held_back=False)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(samples, classes), float64: the probability of each class, in the order of `classes_`."""
        logits = self._outputs(X)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """(samples,): the most probable label of each sample."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]

    def _goal_of(self, training: Examples) -> Goal:
        unscaled = Standardisation(np.zeros(1), np.ones(1))
        return Goal(WeightedCrossEntropyLoss(), len(self.classes_), unscaled)

    def _encoded(self, given: Examples) -> Examples:
        """Labels as numbers of classes, in a column, and weights times those of the classes."""
        known = np.isin(given.targets, self.classes_)
        if not known.all():
            wrong = given.targets[~known][0]
            raise ArgumentError(f"`y` has the label {wrong!r}, which is not among the classes {self.classes_.tolist()}")
        numbers = np.searchsorted(self.classes_, given.targets)
        weights = given.weights * self._class_weights(given.targets, numbers, given.weights)[numbers]
        return Examples(given.images, numbers[:, None].astype(np.float64), weights)

    def _class_weights(self, labels: Array, numbers: Array, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """A weight for each class, 0 or above."""
        if self.class_weight is None:
            return np.ones(len(self.classes_))
        if self.class_weight == "balanced":
            counts = np.bincount(numbers, weights, minlength=len(self.classes_))
            return counts.sum() / (len(counts) * counts)
        found = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        if not (np.isfinite(found).all() and (found >= 0).all()):
            raise ArgumentError(f"`class_weight` (={self.class_weight!r}) must have finite numbers, 0 or above")
        return found

    def _demand_classes(self, subject: str, classes: Array) -> None:
        if not np.array_equal(classes, self.classes_):
            raise ArgumentError(
                f"{subject} {classes.tolist()}, but {type(self).__name__} was fitted to {self.classes_.tolist()}"
            )

    def _demand_whole_data(self) -> None:
        if self.early_stopping:
            raise ArgumentError("`early_stopping` (=True) needs all data at once: use fit, not partial_fit")
        if self.class_weight == "balanced":
            raise ArgumentError("`class_weight` (='balanced') needs all data at once: use fit, or give the weights")


def _all_classes(classes: Any) -> Array:
    """The labels that the first call of `partial_fit` names, sorted."""
    if classes is None:
        raise ArgumentError("`classes` must be given in the first call of partial_fit")
    found = np.unique(np.asarray(classes))
    if len(found) < 2:
        raise ArgumentError(f"`classes` (={found.tolist()}) must be at least 2")
    return found
