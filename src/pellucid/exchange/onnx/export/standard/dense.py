"""Fully connected layers and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, single, texts_of
from pellucid.exchange.onnx.values import Order, channels_last, natural
from pellucid.nn.equations import dense, normalization

__all__ = ["propose"]


def propose(layer: Described) -> Proposal | None:
    """Nodes for a fully connected layer, or a normalisation."""
    if len(layer.orders) != 1:
        return None
    return _linear(layer) or _batch_norm(layer) or _layer_norm(layer) or _local_response_norm(layer)


def _linear(layer: Described) -> Proposal | None:
    w, b = layer.parameter("w"), layer.parameter("b")
    if w is None or len(w) != 2 or layer.shape[-1] != w[0] or b not in (None, w[1:]):
        return None
    if layer.texts != texts_of(dense.linear((2, *layer.shape), w, b)):
        return None

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        names = [parameters.write(nodes, local, parameters[local]) for local in "wb" if local in parameters]
        if layer.rank == 2:
            return nodes.add("Gemm", sources[0], *names)
        product = nodes.add("MatMul", sources[0], names[0])
        return nodes.add("Add", product, names[1]) if len(names) > 1 else product

    order = natural(layer.rank)
    return Proposal((order,), order, write, rows="w")


@cache
def _batch_norms(rank: int) -> frozenset[tuple[str, ...]]:
    x, c = (2,) * rank, (2,)
    return frozenset(texts_of(normalization.batch_norm_inference(x, c, c, w, b)) for w in (None, c) for b in (None, c))


def _batch_norm(layer: Described) -> Proposal | None:
    if layer.texts not in _batch_norms(layer.rank):
        return None
    channels = layer.shape[-1]

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        names = [_affine(nodes, parameters, local, (channels,)) for local in ("w", "b", "mean", "variance")]
        return nodes.add("BatchNormalization", sources[0], *names, epsilon=float(layer.constants["E"]))

    order = channels_last(layer.rank)
    return Proposal((order,), order, write)


def _layer_norm(layer: Described) -> Proposal | None:
    if layer.opset < 17:
        return None
    shape = layer.parameter("w")
    for count in range(1, layer.rank):
        over = layer.shape[-count:]
        if shape in (None, over) and layer.texts == texts_of(
            normalization.layer_norm((2, *layer.shape), shape, layer.parameter("b"), normalized_shape=over)
        ):
            return _layer_norm_over(layer, count)
    return None


def _layer_norm_over(layer: Described, count: int) -> Proposal:
    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        names = [_affine(nodes, parameters, "w", layer.shape[-count:])]
        if "b" in parameters:
            names.append(parameters.write(nodes, "b", parameters["b"]))
        epsilon = float(layer.constants["E"])
        return nodes.add("LayerNormalization", sources[0], *names, axis=-count, epsilon=epsilon)

    order: Order = natural(layer.rank)
    return Proposal((order,), order, write)


def _affine(nodes: Nodes, parameters: Parameters, local: str, shape: Sequence[int]) -> str:
    """A parameter, or what changes nothing where the layer has none."""
    if local in parameters:
        return parameters.write(nodes, local, parameters[local])
    return nodes.constant(np.ones(shape) if local == "w" else np.zeros(shape))


def _local_response_norm(layer: Described) -> Proposal | None:
    size = layer.extents.get("s")
    if size is None or layer.rank < 3 or layer.layer.parameters:
        return None
    if layer.texts != texts_of(normalization.local_response_norm((2, *layer.shape), size=size)):
        return None
    alpha, beta, bias = (float(layer.constants[name]) for name in "ABK")
    attributes: dict[str, Any] = {"alpha": alpha * size, "beta": -beta, "bias": bias, "size": size}
    order = channels_last(layer.rank)
    return Proposal((order,), order, single("LRN", **attributes))
