"""Losses between a prediction `y` and a target `t` of the same shape (MATHS.md, section 6).

Each function takes the shapes of its tensors and the attributes, and gives a `System` whose result is 0-d with
reduction="mean" (over all elements) or "sum", and has the shape of the prediction with "none". The losses over
classes are in `classification.py`.
"""

from __future__ import annotations

import math

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, elementwise_axes, system

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "check_reduction",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mape_loss",
    "mse_loss",
    "msle_loss",
    "smooth_l1_loss",
    "squared_error_loss",
]

REDUCTIONS = ("mean", "sum", "none")

# The smallest normal float32: below it a probability counts as 0, and -log of it as 100, as PyTorch has it.
SMALLEST_PROBABILITY = 2.0**-126
LOG_OF_ZERO = -100.0


def mse_loss(y: Shape, t: Shape, *, reduction: str = "mean") -> System:
    """`(y - t)**2`."""
    return _loss("(y[...] - t[...])**2", y, t, reduction)


def squared_error_loss(y: Shape, t: Shape, *, reduction: str = "sum") -> System:
    """`(t - y)**2 / 2`, whose gradient is `y - t`."""
    return _loss("(t[...] - y[...])**2 / 2", y, t, reduction)


def l1_loss(y: Shape, t: Shape, *, reduction: str = "mean") -> System:
    """`abs(y - t)`, with derivative 0 where they are equal."""
    return _loss("abs(y[...] - t[...])", y, t, reduction)


def msle_loss(y: Shape, t: Shape, *, reduction: str = "mean") -> System:
    """`(log(1 + y) - log(1 + t))**2` for `y, t > -1`."""
    return _loss("(log1p(y[...]) - log1p(t[...]))**2", y, t, reduction)


def mape_loss(y: Shape, t: Shape, *, eps: float = 1e-8, reduction: str = "mean") -> System:
    """`abs(y - t) / max(abs(t), eps)`, as a fraction of 1 and not of 100."""
    return _loss("abs(y[...] - t[...]) / max(abs(t[...]), E)", y, t, reduction, {"E": _positive("eps", eps)})


def huber_loss(y: Shape, t: Shape, *, delta: float = 1.0, reduction: str = "mean") -> System:
    """`(y - t)**2 / 2` up to `delta`, beyond it the line that continues it."""
    error = "y[...] - t[...]"
    text = f"where(abs({error}) < D, ({error})**2 / 2, D*(abs({error}) - D/2))"
    return _loss(text, y, t, reduction, {"D": _positive("delta", delta)})


def smooth_l1_loss(y: Shape, t: Shape, *, beta: float = 1.0, reduction: str = "mean") -> System:
    """`(y - t)**2 / (2*beta)` up to `beta`, beyond it `abs(y - t) - beta/2`; `beta` = 0 is the L1 loss."""
    if beta == 0:
        return l1_loss(y, t, reduction=reduction)
    error = "y[...] - t[...]"
    text = f"where(abs({error}) < B, ({error})**2 / (2*B), abs({error}) - B/2)"
    return _loss(text, y, t, reduction, {"B": _positive("beta", beta)})


def hinge_loss(y: Shape, t: Shape, *, reduction: str = "mean") -> System:
    """`max(1 - t*y, 0)` for targets 1 and -1."""
    return _loss("max(1 - t[...]*y[...], 0)", y, t, reduction)


def kl_div(y: Shape, t: Shape, *, reduction: str = "mean", log_target: bool = False) -> System:
    """`t * (log(t) - y)` with `y` a log-probability; `log_target` says that `t` is one too.

    reduction="batchmean" divides the sum by the first extent: the divergence by its definition.
    """
    target = "exp(t[...])" if log_target else "t[...]"
    logarithm = "t[...]" if log_target else "log(where(t[...] > 0, t[...], 1))"
    return _loss(f"{target}*({logarithm} - y[...])", y, t, reduction, batchmean=True)


def binary_cross_entropy(y: Shape, t: Shape, w: Shape | None = None, *, reduction: str = "mean") -> System:
    """`-(t*log(y) + (1 - t)*log(1 - y))`, the logarithms held at -100; `w` weighs the elements."""
    text = f"-(t[...]*{_clamped_log('y[...]')} + (1 - t[...])*{_clamped_log('1 - y[...]')})"
    constants = {"TINY": SMALLEST_PROBABILITY, "LOW": LOG_OF_ZERO}
    return _loss(_weighted(text, w, y), y, t, reduction, constants)


def binary_cross_entropy_with_logits(
    y: Shape, t: Shape, w: Shape | None = None, p: Shape | None = None, *, reduction: str = "mean"
) -> System:
    """The same of `sigmoid(y)`, without overflow; `p`, of the last extent, weighs the positive targets.

    `t*softplus(-y) + (1 - t)*softplus(y)`: each term is exact near 0, where the usual form
    `softplus(y) - t*y` is the difference of two large numbers.
    """
    if p is not None and p not in ((1,), (y[-1],)):
        raise ShapeError(f"`pos_weight` {p} must have shape (1,) or ({y[-1]},)")
    positive = ""
    if p is not None:
        positive = "p[c]*" if p == (y[-1],) else "p[0]*"
    text = f"{positive}t[...]*softplus(-y[...]) + (1 - t[...])*softplus(y[...])"
    return _loss(_weighted(f"({text})", w, y), y, t, reduction)


def check_reduction(reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Refuse a `reduction` that is not known."""
    if reduction not in allowed:
        names = ", ".join(f"'{name}'" for name in allowed[:-1])
        raise ArgumentError(f"`reduction` (={reduction!r}) must be {names} or '{allowed[-1]}'")


def _loss(
    text: str,
    y: Shape,
    t: Shape,
    reduction: str,
    constants: dict[str, float] | None = None,
    batchmean: bool = False,
) -> System:
    """The loss per element, reduced; `[...]` stands for all axes of the prediction."""
    check_reduction(reduction, (*REDUCTIONS, "batchmean") if batchmean else REDUCTIONS)
    if not y or 0 in y:
        raise ShapeError(f"`input` {y} must have at least 1 dimension and no extent of 0")
    if t != y:
        raise ShapeError(f"`target` {t} must have the shape of `input` {y}")
    axes = ",".join(elementwise_axes(len(y)))
    body = text.replace("...", axes)
    if reduction == "none":
        return system(f"z[{axes}] = {body}", constants=constants)
    if reduction == "sum":
        return system(f"z = sum({axes}) ({body})", constants=constants)
    count = y[0] if reduction == "batchmean" else math.prod(y)
    return system(f"z = (sum({axes}) ({body})) / N", constants={**(constants or {}), "N": count})


def _clamped_log(value: str) -> str:
    """log(value), at least -100; the argument stays positive so that the branch not taken has a derivative."""
    return f"where({value} > TINY, log(max({value}, TINY)), LOW)"


def _weighted(text: str, w: Shape | None, y: Shape) -> str:
    if w is None:
        return text
    if w == y:
        return f"w[...]*{text}"
    if w == (y[-1],):
        return f"w[c]*{text}"
    raise ShapeError(f"`weight` {w} must have the shape of `input` {y} or its last extent")


def _positive(name: str, value: float) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ArgumentError(f"`{name}` (={value}) must be greater than 0 and finite")
    return number
