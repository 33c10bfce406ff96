"""Progress lines, and the bar on a terminal."""

import io
import re
from time import gmtime, strftime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.train import (
    Dataset,
    EpochLines,
    EpochResult,
    Part,
    ProgressBar,
    RunStart,
    fit,
    progress_callback,
    work_progress,
)
from pellucid.train.progress import EpochTable
from train.linear_model import LinearModel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def dataset() -> Dataset:
    part = Part(np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1), np.arange(4))
    return Dataset(part, part, ("a", "b", "c", "d"), validation=part)


def test_lines_elsewhere_than_on_a_terminal():
    stream = io.StringIO()
    callback = progress_callback(stream)
    assert isinstance(callback, EpochLines)
    fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[callback])
    lines = stream.getvalue().splitlines()
    assert lines[0] == "  epoch     loss accuracy val loss  val acc balanced        lr  seconds  images/s      left"
    assert [line.split()[0] for line in lines[1:]] == ["1/2", "2/2"]
    assert "\x1b" not in stream.getvalue()


def row(epoch: int = 3, **changes: object) -> EpochResult:
    figures: dict[str, object] = {
        "epoch": epoch, "loss": 0.12345, "accuracy": 0.987, "validation_loss": 0.25, "validation_accuracy": 0.95,
        "learning_rate": 0.05, "seconds": 1.234, "images_per_second": 9876.5, "validation_balanced_accuracy": 0.875,
    }  # fmt: skip
    return EpochResult(**{**figures, **changes})  # pyright: ignore[reportArgumentType]


def test_a_row_in_figures():
    assert EpochTable(20).lines(row()) == [
        "  epoch     loss accuracy val loss  val acc balanced        lr  seconds  images/s      left",
        "   3/20   0.1235    98.7%   0.2500    95.0%    87.5%      0.05     1.23      9876      0:21",
    ]


def test_what_is_not_known_has_no_column():
    nothing = {"validation_loss": None, "validation_accuracy": None, "validation_balanced_accuracy": None}
    assert EpochTable(20).lines(row(**nothing)) == [
        "  epoch     loss accuracy        lr  seconds  images/s      left",
        "   3/20   0.1235    98.7%      0.05     1.23      9876      0:21",
    ]
    head, _ = EpochTable(20).lines(row(accuracy=None, validation_accuracy=None, validation_balanced_accuracy=None))
    assert head == "  epoch     loss val loss        lr  seconds  images/s      left"


def test_what_becomes_unknown_is_a_dash():
    table = EpochTable(20)
    table.lines(row())
    assert table.lines(row(4, validation_balanced_accuracy=None))[0].split()[5] == "-"


@given(
    st.integers(1, 1000), st.data(), st.floats(0, 1e30), st.floats(0, 1), st.floats(0, 10), st.floats(0, 1e6),
    st.floats(0, 1e8), st.none() | st.integers(40, 200),
)  # fmt: skip
def test_columns_stay_aligned(epochs, data, loss, share, rate, seconds, speed, width):
    table, changes = EpochTable(epochs, width), {"loss": loss, "validation_loss": loss, "accuracy": share}
    changes |= {"learning_rate": rate, "seconds": seconds, "images_per_second": speed}
    head, first = table.lines(row(data.draw(st.integers(1, epochs)), **changes))
    (last,) = table.lines(row(epochs, loss=float("nan")))
    assert len(head) == len(first) == len(last)
    assert width is None or len(head) <= width
    # Every name and every figure ends in the same place, with a space before it.
    for line in (first, last):
        assert len(line.split()) == len(head.replace("val ", "val-").split())
        ends = [place for place in range(1, len(head)) if head[place - 1] != " " and head[place : place + 1] == " "]
        assert all(line[end - 1] != " " for end in ends if head[end - 3 : end] != "val")


def test_a_narrow_terminal_has_the_columns_that_matter():
    names = [EpochTable(1000, width).lines(row())[0] for width in (200, 80, 60, 40)]
    assert [len(name) for name in names] == [95, 75, 57, 39]
    assert names[1].split()[-4:] == ["acc", "balanced", "seconds", "left"]
    assert names[2].replace("val ", "val-").split() == ["epoch", "loss", "val-loss", "val-acc", "balanced", "left"]
    assert names[3].replace("val ", "val-").split() == ["epoch", "loss", "val-loss", "left"]


