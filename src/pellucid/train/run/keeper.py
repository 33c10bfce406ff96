"""Keeps a training while it runs (checkpoints, the models, rows of the table), and stops it when asked."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from numpy.typing import NDArray

from pellucid.exchange.model_files import PARAMETERS, parameters_as_bytes
from pellucid.nn.model import Model
from pellucid.train.loop import Course, Progress
from pellucid.train.run.checkpoint import Checkpoint, save_checkpoint
from pellucid.train.run.folder import BEST, LAST, RunFolder
from pellucid.train.run.signals import Interruption, StopSignals

__all__ = ["RunKeeper"]

Array: TypeAlias = NDArray[Any]


class RunKeeper:
    """The loop's `Keeper` for a run folder; `facts` are those of `Checkpoint`.

    Raises Interruption between two steps where `signals` has heard one, with a checkpoint written.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: Model,
        course: Course,
        facts: Mapping[str, Any],
        minutes: float,
        signals: StopSignals,
    ) -> None:
        self._folder = folder
        self._model = model
        self._course = course
        self._facts = facts
        self._pause = 60 * minutes
        self._signals = signals
        self._best: Mapping[str, Array] | None = None
        self._exported = 0  # the number of the epoch whose parameters `best` has
        self._saved = time.monotonic()
        self.kept: str | None = None  # where the last checkpoint stands, in words

    def begin(self, progress: Progress, best: Mapping[str, Array] | None, *, save: bool) -> None:
        """Everything in the folder is made what it is at `progress`: a fresh run is saved, one that goes on has what
        follows from its checkpoint written again."""
        self._best = best
        if save:
            self._save(progress)
        else:
            self._saved = time.monotonic()
            self.kept = progress.where()
        self._folder.rewind_log(len(progress.results))
        if progress.results:
            self._export(progress)

    def after_step(self, progress: Progress) -> None:
        """See `Keeper`."""
        if self._signals.received is not None:
            self._save(progress)
            raise self._interruption(progress)
        if time.monotonic() - self._saved >= self._pause:
            self._save(progress)

    def after_epoch(self, progress: Progress, best: Mapping[str, Array] | None) -> None:
        """See `Keeper`."""
        self._best = best
        self._save(progress)
        self._export(progress)
        self._folder.log("epoch", asdict(progress.results[-1]))
        if self._signals.received is not None and not progress.ended(self._course):
            raise self._interruption(progress)

    def _save(self, progress: Progress) -> None:
        checkpoint = Checkpoint(progress, self._model.state(), self._best, self._facts)
        save_checkpoint(self._folder.path, checkpoint)
        self._saved = time.monotonic()
        self.kept = progress.where()

    def _export(self, progress: Progress) -> None:
        """What follows from the checkpoint: the models and the table."""
        last = dict(self._model.parameters)
        self._folder.write(f"{LAST}/{PARAMETERS}", parameters_as_bytes(last))
        if self._best is None or progress.best_epoch != self._exported:
            self._folder.write(f"{BEST}/{PARAMETERS}", parameters_as_bytes(self._best or last))
            self._exported = progress.best_epoch
        self._folder.write_results(progress.results)

    def _interruption(self, progress: Progress) -> Interruption:
        number = self._signals.received or signal.SIGINT
        return Interruption(
            f"stopped by {signal.Signals(number).name} after {progress.where()}; all is saved: go on with "
            f"`pellucid resume {self._folder.path}`",
            number,
        )
