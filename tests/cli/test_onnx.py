"""ONNX files on the command line: `pellucid run`, `pellucid summary`, and a training that begins with one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from pellucid.cli.group import command_line
from pellucid.train import load_classifier, load_digits


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and run folders stand in the folder of the test."""
    monkeypatch.chdir(tmp_path)


def pellucid(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments])


def digits_network(classes: int = 10, size: tuple[int | str, int | str] = (28, 28)) -> bytes:
    """A small classifier of grey pictures of 28x28, that ends with a softmax."""
    random = np.random.default_rng(0)
    known = {
        "w1": random.normal(0, 0.2, (4, 1, 5, 5)), "b1": np.zeros(4),
        "w2": random.normal(0, 0.05, (4 * 6 * 6, classes)), "b2": np.zeros(classes),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c"], name="first"),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "w2", "b2"], ["l"], name="head"),
            helper.make_node("Softmax", ["l"], ["probabilities"], name="softmax"),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, *size])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in known.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def net() -> Path:
    Path("net.onnx").write_bytes(digits_network())
    return Path("net.onnx")


@pytest.fixture
def few_digits() -> Path:
    """200 images for training and 60 for the test, as an .npz file."""
    digits = load_digits()
    np.savez(
        "few.npz",
        x_train=digits.train.images[:200, ..., 0], y_train=digits.train.labels[:200],
        x_test=digits.test.images[:60, ..., 0], y_test=digits.test.labels[:60],
    )  # fmt: skip
    return Path("few.npz")


def test_run_without_arrays_says_what_the_file_takes(net: Path):
    result = pellucid("run", net)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "opset 17, 6 nodes",
        "input\timage\tfloat32 (batch, 1, 28, 28)",
        "output\tprobabilities\tfloat32 (batch, 10)",
    ]


def test_run_writes_what_onnx_runtime_computes(net: Path):
    runtime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(1).normal(size=(3, 1, 28, 28)).astype(np.float32)
    np.save("x.npy", x)
    result = pellucid("run", net, "--input", "x.npy", "--output", "y.npy", "--threads", 1)
    assert result.exit_code == 0, result.output
    expected = runtime.InferenceSession(net.read_bytes()).run(None, {"image": x})[0]
    np.testing.assert_allclose(np.load("y.npy"), expected, rtol=1e-5, atol=1e-7)
    told = result.stdout.split("\t")
    assert told[:2] == ["probabilities", "float32 (3, 10)"]
    assert told[-1].strip() == f"largest at {', '.join(map(str, expected.argmax(1)))}"
    named = pellucid("run", net, "--input", "image=x.npy", "--output", "y.npz", "--json", "--threads", 1)
    assert json.loads(named.stdout)["outputs"]["probabilities"]["shape"] == [3, 10]
    np.testing.assert_array_equal(np.load("y.npz")["probabilities"], np.load("y.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "none.npy"], "none.npy: cannot be read as .npy: [Errno 2] No such file or directory: 'none.npy'"),
        (["--input", "x.npy", "--input", "x.npy"], "2 inputs were given; the network takes image"),
        (["--input", "mask=x.npy"], "the network has no input 'mask'; it takes image"),
        (["--input", "x.npy"], "input 'image' has shape (3, 28, 28); the network takes (batch, 1, 28, 28)"),
        (["--input", "wide.npy"], "input 'image' has dtype int64; the network takes float32"),
        (["--input", "good.npy", "--output", "y.txt"], "`output` (='y.txt') must end with .npy or .npz"),
    ],
)
def test_run_refuses(net: Path, arguments: list[str], message: str):
    np.save("x.npy", np.zeros((3, 28, 28), np.float32))
    np.save("good.npy", np.zeros((1, 1, 28, 28), np.float32))
    np.save("wide.npy", np.zeros((3, 1, 28, 28), np.int64))
    result = pellucid("run", net, *arguments)
    assert result.exit_code == 2
    assert result.stderr == f"error: {message}\n"


