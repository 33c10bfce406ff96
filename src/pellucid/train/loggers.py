"""Where the figures of each epoch go, beside the run folder's own tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from pellucid.errors import ArgumentError
from pellucid.train.callback import Callback
from pellucid.train.history import EpochResult

__all__ = ["CsvLogger", "JsonLinesLogger", "Logger", "Logging", "TensorBoardLogger", "figures_of"]


class Logger(Protocol):
    """Takes the figures of each epoch."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """The figures of an epoch (from 1) by their names: "validation_loss", "gradient_norms/0.weight"."""
        ...

    def close(self) -> None:
        """After the last epoch, or where training ends otherwise."""
        ...


def figures_of(result: EpochResult) -> dict[str, float]:
    """All figures of an epoch that are there; those of layers, classes and steps in time with a `/` in their names."""
    plain = {
        "loss": result.loss,
        "accuracy": result.accuracy,
        "validation_loss": result.validation_loss,
        "validation_accuracy": result.validation_accuracy,
        "validation_balanced_accuracy": result.validation_balanced_accuracy,
        "learning_rate": result.learning_rate,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "busy": result.busy,
        **{f"validation_recall/{number}": value for number, value in enumerate(result.validation_recall)},
        **{f"gradient_norms/{name}": value for name, value in result.gradient_norms.items()},
    }
    for name, norms in result.state_gradient_norms.items():
        plain |= {f"state_gradient_norms/{name}/{step}": value for step, value in enumerate(norms)}
    return {name: float(value) for name, value in plain.items() if value is not None}


class Logging(Callback):
    """Tells loggers of every epoch; a `with` block closes them, however training ends."""

    def __init__(self, loggers: Iterable[Logger]) -> None:
        self._loggers = tuple(loggers)

    def on_epoch_end(self, result: EpochResult) -> None:
        """Give them the figures."""
        figures = figures_of(result)
        for logger in self._loggers:
            logger.log(result.epoch, figures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for logger in self._loggers:
            logger.close()


class JsonLinesLogger:
    """A JSON object a line, `epoch` first; the file at `path` is written anew.

    Raises ArgumentError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._stream = _opened(path)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._stream.write(json.dumps({"epoch": epoch, **figures}) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """See `Logger`."""
        self._stream.close()


class CsvLogger:
    """A row an epoch under the names of the first epoch's figures; the file at `path` is written anew.

    Raises ArgumentError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._stream = _opened(path)
        self._writer: csv.DictWriter[str] | None = None

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._stream, ["epoch", *figures], restval="", extrasaction="ignore", lineterminator="\n"
            )
            self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **figures})
        self._stream.flush()

    def close(self) -> None:
        """See `Logger`."""
        self._stream.close()


class TensorBoardLogger:
    """Event files in `folder` for TensorBoard, by tensorboardX (extra `tensorboard`).

    Raises ArgumentError where tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ArgumentError(
                "`tensorboard` needs tensorboardX, which is missing: pip install 'pellucid[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """See `Logger`."""
        self._writer.close()


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ArgumentError(f"the log {str(path)!r} cannot be written: {error.strerror}") from error
