"""Standard operators for layers, found by the texts of their equations."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.exchange.onnx.export.standard import cells, dense, moving, recurrent, windows
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal
from pellucid.exchange.onnx.values import Order
from pellucid.nn.written import Growing, WrittenLayer

__all__ = ["Parameters", "Proposal", "propose"]

_FAMILIES = (cells.propose, windows.propose, dense.propose, moving.propose, recurrent.propose)


def propose(layer: WrittenLayer, orders: Sequence[Order], opset: int) -> Proposal | None:
    """Standard operators that may say what the layer does, to be proved; None where no table knows its equations.

    `orders` are those in which the axes of its sources stand in the file.
    """
    if any(isinstance(value, Growing) for value in layer.inference.constants.values()):
        return None
    described = Described(layer, tuple(orders), opset)
    try:
        return next(filter(None, (family(described) for family in _FAMILIES)), None)
    except (KeyError, ValueError):
        # The texts are a known layer's, the numbers are not.
        return None
