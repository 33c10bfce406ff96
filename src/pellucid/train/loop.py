"""The training loop: epochs of steps, validation, early stopping; from the beginning, or from where one stood."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, TrainingError
from pellucid.train.augmentation import Augmentation
from pellucid.train.batches import BatchPlan, epoch_batches
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.history import EpochResult, History
from pellucid.train.metrics import Evaluation

__all__ = ["Course", "Keeper", "Progress", "TrainableModel", "evaluate_part", "outputs_of", "train_epochs"]

Array: TypeAlias = NDArray[Any]

# A training accuracy over this many images is within a percent or so, and costs little beside an epoch.
_ACCURACY_SAMPLE = 500
# Images that are made at once where a part is evaluated.
_BLOCK = 256


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

    def prepare(self, *, step_rows: int | None = None, score_rows: int | None = None) -> None:
        """How many rows a step, and a score, will have at most."""
        ...

    def train_step(self, x: Array, t: Array, /, *, gradient_norms: bool = False) -> float:
        """One step of the optimiser; the loss before it."""
        ...

    def predict(self, x: Array, /) -> Array:
        """The outputs for these inputs."""
        ...

    def score(self, y: Array, t: Array, /) -> Mapping[str, float]:
        """The keys `loss` and, where that has a meaning, `accuracy`, of outputs `y`."""
        ...


@dataclass(frozen=True)
class Course:
    """What a training is told: how many epochs, in which batches, drawn from which seed, changed how.

    `patience` epochs without a better validation loss end it. `gradient_norms`: record them in every epoch.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    patience: int | None = None
    gradient_norms: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 1),
            ("seed", self.seed, 0),
            ("patience", 1 if self.patience is None else self.patience, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ArgumentError(f"`{name}` (={value}) must be a whole number of at least {least}")

    def check(self, data: Dataset) -> None:
        """Raises ArgumentError where there is `patience` and no validation part."""
        if self.patience is not None and data.validation is None:
            message = f"`patience` (={self.patience}) needs a validation part"
            raise ArgumentError(f"{message}; see `Dataset.with_validation`")


@dataclass(frozen=True)
class Progress:
    """Where a training stands: `step` steps of epoch `epoch` (from 1) are done, with `loss` the sum over their images
    and `seconds` spent; `results` are the rows of the epochs before, `best_epoch` (0 for none) had the least
    validation loss of them."""

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    results: tuple[EpochResult, ...] = ()
    best_epoch: int = 0
    best_loss: float = math.inf

    def where(self) -> str:
        """In words."""
        if self.step:
            return f"epoch {self.epoch}, step {self.step}"
        return f"the end of epoch {len(self.results)}" if self.results else "the beginning"

    def ended(self, course: Course) -> bool:
        """Whether nothing is left to do: all epochs ran, or patience ran out."""
        done = len(self.results)
        return done >= course.epochs or (course.patience is not None and done - self.best_epoch >= course.patience)


class Keeper(Protocol):
    """Hears where a training stands whenever it can be stopped, and may stop it by raising."""

    def after_step(self, progress: Progress) -> None:
        """Between two steps of an epoch."""
        ...

    def after_epoch(self, progress: Progress, best: Mapping[str, Array] | None) -> None:
        """Behind an epoch; `best` are the parameters of the best one."""
        ...


def train_epochs(
    model: TrainableModel,
    data: Dataset,
    course: Course,
    *,
    progress: Progress | None = None,
    best: Mapping[str, Array] | None = None,
    keeper: Keeper | None = None,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train `model` on `data.train`, from `progress` on; see `fit`.

    What comes out depends on the model's state, the data and the course alone: one that is stopped between two steps
    and goes on from there ends with the same bits. `best` are the parameters of `progress.best_epoch`.

    Raises:
        ArgumentError: `patience` is given without a validation part.
        TrainingError: a loss or gradient is not finite.
    """
    course.check(data)
    callbacks, progress = tuple(callbacks), progress or Progress()
    plan = BatchPlan(min(course.batch_size, len(data.train)), course.seed, course.augmentation)
    parts = [_sample(data.train), *([] if data.validation is None else [data.validation])]
    model.prepare(step_rows=plan.batch_size, score_rows=max(len(part) for part in parts))
    start = RunStart(
        course.epochs,
        plan.batch_size,
        plan.batch_count(data.train),
        len(data.train),
        0 if data.validation is None else len(data.validation),
        course.seed,
        first_epoch=progress.epoch,
        first_step=progress.step + 1,
    )
    for callback in callbacks:
        callback.on_start(start)
    run = _Run(model, data, plan, course.gradient_norms, callbacks, keeper)
    while not progress.ended(course):
        result = run.epoch(progress)
        progress = Progress(
            progress.epoch + 1,
            results=(*progress.results, result),
            best_epoch=progress.best_epoch,
            best_loss=progress.best_loss,
        )
        if result.validation_loss is not None and result.validation_loss < progress.best_loss:
            best = {name: np.array(value) for name, value in model.parameters.items()}
            progress = replace(progress, best_epoch=result.epoch, best_loss=result.validation_loss)
        if keeper is not None:
            keeper.after_epoch(progress, best)
        for callback in callbacks:
            callback.on_epoch_end(result)
    if best is not None:
        model.load_parameters(best)
    done = len(progress.results)
    history = History(progress.results, progress.best_epoch or done, stopped_early=done < course.epochs)
    for callback in callbacks:
        callback.on_end(history)
    return history


def outputs_of(model: TrainableModel, part: Part) -> Array:
    """The model's outputs for all images of a part, which are made a block at a time."""
    blocks = range(0, len(part), _BLOCK)
    return np.concatenate([model.predict(part.images[start : start + _BLOCK]) for start in blocks])


def evaluate_part(model: TrainableModel, part: Part, outputs: Array) -> tuple[Mapping[str, float], Evaluation | None]:
    """The `loss` of the model's `outputs` for a part, with `accuracy` where that has a meaning; and what is right and
    wrong, where there are labels."""
    measures = model.score(outputs, part.labels)
    labels = part.labels
    return measures, None if labels.ndim > 1 else Evaluation.of(measures["loss"], labels.astype(np.int64), outputs)


@dataclass(frozen=True)
class _Run:
    """What stays the same from epoch to epoch."""

    model: TrainableModel
    data: Dataset
    plan: BatchPlan
    gradient_norms: bool
    callbacks: tuple[Callback, ...]
    keeper: Keeper | None

    def epoch(self, progress: Progress) -> EpochResult:
        """The rest of an epoch over the training part, then the measures."""
        model, train, start = self.model, self.data.train, time.perf_counter()
        first = progress.step * self.plan.batch_size
        loss, waited = self._steps(progress, start)
        training = max(time.perf_counter() - start, 1e-9)
        sample = _sample(train)
        trained, _ = evaluate_part(model, sample, outputs_of(model, sample))
        measures: Mapping[str, float] = {}
        validated = None
        if self.data.validation is not None:
            outputs = outputs_of(model, self.data.validation)
            measures, validated = evaluate_part(model, self.data.validation, outputs)
        return EpochResult(
            epoch=progress.epoch,
            loss=loss,
            accuracy=trained.get("accuracy"),
            validation_loss=measures.get("loss"),
            validation_accuracy=measures.get("accuracy"),
            learning_rate=model.learning_rate,
            seconds=progress.seconds + time.perf_counter() - start,
            images_per_second=(len(train) - first) / training,
            busy=min(1.0, max(0.0, 1 - waited / training)),
            validation_balanced_accuracy=None if validated is None else validated.balanced_accuracy,
            validation_recall=() if validated is None else validated.recall,
            gradient_norms=dict(model.gradient_norms) if self.gradient_norms else {},
            state_gradient_norms=dict(model.state_gradient_norms) if self.gradient_norms else {},
        )

    def _steps(self, progress: Progress, start: float) -> tuple[float, float]:
        """Every step that is left of an epoch; the mean loss of an image, and the seconds in which none was there."""
        part, total, step = self.data.train, progress.loss, progress.step
        classes = len(self.data.class_names)
        with epoch_batches(self.plan, part, progress.epoch, start=step, classes=classes) as batches:
            for images, labels in batches:
                step += 1
                loss = self.model.train_step(images, labels, gradient_norms=self.gradient_norms)
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss is {loss} in step {step} of epoch {progress.epoch}; try a lower learning rate"
                    )
                total += loss * len(labels)
                for callback in self.callbacks:
                    callback.on_step_end(progress.epoch, step, loss)
                # Behind the last step the epoch's end is near, and is a better place to stop.
                if self.keeper is not None and step < self.plan.batch_count(part):
                    seconds = progress.seconds + time.perf_counter() - start
                    self.keeper.after_step(replace(progress, step=step, loss=total, seconds=seconds))
            return total / len(part), batches.waited


def _sample(part: Part) -> Part:
    """Training images evenly spread over the part."""
    return part.take(np.linspace(0, len(part) - 1, min(len(part), _ACCURACY_SAMPLE)).astype(np.int64))
