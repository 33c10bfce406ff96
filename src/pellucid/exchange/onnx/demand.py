"""Which inputs of a graph must be known, with their values, before a program can be made."""

from __future__ import annotations

from pellucid.exchange.onnx.graph import OnnxGraph
from pellucid.exchange.onnx.operators import OPERATORS

__all__ = ["demanded"]

# What they give follows from the shape of what they read.
_OF_SHAPES = frozenset({"Shape", "Size"})


def demanded(graph: OnnxGraph) -> frozenset[str]:
    """The inputs that decide a shape, or whatever else an operator must know when equations are written."""
    wanted: set[str] = set()
    for node in reversed(graph.nodes):
        operator = OPERATORS.get(node.op)
        if operator is not None:
            wanted.update(name for place, name in enumerate(node.inputs) if place in operator.static)
        if node.op not in _OF_SHAPES and wanted.intersection(node.outputs):
            wanted.update(node.inputs)
    return frozenset(port.name for port in graph.inputs if port.name in wanted)
