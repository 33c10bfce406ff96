"""What is in a folder of pictures, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pellucid.errors import ArgumentError
from pellucid.train.data.duplicates import Duplicates, find_duplicates
from pellucid.train.data.fingerprints import group_alike
from pellucid.train.data.folder import Listing
from pellucid.train.data.idx import has_idx_file
from pellucid.train.data.load import DATASETS, list_source
from pellucid.train.data.scan import Progress, Scan, scan

__all__ = ["Findings", "check"]


@dataclass(frozen=True)
class Findings:
    """What was found in a source of pictures.

    `classes` counts the readable pictures of each class in each part, or under "all" where the source has no parts.
    `sizes` are (width, height) of the smallest, the median and the largest picture by their pixels. `modes` counts
    Pillow's names of kinds of pixels. `unreadable` are lines that name a file and say why. `others` is how many files
    are no pictures by their names, `notes` are sentences about what else was passed over.
    """

    source: str
    classes: dict[str, dict[str, int]]
    parts: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    modes: dict[str, int]
    unreadable: tuple[str, ...]
    empty_classes: tuple[str, ...]
    duplicates: tuple[Duplicates, ...]
    others: int
    notes: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """How many pictures can be read."""
        return sum(sum(counts.values()) for counts in self.classes.values())

    @property
    def imbalance(self) -> float:
        """How many times as many pictures the largest class has as the smallest that has any."""
        counts = [sum(counts.values()) for counts in self.classes.values() if sum(counts.values())]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def in_several_parts(self) -> tuple[Duplicates, ...]:
        """Pictures that a part for training and one for judging share."""
        return tuple(alike for alike in self.duplicates if len(alike.parts) > 1)

    @property
    def in_several_classes(self) -> tuple[Duplicates, ...]:
        """Pictures that have more than one class."""
        return tuple(alike for alike in self.duplicates if len(alike.classes) > 1)

    @property
    def wrong(self) -> tuple[str, ...]:
        """A sentence for each thing that is wrong; none where the data can be trained on as it is."""
        result = list[str]()
        if self.unreadable:
            result.append(f"{_count(len(self.unreadable), 'picture')} cannot be read")
        result += [f"class {name} has no pictures" for name in self.empty_classes]
        result += self._wrong_classes()
        if self.parts and "train" not in self.parts:
            result.append("there is no part for training")
        for several, rule in (
            (self.in_several_parts, "in several parts"),
            (self.in_several_classes, "in several classes"),
        ):
            if several:
                result.append(f"{_count(len(several), 'picture')} {'stands' if len(several) == 1 else 'stand'} {rule}")
        return tuple(result)

    def _wrong_classes(self) -> list[str]:
        result = list[str]()
        filled = [name for name, counts in self.classes.items() if sum(counts.values())]
        if len(filled) == 1:
            result.append(f"there is one class only, {filled[0]}")
        for name, counts in self.classes.items():
            total = sum(counts.values())
            if total < 2:
                result.append(f"class {name} has {'one picture only' if total else 'no picture that can be read'}")
                continue
            result += [f"class {name} has no picture for {part}" for part, count in counts.items() if not count]
        return result

    def as_json(self) -> dict[str, Any]:
        """All of it as objects that JSON knows."""
        return {**asdict(self), "pictures": self.pictures, "imbalance": self.imbalance, "wrong": list(self.wrong)}


def check(source: str | Path, threads: int = 2, progress: Progress | None = None) -> Findings:
    """Open every picture of a folder or table, and say what is there; `Findings.wrong` is what should be otherwise.

    Raises:
        ArgumentError: there is no such path, or it has stored arrays and no pictures in files.
        DataError: there are no pictures, or the table is damaged.
    """
    path = Path(source)
    if not path.exists() and str(source) not in DATASETS:
        raise ArgumentError(f"no folder or file is called {str(source)!r}")
    if str(source) in DATASETS or path.suffix == ".npz" or has_idx_file(path):
        raise ArgumentError(f"{source} has stored arrays; only pictures in files are checked")
    listing = list_source(path)
    return _findings(listing, scan(listing.pictures, threads, progress))


def _findings(listing: Listing, scanned: Scan) -> Findings:
    parts = listing.parts or ("all",)
    counts = Counter((whole.picture.label, whole.picture.part or "all") for whole in scanned.whole)
    sizes = sorted(((whole.facts.width, whole.facts.height) for whole in scanned.whole), key=_pixels)
    modes = Counter(whole.facts.mode for whole in scanned.whole)
    groups = group_alike([whole.fingerprint for whole in scanned.whole])
    return Findings(
        str(listing.source),
        {name: {part: counts[name, part] for part in parts} for name in listing.class_names},
        listing.parts,
        (sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else (),
        dict(modes.most_common()),
        tuple(reason for _, reason in scanned.broken),
        listing.empty_classes,
        find_duplicates(scanned.whole, groups),
        listing.others,
        listing.notes,
    )


def _pixels(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    return size[0] * size[1], size


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
