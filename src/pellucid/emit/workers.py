"""Threads that stay: each enters a compiled program once per call, and all leave it together.

Python threads park on a lock; compiled code runs without the interpreter's lock. All that starts the threads of a call
and waits for them happens inside one call of C, in which the interpreter looks at no signal: an interrupt (Ctrl-C)
arrives before a program or after it, never in the middle.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import call
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.turns import hold_all

__all__ = ["BARRIER_WORDS", "YIELD_WORD", "Workers", "shared_workers"]

# The record at which threads meet, in words of 8 bytes; what stands where is said beside the barrier in `module.py`.
# Behind BARRIER_WORDS it counts, for each of LOOPS loops, the pieces taken of every thread's share.
BARRIER_WORDS, YIELD_WORD, LOOPS = 24, 16, 32

Call = Callable[[], object]


class Workers:
    """Parked threads, which end when the pool is closed or nobody holds it any more.

    Calls from several threads take turns.
    """

    def __init__(self) -> None:
        self._records: dict[int, NDArray[np.int64]] = {}
        self._turn = threading.Lock()
        self._threads: list[_Worker] = []
        finalize(self, _end, self._threads).atexit = False  # that has an order: see below

    def record(self, threads: int) -> NDArray[np.int64]:
        """The record at which so many threads of this pool meet."""
        with self._turn:
            if threads not in self._records:
                self._records[threads] = np.zeros(BARRIER_WORDS + LOOPS * threads, np.int64)
                self._records[threads][YIELD_WORD] = _yield_address()
            return self._records[threads]

    def run(self, calls: Sequence[Call]) -> None:
        """Make the first call here and each other one in a worker, all at the same time.

        The calls are of C (foreign functions with their arguments), and none returns before all others are through with
        their work: then this is taken whole by every interrupt.
        """
        with self._turn:
            while len(self._threads) < len(calls) - 1:
                self._threads.append(_Worker(len(self._threads) + 1, self._records))
            chosen = self._threads[: len(calls) - 1]
            for worker, own in zip(chosen, calls[1:], strict=True):
                worker.call = own
            # No step is Python code, so nothing is looked at between two of them.
            steps: list[Call] = [*(worker.wake.release for worker in chosen), calls[0]]
            deque(map(call, steps), maxlen=0)

    def close(self) -> None:
        """Let the threads end, and wait for that; the next run has new ones."""
        with self._turn:
            _end(self._threads)

    def forget(self) -> None:
        """In a forked child: the threads are its parent's."""
        self._threads.clear()


class _Worker:
    """One parked thread: woken, it makes its call and parks again; woken without one, it ends."""

    def __init__(self, number: int, records: Mapping[int, NDArray[np.int64]]) -> None:
        self.call: Call | None = None
        self.wake = threading.Lock()
        self.wake.acquire()
        # A thread may still look at a record when the others have gone on.
        self._records = records
        self.thread = threading.Thread(target=self._live, name=f"pellucid-{number}", daemon=True)
        self.thread.start()

    def _live(self) -> None:
        while True:
            self.wake.acquire()
            if self.call is None:
                return
            self.call()


def _end(workers: list[_Worker]) -> None:
    """Let idle workers end, and wait for that: afterwards none is in machine code."""
    while workers:
        worker = workers.pop()
        worker.call = None
        worker.wake.release()
        if worker.thread is not threading.current_thread():
            worker.thread.join()


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
