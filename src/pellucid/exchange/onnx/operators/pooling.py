"""Pools: the largest value, mean or norm of windows, or of all positions; channels last in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.operators.window import kernel_shape, spatial_rank, windows
from pellucid.exchange.onnx.values import Tensor, channels_last
from pellucid.language.system import System
from pellucid.nn.equations.notation import OUTPUT_AXES, image, system, text_of
from pellucid.nn.equations.pooling import (
    avg_pool_over,
    global_avg_pool,
    global_max_pool,
    lp_pool_over,
    max_pool_over,
)
from pellucid.nn.equations.window import Window, window_constants
from pellucid.nn.layer import Shape

__all__: list[str] = []


@operator("MaxPool")
def max_pool(node: Node) -> tuple[Tensor, ...]:
    """The largest value of each window, and where in the whole input it stands."""
    x, over = _image(node), _windows(node)
    by_columns = node.truth("storage_order")
    made = _emitted(node, max_pool_over(over), x, over)
    if not node.wants(1):
        return (made,)
    kind = np.dtype(np.int64)
    winners = node.emit(_winners(over), {"x": x}, made.shape, x.order, kind, part="indices", positions=True)
    return made, replace(winners, finish=partial(_numbers, shape=x.shape, over=over, by_columns=by_columns))


@operator("AveragePool")
def average_pool(node: Node) -> Tensor:
    """The mean of each window; padding counts as cells of value 0 where `count_include_pad` says so."""
    x, over = _image(node), _windows(node)
    return _emitted(node, avg_pool_over(over, count_include_pad=node.truth("count_include_pad")), x, over)


@operator("LpPool")
def lp_pool(node: Node) -> Tensor:
    """The norm of each window."""
    x, over = _image(node), _windows(node)
    return _emitted(node, lp_pool_over(over, norm_type=_power(node)), x, over)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node) -> Tensor:
    """A pool with one window over all positions, of which a dimension of extent 1 is left."""
    x = _image(node)
    if node.op == "GlobalMaxPool":
        step = global_max_pool(x.memory)
    elif node.op == "GlobalAveragePool":
        step = global_avg_pool(x.memory)
    else:
        step = _global_norm(x, _power(node))
    made = node.emit(step, {"x": x}, x.shape[:2])
    return node.view(made, (*x.shape[:2], *(1 for _ in x.shape[2:])), x.order, part="positions")


def _image(node: Node) -> Tensor:
    rank = spatial_rank(node, node.value(0).shape)
    return node.tensor(0, channels_last(rank + 2))


def _windows(node: Node) -> tuple[Window, ...]:
    shape = node.value(0).shape
    over = windows(node, shape[2:], kernel_shape(node, len(shape) - 2), ceil_mode=node.truth("ceil_mode"))
    for window in over:
        side = max(window.before, window.after)
        if side >= window.reach:
            node.refuse(f"`pads` (={side}) must be smaller than the window (={window.reach}): one lies in the padding")
    return over


def _power(node: Node) -> int:
    return node.integer("p", 2, least=1, most=1024)


def _global_norm(x: Tensor, power: int) -> System:
    over = OUTPUT_AXES[x.rank - 2]
    read = f"x[{image('NHWC', over, 'c')}]"
    total, result = f"total[n,c] = sum({','.join(over)})", "z[n,c] = {}*[total[n,c] > 0]"
    # The root has an infinite derivative at 0: it is taken of 1 there, and its result replaced by 0.
    safe = "where(total[n,c] > 0, total[n,c], 1)"
    if power == 2:
        return system(f"{total} {read}**2", result.format(f"sqrt({safe})"))
    constants = {"Q": float(power), "R": 1 / power}
    return system(f"{total} abs({read})**Q", result.format(f"({safe})**R"), constants=constants)


def _emitted(node: Node, step: System, x: Tensor, over: tuple[Window, ...]) -> Tensor:
    return node.emit(step, {"x": x}, (*x.shape[:2], *(window.output for window in over)), x.order)


def _winners(over: tuple[Window, ...]) -> System:
    """The number of each window's winner within the window."""
    (pooled,) = max_pool_over(over).equations
    text = text_of(pooled).replace("= max(", "= argmax(")
    return system(text, constants=window_constants(over, "SDP"), extents=max_pool_over(over).extents)


def _numbers(winners: Array, shape: Shape, over: tuple[Window, ...], by_columns: bool) -> Array:
    """The number of each winner in the whole input, by rows or by columns, from that in its window."""
    places: list[Array] = []
    rest = winners
    for axis, window in reversed(list(enumerate(over))):
        rest, tap = np.divmod(rest, window.kernel)
        steps = np.arange(window.output).reshape([-1 if axis + 2 == other else 1 for other in range(winners.ndim)])
        places.insert(0, steps * window.stride + tap * window.dilation - window.before)
    pairs = list(zip(places, (window.extent for window in over), strict=True))
    images = np.arange(shape[0] * shape[1], dtype=np.int64).reshape(*shape[:2], *(1 for _ in over))
    number = images
    for place, extent in reversed(pairs) if by_columns else pairs:
        number = number * extent + place
    return number
