"""`pellucid train`: a small run on the bundled digits, files of data, the log, and what it refuses."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pellucid.cli.group import command_line
from pellucid.train import build, load_digits


def train(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["train", *arguments])


@pytest.fixture
def few_digits(tmp_path: Path) -> Path:
    """200 images for training and 60 for the test, as an .npz file."""
    digits, path = load_digits(), tmp_path / "few.npz"
    np.savez(
        path,
        x_train=digits.train.images[:200, ..., 0], y_train=digits.train.labels[:200],
        x_test=digits.test.images[:60, ..., 0], y_test=digits.test.labels[:60],
    )  # fmt: skip
    return path


def test_a_run_on_the_digits_learns_them():
    finished = subprocess.run(
        [sys.executable, "-m", "pellucid", "train", "digits", "--epochs", "3", "--threads", "1"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "digits: 10 classes, images 28x28x1: 4000 for train, 1000 for test"
    assert lines[1].startswith("lenet5: 3 epochs, batch size 50, ")
    found = re.fullmatch(r"test accuracy (\d+\.\d)%", lines[-1])
    assert found is not None
    assert float(found[1]) > 94  # the whole recipe reaches 98; a linear classifier 90
    progress = finished.stderr.splitlines()
    assert progress[0].split() == [
        "epoch",
        "loss",
        "accuracy",
        "lr",
        "seconds",
        "images/s",
        "left",
    ]
    assert [line.split()[0] for line in progress[1:]] == ["1/3", "2/3", "3/3"]


def test_the_same_seed_prints_the_same_for_every_number_of_threads(few_digits: Path):
    def losses(*arguments: str) -> list[str]:
        result = train(str(few_digits), "--epochs", "2", *arguments)
        assert result.exit_code == 0, result.output
        return [line.split()[1] for line in result.stderr.splitlines()[1:]] + result.stdout.splitlines()[-1:]

    assert losses("--threads", "1") == losses("--threads", "2")
    assert losses("--seed", "1") != losses("--seed", "2")


def test_quiet_prints_the_result_alone(few_digits: Path):
    result = train(str(few_digits), "--epochs", "1", "--quiet")
    assert result.stderr == ""
    assert re.fullmatch(r"test accuracy \d+\.\d%\n", result.stdout)


def test_log_validation_and_patience(few_digits: Path, tmp_path: Path):
    log = tmp_path / "run.jsonl"
    result = train(str(few_digits), "--epochs", "2", "--validation", "0.2", "--patience", "1", "--log", str(log))
    assert result.exit_code == 0, result.output
    assert "160 for train, 40 for validation, 60 for test" in result.stdout
    start, first, *_ = (json.loads(line) for line in log.read_text().splitlines())
    assert (start["training_images"], start["validation_images"]) == (160, 40)
    assert 0 < first["validation_loss"] < 10
    assert set(first["gradient_norms"]) == {
        f"{layer}.{kind}" for layer in (0, 3, 7, 9, 11) for kind in ("weight", "bias")
    }
    assert all(norm > 0 for norm in first["gradient_norms"].values())
    assert first["state_gradient_norms"] == {}


def test_a_recurrent_network_learns_digits_row_by_row(tmp_path: Path):
    log = tmp_path / "run.jsonl"
    result = train("digits", "--model", "rnn", "--epochs", "3", "--no-augment", "--quiet", "--log", str(log))
    assert result.exit_code == 0, result.output
    found = re.fullmatch(r"test accuracy (\d+\.\d)%\n", result.stdout)
    assert found is not None
    assert float(found[1]) > 92  # the whole recipe reaches 98
    _, *epochs, _ = (json.loads(line) for line in log.read_text().splitlines())
    for epoch in epochs:
        assert epoch["state_gradient_norms"].keys() == {"1.state_l0"}
    norms = epochs[0]["state_gradient_norms"]["1.state_l0"]
    assert len(norms) == 28
    assert 0 < norms[0] < norms[-1] / 10  # what the first rows tell vanishes on its way back


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_every_optimizer_lowers_the_loss(few_digits: Path, optimizer: str):
    result = train(str(few_digits), "--epochs", "3", "--optimizer", optimizer, "--schedule", "cosine", "--no-augment")
    assert result.exit_code == 0, result.output
    losses = [float(line.split()[1]) for line in result.stderr.splitlines()[1:]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "onecycle"])
def test_every_schedule_has_its_course(schedule: str):
    recipe = build.Recipe("lenet5", epochs=1, learning_rate=0.5, schedule=schedule)
    rates = [build.make_schedule(recipe, 90).rate(step) for step in range(90)]
    assert max(rates) == pytest.approx(0.5, rel=0.01)
    ends = {"constant": 0.5, "step": 0.005, "cosine": 0.0, "onecycle": 0.0}
    assert rates[-1] == pytest.approx(ends[schedule], abs=2e-4)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_the_shortest_runs_have_a_schedule(steps: int):
    rate = build.make_schedule(build.Recipe("lenet5", epochs=1), steps).rate(0)
    assert 0 < rate <= build.Recipe("lenet5", epochs=1).learning_rate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digit",), "error: no data set, folder or file is called 'digit'; did you mean 'digits'?\n"),
        (("digits", "--validation", "2"), "error: `fraction` (=2.0) must be between 0 and 1, both excluded\n"),
        (("digits", "--patience", "2"),
         "error: `patience` (=2) needs a validation part; see `Dataset.with_validation`\n"),
        (("digits", "--lr", "nan"), "error: `lr` (=nan) must be a finite number above 0\n"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments: tuple[str, ...], message: str):
    result = train(*arguments)
    assert result.exit_code == 2
    assert result.stderr == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "lenet"), "unknown model 'lenet'; did you mean 'lenet5'?"),
        (("--optimizer", "adm"), "unknown optimizer 'adm'; did you mean 'adam'?"),
        (("--schedule", "cosin"), "unknown schedule 'cosin'; did you mean 'cosine'?"),
        (("--epochs", "0"), "0 is not in the range x>=1."),
    ],
)
def test_names_and_numbers_that_are_wrong(arguments: tuple[str, ...], message: str):
    result = train("digits", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_damaged_file(tmp_path: Path):
    path = tmp_path / "broken.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    result = train(str(path))
    assert result.exit_code == 2
    assert result.stderr == f"error: {path}: cannot be read as an .npz file: File is not a zip file\n"


def test_a_loss_that_grows_without_bound_is_named(few_digits: Path):
    result = train(str(few_digits), "--optimizer", "sgd", "--lr", "1e6", "--schedule", "constant")
    assert result.exit_code == 2
    assert re.search(r"^error: the loss is (nan|inf|-inf) in step \d+: ", result.stderr, re.MULTILINE)


def test_ctrl_c_says_so_and_exits_130(few_digits: Path):
    arguments = [sys.executable, "-m", "pellucid", "train", str(few_digits), "--epochs", "100000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while "1/100000" not in (line := running.stderr.readline()):
            assert line, "training ended by itself"
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=120)
    assert running.returncode == 130
    assert rest.splitlines()[-1] == "interrupted"
    assert "Traceback" not in rest
