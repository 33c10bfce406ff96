"""The call contract: what is checked of arrays before compiled code touches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.schedule.nest import Operand, Program, Tensor
from pellucid.schedule.touched import touched

__all__ = ["LookupRule", "check_arrays", "lookup_rules"]


@dataclass(frozen=True)
class LookupRule:
    """The integers of `array` must lie in `low .. high`, since they stand in index `dimension` of `tensor`."""

    array: str
    low: int
    high: int
    dimension: int
    tensor: str


def lookup_rules(program: Program) -> tuple[LookupRule, ...]:
    """What integer arrays of the caller must fulfil for every index to stay inside."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    rules: dict[LookupRule, None] = {}
    for operand in chain.from_iterable(touched(nest.body) for nest in program.nests):
        for lookup in operand.lookups:
            if tensors[lookup.operand.tensor].role == "input":
                low, high = _range(operand, lookup.dimension, lookup.stride)
                rules.setdefault(LookupRule(lookup.operand.tensor, low, high, lookup.dimension, operand.tensor))
    return tuple(rules)


def check_arrays(program: Program, arrays: Mapping[str, NDArray[Any]], rules: tuple[LookupRule, ...]) -> None:
    """Raise where an array breaks the contract of `Executable.call`; see there."""
    wanted = [tensor for tensor in program.tensors if tensor.role in ("input", "output")]
    names = {tensor.name for tensor in wanted}
    for name in arrays:
        if name not in names:
            raise ArgumentError(f"`{name}` is not an array of this program; it has {', '.join(sorted(names))}")
    for tensor in wanted:
        if tensor.name not in arrays:
            raise ArgumentError(f"`{tensor.name}` is missing; the program has {', '.join(sorted(names))}")
        _check_array(tensor, arrays[tensor.name])
    _check_overlap(wanted, arrays)
    for rule in rules:
        _check_lookup(rule, arrays[rule.array])


def _check_array(tensor: Tensor, array: NDArray[Any]) -> None:
    name = tensor.name
    if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not all typed
        raise ArgumentError(f"`{name}` must be a numpy array, not {type(array).__name__}")
    if array.dtype != np.dtype(tensor.dtype):
        raise DtypeError(f"`{name}` has dtype {array.dtype}; the program needs {tensor.dtype}")
    if array.shape != tensor.shape:
        raise ShapeError(f"`{name}` has shape {array.shape}; the program needs {tensor.shape}")
    if not array.flags.c_contiguous:
        raise ArgumentError(f"`{name}` must be C-contiguous; its strides are {array.strides} bytes")
    if array.ctypes.data % array.itemsize:
        raise ArgumentError(
            f"`{name}` starts at an address that is no multiple of its elements' {array.itemsize} bytes"
        )
    if tensor.role == "output" and not array.flags.writeable:
        raise ArgumentError(f"`{name}` is an output and must be writeable")


def _check_overlap(tensors: list[Tensor], arrays: Mapping[str, NDArray[Any]]) -> None:
    """No output may share memory with any other array: sorted by address, neighbours show every overlap."""
    spans = sorted(
        (arrays[tensor.name].ctypes.data, arrays[tensor.name].nbytes, tensor.role == "output", tensor.name)
        for tensor in tensors
    )
    reach: dict[bool, tuple[int, str]] = {}  # by role: the farthest end so far, and whose it is
    for start, size, is_output, name in spans:
        for other_is_output, (end, other) in reach.items():
            if start < end and (is_output or other_is_output):
                first, second = (name, other) if is_output else (other, name)
                raise ArgumentError(f"`{first}` is an output and must not overlap `{second}` in memory")
        end = start + size
        if end > reach.get(is_output, (-1, ""))[0]:
            reach[is_output] = (end, name)


def _check_lookup(rule: LookupRule, array: NDArray[Any]) -> None:
    outside = (array < rule.low) | (array > rule.high)
    if outside.any():
        place = tuple(int(number) for number in np.argwhere(outside)[0])
        cell = f"[{', '.join(map(str, place))}]" if place else ""
        raise ArgumentError(
            f"{rule.array}{cell} = {int(array[place])} is outside {rule.low} .. {rule.high}, "
            f"the range of index {rule.dimension} of {rule.tensor}"
        )


def _range(operand: Operand, dimension: int, stride: int) -> tuple[int, int]:
    """The integers v for which `index + stride*v` stays inside a dimension.

    The rest of an index with a lookup is a constant: an axis that varies beside it would make the range vary.
    """
    index, extent = operand.index[dimension], operand.shape[dimension]
    if index.terms or len([lookup for lookup in operand.lookups if lookup.dimension == dimension]) > 1:
        raise ArgumentError(
            f"index {dimension} of {operand.tensor} adds {index} to an integer that is looked up; "
            f"only a constant may stand there"
        )
    low, high = -index.const, extent - 1 - index.const
    if stride < 0:
        low, high, stride = -high, -low, -stride
    return -(-low // stride), high // stride
