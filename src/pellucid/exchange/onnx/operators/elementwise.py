"""Arithmetic and functions, cell by cell, with broadcasting."""

from __future__ import annotations

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor
from pellucid.nn.equations import activation

__all__: list[str] = []

BINARY = {"Add": "{x} + {y}", "Sub": "{x} - {y}", "Mul": "{x}*{y}", "Div": "{x} / {y}"}


@operator(*BINARY)
def arithmetic(node: Node) -> Tensor:
    """Two operands, broadcast; a known array of a bias' shape is one that is trained."""
    x, y = node.value(0), node.value(1)
    return node.elementwise(BINARY[node.op], {"x": x, "y": y})


@operator("Relu")
def relu(node: Node) -> Tensor:
    """`max(x, 0)`."""
    x = node.tensor(0)
    return node.emit(activation.relu(x.memory), {"x": x}, x.shape, x.order)
