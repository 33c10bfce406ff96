"""Locks around machine code that runs or is being made: a fork waits until all are free; so does the interpreter's end.

A child so begins between two runs, with whole arrays and no lock held by a thread that it does not have; and no thread
runs machine code while the interpreter takes its memory away. No holder of one turn may wait for another, but for those
made after it and held by nobody who waits for the first.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Any
from weakref import WeakSet

__all__ = ["GATE", "hold_all", "new_turn"]

# Who is about to take a turn passes here first: a fork that waits for a turn is not overtaken by the next run.
GATE = RLock()
_turns: WeakSet[Any] = WeakSet()
_held: list[Any] = []


def new_turn() -> Any:
    """A new re-entrant lock, for as long as somebody keeps it."""
    lock = RLock()
    with GATE:
        _turns.add(lock)
    return lock


def hold_all() -> None:
    """Wait until no other thread has a turn, and let none have one."""
    GATE.acquire()
    for lock in tuple(_turns):
        lock.acquire()
        _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().release()
    GATE.release()


os.register_at_fork(before=hold_all, after_in_parent=_release, after_in_child=_release)
