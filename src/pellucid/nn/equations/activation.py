"""Activations (MATHS.md, section 3): elementwise, and softmax and maxout over channels.

Each function takes the shape of `x` (any rank from 1 to 8) and the attributes, and gives a `System`; `[...]` in a
text stands for all axes. Derivatives at a kink are those of MATHS.md: ReLU's at 0 is 0. Branches that are not
taken are kept from overflowing (`min(0, x)` under an exponential), because 0 times infinity has no value.
"""

from __future__ import annotations

import math

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, elementwise_axes, system
from pellucid.nn.equations.window import integer

__all__ = [
    "SELU_ALPHA",
    "SELU_SCALE",
    "celu",
    "elu",
    "gelu",
    "hardmax",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "identity",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "maxout",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]

# Klambauer et al., "Self-normalizing neural networks", 2017.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def identity(x: Shape) -> System:
    """`z = x`."""
    return _elementwise("x[...]", x)


def sigmoid(x: Shape) -> System:
    """`1 / (1 + exp(-x))`, without overflow."""
    return _elementwise("sigmoid(x[...])", x)


def logsigmoid(x: Shape) -> System:
    """`log(sigmoid(x))`, without overflow."""
    return _elementwise("-softplus(-x[...])", x)


def tanh(x: Shape) -> System:
    """`tanh(x)`."""
    return _elementwise("tanh(x[...])", x)


def relu(x: Shape) -> System:
    """`max(x, 0)`, with derivative 0 at 0."""
    return _elementwise("max(x[...], 0)", x)


def relu6(x: Shape) -> System:
    """`min(max(x, 0), 6)`."""
    return _elementwise("min(max(x[...], 0), 6)", x)


def leaky_relu(x: Shape, *, negative_slope: float = 0.01) -> System:
    """`x` where it is positive, else `negative_slope * x`."""
    return _elementwise("where(x[...] > 0, x[...], A*x[...])", x, A=_number("negative_slope", negative_slope))


def prelu(x: Shape, a: Shape) -> System:
    """`x` where it is positive, else `a * x` with a learnt slope: one for all (1,), or one per last axis (c,)."""
    axes = _axes(x)
    if a not in ((1,), (x[-1],)):
        raise ShapeError(f"`weight` {a} must have shape (1,) or ({x[-1]},)")
    slope = "a[c]" if a == (x[-1],) else "a[0]"
    if len(x) > 1 or slope == "a[0]":
        axes[-1] = "c"
    cells = ",".join(axes)
    return system(f"z[{cells}] = where(x[{cells}] > 0, x[{cells}], {slope}*x[{cells}])")


def elu(x: Shape, *, alpha: float = 1.0) -> System:
    """`x` where it is positive, else `alpha * (exp(x) - 1)`."""
    return _elementwise("where(x[...] > 0, x[...], A*expm1(min(0, x[...])))", x, A=_number("alpha", alpha))


def celu(x: Shape, *, alpha: float = 1.0) -> System:
    """`x` where it is positive, else `alpha * (exp(x / alpha) - 1)`: the slope at 0 is 1 on both sides."""
    alpha = _number("alpha", alpha)
    if alpha <= 0:
        raise ArgumentError(f"`alpha` (={alpha}) must be greater than 0")
    return _elementwise("where(x[...] > 0, x[...], A*expm1(min(0, x[...]) / A))", x, A=alpha)


def selu(x: Shape, *, alpha: float = SELU_ALPHA, scale: float = SELU_SCALE) -> System:
    """ELU times `scale`, with the two constants of self-normalising networks."""
    alpha, scale = _number("alpha", alpha), _number("scale", scale)
    text = "where(x[...] > 0, L*x[...], LA*expm1(min(0, x[...])))"
    return _elementwise(text, x, L=scale, LA=scale * alpha)


def softplus(x: Shape, *, beta: float = 1.0) -> System:
    """`log(1 + exp(beta * x)) / beta`, without overflow and exact at every x (no linear part past a threshold)."""
    beta = _number("beta", beta)
    if beta <= 0:
        raise ArgumentError(f"`beta` (={beta}) must be greater than 0")
    return _elementwise("softplus(B*x[...]) / B", x, B=beta)


def softsign(x: Shape) -> System:
    """`x / (1 + abs(x))`."""
    return _elementwise("x[...] / (1 + abs(x[...]))", x)


def silu(x: Shape, *, beta: float = 1.0) -> System:
    """`x * sigmoid(beta * x)`, also called swish."""
    if beta == 1:
        return _elementwise("x[...]*sigmoid(x[...])", x)
    return _elementwise("x[...]*sigmoid(B*x[...])", x, B=_number("beta", beta))


