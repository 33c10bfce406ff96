"""A folder of pictures from the command: trained, stopped, resumed, evaluated, used, tuned to other classes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pellucid.cli.group import command_line
from pellucid.train import Callback, fit, load_classifier
from train.pictures import digit_pictures

pytestmark = pytest.mark.usefixtures("undrawn")

SAID = r"cannot be read: .*the checkpoint of .* is good: `pellucid resume .*` goes on"
QUICK = ("--epochs", "8", "--batch-size", "16", "--threads", "1", "--seed", "1")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a run trained on them."""
    folder = tmp_path_factory.mktemp("place")
    digit_pictures(folder / "photos", count=40)
    succeed("train", folder / "photos", *QUICK, "--name", "run", "--runs", folder / "runs")
    return folder


def test_the_run_is_good_and_complete(place: Path):
    folder = place / "runs" / "run"
    measures = json.loads((folder / "evaluation.json").read_text())
    assert measures["part"] == "test"
    assert measures["accuracy"] > 0.85
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(number) for number in range(1, 9)]
    split = list(csv.DictReader((folder / "split.csv").read_text().splitlines()))
    assert len(split) == 120
    assert {row["split"] for row in split} == {"train", "validation", "test"}
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    card = (folder / "best" / "README.md").read_text()
    assert "pellucid predict" in card
    program = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert program is not None
    exec(program[1].replace('"picture.png"', repr(str(next((place / "photos" / "2").iterdir())))), {})


def test_the_best_model_is_the_one_of_least_validation_loss(place: Path):
    folder = place / "runs" / "run"
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    found = json.loads(run("evaluate", folder, "--part", "validation", "--json").stdout)
    assert found["loss"] == pytest.approx(float(best["validation_loss"]), rel=1e-4)
    assert found["accuracy"] == pytest.approx(float(best["validation_accuracy"]), abs=1e-9)


def test_evaluate_on_the_own_test_part_is_what_training_said(place: Path):
    folder = place / "runs" / "run"
    found = json.loads(succeed("evaluate", folder, "--json").stdout)
    said = json.loads((folder / "evaluation.json").read_text())
    assert found["confusion_matrix"] == said["confusion_matrix"]
    text = succeed("evaluate", folder).stdout.splitlines()
    assert text[-1] == f"accuracy {100 * said['accuracy']:.1f}%"


def test_evaluate_on_other_pictures(place: Path, tmp_path: Path):
    others = digit_pictures(tmp_path / "others", count=10, start=60)
    found = json.loads(succeed("evaluate", place / "runs" / "run", others, "--json").stdout)
    assert found["images"] == 30
    assert found["accuracy"] > 0.7
    (others / "2").rename(others / "two")
    result = run("evaluate", place / "runs" / "run", others)
    assert result.exit_code == 2
    assert "two" in result.stderr


def test_predict_names_each_picture(place: Path, tmp_path: Path):
    pictures = digit_pictures(tmp_path / "new", count=8, start=80)
    result = succeed("predict", place / "runs" / "run", pictures)
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(lines) == 24
    right = sum(Path(path).parent.name == shown.split()[0] for path, shown in lines)
    assert right >= 18
    assert all(re.fullmatch(r"[012] \d+\.\d%", shown) for _, shown in lines)
    # One picture alone is what it is among others, up to rounding.
    alone = succeed("predict", place / "runs" / "run", lines[5][0], "--json")
    assert json.loads(alone.stdout)["class"] == lines[5][1].split()[0]
    classifier = load_classifier(place / "runs" / "run")
    (prediction,) = classifier.predict([lines[5][0]])
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert prediction.probability == prediction.probabilities.max()
    assert json.loads(alone.stdout)["probability"] == pytest.approx(prediction.probability, rel=1e-6)


