"""Machine code in memory: loaded from an object, entered by threads."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from pellucid.emit.target import Target, target_machine
from pellucid.emit.workers import shared_workers
from pellucid.errors import ArgumentError

__all__ = ["ENTRY", "Entry", "LoadedCode", "cleared", "llvm_version", "load_object"]

# The C name of what threads enter: `void program(ptr args, i64 thread, i64 threads, ptr barrier, ptr errors)`.
ENTRY = "program"
# The record that threads share, in words of 8 bytes; what stands where is said beside the barrier in `module.py`.
BARRIER_WORDS = 32
YIELD_WORD, ENTERED_WORD = 16, 24
_ALIGNMENT = 64
_MOST_THREADS = 1024


@dataclass(frozen=True)
class LoadedCode:
    """Loaded machine code. The library keeps the memory of the code alive."""

    library: Any
    entry: Any
    size: int


def llvm_version() -> str:
    """The version of LLVM, part of the key of whatever it makes."""
    return str(llvm.llvm_version_info)


def load_object(content: bytes, chosen: Target) -> LoadedCode:
    """The code of an object that was generated for a target."""
    builder = llvm.JITLibraryBuilder().add_object_img(content).export_symbol(ENTRY)
    # One object may be loaded twice, by two threads at once for one: each gets a library of its own.
    library = builder.link(_linker(chosen), uuid4().hex)
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
    )
    return LoadedCode(library, signature(library[ENTRY]), len(content))


@cache
def _linker(chosen: Target) -> Any:
    return llvm.create_lljit_compiler(target_machine(chosen), use_jit_link=False, suppress_errors=False)


class Entry:
    """Loaded code with what its threads share while they are inside. Calls from several Python threads take turns.

    `places` are the numbers of the arguments that are given at each call; the others (tables) stay empty.
    """

    def __init__(self, code: LoadedCode, places: Sequence[int]) -> None:
        self.places = tuple(places)
        self.turn = threading.RLock()
        self.errors = np.zeros(4, np.int64)
        self._code = code
        self._arguments = (ctypes.c_void_p * (max(places, default=-1) + 1))()
        self._barrier = cleared(8 * BARRIER_WORDS).view(np.int64)
        self._barrier[YIELD_WORD] = _yield_address()
        # Asking NumPy and ctypes for addresses takes longer than a small program runs; so once.
        self._addresses = (ctypes.addressof(self._arguments), self._barrier.ctypes.data, self.errors.ctypes.data)

    def run(self, addresses: Sequence[int], threads: int) -> None:
        """Every thread enters the code once; thread 0 is the caller's. `addresses` in the order of `places`."""
        if not 1 <= threads <= _MOST_THREADS:
            raise ArgumentError(f"`threads` (={threads}) must be from 1 to {_MOST_THREADS}")
        with self.turn:
            for place, address in zip(self.places, addresses, strict=True):
                self._arguments[place] = address
            self._enter(threads)

    def _enter(self, threads: int) -> None:
        arguments, barrier, errors = self._addresses
        entry, state = self._code.entry, self._barrier
        self.errors[:] = 0
        if threads == 1:
            entry(arguments, 0, 1, barrier, errors)
            return
        state[:YIELD_WORD] = 0
        state[ENTERED_WORD] = 0

        def task(thread: int) -> None:
            if thread != 0 or not state[ENTERED_WORD]:
                entry(arguments, thread, threads, barrier, errors)

        shared_workers().run(task, threads)


def cleared(size: int) -> NDArray[np.uint8]:
    """Zeroed memory that starts at a multiple of a cache line."""
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


@cache
def _yield_address() -> int:
    """The address of the system's `sched_yield`, by which a waiting thread gives its processor away."""
    library = ctypes.CDLL(None)
    return ctypes.cast(library.sched_yield, ctypes.c_void_p).value or 0
