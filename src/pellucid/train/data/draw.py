"""A split drawn: groups of pictures dealt to training, validation and test, each class by the same fractions.

Groups are dealt and not pictures, so that what belongs together stands on one side. The same pictures in the same order
and the same seed give the same split.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.folder import PARTS
from pellucid.train.data.names import natural_key

__all__ = ["DEFAULT_FRACTION", "check_classes", "draw_parts", "wanted_fractions"]

DEFAULT_FRACTION = 0.15


def wanted_fractions(parts: Sequence[str], validation: float | None, test: float | None) -> dict[str, float]:
    """What is to be drawn from the pictures for training, where the source has these parts itself.

    None is the default: 0.15 each where it has neither; 0.15 for validation where it has a test part alone; and no test
    part where it has one for validation alone. 0 is none.

    Raises:
        ArgumentError: a fraction is outside 0..1, both together leave nothing to train on, or one is asked of a part
            that the source has.
    """
    wanted = dict[str, float]()
    for name, asked in (("validation", validation), ("test", test)):
        if name in parts:
            if asked is not None:
                raise ArgumentError(f"`{name}` (={asked:g}) cannot be drawn: the data has a {name} part of its own")
            continue
        default = 0.0 if name == "test" and "validation" in parts else DEFAULT_FRACTION
        fraction = default if asked is None else asked
        if not (math.isfinite(fraction) and 0 <= fraction < 1):
            raise ArgumentError(f"`{name}` (={fraction:g}) must be at least 0 and below 1")
        if fraction:
            wanted[name] = fraction
    if sum(wanted.values()) >= 1:
        raise ArgumentError(f"`validation` and `test` (={', '.join(f'{part:g}' for part in wanted.values())}) must be "
                            "below 1 together: nothing is left for training")  # fmt: skip
    return wanted


@dataclass
class _Group:
    """Pictures that stay together: their numbers, and how many of each class they are."""

    members: list[int]
    counts: Counter[str]


def draw_parts(
    source: str, labels: Sequence[str], groups: Sequence[int], fractions: Mapping[str, float], seed: int
) -> list[str]:
    """Of each picture, its part: "train" or one of `fractions`; pictures of the same group get the same.

    Of each class every part gets its fraction, rounded, as closely as the groups allow, and one group at least.

    Raises:
        DataError: a class has fewer groups than there are parts; names it and the counts.
    """
    if not fractions:
        return ["train"] * len(labels)
    dealt = _groups(labels, groups, seed)
    _check_enough(source, labels, dealt, fractions)
    needs = _needs(labels, fractions)
    part_of = _one_each(dealt, fractions)
    for group, part in part_of.items():
        needs[part] -= dealt[group].counts
    for number in sorted(range(len(dealt)), key=lambda number: -len(dealt[number].members)):
        if number not in part_of:
            part_of[number] = _neediest(dealt[number], needs, fractions)
            needs[part_of[number]] -= dealt[number].counts
    result = [""] * len(labels)
    for number, part in part_of.items():
        for member in dealt[number].members:
            result[member] = part
    return result


def check_classes(source: str, labels: Sequence[str], splits: Sequence[str]) -> None:
    """Refuse a data set of one class, and one where a class has no picture in a part.

    Raises:
        DataError: names the class and its counts.
    """
    counts = Counter(zip(labels, splits, strict=True))
    names = sorted(set(labels), key=natural_key)
    parts = [part for part in PARTS if part in set(splits)]
    if len(names) < 2:
        raise DataError(f"{source}: has one class only, {names[0]}; a classifier needs two")
    for name in names:
        if any(not counts[name, part] for part in parts):
            listed = ", ".join(f"{counts[name, part]} for {part}" for part in parts)
            raise DataError(f"{source}: class {name} has {listed}: each part needs a picture of it")


def _groups(labels: Sequence[str], groups: Sequence[int], seed: int) -> list[_Group]:
    """The groups in an order that is drawn."""
    members = defaultdict[int, list[int]](list)
    for number, group in enumerate(groups):
        members[group].append(number)
    found = [_Group(numbers, Counter(labels[number] for number in numbers)) for numbers in members.values()]
    return [found[place] for place in np.random.default_rng(seed).permutation(len(found))]


def _check_enough(source: str, labels: Sequence[str], groups: Sequence[_Group], fractions: Mapping[str, float]) -> None:
    parts = [part for part in PARTS if part == "train" or part in fractions]
    pictures, group_counts = Counter(labels), Counter(name for group in groups for name in group.counts)
    for name in sorted(pictures, key=natural_key):
        if group_counts[name] < len(parts):
            together = "" if group_counts[name] == pictures[name] else (
                f", which make {group_counts[name]} {'group' if group_counts[name] == 1 else 'groups'} that "
                "must stay together"
            )  # fmt: skip
            raise DataError(
                f"{source}: class {name} has {pictures[name]} {'picture' if pictures[name] == 1 else 'pictures'}"
                f"{together}: {' and '.join([', '.join(parts[:-1]), parts[-1]])} need one each"
            )


def _needs(labels: Sequence[str], fractions: Mapping[str, float]) -> dict[str, Counter[str]]:
    """How many pictures of each class each part is to get."""
    pictures = Counter(labels)
    needs = {
        part: Counter({name: max(1, round(fraction * count)) for name, count in pictures.items()})
        for part, fraction in fractions.items()
    }
    return {"train": pictures - sum(needs.values(), Counter[str]()), **needs}


def _one_each(groups: Sequence[_Group], fractions: Mapping[str, float]) -> dict[int, str]:
    """For every class and part a group to begin with, the smallest there is, and for training the largest; classes
    with few groups come first."""
    having = defaultdict[str, list[int]](list)
    for number, group in enumerate(groups):
        for name in group.counts:
            having[name].append(number)
    part_of = dict[int, str]()
    for name in sorted(having, key=lambda name: (len(having[name]), natural_key(name))):
        has = {part_of[number] for number in having[name] if number in part_of}
        free = [number for number in having[name] if number not in part_of]
        free.sort(key=lambda number: len(groups[number].members))
        for part in (*fractions, "train"):
            if free and part not in has:
                part_of[free.pop(-1 if part == "train" else 0)] = part
    return part_of


def _neediest(group: _Group, needs: Mapping[str, Counter[str]], fractions: Mapping[str, float]) -> str:
    """The part that lacks most of what the group has; among equals the one that lacks most of its share."""
    share = {"train": 1 - sum(fractions.values()), **fractions}

    def need(part: str) -> tuple[int, float]:
        lacking = needs[part]
        taken = sum(min(count, max(0, lacking[name])) for name, count in group.counts.items())
        return taken, sum(max(0, lacking[name]) for name in group.counts) / share[part]

    return max(share, key=need)
