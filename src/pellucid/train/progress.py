"""Progress for people, on stderr: a table with a row for every epoch, and on a terminal a bar below it."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TextIO, cast

from pellucid.train.callback import Callback, RunStart
from pellucid.train.history import EpochResult, History
from pellucid.train.report.quantities import percent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["EpochLines", "ProgressBar", "progress_callback", "work_progress"]

_SILENCE = 30.0  # seconds after which a line says how far an epoch is, where there is no bar
_SHARE = 100  # later lines are a hundredth of the time so far apart: a day has some 500, not 3,000
_REDRAW = 0.1  # seconds between two states of a bar
_REMEMBERED = 10  # epochs that the estimate of the time left is made from


def progress_callback(stream: TextIO | None = None) -> EpochLines | ProgressBar:
    """A `ProgressBar` where `stream` (stderr by default) is a terminal that can move its cursor, else `EpochLines`."""
    target = _steady(stream)
    return ProgressBar(target) if _moves(target) else EpochLines(target)


@contextmanager
def work_progress(title: str, stream: TextIO | None = None) -> Generator[Callable[[int, int], None]]:
    """Progress of other long work: gives a function to be called with (done, total) at any rate, from any thread.

    On a terminal a bar that is gone in the end; elsewhere a line after half a minute and then at growing distances.
    """
    target = _steady(stream)
    if not _moves(target):
        pace = _Pace.now()

        def say(done: int, total: int) -> None:
            left = pace.left(done, total)
            if pace.silent():
                _say(target, f"{title}: {done} of {total}{_ahead(left)}")

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=target, highlight=False), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@dataclass(frozen=True)
class _Column:
    """A column of the table; the one of greatest `rank` goes first where there is no room for all."""

    title: str
    width: int
    rank: int
    figure: Callable[[EpochResult], str | None]


def _shares(share: Callable[[EpochResult], float | None]) -> Callable[[EpochResult], str | None]:
    def figure(result: EpochResult) -> str | None:
        found = share(result)
        return None if found is None else percent(found)

    return figure


_COLUMNS = (
    _Column("loss", 9, 1, lambda result: _figure(result.loss)),
    _Column("accuracy", 9, 6, _shares(lambda result: result.accuracy)),
    _Column("val loss", 9, 2, lambda result: _figure(result.validation_loss)),
    _Column("val acc", 9, 3, _shares(lambda result: result.validation_accuracy)),
    _Column("balanced", 9, 4, _shares(lambda result: result.validation_balanced_accuracy)),
    _Column("lr", 10, 8, lambda result: f"{result.learning_rate:.3g}"),
    _Column(
        "seconds", 9, 7, lambda result: f"{result.seconds:.2f}" if result.seconds < 1e4 else f"{result.seconds:.0f}"
    ),
    _Column("images/s", 10, 9, lambda result: f"{result.images_per_second:.0f}"),
)
_LEFT = ("left", 10)


def _figure(value: float | None) -> str | None:
    """In eight characters, four places where they fit."""
    return None if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


class EpochTable:
    """The rows of a run in figures, aligned.

    The first row decides on the columns: what is known (no measures of validation without a validation part), in
    `width` characters if there is a limit.
    """

    def __init__(self, epochs: int, width: int | None = None) -> None:
        self._epochs = epochs
        self._first = max(7, 2 * len(str(epochs)) + 3)
        self._width = width
        self._columns: Sequence[_Column] | None = None
        self._seconds: list[float] = []

    def lines(self, result: EpochResult) -> list[str]:
        """The row, behind the names of the columns if it is the first one."""
        head: list[str] = []
        if self._columns is None:
            self._columns = self._fitting([column for column in _COLUMNS if column.figure(result) is not None])
            head = [self._line("epoch", [column.title for column in self._columns], _LEFT[0])]
        self._seconds = [*self._seconds, result.seconds][-_REMEMBERED:]
        left = clock(median(self._seconds) * (self._epochs - result.epoch))
        figures = [column.figure(result) or "-" for column in self._columns]
        return [*head, self._line(f"{result.epoch}/{self._epochs}", figures, left)]

    def _line(self, epoch: str, figures: Sequence[str], left: str) -> str:
        assert self._columns is not None
        cells = (figure.rjust(column.width) for figure, column in zip(figures, self._columns, strict=True))
        return epoch.rjust(self._first) + "".join(cells) + left.rjust(_LEFT[1])

    def _fitting(self, columns: list[_Column]) -> list[_Column]:
        """Without the least important ones, as far as room is short."""
        room = float("inf") if self._width is None else self._width - self._first - _LEFT[1]
        while len(columns) > 1 and sum(column.width for column in columns) > room:
            columns.remove(max(columns, key=lambda column: column.rank))
        return columns


class EpochLines(Callback):
    """One line of plain text for every epoch, written at once; and one now and then within long epochs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _steady(stream)
        self._run: RunStart | None = None
        self._table = EpochTable(1)
        self._pace = _Pace.now()

    def on_message(self, text: str) -> None:
        """Write it."""
        _say(self._stream, text)

    def on_start(self, run: RunStart) -> None:
        """Take the time."""
        self._run, self._table, self._pace = run, EpochTable(run.epochs), _Pace.now()

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """Say how far the run is, if nothing was said for long."""
        if self._run is None:
            return
        done, total = _steps(self._run, epoch, step)
        left = self._pace.left(done, total)
        if self._pace.silent():
            place = f"epoch {epoch}/{self._run.epochs}, step {step}/{self._run.batches}"
            _say(self._stream, f"{place}, loss {_figure(loss)}{_ahead(left)}")

    def on_epoch_end(self, result: EpochResult) -> None:
        """Write the row."""
        for line in self._table.lines(result):
            _say(self._stream, line)
        self._pace.said()

    def on_end(self, history: History) -> None:
        """Say which parameters were kept, where that is not the last epoch's."""
        if history.best_epoch != len(history.epochs):
            _say(self._stream, f"parameters of epoch {history.best_epoch} restored (least validation loss)")

    def close(self) -> None:
        """Nothing is left open."""


