"""Comparison and logic. In the program a truth is the number 1 or 0; where it leaves it, it is a boolean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Value

__all__: list[str] = []

COMPARISONS: Mapping[str, str] = MappingProxyType(
    {
        "And": "{x}*{y}",
        "Equal": "[{x} == {y}]",
        "Greater": "[{x} > {y}]",
        "GreaterOrEqual": "[{x} >= {y}]",
        "Less": "[{x} < {y}]",
        "LessOrEqual": "[{x} <= {y}]",
        "Or": "max({x}, {y})",
        "Xor": "[{x} != {y}]",
    }
)
_BOOL = np.dtype(np.bool_)


@operator(*COMPARISONS)
def comparison(node: Node) -> Value:
    """Two operands, broadcast; NaN is equal to nothing, and neither more nor less."""
    return node.elementwise(COMPARISONS[node.op], {"x": node.value(0), "y": node.value(1)}, dtype=_BOOL)


@operator("Not")
def inverted(node: Node) -> Value:
    """True where the operand is false."""
    return node.elementwise("1 - {x}", {"x": node.value(0)}, dtype=_BOOL)


@operator("IsNaN")
def is_nan(node: Node) -> Value:
    """True where there is no number: NaN alone is not equal to itself."""
    return node.elementwise("[{x} != {x}]", {"x": node.value(0)}, dtype=_BOOL)


@operator("IsInf")
def is_infinite(node: Node) -> Value:
    """True at the infinities that are asked for, both unless an attribute says otherwise."""
    positive, negative = node.truth("detect_positive", True), node.truth("detect_negative", True)
    text = "[abs({x}) == FAR]" if positive and negative else "[{x} == FAR]" if positive else "[-{x} == FAR]"
    constants = {"FAR": float("inf")}
    if not positive and not negative:
        text, constants = "0*[{x} == {x}]", {}
    return node.elementwise(text, {"x": node.value(0)}, constants=constants, dtype=_BOOL)
