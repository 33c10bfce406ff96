"""Arithmetic, functions, comparison and casts in the program, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from support.onnx_nodes import assert_one, assert_same, by_pellucid, network, one

NAN, INF = np.float32(np.nan), np.float32(np.inf)
EDGES = np.array([NAN, INF, -INF, 0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.0, -3.0, 1e-30, 1e30], np.float32)


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("opset", [7, 13, 14])
@pytest.mark.parametrize(("a", "b"), [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((), (3,))])
def test_arithmetic_is_broadcast(op, opset, a, b):
    assert_one(op, [floats(*a), floats(*b, low=0.5)], opset=opset)


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_several_operands(op, count):
    arrays = [np.roll(floats(2, 1, 4), number) if number % 2 else floats(3, 1) - number for number in range(count)]
    assert_one(op, arrays, opset=13)


def test_several_operands_with_nan():
    x, y = np.meshgrid(EDGES, EDGES)
    for op in ("Max", "Min"):
        (found,) = by_pellucid(one(op, [x, y]), {"x0": x, "x1": y})
        with np.errstate(invalid="ignore"):
            expected = np.maximum(x, y) if op == "Max" else np.minimum(x, y)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("op", "low", "high"),
    [
        ("Sqrt", 0.0, 4.0),
        ("Exp", -5.0, 5.0),
        ("Log", 0.01, 9.0),
        ("Abs", -2.0, 2.0),
        ("Neg", -2.0, 2.0),
        ("Reciprocal", 0.3, 2.0),
        ("Erf", -3.0, 3.0),
        ("Sign", -2.0, 2.0),
        ("Floor", -9.0, 9.0),
        ("Ceil", -9.0, 9.0),
        ("Round", -9.0, 9.0),
        ("Sin", -5.0, 5.0),
        ("Cos", -5.0, 5.0),
        ("Tan", -1.2, 1.2),
        ("Sinh", -3.0, 3.0),
        ("Cosh", -3.0, 3.0),
        ("Asinh", -30.0, 30.0),
        ("Acosh", 1.0, 30.0),
        ("Atanh", -0.95, 0.95),
    ],
)
def test_functions(op, low, high):
    assert_one(op, [floats(3, 5, low=low, high=high)], opset=13)
    assert_one(op, [np.float32(high).reshape(())], opset=13)


@pytest.mark.parametrize("op", ["Abs", "Neg", "Floor", "Ceil", "Round", "Sqrt", "Exp", "Sinh"])
def test_functions_at_the_edges(op):
    assert_one(op, [EDGES], opset=13, rtol=1e-5)


@pytest.mark.parametrize("op", ["Asinh", "Acosh"])
def test_inverse_hyperbolic_functions_of_what_is_large(op):
    x = np.array([1e5, 1e10, 1e30], np.float32)
    (found,) = by_pellucid(one(op, [x]), {"x0": x})
    np.testing.assert_allclose(found, np.log(2 * x.astype(np.float64)), rtol=1e-6)


def test_half_a_unit_goes_to_the_even_neighbour():
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, -0.49999997, 8388607.5, 3.4e38], np.float32)
    (found,) = by_pellucid(one("Round", [x]), {"x0": x})
    np.testing.assert_array_equal(found, np.rint(x))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (floats(3, 4, low=0.1), floats(4)),
        (floats(3, 4), np.float32(2.0).reshape(())),
        (floats(3, 4), np.array([2.0, 3.0, 0.0, -1.0], np.float32)),
        (floats(4, low=1.0), np.array([1, 2, 3, -2], np.int64)),
        (np.array([1, 2, 3, 4], np.int32), np.array([2.0, 0.5, 1.0, 2.0], np.float32)),
    ],
)
def test_powers(x, y):
    assert_one("Pow", [x, y], opset=15)


@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_of_floats(fmod):
    """Against NumPy: before opset 28 floats need `fmod`, and ONNX Runtime follows that."""
    x = np.array([5.3, -5.3, 5.3, -5.3, 6.0, -6.0, 0.0, INF, 2.0, NAN, 0.3, 7.0], np.float32)
    y = np.array([2.0, 2.0, -2.0, -2.0, 3.0, 3.0, 3.0, 2.0, INF, 1.0, 0.1, 0.7], np.float32)
    with np.errstate(invalid="ignore"):
        expected = np.fmod(x, y) if fmod else np.where(np.isinf(y), x, np.mod(x, y))
    (found,) = by_pellucid(one("Mod", [x, y], opset=28, fmod=fmod), {"x0": x, "x1": y})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    if not fmod:
        with pytest.raises(DataError, match="attribute `fmod` \\(=0\\) must be 1 for floating-point numbers"):
            by_pellucid(one("Mod", [x, y], opset=13), {"x0": x, "x1": y})


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons(op):
    x, y = np.meshgrid(EDGES, EDGES)
    assert_one(op, [x, y], opset=16, exact=True)
    assert_one(op, [floats(2, 3).round(), floats(3).round()], opset=13, exact=True)


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic_of_what_the_network_compares(op):
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["a"]),
        helper.make_node("Less", ["x", "one"], ["b"]),
        helper.make_node("Not", ["b"], ["c"]),
        helper.make_node(op, ["a", "c"], ["y"]),
    ]
    x = floats(4, 5)
    zero, unit = np.zeros(1, np.float32), np.full((1, 5), 0.5, np.float32)
    assert_same(network(nodes, {"x": x}, initialisers={"zero": zero, "one": unit}), {"x": x}, exact=True)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_infinities_are_found(positive, negative):
    options = {"detect_positive": positive, "detect_negative": negative}
    assert_one("IsInf", [EDGES], opset=10, exact=True, **options)
    assert_one("IsNaN", [EDGES], opset=13, exact=True)


@pytest.mark.parametrize(
    "kind",
    [
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.BOOL,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
    ],
)
def test_casts_of_what_the_network_computes(kind):
    assert_one("Cast", [floats(4, 5, low=0.0, high=200.0)], opset=13, to=kind, exact=True)


def test_casts_there_and_back():
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Div", ["whole", "three"], ["third"]),
        helper.make_node("Cast", ["third"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("CastLike", ["x", "three"], ["z"]),
    ]
    x = floats(3, 4, low=-20, high=20)
    model = network(
        nodes, {"x": x}, initialisers={"three": np.array(3, np.int32)}, outputs=["third", "y", "z"], opset=15
    )
    assert_same(model, {"x": x}, exact=True)


def test_a_number_of_8_bits_leaves_the_network_and_is_not_computed_with():
    x = np.array([0.1, -1e9, INF, NAN, 447.0, 17.0], np.float32)
    (found,) = by_pellucid(one("Cast", [x], opset=19, to=TensorProto.FLOAT8E4M3FN), {"x0": x})
    np.testing.assert_array_equal(found.astype(np.float32), np.array([0.1015625, -448, 448, NAN, 448, 16], np.float32))
    nodes = [
        helper.make_node("Cast", ["x"], ["small"], to=TensorProto.FLOAT8E4M3FN),
        helper.make_node("Cast", ["small"], ["y"], "back", to=TensorProto.FLOAT),
    ]
    with pytest.raises(ArgumentError) as caught:
        by_pellucid(network(nodes, {"x": x}, opset=19), {"x": x})
    assert str(caught.value) == (
        "node 'back' (Cast): numbers that the network computes are not cast from float8_e4m3fn to float32"
    )


@pytest.mark.parametrize(
    ("opset", "inputs", "attributes"),
    [
        (7, [], {"min": -0.5, "max": 0.5}),
        (7, [], {"min": 0.0}),
        (7, [], {"min": 0.0, "max": float("inf")}),
        (7, [], {}),
        (11, [np.float32(0), np.float32(6)], {}),
        (13, [np.float32(-0.3), None], {}),
        (13, [None, np.float32(0.3)], {}),
        (13, [np.float32(0.5), np.float32(-0.5)], {}),
    ],
)
def test_clip(opset, inputs, attributes):
    arrays = [None if value is None else np.asarray(value) for value in inputs]
    names = ["x", *("" if array is None else f"b{number}" for number, array in enumerate(arrays))]
    known = {f"b{number}": array for number, array in enumerate(arrays) if array is not None}
    x = 5 * floats(3, 4)
    nodes = [helper.make_node("Clip", names, ["y"], **attributes)]
    assert_same(network(nodes, {"x": x}, initialisers=known, opset=opset), {"x": x}, exact=True)


def test_clip_between_numbers_that_are_computed():
    x, low = floats(3, 4), np.float32(0.2).reshape(())
    nodes = [helper.make_node("Neg", ["low"], ["lower"]), helper.make_node("Clip", ["x", "lower", "low"], ["y"])]
    assert_same(network(nodes, {"x": x, "low": low}), {"x": x, "low": low})


def test_channels_last_meets_channels_first():
    """Values that stand in memory in different orders of axes."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "x"], ["s"]),
        helper.make_node("Mul", ["s", "channel"], ["m"]),
        helper.make_node("Sub", ["m", "row"], ["y"]),
    ]
    x = floats(2, 3, 5, 4)
    known = {"w": floats(3, 3, 3, 3), "channel": floats(3, 1, 1), "row": floats(4)}
    assert_same(network(nodes, {"x": x}, initialisers=known), {"x": x}, rtol=1e-4, atol=1e-5)