def test_predict_writes_a_table_and_names_what_is_broken(place: Path, tmp_path: Path):
    pictures = digit_pictures(tmp_path / "new", classes=1, count=3)
    (pictures / "empty.png").write_bytes(b"")
    table = tmp_path / "out.csv"
    result = run("predict", place / "runs" / "run", pictures, "--csv", table)
    assert result.exit_code == 1
    assert "empty.png: is empty (0 bytes)" in result.stderr
    assert result.stderr.splitlines()[-1] == "1 pictures could not be read"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == ["path", "class", "probability", "0", "1", "2"]
    assert len(rows) == 3
    assert all(float(row["probability"]) == max(float(row[name]) for name in "012") for row in rows)


def test_predict_takes_names_of_all_kinds(place: Path, tmp_path: Path):
    source = next((place / "photos" / "1").iterdir())
    odd = tmp_path / "two\nlines"
    odd.mkdir()
    for name in (b"caf\xe9.png", "日本.png".encode(), b"a\tb.png"):
        shutil.copy(source, os.fsencode(odd) + b"/" + name)
    lines = succeed("predict", place / "runs" / "run", odd).stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith(lines[0].split("\t")[-1]) for line in lines)


def test_predict_takes_pictures_of_all_kinds(place: Path, tmp_path: Path):
    gray = Image.open(next((place / "photos" / "0").iterdir())).convert("L")
    gray.convert("RGB").resize((200, 200)).save(tmp_path / "a.jpg", quality=95)
    gray.convert("RGBA").save(tmp_path / "b.png")
    gray.convert("P").save(tmp_path / "c.gif")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(tmp_path / "d.png")
    gray.convert("CMYK").save(tmp_path / "e.tif")
    lines = succeed("predict", place / "runs" / "run", tmp_path).stdout.splitlines()
    assert [line.split("\t")[1].split()[0] for line in lines] == ["0"] * 5


def test_summary_shows_equations_and_measures(place: Path):
    text = succeed("summary", place / "runs" / "run").stdout
    assert "z[n,i,j,k] = sum(s,t,c)" in text
    assert "classes 0 0, 1 1, 2 2" in text
    assert re.search(r"test accuracy \d+\.\d%", text)
    data = json.loads(succeed("summary", place / "runs" / "run", "--json").stdout)
    assert data["class_names"] == ["0", "1", "2"]


def test_fine_tuning_keeps_the_body_and_gets_a_new_head(place: Path, tmp_path: Path):
    four = digit_pictures(tmp_path / "four", classes=4, count=15)
    result = succeed(
        "train", four, "--from", place / "runs" / "run", "--freeze", "body", "--epochs", "2", "--runs", tmp_path,
        "--name", "fine", "--threads", "1",
    )  # fmt: skip
    assert "a new last layer for 4 classes" in result.stderr
    from pellucid.exchange import read_model

    before, after = read_model(place / "runs" / "run" / "best"), read_model(tmp_path / "fine" / "best")
    assert before.parameters is not None
    assert after.parameters is not None
    for name, array in before.parameters.items():
        if not name.startswith("11."):
            np.testing.assert_array_equal(after.parameters[name], array)
    assert after.parameters["11.weight"].shape == (84, 4)
    assert after.preprocessing == before.preprocessing  # pictures are seen as they were in the first training


def test_the_same_classes_keep_their_head(place: Path, tmp_path: Path):
    result = succeed(
        "train", place / "photos", "--from", place / "runs" / "run" / "last", "--epochs", "1", "--lr", "1e-9", "--runs",
        tmp_path, "--threads", "1",
    )  # fmt: skip
    assert "new last layer" not in result.stderr
    assert json.loads((tmp_path / "photos-1" / "evaluation.json").read_text())["accuracy"] > 0.85


def test_a_file_of_parameters_to_begin_with(place: Path, tmp_path: Path):
    file = place / "runs" / "run" / "best" / "model.safetensors"
    four = digit_pictures(tmp_path / "four", classes=4, count=10)
    common = ("--model", "lenet5", "--epochs", "1", "--runs", tmp_path, "--threads", "1")
    result = succeed("train", four, "--from", file, *common)
    assert f"8 of 10 parameters from {file}; new are 11.weight, 11.bias" in result.stderr
    result = run("train", four, "--from", file, "--model", "vgg", *common[2:])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"error: `from` (={str(file)!r}) has no parameter of the network's names and shapes"
    )


