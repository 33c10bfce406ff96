"""What the operators of ONNX mean: equations for those that compute, NumPy for integers and shapes."""

from pellucid.exchange.onnx.operators import (
    convolution,
    dense,
    elementwise,
    moving,
    normalization,
    padding,
    pooling,
    shape,
)
from pellucid.exchange.onnx.operators.registry import HOST_OPERATORS, OPERATORS, Operator

__all__ = ["HOST_OPERATORS", "OPERATORS", "Operator"]

_FAMILIES = (convolution, dense, elementwise, moving, normalization, padding, pooling, shape)
