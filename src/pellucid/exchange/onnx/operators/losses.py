"""Losses over classes, as `nn` has them: classes are turned to be the last axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor, Value, channels_last
from pellucid.language.system import System
from pellucid.nn.equations.activation import log_softmax
from pellucid.nn.equations.classification import cross_entropy, nll_loss

__all__: list[str] = []


@operator("SoftmaxCrossEntropyLoss", lookups=(1,))
def softmax_cross_entropy(node: Node) -> Sequence[Value | None]:
    """Cross-entropy of logits and labels, and the logarithms of the probabilities."""
    loss = _loss(node, cross_entropy)
    if not node.wants(1):
        return loss, None
    x = node.tensor(0, channels_last(node.tensor(0).rank))
    return loss, node.emit(log_softmax(x.memory), {"x": x}, x.shape, x.order, part="log_prob")


@operator("NegativeLogLikelihoodLoss", lookups=(1,))
def negative_log_likelihood(node: Node) -> Tensor:
    """`-w[t]*y[t]` of logarithms of probabilities and labels."""
    return _loss(node, nll_loss)


def _loss(node: Node, written: Callable[..., System]) -> Tensor:
    y = node.tensor(0)
    if y.rank < 2:
        node.damaged(f"input 0 must have at least 2 axes (batch, classes), has shape {y.shape}")
    y = node.tensor(0, channels_last(y.rank))
    t = node.lookup(1)
    labels = (y.shape[0], *y.shape[2:])
    if t.shape != labels:
        node.damaged(f"labels must have shape {labels}, have {t.shape}")
    w = node.optional(2)
    if w is not None and w.shape != (y.shape[1],):
        node.damaged(f"weights must have shape {(y.shape[1],)}, have {w.shape}")
    reduction = node.text("reduction", "mean", choices=("none", "mean", "sum"))
    ignored = node.integer("ignore_index", least=-(2**63), most=2**63 - 1) if node.has("ignore_index") else None
    step = written(y.memory, t.memory, None if w is None else w.memory, ignore_index=ignored, reduction=reduction)
    sources = {"y": y, "t": t} | ({} if w is None else {"w": w})
    return node.emit(step, sources, labels if reduction == "none" else (), dtype=y.dtype)
