"""Work on many files in threads that end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pellucid.errors import ArgumentError

__all__ = ["check_threads", "in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_ONCE = 1024


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
    with ThreadPoolExecutor(min(threads, len(items)), "pellucid-files") as pool:
        for start in range(0, len(items), _AT_ONCE):
            yield from pool.map(work, items[start : start + _AT_ONCE])
