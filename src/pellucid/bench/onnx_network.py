"""A network of ours as an ONNX graph, node by node, for ONNX Runtime to optimise and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import nn
from pellucid.bench.networks import Named, Step, peer_array, steps_of, windows_of
from pellucid.bench.peers import load
from pellucid.errors import ArgumentError
from pellucid.nn.symbolic import Add

__all__ = ["onnx_model", "onnx_prediction", "onnx_session"]

# The newest form of the operators and of the file that runtimes of the last years read.
OPERATORS, FORMAT = 17, 8


def onnx_model(named: Named, parameters: Mapping[str, NDArray[Any]], batch: int) -> bytes:
    """The network in inference as a serialised ONNX model from `x` [batch, channels, rows, columns] to `y`."""
    onnx, helper = load("onnx"), load("onnx.helper")
    steps = steps_of(named)
    from_array = load("onnx.numpy_helper").from_array
    weights = [from_array(np.array(peer_array(steps, name, array)), name) for name, array in parameters.items()]
    rows, columns, channels = named.shape
    real = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", real, [batch, channels, rows, columns])
    y = helper.make_tensor_value_info("y", real, [batch, *steps[-1].shape])
    nodes = list[Any]()
    for number, step in enumerate(steps):
        inputs = ["x" if source < 0 else f"h{source}" for source in step.inputs]
        output = "y" if number == len(steps) - 1 else f"h{number}"
        nodes += _nodes(helper, step, inputs, output)
    graph = helper.make_graph(nodes, "network", [x], [y], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPERATORS)], ir_version=FORMAT)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def onnx_session(model: bytes, threads: int) -> Any:
    """ONNX Runtime's session for a serialised model: all its optimisations, on so many threads."""
    runtime = load("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_prediction(model: bytes, x: NDArray[Any], threads: int) -> Callable[[], NDArray[Any]]:
    """A call of ONNX Runtime on our images (batch, height, width, channels), one operator after the other."""
    session = onnx_session(model, threads)
    given = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    return lambda: session.run(None, given)[0]


def _nodes(helper: Any, step: Step, inputs: list[str], output: str) -> list[Any]:
    layer = step.layer
    weight, bias = f"{step.name}.weight", f"{step.name}.bias"
    if isinstance(layer, nn.Conv2d):
        given = [*inputs, weight, bias] if layer.bias else [*inputs, weight]
        dilations = [window.dilation for window in windows_of(step)]
        return [helper.make_node("Conv", given, [output], **_windows(step), dilations=dilations, group=layer.groups)]
    if isinstance(layer, nn.BatchNorm2d):
        given = [*inputs, weight, bias, f"{step.name}.running_mean", f"{step.name}.running_var"]
        return [helper.make_node("BatchNormalization", given, [output], epsilon=layer.eps)]
    if isinstance(layer, nn.Linear):
        given = [*inputs, weight, bias] if layer.bias else [*inputs, weight]
        return [helper.make_node("Gemm", given, [output], transB=1)]
    if isinstance(layer, nn.ReLU):
        return [helper.make_node("Relu", inputs, [output])]
    if isinstance(layer, nn.MaxPool2d):
        return [helper.make_node("MaxPool", inputs, [output], **_windows(step))]
    if isinstance(layer, nn.Flatten):
        return [helper.make_node("Flatten", inputs, [output])]
    if isinstance(layer, Add):
        return [helper.make_node("Add", inputs, [output])]
    if isinstance(layer, nn.GlobalAvgPool):
        mean = f"{output}.mean"
        return [
            helper.make_node("GlobalAveragePool", inputs, [mean]),
            helper.make_node("Flatten", [mean], [output]),
        ]
    raise ArgumentError(f"layer {step.name} ({type(layer).__name__}) has no counterpart in ONNX here")


def _windows(step: Step) -> dict[str, list[int]]:
    windows = windows_of(step)
    return {
        "kernel_shape": [window.kernel for window in windows],
        "strides": [window.stride for window in windows],
        "pads": [window.before for window in windows] + [window.after for window in windows],
    }
