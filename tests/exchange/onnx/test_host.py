"""What NumPy computes beside the network: integers, truths, shapes, constants; against ONNX Runtime and by hand."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pellucid.errors import DataError, OutOfMemoryError
from pellucid.exchange.onnx import Limits, load
from support.onnx_nodes import assert_one, assert_same, by_pellucid, network, one

A = np.array([[7, -7, 7, -7], [0, 5, -2147483648, 3]], np.int32)
B = np.array([[2, 2, -2, -2], [3, 1, 7, -3]], np.int32)
X = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
TRUTHS = np.array([[True, False, True, False]]), np.array([[True], [False]])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((op, [A, B], {}) for op in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min")),
    ("Mod", [A, B], {"fmod": 1}),
    ("Div", [A.astype(np.int64), B.astype(np.int64)], {}),
    ("Div", [np.array([200, 7], np.uint8), np.array([3, 2], np.uint8)], {}),
    ("Pow", [ints(2, 3, -2), ints(10, 0, 3)], {}),
    *((op, [A, B], {}) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *((op, list(TRUTHS), {}) for op in ("And", "Or", "Xor", "Equal")),
    ("Not", [TRUTHS[0]], {}),
    ("Abs", [A[0]], {}),
    ("Neg", [A[0]], {}),
    ("Sign", [A], {}),
    ("Relu", [A], {}),
    ("Clip", [A, np.array(-5, np.int32), np.array(4, np.int32)], {}),
    ("BitShift", [np.array([1, 200, 3], np.uint8), np.array([1, 2, 7], np.uint8)], {"direction": "LEFT"}),
    ("BitShift", [np.array([1, 200, 3], np.uint8), np.array([1, 2, 7], np.uint8)], {"direction": "RIGHT"}),
    *((op, [A, B], {}) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    ("BitwiseNot", [A], {}),
    ("Reshape", [X, ints(0, -1, 2)], {}),
    ("Reshape", [X, ints(24)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Flatten", [X], {"axis": -1}),
    ("Transpose", [X], {}),
    ("Transpose", [X], {"perm": [1, 2, 0]}),
    ("Squeeze", [X[:1, :, :1], ints(0, -1)], {}),
    ("Unsqueeze", [X, ints(0, -1)], {}),
    ("Concat", [X, X + 1], {"axis": 1}),
    ("Slice", [X, ints(0, 1), ints(2, 3), ints(0, 2)], {}),
    ("Slice", [X, ints(-1), ints(-100), ints(2), ints(-2)], {}),
    ("Slice", [X, ints(5), ints(0), ints(2), ints(-1)], {}),
    ("Slice", [X, ints(1), ints(2**62), ints(1), ints(2)], {}),
    ("Expand", [X[:, :1], ints(2, 1, 3, 1)], {}),
    ("Tile", [X, ints(1, 2, 3)], {}),
    ("Pad", [X, ints(1, 0, 2, 0, 1, 0), np.array(9, np.int64)], {}),
    ("Pad", [X, ints(0, -1, 0, 1, 0, -2)], {}),
    ("Pad", [X, ints(1, 2, 0, 0, 1, 3)], {"mode": "reflect"}),
    ("Pad", [X, ints(1, 0, 0, 0, 1, 3)], {"mode": "edge"}),
    ("Identity", [X], {}),
    ("DepthToSpace", [np.arange(48, dtype=np.uint8).reshape(1, 8, 2, 3)], {"blocksize": 2}),
    ("DepthToSpace", [np.arange(48, dtype=np.uint8).reshape(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [np.arange(48, dtype=np.uint8).reshape(1, 2, 4, 6)], {"blocksize": 2}),
    ("Gather", [X, np.array([[2, -3], [0, 1]])], {"axis": 1}),
    ("GatherElements", [X, np.array([[[1, -1, 0, 0]]])], {"axis": 1}),
    ("GatherND", [X, np.array([[0, 1], [1, -1]])], {}),
    ("GatherND", [X, np.array([[1], [-1]])], {"batch_dims": 1}),
    ("ScatterElements", [X, np.array([[[1, -1, 0, 0]]]), np.array([[[9, 8, 7, 6]]])], {"axis": 1}),
    ("ScatterElements", [X, np.array([[[1, 1, 0, 0]]]), np.array([[[9, 8, 7, 6]]])], {"axis": 0, "reduction": "add"}),
    ("ScatterND", [X, np.array([[0, 1], [1, -1]]), np.array([[1, 2, 3, 4], [5, 6, 7, 8]])], {}),
    ("Where", [TRUTHS[0], A, B], {}),
    ("NonZero", [A], {}),
    ("NonZero", [TRUTHS[0]], {}),
    ("ArgMax", [A], {"axis": 1}),
    ("ArgMax", [A], {"axis": 1, "select_last_index": 1, "keepdims": 0}),
    ("ArgMin", [A], {"axis": 0}),
    ("CumSum", [X, np.array(1)], {"exclusive": 1, "reverse": 1}),
    ("OneHot", [np.array([1, -1, 5]), np.array(4), ints(3, 8)], {"axis": 0}),
    ("Trilu", [X, np.array(1)], {}),
    ("Trilu", [X, np.array(-1)], {"upper": 0}),
    ("Range", [np.array(3), np.array(-8), np.array(-3)], {}),
    ("Range", [np.float32(0.5), np.float32(3.5), np.float32(0.5)], {}),
    ("Range", [np.array(3), np.array(3), np.array(1)], {}),
    ("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([7], np.int32))}),
    ("ConstantOfShape", [ints()], {}),
    ("EyeLike", [A], {"k": 1}),
    ("EyeLike", [A], {"k": -1, "dtype": TensorProto.DOUBLE}),
    ("Size", [X], {}),
    ("Shape", [X], {}),
    ("Shape", [X], {"start": -2}),
    ("Shape", [X], {"start": 1, "end": -9}),
    ("Compress", [X, np.array([True, False, True])], {"axis": 1}),
    ("Compress", [X, np.array([True, False, True])], {}),
    ("ReverseSequence", [X, ints(1, 2, 0)], {"batch_axis": 1, "time_axis": 0}),
    ("ReverseSequence", [X, ints(1, 3)], {"batch_axis": 0, "time_axis": 1}),
    *((op, [X.astype(np.int32), ints(1)], {}) for op in ("ReduceMax", "ReduceMin", "ReduceProd")),
]


@pytest.mark.parametrize(("op", "arrays", "attributes"), CASES)
def test_integers_truths_and_shapes(op, arrays, attributes):
    assert_one(op, [np.asarray(array) for array in arrays], opset=18, exact=True, **attributes)


@pytest.mark.parametrize("largest", [0, 1])
def test_the_largest_in_order(largest):
    x = np.array([[3, 1, 3, 2, 1], [0, 0, 0, 0, 0]])
    assert_same(one("TopK", [x, ints(4)], outputs=2, axis=1, largest=largest), {"x0": x, "x1": ints(4)}, exact=True)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("in_order", [0, 1])
def test_each_value_once(axis, in_order):
    x = np.array([[3, 1], [3, 1], [2, 9], [0, 7]])
    options = {} if axis is None else {"axis": axis}
    assert_same(one("Unique", [x], outputs=4, sorted=in_order, **options), {"x0": x}, exact=True)


def test_splits():
    x = {"x0": X}
    assert_same(one("Split", [X], outputs=2, opset=17, axis=2), x, exact=True)
    assert_same(one("Split", [X], outputs=2, opset=18, axis=1, num_outputs=2), x, exact=True)
    assert_same(one("Split", [X], outputs=2, opset=11, axis=2, split=[1, 3]), x, exact=True)
    sizes = ints(1, 3)
    assert_same(one("Split", [X, sizes], outputs=2, opset=17, axis=2), {"x0": X, "x1": sizes}, exact=True)


def test_older_forms_with_attributes():
    assert_one("Slice", [X], opset=9, starts=[1, -2], ends=[3, 100], axes=[1, 2], exact=True)
    assert_one("Squeeze", [X[:1]], opset=11, axes=[0], exact=True)
    assert_one("Unsqueeze", [X], opset=11, axes=[1], exact=True)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("value_float", 1.5, np.float32(1.5)),
        ("value_floats", [1.5, 2.5], np.array([1.5, 2.5], np.float32)),
        ("value_int", -3, np.array(-3)),
        ("value_ints", [1, 2**62], np.array([1, 2**62])),
    ],
)
def test_constants(name, value, expected):
    node = helper.make_node("Constant", [], ["y"], **{name: value})
    (found,) = by_pellucid(network([node], {}), {})
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def test_shape_arithmetic_is_known():
    """The rows of a picture, flattened by a shape that follows from the picture's own."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Mul", ["batch", "two"], ["double"]),
        helper.make_node("Unsqueeze", ["double", "axes"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["target"], axis=0),
        helper.make_node("ConstantOfShape", ["target"], ["z"]),
        helper.make_node("Add", ["z", "half"], ["y"]),
    ]
    known = {"zero": np.array(0), "two": np.array(2), "axes": ints(0), "rest": ints(3), "half": np.float32([0.5])}
    x = np.zeros((4, 5), np.float32)
    assert_same(network(nodes, {"x": x}, initialisers=known), {"x": x}, exact=True)


