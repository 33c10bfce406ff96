"""Where the temporaries of a program live: one arena, cells reused when their owner is dead.

A buffer is alive from the first nest that writes it to the last one that touches it, both included; two buffers
alive in the same nest never share a byte. `tests/network/test_memory.py` judges plans by an overlap checker that
shares nothing with this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.schedule.machine import CACHE_LINE

__all__ = ["Arena", "Lifetime", "plan_arena"]


@dataclass(frozen=True)
class Lifetime:
    """A buffer of `size` bytes, alive in the nests numbered `first .. last`, both included."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """The byte offset of every buffer, a multiple of a cache line and so of the widest vector, and the bytes of all."""

    offsets: Mapping[str, int]
    size: int


def plan_arena(lifetimes: Sequence[Lifetime]) -> Arena:
    """Places large buffers first, each in the smallest hole that is free for as long as it lives.

    Large first because a small buffer still finds a hole between large ones, and not the other way round.
    """
    placed: list[tuple[Lifetime, int]] = []
    offsets: dict[str, int] = {}
    for lifetime in sorted(lifetimes, key=lambda entry: (-entry.size, entry.first, entry.name)):
        taken = sorted(
            (offset, offset + _rounded(other.size))
            for other, offset in placed
            if other.first <= lifetime.last and lifetime.first <= other.last
        )
        offset = _best_hole(taken, _rounded(lifetime.size))
        placed.append((lifetime, offset))
        offsets[lifetime.name] = offset
    size = max((offset + _rounded(lifetime.size) for lifetime, offset in placed), default=0)
    return Arena(offsets, size)


def _rounded(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE


def _best_hole(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap of at least `size` between sorted, possibly overlapping intervals."""
    best: tuple[int, int] | None = None
    end = 0
    for start, stop in taken:
        gap = start - end
        if gap >= size and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, stop)
    return end if best is None else best[1]
