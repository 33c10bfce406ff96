"""Where the temporaries and the scratch of a program live: an arena each, cells reused when their owner is dead.

A temporary is alive from the first nest that writes it to the last one that touches it, both included; scratch, in a
pass, from the first statement of a round that writes it to the last one that touches it, so that statements which
follow each other work in the same part of the second cache. Two buffers alive at once never share a byte: judged, with
nothing of this file, byte by byte for drawn lifetimes in `tests/network/test_memory.py`, and for whole networks by
walking their nests in `test_memory_plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pellucid.schedule.machine import whole_lines
from pellucid.schedule.nest import For, Nest, Statement, Tensor
from pellucid.schedule.touched import touched

__all__ = ["Arena", "Lifetime", "plan_arena", "scratch_lifetimes", "temporary_lifetimes"]


@dataclass(frozen=True)
class Lifetime:
    """A buffer of `size` bytes, alive in the nests or statements numbered `first .. last`, both included."""

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
            (offset, offset + whole_lines(other.size))
            for other, offset in placed
            if other.first <= lifetime.last and lifetime.first <= other.last
        )
        offset = _best_hole(taken, whole_lines(lifetime.size))
        placed.append((lifetime, offset))
        offsets[lifetime.name] = offset
    size = max((offset + whole_lines(lifetime.size) for lifetime, offset in placed), default=0)
    return Arena(offsets, size)


def temporary_lifetimes(nests: Iterable[Nest], tensors: Iterable[Tensor]) -> list[Lifetime]:
    """From when to when each temporary is in use, counted in nests."""
    return _lifetimes((nest.body for nest in nests), tensors, "temporary")


def scratch_lifetimes(nests: Iterable[Nest], tensors: Iterable[Tensor]) -> list[Lifetime]:
    """From when to when scratch is in use, counted in the statements of a round, as each thread runs them.

    Scratch of a nest without rounds lives as long as the nest.
    """
    return _lifetimes((piece for nest in nests for piece in _one_after_another(nest)), tensors, "scratch")


def _one_after_another(nest: Nest) -> list[tuple[Statement, ...]]:
    """The statements of a round, each for itself; of a nest without rounds all that it is."""
    body = nest.body
    for variable in nest.rounds:
        (loop,) = body
        assert isinstance(loop, For)
        assert loop.variable == variable
        body = loop.body
    return [(statement,) for statement in body] if nest.rounds else [body]


def _lifetimes(pieces: Iterable[tuple[Statement, ...]], tensors: Iterable[Tensor], role: str) -> list[Lifetime]:
    sizes = {tensor.name: tensor.bytes for tensor in tensors if tensor.role == role}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        for name in {operand.tensor for operand in touched(piece)} & sizes.keys():
            first.setdefault(name, number)
            last[name] = number
    return [Lifetime(name, sizes[name], first[name], last[name]) for name in first]


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
