"""Work on many files in threads that end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pellucid.errors import ArgumentError

__all__ = ["check_threads", "in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_ONCE = 256
_MOST_A_TURN = 16  # items that a thread takes at a time: to hand one over costs as much as decoding a tiny picture


def check_threads(threads: int) -> None:
    """Refuse fewer than one."""
    if threads < 1:
        raise ArgumentError(f"`threads` (={threads}) must be at least 1")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """`work(item)` of each, in the order of the items; so is the first exception that is raised.

    The threads begin here and end here: starting them costs less than decoding one picture, and none is left for a
    fork or for the end of the interpreter.
    """
    if threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    size = min(_MOST_A_TURN, max(1, len(items) // (4 * threads)))

    def turn(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + size]]

    with ThreadPoolExecutor(min(threads, len(items)), "pellucid-files") as pool:
        for begin in range(0, len(items), _AT_ONCE * size):
            for results in pool.map(turn, range(begin, min(begin + _AT_ONCE * size, len(items)), size)):
                yield from results
