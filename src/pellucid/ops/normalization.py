"""Normalisation and dropout on arrays; float32 or float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.nn import equations
from pellucid.ops.operation import Applied, Array, check_array, floats, operation, shape_of

__all__ = ["batch_norm", "dropout", "layer_norm", "local_response_norm"]


@operation
def batch_norm(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    layout: str = "NHWC",
) -> Applied:
    """`(x - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c]`, channels last or, with "NCHW", second.

    In training the statistics are those of the batch, and running arrays that are given are moved towards them by
    the fraction `momentum`, in place (the variance unbiased), as in PyTorch; otherwise they are the statistics.

    Raises ShapeError for fewer than 2 values a channel in training, ArgumentError where the running statistics are
    needed and missing, or have to be written and are read-only.
    """
    floats(x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    affine = {"w": weight, "b": bias}
    running = {"mean": running_mean, "variance": running_var}
    operands = {"x": x, **running, **affine}
    shapes = shape_of(weight), shape_of(bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("`running_mean` and `running_var` must be given unless `training` is true")
        system = equations.batch_norm_inference(
            x.shape, running_mean.shape, running_var.shape, *shapes, eps=eps, layout=layout
        )
        return Applied(system, operands)
    system = equations.batch_norm(x.shape, *shapes, eps=eps, layout=layout)
    updates = _running_updates(x, running_mean, running_var, momentum, layout)
    return Applied(system, operands, unused=frozenset(running), updates=updates)


@operation
def layer_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Applied:
    """Mean 0 and variance 1 over the last axes, whose extents are `normalized_shape`, times `weight` plus `bias`."""
    floats(x=x, weight=weight, bias=bias)
    system = equations.layer_norm(x.shape, shape_of(weight), shape_of(bias), normalized_shape=normalized_shape, eps=eps)
    return Applied(system, {"x": x, "w": weight, "b": bias})


@operation
def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, layout: str = "NHWC"
) -> Applied:
    """`x / (k + alpha/size * sum of x**2 over size neighbouring channels) ** beta`."""
    floats(x=x)
    system = equations.local_response_norm(x.shape, size=size, alpha=alpha, beta=beta, k=k, layout=layout)
    return Applied(system, {"x": x})


@operation
def dropout(
    x: Array,
    p: float = 0.5,
    training: bool = True,
    mask: Array | None = None,
    generator: np.random.Generator | None = None,
) -> Applied:
    """`x * mask / (1 - p)`: each element is 0 with probability `p`, and the expected value stays; `x` if not training.

    The mask is an array of ones and zeros (or booleans) of the shape of `x`; without one it is drawn from
    `generator`, a new unseeded one unless given.
    """
    floats(x=x)
    if not training:
        return Applied(equations.identity(x.shape), {"x": x})
    if mask is None:
        generator = np.random.default_rng() if generator is None else generator
        mask = generator.random(x.shape) >= p
    check_array("mask", mask)
    if mask.dtype.kind not in "bf":
        raise DtypeError(f"`mask` has dtype {mask.dtype}; bool or the floating type of `x` is needed")
    return Applied(equations.dropout(x.shape, mask.shape, p=p), {"x": x, "m": mask.astype(x.dtype)})


def _running_updates(
    x: Array, mean: Array | None, variance: Array | None, momentum: float, layout: str
) -> tuple[tuple[Array, Applied], ...]:
    updates: list[tuple[Array, Applied]] = []
    for name, array, equation in (
        ("running_mean", mean, equations.running_mean),
        ("running_var", variance, equations.running_variance),
    ):
        if array is None:
            continue
        if not array.flags.writeable:
            raise ArgumentError(f"`{name}` is read-only; in training it is updated in place")
        if np.may_share_memory(array, x):
            raise ShapeError(f"`{name}` overlaps `x`; in training it is updated in place")
        system = equation(x.shape, array.shape, momentum=momentum, layout=layout)
        updates.append((array, Applied(system, {"x": x, "running": array})))
    return tuple(updates)
