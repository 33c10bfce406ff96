"""The interface of onnx's conformance tests: what a test runner, and whoever else uses it, finds."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.onnx.backend import Backend
from support.onnx_nodes import network

X = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
MODEL = network(
    [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("Relu", ["d"], ["r"])],
    {"a": X, "b": X},
    outputs=["d", "r"],
)


def test_inputs_in_order_by_name_or_alone():
    prepared = Backend.prepare(MODEL)
    for inputs in ([X, 2 * X], (X, 2 * X), {"b": 2 * X, "a": X}):
        found = prepared.run(inputs)
        np.testing.assert_array_equal(found[0], -X)
        np.testing.assert_array_equal(found[1], np.maximum(-X, 0))
        np.testing.assert_array_equal(found.r, found["r"])
    only = network([helper.make_node("Relu", ["x"], ["y"])], {"x": X})
    np.testing.assert_array_equal(Backend.run_model(only, X)[0], np.maximum(X, 0))


def test_one_node():
    (found,) = Backend.run_node(helper.make_node("Add", ["x", "y"], ["z"]), [X, X])
    np.testing.assert_array_equal(found, 2 * X)
    node = helper.make_node("Clip", ["x"], ["y"], min=0.0, max=2.0)
    np.testing.assert_array_equal(Backend.run_node(node, [X], opset_version=7)[0], X.clip(0, 2))
    node = helper.make_node("TopK", ["x", "k"], ["", "i"], axis=1)
    info = [(np.dtype(np.int64), (2, 1))]
    np.testing.assert_array_equal(Backend.run_node(node, [X, np.array([1])], outputs_info=info)[0], [[0], [1]])


def test_the_cpu_alone():
    assert Backend.supports_device("CPU")
    assert Backend.supports_device("CPU:0")
    assert not Backend.supports_device("CUDA")
    with pytest.raises(BackendIsNotSupposedToImplementIt) as caught:
        Backend.prepare(MODEL, "CUDA:1")
    assert str(caught.value) == "`device` (='CUDA:1') must be 'CPU'"


def test_what_is_not_supported_is_a_skip_that_says_what():
    node = helper.make_node("Acos", ["x"], ["y"], "angle")
    with pytest.raises(BackendIsNotSupposedToImplementIt) as caught:
        Backend.run_node(node, [X])
    assert str(caught.value) == "node 'angle' (Acos) is supported on integers and known arrays alone"
    assert isinstance(caught.value.__cause__, ArgumentError)
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="NonMaxSuppression"):
        Backend.prepare(network_of("NonMaxSuppression"))


def test_damage_is_an_error():
    with pytest.raises(DataError):
        Backend.prepare(network_of("Relu", outputs=["nothing"]))


def test_older_operator_sets_are_converted():
    """Before opset 7, what is added had to say along which axis."""
    node = helper.make_node("Add", ["x", "y"], ["z"], broadcast=1, axis=0)
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [2, 2]), ("y", [2]))
    ]
    made = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([node], "g", ports, [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)])
    (found,) = Backend.run_model(model, [X, np.array([10, 20], np.float32)])
    np.testing.assert_array_equal(found, X + np.array([[10], [20]]))


def network_of(op: str, outputs: list[str] | None = None):
    """A node that reads `x` and makes `y`; not checked."""
    names = ["x", "y"] if outputs is None else ["x", *outputs]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in names]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
