"""Images that are stored in arrays, with the names and hashes that a split knows them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.data.draw import check_classes, draw_parts, wanted_fractions
from pellucid.train.data.fingerprints import hash_bytes
from pellucid.train.data.folder import PARTS
from pellucid.train.data.names import shown
from pellucid.train.data.split import Row, Split, changed_data

__all__ = ["Pool", "array_dataset", "check_form", "joined"]

_TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Pool:
    """An array of images with labels as it is called in its file, and the part that it is ("train" or "test"), or None
    where both are to be drawn from it. `pixels` are in memory (count, height, width, channels), uint8 or float32."""

    name: str
    pixels: NDArray[np.uint8] | NDArray[np.float32]
    part: Part
    given: str | None

    def rows(self) -> list[Row]:
        """A row of a split for each image; the part is "train" where none is given."""
        return [
            Row(f"{self.name}[{number}]", str(label), self.given or "train", hash_bytes(pixels.data))
            for number, (label, pixels) in enumerate(zip(self.part.labels.tolist(), self.pixels, strict=True))
        ]


def array_dataset(
    source: Path,
    pools: Sequence[Pool],
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    split: Split | None = None,
) -> Dataset:
    """The data set of one pool from which a test part is drawn (a fifth unless `test` says else), or of a pool for
    training and one for the test. A validation part is drawn where a fraction is given for it.

    Raises:
        ArgumentError: see `wanted_fractions`.
        DataError: the pools do not fit each other, a class is too small, or the data is not that of `split`.
    """
    rows = [pool.rows() for pool in pools]
    if split is None:
        parts = [pool.given for pool in pools if pool.given == "test"]
        default = None if parts else _TEST_FRACTION
        fractions = wanted_fractions(parts, validation or 0.0, default if test is None else test)
        split = Split(tuple(_drawn(source, rows[0], fractions, seed) + [row for more in rows[1:] for row in more]))
    else:
        _check_unchanged(source, split, [row for more in rows for row in more])
    found = {name: _taken(source, pools, name, split.part(name)) for name in PARTS}
    train = found["train"]
    assert train is not None
    class_count = int(train.labels.max()) + 1
    if class_count < 2:
        raise DataError(f"{shown(source)}: has one class only, 0; a classifier needs two")
    names = tuple(str(number) for number in range(class_count))
    try:
        return Dataset(train, found["test"], names, found["validation"], None, split, split.sources())
    except DataError as error:
        raise DataError(f"{shown(source)}: {error}") from error


def check_form(source: Path, shape: tuple[int, ...], image_size: tuple[int, int] | None, color: str) -> None:
    """Refuse another size or colour than stored images have.

    Raises:
        ArgumentError: names both.
    """
    height, width, channels = shape
    if image_size is not None and image_size != (height, width):
        raise ArgumentError(
            f"`image_size` (={image_size[0]}x{image_size[1]}): the images of {shown(source)} are {height}x{width}, "
            "and only pictures in files are resized"
        )
    if color != "auto" and channels != (1 if color == "gray" else 3):
        raise ArgumentError(f"`color` (={color}): the images of {shown(source)} have {channels} channels")


def joined(pools: Sequence[Pool]) -> tuple[Part, tuple[str, ...]]:
    """One part of all images of the pools, and what each is called."""
    names = tuple(f"{pool.name}[{number}]" for pool in pools for number in range(len(pool.part)))
    if len(pools) == 1:
        return pools[0].part, names
    images = np.concatenate([np.asarray(pool.part.images) for pool in pools])
    return Part(images, np.concatenate([pool.part.labels for pool in pools]).astype(np.int64)), names


def _drawn(source: Path, rows: list[Row], fractions: dict[str, float], seed: int) -> list[Row]:
    """The rows of the pool for training, dealt; images of the same bytes stay together."""
    first_of = dict[str, int]()
    groups = [first_of.setdefault(row.sha256, number) for number, row in enumerate(rows)]
    labels = [row.label for row in rows]
    splits = draw_parts(shown(source), labels, groups, fractions, seed)
    if fractions:
        check_classes(shown(source), labels, splits)
    return [Row(row.path, row.label, part, row.sha256) for row, part in zip(rows, splits, strict=True)]


def _check_unchanged(source: Path, split: Split, rows: list[Row]) -> None:
    stored = {row.path: row for row in rows}
    differing = list[str]()
    for row in split.rows:
        now = stored.get(row.path)
        if now is None:
            differing.append(f"{row.path} is missing")
        elif (now.sha256, now.label) != (row.sha256, row.label):
            differing.append(f"{row.path} has other {'pixels' if now.sha256 != row.sha256 else 'labels'} now")
    if differing:
        raise changed_data(shown(source), differing, len(split.rows))


def _taken(source: Path, pools: Sequence[Pool], name: str, rows: Sequence[Row]) -> Part | None:
    """The part of those rows, which come from one pool."""
    if not rows:
        return None
    pool_names = {row.path.partition("[")[0] for row in rows}
    if len(pool_names) > 1:
        raise DataError(f"{shown(source)}: the split's `{name}` has images of {' and '.join(sorted(pool_names))}")
    pool = next(pool for pool in pools if pool.name in pool_names)
    numbers = np.array([int(row.path[len(pool.name) + 1 : -1]) for row in rows], np.int64)
    return pool.part if np.array_equal(numbers, np.arange(len(pool.part))) else pool.part.take(numbers)
