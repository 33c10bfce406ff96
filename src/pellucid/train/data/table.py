"""A table of pictures: a CSV file of path,label or path,label,split, its paths relative to its own folder."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from pellucid.errors import DataError
from pellucid.train.data.folder import PART_NAMES, PARTS, Listing, Picture
from pellucid.train.data.names import escaped, natural_key, shown

__all__ = ["list_table"]

_COLUMNS = ("path", "label", "split")


def list_table(table: Path) -> Listing:
    """The pictures that a table lists. Without a header its columns are path, label and perhaps split; with one, which
    names path and label, they may stand in any order, and others are passed over.

    `split` is train, val, valid, validation or test. The files are not looked for here: one that is missing is found
    by whoever opens it.

    Raises:
        DataError: the file cannot be read or is no such table; a path is listed twice; says which line.
    """
    lines = _lines(table)
    columns, lines = _columns(table, lines)
    pictures, first_line = list[Picture](), dict[str, int]()
    for line, fields in lines:
        if len(fields) <= max(columns.values()):
            raise DataError(f"{shown(table)}: line {line} has {len(fields)} fields, expected {','.join(columns)}")
        picture = _picture(table, line, {name: fields[place].strip() for name, place in columns.items()})
        if picture.name in first_line:
            raise DataError(f"{shown(table)}: {picture.name} is listed twice, on lines {first_line[picture.name]} "
                            f"and {line}")  # fmt: skip
        first_line[picture.name] = line
        pictures.append(picture)
    if not pictures:
        raise DataError(f"{shown(table)}: lists no pictures; expected lines of path,label")
    parts = {picture.part for picture in pictures}
    if None in parts and len(parts) > 1:
        raise DataError(f"{shown(table)}: some lines have a split and some have none")
    pictures.sort(key=lambda picture: natural_key(picture.name))
    return Listing(table, tuple(pictures), tuple(part for part in PARTS if part in parts))


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """The fields of every line that has any, with its number; bytes that are no UTF-8 stay, as in names of files."""
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            return [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except OSError as error:
        raise DataError(f"{shown(table)}: cannot be read: {error.strerror or type(error).__name__}") from error
    except csv.Error as error:
        raise DataError(f"{shown(table)}: is no CSV file: {error}") from error


def _columns(table: Path, lines: list[tuple[int, list[str]]]) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Where each column stands, and the lines without the header."""
    first = [field.strip().lower() for field in lines[0][1]] if lines else []
    if "path" in first and "label" in first:
        return {name: first.index(name) for name in _COLUMNS if name in first}, lines[1:]
    if lines and len(first) not in (2, 3):
        raise DataError(f"{shown(table)}: line {lines[0][0]} has {len(first)} fields, expected path,label")
    return {name: place for place, name in enumerate(_COLUMNS[: len(first)])}, lines


def _picture(table: Path, line: int, fields: dict[str, str]) -> Picture:
    for name in ("path", "label"):
        if not fields[name]:
            raise DataError(f"{shown(table)}: line {line} has no {name}")
    part = fields.get("split", "").lower()
    if part and part not in PART_NAMES:
        raise DataError(
            f"{shown(table)}: line {line} has the split {escaped(fields['split'])}, expected one of "
            f"{', '.join(PART_NAMES)}"
        )
    path = os.path.join(table.parent, fields["path"])
    return Picture(path, escaped(fields["path"]), escaped(fields["label"]), PART_NAMES.get(part))
