"""Things made ahead of their use, by threads beside the one that uses them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Failure:
    """What stands in the place of a thing that could not be made."""

    error: BaseException


class Ahead(Iterator[T], Generic[T]):
    """`make(step)` of each of `steps` in their order, made by threads while the caller does something else:

        with Ahead(make, range(10), size) as things:
            for thing in things:
                ...

    Results do not depend on `threads`. At most `depth` things lie ready or are in the making, fewer where these would
    have more than `most_bytes` by `size`, but always one. What `make` raises is raised where its thing is asked for,
    and ends the iteration. However the block is left, its threads end with what they have in hand, and are waited for.

    Without the block, and in a process that is forked in it, there are no threads: things are made when asked for.

    `waited`: seconds that the caller has spent waiting so far.
    """

    def __init__(
        self,
        make: Callable[[int], T],
        steps: range,
        size: Callable[[T], int],
        *,
        depth: int = 3,
        most_bytes: int = 1 << 28,
        threads: int = 1,
    ) -> None:
        self.waited = 0.0
        self._make = make
        self._size = size
        self._depth = depth
        self._most_bytes = most_bytes
        self._end = steps.stop  # no step from here on is taken; a failure brings it nearer
        self._taken = self._handed = steps.start  # the next step to make, the next one to hand over
        self._largest = 0
        self._made: dict[int, T | _Failure] = {}
        self._changed = threading.Condition()  # guards all of the above
        self._process: int | None = None  # the one that has the threads
        self._threads = [
            threading.Thread(target=self._work, name=f"pellucid-ahead-{number}", daemon=True)
            for number in range(min(threads, len(steps)))
        ]

    def __enter__(self) -> Ahead[T]:
        self._process = os.getpid()
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; the iteration is over."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._end = self._handed
            self._made.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def __next__(self) -> T:
        if self._handed >= self._end:
            raise StopIteration
        before = perf_counter()
        try:
            made = self._take() if os.getpid() == self._process else self._make_here()
        finally:
            self.waited += perf_counter() - before
        if isinstance(made, _Failure):
            self._end = self._handed
            raise made.error
        return made

    def _take(self) -> T | _Failure:
        """The next thing, once it is there."""
        with self._changed:
            while self._handed not in self._made:
                self._changed.wait()
            made = self._made.pop(self._handed)
            self._handed += 1
            self._changed.notify_all()
        return made

    def _make_here(self) -> T | _Failure:
        made, _ = self._attempt(self._handed)
        self._handed += 1
        return made

    def _work(self) -> None:
        """What a thread does."""
        while (step := self._claim()) is not None:
            self._put(step, *self._attempt(step))

    def _claim(self) -> int | None:
        """The next step to make, once there is room for what it gives; None when all are taken."""
        with self._changed:
            while self._taken < self._end and self._taken - self._handed >= self._room:
                self._changed.wait()
            if self._taken >= self._end:
                return None
            self._taken += 1
            return self._taken - 1

    @property
    def _room(self) -> int:
        """How many things may be ready or in the making: one, until it is known how large they are."""
        return max(1, min(self._depth, self._most_bytes // self._largest)) if self._largest else 1

    def _attempt(self, step: int) -> tuple[T | _Failure, int]:
        """The thing of a step and its bytes, or why there is none."""
        try:
            made = self._make(step)
            return made, self._size(made)
        except StopIteration as error:  # to the caller it would look like the end
            wrong = RuntimeError(f"StopIteration was raised where step {step} was made")
            wrong.__cause__ = error
            return _Failure(wrong), 0
        except BaseException as error:  # whatever it is, the one who waits for this step is told
            return _Failure(error), 0

    def _put(self, step: int, made: T | _Failure, size: int) -> None:
        with self._changed:
            if isinstance(made, _Failure):
                self._end = min(self._end, step + 1)
            self._largest = max(self._largest, size)
            # Behind the end nobody asks for it: the block was left meanwhile, or a step before this one failed.
            if step < self._end:
                self._made[step] = made
            self._changed.notify_all()
