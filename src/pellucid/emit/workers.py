"""Threads that stay: each enters a compiled program once per call, as long as there is something to do in it.

Python threads park on a lock; compiled code runs without the interpreter's lock. All that starts the threads of a call
and waits for them happens inside one call of C, in which the interpreter looks at no signal: an interrupt (Ctrl-C)
arrives before a program or after it, never in the middle. How they share the program is said in `meeting.py`.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from operator import call
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.meeting import DOOR_BITS, DOOR_WORD, YIELD_WORD, record_words
from pellucid.emit.turns import hold_all

__all__ = ["Call", "Workers", "shared_workers"]

Call = Callable[[], object]


class Workers:
    """Parked threads, which end when the pool is closed or nobody holds it any more.

    Calls from several threads take turns.
    """

    def __init__(self) -> None:
        self._records: dict[int, NDArray[np.int64]] = {}
        self._runs = 0
        self._turn = threading.Lock()
        self._threads: list[_Worker] = []
        finalize(self, _end, self._threads).atexit = False  # that has an order: see below

    def run(self, make: Callable[[int, int, int, int], Call], threads: int, keep: object = None) -> None:
        """Run a program in this thread, and in as many workers as come before it is done.

        `make` gives the call of C for a thread's number, the number of threads, the address of their record and the
        number of the run. The first one's call returns when all is done and nobody else is inside: then this is taken
        whole by every interrupt. Workers that come later find the door closed; until then they hold `keep`.
        """
        with self._turn:
            while len(self._threads) < threads - 1:
                self._threads.append(_Worker(len(self._threads) + 1, self._records))
            self._runs += 1
            record = self._record(threads)
            open_door = partial(record.__setitem__, DOOR_WORD, self._runs << DOOR_BITS)
            address = record.ctypes.data
            chosen = self._threads[: threads - 1]
            for number, worker in enumerate(chosen, start=1):
                worker.calls.append((make(number, threads, address, self._runs), keep))
            own = make(0, threads, address, self._runs)
            # Who has not yet heard of the run before will find this one. No step is Python code, so nothing is looked
            # at between two of them.
            asleep = [worker.wake.release for worker in chosen if worker.wake.locked()]
            deque(map(call, [open_door, *asleep, own]), maxlen=0)

    def close(self) -> None:
        """Let the threads end, and wait for that; the next run has new ones."""
        with self._turn:
            _end(self._threads)

    def forget(self) -> None:
        """In a forked child: the threads are its parent's."""
        self._threads.clear()

    def _record(self, threads: int) -> NDArray[np.int64]:
        """The record of so many threads of this pool."""
        if threads not in self._records:
            self._records[threads] = np.zeros(record_words(threads), np.int64)
            self._records[threads][YIELD_WORD] = _yield_address()
        return self._records[threads]


class _Worker:
    """One parked thread: woken, it makes the last call that it was given, if any, and parks again, or ends."""

    def __init__(self, number: int, records: Mapping[int, NDArray[np.int64]]) -> None:
        self.calls: deque[tuple[Call, object]] = deque(maxlen=1)
        self.is_over = False
        self.wake = threading.Lock()
        self.wake.acquire()
        # Who comes late still looks at a record.
        self._records = records
        self.thread = threading.Thread(target=self._live, name=f"pellucid-{number}", daemon=True)
        self.thread.start()

    def _live(self) -> None:
        while True:
            self.wake.acquire()
            if self.is_over:
                return
            try:
                enter, keep = self.calls.popleft()
            except IndexError:
                continue  # the call that it was woken for came with an earlier one
            enter()
            del enter, keep

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
