"""Operators of a file that give another shape, against NumPy; what of them costs nothing."""

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from pellucid import Equation
from pellucid.errors import ArgumentError, DataError, PellucidError, ShapeError
from pellucid.exchange.onnx.graph import OnnxNode
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.shape import reshaped
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.exchange.onnx.values import Tensor, channels_last, natural, standing
from pellucid.exchange.onnx.writing import reshape_groups
from pellucid.language.system import System
from pellucid.nn import Dropout
from pellucid.nn.equations.notation import text_of
from pellucid.nn.layer import Reshape
from support.onnx_files import agrees, model_of, own_outputs

FLOAT = np.dtype(np.float32)


def _counted(*shape: int) -> Any:
    return np.arange(prod(shape), dtype=np.float32).reshape(shape)


def _chain(*nodes: Any, shape: tuple[int, ...], opset: int = 18, **known: Any) -> Any:
    """A model of these nodes from `x` to `y`."""
    ports = [helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)]
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in known.items()]
    graph = helper.make_graph(list(nodes), "chain", ports[:1], ports[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _copies(model: Any, shape: tuple[int, ...], order: tuple[int, ...], **options: Any) -> int:
    """The equations that copy, where the input stands in this order and the output may stand in any."""
    traced = trace(read(model), {"x": Open(shape, FLOAT, order)}, output_order=standing, **options)
    return sum(not isinstance(place.layer.stage().system, Reshape) for place in traced.places)


RESHAPES = [
    ((2, 3, 4), [6, 4]),
    ((2, 3, 4), [-1]),
    ((2, 3, 4), [0, 0, 2, 2]),
    ((2, 3, 4), [4, -1, 1]),
    ((6, 4), [4, 6]),
    ((2, 6, 4), [3, 1, 16]),
    ((1, 1), [1]),
    ((1,), []),
    ((), [1, 1]),
    ((2, 3, 4, 5), [2, 3, 20]),
    ((4, 6, 5), [2, 3, 2, 2, 5]),
]


@pytest.mark.parametrize(("shape", "target"), RESHAPES)
def test_reshape(shape: Any, target: list[int]) -> None:
    inputs = {"x": _counted(*shape), "shape": np.array(target, np.int64)}
    agrees(model_of("Reshape", inputs, opset=14, known=("shape",)), inputs)


def test_a_shape_may_be_an_input() -> None:
    inputs: Any = {"x": _counted(2, 3, 4), "shape": np.array([6, 4], np.int64)}
    agrees(model_of("Reshape", inputs, opset=14), inputs, inputs | {"shape": np.array([-1, 2], np.int64)})


@st.composite
def _two_shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Two shapes of one size, and an order of the first's axes."""
    primes = draw(st.lists(st.sampled_from([1, 2, 2, 3]), min_size=1, max_size=6))
    shapes: list[tuple[int, ...]] = []
    for _ in range(2):
        cuts = sorted(draw(st.lists(st.integers(0, len(primes)), max_size=4)))
        bounds = zip([0, *cuts], [*cuts, len(primes)], strict=True)
        shapes.append(tuple(prod(primes[a:b]) for a, b in bounds))
        primes = draw(st.permutations(primes))
    return shapes[0], shapes[1], tuple(draw(st.permutations(range(len(shapes[0])))))


class _Recorder:
    """A program that only writes down what is added."""

    training = False
    free_batch = None

    def __init__(self) -> None:
        self.stages: list[Any] = []

    def add(self, node: Any, part: Any, sources: Any, parameters: Any, stage: Any) -> int:
        self.stages.append(stage)
        return len(self.stages) - 1

    def check_size(self, shape: Any) -> None:
        """Nothing is too large."""


def _evaluated(system: System, x: Any) -> Any:
    (equation,) = system.equations
    return Equation(text_of(equation), **system.constants).reference(x=x, extents=system.extents)


@settings(max_examples=200, deadline=None)
@given(_two_shapes())
def test_any_reshape_of_any_order(drawn: Any) -> None:
    """The memory that is described is that of NumPy's reshape; at most one copy, none where the order is natural."""
    before, after, order = drawn
    program: Any = _Recorder()
    node = Node(OnnxNode("it", "Reshape", "", 18, ("x",), ("y",)), (), program)
    made = reshaped(node, Tensor(before, order, FLOAT), after)
    array = np.arange(prod(before), dtype=np.float64).reshape(before)
    memory = array.transpose(order)
    for stage in program.stages:
        if isinstance(stage.system, Reshape):
            seen = _evaluated(stage.system.system, memory)
            memory = memory.reshape(stage.system.shape)
            np.testing.assert_array_equal(seen, memory)
        else:
            memory = _evaluated(stage.system, memory)
    copies = [stage for stage in program.stages if not isinstance(stage.system, Reshape)]
    assert len(copies) <= (order != natural(len(before)))
    assert made.shape == after
    assert sorted(made.order) == list(range(len(after)))
    np.testing.assert_array_equal(memory.reshape(made.memory), array.reshape(after).transpose(made.order))


@settings(max_examples=200, deadline=None)
@given(_two_shapes())
def test_groups_hold_equal_sizes(drawn: Any) -> None:
    before, after, _ = drawn
    groups = reshape_groups(before, after)
    assert [axis for old, _ in groups for axis in old] == list(range(len(before)))
    assert [axis for _, new in groups for axis in new] == list(range(len(after)))
    assert all(prod(before[a] for a in old) == prod(after[a] for a in new) for old, new in groups)


def test_a_shuffle_of_channels_copies_once_and_stays_channels_last() -> None:
    model = _chain(
        helper.make_node("Reshape", ["x", "apart"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["b", "together"], ["y"]),
        shape=(2, 6, 4, 5),
        apart=[2, 3, 2, 4, 5],
        together=[2, 6, 4, 5],
    )
    assert _copies(model, (2, 6, 4, 5), channels_last(4)) == 1
    traced = trace(read(model), {"x": Open((2, 6, 4, 5), FLOAT, channels_last(4))}, output_order=standing)
    output = traced.outputs[0]
    assert isinstance(output, Tensor)
    assert output.order == channels_last(4)
    agrees(model, {"x": _counted(2, 6, 4, 5)})


@pytest.mark.parametrize(
    ("shape", "copies"), [((2, 6, 1, 1), 0), ((2, 6, 4, 5), 1), ((2, 1, 4, 5), 0), ((2, 6, 4, 1), 1)]
)
def test_flattening_what_stands_channels_last(shape: Any, copies: int) -> None:
    model = _chain(helper.make_node("Flatten", ["x"], ["y"]), shape=shape)
    assert _copies(model, shape, channels_last(4)) == copies


def test_a_free_batch_replaces_that_of_the_file() -> None:
    model = _chain(helper.make_node("Reshape", ["x", "shape"], ["y"]), shape=("n", 6), shape_=[1, 2, 3])
    model.graph.initializer[0].name = "shape"
    given = {"x": Open((4, 6), FLOAT, (0, 1))}
    assert trace(read(model), given, free_batch=1).outputs[0].shape == (4, 2, 3)
    with pytest.raises(ShapeError, match=r"input 0 \(4, 6\) has 24 elements, its new shape \(1, 2, 3\) has not"):
        trace(read(model), given)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_flatten(axis: int) -> None:
    inputs = {"x": _counted(2, 3, 4)}
    agrees(model_of("Flatten", inputs, {"axis": axis}, opset=13), inputs)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(("axes", "shape"), [([0, -1], (1, 3, 1)), (None, (1, 3, 1, 2)), ([2], (2, 3, 1))])
def test_squeeze(opset: int, axes: Any, shape: Any) -> None:
    inputs: dict[str, Any] = {"x": _counted(*shape)}
    attributes = {}
    if axes is not None and opset == 13:
        inputs["axes"] = np.array(axes, np.int64)
    elif axes is not None:
        attributes["axes"] = axes
    agrees(model_of("Squeeze", inputs, attributes, opset=opset, known=("axes",)), inputs)


@pytest.mark.parametrize("axes", [[0], [-1], [1, 3], [0, 1, -1], [4, 0]])
def test_unsqueeze(axes: list[int]) -> None:
    inputs = {"x": _counted(2, 3, 4), "axes": np.array(axes, np.int64)}
    agrees(model_of("Unsqueeze", inputs, opset=13, known=("axes",)), inputs)
    del inputs["axes"]
    if min(axes) >= 0:
        agrees(model_of("Unsqueeze", inputs, {"axes": axes}, opset=11), inputs)


@pytest.mark.parametrize("axes", [None, [0, 2, 3, 1], [3, 1, 0, 2], [0, 1, 2, 3]])
def test_a_transpose_costs_nothing(axes: Any) -> None:
    attributes = {} if axes is None else {"perm": axes}
    inputs = {"x": _counted(2, 3, 4, 5)}
    agrees(model_of("Transpose", inputs, attributes, opset=13), inputs)
    model = _chain(helper.make_node("Transpose", ["x"], ["y"], **attributes), shape=(2, 3, 4, 5))
    assert _copies(model, (2, 3, 4, 5), channels_last(4)) == 0


def test_dropout_passes_its_input_on() -> None:
    inputs: dict[str, Any] = {"x": _counted(2, 3), "ratio": np.float32(0.5), "training": np.array(False)}
    outputs = (("y", np.float32), ("mask", np.bool_))
    y, mask = own_outputs(model_of("Dropout", inputs, opset=13, known=("ratio", "training"), outputs=outputs), inputs)
    np.testing.assert_array_equal(y, inputs["x"])
    assert mask.dtype == bool
    assert mask.all()
    (y,) = own_outputs(model_of("Dropout", {"x": inputs["x"]}, {"ratio": 0.3}, opset=10), inputs)
    np.testing.assert_array_equal(y, inputs["x"])


@pytest.mark.parametrize("opset", [10, 13])
def test_in_a_program_that_is_trained_dropout_is_that_of_nn(opset: int) -> None:
    known = {"ratio": np.float32(0.25)} if opset == 13 else {}
    attributes = {"ratio": 0.25} if opset == 10 else {}
    node = helper.make_node("Dropout", ["x", *known], ["y"], **attributes)
    model = _chain(node, shape=(2, 3, 4, 5), opset=opset, **known)
    given = {"x": Open((2, 3, 4, 5), FLOAT, channels_last(4))}
    (place,) = trace(read(model), given, training=True, output_order=standing).places
    own, expected = place.layer.stage(), Dropout(0.25).stage((2, 4, 5, 3))
    assert own.in_training() == expected.in_training()
    assert isinstance(own.system, Reshape)


ERRORS: list[tuple[str, Any, Any, type[PellucidError], str]] = [
    ("Reshape", {"shape": [-1, -1]}, {}, DataError, "its shape (-1, -1) leaves more than one extent open"),
    ("Reshape", {"shape": [-2]}, {}, DataError, "its shape (-2,) has the extent -2"),
    (
        "Reshape",
        {"shape": [2, 3, 1, 0]},
        {},
        DataError,
        "its shape (2, 3, 1, 0) keeps axis 3, which input 0 (2, 3) lacks",
    ),
    ("Reshape", {"shape": [4, -1]}, {}, ShapeError, "input 0 (2, 3) has 6 elements, its new shape (4, -1) has not"),
    (
        "Reshape",
        {"shape": [2**62, 8]},
        {},
        ShapeError,
        f"input 0 (2, 3) has 6 elements, its new shape ({2**62}, 8) has not",
    ),
    ("Flatten", {}, {"axis": 3}, DataError, "attribute `axis` (=3) must be from -2 to 2"),
    ("Squeeze", {"axes": [1]}, {}, ShapeError, "axis 1 of input 0 (2, 3) must have the extent 1"),
    ("Squeeze", {"axes": [2]}, {}, DataError, "`axes` (=2) must be from -2 to 1"),
    ("Unsqueeze", {"axes": [0, -4]}, {}, DataError, "`axes` (=(0, -4)) names an axis twice"),
    ("Transpose", {}, {"perm": [0, 0]}, DataError, "attribute `perm` (=(0, 0)) must have each number from 0 to 1 once"),
    (
        "Dropout",
        {"ratio": 0.5, "training": True},
        {},
        ArgumentError,
        "with `training_mode` it draws at random (ratio 0.5); it is supported in training alone",
    ),
    ("Dropout", {"ratio": 1.0}, {}, DataError, "`ratio` (=1.0) must be at least 0 and below 1"),
]


@pytest.mark.parametrize(("op", "known", "attributes", "kind", "message"), ERRORS)
def test_errors(op: str, known: Any, attributes: Any, kind: type[PellucidError], message: str) -> None:
    arrays = {name: np.asarray(value, np.float32 if name == "ratio" else None) for name, value in known.items()}
    inputs = {"x": _counted(2, 3), **arrays}
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=13, known=tuple(arrays)), inputs)
    assert str(caught.value) == f"node 'it' ({op}): {message}"
