"""The log of a run as JSON lines, one object a line: a `start`, an `epoch` for every epoch, an `end`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from pellucid.errors import ArgumentError
from pellucid.train.callback import Callback, RunStart
from pellucid.train.history import EpochResult, History

__all__ = ["JsonLinesLog"]


class JsonLinesLog(Callback):
    """Writes the file at `path` anew, each line as soon as it is known.

    Raises:
        ArgumentError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._stream: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"`log` (={str(path)!r}) cannot be written: {error.strerror}") from error

    def on_start(self, run: RunStart) -> None:
        """Write the facts of the run."""
        self._write("start", asdict(run))

    def on_epoch_end(self, result: EpochResult) -> None:
        """Write the epoch's row, gradient norms included."""
        self._write("epoch", asdict(result))

    def on_end(self, history: History) -> None:
        """Write which epoch was kept, and close the file."""
        self._write("end", {"best_epoch": history.best_epoch, "stopped_early": history.stopped_early})
        self._stream.close()

    def close(self) -> None:
        """Close the file; to be called where training ends by an exception."""
        self._stream.close()

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        self._stream.write(json.dumps({"event": event, **fields}) + "\n")
        self._stream.flush()
