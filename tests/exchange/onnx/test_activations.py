"""Activations against ONNX Runtime: in both orders of axes, of every rank, and at infinities and NaN."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.nn.equations.notation import text_of
from support.onnx_nodes import assert_one, assert_same, by_pellucid, network, one

EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 3.0, -3.0, 90.0, -90.0], np.float32)

ACTIVATIONS = [
    ("Relu", {}),
    ("LeakyRelu", {}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("Elu", {}),
    ("Elu", {"alpha": 2.0}),
    ("Selu", {}),
    ("Selu", {"alpha": 2.0, "gamma": 0.5}),
    ("Celu", {"alpha": 2.0}),
    ("Sigmoid", {}),
    ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSwish", {}),
    ("Tanh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Mish", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("ThresholdedRelu", {}),
    ("ThresholdedRelu", {"alpha": 0.3}),
    ("Shrink", {"lambd": 0.7, "bias": 0.2}),
]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(6).normal(0, 2, shape).astype(np.float32)


def texts(op: str, shape: tuple[int, ...], opset: int = 20, **attributes) -> list[str]:
    """The equations that a node becomes."""
    x = np.zeros(shape, np.float32)
    traced = trace(
        read(one(op, [x], opset=opset, **attributes)), {"x0": Open(shape, x.dtype, tuple(range(len(shape))))}
    )
    return [text_of(formula) for place in traced.places for formula in place.layer.stage().system.equations]


@pytest.mark.parametrize(("op", "attributes"), ACTIVATIONS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
def test_activations(op, attributes, shape):
    assert_one(op, [np.asarray(floats(*shape))], opset=20, **attributes)


@pytest.mark.parametrize(("op", "attributes"), ACTIVATIONS)
def test_activations_at_the_edges(op, attributes):
    """NaN goes through, but for those that are 0 where a comparison fails; what is infinite is not multiplied by 0."""
    (found,) = by_pellucid(one(op, [EDGES], opset=20, **attributes), {"x0": EDGES})
    assert np.isnan(found[0]) == (op not in ("ThresholdedRelu", "Shrink"))
    if op not in ("Softsign", "Gelu", "Mish"):
        assert not np.isnan(found[1:]).any()


def test_swish_with_a_factor():
    x = floats(3, 4)
    (found,) = by_pellucid(one("Swish", [x], opset=24, alpha=1.5), {"x0": x})
    np.testing.assert_allclose(found, x / (1 + np.exp(-1.5 * x)), rtol=1e-5)


@pytest.mark.parametrize("slope", [(3, 1, 1), (1,), (4,), (3, 5, 4), (1, 1, 1)])
def test_learnt_slopes(slope):
    x = floats(2, 3, 5, 4)
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["y"])]
    assert_same(network(nodes, {"x": x}, initialisers={"slope": floats(*slope)}), {"x": x})
    assert_one("PRelu", [x, floats(*slope)])


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 5, 1, 1)])
def test_over_an_axis(op, axis, opset, shape):
    if opset < 11:
        axis = axis % len(shape)
    x = floats(*shape).round(1)
    assert_one(op, [x], opset=opset, axis=axis, atol=1e-5)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_over_the_axis_that_is_the_default(op, opset):
    assert_one(op, [floats(2, 3, 4)], opset=opset, atol=1e-5)


def test_activations_where_channels_stand_last():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("PRelu", ["c", "slope"], ["p"]),
        helper.make_node("Softmax", ["c"], ["s"], axis=1),
        helper.make_node("Softmax", ["c"], ["t"], axis=3),
        helper.make_node("Hardmax", ["c"], ["h"], axis=1),
    ]
    x = floats(2, 3, 5, 4)
    known = {"w": floats(4, 3, 2, 2), "slope": floats(4, 1, 1)}
    model = network(nodes, {"x": x}, initialisers=known, outputs=["r", "p", "s", "t", "h"])
    assert_same(model, {"x": x}, rtol=1e-4, atol=1e-5)


def test_equations_are_those_of_the_layers():
    assert texts("Relu", (2, 3)) == ["z[n,c] = max(x[n,c], 0)"]
    assert texts("HardSigmoid", (2, 3), alpha=1 / 6) == ["z[n,c] = min(max(x[n,c] + 3, 0), 6) / 6"]
    assert texts("HardSigmoid", (2, 3)) == ["z[n,c] = min(max(A*x[n,c] + B, 0), 1)"]
    assert texts("Clip", (2, 3), opset=7, min=0.0, max=6.0) == ["z[n,c] = min(max(x[n,c], 0), 6)"]
    assert texts("Clip", (2, 3), opset=7, min=0.0, max=5.0) == ["z[n,c] = min(max(x[n,c], LO), HI)"]


def test_refused_attributes():
    with pytest.raises(ArgumentError) as caught:
        by_pellucid(one("Celu", [EDGES], alpha=-1.0), {"x0": EDGES})
    assert str(caught.value) == "node 'celu' (Celu): `alpha` (=-1.0) must be greater than 0"
