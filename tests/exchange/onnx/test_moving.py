"""Operators of a file that join, cut, pad, repeat and rearrange, against ONNX Runtime."""

from math import prod
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from pellucid.errors import DataError, PellucidError, ShapeError
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.exchange.onnx.values import channels_last, standing
from support.onnx_files import agrees, model_of, own_outputs


def _counted(*shape: int) -> Any:
    return np.arange(1, 1 + prod(shape), dtype=np.float32).reshape(shape)


def _integers(*values: int) -> Any:
    return np.array(values, np.int64)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("known", [(), ("b",), ("a", "b")])
def test_concat(axis: int, known: tuple[str, ...]) -> None:
    shapes = {"a": [2, 3, 4], "b": [2, 3, 4], "c": [2, 3, 4]}
    shapes["b"][axis] = 1
    shapes["c"][axis] = 5
    inputs = {name: _counted(*shape) for name, shape in shapes.items()}
    agrees(model_of("Concat", inputs, {"axis": axis}, opset=13, known=known), inputs)


def test_concat_of_one_of_the_same_and_of_none() -> None:
    inputs = {"a": _counted(2, 3), "b": np.zeros((0, 3), np.float32), "c": _counted(1, 3)}
    agrees(model_of("Concat", inputs, {"axis": 0}, opset=13, known=("b",)), inputs)
    agrees(model_of("Concat", {"a": _counted(2, 3)}, {"axis": 1}, opset=13), inputs)
    node = helper.make_node("Concat", ["a", "a"], ["y"], axis=1)
    ports = [helper.make_tensor_value_info(name, 1, None) for name in "ay"]
    graph = helper.make_graph([node], "twice", ports[:1], ports[1:])
    agrees(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), inputs)


@pytest.mark.parametrize(("opset", "sizes"), [(11, [1, 4, 2]), (13, [1, 4, 2]), (13, [7, 0, 0]), (18, [2, 2, 3])])
@pytest.mark.parametrize("axis", [1, -1])
def test_split(opset: int, sizes: list[int], axis: int) -> None:
    shape = [2, 5, 4]
    shape[axis] = 7
    inputs: dict[str, Any] = {"x": _counted(*shape)}
    attributes: dict[str, Any] = {"axis": axis}
    if opset < 13:
        attributes["split"] = sizes
    else:
        inputs["split"] = _integers(*sizes)
    outputs = tuple((name, np.float32) for name in "abc")
    agrees(model_of("Split", inputs, attributes, opset=opset, known=("split",), outputs=outputs), inputs)


@pytest.mark.parametrize(("opset", "extent"), [(11, 6), (13, 6), (18, 6), (18, 8)])
def test_split_in_equal_parts(opset: int, extent: int) -> None:
    inputs = {"x": _counted(2, extent)}
    attributes = {"axis": 1} | ({"num_outputs": 3} if opset == 18 else {})
    outputs = tuple((name, np.float32) for name in "abc")
    agrees(model_of("Split", inputs, attributes, opset=opset, outputs=outputs), inputs)
    # Not for ONNX Runtime: an output without a name ends its process.
    model = model_of("Split", inputs, attributes, opset=opset, outputs=(outputs[0], ("", np.float32), outputs[2]))
    (first, last), size = own_outputs(model, inputs), -(-extent // 3)
    np.testing.assert_array_equal(first, inputs["x"][:, :size])
    np.testing.assert_array_equal(last, inputs["x"][:, 2 * size :])


SLICES = [
    ([1], [3], None, None),
    ([0, 1], [2, 5], None, [1, 2]),
    ([-3], [2**63 - 1], [1], [1]),
    ([-1], [-(2**63)], [1], [-1]),
    ([5, -2], [0, -9], [1, 2], [-2, -1]),
    ([2], [1000], [-1], [2**62]),
    ([-1000], [1000], [0], [1]),
    ([3, 1, 0], [4, 3, 1], [2, 1, 0], [1, 1, 1]),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), SLICES)
def test_slice(starts: Any, ends: Any, axes: Any, steps: Any) -> None:
    inputs: dict[str, Any] = {"x": _counted(3, 6, 4), "starts": _integers(*starts), "ends": _integers(*ends)}
    inputs["axes"] = None if axes is None else _integers(*axes)
    inputs["steps"] = None if steps is None else _integers(*steps)
    known = tuple(name for name in inputs if name != "x")
    agrees(model_of("Slice", inputs, opset=13, known=known), inputs)


