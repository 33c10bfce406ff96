"""Functions written out compute what ONNX Runtime computes of the calls."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from exchange.onnx.reading.models import block, model, opset, weights, with_functions
from exchange.onnx.reading.rebuilt import outputs_of, rebuilt
from pellucid.errors import DataError
from pellucid.exchange.onnx.reading import Limits, read

X = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)


def called(*functions: onnx.FunctionProto, calls: list[onnx.NodeProto], output: str = "y") -> onnx.ModelProto:
    return model(calls, (weights("w", 3, 3, 3, 3),), functions, (opset(1, "local"),), output)


def agrees(made: onnx.ModelProto) -> None:
    (expected,), (found,) = outputs_of(made, {"x": X}), outputs_of(rebuilt(read(made)), {"x": X})
    np.testing.assert_array_equal(found, expected)


def function(name: str, inputs: list[str], outputs: list[str], *nodes: onnx.NodeProto, **more: object):
    return helper.make_function("local", name, inputs, outputs, list(nodes), [opset(), opset(1, "local")], **more)


def call(name: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(name, inputs, outputs, domain="local", name="call", **attributes)


def test_names_attributes_and_versions():
    graph = read(with_functions())
    assert [(node.name, node.op, node.inputs, node.outputs) for node in graph.nodes] == [
        ("one/first/conv", "Conv", ("x", "w1"), ("one/first/t",)),
        ("one/first/relu", "LeakyRelu", ("one/first/t",), ("one/t",)),
        ("one/second/conv", "Conv", ("one/t", "w2"), ("one/second/t",)),
        ("one/second/relu", "LeakyRelu", ("one/second/t",), ("a",)),
        ("two/first/conv", "Conv", ("a", "w2"), ("two/first/t",)),
        ("two/first/relu", "LeakyRelu", ("two/first/t",), ("two/t",)),
        ("two/second/conv", "Conv", ("two/t", "w1"), ("two/second/t",)),
        ("two/second/relu", "LeakyRelu", ("two/second/t",), ("y",)),
    ]
    assert graph.nodes[0].attributes == {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    assert graph.nodes[1].attributes == {"alpha": pytest.approx(0.1)}
    assert graph.nodes[3].attributes == {"alpha": 0.5}


def test_an_attribute_that_is_not_given_is_left_out():
    node = call("block", ["x", "w"], ["y"])
    assert read(called(block(), calls=[node])).nodes[0].attributes == {"pads": (1, 1, 1, 1)}
    agrees(called(block(), calls=[node]))


def test_names_that_are_taken_are_not_made_again():
    """The graph has values and nodes of the names that the call would make."""
    calls = [
        helper.make_node("Relu", ["x"], ["call/t"], name="call/conv"),
        call("block", ["call/t", "w"], ["b"]),
        call("block", ["b", "w"], ["y"]),
    ]
    calls[2].name = "other"
    made = called(block(), calls=calls)
    graph = read(made)
    names = ["call/conv", "call/conv_1", "call/relu", "other/conv", "other/relu"]
    assert [node.name for node in graph.nodes] == names
    assert [node.outputs for node in graph.nodes] == [("call/t",), ("call/t_1",), ("b",), ("other/t",), ("y",)]
    agrees(made)


def test_inputs_that_are_left_out():
    inner = function(
        "f", ["a", "low", "high"], ["z"], helper.make_node("Clip", ["a", "low", "high"], ["z"], name="clip")
    )
    for inputs, expected in ((["x", "", "c"], ("x", "", "c")), (["x"], ("x", "", "")), (["x", "c"], ("x", "c", ""))):
        made = called(inner, calls=[call("f", inputs, ["y"])])
        made.graph.initializer.append(weights("c"))
        assert read(made).nodes[0].inputs == expected
        agrees(made)


def test_outputs_that_are_left_out():
    split = helper.make_node("Split", ["a"], ["p", "q"], axis=3, num_outputs=2)
    inner = function("f", ["a"], ["p", "q"], split)
    inner.opset_import[0].version = 18
    for outputs, made_names in ((["", "y"], ("call/p", "y")), (["y", ""], ("y", "call/q")), (["y"], ("y", "call/q"))):
        made = called(inner, calls=[call("f", ["x"], outputs)])
        made.opset_import[0].version = 18
        assert read(made).nodes[0].outputs == made_names
        if len(outputs) == 2:  # ONNX Runtime does not load a call with fewer
            agrees(made)


def test_what_a_function_gives_as_it_takes_it():
    """An input as output, and a value as two outputs, are copied by nodes of their own."""
    inner = function("f", ["a"], ["a", "b", "b"], helper.make_node("Neg", ["a"], ["b"]))
    add = helper.make_node("Sum", ["p", "q", "r"], ["y"])
    made = called(inner, calls=[call("f", ["x"], ["p", "q", "r"]), add])
    graph = read(made)
    assert sorted((node.op, node.inputs, node.outputs) for node in graph.nodes) == [
        ("Identity", ("q",), ("r",)),
        ("Identity", ("x",), ("p",)),
        ("Neg", ("x",), ("q",)),
        ("Sum", ("p", "q", "r"), ("y",)),
    ]
    x = X
    (found,) = outputs_of(rebuilt(graph), {"x": x})
    np.testing.assert_array_equal(found, x - x - x)


def test_functions_of_one_name_told_by_overload():
    one, two = (function("f", ["a"], ["z"], helper.make_node(op, ["a"], ["z"])) for op in ("Neg", "Abs"))
    one.overload, two.overload = "one", "two"
    first, second = call("f", ["x"], ["t"]), call("f", ["t"], ["y"])
    first.overload, second.overload = "one", "two"
    assert [node.op for node in read(called(one, two, calls=[first, second])).nodes] == ["Neg", "Abs"]
    first.overload = "three"
    assert read(called(one, two, calls=[first, second])).nodes[0].domain == "local"


def test_a_function_stands_before_an_operator_of_its_name():
    inner = helper.make_function("", "Relu", ["a"], ["z"], [helper.make_node("Neg", ["a"], ["z"])], [opset()])
    made = model([helper.make_node("Relu", ["x"], ["y"])], (), (inner,))
    assert [node.op for node in read(made).nodes] == ["Neg"]


def test_a_function_has_versions_of_its_own():
    inner = function("f", ["a"], ["z"], helper.make_node("Relu", ["a"], ["z"]))
    inner.opset_import[0].version = 13
    made = called(inner, calls=[call("f", ["x"], ["t"]), helper.make_node("Neg", ["t"], ["y"])])
    assert [(node.op, node.version) for node in read(made).nodes] == [("Relu", 13), ("Neg", 17)]


def test_a_graph_of_functions_alone_imports_no_operators():
    inner = function("f", ["a"], ["z"], helper.make_node("Relu", ["a"], ["z"]))
    made = called(inner, calls=[call("f", ["x"], ["y"])])
    del made.opset_import[0]
    graph = read(made)
    assert graph.opset == 0
    assert [(node.op, node.version) for node in graph.nodes] == [("Relu", 17)]


def test_functions_that_nobody_calls_are_not_read():
    broken = function("g", ["a"], ["z"])
    made = called(block(), broken, calls=[call("block", ["x", "w"], ["y"])])
    assert len(read(made).nodes) == 2


def test_arrays_in_a_function_are_read_once():
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("v", 1, [1000], [0.0] * 1000))
    inner = function("f", ["a"], ["z"], constant, helper.make_node("Add", ["a", "c"], ["z"]))
    calls = [call("f", [f"v{number}"], [f"v{number + 1}"]) for number in range(50)]
    made = called(inner, calls=[helper.make_node("Relu", ["x"], ["v0"]), *calls], output="v50")
    graph = read(made, limits=Limits(memory=50_000))
    assert len({id(node.attributes["value"]) for node in graph.nodes if node.op == "Constant"}) == 1


def test_deep_chains_below_the_limits():
    """Sixty functions inside each other; and twelve that double: 4,096 nodes."""
    links = [function(f"f{n}", ["a"], ["z"], call(f"f{n + 1}", ["a"], ["z"])) for n in range(60)]
    last = function("f60", ["a"], ["z"], helper.make_node("Neg", ["a"], ["z"]))
    agrees(called(*links, last, calls=[call("f0", ["x"], ["y"])]))
    links = [
        function(f"f{n}", ["a"], ["z"], call(f"f{n + 1}", ["a"], ["t"]), call(f"f{n + 1}", ["t"], ["z"]))
        for n in range(12)
    ]
    last = function("f12", ["a"], ["z"], helper.make_node("Neg", ["a"], ["z"]))
    graph = read(called(*links, last, calls=[call("f0", ["x"], ["y"])]))
    assert len(graph.nodes) == 1 << 12
    assert graph.nodes[0].inputs == ("x",)
    assert all(after.inputs == before.outputs for before, after in zip(graph.nodes, graph.nodes[1:], strict=False))


def test_limits_count_calls_and_what_they_hold():
    made = with_functions()
    limits = {"nodes": 14, "call_depth": 2}  # two calls of two calls of two nodes
    assert len(read(made, limits=Limits(**limits)).nodes) == 8
    for name, value in limits.items():
        with pytest.raises(
            DataError, match=f"has {value} .* when functions are written out; at most {value - 1} are read"
        ):
            read(made, limits=Limits(**{name: value - 1}))
    with pytest.raises(DataError, match="nodes and functions written out give more than 50 characters of names"):
        read(made, limits=Limits(name_characters=50))
