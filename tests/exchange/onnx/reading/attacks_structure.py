"""Graphs, attributes, functions and versions that break the rules of the format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx
from onnx import AttributeProto, TensorProto, helper

from exchange.onnx.reading.case import Case, changed
from exchange.onnx.reading.models import block, convolutional, image, model, one_node, opset, weights, with_functions

MOST = (1 << 63) - 1


def attacks() -> Iterator[Case]:
    yield from _versions()
    yield from _graphs()
    yield from _ports()
    yield from _attributes()
    yield from _chains()
    yield from _functions()


def _versions() -> Iterator[Case]:
    for version in (9999, 6, 1, 0, -1, MOST, -MOST):
        yield changed(f"opset {version}", convolutional(), lambda made, version=version: _opset(made, version))
    for version in (0, -1, 1, 2, 9999, MOST):
        yield changed(f"ir_version {version}", convolutional(), lambda made, v=version: setattr(made, "ir_version", v))
    yield changed("no ir_version", convolutional(), lambda made: made.ClearField("ir_version"))
    yield changed("no opset", convolutional(), lambda made: made.ClearField("opset_import"))
    yield changed("two opsets", convolutional(), lambda made: made.opset_import.append(opset(13)))
    yield changed(
        "two opsets by two names", convolutional(), lambda made: made.opset_import.append(opset(13, "ai.onnx"))
    )
    yield changed(
        "a negative version of a domain", convolutional(), lambda made: made.opset_import.append(opset(-5, "other"))
    )
    yield changed("a domain that is not imported", convolutional(), lambda made: _node(made, domain="other"))


def _opset(made: onnx.ModelProto, version: int) -> None:
    made.opset_import[0].version = version


def _node(made: onnx.ModelProto, number: int = 0, **fields: str) -> None:
    for name, value in fields.items():
        setattr(made.graph.node[number], name, value)


def _graphs() -> Iterator[Case]:
    def relu(source: str, target: str) -> onnx.NodeProto:
        return helper.make_node("Relu", [source], [target], name=f"{source}-{target}")

    yield changed("no graph", convolutional(), lambda made: made.ClearField("graph"))
    yield changed("an empty graph", convolutional(), lambda made: made.graph.Clear())
    yield changed("no outputs", convolutional(), lambda made: made.graph.ClearField("output"))
    yield changed("no nodes", convolutional(), lambda made: made.graph.ClearField("node"))
    yield Case("a node that reads itself", model([relu("y", "y")]).SerializeToString())
    yield Case("two nodes in a cycle", model([relu("a", "y"), relu("y", "a")]).SerializeToString())
    ring = [relu(f"v{number}", f"v{(number + 1) % 5000}") for number in range(5000)]
    yield Case("5,000 nodes in a cycle", model([*ring, relu("v7", "y")]).SerializeToString())
    yield Case(
        "a cycle that leads to no output", model([relu("x", "y"), relu("a", "b"), relu("b", "a")]).SerializeToString()
    )
    yield Case("a value that nothing makes", model([relu("z", "y")]).SerializeToString())
    yield Case("an output that nothing makes", model([relu("x", "z")]).SerializeToString())
    yield Case("a value made twice", model([relu("x", "y"), relu("x", "y")]).SerializeToString())
    yield Case(
        "a value made twice by one node", model([helper.make_node("Split", ["x"], ["y", "y"])]).SerializeToString()
    )
    yield Case("a node that makes an input", model([relu("x", "y"), relu("x", "x")]).SerializeToString())
    yield Case(
        "a node that makes an initialiser",
        model([relu("x", "y"), relu("x", "w")], (weights("w", 2),)).SerializeToString(),
    )
    yield Case("an initialiser twice", model([relu("x", "y")], (weights("w", 2), weights("w", 2))).SerializeToString())
    yield Case("an initialiser without a name", model([relu("x", "y")], (weights("", 2),)).SerializeToString())
    yield changed("an input twice", convolutional(), lambda made: made.graph.input.append(image()))
    yield changed("an output twice", convolutional(), lambda made: made.graph.output.append(image("y")))
    yield changed("a node without an operator", convolutional(), lambda made: _node(made, op_type=""))
    escape = "\x1b]0;title\x07"
    yield changed("an operator that a terminal would obey", convolutional(), lambda made: _node(made, op_type=escape))
    yield changed(
        "a node whose name a terminal would obey", convolutional(), lambda made: _node(made, name=escape, domain="no")
    )
    yield changed("a gigantic name of a node", convolutional(), lambda made: _node(made, name="n" * 5_000_000))
    yield changed("a gigantic operator", convolutional(), lambda made: _node(made, op_type="n" * 5_000_000))
    yield Case("a gigantic name of a value", model([relu("x", "v" * 5_000_000)]).SerializeToString())
    yield Case("110,000 nodes", model([relu("x", "y")] * 110_000).SerializeToString())
    many = helper.make_node("Concat", ["x"] * 999_000, ["y", *["z"] * 900], axis=0)
    yield Case("999,000 inputs of a node", model([many]).SerializeToString())


def _ports() -> Iterator[Case]:
    def with_port(name: str, port: onnx.ValueInfoProto) -> Iterator[Case]:
        for side in ("input", "output"):
            made = convolutional()
            getattr(made.graph, side)[0].type.CopyFrom(port.type)
            yield Case(f"{side} of {name}", made.SerializeToString())

    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    yield from with_port("no type", onnx.ValueInfoProto())
    yield from with_port("type 77", helper.make_tensor_value_info("x", 77, [1]))
    yield from with_port("a negative extent", image("x", (1, -3)))
    yield from with_port("a hundred axes", image("x", (1,) * 100))
    yield from with_port("a sequence", onnx.ValueInfoProto(name="x", type=helper.make_sequence_type_proto(tensor)))
    yield from with_port("an optional", onnx.ValueInfoProto(name="x", type=helper.make_optional_type_proto(tensor)))
    yield from with_port("a sparse tensor", helper.make_sparse_tensor_value_info("x", TensorProto.FLOAT, [1]))
    yield changed("an input without a name", convolutional(), lambda made: setattr(made.graph.input[0], "name", ""))


def _attributes() -> Iterator[Case]:
    def case(name: str, *attributes: AttributeProto) -> Case:
        made = one_node()
        made.graph.node[0].attribute.extend(attributes)
        return Case(f"attribute {name}", made.SerializeToString())

    ints, floats = AttributeProto.INTS, AttributeProto.FLOATS
    yield case("declared as integers that is a number", AttributeProto(name="a", type=ints, i=3))
    yield case("declared as floats that is integers", AttributeProto(name="a", type=floats, ints=[1, 2]))
    yield case("declared as a number that is a text", AttributeProto(name="a", type=AttributeProto.INT, s=b"3"))
    yield case(
        "declared as a text that is a tensor", AttributeProto(name="a", type=AttributeProto.STRING, t=TensorProto())
    )
    yield case(
        "declared as a tensor that is a graph",
        AttributeProto(name="a", type=AttributeProto.TENSOR, g=onnx.GraphProto()),
    )
    yield case("declared as a tensor without one", AttributeProto(name="a", type=AttributeProto.TENSOR))
    yield case("declared as a graph without one", AttributeProto(name="a", type=AttributeProto.GRAPH))
    yield case("of two values", AttributeProto(name="a", type=AttributeProto.INT, i=3, f=1.0))
    yield case("without a type", AttributeProto(name="a", i=3))
    yield case("without a name", AttributeProto(type=AttributeProto.INT, i=3))
    yield case("twice", helper.make_attribute("a", 1), helper.make_attribute("a", 1))
    yield case("that is not UTF-8", helper.make_attribute("a", b"\xff\xfe"))
    yield case("that is no tensor", AttributeProto(name="a", type=AttributeProto.TENSOR, t=TensorProto(dims=[3])))
    yield case("that refers to a function, outside", AttributeProto(name="a", type=ints, ref_attr_name="b"))
    yield case("3,000 times", *(helper.make_attribute(f"a{number}", number) for number in range(3000)))
    yield case("with a gigantic name", helper.make_attribute("a" * 1_000_000, 1))
    yield case("of 100,000 texts that are not UTF-8", helper.make_attribute("a", [b"\xff"] * 100_000))


def _function(name: str, /, *callees: str, **fields: object) -> onnx.FunctionProto:
    """name(a) -> z: the callees in a row."""
    values = ["a", *(f"v{number}" for number in range(1, len(callees))), "z"]
    nodes = [
        helper.make_node(callee, [source], [target], domain="local" if callee[0] == "f" else "")
        for callee, source, target in zip(callees, values[:-1], values[1:], strict=True)
    ]
    made = helper.make_function("local", name, ["a"], ["z"], nodes, [opset(), opset(1, "local")])
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def _calling(name: str, *functions: onnx.FunctionProto, call: onnx.NodeProto | None = None) -> Case:
    call = call or helper.make_node("f0", ["x"], ["y"], domain="local")
    return Case(name, model([call], (), functions, (opset(1, "local"),)).SerializeToString())


def _chains() -> Iterator[Case]:
    for depth in (100, 5000):
        links = [_function(f"f{number}", f"f{number + 1}") for number in range(depth)]
        yield _calling(f"a chain of {depth:,} functions", *links, _function(f"f{depth}", "Relu"))
    for depth in (17, 60, 5000):
        links = [_function(f"f{number}", f"f{number + 1}", f"f{number + 1}") for number in range(depth)]
        yield _calling(f"a chain of {depth:,} functions that double", *links, _function(f"f{depth}", "Relu"))
    links = [_function(f"f{number}", f"f{number + 1}", f"f{number + 1}") for number in range(15)]
    links.append(_function("f15", "Relu"))
    calls = [helper.make_node("f0", [f"v{number}"], [f"v{number + 1}"], domain="local") for number in range(2)]
    made = model([*calls, helper.make_node("Relu", ["y"], ["v0"])], (), tuple(links), (opset(1, "local"),), "v2")
    made.graph.output[0].name = "z"
    yield Case("functions that double below the limit, and no output", made.SerializeToString())
    links = [_function(f"f{number}", *[f"f{number + 1}"] * 100) for number in range(10)]
    yield _calling("a chain of functions that grow a hundredfold", *links, _function("f10", "Relu"))
    empty = helper.make_function("local", "f60", ["a"], ["a"], [], [opset()])
    links = [_function(f"f{number}", f"f{number + 1}", f"f{number + 1}") for number in range(60)]
    yield _calling("a chain of functions that double, of nothing", *links, empty)
    wide = helper.make_function("local", "f0", ["a"], ["z"], [helper.make_node("Sum", ["a"] * 2000, ["z"])], [opset()])
    calls = [helper.make_node("f0", [f"v{number}"], [f"v{number + 1}"], domain="local") for number in range(5000)]
    made = model([*calls, helper.make_node("Relu", ["x"], ["v0"])], (), (wide,), (opset(1, "local"),), "v5000")
    yield Case("5,000 calls of a function of 2,000 inputs", made.SerializeToString())
    names = [_function(f"f{number}", f"f{number + 1}") for number in range(60)]
    for function in names:
        function.node[0].name = "n" * 1000
    yield _calling("a chain of functions that make long names", *names, _function("f60", "Relu"))
    yield _calling("a function that calls itself", _function("f0", "Relu", "f0"))
    yield _calling("two functions that call each other", _function("f0", "f1"), _function("f1", "Relu", "f0"))
    ring = [_function(f"f{number}", f"f{(number + 1) % 5000}") for number in range(5000)]
    yield _calling("5,000 functions that call each other", *ring)


def _functions() -> Iterator[Case]:
    def call(inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
        return helper.make_node("f0", inputs, outputs, domain="local", **attributes)

    relu = _function("f0", "Relu")
    yield _calling("a call with too many inputs", relu, call=call(["x", "x"], ["y"]))
    yield _calling("a call with too many outputs", relu, call=call(["x"], ["y", "u"]))
    yield _calling("a call with an attribute that is not there", relu, call=call(["x"], ["y"], size=3))
    yield _calling("a function twice", relu, relu)
    yield _calling("a function without a name", relu, _function("f1", "Relu", name=""))
    yield replace(
        _calling("a function in a domain that is not imported", _function("f0", "Relu", domain="other")), stage="load"
    )
    body = _function("f0", "Relu")
    body.node[0].input[0] = "outside"
    yield _calling("a function that reads what is outside", body)
    body = _function("f0", "Relu")
    body.output[0] = "missing"
    yield _calling("a function whose output nothing makes", body)
    body = _function("f0", "Relu", "Relu")
    body.node[1].output[0] = body.node[0].output[0]
    yield _calling("a function that makes a value twice", body)
    body = _function("f0", "Relu", "Relu")
    body.node[0].input[0], body.node[1].output[0] = "z", "z"
    yield _calling("a function with a cycle", body)
    body = _function("f0", "Relu")
    body.input.append("a")
    yield _calling("a function with an input twice", body)
    body = _function("f0", "Relu")
    body.ClearField("opset_import")
    yield _calling("a function without an opset", body)
    body = _function("f0", "Relu")
    body.opset_import[0].version = 9999
    yield _calling("a function of opset 9999", body)
    body = _function("f0", "Relu")
    body.attribute.extend(["size", "size"])
    yield _calling("a function that declares an attribute twice", body)
    same = helper.make_function("local", "f0", ["a"], ["a"], [], [opset()])
    yield _calling("a function that gives an input that is left out", same, call=call([""], ["y"]))
    wrong = with_functions()
    wrong.functions[1].node[0].attribute[0].CopyFrom(helper.make_attribute("size", 1.5))
    yield Case("a call whose attribute has another type", wrong.SerializeToString())
    tensor = block()
    tensor.attribute_proto[0].CopyFrom(helper.make_attribute("slope", helper.make_tensor("t", 1, [1], [1.0])))
    tensor.attribute_proto[0].t.dims[0] = MOST
    node = helper.make_node("block", ["x", "x"], ["y"], domain="local")
    yield _calling("a function with a gigantic default", tensor, call=node)
