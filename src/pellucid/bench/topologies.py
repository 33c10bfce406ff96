"""The `light_*` topologies that the package onnx brings along, with weights as networks have them.

In the files every weight is made of one number, 0.02, by a ConstantOfShape: sums then lose all that tells one channel
from another, and a wrong kernel would go unseen. Here each such array is drawn: He's normal for what is multiplied and
summed, scales and variances about 1, shifts and means about 0.
"""

from __future__ import annotations

from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.bench.peers import load
from pellucid.errors import ArgumentError

__all__ = ["TOPOLOGIES", "drawn_topology", "input_of"]

TOPOLOGIES = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
# Layers of these kinds multiply and sum: input 1 holds their weights.
_SUMS = ("Conv", "Gemm")
_NORM = ("scale", "shift", "mean", "variance")


def drawn_topology(name: str) -> bytes:
    """The file of a topology, serialised, with weights drawn by a fixed seed; ArgumentError where there is none."""
    onnx = load("onnx")
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.is_file():
        raise ArgumentError(f"the installed onnx {onnx.__version__} does not bring the topology {name!r} along")
    model = onnx.load(path)
    graph, random = model.graph, np.random.default_rng(1)
    shapes = {entry.name: entry for entry in graph.initializer}
    arrays = {
        node.output[0]: tuple(load("onnx.numpy_helper").to_array(shapes[node.input[0]]).tolist())
        for node in graph.node
        if node.op_type == "ConstantOfShape"
    }
    roles = _roles(graph)
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    del graph.node[:]
    graph.node.extend(kept)
    read = {entry for node in kept for entry in node.input}
    for array, shape in arrays.items():
        values = _drawn(roles.get(array, "shift"), shape, random).astype(np.float32)
        graph.initializer.append(load("onnx.numpy_helper").from_array(values, array))
    unread = [entry for entry in graph.initializer if entry.name not in read]
    for entry in unread:
        graph.initializer.remove(entry)
    for entry in [entry for entry in graph.input if entry.name not in read]:
        graph.input.remove(entry)
    last = graph.node[-1]
    if last.op_type == "Softmax":
        # A softmax of large numbers is ones and zeros, whatever went wrong before: what it reads is given too.
        port = load("onnx.helper").make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None)
        graph.output.append(port)
    return bytes(model.SerializeToString())


def input_of(model: bytes) -> tuple[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The name of a topology's input, and a picture for it."""
    graph = load("onnx").ModelProto.FromString(model).graph
    known = {entry.name for entry in graph.initializer}
    port = next(entry for entry in graph.input if entry.name not in known)
    shape = [extent.dim_value for extent in port.type.tensor_type.shape.dim]
    return port.name, np.random.default_rng(2).normal(size=shape).astype(np.float32)


def _roles(graph: Any) -> dict[str, str]:
    """What each array is for: "weight", or a part of a norm."""
    roles, widened = dict[str, str](), dict[str, str]()
    for node in graph.node:
        if node.op_type == "Unsqueeze":
            widened[node.output[0]] = node.input[0]
        if node.op_type in _SUMS:
            roles[node.input[1]] = "weight"
        elif node.op_type == "BatchNormalization":
            roles.update(zip(node.input[1:5], _NORM, strict=True))
        elif node.op_type == "Mul":
            for entry in map(str, node.input):
                roles[widened.get(entry) or entry] = "scale"
    return roles


def _drawn(role: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    match role:
        case "weight":
            return random.normal(0, sqrt(2 / prod(shape[1:])), shape)
        case "scale" | "variance":
            return random.uniform(0.5, 1.5, shape)
        case _:
            return random.normal(0, 0.1, shape)
