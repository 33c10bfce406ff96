from __future__ import annotations

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor, channels_last
from pellucid.nn.equations import convolution


@operator("Conv")
def conv(node: Node) -> Tensor:
    rank = node.tensor(0).rank
    x = node.tensor(0, channels_last(rank))
    w = node.tensor(1, (*range(2, rank), 1, 0))
    b = node.optional(2)
    pads = node.integers("pads", (0,) * (2 * (rank - 2)))
    half = len(pads) // 2
    step = convolution.conv2d(
        x.memory,
        w.memory,
        None if b is None else b.memory,
        stride=node.integers("strides", (1, 1)),
        padding=tuple(zip(pads[:half], pads[half:], strict=True)),
        groups=node.integer("group", 1),
    )

    sources = {"x": x, "w": w} | ({} if b is None else {"b": b})
    h = [
        (x.shape[2 + a] + pads[a] + pads[half + a] - w.shape[2 + a]) // node.integers("strides", (1, 1))[a] + 1
        for a in range(2)
    ]
    return node.emit(step, sources, (x.shape[0], w.shape[0], *h), x.order, weights={"w": "weight", "b": "bias"})
