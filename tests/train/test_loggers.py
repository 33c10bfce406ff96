"""Loggers: the figures of every epoch, and where they go."""

import csv
import json
import struct
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ArgumentError
from pellucid.train import CsvLogger, Dataset, EpochResult, JsonLinesLogger, Part, TensorBoardLogger, fit
from pellucid.train.loggers import figures_of
from train.linear_model import LinearModel


def dataset() -> Dataset:
    part = Part(np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1), np.arange(4))
    return Dataset(part, part, ("a", "b", "c", "d"), validation=part)


def test_figures_have_plain_names():
    result = EpochResult(
        2, 0.5, None, 0.25, None, 0.1, 1.5, 20.0, validation_recall=(0.5, None),
        gradient_norms={"0.weight": 3.0}, state_gradient_norms={"1.state_l0": (1.0, 2.0)},
    )  # fmt: skip
    assert figures_of(result) == {
        "loss": 0.5,
        "validation_loss": 0.25,
        "learning_rate": 0.1,
        "seconds": 1.5,
        "images_per_second": 20.0,
        "busy": 1.0,
        "validation_recall/0": 0.5,
        "gradient_norms/0.weight": 3.0,
        "state_gradient_norms/1.state_l0/0": 1.0,
        "state_gradient_norms/1.state_l0/1": 2.0,
    }


def test_files_have_a_row_for_every_epoch(tmp_path: Path):
    loggers = [JsonLinesLogger(tmp_path / "log.jsonl"), CsvLogger(tmp_path / "log.csv")]
    history = fit(LinearModel(4, 4), dataset(), epochs=3, batch_size=2, gradient_norms=True, loggers=loggers)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line, row, result in zip(lines, rows, history.epochs, strict=True):
        assert line["loss"] == result.loss == float(row["loss"])
        assert line["gradient_norms/weight"] == result.gradient_norms["weight"] == float(row["gradient_norms/weight"])


@pytest.mark.parametrize("kind", [JsonLinesLogger, CsvLogger])
def test_a_log_that_cannot_be_written(tmp_path: Path, kind: type):
    path = tmp_path / "absent" / "log"
    with pytest.raises(ArgumentError) as caught:
        kind(path)
    assert str(caught.value) == f"the log {str(path)!r} cannot be written: No such file or directory"


class Ended:
    """A logger that knows whether it was closed, and may fail."""

    def __init__(self, *, fails: bool) -> None:
        self.closed, self._fails = 0, fails

    def log(self, epoch: int, figures: dict[str, float]) -> None:
        if self._fails:
            raise RuntimeError("no room")

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("fails", [False, True])
def test_loggers_are_closed_however_training_ends(fails: bool):
    logger = Ended(fails=fails)
    with pytest.raises(RuntimeError) if fails else nullcontext():
        fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, loggers=[logger])
    assert logger.closed == 1


def test_tensorboard_has_the_figures(tmp_path: Path):
    from tensorboardX.proto.event_pb2 import Event

    history = fit(LinearModel(4, 4), dataset(), epochs=2, batch_size=2, loggers=[TensorBoardLogger(tmp_path)])
    (events,) = tmp_path.glob("events.*")
    content, found = events.read_bytes(), {}
    while content:  # records of TensorFlow: length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + length :]
    for result in history.epochs:
        for name, figure in figures_of(result).items():
            assert found[name, result.epoch] == pytest.approx(figure, rel=1e-6)


def test_tensorboard_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ArgumentError) as caught:
        TensorBoardLogger(tmp_path)
    assert str(caught.value) == (
        "`tensorboard` needs tensorboardX, which is missing: pip install 'pellucid[tensorboard]'"
    )
