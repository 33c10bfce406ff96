"""Models under what happens to programs: forks, signals, few processors, many threads, little memory, a sudden end.

Whatever could hang or kill the process happens in processes of its own, with a limit of time.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from nn.training import build, digest, t, train, x
from pellucid.errors import ArgumentError
from pellucid.nn import Flatten, Linear, Sequential, lenet5

TESTS = Path(__file__).parent.parent
SECONDS = 60

# What every script begins with.
COMMON = """
import os, random, signal, sys, threading, time, timeit
import numpy as np
from nn.training import build, digest, t, train, x
from pellucid import nn
"""


def start(script, *command, **options):
    paths = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS)))
    return subprocess.Popen(
        [*command, sys.executable, "-c", COMMON + script],
        env={**os.environ, "PYTHONPATH": paths, **options.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process, code=0):
    try:
        out, error = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"hangs: {process.communicate()}")
    assert process.returncode == code, error
    return out.split()


def run(script, *command, code=0, **options):
    return finish(start(script, *command, **options), code)


@pytest.fixture(scope="module")
def expected():
    """The digest of the parameters after each number of steps, made by one thread."""
    model = build(1)
    return [digest(model), *(train(model, 1) for _ in range(40))]


# ------------------------------------------------------------ threads and their end


def own_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("pellucid-")}


def test_a_model_holds_its_threads_until_it_is_closed_or_gone():
    gc.collect()  # models of earlier tests that nobody holds hold threads
    before = own_threads()
    first, second = build(3), build(4)
    first.train_step(x, t)
    second.train_step(x, t)
    assert len(own_threads() - before) == 3  # shared
    kept = own_threads()
    second.train_step(x, t)
    assert own_threads() == kept  # and persistent
    first.close()
    second.train_step(x, t)
    assert own_threads() == kept
    del second
    gc.collect()
    assert own_threads() == before
    with build(2) as model:
        model.train_step(x, t)
        assert len(own_threads() - before) == 1
    assert own_threads() == before


def test_a_small_program_runs_on_the_caller_s_thread(monkeypatch):
    """What is through sooner than threads have met; a batch through LeNet-5 is shared."""
    monkeypatch.setattr("pellucid.network.engine.MEETING", 5000)
    gc.collect()
    before = own_threads()
    images = np.random.default_rng(0).random((64, 28, 28, 1), np.float32)
    small = Sequential(Flatten(), Linear(10)).build((8, 8, 1), threads=3)
    small.predict(images[:1, :8, :8])
    assert own_threads() == before
    large = lenet5().build((28, 28, 1), threads=3)
    large.predict(images)
    assert len(own_threads() - before) == 2


def test_a_closed_model_has_its_parameters_and_runs_no_more():
    model = build(2)
    model.train_step(x, t)
    before = digest(model)
    model.close()
    model.close()
    assert digest(model) == before
    message = "this model is closed: it has its parameters, but runs no more"
    for act in (
        lambda: model.train_step(x, t),
        lambda: model.gradients(x, t),
        lambda: model.predict(x),
        lambda: model.evaluate(x, t),
        lambda: model.summary(kernels=True),
    ):
        with pytest.raises(ArgumentError) as raised:
            act()
        assert str(raised.value) == message
    assert "BatchNorm2d" in model.summary()


def test_closing_waits_for_the_running_step():
    model, left = build(3), []

    def work():
        try:
            while True:
                model.train_step(x, t)
        except ArgumentError:
            left.append(True)

    thread = threading.Thread(target=work)
    model.train_step(x, t)
    thread.start()
    while model.steps < 20:
        pass
    model.close()
    thread.join(SECONDS)
    assert left == [True]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_end_comes_while_a_daemon_thread_trains(threads):
    script = f"""
model = build({threads})
model.train_step(x, t)
def work():
    while True:
        model.train_step(x, t)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""
    for process in [start(script) for _ in range(3)]:
        finish(process)


def test_the_interpreters_last_functions_may_still_run_a_model():
    script = """
import atexit
atexit.register(lambda: print(train(model, 5)))
model = build(3)
train(model, 5)
"""
    assert run(script) == [train(build(1), 10)]


# ------------------------------------------------------------ processors


def test_more_threads_than_processors(expected):
    assert train(build(16), 20) == expected[20]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_one_processor_for_four_threads(expected):
    script = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(train(build(4), 20))
"""
    assert run(script) == [expected[20]]


# ------------------------------------------------------------ forks

FORKED = """
def child(work):
    number = os.fork()
    if number == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(number, 0)
    assert status == 0, status
