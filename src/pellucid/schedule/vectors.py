"""Vector axes cut into blocks and lane groups."""

from __future__ import annotations

from pellucid.schedule.nest import Group
from pellucid.schedule.plan import near_equal

__all__ = ["exact_groups", "lane_groups", "side_by_side", "vector_pieces"]


def vector_pieces(extent: int, block: int, lanes: int) -> list[tuple[int, int, int]]:
    """An axis cut into blocks of whole vectors, as equal as possible: (start, width, count); a ragged end is last.

    50 by 16 with 8 lanes: seven vectors are blocks of 2, 2, 2 and 1 vectors: (0, 16, 3), (48, 2, 1).
    """
    pieces = [(a * lanes, n * lanes, count) for a, n, count in near_equal(-(-extent // lanes), max(1, block // lanes))]
    start, width, count = pieces[-1]
    if extent % lanes == 0:
        return pieces
    last = start + width * (count - 1)
    whole = [(start, width, count - 1)] if count > 1 else []
    return [*pieces[:-1], *whole, (last, extent - last, 1)]


def lane_groups(width: int, lanes: int) -> tuple[Group, ...]:
    """The vectors that cover `width` lanes; the last one is as narrow as a power of two allows."""
    whole = [Group(offset, lanes, lanes) for offset in range(0, width - width % lanes, lanes)]
    rest = width % lanes
    if rest:
        whole.append(Group(width - rest, 1 << (rest - 1).bit_length(), rest))
    return tuple(whole)


def side_by_side(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """Whole vectors joined, by powers of two: the instructions of a function then stand beside each other for several
    vectors, and their latencies overlap; a processor does not look far enough ahead to overlap long functions itself.

    Three whole vectors of 8 lanes and 5 lanes more: 16, 8, and 5 of 8.
    """
    lanes = groups[0].width
    whole = sum(lanes == group.valid for group in groups)
    return (*exact_groups(whole * lanes, 1 << (whole * lanes).bit_length()), *groups[whole:])


def exact_groups(width: int, lanes: int) -> tuple[Group, ...]:
    """The same without absent lanes: 6 is a vector of 4 and one of 2."""
    groups, offset = list[Group](), 0
    while offset < width:
        size = lanes
        while size > width - offset:
            size //= 2
        groups.append(Group(offset, size, size))
        offset += size
    return tuple(groups)