def test_a_pickled_array_is_not_read(net: Path):
    np.save("x.npy", np.array([{}], object), allow_pickle=True)
    result = pellucid("run", net, "--input", "x.npy")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: x.npy: cannot be read as .npy: Object arrays cannot be loaded")


def test_summary_shows_every_node_as_its_equation(net: Path):
    result = pellucid("summary", net)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == ["input image float32 (batch, 1, 28, 28)", "output probabilities float32 (batch, 10)"]
    assert "  z[n,i,j,k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c] * w[s,t,c,k] + b[k]" in lines
    assert "  z[n,i,j,c] = max(s,t) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c]" in lines
    first = next(line for line in lines if line.startswith("first ")).split()
    assert first[-2:] == ["104", "57,600"]
    total = next(line for line in lines if line.startswith("total")).split()
    assert total[1:] == ["1,554", "59,040"]


def test_summary_asks_for_extents_that_are_open():
    Path("open.onnx").write_bytes(digits_network(size=("height", "width")))
    result = pellucid("summary", "open.onnx")
    assert result.exit_code == 2
    assert "input 'image' leaves its shape open (batch, 1, height, width)" in result.stderr
    assert pellucid("summary", "open.onnx", "--shape", "1,1,28,28").exit_code == 0
    assert "must be extents, as in 1,3,224,224" in pellucid("summary", "open.onnx", "--shape", "1,1,x").stderr


def test_a_training_begins_with_a_file_and_keeps_its_head(net: Path, few_digits: Path):
    result = pellucid(
        "train", few_digits, "--from", net, "--epochs", 6, "--lr", 0.01, "--name", "run", "--threads", 2, "--seed", 1
    )
    assert result.exit_code == 0, result.output
    assert "a new last layer" not in result.stderr
    accuracy = float(result.stdout.splitlines()[-1].split()[-1].rstrip("%"))
    assert accuracy > 40
    parameters = load_classifier("runs/run").model.parameters
    assert parameters["first.weight"].shape == (5, 5, 1, 4)
    assert pellucid("summary", "runs/run").exit_code == 0
    assert pellucid("resume", "runs/run", "--epochs", 7).exit_code == 0


def test_a_new_head_for_other_classes(few_digits: Path):
    Path("many.onnx").write_bytes(digits_network(classes=1000))
    common = ("--epochs", 1, "--threads", 2, "--freeze", "body")
    result = pellucid("train", few_digits, "--from", "many.onnx", "--head", 10, "--name", "a", *common)
    assert result.exit_code == 0, result.output
    assert "a new last layer for 10 classes" in result.stderr
    model = load_classifier("runs/a").model
    assert model.output_shape == (10,)
    kept = onnx.load("many.onnx").graph.initializer[0]
    np.testing.assert_array_equal(model.parameters["first.weight"], numpy_helper.to_array(kept).transpose(2, 3, 1, 0))
    result = pellucid("train", few_digits, "--from", "many.onnx", "--head", 4, "--name", "b", *common)
    assert result.exit_code == 2
    assert "`head` (=4) must be the number of classes of the data, 10" in result.stderr
    result = pellucid("train", few_digits, "--head", 10, "--name", "c", "--epochs", 1)
    assert result.exit_code == 2
    assert "`head` (=10) is for a network that `from` brings" in result.stderr
    assert not Path("runs/b").exists()


def test_pictures_are_brought_to_the_size_that_is_given(few_digits: Path):
    Path("open.onnx").write_bytes(digits_network(size=("height", "width")))
    common = ("train", few_digits, "--from", "open.onnx", "--epochs", 1, "--threads", 2, "--name", "run")
    result = pellucid(*common)
    assert result.exit_code == 2
    assert "leaves the size of pictures open: give `image_size`" in result.stderr
    assert pellucid(*common, "--image-size", "28").exit_code == 0
