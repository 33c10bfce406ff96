"""The run folder: where everything that belongs to one training stands.

config.toml              the settings
split.csv                which picture is in which part, with its SHA-256
checkpoint*.safetensors  all that is needed to go on, two generations
results.csv, log.jsonl   a row for every epoch
best/, last/             the model after the best epoch, and after the last
report.html, *.svg       pictures of it
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pellucid.errors import ArgumentError, DataError, StorageError
from pellucid.exchange.atomic import append_line, make_folder, replace_file
from pellucid.train.history import EpochResult
from pellucid.train.settings import Settings, settings_from_toml

__all__ = ["BEST", "LAST", "RunFolder", "existing_run", "new_run"]

SETTINGS, SPLIT, RESULTS, LOG = "config.toml", "split.csv", "results.csv", "log.jsonl"
BEST, LAST = "best", "last"
_LOCK = ".lock"
_COLUMNS = (
    "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "validation_balanced_accuracy",
    "learning_rate", "seconds", "images_per_second", "busy",
)  # fmt: skip


class RunFolder:
    """A run folder that this process alone writes to, for as long as a `with` block lasts.

    Raises ArgumentError on entering where another process has it, StorageError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._lock = (self.path / _LOCK).open("w", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ArgumentError(f"{self.path}: another process is training in this folder") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def remove_if_empty(self) -> None:
        """Takes the folder away where nothing was written into it."""
        if not (self.path / SETTINGS).exists():
            (self.path / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()

    def write(self, name: str, content: str | bytes) -> None:
        """A file of the folder, whole or not at all; `name` may have a folder in front."""
        path = self.path / name
        make_folder(path.parent)
        replace_file(path, content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)

    def settings(self) -> Settings:
        """What `config.toml` says; ArgumentError where it is damaged, or says what there is not."""
        path = self.path / SETTINGS
        return Settings.of(settings_from_toml(path), str(path))

    def write_results(self, results: Sequence[EpochResult]) -> None:
        """`results.csv`, a row for every epoch; empty where a figure is not there."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        for result in results:
            row = asdict(result)
            table.writerow(["" if row[name] is None else row[name] for name in _COLUMNS])
        self.write(RESULTS, text.getvalue())

    def log(self, event: str, fields: Mapping[str, Any]) -> None:
        """A line at the end of `log.jsonl`."""
        append_line(self.path / LOG, json.dumps({"event": event, **fields}))

    def rewind_log(self, epochs: int) -> None:
        """Takes from `log.jsonl` what does not belong to the first `epochs` epochs: lines cut short, epochs that are to
        run again, an end."""
        path = self.path / LOG
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        kept = [line for line in lines if _belongs(line, epochs)]
        if kept != lines:
            self.write(LOG, "".join(f"{line}\n" for line in kept))


def new_run(runs: Path, name: str | None, source: str) -> RunFolder:
    """A new run folder in `runs`, called `name`, or after the source with the next number that is free.

    Raises:
        ArgumentError: there is a run of that name, or the name is none of a folder.
        StorageError: the folder cannot be made.
    """
    make_folder(runs)
    if name is None:
        stem = re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-.") or "run"
        taken = [re.fullmatch(rf"{re.escape(stem)}-(\d+)", path.name) for path in runs.iterdir()]
        number = 1 + max((int(found[1]) for found in taken if found), default=0)
        path = runs / f"{stem}-{number}"
    else:
        if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ArgumentError(f"`name` (={name!r}) must be the name of a folder")
        path = runs / name
    if (path / SETTINGS).exists():
        raise ArgumentError(
            f"{path}: there is a run of that name; go on with it by `pellucid resume {path}`, or choose another `name`"
        )
    make_folder(path)
    return RunFolder(path)


def existing_run(path: Path) -> RunFolder:
    """The run folder at `path`; ArgumentError where it is none."""
    if not (path / SETTINGS).is_file():
        raise ArgumentError(f"{path}: is no run folder: it has no {SETTINGS}")
    return RunFolder(path)


def _belongs(line: str, epochs: int) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    event = entry.get("event") if isinstance(entry, dict) else None
    return event in ("start", "resume") or (event == "epoch" and entry.get("epoch", 0) <= epochs)
