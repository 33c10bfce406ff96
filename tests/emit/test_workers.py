"""Worker threads: all enter, none is left behind - with few processors, after a fork, at the end, on an interrupt."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emit.planted import copy_program
from pellucid.emit import compile_program
from pellucid.emit.meeting import CROWDED_WORD
from pellucid.emit.workers import Workers, shared_workers
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Apply, Bound, Constant, For, Group, Load, Nest, Operand, Program, Store, Tensor, Tile

SOURCE = Path(__file__).parent.parent.parent / "src"


# Words of a record; see `meeting.py`.
DOOR, THROUGH, OVER, DONE, LOOP_WORD = 0, 8, 16, 32, 40


@dataclass
class Calling:
    """Code whose entry is a Python function: what threads call instead of a program."""

    enter: Callable[..., None]

    def __post_init__(self) -> None:
        numbers, pointer = (ctypes.c_int64,) * 2, ctypes.c_void_p
        self._callback = ctypes.CFUNCTYPE(None, pointer, *numbers, pointer, pointer)(self.enter)
        self._real = compile_program(copy_program())._code
        self.lead: Any = self._real.lead
        self.lobby: Any = self._real.lobby

    @property
    def address(self) -> int:
        return ctypes.cast(self._callback, ctypes.c_void_p).value or 0


def came(workers: Workers, threads: int) -> bool:
    """Whether all others are inside."""
    return int(workers._board.records[threads][DOOR]) & 0xFFFF == threads - 1


def relay_program(nests: int, size: int) -> Program:
    """Each nest adds 1 to what its mirror image of the nest before wrote: so every barrier is needed."""
    tensors = [Tensor("x0", "float64", (size,), "input")]
    steps: list[Nest] = []
    for number in range(nests):
        role = "output" if number == nests - 1 else "temporary"
        before, after = tensors[-1].name, f"x{number + 1}"
        tensors.append(Tensor(after, "float64", (size,), role))
        mirrored = Operand(before, (size,), (Affine(size - 1) - Affine.name("i"),))
        value = Apply("add", (Load(mirrored), Constant(1.0)))
        tile = Tile((), "k", (Group(0, 1, 1),), None, (), (Store(Operand(after, (size,), (Affine.name("i"),)), value),))
        steps.append(Nest(after, (For("i", Bound.of(0), Bound.of(size), 1, (tile,), parallel=True),)))
    return Program(tuple(tensors), tuple(steps))


@pytest.mark.parametrize("size", [1, 5, 64, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3, 8, 17])
def test_barriers_between_nests(threads: int, size: int) -> None:
    """More threads than processors must get through: who waits gives its processor away. Shares, and pieces of them,
    need not be equal, nor every thread have one."""
    nests = 20
    executable = compile_program(relay_program(nests, size))
    x, z = np.arange(size, dtype="float64"), np.zeros(size)
    for _ in range(3):
        executable.call({"x0": x, f"x{nests}": z}, threads)
        np.testing.assert_array_equal(z, x + nests)


def divided_inside(program: Program) -> Program:
    """The same results where threads have parts of each nest, and no pieces of its outermost loop."""
    twice = [Nest(nest.name, (For("twice", Bound.of(0), Bound.of(2), 1, nest.body),)) for nest in program.nests]
    return replace(program, nests=tuple(twice))


@pytest.mark.parametrize("in_parts", [False, True])
def test_who_is_done_does_the_rounds_of_who_is_late(in_parts: bool) -> None:
    """The second thread begins only when all rounds are done: by the first."""
    size = 64
    program = relay_program(1, size)
    executable, workers = compile_program(divided_inside(program) if in_parts else program), Workers()
    x, z = np.arange(size, dtype="float64"), np.zeros(size)
    addresses = (ctypes.c_void_p * 2)(x.ctypes.data, z.ctypes.data)
    done: list[bool] = []

    def enter(arguments: int, thread: int, threads: int, record: int, errors: int | None) -> None:
        if thread:
            end = time.monotonic() + 60
            while not z.all() and time.monotonic() < end:
                time.sleep(0.001)
            done.append(np.array_equal(z, x[::-1] + 1))
        else:
            end = time.monotonic() + 60
            while not came(workers, 2) and time.monotonic() < end:
                time.sleep(0.001)
        executable._entry._code.entry(arguments, thread, threads, record, errors)

    code = Calling(enter)
    for _ in range(3):
        z[:] = 0
        workers.run(code, ctypes.addressof(addresses), None, 2)
        np.testing.assert_array_equal(z, x[::-1] + 1)
    workers.close()
    assert done == [True] * 3
    record = workers._board.records[2]
    assert not record[[DOOR, THROUGH, OVER, DONE]].any()
    assert not record[LOOP_WORD:].any()  # the next program begins to count at 0


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("in_parts", [(), (0,), (1,), (0, 1)])
def test_scratch_that_is_filled_twice_in_a_nest(in_parts: tuple[int, ...], threads: int) -> None:
    """Each reader finds what was filled last before it, whether threads share it in pieces or in parts."""
    size, own = 8, Operand("s", (8,), (Affine.name("i"),))

    def copy(target: Operand, source: Operand, *, parallel: bool) -> For:
        tile = Tile((), "k", (Group(0, 1, 1),), None, (), (Store(target, Load(source)),))
        return For("i", Bound.of(0), Bound.of(size), 1, (tile,), parallel=parallel)

    body: list[For] = []
    for number, (source, target) in enumerate((("a", "y"), ("b", "z"))):
        body.append(copy(own, replace(own, tensor=source), parallel=False))
        read = copy(replace(own, tensor=target), own, parallel=True)
        body.append(For("twice", Bound.of(0), Bound.of(2), 1, (read,)) if number in in_parts else read)
    roles = {"a": "input", "b": "input", "s": "scratch", "y": "output", "z": "output"}
    tensors = tuple(Tensor(name, "float64", (size,), role) for name, role in roles.items())
    arrays = {"a": np.arange(8.0), "b": -np.arange(8.0), "y": np.zeros(8), "z": np.zeros(8)}
    compile_program(Program(tensors, (Nest("n", tuple(body)),))).call(arrays, threads)
    np.testing.assert_array_equal(arrays["y"], arrays["a"])
    np.testing.assert_array_equal(arrays["z"], arrays["b"])


def run_together(workers: Workers, threads: int) -> list[int]:
    """The numbers of the threads that ran a call which none leaves before all have come."""
    seen, met = list[int](), threading.Barrier(threads)

    def task(_: int, thread: int, *others: int | None) -> None:
        seen.append(thread)
        met.wait(10)

    workers.run(Calling(task), 0, None, threads)
    return sorted(seen)


def test_every_thread_runs_once() -> None:
    workers = Workers()
    for _ in range(50):
        assert run_together(workers, 4) == [0, 1, 2, 3]
    workers.close()


def test_threads_are_found_in_the_lobby_or_woken() -> None:
    """Pauses from none to some in which every thread has gone to sleep."""
    workers = Workers()
    for pause in (0, 1e-5, 1e-4, 2e-4, 3e-4, 1e-3, 1e-2) * 3:
        time.sleep(pause)
        assert run_together(workers, 3) == [0, 1, 2]
    time.sleep(0.01)
    spent = time.process_time()
    time.sleep(0.05)
    assert time.process_time() - spent < 0.025  # nobody burns a processor for ever
    assert run_together(workers, 2) == [0, 1]
    assert run_together(workers, 3) == [0, 1, 2]
    workers.close()


def test_no_call_is_missed_by_who_is_about_to_lie_down() -> None:
    """Threads look for work for some 90 microseconds; pauses around that, on processors that are wanted elsewhere."""
    workers, stopped = Workers(), threading.Event()
    others = [threading.Thread(target=_spin, args=(stopped,)) for _ in range(2)]
    for other in others:
        other.start()
    for number in range(300):
        end = time.perf_counter() + 1e-6 * (number % 150)
        while time.perf_counter() < end:
            pass
        assert run_together(workers, 3) == [0, 1, 2]
    stopped.set()
    for other in others:
        other.join()
    workers.close()


def _spin(stopped: threading.Event) -> None:
    while not stopped.is_set():
        np.sort(np.arange(20_000)[::-1])


def test_threads_yield_in_the_lobby_where_they_crowd_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only there: elsewhere another program's spinning threads would take their place."""
    monkeypatch.setattr("pellucid.emit.workers.available_cores", lambda: 3)
    workers = Workers()
    for threads, crowded in ((2, False), (3, False), (4, True), (2, True)):
        assert run_together(workers, threads) == list(range(threads))
        assert bool(workers._board.words[CROWDED_WORD]) == crowded
    workers.close()


