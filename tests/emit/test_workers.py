"""Worker threads: all enter, none is left behind - with few processors, after a fork, at the end, on an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from emit.planted import copy_program
from pellucid.emit import compile_program
from pellucid.emit.workers import Workers, shared_workers
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Apply, Bound, Constant, For, Group, Load, Nest, Operand, Program, Store, Tensor, Tile

SOURCE = Path(__file__).parent.parent.parent / "src"


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


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 17])
def test_barriers_between_nests(threads: int) -> None:
    """More threads than processors must get through: who waits gives its processor away."""
    nests, size = 20, 64
    executable = compile_program(relay_program(nests, size))
    x, z = np.arange(size, dtype="float64"), np.zeros(size)
    for _ in range(3):
        executable.call({"x0": x, f"x{nests}": z}, threads)
        np.testing.assert_array_equal(z, x + nests)


def test_every_thread_runs_once() -> None:
    workers = Workers()
    calls: list[int] = []
    for _ in range(50):
        calls.clear()
        workers.run(calls.append, 4)
        assert sorted(calls) == [0, 1, 2, 3]
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


def test_closed_workers_end() -> None:
    workers = Workers()
    workers.run(lambda _: None, 3)
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("pellucid-")]
    workers.close()
    assert len([thread for thread in mine if not thread.is_alive()]) >= 2


def test_an_interrupt_waits_until_all_are_out() -> None:
    """The signal arrives while workers run; the caller hears of it after the last has finished."""
    workers = Workers()
    finished: list[int] = []

    def task(thread: int) -> None:
        if thread == 0 and not finished:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        finished.append(thread)

    with pytest.raises(KeyboardInterrupt):
        workers.run(task, 3)
    assert {1, 2} <= set(finished)
    finished.clear()
    workers.run(finished.append, 3)
    assert sorted(finished) == [0, 1, 2]
    workers.close()


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
    assert shared_workers() is shared_workers()
