"""How long a training will take and how much memory, told from a few of its own steps before it begins."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from statistics import median

from pellucid.errors import TrainingError
from pellucid.nn.model import Model
from pellucid.train.batches import BatchPlan, epoch_batches
from pellucid.train.data.dataset import Dataset
from pellucid.train.loop import Course, Progress
from pellucid.train.report.quantities import duration

__all__ = ["Estimate", "estimate_training"]

_STEPS = 5  # timed, behind one that compiles


@dataclass(frozen=True)
class Estimate:
    """`seconds` for the epochs that are left, validation included; `bytes`: the most memory of the whole process."""

    seconds: float
    bytes: int

    def text(self) -> str:
        """In words, as rough as it is."""
        return f"about {duration(self.seconds)} and {self.bytes / 1e6:,.0f} MB of memory"


def estimate_training(model: Model, data: Dataset, course: Course, progress: Progress) -> Estimate | None:
    """Times steps on batches of the next epoch, their making included, and a prediction; then the model's state is put
    back, so that nothing is changed. None where a loss is not finite: that is for the training to say."""
    plan = BatchPlan(min(course.batch_size, len(data.train)), course.seed, course.augmentation)
    before = model.state()
    try:
        times: list[float] = []
        first = min(progress.step, plan.batch_count(data.train) - 1)
        with epoch_batches(plan, data.train, progress.epoch, start=first, classes=len(data.class_names)) as batches:
            start = time.perf_counter()
            for images, labels in batches:
                model.train_step(images, labels, gradient_norms=course.gradient_norms)
                now = time.perf_counter()
                times.append(now - start)
                start = now
                if len(times) > _STEPS:
                    break
        step = median(times[1:] or times)
        image = _prediction_seconds(model, data)
    except TrainingError:
        return None
    finally:
        model.load_state(before)
    epochs = course.epochs - len(progress.results)
    steps = epochs * plan.batch_count(data.train) - progress.step
    scored = 0 if data.validation is None else len(data.validation)
    state = sum(array.nbytes for array in before.values())
    # A checkpoint is put together in memory: the state, the best parameters, and the file made of both.
    memory = _peak_bytes() + 4 * state + data.train.images.bytes_to_come
    return Estimate(max(0, steps) * step + epochs * scored * image, memory)


def _prediction_seconds(model: Model, data: Dataset) -> float:
    """Of one image, among others."""
    part = data.validation or data.train
    images = part.images[: min(len(part), 64)]
    model.predict(images)
    start = time.perf_counter()
    model.predict(images)
    return (time.perf_counter() - start) / len(images)


def _peak_bytes() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
