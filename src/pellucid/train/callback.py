"""What a run of training tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.train.history import EpochResult, History

__all__ = ["Callback", "RunStart"]


@dataclass(frozen=True)
class RunStart:
    """The facts of a run before its first step, which is `first_step` of `first_epoch` where it goes on from there."""

    epochs: int
    batch_size: int
    batches: int  # steps of an epoch
    training_images: int
    validation_images: int
    seed: int
    first_epoch: int = 1
    first_step: int = 1


class Callback:
    """Hears of every event of `fit`. Each method does nothing here; override those of interest."""

    def on_message(self, text: str) -> None:
        """Something worth telling a person: an estimate, a warning, where training goes on from."""

    def on_start(self, run: RunStart) -> None:
        """Before the first step."""

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """After every step: the epoch and the step's number in it, both from 1, and the step's loss."""

    def on_epoch_end(self, result: EpochResult) -> None:
        """After every epoch, its evaluation included."""

    def on_end(self, history: History) -> None:
        """After the last epoch, with the best parameters restored; not after an error or an interruption."""