def test_callers_take_turns() -> None:
    """Two Python threads with one executable and one with another, all on the same workers."""
    first, second = compile_program(relay_program(6, 32)), compile_program(copy_program())
    failures: list[str] = []

    def relay() -> None:
        x, z = np.arange(32, dtype="float64"), np.zeros(32)
        for _ in range(30):
            first.call({"x0": x, "x6": z}, 3)
            if not np.array_equal(z, x + 6):
                failures.append("relay")

    def copy() -> None:
        x, z = np.ones((6, 13), "float32"), np.zeros((6, 13), "float32")
        for _ in range(30):
            second.call({"x": x, "z": z}, 2)
            if not np.array_equal(z, x):
                failures.append("copy")

    callers = [threading.Thread(target=work) for work in (relay, relay, copy)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert failures == []


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("pellucid-")}


def test_closed_workers_end_and_may_begin_again() -> None:
    before, workers = own_threads(), Workers()
    for _ in range(2):
        assert run_together(workers, 3) == [0, 1, 2]
        assert len(own_threads() - before) == 2
        workers.close()
        assert own_threads() == before


def test_workers_that_nobody_holds_end() -> None:
    before = own_threads()
    workers = Workers()
    run_together(workers, 5)
    assert len(own_threads() - before) == 4
    del workers
    assert own_threads() == before


