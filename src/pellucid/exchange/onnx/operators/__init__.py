"""What the operators of ONNX mean: equations for those that compute, NumPy for integers and shapes."""

from pellucid.exchange.onnx import host
from pellucid.exchange.onnx.operators import (
    activation,
    cast,
    comparison,
    convolution,
    elementwise,
    losses,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    selection,
)
from pellucid.exchange.onnx.operators.registry import HOST_OPERATORS, OPERATORS, Operator

__all__ = ["HOST_OPERATORS", "OPERATORS", "Operator"]

_FAMILIES = (
    activation,
    cast,
    comparison,
    convolution,
    elementwise,
    host,
    losses,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    selection,
)
