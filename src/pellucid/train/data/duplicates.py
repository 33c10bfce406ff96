"""Groups of pictures that are the same, and what that means: a picture in two parts, or in two classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.train.data.folder import PARTS
from pellucid.train.data.names import natural_key
from pellucid.train.data.scan import Scanned

__all__ = ["Duplicates", "describe_overlaps", "find_duplicates"]


@dataclass(frozen=True)
class Duplicates:
    """Two or more pictures that are the same: by their bytes (`exact`), or nearly.

    `classes` are all classes that they are in, `parts` the parts that the source gave them.
    """

    names: tuple[str, ...]
    exact: bool
    classes: tuple[str, ...]
    parts: tuple[str, ...]


def find_duplicates(whole: Sequence[Scanned], groups: Sequence[int]) -> tuple[Duplicates, ...]:
    """The groups (see `group_alike`) of two pictures or more, by the name of their first."""
    members = defaultdict[int, list[Scanned]](list)
    for scanned, group in zip(whole, groups, strict=True):
        members[group].append(scanned)
    return tuple(_duplicates(alike) for alike in members.values() if len(alike) > 1)


def describe_overlaps(duplicates: Sequence[Duplicates]) -> list[str]:
    """A sentence on pictures that stand in several parts of the source, and one on those in several classes."""
    result = list[str]()
    for several, rule in (
        ([alike for alike in duplicates if len(alike.parts) > 1], "in several parts"),
        ([alike for alike in duplicates if len(alike.classes) > 1], "in several classes"),
    ):
        if several:
            count = "1 picture stands" if len(several) == 1 else f"{len(several)} pictures stand"
            result.append(f"{count} {rule}; the first: {', '.join(several[0].names[:3])}")
    return result


def _duplicates(alike: Sequence[Scanned]) -> Duplicates:
    parts = {scanned.picture.part for scanned in alike}
    return Duplicates(
        tuple(scanned.picture.name for scanned in alike),
        len({scanned.fingerprint.sha256 for scanned in alike}) == 1,
        tuple(sorted({scanned.picture.label for scanned in alike}, key=natural_key)),
        tuple(part for part in PARTS if part in parts),
    )