class ProgressBar(Callback):
    """A bar that fills over the run, with the running loss and the time left, below the finished epochs' rows."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # only a terminal needs it, and it takes time to import

        self._console = Console(file=_steady(stream), highlight=False)
        self._lines = EpochLines(stream)
        self._run: RunStart | None = None
        self._table = EpochTable(1)
        self._pace = _Pace.now()
        self._drawn = -_REDRAW
        self._bar: tuple[Progress, TaskID] | None = None

    def on_message(self, text: str) -> None:
        """Print it above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def on_start(self, run: RunStart) -> None:
        """Show an empty bar."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._run, self._table, self._pace = run, EpochTable(run.epochs, self._console.width), _Pace.now()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(None), TextColumn("{task.fields[state]}"))
        progress = Progress(*columns, console=self._console, transient=True, expand=True)
        task = progress.add_task(f"epoch 1/{run.epochs}", total=run.epochs * run.batches, state="")
        self._bar = progress, task
        progress.start()

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar."""
        if self._bar is None or self._run is None:
            return
        done, total = _steps(self._run, epoch, step)
        left, now = self._pace.left(done, total), time.monotonic()
        if now - self._drawn < _REDRAW and done < total:
            return
        self._drawn = now
        state = f"step {step}/{self._run.batches}, loss {_figure(loss)}"
        if self._console.width >= 80:
            state += _ahead(left)
        elif left is not None:
            state = f"loss {_figure(loss)}, {clock(left)} left"
        progress, task = self._bar
        progress.update(task, completed=done, description=f"epoch {epoch}/{self._run.epochs}", state=state)

    def on_epoch_end(self, result: EpochResult) -> None:
        """Print the row above the bar."""
        *head, row = self._table.lines(result)
        for line in head:
            self._console.print(line, style="bold", markup=False)
        self._console.print(row, markup=False)

    def on_end(self, history: History) -> None:
        """Take the bar away."""
        self.close()
        self._lines.on_end(history)

    def close(self) -> None:
        """Take the bar away; to be called where training ends by an exception."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any; of long times days and hours: `3:20`, `9:03:20`, `5d07h`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24}d{hours % 24:02}h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _steps(run: RunStart, epoch: int, step: int) -> tuple[int, int]:
    """Steps done and in all; those of epochs before a run that goes on are done."""
    return (epoch - 1) * run.batches + step, run.epochs * run.batches


def _ahead(left: float | None) -> str:
    """The time left, and the time of day that it leads to."""
    if left is None or left > 1e9:  # decades: there is no estimate in that
        return ""
    end = time.localtime(time.time() + left)
    return f", {clock(left)} left, ends {time.strftime('%H:%M' if left < 86_400 else '%Y-%m-%d %H:%M', end)}"


@dataclass
class _Pace:
    """How fast work goes from its first report on (what is before it, compilation above all, comes once), and for how
    long nothing was said."""

    started: float
    spoken: float
    first: tuple[float, int] | None = None

    @classmethod
    def now(cls) -> _Pace:
        """Of work that begins."""
        now = time.monotonic()
        return cls(now, now)

    def left(self, done: int, total: int) -> float | None:
        """Seconds until the end at the pace so far; None where it is not known yet."""
        now = time.monotonic()
        if self.first is None:
            self.first = now, done
        since, before = self.first
        return None if done <= before else (total - done) * (now - since) / (done - before)

    def silent(self) -> bool:
        """Whether it is time for a line, which the caller then writes."""
        now = time.monotonic()
        if now - self.spoken < max(_SILENCE, (now - self.started) / _SHARE):
            return False
        self.spoken = now
        return True

    def said(self) -> None:
        """Something else was said."""
        self.spoken = time.monotonic()


def _moves(stream: TextIO) -> bool:
    """Whether a bar can be drawn there over and over."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _say(stream: TextIO, line: str) -> None:
    print(line, file=stream, flush=True)


def _steady(stream: TextIO | None) -> TextIO:
    """`stream`, or stderr, or nothing where there is none (a windowed Python), so that writing never fails."""
    return cast("TextIO", _Steady(sys.stderr or io.StringIO() if stream is None else stream))


class _Steady(io.TextIOBase):
    """A stream whose reader may go away (a closed pipe, a terminal that hung up): training goes on unheard."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str, /) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return
