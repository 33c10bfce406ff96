"""Reductions in the program against ONNX Runtime: axes as an attribute and as an input, kept and dropped."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pellucid.errors import DataError
from support.onnx_nodes import assert_one, assert_same, by_pellucid, network, one

REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(0.5, 1.5, shape).astype(np.float32)


def reduced(op: str, axes: list[int] | None, opset: int, **attributes) -> helper.NodeProto:
    """A node with its axes where the opset has them."""
    by_input = opset >= (13 if op == "ReduceSum" else 18)
    given = {} if by_input or axes is None else {"axes": axes}
    return helper.make_node(op, ["x", "axes"] if by_input and axes is not None else ["x"], ["y"], **given, **attributes)


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, [1], [0, -1], [2, 0, 1]])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reductions(op, axes, keepdims, opset):
    x = floats(3, 4, 5)
    known = {} if axes is None else {"axes": np.array(axes, np.int64)}
    node = reduced(op, axes, opset, keepdims=keepdims)
    known = known if "axes" in node.input else {}
    assert_same(network([node], {"x": x}, initialisers=known, opset=opset), {"x": x})


@pytest.mark.parametrize("op", REDUCTIONS)
def test_no_axes_at_all(op):
    x = -floats(2, 3) if op not in ("ReduceLogSum",) else floats(2, 3)
    expected = {"ReduceL1": np.abs, "ReduceL2": np.abs, "ReduceLogSum": np.log, "ReduceSumSquare": np.square}
    node = helper.make_node(op, ["x", "axes"], ["y"], noop_with_empty_axes=1)
    model = network([node], {"x": x}, initialisers={"axes": np.zeros(0, np.int64)}, opset=18)
    (found,) = by_pellucid(model, {"x": x})
    np.testing.assert_allclose(found, expected.get(op, np.asarray)(x), rtol=1e-6)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_where_channels_stand_last(op):
    x = floats(2, 3, 5, 4)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node(op, ["c"], ["channels"], axes=[1], keepdims=1),
        helper.make_node(op, ["c"], ["rows"], axes=[2], keepdims=0),
        helper.make_node(op, ["c"], ["pictures"], axes=[2, 3], keepdims=1),
    ]
    known = {"w": floats(4, 3, 2, 2) / 8}
    outputs = ["channels", "rows", "pictures"]
    model = network(nodes, {"x": x}, initialisers=known, outputs=outputs, opset=11)
    assert_same(model, {"x": x}, rtol=1e-4)


@pytest.mark.parametrize("extent", [1, 2, 7, 8, 9, 17, 65, 129])
def test_products_of_any_number_of_factors(extent):
    x = np.where(np.arange(2 * extent) % 5 == 0, -1.25, 0.9).astype(np.float32).reshape(2, extent)
    (found,) = by_pellucid(one("ReduceProd", [x], opset=11, axes=[1], keepdims=0), {"x0": x})
    np.testing.assert_allclose(found, x.astype(np.float64).prod(1), rtol=1e-5)
    whole = np.ones((2, extent), np.float32)
    whole[0, extent // 2] = 0
    (found,) = by_pellucid(one("ReduceProd", [whole], opset=11, axes=[1], keepdims=0), {"x0": whole})
    np.testing.assert_array_equal(found, [0, 1])


def test_logarithms_of_sums_do_not_overflow():
    x = np.array([[1000, 999], [-1000, -1001], [-np.inf, -np.inf], [np.inf, 0]], np.float32)
    (found,) = by_pellucid(one("ReduceLogSumExp", [x], opset=11, axes=[1], keepdims=0), {"x0": x})
    np.testing.assert_allclose(found, [1000.31326, -999.68674, -np.inf, np.inf], rtol=1e-6)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums(exclusive, reverse, axis):
    x = floats(3, 4, 5)
    node = helper.make_node("CumSum", ["x", "axis"], ["y"], exclusive=exclusive, reverse=reverse)
    assert_same(network([node], {"x": x}, initialisers={"axis": np.array(axis)}), {"x": x})


@pytest.mark.parametrize("extent", [1, 2, 8, 9, 64, 65, 600])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums_of_any_length(extent, exclusive, reverse):
    """Of whole numbers: exact."""
    x = np.random.default_rng(2).integers(-9, 9, (extent, 3)).astype(np.float32)
    node = helper.make_node("CumSum", ["x", "axis"], ["y"], exclusive=exclusive, reverse=reverse)
    assert_same(network([node], {"x": x}, initialisers={"axis": np.array(0)}), {"x": x}, exact=True)


def test_reductions_of_arrays_without_elements():
    for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"):
        x = np.zeros((2, 0, 3), np.float32)
        (found,) = by_pellucid(one(op, [x], opset=11, axes=[1]), {"x0": x})
        neutral = {"ReduceMax": -np.inf, "ReduceMin": np.inf}.get(op, 0)
        np.testing.assert_array_equal(found, np.full((2, 1, 3), neutral))


def test_integers_and_truths_are_reduced_beside_the_network():
    x = np.array([[2**60, 1], [3, -7]], np.int64)
    (found,) = by_pellucid(one("ReduceSum", [x], opset=11, axes=[1]), {"x0": x})
    np.testing.assert_array_equal(found, [[2**60 + 1], [-4]])
    assert_one("ReduceMax", [x.astype(np.int32)], opset=11, axes=[0], keepdims=0, exact=True)
    assert_one("ReduceProd", [x.astype(np.int32)], opset=11, exact=True)


def test_axes_that_are_not_there():
    x = floats(2, 3)
    with pytest.raises(DataError) as caught:
        by_pellucid(reduced_beyond(x), {"x": x})
    assert str(caught.value) == "node 'total' (ReduceSum): `axes` (=2) must be from -2 to 1"


def reduced_beyond(x: np.ndarray):
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], "total")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, x.shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        [helper.make_tensor("axes", 7, [1], [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