def test_the_time_left_follows_the_last_epochs():
    table = EpochTable(100)
    assert table.lines(row(1, seconds=60))[1].endswith(" 1:39:00")
    for epoch in range(2, 8):
        line = table.lines(row(epoch, seconds=1))[0]
    assert line.endswith(" 1:33")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    callback = progress_callback(stream)
    assert isinstance(callback, ProgressBar)
    fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[callback])
    assert "2/2" in stream.getvalue()
    assert "step 2/2, loss " in stream.getvalue()
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is shown again


def test_no_color(monkeypatch: pytest.MonkeyPatch):
    def colours() -> list[str]:
        stream = Terminal()
        fit(LinearModel(4, 4), dataset(), epochs=1, batch_size=2, callbacks=[progress_callback(stream)])
        return [code for code in re.findall(r"\x1b\[([\d;]*)m", stream.getvalue()) if re.search(r"[349]\d", code)]

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    assert isinstance(progress_callback(stream), EpochLines)
    with work_progress("reading pictures", stream) as progress:
        progress(1, 2)
    assert stream.getvalue() == ""


class Clock:
    """The module `time` with hands that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    localtime = staticmethod(gmtime)
    strftime = staticmethod(strftime)


def test_long_epochs_say_something_now_and_then(monkeypatch: pytest.MonkeyPatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("pellucid.train.progress.time", clock)
    lines = EpochLines(stream)
    lines.on_start(RunStart(2, 10, 1000, 10_000, 0, 0))
    for step in range(1, 101):
        clock.now += 1
        lines.on_step_end(1, step, 0.5)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2, step 30/1000, loss 0.5000, 32:50 left, ends 00:33",
        "epoch 1/2, step 60/1000, loss 0.5000, 32:20 left, ends 00:33",
        "epoch 1/2, step 90/1000, loss 0.5000, 31:50 left, ends 00:33",
    ]


def test_a_long_run_is_no_flood(monkeypatch: pytest.MonkeyPatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("pellucid.train.progress.time", clock)
    lines = EpochLines(stream)
    lines.on_start(RunStart(1, 10, 86_400, 864_000, 0, 0))
    for step in range(1, 86_401):
        clock.now += 1
        lines.on_step_end(1, step, 0.5)
    assert 200 < len(stream.getvalue().splitlines()) < 600


def test_a_run_that_goes_on_counts_from_where_it_stands(monkeypatch: pytest.MonkeyPatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("pellucid.train.progress.time", clock)
    lines = EpochLines(stream)
    lines.on_start(RunStart(10, 10, 100, 1000, 0, 0))
    for step in range(1, 41):
        clock.now += 1
        lines.on_step_end(10, step, 0.5)
    assert stream.getvalue() == "epoch 10/10, step 30/100, loss 0.5000, 1:10 left, ends 00:01\n"


def test_other_long_work(monkeypatch: pytest.MonkeyPatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("pellucid.train.progress.time", clock)
    with work_progress("reading pictures", stream) as progress:
        for done in range(101):
            progress(done, 400)
            clock.now += 1
    assert stream.getvalue().splitlines() == [
        "reading pictures: 30 of 400, 6:10 left, ends 00:06",
        "reading pictures: 60 of 400, 5:40 left, ends 00:06",
        "reading pictures: 90 of 400, 5:10 left, ends 00:06",
    ]


def test_other_long_work_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    def work() -> None:
        with work_progress("reading [b]pictures", stream) as progress:
            progress(3, 7)
            progress(7, 7)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert "reading [b]pictures" in stream.getvalue()
    assert "7/7" in stream.getvalue()
    assert "\x1b[?25h" in stream.getvalue()


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("terminal", [True, False])
def test_a_reader_that_goes_away_ends_no_training(monkeypatch: pytest.MonkeyPatch, terminal: bool):
    monkeypatch.setenv("TERM", "xterm" if terminal else "dumb")
    callback = progress_callback(Broken())
    assert isinstance(callback, ProgressBar) == terminal
    history = fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[callback])
    assert len(history.epochs) == 2
    callback.close()


def test_restored_parameters_are_said():
    class Worsening(LinearModel):
        def score(self, y, t):
            return {"loss": float(len(self.batches)), "accuracy": 0.0}

    stream = io.StringIO()
    fit(Worsening(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[EpochLines(stream)])
    assert stream.getvalue().splitlines()[-1] == "parameters of epoch 1 restored (least validation loss)"
