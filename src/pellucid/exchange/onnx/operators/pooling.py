"""Pools: the largest value, mean or norm of windows, or of all positions; channels last in memory."""

from __future__ import annotations

import numpy as np

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.operators.window import kernel_shape, spatial_rank, windows
from pellucid.exchange.onnx.values import Tensor, channels_last, natural
from pellucid.language.system import System
from pellucid.nn.equations.notation import OUTPUT_AXES, SUFFIXES, image, system
from pellucid.nn.equations.pooling import (
    avg_pool_over,
    global_avg_pool,
    global_max_pool,
    lp_pool_over,
    max_pool_over,
)
from pellucid.nn.equations.window import Window, window_constants

__all__: list[str] = []

# Positions in the input, beside `m` for the image and `d` for the channel.
_PLACES = {1: ("p",), 2: ("p", "q"), 3: ("o", "p", "q")}


@operator("MaxPool")
def max_pool(node: Node) -> tuple[Tensor, ...]:
    """The largest value of each window, and where in the whole input it stands."""
    x, over = _image(node), _windows(node)
    by_columns = node.truth("storage_order")
    made = _emitted(node, max_pool_over(over), x, over)
    if not node.wants(1):
        return (made,)
    step = _winners(x, over, by_columns)
    numbers = node.emit(step, {"x": x}, made.shape, natural(x.rank), np.dtype(np.int64), part="indices", positions=True)
    return made, numbers


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


def _winners(x: Tensor, over: tuple[Window, ...], by_columns: bool) -> System:
    """The row-major number of each window's winner in the whole of `x`, as ONNX orders its axes.

    `argmax` numbers what it reduces over: here all of `x`, of which the conditions leave a window. Another image than
    the window's own, or another channel, is read outside of `x`, where nothing wins: this costs less than a condition.
    """
    rank = len(over)
    places, outputs, suffixes = _PLACES[rank], OUTPUT_AXES[rank], SUFFIXES[rank]
    conditions: list[str] = []
    constants = window_constants(over, "SDP") | {"N": x.shape[0], "C": x.shape[1]}
    extents = {"n": x.shape[0], "m": x.shape[0], "c": x.shape[1], "d": x.shape[1]}
    for place, i, a, window in zip(places, outputs, suffixes, over, strict=True):
        conditions += [f"{place} >= {i}*S{a}-P{a}", f"{place} < {i}*S{a}-P{a}+R{a}"]
        if window.dilation > 1:
            conditions.append(f"({place} - {i}*S{a} + P{a})%D{a} == 0")
        else:
            del constants[f"D{a}"]
        constants[f"R{a}"] = window.reach
        extents |= {place: window.extent, i: window.output}
    reduced = ",".join(("m", "d", *(reversed(places) if by_columns else places)))
    read = ",".join(("m + (m-n)*N", *places, "d + (d-c)*C"))
    cells = ",".join(("n", "c", *outputs))
    return system(
        f"z[{cells}] = argmax({reduced} : {', '.join(conditions)}) x[{read}]", constants=constants, extents=extents
    )