def test_what_is_added_and_multiplied_is_trained():
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "times"),
        helper.make_node("Add", ["m", "shift"], ["a"], "plus"),
        helper.make_node("Sub", ["a", "mean"], ["s"], "minus"),
        helper.make_node("Mul", ["s", "two"], ["y"], "twice"),
    ]
    x = floats(2, 3)
    known = {"scale": floats(3), "shift": floats(3), "mean": floats(3), "two": np.float32([2])}
    graph = read(network(nodes, {"x": x}, initialisers=known))
    traced = trace(graph, {"x": Open(x.shape, x.dtype, (0, 1))})
    parameters = {
        f"{place.name}.{parameter.name}": parameter.trained
        for place in traced.places
        for parameter in place.layer.stage().parameters
    }
    assert parameters == {"times.scale": True, "plus.bias": True, "minus.y": False}


def test_shapes_that_do_not_fit_are_named():
    nodes = [helper.make_node("Add", ["x", "x1"], ["y"], "sum")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "x1")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(ShapeError) as caught:
        by_pellucid(model, {"x": floats(2, 3), "x1": floats(4)})
    assert str(caught.value) == "node 'sum' (Add): shapes (2, 3), (4,) do not broadcast to one"


def test_arrays_without_elements():
    assert_one("Add", [floats(0, 3), floats(3)])
    assert_one("Relu", [floats(2, 0)])
    assert_one("Equal", [floats(0), floats(1)], exact=True)