def test_balanced_classes_weigh_the_rare_ones(tmp_path: Path):
    digit_pictures(tmp_path / "photos", classes=2, count=40)
    for path in list((tmp_path / "photos" / "1").iterdir())[10:]:
        path.unlink()
    succeed("train", tmp_path / "photos", "--class-weight", "balanced", "--epochs", "1", "--runs", tmp_path / "runs",
            "--threads", "1")  # fmt: skip
    config = json.loads((tmp_path / "runs" / "photos-1" / "best" / "config.json").read_text())
    weights = config["training"]["loss"]["class_weights"]
    split = list(csv.DictReader((tmp_path / "runs" / "photos-1" / "split.csv").read_text().splitlines()))
    counts = [sum(row["split"] == "train" and row["label"] == label for row in split) for label in "01"]
    assert weights == pytest.approx([sum(counts) / (2 * count) for count in counts])


class Stop(Callback):
    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stopped(place: Path, tmp_path: Path) -> Path:
    """A run that was stopped, on pictures of its own."""
    shutil.copytree(place / "photos", tmp_path / "photos")
    with pytest.raises(KeyboardInterrupt):
        fit("lenet5", tmp_path / "photos", epochs=3, runs=tmp_path / "runs", name="run", threads=1, callbacks=[Stop()])
    return tmp_path / "runs" / "run"


def test_resume_with_changed_data(stopped: Path):
    photos = stopped.parent.parent / "photos"
    victim = sorted((photos / "1").iterdir())[0]
    content = victim.read_bytes()
    victim.write_bytes(content[:-20] + b"x" * 20)
    result = run("resume", stopped)
    assert result.exit_code == 2
    assert f"1/{victim.name}" in result.stderr
    victim.unlink()
    result = run("resume", stopped)
    assert result.exit_code == 2
    assert f"1/{victim.name}" in result.stderr
    victim.write_bytes(content)
    succeed("resume", stopped)


def test_a_picture_that_goes_while_training(place: Path, tmp_path: Path):
    shutil.copytree(place / "photos", tmp_path / "photos")

    class Remove(Callback):
        def on_step_end(self, epoch: int, step: int, loss: float) -> None:
            shutil.rmtree(tmp_path / "photos", ignore_errors=True)

    from pellucid.errors import DataError

    with pytest.raises(DataError, match=SAID):
        fit(
            "lenet5",
            tmp_path / "photos",
            epochs=3,
            batch_size=4,
            runs=tmp_path / "runs",
            threads=1,
            callbacks=[Remove()],
        )


