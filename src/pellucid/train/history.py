"""What a run of training leaves: a row for every epoch, and which was the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.nn.model import Model
    from pellucid.train.metrics import Evaluation

__all__ = ["EpochResult", "History"]


@dataclass(frozen=True)
class EpochResult:
    """One epoch: means over its training images, measures on the validation part where there is one, and its speed.

    Measures of classes are None in a regression. `loss` is the mean of the steps' losses, weighted by images;
    `accuracy` (0..1) is measured after the epoch on a fixed sample of the training images, unchanged by augmentation;
    `validation_recall` is the accuracy within each class (None for one without images),
    `validation_balanced_accuracy` its mean. `seconds` counts training and evaluation, `images_per_second` training
    alone; `busy` (0..1) is the share of the training time that was spent in steps, not in waiting for images.
    `gradient_norms` (layer's parameter -> L2 norm) is of the last step, empty where it was not asked for; so is
    `state_gradient_norms`, that of the state of each recurrent layer at each step, in which vanishing and exploding
    gradients are seen.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    busy: float = 1.0
    validation_balanced_accuracy: float | None = None
    validation_recall: tuple[float | None, ...] = ()
    gradient_norms: Mapping[str, float] = field(default_factory=dict[str, float])
    state_gradient_norms: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


@dataclass(frozen=True)
class History:
    """Every epoch that ran, in order.

    `best_epoch` is the number (from 1) of the epoch whose parameters the model has now: the one with the least
    validation loss, or the last where there is no validation part. `stopped_early`: patience ran out.

    `model` has those parameters; `folder` is the run folder, where there is one, and `evaluation` what was measured at
    the end on `part`: "test", or "validation" where there are no test images.
    """

    epochs: tuple[EpochResult, ...]
    best_epoch: int
    stopped_early: bool
    model: Model | None = field(default=None, compare=False, repr=False)
    folder: Path | None = None
    part: str | None = None
    evaluation: Evaluation | None = field(default=None, compare=False, repr=False)

    @property
    def best(self) -> EpochResult:
        """The row of `best_epoch`."""
        return self.epochs[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """The time of all epochs together."""
        return sum(result.seconds for result in self.epochs)
