"""Arithmetic and functions, cell by cell, with broadcasting.

NaN passes through everything here, `Max`, `Min` and `Clip` too, as it does in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Value, is_floating
from pellucid.exchange.onnx.writing import broadcast_shape

__all__ = ["fold"]

# So many operands stand in one equation; more are taken in several.
TERMS = 8

BINARY: Mapping[str, str] = MappingProxyType(
    {"Add": "{x} + {y}", "Sub": "{x} - {y}", "Mul": "{x}*{y}", "Div": "{x} / {y}"}
)

UNARY: Mapping[str, str] = MappingProxyType(
    {
        "Abs": "abs({x})",
        "Acosh": "where({x} < BIG, log1p({x} - 1 + sqrt(({x} - 1)*({x} + 1))), log({x}) + LOG2)",
        "Asinh": "sign({x})*where(abs({x}) < BIG, log1p(abs({x}) + {x}*{x} / (1 + sqrt({x}*{x} + 1))), "
        "log(abs({x})) + LOG2)",
        "Atanh": "0.5*(log1p({x}) - log1p(-{x}))",
        "Ceil": "-floor(-{x})",
        "Cos": "cos({x})",
        "Cosh": "0.5*(exp({x}) + exp(-{x}))",
        "Erf": "erf({x})",
        "Exp": "exp({x})",
        "Floor": "floor({x})",
        "Log": "log({x})",
        "Neg": "-{x}",
        "Reciprocal": "1 / {x}",
        # Half a unit goes to the even neighbour.
        "Round": "sign({x})*where(abs({x}) - floor(abs({x})) < 0.5, floor(abs({x})), "
        "where(abs({x}) - floor(abs({x})) > 0.5, floor(abs({x})) + 1, 2*floor(0.5*floor(abs({x})) + 0.5)))",
        "Sign": "sign({x})",
        "Sin": "sin({x})",
        "Sinh": "0.5*(expm1({x}) - expm1(-{x}))",
        "Sqrt": "sqrt({x})",
        "Tan": "sin({x}) / cos({x})",
    }
)
_CONSTANTS = MappingProxyType({"BIG": 1e9, "LOG2": 0.6931471805599453})

# Towards zero: what integers are divided by, and what a cast to one does.
TRUNCATED = "sign({x} / {y})*floor(abs({x} / {y}))"

# The name under which a file's array is trained.
_WEIGHTS = MappingProxyType({"Add": "bias", "Mul": "scale"})


@operator(*BINARY)
def arithmetic(node: Node) -> Value:
    """Two operands, broadcast. What a file's array of two numbers or more is added to has a bias, what it is
    multiplied with a scale, and both are trained; subtracting and dividing is how pictures are prepared."""
    x, y = node.value(0), node.value(1)
    if node.op == "Div" and x.dtype.kind in "iu":
        return node.elementwise(TRUNCATED, {"x": x, "y": y})
    weights = _trained(node.op, {"x": x, "y": y})
    return node.elementwise(BINARY[node.op], {"x": x, "y": y}, weights=weights)


def _trained(op: str, operands: Mapping[str, Value]) -> dict[str, str] | None:
    for local, value in operands.items():
        if op not in _WEIGHTS or not isinstance(value, Host) or value.varies or not value.name:
            continue
        if is_floating(value.dtype) and value.array.size > 1:
            return {local: _WEIGHTS[op]}
    return None


@operator(*UNARY)
def function(node: Node) -> Value:
    """A function of one operand; whole numbers are what `Floor`, `Ceil` and `Round` leave as they are."""
    text = UNARY[node.op]
    constants = {name: value for name, value in _CONSTANTS.items() if name in text}
    return node.elementwise(text, {"x": node.value(0)}, constants=constants)


@operator("Pow")
def power(node: Node) -> Value:
    """`x ** y`, of the type of `x`."""
    x = node.value(0)
    text = "floor({x}**{y})" if x.dtype.kind in "iu" else "{x}**{y}"
    return node.elementwise(text, {"x": x, "y": node.value(1)}, dtype=x.dtype)


@operator("Mod")
def modulo(node: Node) -> Value:
    """What a division leaves, with the sign of the divisor, or with `fmod` that of the dividend.

    Floats are exact as long as the quotient is: below 2^24 in float32.
    """
    x, y = node.value(0), node.value(1)
    fmod = node.truth("fmod")
    if is_floating(x.dtype) and not fmod and node.version < 28:
        node.damaged("attribute `fmod` (=0) must be 1 for floating-point numbers")
    shape = broadcast_shape((x.shape, y.shape))
    if 0 in shape:
        return node.empty(shape, x.dtype)
    infinite = {"FAR": float("inf")}
    left = "where(abs({y}) < FAR, abs({x}) - floor(abs({x}) / abs({y}))*abs({y}), abs({x}))"
    rest = node.elementwise(left, {"x": x, "y": y}, constants=infinite, part="rest")
    # A quotient that was rounded to the next whole number leaves a divisor too few, or too many.
    near = "where({r} < 0, {r} + abs({y}), where({r} >= abs({y}), {r} - abs({y}), {r}))"
    rest = node.elementwise(near, {"r": rest, "y": y}, part="left")
    if fmod:
        return node.elementwise("where({x} < 0, -{r}, {r})", {"x": x, "r": rest}, dtype=x.dtype)
    opposite = "where(sign({x})*sign({y}) < 0 and {r} > 0, sign({y})*(abs({y}) - {r}), sign({y})*{r})"
    return node.elementwise(opposite, {"x": x, "y": y, "r": rest}, dtype=x.dtype)


@operator("Max", "Min", "Sum")
def of_several(node: Node) -> Value:
    """The largest, the smallest or the sum of any number of operands, broadcast."""
    return fold(node, node.op, [node.value(number) for number in range(len(node.inputs))])


@operator("Mean")
def mean(node: Node) -> Value:
    """The sum of the operands, divided by their number."""
    total = fold(node, "Sum", [node.value(number) for number in range(len(node.inputs))], part="sum")
    return node.elementwise("{x} / {n}", {"x": total, "n": Host(np.asarray(float(len(node.inputs))))})


def fold(node: Node, op: str, values: Sequence[Value], part: str = "") -> Value:
    """Operands taken together by `Max`, `Min` or `Sum`, so many in one equation as stand in `TERMS`."""
    if not values:
        node.damaged("it has no input")
    waiting = list(values)
    step = 0
    while step == 0 or len(waiting) > 1:
        taken = {f"x{number}": value for number, value in enumerate(waiting[:TERMS])}
        terms = [f"{{{local}}}" for local in taken]
        text = " + ".join(terms) if op == "Sum" else terms[0]
        for term in terms[1:] if op != "Sum" else ():
            text = f"{op.lower()}({text}, {term})"
        rest = waiting[TERMS:]
        made = node.elementwise(text, taken, part=f"{part or op.lower()}{step}" if rest else part)
        waiting, step = [made, *rest], step + 1
    return waiting[0]
