"""Threads that stay: each enters a compiled program once per call, and all leave it together.

Python threads park on a lock; compiled code runs without the interpreter's lock. A pool belongs to one process: after
a fork the child makes its own when it first needs one. At the interpreter's end the threads are released.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial

__all__ = ["Workers", "shared_workers"]

Task = Callable[[int], None]


class Workers:
    """Parked threads. `run` hands one task to several of them and to the caller; calls from several threads take turns.

    Every thread of a call must get into the task before any can leave it (they meet at barriers inside), so an
    interrupt (Ctrl-C) that arrives meanwhile is kept until all are out.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._workers: list[_Worker] = []

    def run(self, task: Task, threads: int) -> None:
        """Call `task(thread)` for thread 1 .. threads - 1 in workers and for thread 0 here, at the same time.

        The task must not raise, and must bear being called for thread 0 again by an interrupted caller: `task(0)`
        returns at once where it has run already.
        """
        with self._turn:
            while len(self._workers) < threads - 1:
                self._workers.append(_Worker(len(self._workers) + 1))
            chosen = self._workers[: threads - 1]
            interrupt: BaseException | None = None
            steps: list[Callable[[], None]] = [
                *(partial(worker.prepare, task) for worker in chosen),
                *(worker.start for worker in chosen),
                lambda: task(0),
                *(worker.join for worker in chosen),
            ]
            done = 0
            while done < len(steps):
                try:
                    # A step that was interrupted is taken again: each bears it.
                    steps[done]()
                    done += 1
                except BaseException as error:
                    interrupt = error
            if interrupt is not None:
                raise interrupt

    def close(self) -> None:
        """Let all threads end."""
        with self._turn:
            for worker in self._workers:
                worker.end()
            self._workers = []


class _Worker:
    """One parked thread. An open lock means "look": at the numbers, which may turn out to say nothing new."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.task: Task | None = None
        self.target = 0  # the number of the call being made; `wanted` and `finished` follow it
        self.wanted = 0
        self.finished = 0
        self.ending = False
        self.wake = threading.Lock()
        self.out = threading.Lock()
        self.wake.acquire()
        self.out.acquire()
        self.thread = threading.Thread(target=self._live, name=f"pellucid-{number}", daemon=True)
        self.thread.start()

    def prepare(self, task: Task) -> None:
        """Say what the next call is; nothing starts yet."""
        self.task = task
        self.target = self.finished + 1

    def start(self) -> None:
        """Let the thread begin the call."""
        self.wanted = self.target
        _let(self.wake)

    def join(self) -> None:
        """Wait until the thread has finished the call."""
        while self.finished != self.target:
            self.out.acquire()

    def end(self) -> None:
        """Let the thread end, and wait for that."""
        self.ending = True
        _let(self.wake)
        self.thread.join()

    def _live(self) -> None:
        while not self.ending:
            self.wake.acquire()
            if self.finished != self.wanted and self.task is not None:
                self.task(self.number)
                self.task = None
                self.finished = self.wanted
                _let(self.out)


def _let(lock: threading.Lock) -> None:
    """Open a lock that may be open already."""
    with suppress(RuntimeError):
        lock.release()


def shared_workers() -> Workers:
    """The pool of this process."""
    return _workers_of(os.getpid())


@cache
def _workers_of(process: int) -> Workers:
    del process  # the key alone: a child's threads are not its parent's
    workers = Workers()
    atexit.register(workers.close)
    return workers
