"""Reductions over axes, and running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.host.types import inputs
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.reduction import reduced_axes
from pellucid.exchange.onnx.operators.registry import on_host

__all__: list[str] = []

_Reduction = Callable[[Array, tuple[int, ...]], Any]


def _sum(x: Array, axes: tuple[int, ...]) -> Any:
    return np.sum(x, axes, dtype=x.dtype, keepdims=True)


def _largest(x: Array, axes: tuple[int, ...]) -> Any:
    return np.max(x, axes, keepdims=True, initial=_extremes(x)[0])


def _smallest(x: Array, axes: tuple[int, ...]) -> Any:
    return np.min(x, axes, keepdims=True, initial=_extremes(x)[1])


def _log_sum_exp(x: Array, axes: tuple[int, ...]) -> Any:
    largest = _largest(x, axes)
    taken = np.where(np.isfinite(largest), largest, np.zeros((), x.dtype))
    return np.log(_sum(np.exp(x - taken), axes)) + taken


def _extremes(x: Array) -> tuple[Any, Any]:
    """What is below all numbers of the type, and what is above: the largest and the smallest of none."""
    if x.dtype == bool:
        return False, True
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        return limits.min, limits.max
    return -np.inf, np.inf


REDUCTIONS: Mapping[str, _Reduction] = MappingProxyType(
    {
        "ReduceL1": lambda x, axes: _sum(np.abs(x), axes),
        "ReduceL2": lambda x, axes: np.sqrt(_sum(x * x, axes)),
        "ReduceLogSum": lambda x, axes: np.log(_sum(x, axes)),
        "ReduceLogSumExp": _log_sum_exp,
        "ReduceMax": _largest,
        "ReduceMean": lambda x, axes: np.mean(x, axes, keepdims=True),
        "ReduceMin": _smallest,
        "ReduceProd": lambda x, axes: np.prod(x, axes, dtype=x.dtype, keepdims=True),
        "ReduceSum": _sum,
        "ReduceSumSquare": lambda x, axes: _sum(x * x, axes),
    }
)


@on_host(*REDUCTIONS)
def reduction(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Over the axes of an attribute or, in later opsets, an input; of no elements what each is defined to give."""
    x = inputs(arrays, node, 1)[0]
    axes = reduced_axes(node, x.ndim)
    found = REDUCTIONS[node.op](x, axes).astype(x.dtype)
    return found if node.truth("keepdims", True) else np.squeeze(found, axes)


@on_host("CumSum", "CumProd")
def running(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Each element with all before it along an axis; without it where `exclusive`, with all behind where `reverse`."""
    x, place = inputs(arrays, node, 2)
    axis = node.checked_axis(int(place.reshape(())), x.ndim)
    add, neutral = (np.cumsum, 0) if node.op == "CumSum" else (np.cumprod, 1)
    reverse = node.truth("reverse")
    x = np.flip(x, axis) if reverse else x
    found = add(x, axis, dtype=x.dtype)
    if node.truth("exclusive"):
        found = np.roll(found, 1, axis)
        found[(slice(None),) * axis + (slice(0, 1),)] = neutral
    return np.flip(found, axis) if reverse else found