"""


def test_a_fork_before_and_after_use_with_own_models_and_the_parents(expected):
    script = f"""{FORKED}
def same(model, steps):
    assert train(model, steps) == table[model.steps]
table = {expected!r}
model = build(3)
child(lambda: same(build(3), 3))
child(lambda: same(model, 3))
same(model, 4)
child(lambda: same(model, 3))
child(lambda: same(build(2), 3))
child(lambda: child(lambda: same(model, 3)))
same(model, 4)
print(model.steps)
"""
    assert run(script) == ["8"]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fork_while_another_thread_trains(threads):
    """The child finds the parameters of a whole number of steps, and goes on with the parent's model."""
    script = f"""{FORKED}
model = build({threads})
model.train_step(x, t)
stop = False
def work():
    while not stop:
        model.train_step(x, t)
thread = threading.Thread(target=work)
thread.start()
def check():
    steps, own = model.steps, digest(model)
    twin = build(1)
    assert train(twin, steps) == own, steps
    assert train(model, 3) == train(twin, 3)
for _ in range(3):
    child(check)
stop = True
thread.join()
"""
    run(script)


def test_processes_of_multiprocessing(expected):
    script = """
import multiprocessing
context = multiprocessing.get_context("fork")
model = build(2)
train(model, 5)
def work(queue):
    queue.put((train(model, 5), train(build(2), 5)))
queue = context.Queue()
children = [context.Process(target=work, args=(queue,)) for _ in range(2)]
for child in children:
    child.start()
for _ in children:
    print(*queue.get(timeout=30))
for child in children:
    child.join()
    assert child.exitcode == 0
print(train(model, 5))
"""
    own = [expected[10], expected[5]]
    assert run(script) == [*own, *own, expected[10]]


# ------------------------------------------------------------ signals


@pytest.mark.parametrize("threads", [1, 3])
def test_interrupts_leave_a_whole_number_of_steps(threads, expected):
    """Ctrl-C from outside at many moments: it always arrives, and the parameters are those that the count says."""
    script = f"""
table = {expected!r}
model = build({threads})
step = min(timeit.repeat(lambda: model.train_step(x, t), number=1, repeat=6))
random.seed(0)
hits, counted = 0, set()
def handler(*_):
    raise KeyboardInterrupt
# The kernel's timer: a thread that waits for its turn would always come late.
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
for turn in range(50):
    if model.steps > 30:
        model.close()
        model = build({threads})
    # One step without an interrupt, and few with one: wherever in them it comes, the next one finds another step.
    model.train_step(x, t)
    signal.signal(signal.SIGINT, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(1e-6, random.uniform(0, 3 * step)))
        for _ in range(3):
            model.train_step(x, t)
        while True:
            time.sleep(0.01)  # a signal that comes just before a sleep is met behind it
    except KeyboardInterrupt:
        hits += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert digest(model) == table[model.steps], model.steps
    counted.add(model.steps)
print(hits, len(counted) > 5, train(build({threads}), 20) == table[20])
"""
    assert run(script) == ["50", "True", "True"]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupt_at_every_place_of_a_step(threads, expected):
    """Wherever the interpreter looks for signals in a step: where a function begins, and behind every call of C."""
    script = f"""
table = {expected!r}
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt(place):
    def look(frame, event, _):
        nonlocal place
        place -= event in ("call", "c_return")
        if place == 0:
            signal.raise_signal(signal.SIGINT)
    return look
model, found, begun = build({threads}), [], set()
train(model, 2)
while True:
    if model.steps > 30:
        model.close()
        model = build({threads})
        train(model, 2)
    if len(found) % 8 == 0:
        train(model, 1)  # most places stand before the program: without it the step would stay the same
    before = model.steps
    sys.setprofile(interrupt(len(found) + 1))
    try:
        model.train_step(x, t)
        break  # the step has no more places
    except KeyboardInterrupt:
        found.append(model.steps - before)
    finally:
        sys.setprofile(None)
    assert digest(model) == table[model.steps], model.steps
    begun.add(before)
print(found.count(0), found.count(1), found == sorted(found), len(begun))
"""
    before, behind, ordered, steps = run(script)
    assert int(before) > 50
    assert int(behind) > 4  # `train_step` had not come back, yet the step was made
    assert ordered == "True"
    assert int(steps) > 10


