"""Real models, small: what files of networks look like, to be read as they are and to be damaged."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def opset(version: int = OPSET, domain: str = "") -> onnx.OperatorSetIdProto:
    return helper.make_opsetid(domain, version)


def weights(name: str, *shape: int, seed: int = 0) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def image(name: str = "x", shape: tuple[int | str, ...] = (1, 3, 8, 8)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(
    nodes: list[onnx.NodeProto],
    initialisers: tuple[TensorProto, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
    imports: tuple[onnx.OperatorSetIdProto, ...] = (),
    output: str = "y",
) -> onnx.ModelProto:
    """x -> nodes -> output."""
    graph = helper.make_graph(nodes, "net", [image()], [image(output, ("n", "c", "h", "w"))], list(initialisers))
    return helper.make_model(graph, opset_imports=[opset(), *imports], functions=list(functions), ir_version=10)


def one_node(op: str = "Relu", **attributes: object) -> onnx.ModelProto:
    return model([helper.make_node(op, ["x"], ["y"], name="the_node", **attributes)])


def convolutional() -> onnx.ModelProto:
    """A convolution, a normalisation, a pool and a classifier."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten", axis=1),
        helper.make_node("Gemm", ["f", "head", "bias"], ["y"], name="head", transB=1, alpha=1.0),
    ]
    variance = numpy_helper.from_array(np.ones(4, np.float32), "var")
    initialisers = [
        weights("w", 4, 3, 3, 3),
        weights("b", 4),
        weights("scale", 4),
        weights("shift", 4),
        weights("mean", 4),
        variance,
        weights("head", 5, 64),
        weights("bias", 5),
    ]
    graph = helper.make_graph(nodes, "net", [image()], [image("y", ("n", 5))], initialisers)
    return helper.make_model(graph, opset_imports=[opset()], ir_version=8, producer_name="tests")


def branching() -> onnx.ModelProto:
    """A residual sum and a join, shapes computed by nodes, symbolic extents, metadata."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1], group=1),
        helper.make_node("Add", ["x", "c"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["e"], axis=1),
        helper.make_node("GlobalAveragePool", ["e"], ["g"]),
        helper.make_node("Shape", ["g"], ["shape"]),
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Constant", [], ["rest"], value=numpy_helper.from_array(np.array([-1], np.int64))),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["g", "target"], ["y"]),
    ]
    initialisers = [weights("w1", 3, 3, 3, 3), weights("w2", 3, 3, 3, 3, seed=1)]
    graph = helper.make_graph(nodes, "residual", [image("x", ("n", 3, "h", "w"))], [image("y", ("n", 6))], initialisers)
    made = helper.make_model(graph, opset_imports=[opset(21)], ir_version=10)
    helper.set_model_props(made, {"classes": "cat,dog"})
    return made


def block() -> onnx.FunctionProto:
    """local.block<size, slope=0.1>(x, w) -> y: a convolution and a leaky ReLU."""
    conv = helper.make_node("Conv", ["x", "w"], ["t"], name="conv", pads=[1, 1, 1, 1])
    conv.attribute.append(_reference("kernel_shape", "size", onnx.AttributeProto.INTS))
    relu = helper.make_node("LeakyRelu", ["t"], ["y"], name="relu")
    relu.attribute.append(_reference("alpha", "slope", onnx.AttributeProto.FLOAT))
    return helper.make_function(
        "local", "block", ["x", "w"], ["y"], [conv, relu], [opset()], ["size"], [helper.make_attribute("slope", 0.1)]
    )


def _reference(name: str, of: str, kind: int) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, ref_attr_name=of, type=kind)


def with_functions() -> onnx.ModelProto:
    """Two blocks inside a function of their own, called twice."""
    pair = helper.make_function(
        "local",
        "pair",
        ["x", "w", "v"],
        ["y"],
        [
            helper.make_node("block", ["x", "w"], ["t"], domain="local", name="first", size=[3, 3]),
            helper.make_node("block", ["t", "v"], ["y"], domain="local", name="second", size=[3, 3], slope=0.5),
        ],
        [opset(), opset(1, "local")],
    )
    nodes = [
        helper.make_node("pair", ["x", "w1", "w2"], ["a"], domain="local", name="one"),
        helper.make_node("pair", ["a", "w2", "w1"], ["y"], domain="local", name="two"),
    ]
    initialisers = (weights("w1", 3, 3, 3, 3), weights("w2", 3, 3, 3, 3, seed=1))
    return model(nodes, initialisers, (block(), pair), (opset(1, "local"),))


def external(location: str = "weights.bin", **entries: object) -> onnx.ModelProto:
    """A convolution whose weights, 3x3x3x3 floats, lie in another file."""
    made = model([helper.make_node("Conv", ["x", "w"], ["y"], name="conv")])
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 3, 3, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    made.graph.initializer.append(tensor)
    return made


EXTERNAL_BYTES = np.random.default_rng(2).standard_normal((3, 3, 3, 3)).astype(np.float32).tobytes()

REAL = {
    "convolutional": convolutional,
    "branching": branching,
    "functions": with_functions,
}
