"""A folder of pictures: `CLASS/*.png`, or `train/ val/ test/` with classes below.

Whatever lies anywhere below a class's folder belongs to that class. What begins with a dot is passed over. Links are
followed, but no folder is entered twice below one class, so that links in a circle end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.names import escaped, natural_key, shown

__all__ = ["PARTS", "PART_NAMES", "SUFFIXES", "Listing", "Picture", "list_folder", "list_pictures"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
PARTS = ("train", "validation", "test")
# What the parts' folders are called, in small letters.
PART_NAMES = {
    "train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """A file by its path; its name below the data set's folder, with "/" and escaped (see `names`); its class, and the
    part ("train", "validation", "test") that it was given, or None."""

    path: str
    name: str
    label: str
    part: str | None = None


@dataclass(frozen=True)
class Listing:
    """The pictures of a data set as they lie there, sorted by name; none has been opened.

    `class_names` are those that have pictures, sorted naturally. `parts` are those that the source itself tells apart.
    `others` is how many files are no pictures by their suffix; `notes` are sentences about what was passed over.
    """

    source: Path
    pictures: tuple[Picture, ...]
    parts: tuple[str, ...] = ()
    empty_classes: tuple[str, ...] = ()
    others: int = 0
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that have pictures, sorted naturally."""
        return tuple(sorted({picture.label for picture in self.pictures}, key=natural_key))


@dataclass
class _Found:
    """What a walk meets beside pictures."""

    others: int = 0
    notes: list[str] = field(default_factory=list[str])


def list_folder(root: Path) -> Listing:
    """The pictures of a folder with their classes, and parts where its folders are called so.

    They are parts where all folders of it are called so, or train and another one are.

    Raises:
        DataError: there is no picture, or none in a folder of its own class; two folders are the same part; or the
            folder cannot be read.
    """
    found = _Found()
    folders, loose = _content(str(root), found, must=True)
    part_of = {name: PART_NAMES[name.lower()] for name in folders if name.lower() in PART_NAMES}
    has_parts = bool(part_of) and (len(part_of) == len(folders) or (len(part_of) > 1 and "train" in part_of.values()))
    if has_parts:
        _check_parts(root, part_of)
        passed_over = [name for name in folders if name not in part_of]
        found.notes += [f"{escaped(name)}/: is neither train, validation nor test; left out" for name in passed_over]
        branches = [(part, os.path.join(root, name), f"{escaped(name)}/") for name, part in part_of.items()]
    else:
        branches = [(None, str(root), "")]
    pictures, classes = list[Picture](), set[str]()
    for part, folder, prefix in branches:
        labels, below = (folders, loose) if part is None else _content(folder, found)
        _note_loose(found, prefix, below)
        for name in labels:
            label = escaped(name)
            classes.add(label)
            start = _Start(os.path.join(folder, name), f"{prefix}{label}", (str(root), folder))
            pictures += [Picture(path, called, label, part) for path, called in _walk(start, found)]
    if not pictures:
        raise DataError(_no_pictures(root, loose))
    pictures.sort(key=lambda picture: natural_key(picture.name))
    empty = classes - {picture.label for picture in pictures}
    return Listing(
        root,
        tuple(pictures),
        tuple(part for part in PARTS if part in part_of.values()) if has_parts else (),
        tuple(sorted(empty, key=natural_key)),
        found.others,
        tuple(found.notes),
    )


def list_pictures(paths: Iterable[str | Path]) -> list[Path]:
    """The pictures of files and folders: a file as it is named, of a folder all pictures anywhere below it, sorted.

    Raises:
        ArgumentError: a path does not exist.
        DataError: a folder has no picture, or cannot be read.
    """
    result = list[Path]()
    for path in map(Path, paths):
        if not path.is_dir():
            if not os.path.lexists(path):
                raise ArgumentError(f"no file or folder is called {str(path)!r}")
            result.append(path)
            continue
        found = _Found()
        _content(str(path), found, must=True)
        named = list(_walk(_Start(str(path), "", ()), found))
        if not named:
            raise DataError(f"{shown(path)}: has no pictures ({', '.join(SUFFIXES)})")
        result += [Path(file) for file, _ in sorted(named, key=lambda pair: natural_key(pair[1]))]
    return result


@dataclass(frozen=True)
class _Start:
    """Where a walk begins: a folder, its escaped name, and folders that it must not come into."""

    folder: str
    name: str
    above: tuple[str, ...]


def _walk(start: _Start, found: _Found) -> Iterator[tuple[str, str]]:
    """The paths and names of all pictures below; a stack and no recursion, since folders may nest deep."""
    entered = {identity for folder in start.above if (identity := _identity(folder)) is not None}
    waiting = [(start.folder, start.name)]
    while waiting:
        folder, name = waiting.pop()
        identity = _identity(folder)
        if identity in entered:
            found.notes.append(f"{name}/: is a link to a folder that was met already; left out")
            continue
        if identity is not None:
            entered.add(identity)
        folders, files = _content(folder, found)
        prefix = f"{name}/" if name else ""
        yield from ((os.path.join(folder, file), f"{prefix}{escaped(file)}") for file in files)
        waiting += [(os.path.join(folder, below), f"{prefix}{escaped(below)}") for below in reversed(folders)]


def _content(folder: str, found: _Found, must: bool = False) -> tuple[list[str], list[str]]:
    """The names of folders and of pictures in a folder, sorted; what else there is is counted."""
    folders, files = list[str](), list[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    files.append(entry.name)
                else:
                    found.others += 1
    except OSError as error:
        message = f"{shown(folder)}: cannot be read: {error.strerror or type(error).__name__}"
        if must:
            raise DataError(message) from error
        found.notes.append(f"{message}; left out")
    return sorted(folders, key=natural_key), sorted(files, key=natural_key)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_parts(root: Path, part_of: dict[str, str]) -> None:
    names = dict[str, str]()
    for name, part in part_of.items():
        if part in names:
            raise DataError(f"{shown(root)}: both {names[part]}/ and {name}/ are the {part} part")
        names[part] = name


def _note_loose(found: _Found, prefix: str, files: list[str]) -> None:
    if files:
        found.notes.append(
            f"{prefix or './'}: {len(files)} pictures in no class's folder; left out, the first is {escaped(files[0])}"
        )


def _no_pictures(root: Path, loose: list[str]) -> str:
    if loose:
        return f"{shown(root)}: its pictures must be in folders, one a class: CLASS/*.png, or train/CLASS/*.png"
    return f"{shown(root)}: has no pictures ({', '.join(SUFFIXES)}); expected CLASS/*.png, or train/CLASS/*.png"
