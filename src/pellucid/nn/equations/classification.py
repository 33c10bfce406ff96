"""Losses over classes: cross-entropy of logits, negative log-likelihood (MATHS.md, section 6).

The classes are the last axis: `y` (n, ..., classes). A target `t` is either an array of labels (n, ...), integers,
or of probabilities with the shape of `y`. A label picks its class by comparison, `where(t[n] == k, ..., 0)`, so an
ignored label, which is no class, picks none. `w` holds a weight for each class.

The mean is the sum divided by the weights of the labels that count, as in PyTorch; with probabilities by the
number of rows.
"""

from __future__ import annotations

import math

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.activation import exponentials
from pellucid.nn.equations.loss import check_reduction
from pellucid.nn.equations.notation import Shape, check_shape, elementwise_axes, system
from pellucid.nn.equations.window import integer

__all__ = ["categorical_cross_entropy", "cross_entropy", "nll_loss"]


def cross_entropy(
    y: Shape,
    t: Shape,
    w: Shape | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> System:
    """`-log(softmax(y))` at the label, or weighed by target probabilities; gradient `softmax(y) - t`.

    `label_smoothing` e mixes the target with the uniform distribution: `(1 - e)*t + e/classes`.
    """
    _check_prediction(y, w)
    check_reduction(reduction)
    smoothing = float(label_smoothing)
    if not 0 <= smoothing < 1:
        raise ArgumentError(f"`label_smoothing` (={label_smoothing}) must be at least 0 and less than 1")
    cells, rest = _axes(y)
    exponential = tuple(text.replace("x[", "y[") for text in exponentials(cells, rest))
    # The logarithm of a row's probabilities is `y - largest - log(total)`; `cost` is minus that.
    cost = f"(log(total{rest}) - (y[{cells}] - stop(largest{rest})))"
    if t == y:
        return _probabilities(exponential, cost, y, w, smoothing, reduction)
    if t != y[:-1]:
        raise ShapeError(f"`target` {t} must have shape {y[:-1]} (labels) or {y} (probabilities)")
    constants: dict[str, int | float] = {}
    row = f"sum(c) where(t{rest} == c, {_times('w[c]', w)}{cost}, 0)"
    if smoothing:
        constants |= {"E": smoothing, "U": smoothing / y[-1]}
        spread = f"sum(c) {_times('w[c]', w)}{cost}"
        counted = f"[t{rest} != IGNORED]*" if ignore_index is not None else ""
        row = f"(1 - E)*({row}) + U*{counted}({spread})"
    return _labelled(exponential, row, rest, y, w, ignore_index, reduction, constants)


def nll_loss(
    y: Shape, t: Shape, w: Shape | None = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> System:
    """`-w[t]*y[t]` with `y` a log-probability: `cross_entropy` behind a `log_softmax`."""
    _check_prediction(y, w)
    check_reduction(reduction)
    check_shape("target", t, y[:-1])
    cells, rest = _axes(y)
    row = f"sum(c) where(t{rest} == c, -{_times('w[c]', w)}y[{cells}], 0)"
    return _labelled((), row, rest, y, w, ignore_index, reduction, {})


def categorical_cross_entropy(y: Shape, t: Shape, *, reduction: str = "mean") -> System:
    """`-sum(k) t_k log(y_k)` of probabilities, where `t_k` is not 0; one value for each row."""
    _check_prediction(y, None)
    check_reduction(reduction)
    check_shape("target", t, y)
    cells, rest = _axes(y)
    row = f"-(sum(c) where(t[{cells}] > 0, t[{cells}]*log(where(t[{cells}] > 0, y[{cells}], 1)), 0))"
    return _reduced((), row, rest, reduction, f"{math.prod(y[:-1])}", {})


def _labelled(
    first: tuple[str, ...],
    row: str,
    rest: str,
    y: Shape,
    w: Shape | None,
    ignore_index: int | None,
    reduction: str,
    constants: dict[str, int | float],
) -> System:
    """The loss of each row by its label, an ignored one 0, and their reduction."""
    if ignore_index is not None:
        constants |= {"IGNORED": _ignored(ignore_index)}
        if 0 <= ignore_index < y[-1]:
            row = f"[t{rest} != IGNORED]*({row})"
    if reduction != "mean" or (w is None and ignore_index is None):
        return _reduced(first, row, rest, reduction, f"{math.prod(y[:-1])}", constants)
    over = rest.strip("[]")
    weight = f"[t{rest} != IGNORED]" if ignore_index is not None else "1"
    if w is not None:
        picked = f"(sum(c) where(t{rest} == c, w[c], 0))"
        weight = f"{weight}*{picked}" if ignore_index is not None else picked
    counted = f"counted = sum({over}) {weight}" if over else f"counted = {weight}"
    return _reduced((*first, counted), row, rest, reduction, "counted", constants)


def _probabilities(
    first: tuple[str, ...], cost: str, y: Shape, w: Shape | None, smoothing: float, reduction: str
) -> System:
    cells, rest = _axes(y)
    constants: dict[str, int | float] = {"E": smoothing, "U": smoothing / y[-1]} if smoothing else {}
    target = f"((1 - E)*t[{cells}] + U)" if smoothing else f"t[{cells}]"
    row = f"sum(c) {_times('w[c]', w)}{target}*{cost}"
    return _reduced(first, row, rest, reduction, f"{math.prod(y[:-1])}", constants)


def _reduced(
    first: tuple[str, ...],
    row: str,
    rest: str,
    reduction: str,
    divisor: str,
    constants: dict[str, int | float],
) -> System:
    """The equations `first`, the loss of each row, and the sum over rows, divided for a mean."""
    over = rest.strip("[]")
    if reduction == "none" or not over:
        mean = reduction == "mean" and divisor == "counted"
        return system(*first, f"z{rest} = ({row}) / counted" if mean else f"z{rest} = {row}", constants=constants)
    texts = (*first, f"loss{rest} = {row}")
    if reduction == "sum":
        return system(*texts, f"z = sum({over}) loss{rest}", constants=constants)
    if divisor != "counted":
        return system(*texts, f"z = (sum({over}) loss{rest}) / N", constants={**constants, "N": int(divisor)})
    return system(*texts, f"z = (sum({over}) loss{rest}) / counted", constants=constants)


def _check_prediction(y: Shape, w: Shape | None) -> None:
    if not y or 0 in y:
        raise ShapeError(f"`input` {y} must have at least 1 dimension and no extent of 0")
    check_shape("weight", w, (y[-1],))


def _axes(y: Shape) -> tuple[str, str]:
    """All indices, classes last as `c`, and the rows' in brackets ("" for a single row)."""
    axes = elementwise_axes(len(y))
    return ",".join(axes), f"[{','.join(axes[:-1])}]" if len(axes) > 1 else ""


def _times(factor: str, w: Shape | None) -> str:
    return f"{factor}*" if w is not None else ""


def _ignored(ignore_index: int) -> int:
    return integer("ignore_index", ignore_index, -(2**63))