def test_a_read_only_folder(place: Path, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    result = run("train", place / "photos", *QUICK, "--runs", blocked)
    assert result.exit_code == 2
    assert result.stderr == f"error: {blocked}: cannot be written: File exists\n"
    # Root may write anywhere, so a folder of the kernel's stands for one that is read-only.
    result = run("train", place / "photos", *QUICK, "--runs", "/proc/runs")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: /proc/runs: cannot be written: ")


def test_folders_that_are_no_runs(tmp_path: Path):
    for command in (("predict", tmp_path, tmp_path), ("evaluate", tmp_path), ("summary", tmp_path)):
        result = run(*command)
        assert result.exit_code == 2
        wanted = "is neither a run folder nor that of a model: there is no config.json in it, nor in best"
        assert result.stderr == f"error: {tmp_path}: {wanted}\n"
    result = run("resume", tmp_path)
    assert result.stderr == f"error: {tmp_path}: is no run folder: it has no config.toml\n"


def test_the_command_itself_killed_and_resumed(place: Path, tmp_path: Path):
    """The whole command, in processes of its own: killed twice, interrupted once, and the bits of one undisturbed."""
    arguments = ["--epochs", "40", "--batch-size", "8", "--threads", "2", "--seed", "2", "--runs", str(tmp_path)]
    command = [sys.executable, "-m", "pellucid"]
    first = [*command, "train", str(place / "photos"), *arguments]
    subprocess.run([*first, "--name", "whole"], check=True, capture_output=True, timeout=120)
    for number, sent in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)):
        again = [*first, "--name", "run"] if number == 0 else [*command, "resume", str(tmp_path / "run")]
        with subprocess.Popen(again, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            while f"{5 + 10 * number}/40" not in (line := running.stderr.readline()):
                assert line, "training ended by itself"
            time.sleep(0.01)
            running.send_signal(sent)
            _, rest = running.communicate(timeout=60)
        assert running.returncode == (130 if sent == signal.SIGINT else -sent)
        if sent == signal.SIGINT:
            assert rest.splitlines()[-1].startswith("stopped by SIGINT after ")
    done = subprocess.run(
        [*command, "resume", str(tmp_path / "run")], check=True, capture_output=True, text=True, timeout=120
    )
    assert re.search(r"^going on from ", done.stderr, re.MULTILINE)
    for name in ("best/model.safetensors", "last/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda photos: None, "no data set, folder or file is called"),
        (
            lambda photos: photos.mkdir(),
            r"photos: has no pictures \(.*\); expected CLASS/\*\.png, or train/CLASS/\*\.png$",
        ),
        (lambda photos: digit_pictures(photos, classes=1), "photos: has one class only, 0; a classifier needs two$"),
        (
            lambda photos: [path.unlink() for path in sorted((digit_pictures(photos) / "1").iterdir())[1:]],
            "photos: class 1 has 1 picture: train, validation and test need one each$",
        ),
    ],
    ids=["absent", "without pictures", "one class", "a class with one picture"],
)
def test_folders_that_cannot_be_trained_on(tmp_path: Path, make, message: str):
    make(tmp_path / "photos")
    result = run("train", tmp_path / "photos", *QUICK, "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert re.search(message, result.stderr.strip())
    assert not list((tmp_path / "runs").iterdir())


def test_a_run_goes_on_from_elsewhere_and_with_pictures_that_moved(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(place / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit("lenet5", "photos", epochs=3, runs="runs", name="run", threads=1, callbacks=[Stop()])
    monkeypatch.chdir("/")
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    succeed("resume", tmp_path / "runs" / "run")
    (tmp_path / "photos").rename(tmp_path / "moved")
    config = tmp_path / "copy" / "run" / "config.toml"
    assert run("resume", tmp_path / "copy" / "run").exit_code == 2
    config.write_text(config.read_text().replace(f"{tmp_path}/photos", f"{tmp_path}/moved"))
    succeed("resume", tmp_path / "copy" / "run")
    both = [tmp_path / runs / "run" / "best" / "model.safetensors" for runs in ("runs", "copy")]
    assert both[0].read_bytes() == both[1].read_bytes()


def test_without_any_part_to_measure_on_there_is_a_report(place: Path, tmp_path: Path):
    common = ("--validation", "0", "--test", "0", "--epochs", "1", "--runs", tmp_path, "--threads", "1")
    result = succeed("train", place / "photos", *common)
    assert "120 for train\n" in result.stderr
    assert not (tmp_path / "photos-1" / "evaluation.json").exists()
    assert (tmp_path / "photos-1" / "report.html").exists()
    paths = [tmp_path / "photos-1" / name / "model.safetensors" for name in ("best", "last")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_parts_that_the_folder_has_are_kept(tmp_path: Path):
    for part, start in (("train", 0), ("val", 20), ("test", 40)):
        digit_pictures(tmp_path / "photos" / part, count=20, start=start)
    result = succeed("train", tmp_path / "photos", "--epochs", "1", "--runs", tmp_path / "runs", "--threads", "1")
    assert "60 for train, 60 for validation, 60 for test" in result.stderr
    rows = list(csv.DictReader((tmp_path / "runs" / "photos-1" / "split.csv").read_text().splitlines()))
    assert {(row["path"].split("/")[0], row["split"]) for row in rows} == {
        ("train", "train"), ("val", "validation"), ("test", "test"),
    }  # fmt: skip
