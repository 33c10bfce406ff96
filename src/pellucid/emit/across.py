"""Sums (maxima, ...) across the lanes of vectors, of many vectors at once: each pair of halves is joined, and so on.

Vectors share the work: two that are halved are one vector again, whose parts belong to different results, so each step
has half as many vectors as the one before. 16 vectors of 16 lanes take 15 joins rather than 16 * 4, and each result has
the bits that it would have alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from pellucid.emit.ir import BYTES, Code, Register

__all__ = ["Join", "Pair", "across", "combined"]

# What is accumulated: a value, or the value and the position of an arg reduction.
Pair: TypeAlias = Sequence[Register]
Join: TypeAlias = Callable[[Pair, Pair], Pair]


class _Parts(NamedTuple):
    """Vectors in equal parts, and the number of the result that each part belongs to."""

    pair: Pair
    owners: list[int]


def combined(pairs: Sequence[Pair], join: Join) -> Pair:
    """Neighbours are joined, then neighbouring pairs, and so on."""
    while len(pairs) > 1:
        joined = [join(a, b) for a, b in zip(pairs[::2], pairs[1::2], strict=False)]
        pairs = [*joined, *pairs[len(joined) * 2 :]]
    return pairs[0]


def across(code: Code, pairs: Sequence[Pair], join: Join) -> list[Pair]:
    """The lanes of each of some vectors as one scalar. As many vectors as are a power of two share the work."""
    lanes = pairs[0][0].lanes
    count = min(lanes, 1 << len(pairs).bit_length() - 1)
    waiting = [_Parts(pair, [number]) for number, pair in enumerate(pairs[:count])]
    while len(waiting) > 1 or (lanes > 1 and waiting[0].pair[0].lanes > 2):
        lanes //= 2
        partners = waiting[1::2] or [waiting[0]._replace(owners=[])]
        waiting = [_halved(code, a, b, lanes, join) for a, b in zip(waiting[::2], partners, strict=True)]
    ((pair, owners),) = waiting
    scalars = {
        number: combined([[code.extract(part, place * lanes + lane) for part in pair] for lane in range(lanes)], join)
        for place, number in enumerate(owners)
    }
    rest = across(code, pairs[count:], join) if count < len(pairs) else []
    return [*(scalars[number] for number in range(count)), *rest]


def _halved(code: Code, a: _Parts, b: _Parts, half: int, join: Join) -> _Parts:
    """The low half of every part of two vectors joined to the high half, in one vector.

    Halves of 128 bits and more stay together by vector, smaller ones alternate: for both there are single instructions.
    """
    width = a.pair[0].lanes
    own = [(2 * half * place, owner) for place, owner in enumerate(a.owners)]
    other = [(width + 2 * half * place, owner) for place, owner in enumerate(b.owners)]
    parts = own + other
    if other and half * BYTES[a.pair[0].kind] < 16:
        parts = [part for both in zip(own, other, strict=True) for part in both]
    low = [start + lane for start, _ in parts for lane in range(half)]
    lows, highs = (
        [code.shuffle(one, two, [lane + skip for lane in low]) for one, two in zip(a.pair, b.pair, strict=True)]
        for skip in (0, half)
    )
    return _Parts(join(lows, highs), [owner for _, owner in parts])
