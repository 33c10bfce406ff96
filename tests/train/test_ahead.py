"""Things made ahead: their order, their bounds, and every way to leave."""

import os
import signal
import threading
import time

import pytest

from pellucid.train.ahead import Ahead

PATIENCE = 20  # seconds after which a test that would hang fails


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pellucid-ahead")]


@pytest.fixture(autouse=True)
def nothing_outlives():
    yield
    assert own_threads() == []


class Counted:
    """Makes the squares of steps, and can say how many it was asked for."""

    def __init__(self):
        self.asked: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, step: int) -> int:
        with self._changed:
            self.asked.append(step)
            self._changed.notify_all()
        return step * step

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, PATIENCE)


def collect(steps: Ahead[int], got: list[int]) -> None:
    for step in steps:
        got.append(step)


def one_byte(_: object) -> int:
    return 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_everything_comes_once_and_in_order(threads: int):
    def make(step: int) -> int:
        time.sleep(0.001 * (step % 3))
        return step * step

    with Ahead(make, range(4, 40), one_byte, threads=threads, depth=6) as squares:
        assert list(squares) == [step * step for step in range(4, 40)]
        assert list(squares) == []
        assert next(squares, None) is None


def test_without_a_block_things_are_made_when_asked_for():
    make = Counted()
    squares = Ahead(make, range(2, 5), one_byte)
    assert next(squares) == 4
    assert make.asked == [2]
    assert own_threads() == []
    assert list(squares) == [9, 16]


def test_no_steps_are_no_threads():
    with Ahead(Counted(), range(3, 3), one_byte) as squares:
        assert own_threads() == []
        assert list(squares) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_things_are_made_while_the_caller_is_busy_but_no_more_than_there_is_room_for(threads: int):
    make = Counted()
    with Ahead(make, range(100), one_byte, depth=3, threads=threads) as squares:
        make.wait_for(3)
        time.sleep(0.05)  # time enough for one too many
        assert sorted(make.asked) == [0, 1, 2]
        for taken in range(1, 4):
            next(squares)
            make.wait_for(3 + taken)
        time.sleep(0.05)
        assert sorted(make.asked) == [0, 1, 2, 3, 4, 5]


def test_before_sizes_are_known_one_is_made():
    make, go_on = Counted(), threading.Event()

    def slow(step: int) -> int:
        assert make(step) == step * step
        assert go_on.wait(PATIENCE)
        return step

    with Ahead(slow, range(9), one_byte, threads=3) as steps:
        make.wait_for(1)
        time.sleep(0.05)
        assert make.asked == [0]
        go_on.set()
        assert list(steps) == list(range(9))


def test_large_things_are_fewer_but_always_one():
    for size, room in ((60, 1), (50, 2), (1000, 1), (33, 3), (1, 4)):
        make = Counted()
        with Ahead(make, range(100), lambda _, size=size: size, depth=4, most_bytes=100) as squares:
            next(squares)
            make.wait_for(1 + room)
            time.sleep(0.03)
            assert len(make.asked) == 1 + room