def test_those_who_run_programs_share_the_threads_and_release_them() -> None:
    gc.collect()  # what earlier tests ran, and nobody holds, holds threads
    before = own_threads()
    first, second = compile_program(relay_program(3, 8)), compile_program(relay_program(4, 8))
    x, z = np.zeros(8), np.zeros(8)
    first.call({"x0": x, "x3": z}, 4)
    second.call({"x0": x, "x4": z}, 3)
    assert len(own_threads() - before) == 3
    del first
    assert len(own_threads() - before) == 3
    del second
    assert own_threads() == before


def test_an_interrupt_waits_until_all_are_out() -> None:
    """A signal arrives while the threads are in machine code; its handler runs when the last has finished."""
    nests, size = 400, 4096
    executable = compile_program(relay_program(nests, size))
    x, z = np.arange(size, dtype="float64"), np.zeros(size)
    arrays = {"x0": x, f"x{nests}": z}
    executable.call(arrays, 3)
    seen: list[bool] = []

    def handler(*_: object) -> None:
        seen.append(bool(np.array_equal(z, x + nests) or not z.any()))
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for number in range(30):
            z[:] = 0
            signal.setitimer(signal.ITIMER_REAL, 0.0002 * (1 + number % 10))
            with suppress(KeyboardInterrupt):
                for _ in range(1000):
                    executable.call(arrays, 3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert seen == [True] * 30
    executable.call(arrays, 3)
    np.testing.assert_array_equal(z, x + nests)


FORK = """
import os, sys
import numpy as np
from emit.test_workers import relay_program
from pellucid.emit import compile_program
executable = compile_program(relay_program(6, 16))
x, z = np.arange(16.0), np.zeros(16)
executable.call({"x0": x, "x6": z}, 3)
child = os.fork()
z[:] = 0
executable.call({"x0": x, "x6": z}, 3)
good = np.array_equal(z, x + 6)
if child == 0:
    os._exit(0 if good else 1)
_, status = os.waitpid(child, 0)
sys.exit(0 if good and status == 0 else 1)
"""


def test_a_fork_makes_its_own_workers_and_the_end_comes() -> None:
    """The parent ends by itself with workers parked: the run would hang or time out otherwise."""
    paths = os.pathsep.join((str(SOURCE), str(SOURCE.parent / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_one_pool_a_process() -> None:
    first = shared_workers()
    assert shared_workers() is first