def test_ctrl_c_ends_a_training_loop():
    script = """
model = build(3)
while True:
    model.train_step(x, t)
    if model.steps == 3:
        print("running", flush=True)
"""
    process = start(script)
    assert process.stdout.readline().strip() == "running"
    process.send_signal(signal.SIGINT)
    with pytest.raises(AssertionError, match="KeyboardInterrupt"):
        finish(process)
    assert process.returncode in (1, -signal.SIGINT)


@pytest.mark.parametrize(("handled", "code"), [(False, -signal.SIGTERM), (True, 3)])
def test_termination(handled, code):
    script = f"""
if {handled}:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
model = build(3)
train(model, 3)
print("running", flush=True)
while True:
    model.train_step(x, t)
"""
    process = start(script)
    assert process.stdout.readline().strip() == "running"
    process.terminate()
    finish(process, code)


# ------------------------------------------------------------ several models, several threads


def test_two_models_in_turns_and_at_once(expected):
    first, second = build(3), build(2)
    for number in range(1, 6):
        assert train(first, 1) == train(second, 1) == expected[number]
    found = {}

    def work(name, model):
        found[name] = train(model, 30)

    callers = [threading.Thread(target=work, args=pair) for pair in (("first", first), ("second", second))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(SECONDS)
    assert found == {"first": expected[35], "second": expected[35]}


def test_one_model_from_two_threads(expected):
    model = build(3)
    callers = [threading.Thread(target=train, args=(model, 15)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(SECONDS)
    assert model.steps == 30
    assert digest(model) == expected[30]


def test_an_exception_between_steps(expected):
    """What a loader of data raises in the middle of an epoch: the threads are idle, and the model goes on."""
    model = build(3)

    def batches():
        for number in range(10):
            if number == 4:
                raise OSError("the disk is gone")
            yield x, t

    def epoch():
        for images, labels in batches():
            model.train_step(images, labels)

    with pytest.raises(OSError, match="the disk is gone"):
        epoch()
    assert model.steps == 4
    assert digest(model) == expected[4]
    used = sum(os.times()[:2])
    threading.Event().wait(0.3)
    assert sum(os.times()[:2]) - used < 0.1  # nobody spins
    assert train(model, 6) == expected[10]


def test_steps_that_change_nothing_are_not_counted():
    model = build(2)
    train(model, 2)
    before = digest(model)
    with pytest.raises(Exception, match="nothing was changed"):
        model.train_step(x * np.float32(np.nan), t)
    assert (model.steps, digest(model)) == (2, before)


def test_the_count_of_steps_goes_on_where_that_of_the_program_begins_again():
    model = build(1)
    model._state.arrays["step.count"][...] = 2**20 - 2
    assert model.steps == 2**20 - 2
    train(model, 5)
    assert model.steps == 2**20 + 3


# ------------------------------------------------------------ memory, the cache


def test_parameters_that_do_not_fit_into_memory():
    script = """
import resource
from pellucid.errors import OutOfMemoryError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for features in (2**16, 2**40):
    try:
        nn.Sequential(nn.Linear(features, bias=False)).build((2**16,))
    except OutOfMemoryError as error:
        print(error, isinstance(error, MemoryError), sep="|")
big = nn.Sequential(nn.EquationLayer("z[n,k] = x[n,0] + k", {"k": 2**31})).build((1,))
try:
    big.predict(np.ones((1, 1), "float32"))
except OutOfMemoryError as error:
    print(error)
print(train(build(2), 2) == train(build(1), 2))
"""
    out = " ".join(run(script, env={"OPENBLAS_NUM_THREADS": "1"}))
    assert out == (
        "parameters and moments of 17,179,869,184 bytes cannot be allocated|True "
        "parameters and moments of 288,230,376,151,711,744 bytes cannot be allocated|True "
        "0.z (1, 2147483648) of 8,589,934,592 bytes cannot be allocated True"
    )


def test_a_cache_that_is_damaged_while_two_processes_use_it(tmp_path, expected):
    script = """
from pellucid.network import engine
for _ in range(2):
    engine._LOADED.clear()
    print(train(build(2), 10))
"""
    processes = [start(script, env={"PELLUCID_CACHE": str(tmp_path)}) for _ in range(2)]
    damaged = 0
    while any(process.poll() is None for process in processes):
        for entry in tmp_path.glob("*.object"):
            content = entry.read_bytes()
            entry.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
            damaged += 1
    assert damaged
    for process in processes:
        assert finish(process) == [expected[10]] * 2