class BrokenPicture(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kind", [BrokenPicture, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_error_comes_where_its_thing_would_have_come(threads: int, kind: type[BaseException]):
    error = kind("picture 5")

    def make(step: int) -> int:
        if step == 5:
            raise error
        time.sleep(0.002)  # so that later steps fail before earlier ones are made
        return step

    got: list[int] = []
    with Ahead(make, range(100), one_byte, threads=threads, depth=8) as steps:
        with pytest.raises(kind, match="picture 5") as caught:
            collect(steps, got)
        assert caught.value is error
        assert list(steps) == []
    assert got == [0, 1, 2, 3, 4]


def test_behind_an_error_nothing_is_made():
    make = Counted()

    def fail_at_two(step: int) -> int:
        make(step)
        if step == 2:
            raise BrokenPicture
        return step

    with Ahead(fail_at_two, range(50), one_byte, depth=9):
        make.wait_for(3)
        time.sleep(0.05)
        assert make.asked == [0, 1, 2]


def test_an_end_that_is_none_is_no_end():
    # A `StopIteration` from inside would look like the end of the epoch.
    def make(step: int) -> int:
        return next(iter(())) if step == 2 else step

    got: list[int] = []
    with Ahead(make, range(9), one_byte) as steps, pytest.raises(RuntimeError) as caught:
        collect(steps, got)
    assert str(caught.value) == "StopIteration was raised where step 2 was made"
    assert got == [0, 1]


def test_of_two_errors_the_first_step_s_comes():
    late = threading.Event()

    def make(step: int) -> int:
        if step == 1:
            assert late.wait(PATIENCE)
        if step == 2:
            late.set()
        if step:
            raise BrokenPicture(f"step {step}")
        return step

    with Ahead(make, range(9), one_byte, threads=2) as steps:
        assert next(steps) == 0
        with pytest.raises(BrokenPicture, match="step 1"):
            next(steps)


def test_a_size_that_cannot_be_told_is_an_error_too():
    with Ahead(Counted(), range(9), len, depth=2) as squares, pytest.raises(TypeError, match="has no len"):
        list(squares)


@pytest.mark.parametrize("threads", [1, 3])
def test_leaving_early_ends_the_threads(threads: int):
    make = Counted()
    with Ahead(make, range(10**6), one_byte, threads=threads) as squares:
        for square in squares:
            if square == 9:
                break
        assert own_threads() != []
    assert own_threads() == []
    assert len(make.asked) < 12
    assert list(squares) == []


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_error_of_the_caller_ends_the_threads_and_goes_on(kind: type[BaseException]):
    def failing() -> None:
        with Ahead(Counted(), range(10**6), one_byte) as squares:
            for _ in squares:
                raise kind

    with pytest.raises(kind):
        failing()
    assert own_threads() == []


def test_a_generator_that_is_dropped_ends_the_threads():
    def squares():
        with Ahead(Counted(), range(10**6), one_byte) as made:
            yield from made

    running = squares()
    assert [next(running), next(running)] == [0, 1]
    assert len(own_threads()) == 1
    running.close()
    assert own_threads() == []


def test_an_interrupt_while_waiting_ends_the_threads():
    # As Ctrl-C does it: the main thread is interrupted where it waits for something that is slow to make.
    def make(step: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return step

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Ahead(make, range(50), one_byte) as steps:
        list(steps)
    assert time.monotonic() - started < PATIENCE / 4


def test_a_thread_that_cannot_start_leaves_none_behind(monkeypatch: pytest.MonkeyPatch):
    start, started = threading.Thread.start, []

    def second_fails(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="can't start new thread"), Ahead(Counted(), range(9), one_byte, threads=3):
        pass
    assert len(started) == 1
    assert own_threads() == []


def test_waiting_is_counted_and_work_of_the_caller_is_not():
    def slow(step: int) -> int:
        time.sleep(0.02)
        return step

    with Ahead(slow, range(6), one_byte) as steps:
        assert len(list(steps)) == 6
        assert 0.1 < steps.waited < 1
    make = Counted()
    with Ahead(make, range(6), one_byte, depth=6) as squares:
        make.wait_for(6)
        time.sleep(0.02)
        for _ in squares:
            time.sleep(0.02)
        assert squares.waited < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_makes_the_rest_itself():
    make = Counted()
    with Ahead(make, range(20), one_byte) as squares:
        assert [next(squares), next(squares)] == [0, 1]
        child = os.fork()
        if child == 0:
            # Whatever happens here, the test's own process must not go on twice.
            try:
                right = list(squares) == [step * step for step in range(2, 20)]
                squares.close()
                os._exit(0 if right else 1)
            finally:
                os._exit(2)
        deadline = time.monotonic() + PATIENCE
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        assert ended[1] == 0
        assert list(squares) == [step * step for step in range(2, 20)]
