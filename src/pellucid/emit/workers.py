"""Threads that stay: each comes into a compiled program as long as there is something to do in it.

After a program they stand in the lobby for a while, in compiled code, which runs without the interpreter's lock: who
calls programs in a loop finds them there. Then they park on a lock. All that starts the threads of a call and waits for
them happens inside one call of C, in which the interpreter looks at no signal: an interrupt (Ctrl-C) arrives before a
program or after it, never in the middle. How they share the program is said in `meeting.py`.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from operator import call
from typing import Any, Protocol
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.meeting import BOARD_WORDS, YIELD_WORD, record_words
from pellucid.emit.turns import hold_all

__all__ = ["Code", "Workers", "shared_workers"]


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
        self._records: dict[int, NDArray[np.int64]] = {}
        self._board = np.zeros(BOARD_WORDS, np.int64)
        self._board[1] = _yield_address()
        self._board_address = self._board.ctypes.data
        self._addresses: dict[int, int] = {}
        self._runs = 0
        self._turn = threading.Lock()
        self._threads: list[_Worker] = []
        finalize(self, _end, self._threads).atexit = False  # that has an order: see below

    def run(self, code: Code, arguments: int, errors: int | None, threads: int) -> None:
        """Run a program in this thread, and in as many others as come before it is done; then nobody is inside.

        `arguments` and `errors` are the addresses that it is given.
        """
        with self._turn:
            while len(self._threads) < threads - 1:
                self._threads.append(_Worker(len(self._threads) + 1, code, self._board, self._records))
            self._runs += 1
            record = self._record(threads)
            lead = partial(code.lead, self._board_address, record, code.address, arguments, threads, errors, self._runs)
            # Who parks is woken; who is still in the lobby passes it once more before parking, and so misses nothing.
            # No step is Python code, so nothing is looked at between two of them.
            asleep = [worker.wake.release for worker in self._threads[: threads - 1] if worker.wake.locked()]
            deque(map(call, [*asleep, lead]), maxlen=0)

    def close(self) -> None:
        """Let the threads end, and wait for that; the next run has new ones."""
        with self._turn:
            _end(self._threads)

    def forget(self) -> None:
        """In a forked child: the threads are its parent's."""
        self._threads.clear()

    def _record(self, threads: int) -> int:
        """The address of the record of so many threads of this pool."""
        if threads not in self._addresses:
            self._records[threads] = np.zeros(record_words(threads), np.int64)
            self._records[threads][YIELD_WORD] = _yield_address()
            self._addresses[threads] = self._records[threads].ctypes.data
        return self._addresses[threads]


class _Worker:
    """One thread: woken, it stands in the lobby until nothing has happened for a while, and parks again, or ends."""

    def __init__(
        self, number: int, code: Code, board: NDArray[np.int64], records: Mapping[int, NDArray[np.int64]]
    ) -> None:
        self.is_over = False
        self.wake = threading.Lock()
        self.wake.acquire()
        self._number, self._lobby, self._board_address = number, code.lobby, board.ctypes.data
        self._held = code, board, records  # what it runs, and looks at
        self.thread = threading.Thread(target=self._live, name=f"pellucid-{number}", daemon=True)
        self.thread.start()

    def _live(self) -> None:
        last = 0
        while True:
            self.wake.acquire()
            if self.is_over:
                return
            last = self._lobby(self._board_address, self._number, last)

    def end(self) -> None:
        """Let the thread end, and wait for that."""
        self.is_over = True
        with suppress(RuntimeError):  # it has been woken already
            self.wake.release()
        if self.thread is not threading.current_thread():
            self.thread.join()


def _end(workers: list[_Worker]) -> None:
    """Let idle workers end, and wait for that: afterwards none is in machine code."""
    while workers:
        workers.pop().end()


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


@cache
def _yield_address() -> int:
    """The address of the system's `sched_yield`, by which a waiting thread gives its processor away."""
    library = ctypes.CDLL(None)
    return ctypes.cast(library.sched_yield, ctypes.c_void_p).value or 0
