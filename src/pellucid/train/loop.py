"""The training loop: epochs of steps, validation, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, TrainingError
from pellucid.train.augmentation import Augmentation
from pellucid.train.batches import BatchPlan, epoch_batches
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.history import EpochResult, History

__all__ = ["TrainableModel", "fit"]

Array: TypeAlias = NDArray[Any]

# A training accuracy over this many images is within a percent or so, and costs little beside an epoch.
_ACCURACY_SAMPLE = 500


class TrainableModel(Protocol):
    """What the loop asks of a model; `nn.Model` gives it."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Every parameter and running statistic by name."""
        ...

    @property
    def learning_rate(self) -> float:
        """The rate that the last step used."""
        ...

    def load_parameters(self, parameters: Mapping[str, Array], /) -> None:
        """Take these values."""
        ...

    @property
    def gradient_norms(self) -> Mapping[str, float]:
        """The L2 norm of each parameter's gradient in the last step that was asked for them."""
        ...

    @property
    def state_gradient_norms(self) -> Mapping[str, tuple[float, ...]]:
        """The L2 norms of the gradient of each recurrent layer's state in that step, one for each step in time."""
        ...

    def train_step(self, x: Array, t: Array, /, *, gradient_norms: bool = False) -> float:
        """One step of the optimiser; the loss before it."""
        ...

    def evaluate(self, x: Array, t: Array, /) -> Mapping[str, float]:
        """The keys `loss` and `accuracy`."""
        ...


@dataclass
class _Best:
    """The parameters of the best epoch so far."""

    epoch: int = 0
    loss: float = math.inf
    parameters: Mapping[str, Array] | None = None


def fit(
    model: TrainableModel,
    data: Dataset,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    patience: int | None = None,
    gradient_norms: bool = False,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train `model` on `data.train` for `epochs`, in batches of `batch_size` in an order drawn from `seed`.

    The images are given to the model as they are; call `data.normalised()` first where that is wanted. The last batch
    of an epoch may be smaller. The learning rate follows the optimiser's own schedule. With a validation part, the
    model has the parameters of the epoch of least validation loss when training ends, and `patience` epochs without
    a lower one end it early. `data.test` is never looked at. The same arguments give the same history, times apart.

    Args:
        model: built; it keeps its optimiser's state between calls.
        data: float32 images in [0, 1] or normalised.
        epochs: how many times each image is used, 1 or more.
        batch_size: images a step, 1 or more.
        seed: 0 or more.
        augmentation: random changes to the training images; none by default.
        patience: needs a validation part.
        gradient_norms: record each parameter's gradient norm in the last step of every epoch, and those of the states
            of recurrent layers.
        callbacks: told of every step and epoch, in this order.

    Raises:
        ArgumentError: a number is outside its rule, or `patience` is given without a validation part.
        TrainingError: a loss is not finite; names the step and, with a model of this package, the layer.
    """
    _check_arguments(data, epochs, batch_size, seed, patience)
    callbacks = tuple(callbacks)
    plan = BatchPlan(batch_size, seed, augmentation or Augmentation())
    validation_images = len(data.validation) if data.validation is not None else 0
    start = RunStart(epochs, batch_size, plan.batch_count(data.train), len(data.train), validation_images, seed)
    for callback in callbacks:
        callback.on_start(start)
    run = _Run(model, data, plan, gradient_norms, callbacks)
    best, results = _Best(), list[EpochResult]()
    for epoch in range(1, epochs + 1):
        result = run.epoch(epoch)
        results.append(result)
        if result.validation_loss is not None and result.validation_loss < best.loss:
            best = _Best(
                epoch, result.validation_loss, {name: np.array(value) for name, value in model.parameters.items()}
            )
        for callback in callbacks:
            callback.on_epoch_end(result)
        if patience is not None and epoch - best.epoch >= patience:
            break
    if best.parameters is not None:
        model.load_parameters(best.parameters)
    history = History(tuple(results), best.epoch or len(results), stopped_early=len(results) < epochs)
    for callback in callbacks:
        callback.on_end(history)
    return history


def _check_arguments(data: Dataset, epochs: int, batch_size: int, seed: int, patience: int | None) -> None:
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("patience", 1 if patience is None else patience, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"`{name}` (={value}) must be a whole number of at least {least}")
    if patience is not None and data.validation is None:
        raise ArgumentError(f"`patience` (={patience}) needs a validation part; see `Dataset.with_validation`")


@dataclass(frozen=True)
class _Run:
    """What stays the same from epoch to epoch."""

    model: TrainableModel
    data: Dataset
    plan: BatchPlan
    gradient_norms: bool
    callbacks: tuple[Callback, ...]

    def epoch(self, epoch: int) -> EpochResult:
        """One pass over the training part, then the measures."""
        model, train, start = self.model, self.data.train, time.perf_counter()
        loss = self._steps(epoch)
        trained = time.perf_counter()
        sample = _accuracy_sample(train)
        accuracy = model.evaluate(np.asarray(sample.images), sample.labels)["accuracy"]
        measures: Mapping[str, float] = {}
        if self.data.validation is not None:
            measures = model.evaluate(np.asarray(self.data.validation.images), self.data.validation.labels)
        return EpochResult(
            epoch=epoch,
            loss=loss,
            accuracy=accuracy,
            validation_loss=measures.get("loss"),
            validation_accuracy=measures.get("accuracy"),
            learning_rate=model.learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=len(train) / max(trained - start, 1e-9),
            gradient_norms=dict(model.gradient_norms) if self.gradient_norms else {},
            state_gradient_norms=dict(model.state_gradient_norms) if self.gradient_norms else {},
        )

    def _steps(self, epoch: int) -> float:
        """Every step of an epoch; the mean loss of an image."""
        total = 0.0
        with epoch_batches(self.plan, self.data.train, epoch, classes=len(self.data.class_names)) as batches:
            for step, (images, labels) in enumerate(batches, 1):
                loss = self.model.train_step(images, labels, gradient_norms=self.gradient_norms)
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss is {loss} in step {step} of epoch {epoch}; try a lower learning rate"
                    )
                total += loss * len(labels)
                for callback in self.callbacks:
                    callback.on_step_end(epoch, step, loss)
        return total / len(self.data.train)


def _accuracy_sample(part: Part) -> Part:
    """Training images evenly spread over the part."""
    return part.take(np.linspace(0, len(part) - 1, min(len(part), _ACCURACY_SAMPLE)).astype(np.int64))
