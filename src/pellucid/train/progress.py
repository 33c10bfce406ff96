"""Progress for people, on stderr: a bar and a row for every epoch on a terminal, the rows alone elsewhere."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from pellucid.train.callback import Callback, RunStart
from pellucid.train.history import EpochResult, History

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["EpochLines", "ProgressBar", "progress_callback"]

_COLUMNS = ("epoch", "loss", "accuracy", "val loss", "val acc", "lr", "seconds", "images/s")
_WIDTHS = (7, 9, 9, 9, 9, 9, 8, 9)


def progress_callback(stream: TextIO | None = None) -> EpochLines | ProgressBar:
    """A `ProgressBar` where `stream` (stderr by default) is a terminal, else `EpochLines`."""
    target: TextIO = io.StringIO() if sys.stderr is None else sys.stderr  # a windowed Python has no stderr
    if stream is not None:
        target = stream
    return ProgressBar(target) if target.isatty() else EpochLines(target)


def header_line() -> str:
    """The names of the columns of `epoch_line`."""
    return "".join(name.rjust(width) for name, width in zip(_COLUMNS, _WIDTHS, strict=True))


def epoch_line(result: EpochResult, epochs: int) -> str:
    """An epoch as one line of figures, a dash where there is no validation part."""
    entries = (
        f"{result.epoch}/{epochs}",
        f"{result.loss:.4f}",
        "-" if result.accuracy is None else f"{100 * result.accuracy:.1f}%",
        "-" if result.validation_loss is None else f"{result.validation_loss:.4f}",
        "-" if result.validation_accuracy is None else f"{100 * result.validation_accuracy:.1f}%",
        f"{result.learning_rate:.3g}",
        f"{result.seconds:.2f}",
        f"{result.images_per_second:.0f}",
    )
    return "".join(entry.rjust(width) for entry, width in zip(entries, _WIDTHS, strict=True))


class EpochLines(Callback):
    """One line of plain text for every epoch, written at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs = 0

    def on_start(self, run: RunStart) -> None:
        """Write the names of the columns."""
        self._epochs = run.epochs
        self._write(header_line())

    def on_epoch_end(self, result: EpochResult) -> None:
        """Write the row."""
        self._write(epoch_line(result, self._epochs))

    def on_end(self, history: History) -> None:
        """Say which parameters were kept, where that is not the last epoch's."""
        if history.best_epoch != len(history.epochs):
            self._write(f"parameters of epoch {history.best_epoch} restored (least validation loss)")

    def close(self) -> None:
        """Nothing is left open."""

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class ProgressBar(Callback):
    """A bar that fills in each epoch, with the running loss; the finished epochs' rows stand above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # only a terminal needs it, and it takes time to import

        self._console = Console(file=stream, highlight=False)
        self._lines = EpochLines(stream)
        self._epochs = 0
        self._bar: tuple[Progress, TaskID] | None = None

    def on_start(self, run: RunStart) -> None:
        """Show the names of the columns and an empty bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = run.epochs
        self._console.print(header_line(), style="bold")
        progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(run.epochs)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bar = progress, progress.add_task("steps", total=run.epochs * run.batches, epoch=1, loss=0.0)
        progress.start()

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, advance=1, epoch=epoch, loss=loss)

    def on_epoch_end(self, result: EpochResult) -> None:
        """Print the row above the bar."""
        self._console.print(epoch_line(result, self._epochs))

    def on_end(self, history: History) -> None:
        """Take the bar away."""
        self.close()
        self._lines.on_end(history)

    def close(self) -> None:
        """Take the bar away; to be called where training ends by an exception."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