def test_slice_by_attributes_and_by_inputs_that_vary() -> None:
    x = _counted(3, 6, 4)
    (y,) = own_outputs(
        model_of("Slice", {"x": x}, {"starts": [1, -2], "ends": [9, 4], "axes": [1, 2]}, opset=9), {"x": x}
    )
    np.testing.assert_array_equal(y, x[:, 1:, -2:])
    inputs = {"x": x, "starts": _integers(1), "ends": _integers(3)}
    agrees(model_of("Slice", inputs, opset=13), inputs, inputs | {"starts": _integers(2)})


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize(
    "pads", [[0, 0, 1, 2, 0, 0, 2, 1], [0, 1, 0, 3, 0, 0, 2, 0], [1, 0, -1, 0, 0, 2, 2, -2], [0] * 8]
)
@pytest.mark.parametrize("value", [None, 0.0, 7.5])
def test_pad(mode: str, pads: list[int], value: float | None) -> None:
    if value and mode != "constant":
        return
    inputs: dict[str, Any] = {"x": _counted(2, 3, 4, 5), "pads": _integers(*pads)}
    inputs["value"] = None if value is None else np.float32(value)
    model = model_of("Pad", inputs, {"mode": mode}, opset=19, known=("pads", "value"))
    if mode == "constant":
        return agrees(model, inputs)
    # NumPy pads the axes that are cut first.
    x = inputs["x"]
    for axis in range(4):
        before, after = pads[axis], pads[4 + axis]
        x = np.take(x, range(max(0, -before), x.shape[axis] - max(0, -after)), axis)
    sides = [(max(0, pads[axis]), max(0, pads[4 + axis])) for axis in range(4)]
    if mode == "edge" or min(pads) >= 0:
        np.testing.assert_array_equal(own_outputs(model, inputs)[0], np.pad(x, sides, mode))
    return None


def test_pad_by_attributes_along_axes_and_with_a_computed_value() -> None:
    x = _counted(2, 3)
    (y,) = own_outputs(model_of("Pad", {"x": x}, {"pads": [0, 1, 2, 0], "value": 3.0}, opset=10), {"x": x})
    np.testing.assert_array_equal(y, np.pad(x, [(0, 2), (1, 0)], constant_values=3))
    inputs = {"x": x, "pads": _integers(1, 2), "value": np.array(-np.inf, np.float32), "axes": _integers(-1)}
    agrees(
        model_of("Pad", inputs, opset=18, known=("pads", "axes")), inputs, inputs | {"value": np.array(4, np.float32)}
    )


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 1), (5, 1, 3, 4), (1,), (1, 1, 1, 1)])
def test_expand(shape: Any) -> None:
    inputs = {"x": _counted(1, 3, 1), "shape": _integers(*shape)}
    agrees(model_of("Expand", inputs, opset=13, known=("shape",)), inputs)


@pytest.mark.parametrize("repeats", [(1, 2, 3), (2, 1, 1), (1, 1, 1), (3, 0, 1)])
def test_tile(repeats: Any) -> None:
    inputs = {"x": _counted(2, 3, 2), "repeats": _integers(*repeats)}
    agrees(model_of("Tile", inputs, opset=13, known=("repeats",)), inputs)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_depth_to_space(mode: str, block: int) -> None:
    inputs = {"x": _counted(2, 2 * block**2, 3, 2)}
    agrees(model_of("DepthToSpace", inputs, {"mode": mode, "blocksize": block}, opset=13), inputs)


def test_space_to_depth() -> None:
    inputs = {"x": _counted(2, 3, 4, 6)}
    agrees(model_of("SpaceToDepth", inputs, {"blocksize": 2}, opset=13), inputs)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, 0, 2, -1, 2**62, -(2**62)])
def test_trilu(upper: int, k: int | None) -> None:
    inputs = {"x": _counted(2, 4, 5), "k": None if k is None else np.array(k, np.int64)}
    agrees(model_of("Trilu", inputs, {"upper": upper}, opset=14, known=("k",)), inputs)


@pytest.mark.parametrize(("batch", "time"), [(1, 0), (0, 1)])
def test_reverse_sequence(batch: int, time: int) -> None:
    x = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
    inputs = {"x": x, "lengths": _integers(1, 4, 3, 2)}
    attributes = {"batch_axis": batch, "time_axis": time}
    other = inputs | {"lengths": _integers(4, 4, 1, 1)}
    agrees(model_of("ReverseSequence", inputs, attributes, opset=10), inputs, other)


def test_channels_last_stays_through_moving_operators() -> None:
    """A net of these nodes between convolutions copies nothing to put its axes in another order."""
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["a"], axis=1),
        helper.make_node("Split", ["a"], ["b", "c"], axis=1, num_outputs=2),
        helper.make_node("Pad", ["b", "pads"], ["d"]),
        helper.make_node("Slice", ["d", "one", "most", "axes"], ["e"]),
        helper.make_node("SpaceToDepth", ["e"], ["f"], blocksize=2),
        helper.make_node("DepthToSpace", ["f"], ["y"], blocksize=2),
        helper.make_node("Identity", ["c"], ["z"]),
    ]
    known = {
        "pads": _integers(0, 0, 1, 1, 0, 0, 1, 1),
        "one": _integers(1),
        "most": _integers(99),
        "axes": _integers(1),
    }
    ports = [helper.make_tensor_value_info(name, 1, None if name != "x" else [1, 4, 6, 8]) for name in "xyz"]
    kept = [numpy_helper.from_array(array, name) for name, array in known.items()]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    agrees(model, {"x": _counted(1, 4, 6, 8)})
    given = {"x": Open((1, 4, 6, 8), np.dtype(np.float32), channels_last(4))}
    assert [place.kind for place in trace(read(model), given, output_order=standing).places] == [
        "Concat",
        "Split (0)",
        "Split (1)",
        "Pad",
        "Slice",
        "SpaceToDepth",
        "DepthToSpace",
    ]


