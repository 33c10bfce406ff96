"""Threads that stay: each comes into a compiled program as long as there is something to do in it.

After a program they stand in the lobby for a while: who calls programs in a loop finds them there. Then they lie down.
All that is compiled code, which runs without the interpreter's lock. What wakes the threads of a call and waits for
them happens inside one call of C, in which the interpreter looks at no signal: an interrupt (Ctrl-C) arrives before a
program or after it, never in the middle. How they share the program is said in `meeting.py`.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from functools import cache
from typing import Any, Protocol
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.meeting import (
    BOARD_WORDS,
    CALLS_WORD,
    CONDITION_WORD,
    CROWDED_WORD,
    MUTEX_WORD,
    OVER_WORD,
    YIELD_WORD,
    record_words,
)
from pellucid.emit.turns import hold_all

__all__ = ["Code", "Workers", "available_cores", "shared_workers"]


class Code(Protocol):
    """What threads run: the address of its entry, and how they come to it; see `meeting.py`."""

    @property
    def address(self) -> int:
        """The address of the entry."""
        ...

    @property
    def lead(self) -> Any:
        """What the first thread calls."""
        ...

    @property
    def lobby(self) -> Any:
        """Where the others wait."""
        ...


class Workers:
    """Threads that wait, and end when the pool is closed or nobody holds it any more.

    Calls from several threads take turns.
    """

    def __init__(self) -> None:
        self._board = _Board()
        self._runs = 0
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        finalize(self, _end, self._threads, self._board).atexit = False  # that has an order: see below

    def run(self, code: Code, arguments: int, errors: int | None, threads: int) -> None:
        """Run a program in this thread, and in as many others as come before it is done; then nobody is inside.

        `arguments` and `errors` are the addresses that it is given.
        """
        with self._turn:
            while len(self._threads) < threads - 1:
                self._threads.append(_worker(len(self._threads) + 1, code, self._board))
                self._board.crowd(len(self._threads) >= available_cores())
            self._runs += 1
            record = self._board.record(threads)
            code.lead(self._board.address, record, code.address, arguments, threads, errors, self._runs)

    def close(self) -> None:
        """Let the threads end, and wait for that; the next run has new ones."""
        with self._turn:
            _end(self._threads, self._board)

    def forget(self) -> None:
        """In a forked child: the threads are its parent's."""
        self._threads.clear()
        self._board.begin()


class _Board:
    """What the threads of a pool look at, and the records by how many threads meet there; see `meeting.py`."""

    def __init__(self) -> None:
        self.records: dict[int, NDArray[np.int64]] = {}
        self._addresses: dict[int, int] = {}
        self.words = np.zeros(BOARD_WORDS, np.int64)
        self.address = self.words.ctypes.data
        self.begin()

    def begin(self) -> None:
        """Nothing has been run, and nobody is there."""
        self.words[:] = 0
        names = ("pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_broadcast")
        self.words[CALLS_WORD : CALLS_WORD + len(names)] = [_system_address(name) for name in names]
        _system().pthread_mutex_init(self._mutex, None)
        _system().pthread_cond_init(self._condition, None)

    def record(self, threads: int) -> int:
        """The address of the record at which so many threads meet."""
        if threads not in self._addresses:
            self.records[threads] = np.zeros(record_words(threads), np.int64)
            self.records[threads][YIELD_WORD] = _system_address("sched_yield")
            self._addresses[threads] = self.records[threads].ctypes.data
        return self._addresses[threads]

    def crowd(self, crowded: bool) -> None:
        """Whether there are more threads than processors."""
        self.words[CROWDED_WORD] = _system_address("sched_yield") if crowded else 0

    def end(self) -> None:
        """Let every thread leave the lobby."""
        _system().pthread_mutex_lock(self._mutex)
        self.words[OVER_WORD] = 1
        _system().pthread_cond_broadcast(self._condition)
        _system().pthread_mutex_unlock(self._mutex)

    @property
    def _mutex(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address + 8 * MUTEX_WORD)

    @property
    def _condition(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address + 8 * CONDITION_WORD)


def _worker(number: int, code: Code, board: _Board) -> threading.Thread:
    """A new thread in the lobby; it holds the code that it runs and the board that it looks at."""

    def live() -> None:
        code.lobby(board.address, number)

    thread = threading.Thread(target=live, name=f"pellucid-{number}", daemon=True)
    thread.start()
    return thread


def _end(threads: list[threading.Thread], board: _Board) -> None:
    """Let idle threads end, and wait for that: afterwards none is in machine code."""
    if threads:
        board.end()
    while threads:
        thread = threads.pop()
        if thread is not threading.current_thread():
            thread.join()
    board.begin()


_shared: WeakSet[Workers] = WeakSet()
_choice = threading.Lock()


def shared_workers() -> Workers:
    """The pool of this process: the one that somebody holds, else a new one."""
    with _choice:
        found = next(iter(_shared), None)
        if found is None:
            found = Workers()
            _shared.add(found)
        return found


def _forget_all() -> None:
    for pool in _shared:
        pool.forget()


def _end_all() -> None:
    hold_all()
    for pool in _shared:
        pool.close()


os.register_at_fork(after_in_child=_forget_all)
# The turns are never released: threads that wait for one do so until the process is gone. This one may run more.
atexit.register(_end_all)


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _system() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _system_address(name: str) -> int:
    """Where a function of the system's is, for compiled code."""
    return ctypes.cast(getattr(_system(), name), ctypes.c_void_p).value or 0
