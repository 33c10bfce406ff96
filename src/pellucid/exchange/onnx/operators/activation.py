"""Activations: the equations of `nn`, in the order in which the axes stand in memory."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Tensor, Value, channels_last, natural
from pellucid.language.system import System
from pellucid.nn.equations import activation
from pellucid.nn.equations.notation import Shape

__all__: list[str] = []


def _activated(node: Node, equations: Callable[[Shape], System]) -> Value:
    """What these equations make of the first input, cell by cell."""
    if 0 in node.value(0).shape:
        return node.empty(node.value(0).shape, node.value(0).dtype)
    x = node.tensor(0)
    row = x if x.rank else node.view(x, (1,), part="row")
    made = node.emit(equations(row.memory), {"x": row}, row.shape, row.order)
    return made if x.rank else node.view(made, (), part="number")


@operator("Relu")
def relu(node: Node) -> Value:
    """`max(x, 0)`."""
    return _activated(node, activation.relu)


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Value:
    """`x` where it is positive, else `alpha * x`."""
    alpha = node.number("alpha", 0.01)
    return _activated(node, lambda x: activation.leaky_relu(x, negative_slope=alpha))


@operator("PRelu")
def prelu(node: Node) -> Value:
    """`x` where it is positive, else `slope * x`: one slope for all, for each channel, or broadcast."""
    x, slope = node.value(0), node.value(1)
    rank = len(x.shape)
    if rank > 1 and 0 not in x.shape and slope.shape == (x.shape[1], *(1,) * (rank - 2)):
        whole = node.tensor(0, channels_last(rank))
        row = node.view(node.tensor(1), (x.shape[1],), part="slope")
        step = activation.prelu(whole.memory, row.shape)
        return node.emit(step, {"x": whole, "a": row}, whole.shape, whole.order, weights={"a": "weight"})
    text = "where({x} > 0, {x}, {a}*{x})"
    weights = {"a": "weight"} if isinstance(slope, Host) and not slope.varies else None
    return node.elementwise(text, {"x": x, "a": slope}, weights=weights)


@operator("Elu")
def elu(node: Node) -> Value:
    """`x` where it is positive, else `alpha * (exp(x) - 1)`."""
    alpha = node.number("alpha", 1.0)
    return _activated(node, lambda x: activation.elu(x, alpha=alpha))


@operator("Celu")
def celu(node: Node) -> Value:
    """`x` where it is positive, else `alpha * (exp(x / alpha) - 1)`."""
    alpha = node.number("alpha", 1.0)
    return _activated(node, lambda x: activation.celu(x, alpha=alpha))


@operator("Selu")
def selu(node: Node) -> Value:
    """`gamma` times Elu."""
    alpha = _near(node.number("alpha", activation.SELU_ALPHA), activation.SELU_ALPHA)
    scale = _near(node.number("gamma", activation.SELU_SCALE), activation.SELU_SCALE)
    return _activated(node, lambda x: activation.selu(x, alpha=alpha, scale=scale))


def _near(value: float, exact: float) -> float:
    """The exact number, where a file has it in single precision."""
    return exact if np.float32(value) == np.float32(exact) else value


@operator("Sigmoid", "Tanh", "Softsign", "HardSwish", "Mish")
def without_numbers(node: Node) -> Value:
    """Activations that have no attributes."""
    return _activated(node, getattr(activation, node.op.lower()))


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Value:
    """`min(max(alpha * x + beta, 0), 1)`."""
    slope, offset = _near(node.number("alpha", 0.2), 1 / 6), node.number("beta", 0.5)
    return _activated(node, lambda x: activation.hardsigmoid(x, slope=slope, offset=offset))


@operator("Softplus")
def softplus(node: Node) -> Value:
    """`log(1 + exp(x))`."""
    return _activated(node, activation.softplus)


@operator("Gelu")
def gelu(node: Node) -> Value:
    """`x` times the normal distribution's Phi, or the usual approximation of it."""
    approximate = node.text("approximate", "none", choices=("none", "tanh"))
    return _activated(node, lambda x: activation.gelu(x, approximate=approximate))