def test_integers_that_each_call_brings_anew():
    """They are computed before the program runs, and go into it as numbers."""
    nodes = [
        helper.make_node("Add", ["n", "n"], ["twice"]),
        helper.make_node("Cast", ["twice"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "f"], ["y"]),
    ]
    x = np.ones((2, 3), np.float32)
    model = network(nodes, {"x": x, "n": ints(1, 2, 3)}, outputs=["y", "twice"])
    with load(model) as net:
        for n in (ints(1, 2, 3), ints(4, 5, 6)):
            y, twice = net.predict(x, n)
            np.testing.assert_array_equal(twice, 2 * n)
            np.testing.assert_array_equal(y, np.broadcast_to(2.0 * n, (2, 3)))


def test_values_that_decide_a_shape_make_another_program():
    model = one("Range", [np.array(0), np.array(3), np.array(1)])
    with load(model) as net:
        for limit in (3, 5, 0):
            np.testing.assert_array_equal(net.predict(np.array(0), np.array(limit), np.array(1)), np.arange(limit))


@pytest.mark.parametrize(
    "kind", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]
)
@pytest.mark.parametrize("saturate", [0, 1])
def test_casts_to_8_bits(kind, saturate):
    """By hand: what is representable stays, what is beyond is the largest, or NaN or infinity."""
    most = float(ml_dtypes.finfo(kind).max)
    infinite = np.inf if kind is ml_dtypes.float8_e5m2 else np.nan
    beyond = most if saturate else infinite
    x = np.array([0.0, 1.0, -1.5, most, -most, 4 * most, -4 * most, np.inf, np.nan], ml_dtypes.bfloat16)
    node = helper.make_node("Cast", ["x"], ["y"], to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)), saturate=saturate)
    (found,) = by_pellucid(network([node], {"x": x}, opset=19), {"x": x})
    expected = np.array([0, 1, -1.5, most, -most, beyond, -beyond, beyond, np.nan])
    np.testing.assert_array_equal(found.astype(np.float64), expected)


