"""Arithmetic, comparison and logic, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.host.types import inputs
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import on_host
from pellucid.exchange.onnx.writing import broadcast_shape

__all__ = ["together"]

_Function = Callable[..., Any]

UNARY: Mapping[str, _Function] = MappingProxyType(
    {
        "Abs": np.abs,
        "Acos": np.arccos,
        "Acosh": np.arccosh,
        "Asin": np.arcsin,
        "Asinh": np.arcsinh,
        "Atan": np.arctan,
        "Atanh": np.arctanh,
        "BitwiseNot": np.invert,
        "Ceil": np.ceil,
        "Cos": np.cos,
        "Cosh": np.cosh,
        "Exp": np.exp,
        "Floor": np.floor,
        "IsNaN": np.isnan,
        "Log": np.log,
        "Neg": np.negative,
        "Not": np.logical_not,
        "Reciprocal": np.reciprocal,
        "Round": np.rint,
        "Sign": np.sign,
        "Sin": np.sin,
        "Sinh": np.sinh,
        "Sqrt": np.sqrt,
        "Tan": np.tan,
        "Tanh": np.tanh,
    }
)

BINARY: Mapping[str, _Function] = MappingProxyType(
    {
        "Add": np.add,
        "And": np.logical_and,
        "BitwiseAnd": np.bitwise_and,
        "BitwiseOr": np.bitwise_or,
        "BitwiseXor": np.bitwise_xor,
        "Equal": np.equal,
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Mul": np.multiply,
        "Or": np.logical_or,
        "Sub": np.subtract,
        "Xor": np.logical_xor,
    }
)

SEVERAL: Mapping[str, _Function] = MappingProxyType({"Max": np.maximum, "Min": np.minimum, "Sum": np.add})


def together(node: Node, arrays: Sequence[Array | None], least: int) -> list[Array]:
    """The inputs, so many of which must be there, when what they broadcast to is within the limits."""
    found = inputs(arrays, node, least)
    node.program.check_size(broadcast_shape([array.shape for array in found]))
    return found


@on_host(*UNARY)
def function(node: Node, arrays: Sequence[Array | None]) -> Array:
    """A function of one operand."""
    return UNARY[node.op](together(node, arrays, 1)[0])


@on_host(*BINARY)
def operation(node: Node, arrays: Sequence[Array | None]) -> Array:
    """An operation on two operands."""
    x, y = together(node, arrays, 2)
    return BINARY[node.op](x, y)


@on_host(*SEVERAL)
def of_several(node: Node, arrays: Sequence[Array | None]) -> Array:
    """An operation on any number of operands."""
    return reduce(SEVERAL[node.op], together(node, arrays, 1))


@on_host("Mean")
def mean(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The sum of all, divided by their number."""
    found = together(node, arrays, 1)
    return (reduce(np.add, found) / len(found)).astype(found[0].dtype)


@on_host("Relu")
def relu(node: Node, arrays: Sequence[Array | None]) -> Array:
    """`max(x, 0)`."""
    x = inputs(arrays, node, 1)[0]
    return np.maximum(x, np.zeros((), x.dtype))


@on_host("Div")
def division(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Integers are divided towards 0; dividing one by 0 gives 0."""
    x, y = together(node, arrays, 2)
    if x.dtype.kind not in "iu":
        return np.divide(x, y)
    down = np.floor_divide(x, y)
    inexact = (down * y != x) & ((x < 0) != (y < 0)) & (y != 0)
    return down + inexact.astype(down.dtype)


@on_host("Mod")
def modulo(node: Node, arrays: Sequence[Array | None]) -> Array:
    """What a division leaves, with the sign of the divisor, or with `fmod` that of the dividend."""
    x, y = together(node, arrays, 2)
    return np.fmod(x, y) if node.truth("fmod") else np.mod(x, y)


@on_host("Pow")
def power(node: Node, arrays: Sequence[Array | None]) -> Array:
    """`x ** y`, of the type of `x`; exact for integers."""
    x, y = together(node, arrays, 2)
    if x.dtype.kind in "iu" and y.dtype.kind in "iu" and (y >= 0).all():
        return np.power(x, y.astype(x.dtype))
    if x.dtype == y.dtype and x.dtype.kind == "f":
        return np.power(x, y)
    return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)


@on_host("BitShift")
def bit_shift(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Bits moved so many places; to the right, the sign comes after."""
    x, y = together(node, arrays, 2)
    width = 8 * x.dtype.itemsize
    if node.text("direction", choices=("LEFT", "RIGHT")) == "RIGHT" and x.dtype.kind == "i":
        return np.right_shift(x, np.minimum(y, np.asarray(width - 1, y.dtype)))
    shift = np.left_shift if node.text("direction") == "LEFT" else np.right_shift
    return np.where(y < width, shift(x, y), np.zeros((), x.dtype))


@on_host("IsInf")
def is_infinite(node: Node, arrays: Sequence[Array | None]) -> Array:
    """True at the infinities that are asked for."""
    x = inputs(arrays, node, 1)[0]
    positive, negative = node.truth("detect_positive", True), node.truth("detect_negative", True)
    return np.isinf(x) & np.where(x > 0, positive, negative)


@on_host("Clip")
def clip(node: Node, arrays: Sequence[Array | None]) -> Array:
    """`min(max(x, low), high)`; bounds are attributes before opset 11, then inputs, and may be left out."""
    x = inputs(arrays, node, 1)[0]
    if node.version < 11:
        bounds = [
            np.asarray(node.number(name, infinite=True), x.dtype) if node.has(name) else None for name in ("min", "max")
        ]
    else:
        bounds = [*arrays[1:], None, None][:2]
    for bound, choose in zip(bounds, (np.maximum, np.minimum), strict=True):
        if bound is not None:
            if bound.size != 1:
                node.damaged(f"a bound must be one number, has shape {bound.shape}")
            x = choose(x, bound.reshape(()))
    return x
