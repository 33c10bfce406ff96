"""Which picture is for what: the rows of `split.csv`."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pellucid.errors import DataError
from pellucid.train.data.folder import PARTS
from pellucid.train.data.names import natural_key, shown, unescaped

__all__ = ["Row", "Split", "changed_data", "unknown_classes"]

_HEADER = ["path", "label", "split", "sha256"]


@dataclass(frozen=True, slots=True)
class Row:
    """A picture: its name below the data set's folder, its class, its part, the SHA-256 of its file.

    `path` and `label` are escaped (see `names`): one line of text that can be printed; `unescaped(path)` is the file's
    name to the byte. An image that has no file is called by its array and number, such as "x_train[17]", and has the
    SHA-256 of its stored pixels.
    """

    path: str
    label: str
    split: str
    sha256: str


@dataclass(frozen=True)
class Split:
    """The rows of a data set, in the order in which its parts have their images.

    Raises:
        DataError: there is no row for training, or a path stands in two rows.
    """

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        if not any(row.split == "train" for row in self.rows):
            raise DataError("the split has no row for `train`")
        path, count = Counter(row.path for row in self.rows).most_common(1)[0]
        if count > 1:
            raise DataError(f"the split has {count} rows for {path}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels, sorted naturally."""
        return tuple(sorted({row.label for row in self.rows}, key=natural_key))

    def part(self, name: str) -> tuple[Row, ...]:
        """The rows of "train", "validation" or "test"."""
        return tuple(row for row in self.rows if row.split == name)

    def sources(self) -> dict[str, tuple[str, ...]]:
        """Of each part that there is, the path of each of its images in order."""
        found = {name: tuple(row.path for row in self.part(name)) for name in PARTS}
        return {name: paths for name, paths in found.items() if paths}

    def with_validation(self, chosen: Sequence[bool]) -> Split:
        """The rows for training that are chosen, in their order, made rows for validation."""
        left = iter(chosen)
        return Split(
            tuple(replace(row, split="validation") if row.split == "train" and next(left) else row for row in self.rows)
        )

    def text(self) -> str:
        """The CSV file: UTF-8, a header and a line for each row; equal splits have equal text."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows((row.path, row.label, row.split, row.sha256) for row in self.rows)
        return stream.getvalue()

    @staticmethod
    def read(path: Path) -> Split:
        """The split in a file of this form.

        Raises:
            DataError: it cannot be read, or is damaged; says in which line.
        """
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                lines = list(csv.reader(stream, strict=True))
        except OSError as error:
            raise DataError(f"{shown(path)}: cannot be read: {error.strerror or type(error).__name__}") from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{shown(path)}: is damaged: {error}") from error
        if not lines or lines[0] != _HEADER:
            raise DataError(f"{shown(path)}: is damaged: line 1 must be {','.join(_HEADER)}")
        rows = tuple(_row(path, number, fields) for number, fields in enumerate(lines[1:], 2))
        try:
            return Split(rows)
        except DataError as error:
            raise DataError(f"{shown(path)}: is damaged: {error}") from error


def _row(path: Path, number: int, fields: list[str]) -> Row:
    problem = _problem(fields)
    if problem:
        raise DataError(f"{shown(path)}: is damaged: line {number} {problem}")
    return Row(*fields)


def _problem(fields: Sequence[str]) -> str | None:
    if len(fields) != len(_HEADER):
        return f"has {len(fields)} fields, expected {len(_HEADER)}"
    path, label, split, sha256 = fields
    if not path or not label:
        return "has an empty path or label"
    if not (path + label).isprintable():
        return "has a path or label that cannot be printed"
    for text in (path, label):
        try:
            unescaped(text)
        except ValueError as error:
            return f"is not escaped: {error}"
    if split not in PARTS:
        return f"has the split {split[:40]!r}, expected one of {', '.join(PARTS)}"
    return None if re.fullmatch(r"[0-9a-f]{64}", sha256) else "has no SHA-256 of 64 small hexadecimal digits"


def changed_data(source: str, differing: Sequence[str], count: int) -> DataError:
    """What to say where data is not that of its split: the first image that differs and how, and how many do."""
    return DataError(
        f"{source}: is not the data of the split any more: {differing[0]} ({len(differing)} of {count} images differ)"
    )


def unknown_classes(source: str, unknown: Sequence[str], class_names: Sequence[str]) -> DataError:
    """What to say where data has classes that a network was not trained for."""
    return DataError(
        f"{source}: has {'a class' if len(unknown) == 1 else 'classes'} that the network does not know: "
        f"{', '.join(unknown[:10])}{', ...' if len(unknown) > 10 else ''}; it knows {', '.join(class_names[:20])}"
        f"{', ...' if len(class_names) > 20 else ''}"
    )