def test_casts_of_text():
    text = np.array(["1.5", "-INF", "nan", "1e3"], object)
    (found,) = by_pellucid(one("Cast", [text], opset=13, to=TensorProto.FLOAT), {"x0": text})
    np.testing.assert_array_equal(found, np.array([1.5, -np.inf, np.nan, 1000], np.float32))


@pytest.mark.parametrize(
    ("op", "arrays"),
    [
        ("ConstantOfShape", [ints(2**20, 2**20)]),
        ("Expand", [ints(1), ints(2**40)]),
        ("Tile", [X, ints(2**20, 2**20, 1)]),
        ("Range", [np.array(0), np.array(2**60), np.array(1)]),
        ("Pad", [X, ints(0, 0, 0, 2**39, 0, 0)]),
        ("OneHot", [X, np.array(2**40), ints(0, 1)]),
        ("Add", [np.zeros((2**14, 1), np.int64), np.zeros((1, 2**14), np.int64)]),
        ("Gather", [np.zeros((1, 2**14), np.int64), np.zeros(2**14, np.int64)]),
    ],
)
def test_what_is_too_large_is_refused_before_memory_is_taken(op, arrays):
    """The arrays have names and no declared shapes, since shape inference would refuse some of them."""
    known = {f"x{number}": array for number, array in enumerate(arrays)}
    graph = helper.make_graph(
        [helper.make_node(op, list(known), ["y"], "large")],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(array, name) for name, array in known.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with load(model, limits=Limits(memory=2**28)) as net, pytest.raises(OutOfMemoryError) as caught:
        net.predict()
    assert str(caught.value).startswith(f"node 'large' ({op}): a result of shape (")
    assert str(caught.value).endswith("bytes; at most 268,435,456 are allowed")


@pytest.mark.parametrize(
    ("op", "arrays", "attributes", "message"),
    [
        ("Reshape", [X, ints(5, -1)], {}, "an array of shape (2, 3, 4) cannot have shape (5, -1)"),
        ("Reshape", [X, ints(-1, -1)], {}, "shape (-1, -1) must have one -1 at most, and no other negative extent"),
        ("Gather", [X, ints(3)], {"axis": 1}, "indices from 3 to 3 must be from -3 to 2"),
        ("Tile", [X, ints(1)], {}, "repeats (1,) must be a number from 0 for each axis of shape (2, 3, 4)"),
        ("Range", [np.array(0), np.array(9), np.array(0)], {}, "a range from 0 to 9 in steps of 0 has no end"),
        ("Squeeze", [X, ints(0)], {}, "axis 0 of shape (2, 3, 4) has not the extent 1"),
        ("Slice", [X, ints(0), ints(1), ints(0), ints(0)], {}, "steps (0,) must not be 0"),
        ("ConstantOfShape", [ints(-1)], {}, "a result of shape (-1,) has a negative extent"),
        ("TopK", [X, ints(9)], {}, "k (=9) must be from 0 to 4"),
        ("Transpose", [X], {"perm": [0, 0, 1]}, "`perm` (=(0, 0, 1)) names an axis twice"),
        ("Cast", [X], {"to": 99}, "there is no type of elements with the number 99"),
        ("Concat", [X, X[:1]], {"axis": 1}, "shapes (2, 3, 4), (1, 3, 4) do not fit along axis 1"),
    ],
)
def test_damaged_nodes(op, arrays, attributes, message):
    known = {f"x{number}": array for number, array in enumerate(arrays)}
    outputs = ["y", "z"] if op == "TopK" else ["y"]
    graph = helper.make_graph(
        [helper.make_node(op, list(known), outputs, "bad", **attributes)],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(array, name) for name, array in known.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with load(model) as net, pytest.raises(DataError) as caught:
        net.predict()
    assert str(caught.value) == f"node 'bad' ({op}): {message}"


def test_what_is_too_large_together_is_refused():
    """Each of the arrays is within the limits."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [2**20])
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["v0"])]
    nodes += [helper.make_node("Exp", [f"v{number}"], [f"v{number + 1}"], f"exp{number}") for number in range(20)]
    made = helper.make_tensor_value_info("v20", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [], [made], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with load(model, limits=Limits(memory=2**24)) as net, pytest.raises(OutOfMemoryError) as caught:
        net.predict()
    assert str(caught.value) == (
        "node 'exp3' (Exp): arrays that are known have 16,777,220 bytes; at most 16,777,216 are allowed"
    )