def gelu(x: Shape, *, approximate: str = "none") -> System:
    """`x * Phi(x)` with the normal distribution's Phi, or the usual approximation by tanh."""
    if approximate == "none":
        return _elementwise("0.5*x[...]*(1 + erf(R*x[...]))", x, R=math.sqrt(0.5))
    if approximate == "tanh":
        text = "0.5*x[...]*(1 + tanh(Q*(x[...] + 0.044715*x[...]**3)))"
        return _elementwise(text, x, Q=math.sqrt(2 / math.pi))
    raise ArgumentError(f"`approximate` (={approximate!r}) must be 'none' or 'tanh'")


def hardsigmoid(x: Shape, *, slope: float = 1 / 6, offset: float = 0.5) -> System:
    """`min(max(slope * x + offset, 0), 1)`, by default `min(max(x + 3, 0), 6) / 6`."""
    if (slope, offset) == (1 / 6, 0.5):
        return _elementwise("min(max(x[...] + 3, 0), 6) / 6", x)
    slope, offset = _number("slope", slope), _number("offset", offset)
    return _elementwise("min(max(A*x[...] + B, 0), 1)", x, A=slope, B=offset)


def hardswish(x: Shape) -> System:
    """`x * min(max(x + 3, 0), 6) / 6`, in pieces so that an infinite `x` is never multiplied by 0."""
    return _elementwise("where(abs(x[...]) < 3, x[...]*(x[...] + 3) / 6, max(x[...], 0))", x)


def mish(x: Shape) -> System:
    """`x * tanh(softplus(x))`."""
    return _elementwise("x[...]*tanh(softplus(x[...]))", x)


def hardtanh(x: Shape, *, min_val: float = -1.0, max_val: float = 1.0) -> System:
    """The clipped line `min(max(x, min_val), max_val)`; derivative 1 strictly inside, else 0."""
    low, high = _number("min_val", min_val), _number("max_val", max_val)
    if low >= high:
        raise ArgumentError(f"`min_val` (={low}) must be smaller than `max_val` (={high})")
    return _elementwise("min(max(x[...], LO), HI)", x, LO=low, HI=high)


def maxout(x: Shape, *, pieces: int) -> System:
    """The largest of each `pieces` neighbouring channels: (..., c) becomes (..., c / pieces)."""
    axes = _axes(x)
    pieces = integer("pieces", pieces, 1)
    if x[-1] % pieces:
        raise ArgumentError(f"`channels` (={x[-1]}) must be divisible by `pieces` (={pieces})")
    outer = "".join(f"{axis}," for axis in axes[:-1])
    text = f"z[{outer}u] = max(v) x[{outer}u*V+v]"
    return system(text, constants={"V": pieces}, extents={"u": x[-1] // pieces, "v": pieces})


def softmax(x: Shape, *, dim: int = -1) -> System:
    """`exp(x - largest) / total` over the axis `dim`."""
    cells, rest = _softmax_axes(x, dim)
    return system(*exponentials(cells, rest), f"z[{cells}] = power[{cells}] / total{rest}")


def log_softmax(x: Shape, *, dim: int = -1) -> System:
    """`x - largest - log(total)` over the axis `dim`: no digit is lost where a probability is near 0 or 1."""
    cells, rest = _softmax_axes(x, dim)
    text = f"z[{cells}] = x[{cells}] - stop(largest{rest}) - log(total{rest})"
    return system(*exponentials(cells, rest), text)


def hardmax(x: Shape, *, dim: int = -1) -> System:
    """1 at the first of the largest over the axis `dim`, 0 elsewhere."""
    cells, rest = _softmax_axes(x, dim)
    text = f"z[{cells}] = [best{rest} == position(c)]"
    return system(f"best{rest} = argmax(c) x[{cells}]", text, extents={"c": x[dim]})


def exponentials(cells: str, rest: str) -> tuple[str, str, str]:
    """The first steps of every softmax over the axis `c`: `largest`, `power` and `total`.

    The largest is subtracted so that nothing overflows; it cancels in the result, so no gradient passes it.
    """
    return (
        f"largest{rest} = max(c) x[{cells}]",
        f"power[{cells}] = exp(x[{cells}] - stop(largest{rest}))",
        f"total{rest} = sum(c) power[{cells}]",
    )


def _softmax_axes(x: Shape, dim: int) -> tuple[str, str]:
    """All indices with `c` at `dim`, and the remaining ones in brackets ("" where none remains)."""
    _axes(x)
    if not -len(x) <= integer("dim", dim, -len(x)) < len(x):
        raise ArgumentError(f"`dim` (={dim}) must be from {-len(x)} to {len(x) - 1}")
    axes = elementwise_axes(len(x), dim)
    rest = [axis for axis in axes if axis != "c"]
    return ",".join(axes), f"[{','.join(rest)}]" if rest else ""


def _elementwise(body: str, x: Shape, **constants: float) -> System:
    cells = ",".join(_axes(x))
    return system(f"z[...] = {body}".replace("...", cells), constants=constants)


def _axes(x: Shape) -> list[str]:
    if 0 in x:
        raise ShapeError(f"`x` {x} is empty")
    return elementwise_axes(len(x))


def _number(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ArgumentError(f"`{name}` (={value}) must be finite")
    return number
