"""Folders and tables of pictures as data sets: scanned, split, and decoded when they are asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.data.decode import PictureFacts, PictureForm
from pellucid.train.data.draw import check_classes, draw_parts, wanted_fractions
from pellucid.train.data.duplicates import describe_overlaps, find_duplicates
from pellucid.train.data.files import FilePixels
from pellucid.train.data.fingerprints import group_alike, join_by_key
from pellucid.train.data.folder import PARTS, Listing, Picture
from pellucid.train.data.images import Images
from pellucid.train.data.names import shown, unescaped
from pellucid.train.data.scan import Progress, Scan, hash_pictures, scan
from pellucid.train.data.split import Row, Split, changed_data, unknown_classes
from pellucid.train.data.threads import check_threads

__all__ = ["PictureOptions", "load_picture_part", "load_pictures"]

_OWN_SIZE = 128  # pictures of one size up to this keep it
_SIZE = (64, 64)


@dataclass(frozen=True)
class PictureOptions:
    """The arguments of `load` for pictures in files; see there."""

    image_size: tuple[int, int] | None = None
    color: str = "auto"
    resize: str = "crop"
    validation: float | None = None
    test: float | None = None
    seed: int = 0
    group: str | None = None
    threads: int = 2
    cache_bytes: int | None = None


def load_pictures(
    source: Path,
    list_them: Callable[[], Listing],
    options: PictureOptions,
    split: Split | None,
    progress: Progress | None,
) -> Dataset:
    """The data set of the pictures that `list_them` finds in `source`, or exactly of those in `split`; see `load`."""
    _check(options)
    problems: tuple[str, ...] = ()
    if split is None:
        listing = list_them()
        fractions = wanted_fractions(listing.parts, options.validation, options.test)
        if listing.parts and "train" not in listing.parts:
            raise DataError(f"{shown(source)}: has a {listing.parts[0]} part but none for training")
        scanned = scan(listing.pictures, options.threads, progress)
        if not scanned.whole:
            raise DataError(f"{shown(source)}: none of its {len(listing.pictures)} pictures can be read; "
                            f"the first: {scanned.broken[0][1]}")  # fmt: skip
        split, overlaps = _draw(listing, scanned, fractions, options)
        problems = (*_left_out(scanned), *_problems(listing), *overlaps)
        facts = [whole.facts for whole in scanned.whole]
    else:
        facts = _check_unchanged(source, split, options, progress)
    form = _form(options, facts)
    return _dataset(source, split, form, options, problems)


def load_picture_part(
    listing: Listing,
    class_names: Sequence[str],
    part: str | None,
    shape: tuple[int, int, int],
    resize: str,
    threads: int,
    progress: Progress | None,
) -> tuple[Part, tuple[str, ...], tuple[str, ...]]:
    """All pictures, or those of a part: with labels that are numbers of `class_names`, their paths, and problems."""
    form = PictureForm(*shape, resize)
    pictures = [picture for picture in listing.pictures if part in (None, picture.part)]
    if not pictures:
        has = f"it has {', '.join(listing.parts)}" if listing.parts else "it has no parts"
        raise DataError(f"{shown(listing.source)}: has no {part} part; {has}")
    number_of = {name: number for number, name in enumerate(class_names)}
    unknown = [name for name in listing.class_names if any(name == picture.label for picture in pictures)]
    unknown = [name for name in unknown if name not in number_of]
    if unknown:
        raise unknown_classes(shown(listing.source), unknown, class_names)
    scanned = scan(pictures, threads, progress)
    if not scanned.whole:
        raise DataError(f"{shown(listing.source)}: none of its {len(pictures)} pictures can be read; "
                        f"the first: {scanned.broken[0][1]}")  # fmt: skip
    whole = [seen.picture for seen in scanned.whole]
    pixels = FilePixels([picture.path for picture in whole], form, threads, cache_bytes=0)
    labels = np.array([number_of[picture.label] for picture in whole], np.int64)
    problems = (*_left_out(scanned), *_problems(listing))
    return Part(Images(pixels), labels), tuple(picture.name for picture in whole), problems


def _check(options: PictureOptions) -> None:
    """Refuse wrong arguments before a long scan."""
    PictureForm(*(options.image_size or _SIZE), 3, options.resize)
    check_threads(options.threads)
    if options.group is not None:
        _pattern(options.group)


def _left_out(scanned: Scan) -> list[str]:
    """How many pictures cannot be read, and each of them with the reason."""
    broken, count = scanned.broken, len(scanned.broken) + len(scanned.whole)
    head = [f"{len(broken)} of {count} pictures cannot be read:"] if broken else []
    return [*head, *(f"{reason}; left out" for _, reason in broken)]


def _problems(listing: Listing) -> list[str]:
    result = [f"class {name} has no pictures; left out" for name in listing.empty_classes]
    if listing.others:
        result.append(f"{listing.others} files are no pictures by their names; left out")
    return [*result, *listing.notes]


def _draw(
    listing: Listing, scanned: Scan, fractions: dict[str, float], options: PictureOptions
) -> tuple[Split, list[str]]:
    """The split, and what identical pictures are in several parts of the source or several classes."""
    source = shown(listing.source)
    pictures = [whole.picture for whole in scanned.whole]
    names, labels = [picture.name for picture in pictures], [picture.label for picture in pictures]
    groups = group_alike([whole.fingerprint for whole in scanned.whole])
    overlaps = describe_overlaps(find_duplicates(scanned.whole, groups))
    if options.group is not None:
        groups = join_by_key(groups, _keys(options.group, names))
    splits = [picture.part or "train" for picture in pictures]
    free = [number for number, part in enumerate(splits) if part == "train"]
    missing = sorted({picture.label for picture, _ in scanned.broken} - set(labels))
    if missing:
        raise DataError(f"{source}: class {missing[0]} has no picture that can be read")
    if len(set(labels)) > 1:
        check_classes(source, labels, splits)
    drawn = draw_parts(source, [labels[number] for number in free], [groups[number] for number in free], fractions,
                       options.seed)  # fmt: skip
    for number, part in zip(free, drawn, strict=True):
        splits[number] = part
    check_classes(source, labels, splits)
    rows = (
        Row(picture.name, picture.label, part, whole.fingerprint.sha256)
        for picture, part, whole in zip(pictures, splits, scanned.whole, strict=True)
    )
    return Split(tuple(rows)), overlaps


def _keys(group: str, names: Sequence[str]) -> list[str | None]:
    """What the pattern matches in each name, or its first group; None where it does not match."""
    pattern = _pattern(group)
    matches = [pattern.search(name) for name in names]
    if not any(matches):
        raise ArgumentError(f"`group` (={group!r}) matches no path; the first one is {names[0]}")
    return [None if match is None else match[1] if pattern.groups else match[0] for match in matches]


def _pattern(group: str) -> re.Pattern[str]:
    try:
        return re.compile(group)
    except re.error as error:
        raise ArgumentError(f"`group` (={group!r}) is no regular expression: {error}") from error


def _check_unchanged(
    source: Path, split: Split, options: PictureOptions, progress: Progress | None
) -> list[PictureFacts]:
    """That every file of the split is there and the same; and what the pictures are where somebody asks."""
    root = source if source.is_dir() else source.parent
    pictures = [Picture(os.path.join(root, unescaped(row.path)), row.path, row.label) for row in split.rows]
    if options.image_size is None or options.color == "auto":
        scanned = scan(pictures, options.threads, progress)
        found = {whole.picture.name: whole.fingerprint.sha256 for whole in scanned.whole}
        facts = [whole.facts for whole in scanned.whole]
        hashes = [found.get(row.path) for row in split.rows]
    else:
        hashes, facts = hash_pictures(pictures, options.threads, progress), []
    differing = [
        f"{row.path} {_difference(picture)}"
        for row, picture, now in zip(split.rows, pictures, hashes, strict=True)
        if now != row.sha256
    ]
    if differing:
        raise changed_data(shown(source), differing, len(split.rows))
    return facts


def _difference(picture: Picture) -> str:
    return "is another file now" if os.path.exists(picture.path) else "is missing"


def _form(options: PictureOptions, facts: Sequence[PictureFacts]) -> PictureForm:
    size = options.image_size
    if size is None:
        sizes = {(fact.height, fact.width) for fact in facts}
        size = min(sizes) if len(sizes) == 1 and max(min(sizes)) <= _OWN_SIZE else _SIZE
    gray = all(fact.gray for fact in facts) if options.color == "auto" else options.color == "gray"
    return PictureForm(*size, 1 if gray else 3, options.resize)


def _dataset(
    source: Path, split: Split, form: PictureForm, options: PictureOptions, problems: tuple[str, ...]
) -> Dataset:
    root = source if source.is_dir() else source.parent
    names = split.class_names
    number_of = {name: number for number, name in enumerate(names)}
    rows = {part: split.part(part) for part in PARTS}
    # Those for training come first: they are the ones to keep where there is not room for all.
    paths = [os.path.join(root, unescaped(row.path)) for part in PARTS for row in rows[part]]
    pixels = FilePixels(paths, form, options.threads, options.cache_bytes)
    parts, start = dict[str, Part | None](), 0
    for part in PARTS:
        numbers = np.arange(start, start + len(rows[part]))
        labels = np.array([number_of[row.label] for row in rows[part]], np.int64)
        parts[part] = Part(Images(pixels, numbers), labels) if rows[part] else None
        start += len(rows[part])
    train = parts["train"]
    assert train is not None
    return Dataset(train, parts["test"], names, parts["validation"], None, split, split.sources(), problems)
