"""Checkpoints: all that a training needs to go on to the same bits, in one file, of which two generations are kept.

The file is a safetensors file: the model's state (`state/0.weight`), the parameters of the best epoch
(`best/0.weight`), and, as its one piece of metadata, a JSON object with all else and the SHA-256 of everything.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from pellucid.errors import DataError, TrainingError
from pellucid.exchange.atomic import rotate_file
from pellucid.train.history import EpochResult
from pellucid.train.loop import Progress

__all__ = ["CURRENT", "PREVIOUS", "Checkpoint", "LoadedCheckpoint", "load_checkpoint", "save_checkpoint"]

CURRENT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
VERSION = 1
_KEY = "pellucid"

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands.

    `state` is the model's, `best` the parameters of the best epoch so far, None before there is one. `facts` are what
    must not change when it goes on (settings, network, data), as JSON has it.
    """

    progress: Progress
    state: Mapping[str, Array]
    best: Mapping[str, Array] | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint that was read, and what is to be said of others that could not be."""

    checkpoint: Checkpoint
    warning: str | None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint; the one before is kept as the previous one.

    Raises:
        StorageError: it cannot be written; the ones that are there stay.
        TrainingError: a parameter is not finite: such a state is not worth keeping.
    """
    for name, array in checkpoint.state.items():
        if not np.isfinite(array).all():
            raise TrainingError(
                f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite after "
                f"{checkpoint.progress.where()}: a gradient was not; this state is not saved"
            )
    rotate_file(folder / CURRENT, folder / PREVIOUS, _to_bytes(checkpoint))


def load_checkpoint(folder: Path) -> LoadedCheckpoint | None:
    """The newest checkpoint of a run folder that is whole; None where there is none at all.

    Raises:
        DataError: there are checkpoints, and all are damaged.
    """
    damage: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = _from_bytes(path)
        except DataError as error:
            damage.append(str(error))
            continue
        warning = f"{damage[0]}; going on from the one before, {found.progress.where()}" if damage else None
        return LoadedCheckpoint(found, warning)
    if damage:
        raise DataError("; ".join(damage))
    return None


def _to_bytes(checkpoint: Checkpoint) -> bytes:
    arrays = {f"state/{name}": array for name, array in checkpoint.state.items()}
    arrays |= {f"best/{name}": array for name, array in (checkpoint.best or {}).items()}
    text = json.dumps(
        {
            "version": VERSION,
            "progress": _progress_data(checkpoint.progress),
            "has_best": checkpoint.best is not None,
            "facts": checkpoint.facts,
        }
    )
    header = json.dumps({"sha256": _digest(arrays, text), "content": text})
    # One entry: the order of several is not told by the library.
    return safetensors.numpy.save(arrays, {_KEY: header})


def _from_bytes(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            arrays: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = str(header["content"])
        if header["sha256"] != _digest(arrays, text):
            raise DataError(f"{path}: is damaged: its SHA-256 is another")
        content = json.loads(text)
        if content["version"] > VERSION:
            raise DataError(f"{path}: has version {content['version']}, this package reads up to {VERSION}")
        return Checkpoint(
            _progress(content["progress"]),
            _under("state/", arrays),
            _under("best/", arrays) if content["has_best"] else None,
            content["facts"],
        )
    except DataError:
        raise
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged: {error or type(error).__name__}") from error


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digest(arrays: Mapping[str, Array], text: str) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _progress_data(progress: Progress) -> dict[str, Any]:
    data = {field.name: getattr(progress, field.name) for field in fields(progress)}
    data["results"] = [asdict(result) for result in progress.results]
    data["best_loss"] = None if math.isinf(progress.best_loss) else progress.best_loss
    return data


def _progress(data: Mapping[str, Any]) -> Progress:
    best_loss = data["best_loss"]
    return Progress(
        epoch=data["epoch"],
        step=data["step"],
        loss=data["loss"],
        seconds=data["seconds"],
        results=tuple(_result(entry) for entry in data["results"]),
        best_epoch=data["best_epoch"],
        best_loss=math.inf if best_loss is None else best_loss,
    )


def _result(data: Mapping[str, Any]) -> EpochResult:
    lists: dict[str, Any] = {
        "validation_recall": tuple(data["validation_recall"]),
        "state_gradient_norms": {name: tuple(norms) for name, norms in data["state_gradient_norms"].items()},
    }
    return EpochResult(**{**data, **lists})
