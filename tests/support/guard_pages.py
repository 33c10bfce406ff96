"""Arrays between forbidden pages: a read or write before or behind one ends the process at once.

An array can touch only one of its two pages exactly. So what is to be tested runs twice: with `at_end` the last byte
lies before the page behind, without it the first byte lies after the page before.
"""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["GuardedArray", "guarded"]

_NOTHING_ALLOWED = 0
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True)
class GuardedArray:
    """`array`, and the mapping that holds it and its forbidden pages; the mapping must outlive the array's use."""

    array: NDArray[np.generic]
    mapping: mmap.mmap


def guarded(shape: tuple[int, ...], dtype: DTypeLike, *, at_end: bool) -> GuardedArray:
    """A zeroed array of `shape` whose end (or start) lies directly at a page that may not be touched."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    inner = max(1, -(-size // _PAGE)) * _PAGE
    mapping = mmap.mmap(-1, inner + 2 * _PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    for page in (start, start + _PAGE + inner):
        _forbid(page)
    offset = _PAGE + (inner - size if at_end else 0)
    array = np.frombuffer(mapping, dtype, int(np.prod(shape)), offset).reshape(shape)
    return GuardedArray(array, mapping)


def _forbid(address: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE), _NOTHING_ALLOWED):
        raise OSError(ctypes.get_errno(), "mprotect refused to guard a page")
