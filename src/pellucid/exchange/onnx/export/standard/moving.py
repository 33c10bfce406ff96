"""What moves values and computes nothing: concatenation, larger images, channels to space and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, single, texts_of
from pellucid.exchange.onnx.values import channels_last
from pellucid.nn.equations import shape

__all__ = ["propose"]


def propose(layer: Described) -> Proposal | None:
    """Nodes for a layer that moves values."""
    if layer.layer.parameters:
        return None
    found = _concatenate(layer)
    if found is not None or layer.rank != 4 or len(layer.orders) != 1:
        return found
    return _blocks(layer) or _upsample(layer)


def _concatenate(layer: Described) -> Proposal | None:
    shapes = [(2, *entry) for entry in layer.layer.shapes]
    if len({len(entry) for entry in shapes}) != 1 or not layer.texts[0].count("sum("):
        return None
    for dim in range(1, layer.rank):
        kept = {entry[:dim] + entry[dim + 1 :] for entry in shapes}
        if len(kept) == 1 and layer.texts == texts_of(shape.concatenate(shapes, dim=dim)):
            order = layer.orders[0]
            return Proposal((order,) * len(shapes), order, single("Concat", axis=order[dim]))
    return None


def _upsample(layer: Described) -> Proposal | None:
    if layer.texts != texts_of(shape.upsample_nearest((2, 2, 2, 2), scale_factor=2)):
        return None
    scales = np.asarray([1, 1, layer.integer("RH"), layer.integer("RW")], np.float32)

    def write(nodes: Nodes, sources: Sequence[str], _: Parameters) -> str:
        factors = nodes.exactly(scales)
        return nodes.add(
            "Resize", sources[0], "", factors,
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip

    order = channels_last(4)
    return Proposal((order,), order, write)


def _blocks(layer: Described) -> Proposal | None:
    x = (2, 4, 4, 4)
    block = layer.constants.get("R")
    if not isinstance(block, int):
        return None
    order = channels_last(4)
    for system, op, attributes in (
        (shape.depth_to_space(x, block=2), "DepthToSpace", {"mode": "DCR"}),
        (shape.pixel_shuffle(x, upscale_factor=2), "DepthToSpace", {"mode": "CRD"}),
        (shape.space_to_depth(x, block=2), "SpaceToDepth", {}),
    ):
        if layer.texts == texts_of(system):
            return Proposal((order,), order, single(op, blocksize=block, **attributes))
    return None
