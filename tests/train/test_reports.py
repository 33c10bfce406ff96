"""Progress lines, the bar on a terminal, the JSON log."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ArgumentError
from pellucid.train import (
    Dataset,
    EpochLines,
    EpochResult,
    JsonLinesLog,
    Part,
    ProgressBar,
    fit,
    progress_callback,
)
from pellucid.train.progress import epoch_line, header_line
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
    assert lines[0] == "  epoch     loss accuracy val loss  val acc       lr seconds images/s"
    assert [line.split()[0] for line in lines[1:]] == ["1/2", "2/2"]
    assert "\x1b" not in stream.getvalue()


def test_a_row_in_figures():
    row = EpochResult(3, 0.12345, 0.987, None, None, 0.05, 1.234, 9876.5)
    assert epoch_line(row, 20) == "   3/20   0.1235    98.7%        -        -     0.05    1.23     9876"
    assert len(epoch_line(row, 20)) == len(header_line())


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    callback = progress_callback(stream)
    assert isinstance(callback, ProgressBar)
    fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[callback])
    assert "2/2" in stream.getvalue()
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is shown again


def test_restored_parameters_are_said():
    class Worsening(LinearModel):
        def evaluate(self, x, t):
            return {"loss": float(len(self.batches)), "accuracy": 0.0}

    stream = io.StringIO()
    fit(Worsening(4, 4), dataset(), epochs=2, batch_size=2, callbacks=[EpochLines(stream)])
    assert stream.getvalue().splitlines()[-1] == "parameters of epoch 1 restored (least validation loss)"


def test_the_log_is_one_object_a_line(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = JsonLinesLog(path)
    history = fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=3, seed=5, gradient_norms=True, callbacks=[log])
    start, *epochs, end = (json.loads(line) for line in path.read_text().splitlines())
    assert start == {
        "event": "start",
        "epochs": 2,
        "batch_size": 3,
        "batches": 2,
        "training_images": 4,
        "validation_images": 4,
        "seed": 5,
    }
    assert [epoch["event"] for epoch in epochs] == ["epoch", "epoch"]
    assert epochs[1]["loss"] == history.epochs[1].loss
    assert epochs[1]["gradient_norms"] == history.epochs[1].gradient_norms
    assert end == {"event": "end", "best_epoch": 2, "stopped_early": False}


def test_a_log_that_cannot_be_written(tmp_path: Path):
    path = tmp_path / "absent" / "log.jsonl"
    with pytest.raises(ArgumentError) as caught:
        JsonLinesLog(path)
    assert str(caught.value) == f"`log` (={str(path)!r}) cannot be written: No such file or directory"
