"""Losses on arrays (MATHS.md, section 6): `input` is the prediction, `target` what it should be.

Both are float32 or float64 arrays of one shape, or `target` holds integer labels where the loss is over classes. The
result is 0-d with reduction="mean" or "sum", and one value for each element (or row of classes) with "none".
"""

from __future__ import annotations

import numpy as np

from pellucid.nn import equations
from pellucid.ops.operation import Applied, Array, check_array, check_values, floats, labels, operation, shape_of

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "categorical_cross_entropy", "cross_entropy",
    "hinge_loss", "huber_loss", "kl_div", "l1_loss", "mape_loss", "mse_loss", "msle_loss", "nll_loss",
    "smooth_l1_loss", "squared_error_loss",
]  # fmt: skip


@operation
def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Applied:
    """`(input - target)**2`."""
    floats(input=input, target=target)
    return Applied(equations.mse_loss(input.shape, target.shape, reduction=reduction), {"y": input, "t": target})


@operation
def squared_error_loss(input: Array, target: Array, reduction: str = "sum") -> Applied:
    """`(target - input)**2 / 2`, summed: the error of the classical texts, with gradient `input - target`."""
    floats(input=input, target=target)
    system = equations.squared_error_loss(input.shape, target.shape, reduction=reduction)
    return Applied(system, {"y": input, "t": target})


@operation
def l1_loss(input: Array, target: Array, reduction: str = "mean") -> Applied:
    """`abs(input - target)`; derivative 0 where they are equal."""
    floats(input=input, target=target)
    return Applied(equations.l1_loss(input.shape, target.shape, reduction=reduction), {"y": input, "t": target})


@operation
def msle_loss(input: Array, target: Array, reduction: str = "mean") -> Applied:
    """`(log(1 + input) - log(1 + target))**2`; ArgumentError for a value of -1 or less."""
    floats(input=input, target=target)
    for name, array in (("input", input), ("target", target)):
        check_values(name, array, array > -1, "greater than -1")
    return Applied(equations.msle_loss(input.shape, target.shape, reduction=reduction), {"y": input, "t": target})


@operation
def mape_loss(input: Array, target: Array, eps: float = 1e-8, reduction: str = "mean") -> Applied:
    """`abs(input - target) / max(abs(target), eps)`, as a fraction of 1."""
    floats(input=input, target=target)
    system = equations.mape_loss(input.shape, target.shape, eps=eps, reduction=reduction)
    return Applied(system, {"y": input, "t": target})


@operation
def huber_loss(input: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Applied:
    """Half the squared error up to `delta`, beyond it the line that continues it."""
    floats(input=input, target=target)
    system = equations.huber_loss(input.shape, target.shape, delta=delta, reduction=reduction)
    return Applied(system, {"y": input, "t": target})


@operation
def smooth_l1_loss(input: Array, target: Array, reduction: str = "mean", beta: float = 1.0) -> Applied:
    """The Huber loss divided by `beta`; with `beta` = 0 the L1 loss."""
    floats(input=input, target=target)
    system = equations.smooth_l1_loss(input.shape, target.shape, beta=beta, reduction=reduction)
    return Applied(system, {"y": input, "t": target})


@operation
def hinge_loss(input: Array, target: Array, reduction: str = "mean") -> Applied:
    """`max(1 - target*input, 0)`; ArgumentError for a target that is neither 1 nor -1."""
    floats(input=input, target=target)
    check_values("target", target, np.abs(target) == 1, "1 or -1")
    return Applied(equations.hinge_loss(input.shape, target.shape, reduction=reduction), {"y": input, "t": target})


@operation
def kl_div(input: Array, target: Array, reduction: str = "mean", log_target: bool = False) -> Applied:
    """`target * (log(target) - input)` with `input` log-probabilities; reduction="batchmean" too."""
    floats(input=input, target=target)
    if not log_target:
        check_values("target", target, target >= 0, "at least 0")
    system = equations.kl_div(input.shape, target.shape, reduction=reduction, log_target=log_target)
    return Applied(system, {"y": input, "t": target})


@operation
def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None, reduction: str = "mean") -> Applied:
    """`-(target*log(input) + (1 - target)*log(1 - input))`, the logarithms held at -100.

    ArgumentError for a probability in `input` or `target` outside 0 .. 1.
    """
    floats(input=input, target=target, weight=weight)
    for name, array in (("input", input), ("target", target)):
        check_values(name, array, (array >= 0) & (array <= 1), "from 0 to 1")
    system = equations.binary_cross_entropy(input.shape, target.shape, shape_of(weight), reduction=reduction)
    return Applied(system, {"y": input, "t": target, "w": weight})


@operation
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Applied:
    """The same of `sigmoid(input)`, without overflow; `pos_weight` (last extent,) weighs the positive targets."""
    floats(input=input, target=target, weight=weight, pos_weight=pos_weight)
    system = equations.binary_cross_entropy_with_logits(
        input.shape, target.shape, shape_of(weight), shape_of(pos_weight), reduction=reduction
    )
    return Applied(system, {"y": input, "t": target, "w": weight, "p": pos_weight})


@operation
def categorical_cross_entropy(input: Array, target: Array, reduction: str = "mean") -> Applied:
    """`-sum(k) target_k log(input_k)` of probabilities (not logits: `cross_entropy`), classes last."""
    floats(input=input, target=target)
    system = equations.categorical_cross_entropy(input.shape, target.shape, reduction=reduction)
    return Applied(system, {"y": input, "t": target})


@operation
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Applied:
    """`-log(softmax(input))` at the label; gradient `softmax(input) - target`.

    `input` (n, ..., classes) logits, classes last; `target` integer labels (n, ...), or probabilities with the shape
    of `input`; `weight` (classes,). A row whose label is `ignore_index` counts as nothing.
    ArgumentError for a label that is neither a class nor the ignored one.
    """
    labelled = _target(input, target, weight, ignore_index)
    system = equations.cross_entropy(
        input.shape,
        target.shape,
        shape_of(weight),
        ignore_index=ignore_index if labelled else None,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return Applied(system, {"y": input, "t": target, "w": weight})


@operation
def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Applied:
    """`-weight[target] * input[target]` with `input` log-probabilities, classes last; `target` integer labels."""
    floats(input=input, weight=weight)
    labels("target", target, input.shape[-1] if input.ndim else 1, ignore_index)
    system = equations.nll_loss(
        input.shape, target.shape, shape_of(weight), ignore_index=ignore_index, reduction=reduction
    )
    return Applied(system, {"y": input, "t": target, "w": weight})


def _target(input: Array, target: Array, weight: Array | None, ignore_index: int) -> bool:
    """Checks both kinds of target; true for labels."""
    floats(input=input, weight=weight)
    check_array("target", target)
    if target.dtype.kind == "f":
        floats(input=input, target=target)
        return False
    labels("target", target, input.shape[-1] if input.ndim else 1, ignore_index)
    return True
