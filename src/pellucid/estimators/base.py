"""What classifier and regressor share: from `X`, `y` and parameters to a trained model, and back from a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from operator import index
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, check_X_y
from sklearn.utils.validation import check_is_fitted, validate_data

from pellucid import nn
from pellucid.errors import ArgumentError, ShapeError
from pellucid.estimators.examples import Examples, Form, checked_form, checked_weights
from pellucid.estimators.losses import weighted_targets
from pellucid.estimators.plan import Plan, choose_network, choose_optimizer
from pellucid.estimators.standardise import Standardisation, Standardised
from pellucid.train import Dataset, History, Images, Part, fit, progress_callback

__all__ = ["CNNEstimator", "Goal"]

Array: TypeAlias = NDArray[Any]

# Rows that are predicted at once: many of the model's own blocks of 32, and few enough to be standardised in memory.
_PREDICTED = 1024


@dataclass(frozen=True, eq=False)
class Goal:
    """What is learned: the loss, how many numbers the network gives for an input, and how targets are scaled."""

    loss: nn.Loss
    outputs: int
    scaling: Standardisation


class CNNEstimator(BaseEstimator):
    """The common part; the parameters are explained at `CNNClassifier`."""

    model_: nn.Model
    history_: History
    n_features_in_: int
    _form: Form
    _inputs: Standardisation
    _goal: Goal
    _plan: Plan
    _seed: int

    def __init__(
        self,
        network: object = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 50,
        batch_size: int = 64,
        optimizer: object = "adamw",
        learning_rate: object = 0.003,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: object = None,
        threads: int = 1,
        dtype: str | None = None,
        verbose: bool = False,
    ) -> None:
        self.network = network
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.threads = threads
        self.dtype = dtype
        self.verbose = verbose

    @abstractmethod
    def _goal_of(self, training: Examples) -> Goal:
        """What is to be learned of the first training examples."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Arrays, and what the model was built from, in the place of the model."""
        state = dict(vars(self))
        if self._fitted:
            state["model_"] = self.model_.state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The estimator as it was: it predicts, and goes on, to the same bits."""
        vars(self).update(state)
        if self._fitted:
            self.model_ = self._plan.build()
            self.model_.load_state(state["model_"])

    @property
    def _fitted(self) -> bool:
        return "model_" in vars(self)

    def _epochs(self) -> int:
        return _whole("epochs", self.epochs)

    @contextmanager
    def _all_or_nothing(self) -> Generator[None]:
        """After an error, or an interrupt, the estimator has the attributes that it had before."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _given(self, X: Any, y: Any, sample_weight: Any, *, fresh: bool) -> Examples:
        """The rows that count, `y` as it is in their targets; sets `n_features_in_` and the form of an input where
        `fresh`, and else demands them. Errors as scikit-learn phrases them, ShapeError and ArgumentError."""
        tags = self.__sklearn_tags__()
        rules = {"multi_output": tags.target_tags.multi_output, "y_numeric": tags.estimator_type == "regressor"}
        checked: Any
        if _is_images(X):
            checked = check_X_y(X, y, allow_nd=True, estimator=self, **rules)
        else:
            checked = validate_data(self, X, y, reset=fresh, **rules)
        images, targets = checked
        form = checked_form(images, self.image_shape)
        if fresh:
            self._form = form
            self.n_features_in_ = form.features
            if _is_images(X):
                vars(self).pop("feature_names_in_", None)
        self._demand(form)
        weights = checked_weights(sample_weight, len(images))
        return Examples(images.reshape(len(images), *form.shape), targets, weights).counted()

    def _learn(self, examples: Examples, *, fresh: bool, epochs: int, held_back: bool) -> Self:
        """Train on examples with targets (rows, columns), from the start if `fresh`; `held_back` asks for early
        stopping, by a part of them."""
        examples = examples.counted()
        if fresh:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        training, validation = self._split(examples) if held_back else (examples, None)
        if fresh:
            self._begin(training)
        mean = float(training.weights.mean())
        parts = [None if part is None else self._part(part, mean) for part in (training, validation)]
        assert parts[0] is not None
        batch_size = min(_whole("batch_size", self.batch_size), len(training))
        patience = _whole("n_iter_no_change", self.n_iter_no_change) if held_back else None
        before = () if fresh else self.history_.epochs
        progress = [progress_callback()] if self.verbose else []
        try:
            history = fit(
                self.model_,
                Dataset(parts[0], None, (), parts[1]),
                epochs=epochs,
                batch_size=batch_size,
                # Another order in every call, and the same one for the same calls.
                seed=int(np.random.SeedSequence((self._seed, len(before))).generate_state(1)[0]),
                patience=patience,
                callbacks=progress,
            )
        finally:
            for callback in progress:
                callback.close()
        self.history_ = _continued(before, history)
        return self

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """What the network gives for each row, (rows, outputs), with targets' scaling undone."""
        check_is_fitted(self)
        given: Any = check_array(X, allow_nd=True) if _is_images(X) else validate_data(self, X, reset=False)
        self._demand(checked_form(given, self.image_shape))
        images = given.reshape(len(given), *self._form.shape)
        blocks = [
            self.model_.predict(self._inputs(images[start : start + _PREDICTED]))
            for start in range(0, len(images), _PREDICTED)
        ]
        return self._goal.scaling.undo(np.concatenate(blocks, dtype=np.float64))

    def _demand(self, form: Form) -> None:
        if form != self._form:
            raise ShapeError(f"`X` has {form}, but {type(self).__name__} was fitted to {self._form}")

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """Training and validation examples, by the estimator's seed; each class has its share of both."""
        fraction = self.validation_fraction
        if not (isinstance(fraction, Real) and 0 < fraction < 1):
            raise ArgumentError(f"`validation_fraction` (={fraction!r}) must be between 0 and 1, both excluded")
        classes = examples.targets if self.__sklearn_tags__().estimator_type == "classifier" else None
        rows = train_test_split(
            np.arange(len(examples)), test_size=float(fraction), random_state=self._seed, stratify=classes
        )
        training, validation = (examples.take(np.sort(part)) for part in rows)
        return training, validation

    def _begin(self, training: Examples) -> None:
        """A new model, and the scaling of inputs and targets as `training` has it."""
        form, goal = self._form, self._goal_of(training)
        inputs = Standardisation.of("X", training.images, training.weights)
        plan = Plan(
            network=choose_network(self.network, form.shape, goal.outputs, vectors=form.vectors),
            loss=goal.loss,
            optimizer=choose_optimizer(self.optimizer, self.learning_rate),
            image_shape=form.shape,
            outputs=goal.outputs,
            seed=self._seed,
            threads=_whole("threads", self.threads),
            dtype=self.dtype or ("float64" if form.vectors else "float32"),
        )
        self.model_ = plan.build()
        self._plan, self._goal, self._inputs = plan, goal, inputs

    def _part(self, examples: Examples, mean_weight: float) -> Part:
        """The examples as a part of a data set, standardised."""
        targets = self._goal.scaling(examples.targets)
        return Part(
            Images(Standardised(examples.images, self._inputs)),
            weighted_targets(targets, examples.weights, mean_weight),
        )


def _is_images(X: Any) -> bool:
    return (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) > 2


def _whole(name: str, value: Any) -> int:
    """A whole number of at least 1, of Python's or NumPy's types; ArgumentError for any other."""
    try:
        number = 0 if isinstance(value, bool) else index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ArgumentError(f"`{name}` (={value!r}) must be a whole number of at least 1")
    return number


def _continued(before: tuple[Any, ...], history: History) -> History:
    """The history of all calls since the model was made, its epochs numbered on."""
    offset = len(before)
    epochs = (*before, *(replace(result, epoch=offset + result.epoch) for result in history.epochs))
    return History(epochs, offset + history.best_epoch, history.stopped_early)
