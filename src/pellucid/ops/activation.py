"""Activations on arrays of any rank (MATHS.md, section 3), float32 or float64."""

from __future__ import annotations

from collections.abc import Callable

from pellucid.language.system import System
from pellucid.nn import equations
from pellucid.ops.operation import Applied, Array, floats, operation

__all__ = [
    "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "maxout", "mish",
    "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
]  # fmt: skip


def _of(x: Array, equation: Callable[[tuple[int, ...]], System]) -> Applied:
    floats(x=x)
    return Applied(equation(x.shape), {"x": x})


@operation
def sigmoid(x: Array) -> Applied:
    """`1 / (1 + exp(-x))`, without overflow."""
    return _of(x, equations.sigmoid)


@operation
def logsigmoid(x: Array) -> Applied:
    """`log(sigmoid(x))`, without overflow."""
    return _of(x, equations.logsigmoid)


@operation
def tanh(x: Array) -> Applied:
    """`tanh(x)`."""
    return _of(x, equations.tanh)


@operation
def relu(x: Array) -> Applied:
    """`max(x, 0)`; the derivative at 0 is 0."""
    return _of(x, equations.relu)


@operation
def relu6(x: Array) -> Applied:
    """`min(max(x, 0), 6)`."""
    return _of(x, equations.relu6)


@operation
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Applied:
    """`x` where it is positive, else `negative_slope * x`."""
    floats(x=x)
    return Applied(equations.leaky_relu(x.shape, negative_slope=negative_slope), {"x": x})


@operation
def prelu(x: Array, weight: Array) -> Applied:
    """`x` where it is positive, else `weight * x`; `weight` (1,) or one for each index of the last axis."""
    floats(x=x, weight=weight)
    return Applied(equations.prelu(x.shape, weight.shape), {"x": x, "a": weight})


@operation
def elu(x: Array, alpha: float = 1.0) -> Applied:
    """`x` where it is positive, else `alpha * (exp(x) - 1)`."""
    floats(x=x)
    return Applied(equations.elu(x.shape, alpha=alpha), {"x": x})


@operation
def selu(x: Array) -> Applied:
    """ELU with the two constants of self-normalising networks."""
    return _of(x, equations.selu)


@operation
def softplus(x: Array, beta: float = 1.0) -> Applied:
    """`log(1 + exp(beta * x)) / beta`; exact at every x, so there is no threshold."""
    floats(x=x)
    return Applied(equations.softplus(x.shape, beta=beta), {"x": x})


@operation
def softsign(x: Array) -> Applied:
    """`x / (1 + abs(x))`."""
    return _of(x, equations.softsign)


@operation
def silu(x: Array) -> Applied:
    """`x * sigmoid(x)`."""
    return _of(x, equations.silu)


@operation
def gelu(x: Array, approximate: str = "none") -> Applied:
    """`x * Phi(x)`, with Phi exact ("none") or approximated by tanh ("tanh")."""
    floats(x=x)
    return Applied(equations.gelu(x.shape, approximate=approximate), {"x": x})


@operation
def hardsigmoid(x: Array) -> Applied:
    """`min(max(x + 3, 0), 6) / 6`."""
    return _of(x, equations.hardsigmoid)


@operation
def hardswish(x: Array) -> Applied:
    """`x * min(max(x + 3, 0), 6) / 6`."""
    return _of(x, equations.hardswish)


@operation
def mish(x: Array) -> Applied:
    """`x * tanh(softplus(x))`."""
    return _of(x, equations.mish)


@operation
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Applied:
    """`min(max(x, min_val), max_val)`: the clipped line; derivative 1 strictly inside, else 0."""
    floats(x=x)
    return Applied(equations.hardtanh(x.shape, min_val=min_val, max_val=max_val), {"x": x})


@operation
def maxout(x: Array, pieces: int) -> Applied:
    """The largest of each `pieces` neighbouring channels of the last axis, which becomes that much shorter."""
    floats(x=x)
    return Applied(equations.maxout(x.shape, pieces=pieces), {"x": x})


@operation
def softmax(x: Array, dim: int = -1) -> Applied:
    """`exp(x) / sum(exp(x))` over the axis `dim`, without overflow."""
    floats(x=x)
    return Applied(equations.softmax(x.shape, dim=dim), {"x": x})


@operation
def log_softmax(x: Array, dim: int = -1) -> Applied:
    """`log(softmax(x))` over the axis `dim`, without loss of digits."""
    floats(x=x)
    return Applied(equations.log_softmax(x.shape, dim=dim), {"x": x})
