"""`pellucid export`: a run as a file, and what ONNX Runtime gives beside the model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pellucid.cli import export
from pellucid.cli.group import command_line
from pellucid.train import load_classifier
from train.pictures import digit_pictures

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1", "--seed", "1")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a run trained on them."""
    folder = tmp_path_factory.mktemp("place")
    digit_pictures(folder / "photos", count=30)
    result = command("train", folder / "photos", *QUICK, "--name", "run", "--runs", folder / "runs")
    assert result.exit_code == 0, result.output
    return folder


def test_the_file_gives_what_the_model_gives(place: Path, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "out.onnx"
    result = command("export", place / "runs" / "run", file)
    assert result.exit_code == 0, result.output
    size, measured = result.stdout.splitlines()
    assert size == f"{file}: {file.stat().st_size:,} bytes"
    found = re.fullmatch(
        r"largest difference from onnxruntime (\S+) on (\d+) images: (\S+), of outputs up to (\S+)", measured
    )
    assert found is not None, measured
    assert found[1] == onnxruntime.__version__
    assert 10 <= int(found[2]) <= 32
    assert 0 <= float(found[3]) < 1e-4
    message = onnx.load(file)
    onnx.checker.check_model(message, full_check=True)
    facts = {entry.key: json.loads(entry.value) for entry in message.metadata_props}
    assert facts["class_names"] == ["0", "1", "2"]
    assert facts["preprocessing"]["color"] == "gray"
    assert not [node.op_type for node in message.graph.node if node.domain]


def test_pictures_go_in_and_probabilities_come_out(place: Path, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "out.onnx"
    result = command("export", place / "runs" / "run", file, "--with-preprocessing", "--json", "--opset", 18)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["difference"] < 1e-5
    assert said["largest"] <= 1
    one = next((place / "photos" / "1").iterdir())
    pixels = np.asarray(Image.open(one).convert("RGB"))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": pixels[None]})
    (wanted,) = load_classifier(place / "runs" / "run").predict([one])
    np.testing.assert_allclose(found[0], wanted.probabilities, atol=1e-3)


def test_what_cannot_be_compared_is_said(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    shutil.copytree(place / "runs" / "run" / "best", tmp_path / "alone")
    file = tmp_path / "out.onnx"
    result = command("export", tmp_path / "alone", file)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{file}: {file.stat().st_size:,} bytes"]
    assert result.stderr.splitlines() == [
        f"not compared: the run's own images are not there: {tmp_path / 'alone'}: is no run folder: it has no "
        "config.toml"
    ]
    monkeypatch.setattr(export, "find_spec", lambda _: None)
    result = command("export", place / "runs" / "run", file)
    assert result.stderr.splitlines() == ["not compared: onnxruntime is not installed"]


def test_refusals(place: Path, tmp_path: Path):
    run = place / "runs" / "run"
    result = command("export", run, tmp_path / "out.onnx", "--opset", 7)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: `opset` (=7) must be from 13 to ")
    result = command("export", tmp_path, tmp_path / "out.onnx")
    assert result.exit_code == 2
    assert "is neither a run folder nor that of a model" in result.stderr
    result = command("export", run, tmp_path / "nowhere" / "out.onnx")
    assert result.exit_code == 2
    assert result.stderr.endswith("out.onnx: cannot be written: No such file or directory\n")
    assert not (tmp_path / "out.onnx").exists()
