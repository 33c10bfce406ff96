"""The head of a network: the last layer with weights, for another number of classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.graph import Array, OnnxGraph, OnnxNode
from pellucid.nn.initialisers import initialiser

__all__ = ["classes_of", "with_head"]

# What may stand between the head and the output: nothing that has weights, or that tells classes apart by place.
_PASSED = frozenset(
    {"Add", "Relu", "Softmax", "LogSoftmax", "Sigmoid", "Dropout", "Identity", "Cast"}
    | {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
    | {"GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "ReduceMax"}
)


@dataclass(frozen=True)
class _Head:
    """The node of the head, the arrays that have an extent for each class with the axis where it stands, and the nodes
    behind it."""

    node: OnnxNode
    arrays: dict[str, int]
    behind: tuple[OnnxNode, ...]
    classes: int


def classes_of(graph: OnnxGraph) -> int:
    """The number of classes that the network tells apart: the rows of its head.

    Raises ArgumentError where it does not end with a layer that has weights.
    """
    return _head(graph).classes


def with_head(graph: OnnxGraph, classes: int, *, seed: int = 0) -> OnnxGraph:
    """The graph with a head for so many classes, with new weights (as `nn.Linear` begins) and a bias of 0.

    Raises ArgumentError where it does not end with a layer that has weights.
    """
    head = _head(graph)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, classes))))
    new: dict[str, Array] = {}
    names: dict[str, str] = {}
    for name, axis in head.arrays.items():
        old = graph.initialisers[name]
        shape = tuple(classes if place == axis else extent for place, extent in enumerate(old.shape))
        names[name] = f"{name}.head"
        if name == head.node.inputs[1]:
            drawn = initialiser("he_uniform").draw(shape, prod(shape) // classes, classes, random)
            new[names[name]] = drawn.astype(old.dtype)
        else:
            new[names[name]] = np.zeros(shape, old.dtype)
    for node in head.behind:
        # A target that was written out has the number of classes in it.
        if node.op == "Reshape" and node.inputs[1] in graph.initialisers:
            target = graph.initialisers[node.inputs[1]].copy()
            target[target == head.classes] = classes
            names[node.inputs[1]] = f"{node.inputs[1]}.head"
            new[names[node.inputs[1]]] = target
    changed = {node.name for node in (head.node, *head.behind)}
    nodes = tuple(
        replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)) if node.name in changed else node
        for node in graph.nodes
    )
    outputs = tuple(replace(port, shape=None) for port in graph.outputs)
    return replace(graph, nodes=nodes, outputs=outputs, initialisers={**graph.initialisers, **new})


def _head(graph: OnnxGraph) -> _Head:
    made = {name: node for node in graph.nodes for name in node.outputs if name}
    node, behind = made.get(graph.outputs[0].name), list[OnnxNode]()
    biases: dict[str, int] = {}
    while node is not None and node.op in _PASSED:
        behind.append(node)
        known = [name for name in node.inputs if name in graph.initialisers]
        if node.op == "Add":
            biases |= {name: graph.initialisers[name].ndim - 1 for name in known}
        computed = [name for name in node.inputs if name and name not in graph.initialisers]
        node = made.get(computed[0]) if len(computed) == 1 or node.op != "Add" else None
    if node is None or node.op not in ("Gemm", "MatMul", "Conv") or node.inputs[1] not in graph.initialisers:
        told = "its input" if node is None else f"node {node.name!r} ({node.op})"
        raise ArgumentError(
            f"{graph.source}: the head cannot be replaced: "
            f"the network ends with {told}, not with a layer that has weights"
        )
    weight = graph.initialisers[node.inputs[1]]
    axis = 0 if node.op == "Conv" or (node.op == "Gemm" and node.attributes.get("transB")) else weight.ndim - 1
    classes = weight.shape[axis]
    if node.op == "Conv" and node.attributes.get("group", 1) != 1:
        raise ArgumentError(f"{graph.source}: the head cannot be replaced: {node.title} has groups")
    arrays = {node.inputs[1]: axis}
    if len(node.inputs) > 2 and node.inputs[2] in graph.initialisers:
        biases[node.inputs[2]] = graph.initialisers[node.inputs[2]].ndim - 1
    for name, place in biases.items():
        if graph.initialisers[name].ndim and graph.initialisers[name].shape[place] == classes:
            arrays[name] = place
    return _Head(node, arrays, tuple(behind), classes)
