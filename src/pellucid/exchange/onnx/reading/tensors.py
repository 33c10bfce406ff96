"""Tensors of a file -> NumPy arrays: read-only, C-contiguous, in the machine's order of bytes.

What a tensor claims (its extents) and what it has (its data) are compared as Python integers before memory is taken.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.reading.external import read_external
from pellucid.exchange.onnx.reading.origin import Origin

__all__ = ["ElementType", "element_type", "read_extents", "read_sparse", "read_tensor"]

_MOST_AXES = 32  # NumPy's own limit, before version 2
_DATA_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
# Types smaller than a byte: the bits of an element. All are packed in `raw_data`, those of 4 and 2 bits also in
# `int32_data`.
_SMALL = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_STRING_BYTES = 64  # of a Python string, beside its characters


@dataclass(frozen=True)
class ElementType:
    """A type of elements: its name in ONNX, as an array has it, its bits in a file, and the field that its numbers
    stand in where they are not raw bytes."""

    name: str
    number: int
    dtype: np.dtype[Any]
    bits: int
    field: str

    def entries(self, count: int) -> int:
        """How many numbers of `field` are `count` elements."""
        if self.dtype.kind == "c":
            return 2 * count
        return -(-count * self.bits // 8) if self.bits in (2, 4) else count

    @property
    def range(self) -> tuple[int, int] | None:
        """The numbers that may stand in `field`, where that has a wider type."""
        if self.field not in ("int32_data", "uint64_data"):
            return None
        if self.name == "BOOL":
            return 0, 1
        if self.dtype.kind in "iu" and self.bits >= 8:
            limits = np.iinfo(self.dtype)
            return int(limits.min), int(limits.max)
        return 0, (1 << (8 if self.bits in (2, 4) else self.bits)) - 1


@cache
def _types() -> dict[int, ElementType]:
    found: dict[int, ElementType] = {}
    for name, number in TensorProto.DataType.items():
        if number != TensorProto.UNDEFINED:
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
            bits = _SMALL.get(name, 8 * dtype.itemsize)
            found[number] = ElementType(name, number, dtype, bits, helper.tensor_dtype_to_field(number))
    return found


def element_type(number: int, where: str, origin: Origin) -> ElementType:
    """The type with that number in the format; DataError where there is none."""
    known = _types().get(number)
    if known is None:
        raise origin.damaged(f"{where}: has element type {number}, which ONNX does not have")
    return known


def read_extents(extents: list[int], where: str, origin: Origin) -> tuple[int, ...]:
    """The extents of an array; DataError where one is negative or there are too many."""
    if len(extents) > _MOST_AXES:
        raise origin.damaged(f"{where}: has {len(extents):,} axes, at most {_MOST_AXES} are read")
    if min(extents, default=0) < 0:
        raise origin.damaged(f"{where}: has shape {tuple(extents)}, extents must not be negative")
    return tuple(extents)


def read_tensor(tensor: TensorProto, where: str, origin: Origin) -> Array:
    """The array of a tensor; strings as an object array of str. `where` begins messages ("initialiser 'w'").

    Raises DataError where it is damaged, or larger than memory allows.
    """
    kind = element_type(tensor.data_type, where, origin)
    shape = read_extents(list(tensor.dims), where, origin)
    if tensor.HasField("segment"):
        raise origin.damaged(f"{where}: is a segment of a tensor, which must be whole")
    count = _count(shape, kind, where, origin)
    filled = [name for name in _DATA_FIELDS if len(getattr(tensor, name))]
    if tensor.HasField("raw_data") and (tensor.raw_data or not filled):
        filled.append("raw_data")
    external = tensor.data_location == TensorProto.EXTERNAL
    if external or tensor.external_data:
        if not external or any(name != "raw_data" or tensor.raw_data for name in filled):
            raise origin.damaged(f"{where}: must hold its data, or name a file with external data, not both")
        if kind.name == "STRING":
            raise origin.damaged(f"{where}: strings must not be external data")
        return _from_raw(read_external(tensor, where, _raw_bytes(count, kind), origin), kind, shape, where, origin)
    if len(filled) > 1:
        raise origin.damaged(f"{where}: must hold its data in one field, holds {' and '.join(filled)}")
    field = filled[0] if filled else kind.field
    if field == "raw_data" and kind.name != "STRING":
        if len(tensor.raw_data) != _raw_bytes(count, kind):
            raise origin.damaged(
                f"{where}: has {len(tensor.raw_data):,} bytes of data, "
                f"{kind.name} of shape {shape} has {_raw_bytes(count, kind):,}"
            )
        return _from_raw(np.frombuffer(tensor.raw_data, np.uint8), kind, shape, where, origin)
    if field != kind.field:
        raise origin.damaged(f"{where}: holds {field}, elements of type {kind.name} stand in {kind.field}")
    found = len(getattr(tensor, field))
    if found != kind.entries(count):
        raise origin.damaged(
            f"{where}: has {found:,} entries of {field}, {kind.name} of shape {shape} has {kind.entries(count):,}"
        )
    return _strings(tensor, shape, where, origin) if kind.name == "STRING" else _from_field(tensor, kind, where, origin)


def read_sparse(sparse: SparseTensorProto, where: str, origin: Origin) -> Array:
    """The array of a sparse tensor, dense; all that it does not name is 0."""
    kind = element_type(sparse.values.data_type, where, origin)
    shape = read_extents(list(sparse.dims), where, origin)
    size = _count(shape, kind, where, origin)
    values = read_tensor(sparse.values, f"{where}, values", origin)
    if sparse.indices.data_type != TensorProto.INT64:
        found = (
            TensorProto.DataType.Name(sparse.indices.data_type) if sparse.indices.data_type in _types() else "nothing"
        )
        raise origin.damaged(f"{where}: indices must be INT64, are {found}")
    indices = read_tensor(sparse.indices, f"{where}, indices", origin)
    if values.ndim != 1 or indices.shape not in ((len(values),), (len(values), len(shape))):
        raise origin.damaged(
            f"{where}: values {values.shape} and indices {indices.shape} must be (n,) and (n,) or (n, {len(shape)})"
        )
    if kind.name == "STRING":
        raise origin.unsupported(f"{where}: sparse tensors of strings are not supported")
    bounds = np.array(shape if indices.ndim == 2 else size, np.int64)
    outside = indices[(indices < 0) | (indices >= bounds)]
    if outside.size:
        raise origin.damaged(f"{where}: index {outside[0]} lies outside shape {shape}")
    if indices.ndim == 2:
        places = np.zeros(len(values), np.int64)
        for axis, extent in enumerate(shape):
            places = places * extent + indices[:, axis]
    else:
        places = indices
    wrong = np.flatnonzero(np.diff(places) <= 0)
    if wrong.size:
        raise origin.damaged(f"{where}: indices must ascend, each once; index number {wrong[0] + 1} does not")
    dense = np.zeros(size, kind.dtype)
    dense[places] = values
    return _finished(dense.reshape(shape))


def _count(shape: tuple[int, ...], kind: ElementType, where: str, origin: Origin) -> int:
    """The number of elements, after memory for them is counted. An extent of 0 does not excuse the others: NumPy
    refuses shapes whose other extents overflow."""
    title = f"{where}: {kind.name} of shape {shape}"
    if math.prod(extent for extent in shape if extent) * kind.dtype.itemsize > origin.limits.memory:
        raise origin.damaged(f"{title} takes more than the {origin.limits.memory:,} bytes that all arrays may take")
    count = math.prod(shape)
    origin.take(count * kind.dtype.itemsize, title)
    return count


def _raw_bytes(count: int, kind: ElementType) -> int:
    return -(-count * kind.bits // 8)


def _from_raw(data: NDArray[np.uint8], kind: ElementType, shape: tuple[int, ...], where: str, origin: Origin) -> Array:
    """Elements from bytes as they stand in a file: little-endian, packed where they are smaller than a byte."""
    if not len(data):
        return _finished(np.zeros(shape, kind.dtype))
    if kind.bits < 8:
        packed = TensorProto(data_type=kind.number, dims=shape, raw_data=data.tobytes())
        return _finished(numpy_helper.to_array(packed))
    if kind.name == "BOOL" and data.max() > 1:
        raise origin.damaged(f"{where}: booleans must be 0 or 1, has {data.max()}")
    array = data.view(kind.dtype)
    return _finished((array if sys.byteorder == "little" else array.byteswap()).reshape(shape))


def _from_field(tensor: TensorProto, kind: ElementType, where: str, origin: Origin) -> Array:
    if kind.range is not None and kind.entries(1):
        smallest, largest = kind.range
        numbers = np.array(getattr(tensor, kind.field), np.uint64 if kind.field == "uint64_data" else np.int64)
        if numbers.size and (numbers.min() < smallest or numbers.max() > largest):
            wrong = numbers.min() if numbers.min() < smallest else numbers.max()
            raise origin.damaged(f"{where}: {kind.name} in {kind.field} has {wrong}, must be {smallest} to {largest}")
    return _finished(numpy_helper.to_array(tensor))


def _strings(tensor: TensorProto, shape: tuple[int, ...], where: str, origin: Origin) -> Array:
    strings = tensor.string_data
    origin.take(sum(len(entry) + _STRING_BYTES for entry in strings), f"{where}: its strings")
    # Made with the type: strings that are put into an array lose zeros at their ends.
    array = np.array([origin.text(entry, f"{where}: a string") for entry in strings], object)
    return _finished(array.reshape(shape))


def _finished(array: Array) -> Array:
    array = np.ascontiguousarray(array) if array.ndim else array
    array.flags.writeable = False
    return array
