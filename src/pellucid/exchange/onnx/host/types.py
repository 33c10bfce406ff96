"""Casts between all types that ONNX has, those of 8 bits and fewer and strings too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import on_host

__all__ = ["FLOATS_OF_8_BITS", "dtype_numbered", "inputs", "is_integer", "target_type"]

FLOATS_OF_8_BITS = frozenset(
    np.dtype(kind)
    for kind in (
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
    )
)
_SCALE = np.dtype(ml_dtypes.float8_e8m0fnu)


def inputs(arrays: Sequence[Array | None], node: Node, least: int) -> list[Array]:
    """The first inputs, so many of which must be there, and all behind them."""
    found = [array for array in arrays[:least] if array is not None]
    if len(found) < least:
        node.damaged(f"it reads {least} inputs, has {len(found)}")
    return found + [array for array in arrays[least:] if array is not None]


def dtype_numbered(node: Node, number: int) -> np.dtype[Any]:
    """The type with this number in ONNX."""
    if number not in TensorProto.DataType.values() or number == TensorProto.UNDEFINED:
        node.damaged(f"there is no type of elements with the number {number}")
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def target_type(node: Node) -> np.dtype[Any]:
    """The type that `Cast` or `CastLike` gives."""
    return node.value(1).dtype if node.op == "CastLike" else dtype_numbered(node, node.integer("to"))


@on_host("Cast", "CastLike")
def cast(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Every element as another type."""
    x, kind = inputs(arrays, node, 1)[0], target_type(node)
    if x.dtype == kind:
        return x
    if x.dtype.kind in "OU":
        return _from_text(x, kind)
    if kind.kind in "OU":
        return np.vectorize(str, otypes=[object])(x) if x.size else x.astype(object)
    if kind == _SCALE:
        mode = node.text("round_mode", "up", choices=("up", "down", "nearest"))
        exact = x.astype(np.float32)
        return numpy_helper.to_float8e8m0(exact, saturate=node.truth("saturate", True), round_mode=mode).astype(kind)
    made = _whole(x).astype(kind) if is_integer(kind) else x.astype(kind)
    if kind in FLOATS_OF_8_BITS and node.truth("saturate", True):
        exact = x.astype(np.float64)
        most = float(ml_dtypes.finfo(kind).max)
        beyond = ~np.isnan(exact) & ~np.isfinite(made.astype(np.float64))
        made = np.where(beyond, np.sign(exact) * most, made.astype(np.float64)).astype(kind)
    return made


def is_integer(kind: np.dtype[Any]) -> bool:
    """Whether it is a type of whole numbers, of any width."""
    return kind.kind in "iu" or "int" in kind.name


def _whole(x: Array) -> Array:
    """Without what stands behind the point."""
    return x if x.dtype.kind in "iub" or is_integer(x.dtype) else np.trunc(x)


def _from_text(x: Array, kind: np.dtype[Any]) -> Array:
    if kind.kind in "iu":
        return np.asarray([int(float(text)) if "." in text else int(text) for text in x.reshape(-1)], kind).reshape(
            x.shape
        )
    return np.asarray([float(text) for text in x.reshape(-1)], np.float64).astype(kind).reshape(x.shape)
