"""Nests that do not wait for each other, made one: threads meet at a barrier between two nests, and only there.

before   dw = ... g ...  | barrier |  db = ... g ...  | barrier |  dx = ... g ...
after    dw = ... g ...;  db = ... g ...;  dx = ... g ...
"""

from __future__ import annotations

from collections.abc import Iterable

from pellucid.schedule.nest import Nest
from pellucid.schedule.touched import loaded, stored

__all__ = ["join_independent"]

# Nests in one function: code grows faster than linearly dear to generate, and so many barriers saved are most of them.
LARGEST = 16


def join_independent(nests: Iterable[Nest]) -> tuple[Nest, ...]:
    """The same statements in the same order, neighbours joined where neither writes what the other touches."""
    joined: list[Nest] = []
    members = 0
    read: set[str] = set()
    written: set[str] = set()
    for nest in nests:
        reads, writes = loaded(nest.body), stored(nest.body)
        if joined and members < LARGEST and not (written & (reads | writes) or writes & read):
            joined[-1] = Nest(joined[-1].name, (*joined[-1].body, *nest.body))
            members += 1
        else:
            joined.append(nest)
            members, read, written = 1, set(), set()
        read |= reads
        written |= writes
    return tuple(joined)
