"""Casts. The program computes in one floating type; what a value is called matters where it leaves it.

So between floating types nothing is done in the program, and a number that float16 would round is rounded at the border
alone. The same holds for the types of 8 bits and fewer, but such a value can only leave: no other node may read it.
"""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np

from pellucid.exchange.onnx.host.types import FLOATS_OF_8_BITS, is_integer, target_type
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Value, is_narrow

__all__: list[str] = []


@operator("Cast", "CastLike")
def cast(node: Node) -> Value:
    """To a type that an attribute names, or that of the second input; towards 0 from a float to an integer."""
    x, kind = node.value(0), target_type(node)
    if x.dtype == kind:
        return x
    if is_narrow(x.dtype) or kind.kind not in "fiubV":
        node.refuse(f"numbers that the network computes are not cast from {x.dtype} to {kind}")
    if kind.kind == "b":
        return node.elementwise("[{x} != 0]", {"x": x}, dtype=np.dtype(np.bool_))
    if kind in FLOATS_OF_8_BITS and node.truth("saturate", True):
        most = float(ml_dtypes.finfo(kind).max)
        return node.elementwise("min(max({x}, -MOST), MOST)", {"x": x}, constants={"MOST": most}, dtype=kind)
    if kind == np.dtype(ml_dtypes.float8_e8m0fnu):
        node.refuse(f"numbers that the network computes are not cast to {kind}, which has its own rules of rounding")
    if is_integer(kind) and not is_integer(x.dtype) and x.dtype.kind != "b":
        return node.elementwise("sign({x})*floor(abs({x}))", {"x": x}, dtype=kind)
    if isinstance(x, Host) or x.positions:
        return node.elementwise("{x}", {"x": x}, dtype=kind)
    return replace(x, dtype=kind)
