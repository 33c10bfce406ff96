"""What the operators of ONNX mean: equations for those that compute, NumPy for integers and shapes."""

from pellucid.exchange.onnx import host
from pellucid.exchange.onnx.operators import (
    activation,
    cast,
    comparison,
    convolution,
    dense,
    elementwise,
    losses,
    moving,
    normalization,
    padding,
    pooling,
    recurrent,
    reduction,
    resize,
    selection,
    shape,
)
from pellucid.exchange.onnx.operators.registry import HOST_OPERATORS, OPERATORS, Operator

__all__ = ["HOST_OPERATORS", "OPERATORS", "Operator"]

_FAMILIES = (
    activation,
    cast,
    comparison,
    convolution,
    dense,
    elementwise,
    host,
    losses,
    moving,
    normalization,
    padding,
    pooling,
    recurrent,
    reduction,
    resize,
    selection,
    shape,
)
