"""Memory for compiled programs: it begins at a cache line where that counts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pellucid.errors import ArgumentError, OutOfMemoryError
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.streamed import STREAMED_BYTES

__all__ = ["aligned", "check_begin", "cleared", "copied", "empty", "give_back_freed"]


def cleared(size: int, purpose: str) -> NDArray[np.uint8]:
    """Zeroed memory of at least one byte that starts at a multiple of a cache line. OutOfMemoryError says for what."""
    try:
        return _from_a_line(np.zeros, max(size, 1))
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        raise OutOfMemoryError(f"{purpose} of {size:,} bytes cannot be allocated") from error


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array for an output, as `numpy.empty`. One so large that it may be streamed starts at a cache line."""
    if prod(shape) * np.dtype(dtype).itemsize < STREAMED_BYTES:
        return np.empty(shape, dtype)
    return aligned(shape, dtype)


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """As `numpy.empty`, but it starts at a cache line."""
    kind = np.dtype(dtype)
    return _from_a_line(np.empty, prod(shape) * kind.itemsize).view(kind).reshape(shape)


def copied(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """A copy that starts at a cache line. Where NumPy puts one nearly every vector of weights lies in two lines: a step
    of LeNet-5 takes 1.08 of the time."""
    array = aligned(values.shape, dtype)
    array[...] = values
    return array


def check_begin(name: str, address: int) -> None:
    """ArgumentError where what is streamed does not begin at a cache line: its stores would end the process."""
    if address % CACHE_LINE:
        raise ArgumentError(f"`{name}` is written past the caches: it must start at a multiple of {CACHE_LINE} bytes")


def give_back_freed() -> None:
    """Gives freed memory back to the system, where the C library can (glibc). What a compiler frees lies between what
    stays: 12 MB of a first training step."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _from_a_line(make: Callable[[int, Any], NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    raw = make(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size]
