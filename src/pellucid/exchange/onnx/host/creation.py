"""Arrays that are made: constants, ranges, and what follows from a shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.host.types import dtype_numbered, inputs
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import on_host, operator
from pellucid.exchange.onnx.values import Host

__all__: list[str] = []


@on_host("Constant")
def constant(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The array that an attribute holds, in whichever of its forms."""
    if len(node.spec.attributes) != 1:
        node.damaged(f"it must have one attribute, has {len(node.spec.attributes)}")
    ((name, value),) = node.spec.attributes.items()
    if name in ("value", "sparse_value") and isinstance(value, np.ndarray):
        return value
    if name == "value_float":
        return np.asarray(node.spec.attributes[name], np.float32)
    if name == "value_int":
        return np.asarray(node.integer(name, least=-(2**63), most=2**63 - 1), np.int64)
    if name == "value_floats":
        return np.asarray(value, np.float32)
    if name == "value_ints":
        return np.asarray(node.integers(name, least=-(2**63), most=2**63 - 1), np.int64)
    if name in ("value_string", "value_strings"):
        return np.asarray(value, object)
    node.damaged(f"attribute `{name}` holds no constant")


@operator("Shape")
def shape(node: Node) -> Host:
    """The extents, or those from `start` to `end`; known wherever shapes are."""
    extents = node.value(0).shape
    rank = len(extents)
    start, end = node.integer("start", 0), node.integer("end", rank)
    first, last = (min(max(place + rank * (place < 0), 0), rank) for place in (start, end))
    return Host(np.asarray(extents[first:last], np.int64))


@operator("Size")
def size(node: Node) -> Host:
    """The number of elements."""
    return Host(np.asarray(np.prod(node.value(0).shape, dtype=np.int64)))


@operator("EyeLike")
def eye_like(node: Node) -> Host:
    """1 on a diagonal, 0 elsewhere, in the shape of the input and, unless another is named, in its type."""
    x = node.value(0)
    if len(x.shape) != 2:
        node.damaged(f"input 0 must have 2 axes, has shape {x.shape}")
    node.program.check_size(x.shape)
    kind = dtype_numbered(node, node.integer("dtype")) if node.has("dtype") else x.dtype
    return Host(np.eye(*x.shape, k=node.integer("k", 0)).astype(kind))


@on_host("ConstantOfShape")
def constant_of_shape(node: Node, arrays: Sequence[Array | None]) -> Array:
    """An array of one number; it takes the memory of that number."""
    extents = tuple(int(extent) for extent in inputs(arrays, node, 1)[0].reshape(-1).tolist())
    node.program.check_size(extents)
    value = node.spec.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        node.damaged("attribute `value` must be an array of one element")
    return np.broadcast_to(value.reshape(()), extents)


@on_host("Range")
def range_of(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Numbers from `start` on, `delta` apart, up to but without `limit`."""
    given = inputs(arrays, node, 3)
    kind = given[0].dtype
    if any(array.size != 1 for array in given):
        node.damaged(f"its inputs must be one number each, have shapes {', '.join(str(a.shape) for a in given)}")
    start, limit, delta = (_number(array) for array in given)
    if delta == 0 or not np.isfinite([float(start), float(limit), float(delta)]).all():
        node.damaged(f"a range from {start} to {limit} in steps of {delta} has no end")
    exact = isinstance(start, int) and isinstance(limit, int) and isinstance(delta, int)
    count = max(0, int(-((start - limit) // delta)) if exact else ceil((limit - start) / delta))
    node.program.check_size((count,))
    if exact:
        return (np.int64(start) + np.arange(count, dtype=np.int64) * np.int64(delta)).astype(kind)
    return (start + np.arange(count, dtype=np.float64) * delta).astype(kind)


def _number(array: Array) -> int | float:
    value = array.reshape(-1)[0]
    return int(value) if array.dtype.kind in "iu" else float(value)


@operator("ConstantOfShape", static=(0,))
@operator("Range", static=(0, 1, 2))
@operator("NonZero", "Unique", static=(0,))
def of_values(node: Node) -> Host:
    """The shape of the result follows from values, so they must be known: this refuses what the network computes."""
    node.refuse("is supported on integers and known arrays alone")
