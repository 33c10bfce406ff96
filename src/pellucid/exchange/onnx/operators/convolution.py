"""Convolution and transposed convolution, channels last in memory."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.operators.window import spatial_rank, transposed_windows, window_kernel, windows
from pellucid.exchange.onnx.values import Order, Tensor, channels_last
from pellucid.nn.equations.convolution import conv1d, conv2d, conv3d, conv_transpose_over

__all__: list[str] = []

_CONVOLUTIONS = {1: conv1d, 2: conv2d, 3: conv3d}
_NAMES = {"w": "weight", "b": "bias"}


@operator("Conv")
def convolve(node: Node) -> Tensor:
    """`nn`'s convolution; the weights (out, in / group, window ...) are turned to (window ..., in / group, out)."""
    rank = spatial_rank(node, node.value(0).shape)
    sources = _sources(node, rank, (*range(2, rank + 2), 1, 0))
    x, w, b = sources["x"], sources["w"], sources.get("b")
    over = windows(node, x.shape[2:], window_kernel(node, w.shape))
    step = _CONVOLUTIONS[rank](
        x.memory,
        w.memory,
        None if b is None else b.memory,
        stride=tuple(window.stride for window in over),
        padding=tuple((window.before, window.after) for window in over),
        dilation=tuple(window.dilation for window in over),
        groups=node.integer("group", 1, least=1),
    )
    shape = (x.shape[0], w.shape[0], *(window.output for window in over))
    return node.emit(step, sources, shape, x.order, weights=_NAMES)


@operator("ConvTranspose")
def transpose(node: Node) -> Tensor:
    """The input gradient of a convolution; weights (in, out / group, window ...)."""
    rank = spatial_rank(node, node.value(0).shape)
    sources = _sources(node, rank, (*range(2, rank + 2), 1, 0))
    x, w, b = sources["x"], sources["w"], sources.get("b")
    over = transposed_windows(node, x.shape[2:], window_kernel(node, w.shape))
    groups = node.integer("group", 1, least=1)
    step = conv_transpose_over(over, x.memory, w.memory, None if b is None else b.memory, groups=groups)
    shape = (x.shape[0], w.shape[1] * groups, *(window.extent for window in over))
    return node.emit(step, sources, shape, x.order, weights=_NAMES)


def _sources(node: Node, rank: int, order: Order) -> Mapping[str, Tensor]:
    """Input, weights and perhaps a bias, as the equations call them."""
    weights = node.value(1).shape
    if len(weights) != rank + 2:
        node.damaged(f"input 1 {weights} must have {rank + 2} dimensions, as input 0 has")
    found = {"x": node.tensor(0, channels_last(rank + 2)), "w": node.tensor(1, order)}
    b = node.optional(2)
    return found if b is None else found | {"b": b}