@operator("Swish")
def swish(node: Node) -> Value:
    """`x * sigmoid(alpha * x)`."""
    alpha = node.number("alpha", 1.0)
    return _activated(node, lambda x: activation.silu(x, beta=alpha))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node) -> Value:
    """`x` where it is above `alpha`, else 0."""
    constants = {"A": node.number("alpha", 1.0)}
    return node.elementwise("where({x} > A, {x}, 0)", {"x": node.value(0)}, constants=constants)


@operator("Shrink")
def shrink(node: Node) -> Value:
    """`x` moved towards 0 by `bias` where it is farther from 0 than `lambd`, else 0."""
    constants = {"B": node.number("bias", 0.0), "L": node.number("lambd", 0.5)}
    text = "where({x} < -L, {x} + B, where({x} > L, {x} - B, 0))"
    return node.elementwise(text, {"x": node.value(0)}, constants=constants)


@operator("Clip")
def clip(node: Node) -> Value:
    """`min(max(x, low), high)`; the bounds are attributes before opset 11, then inputs, and may be left out.

    Where `low` is above `high` all is `high`.
    """
    operands: dict[str, Value] = {"x": node.value(0)}
    limit = float(np.finfo(np.float32).max)
    for number, (local, name) in enumerate((("low", "min"), ("high", "max")), 1):
        if node.version < 11:
            value = node.number(name, limit, infinite=True)
            if abs(value) < limit:
                operands[local] = Host(np.asarray(value))
        elif node.given(number):
            operands[local] = node.value(number)
            if operands[local].shape not in ((), (1,)):
                node.damaged(f"input {number} must be one number, has shape {operands[local].shape}")
    low, high = (_number(operands.get(local)) for local in ("low", "high"))
    if (low, high) == (0.0, 6.0):
        return _activated(node, activation.relu6)
    if low is not None and high is not None and low < high:
        return _activated(node, lambda x: activation.hardtanh(x, min_val=low, max_val=high))
    text = "max({x}, {low})" if "low" in operands else "{x}"
    text = f"min({text}, {{high}})" if "high" in operands else text
    return operands["x"] if len(operands) == 1 else node.elementwise(text, operands)


def _number(value: Value | None) -> float | None:
    """A bound that is known and finite."""
    if not isinstance(value, Host) or value.varies or not np.isfinite(value.array.astype(np.float64)).all():
        return None
    return float(value.array.reshape(()))


@operator("Softmax", "LogSoftmax", "Hardmax")
def over_an_axis(node: Node) -> Value:
    """Softmax, its logarithm, or 1 at the first of the largest and 0 elsewhere.

    Over one axis; before opset 13 over all axes from it on, as if they were one.
    """
    shape = node.value(0).shape
    if 0 in shape:
        return node.empty(shape, node.value(0).dtype)
    x = node.tensor(0)
    if not x.rank:
        node.damaged("a single number has no axis")
    axis = node.axis(x.rank, 1 if node.version < 13 else -1)
    if node.version < 13:
        wide = [number for number in range(axis, x.rank) if x.shape[number] != 1]
        if len(wide) > 1:
            rows = node.view(node.tensor(0, natural(x.rank)), (prod(shape[:axis]), prod(shape[axis:])), part="rows")
            return node.view(_over(node, rows, 1), shape, part="shaped")
        axis = wide[0] if wide else axis
    return _over(node, x, axis)


def _over(node: Node, x: Tensor, axis: int) -> Tensor:
    equations = {"Softmax": activation.softmax, "LogSoftmax": activation.log_softmax, "Hardmax": activation.hardmax}
    step = equations[node.op](x.memory, dim=x.order.index(axis))
    return node.emit(step, {"x": x}, x.shape, x.order)
