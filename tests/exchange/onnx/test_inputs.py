"""Inputs that are not float32: as numbers of the program, as what decides shapes, as a training's beginning."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx import load
from pellucid.exchange.onnx.files import read_onnx
from support.onnx_nodes import network


def test_integers_keep_their_digits_in_a_network_of_float64() -> None:
    inputs = {"x": np.ones(3), "count": np.array([2**24 + 1, 2**40 + 1, -3])}
    nodes = [
        helper.make_node("Cast", ["count"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["x", "wide"], ["y"]),
    ]
    found = load(network(nodes, inputs)).predict(**inputs)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, inputs["count"])


def test_an_input_of_bfloat16_is_computed_by_the_program() -> None:
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4).astype(ml_dtypes.bfloat16)
    model = load(network([helper.make_node("Relu", ["x"], ["y"], "relu")], {"x": x}))
    found = model.predict(x)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, np.maximum(x, np.zeros((), x.dtype)))
    assert "relu" in model.summary()


@pytest.mark.parametrize("op", ["Range", "ConstantOfShape", "NonZero"])
def test_a_value_that_decides_a_shape_may_differ_between_calls(op: str) -> None:
    nodes = {
        "Range": [
            helper.make_node("Constant", [], ["from"], value_int=0),
            helper.make_node("Constant", [], ["step"], value_int=1),
            helper.make_node("Range", ["from", "k", "step"], ["made"]),
        ],
        "ConstantOfShape": [
            helper.make_node("Constant", [], ["axes"], value_ints=[0]),
            helper.make_node("Unsqueeze", ["k", "axes"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["made"]),
        ],
        "NonZero": [helper.make_node("NonZero", ["k"], ["made"])],
    }[op]
    last = helper.make_node("Cast", ["made"], ["y"], to=TensorProto.FLOAT)
    first = np.array([1, 0, 2, 0]) if op == "NonZero" else np.array(5)
    second = np.array([0, 3, 4, 5]) if op == "NonZero" else np.array(3)
    model = load(network([*nodes, last], {"k": first}))
    for value in (first, second, first):
        expected = {
            "Range": np.arange,
            "ConstantOfShape": np.zeros,
            "NonZero": lambda k: np.array(np.nonzero(k)),
        }[op](value)
        np.testing.assert_array_equal(model.predict(value), expected.astype(np.float32))


def test_what_is_not_supported_is_named_before_a_training_begins(tmp_path: Path) -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    grid = np.zeros((1, 8, 8, 2), np.float32)
    model = network([helper.make_node("GridSample", ["x", "grid"], ["y"], "sampled")], {"x": x, "grid": grid})
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArgumentError) as caught:
        read_onnx(tmp_path / "net.onnx")
    assert str(caught.value) == (
        f"{tmp_path / 'net.onnx'}: 1 operator of the file is not supported:\n"
        "  GridSample (opset 17; node 'sampled'; nearest supported: Resize)"
    )
