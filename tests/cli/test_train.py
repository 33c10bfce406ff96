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

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run folders stand in the folder of the test."""
    monkeypatch.chdir(tmp_path)


def train(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["train", *arguments])


def logged(run: str) -> list[dict]:
    """The epochs of a run's log."""
    lines = (json.loads(line) for line in (Path("runs") / run / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "epoch"]


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
    progress = finished.stderr.splitlines()
    assert progress[0] == "digits: 10 classes, images 28x28x1: 3600 for train, 400 for validation, 1000 for test"
    assert progress[1].startswith("lenet5: 3 epochs, batch size 50, ")
    assert progress[2] == "classes: 0 0, 1 1, 2 2, 3 3, 4 4, 5 5, 6 6, 7 7, 8 8, 9 9"
    assert re.fullmatch(r"estimate: about \d+\.\d+ s and [\d,]+ MB of memory", progress[3])
    assert progress[4].split()[:3] == ["epoch", "loss", "accuracy"]
    assert [line.split()[0] for line in progress[5:8]] == ["1/3", "2/3", "3/3"]
    lines = finished.stdout.splitlines()
    assert "balanced accuracy" in finished.stdout
    assert lines[-2] == "run folder: runs/digits-1"
    found = re.fullmatch(r"test accuracy (\d+\.\d)%", lines[-1])
    assert found is not None
    assert float(found[1]) > 94  # the whole recipe reaches 98; a linear classifier 90
    written = {str(path.relative_to("runs/digits-1")) for path in Path("runs/digits-1").rglob("*") if path.is_file()}
    assert written == {
        ".lock", "config.toml", "split.csv", "results.csv", "log.jsonl", "evaluation.json", "report.html", "curves.svg",
        "gradients.svg", "confusion_matrix.svg", "checkpoint.safetensors", "checkpoint.previous.safetensors",
        "best/model.safetensors", "best/config.json", "best/README.md",
        "last/model.safetensors", "last/config.json", "last/README.md",
    }  # fmt: skip


def test_the_same_seed_prints_the_same_for_every_number_of_threads(few_digits: Path):
    def losses(*arguments: str) -> list[str]:
        result = train(str(few_digits), "--epochs", "2", *arguments)
        assert result.exit_code == 0, result.output
        name = max(Path("runs").iterdir(), key=lambda path: int(path.name.rpartition("-")[2])).name
        return [epoch["loss"] for epoch in logged(name)] + result.stdout.splitlines()[-1:]

    assert losses("--threads", "1") == losses("--threads", "2")
    assert losses("--seed", "1") != losses("--seed", "2")


def test_quiet_prints_the_result_alone(few_digits: Path):
    result = train(str(few_digits), "--epochs", "1", "--quiet")
    assert result.stderr == ""
    assert re.fullmatch(r"test accuracy \d+\.\d%\n", result.stdout)


def test_validation_patience_and_the_log(few_digits: Path):
    result = train(str(few_digits), "--epochs", "2", "--validation", "0.2", "--patience", "1", "--name", "run")
    assert result.exit_code == 0, result.output
    assert "160 for train, 40 for validation, 60 for test" in result.stderr
    first, *_ = logged("run")
    assert 0 < first["validation_loss"] < 10
    assert set(first["gradient_norms"]) == {
        f"{layer}.{kind}" for layer in (0, 3, 7, 9, 11) for kind in ("weight", "bias")
    }
    assert all(norm > 0 for norm in first["gradient_norms"].values())
    assert first["state_gradient_norms"] == {}


def test_a_recurrent_network_learns_digits_row_by_row():
    result = train("digits", "--model", "rnn", "--epochs", "3", "--augment", "none", "--quiet")
    assert result.exit_code == 0, result.output
    found = re.fullmatch(r"test accuracy (\d+\.\d)%\n", result.stdout)
    assert found is not None
    assert float(found[1]) > 92  # the whole recipe reaches 98
    for epoch in (epochs := logged("digits-1")):
        assert epoch["state_gradient_norms"].keys() == {"1.state_l0"}
    norms = epochs[0]["state_gradient_norms"]["1.state_l0"]
    assert len(norms) == 28
    assert 0 < norms[0] < norms[-1] / 2  # what the first rows tell vanishes on its way back


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_every_optimizer_lowers_the_loss(few_digits: Path, optimizer: str):
    result = train(
        str(few_digits), "--epochs", "3", "--optimizer", optimizer, "--schedule", "cosine", "--augment", "none",
        "--name", "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    losses = [epoch["loss"] for epoch in logged("run")]
    assert losses[-1] < losses[0]


def test_the_result_as_json(few_digits: Path):
    result = train(str(few_digits), "--epochs", "1", "--quiet", "--json")
    found = json.loads(result.stdout)
    assert found["run"] == "runs/few-1"
    assert (found["epochs"], found["best_epoch"], found["part"]) == (1, 1, "test")
    assert 0 <= found["balanced_accuracy"] <= 1
    assert len(found["confusion_matrix"]) == 10


def test_settings_from_a_file(few_digits: Path):
    Path("run.toml").write_text(f'source = "{few_digits}"\nepochs = 3\nbatch-size = 20\nname = "file"\nseed = 7\n')
    result = train("--config", "run.toml", "--epochs", "1", "--quiet")
    assert result.exit_code == 0, result.output
    assert len(logged("file")) == 1  # what the command says goes before the file
    config = Path("runs/file/config.toml").read_text()
    assert "batch_size = 20\n" in config
    assert "seed = 7\n" in config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3\nbach_size = 20\n", "run.toml: there is no setting 'bach_size'; did you mean 'batch_size'?"),
        ("epochs = 3\n", "run.toml: `source` is missing: what to train on"),
        ('source = "digits"\nepochs = 2.5\n', "run.toml: `epochs` (=2.5) must be a whole number of at least 1"),
        (
            'source = "digits"\nschedule = "cosin"\n',
            "run.toml: `schedule` (='cosin') is not known; did you mean 'cosine'?",
        ),
        ('source = "digits"\nfreeze = "body"\n', "run.toml: `freeze` (='body') must be a list of texts"),
        ('source = "digits"\ntensorboard = 1\n', "run.toml: `tensorboard` (=1) must be true or false"),
    ],
)
def test_a_file_of_settings_that_is_wrong(text: str, message: str):
    Path("run.toml").write_text(text)
    result = train("--config", "run.toml")
    assert result.exit_code == 2
    assert result.stderr == f"error: {message}\n"


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "onecycle"])
def test_every_schedule_has_its_course(schedule: str):
    rates = [build.make_schedule(schedule, 0.5, 90).rate(step) for step in range(90)]
    assert max(rates) == pytest.approx(0.5, rel=0.01)
    ends = {"constant": 0.5, "step": 0.005, "cosine": 0.0, "onecycle": 0.0}
    assert rates[-1] == pytest.approx(ends[schedule], abs=2e-4)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_the_shortest_runs_have_a_schedule(steps: int):
    assert 0 < build.make_schedule("onecycle", 0.004, steps).rate(0) <= 0.004


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digit",), "error: no data set, folder or file is called 'digit'; did you mean 'digits'?\n"),
        (("digits", "--validation", "2"),
         "error: `validation` (=2.0) must be a number of at least 0 and below 1\n"),
        (("digits", "--validation", "0", "--patience", "2"),
         "error: `patience` (=2) needs a validation part; see `Dataset.with_validation`\n"),
        (("digits", "--lr", "nan"), "error: `lr` (=nan) must be a finite number above 0\n"),
        (("digits", "--name", "a/b"), "error: `name` (='a/b') must be the name of a folder\n"),
        (("digits", "--model", "s4", "--class-weight", "balanced"),
         "error: `class_weight` is not for the model 's4', whose loss is that of each class by itself\n"),
        (("digits", "--freeze", "99"), "error: `freeze` has '99', which matches no parameter; "
         "did you mean '9'?\n"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments: tuple[str, ...], message: str):
    result = train(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines(keepends=True)[-1] == message
    assert not list(Path().glob("runs/*"))  # no folder is left of what never began


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
    assert re.search(
        r"^error: the (loss is (nan|inf|-inf)|gradient is not finite) in step \d+: ", result.stderr, re.MULTILINE
    )


def test_ctrl_c_says_so_and_exits_130(few_digits: Path):
    arguments = [sys.executable, "-m", "pellucid", "train", str(few_digits), "--epochs", "100000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while "1/100000" not in (line := running.stderr.readline()):
            assert line, "training ended by itself"
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=120)
    assert running.returncode == 130
    assert re.fullmatch(
        r"stopped by SIGINT after epoch \d+(, step \d+)?; all is saved: go on with `pellucid resume runs/few-1`",
        rest.splitlines()[-1].replace("the end of ", ""),
    )
    assert "Traceback" not in rest
