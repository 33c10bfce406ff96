"""A small training whose every file is compared: ten classes of little pictures, in memory or on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pellucid.train import Dataset, History, Part, fit, load_digits, resume
from pellucid.train.callback import Callback

OPTIONS = {"epochs": 4, "batch_size": 16, "seed": 3, "augment": "digits", "checkpoint_minutes": 0.0004}


def save_npz(path: Path, count: int = 150) -> Path:
    """Some of the bundled digits as an .npz file."""
    digits = load_digits()
    train, test = (np.rint(255 * part.images[:count, ..., 0]).astype(np.uint8) for part in (digits.train, digits.test))
    labels = digits.train.labels[:count], digits.test.labels[:count]
    np.savez(path, x_train=train, y_train=labels[0], x_test=test, y_test=labels[1])
    return path


def train(source: Path, runs: Path, name: str, *callbacks: Callback, **options: object) -> History:
    return fit("lenet5", source, name=name, runs=runs, callbacks=callbacks, **{**OPTIONS, "threads": 1, **options})


def results(folder: Path) -> dict[str, bytes]:
    """What must be the same bits, and the table without its times."""
    names = ("best/model.safetensors", "last/model.safetensors", "best/config.json", "last/config.json", "split.csv")
    files = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    rows = [row.split(",") for row in (folder / "results.csv").read_text().splitlines()]
    timed = [rows[0].index(name) for name in ("seconds", "images_per_second", "busy")]
    table = [[cell for place, cell in enumerate(row) if place not in timed] for row in rows]
    return {**files, "table": repr(table).encode()}


__all__ = ["OPTIONS", "Dataset", "Part", "results", "resume", "save_npz", "train"]