ERRORS: list[tuple[str, Any, Any, type[PellucidError], str]] = [
    (
        "Concat",
        {"b": np.ones((3, 3), "f4")},
        {"axis": 1},
        ShapeError,
        "inputs (2, 6) and (3, 3) must agree in every axis but 1",
    ),
    ("Concat", {}, {}, DataError, "attribute `axis` is missing"),
    ("Concat", {}, {"axis": 2}, DataError, "`axis` (=2) must be from -2 to 1"),
    (
        "Split",
        {"split": _integers(3, 3)},
        {"axis": 1},
        ShapeError,
        "an axis of 6 is not split into 1 outputs of sizes (3, 3)",
    ),
    (
        "Split",
        {"split": _integers(-1)},
        {"axis": 1},
        ShapeError,
        "an axis of 6 is not split into 1 outputs of sizes (-1,)",
    ),
    ("Split", {}, {"num_outputs": 2}, DataError, "attribute `num_outputs` (=2) must be that of outputs: 1"),
    (
        "Slice",
        {"starts": _integers(0), "ends": _integers(1, 2)},
        {},
        DataError,
        "starts (0,), ends (1, 2), axes (0,) and steps (1,) must have one length",
    ),
    (
        "Slice",
        {"starts": _integers(0), "ends": _integers(1), "axes": _integers(0), "steps": _integers(0)},
        {},
        DataError,
        "its steps (0,) must not be 0",
    ),
    ("Pad", {"pads": _integers(1, 1)}, {}, DataError, "`pads` (1, 1) must have 4 numbers, has 2"),
    (
        "Pad",
        {"pads": _integers(0, 0, 0, 0)},
        {"mode": "mirror"},
        DataError,
        "attribute `mode` (='mirror') must be one of constant, edge, reflect, wrap",
    ),
    (
        "Pad",
        {"pads": _integers(-3, 0, 0, 0)},
        {},
        ShapeError,
        "`pads` [(-3, 0), (0, 0)] leave nothing of input 0 (2, 6)",
    ),
    (
        "Pad",
        {"pads": _integers(2, 0, 0, 0)},
        {"mode": "reflect"},
        ShapeError,
        "`pads` (2, 0) along axis 0 must be below its extent (=2)",
    ),
    ("Expand", {"shape": _integers(2, 5)}, {}, ShapeError, "shapes (2, 6), (2, 5) do not broadcast to one"),
    ("Expand", {"shape": _integers(-7, 1, 1)}, {}, DataError, "its shape (-7, 2, 6) is negative"),
    ("Tile", {"repeats": _integers(2, -1)}, {}, DataError, "its repeats (2, -1) must be 2 numbers from 0"),
    (
        "DepthToSpace",
        {},
        {"blocksize": 2},
        DataError,
        "input 0 (2, 6) must have 4 dimensions (batch, channels, height, width)",
    ),
    ("Trilu", {"k": _integers(1, 2)}, {}, DataError, "input 1 (1, 2) must be one number"),
    ("ReverseSequence", {"l": _integers(1, 1)}, {}, ShapeError, "input 1 (2,) must have shape (6,)"),
    (
        "ReverseSequence",
        {"l": _integers(1, 1)},
        {"batch_axis": 0},
        DataError,
        "`batch_axis` and `time_axis` (=0) must differ",
    ),
]


@pytest.mark.parametrize(("op", "known", "attributes", "kind", "message"), ERRORS)
def test_errors(op: str, known: Any, attributes: Any, kind: type[PellucidError], message: str) -> None:
    inputs = {"x": _counted(2, 6), **known}
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=18, known=tuple(known)), inputs)
    assert str(caught.value) == f"node 'it' ({op}): {message}"


@pytest.mark.parametrize(
    ("op", "numbers"), [("Tile", (2**40, 2**40)), ("Expand", (2**62, 1, 1)), ("Pad", (0, 2**60, 0, 0))]
)
def test_what_is_beyond_all_memory_is_refused_before_it_is_made(op: str, numbers: tuple[int, ...]) -> None:
    inputs = {"x": _counted(2, 6), "n": _integers(*numbers)}
    with pytest.raises(PellucidError, match=r"bytes; at most [\d,]+ are allowed"):
        own_outputs(model_of(op, inputs, opset=18, known=("n",)), inputs)
