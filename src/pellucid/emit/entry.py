"""Machine code in memory: loaded from an object, entered by threads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import llvmlite.binding as llvm
import numpy as np

from pellucid.emit.meeting import LEAD, LOBBY
from pellucid.emit.targets import Target, target_machine
from pellucid.emit.turns import GATE, new_turn
from pellucid.emit.workers import Workers, shared_workers
from pellucid.errors import ArgumentError

__all__ = ["COMPILING", "ENTRY", "Arguments", "Entry", "LoadedCode", "llvm_version", "load_object"]

# The C name of what threads enter: `void program(ptr args, i64 thread, i64 threads, ptr record, ptr errors)`.
ENTRY = "program"
# LLVM has a lock of its own, which a fork must not find taken.
COMPILING = new_turn()
_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_ENTER = ctypes.CFUNCTYPE(None, _POINTER, _NUMBER, _NUMBER, _POINTER, _POINTER)
_LEAD = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _POINTER, _POINTER, _NUMBER, _POINTER, _NUMBER)
_LOBBY = ctypes.CFUNCTYPE(None, _POINTER, _NUMBER)
_MOST_THREADS = 1024


@dataclass(frozen=True)
class LoadedCode:
    """Loaded machine code. The library keeps the memory of the code alive; `address` is that of the entry, `lead` and
    `lobby` are how threads run it together."""

    library: Any
    entry: Any
    address: int
    lead: Any
    lobby: Any
    size: int


def llvm_version() -> str:
    """The version of LLVM, part of the key of whatever it makes."""
    return str(llvm.llvm_version_info)


def load_object(content: bytes, chosen: Target) -> LoadedCode:
    """The code of an object that was generated for a target."""
    with COMPILING:
        return _load(content, chosen)


def _load(content: bytes, chosen: Target) -> LoadedCode:
    builder = llvm.JITLibraryBuilder().add_object_img(content)
    for name in (ENTRY, LEAD, LOBBY):
        builder.export_symbol(name)
    # One object may be loaded twice, by two threads at once for one: each gets a library of its own.
    library = builder.link(_linker(chosen), uuid4().hex)
    entry, lead, lobby = (library[name] for name in (ENTRY, LEAD, LOBBY))
    return LoadedCode(library, _ENTER(entry), entry, _LEAD(lead), _LOBBY(lobby), len(content))


@cache
def _linker(chosen: Target) -> Any:
    return llvm.create_lljit_compiler(target_machine(chosen), use_jit_link=False, suppress_errors=False)


class Arguments:
    """What a program is given: an address for every tensor that is no table, in its order, 0 for what is put in place
    at each call. Of scratch it is that of thread 0; each other's is `stride` bytes behind that of the one before."""

    def __init__(self, addresses: Sequence[int], stride: int) -> None:
        self.words = (ctypes.c_void_p * (len(addresses) + 1))(*addresses, stride)
        self.address = ctypes.addressof(self.words)


class Entry:
    """Loaded code with what its threads share while they are inside. Calls from several Python threads take turns."""

    def __init__(self, code: LoadedCode) -> None:
        self.turn = new_turn()
        self.errors = np.zeros(4, np.int64)
        self._code = code
        self._errors = self.errors.ctypes.data  # NumPy takes longer to say so than a small program runs
        self._workers: Workers | None = None

    def run(self, arguments: Arguments, given: Iterable[tuple[int, int]], threads: int) -> None:
        """Thread 0, the caller's, enters the code, and each other one that comes before all is done.

        `given` are the places and the addresses of the arguments that come with this call.

        An interrupt (KeyboardInterrupt, or what else a signal's handler raises) finds the program not begun or done.
        """
        if not 1 <= threads <= _MOST_THREADS:
            raise ArgumentError(f"`threads` (={threads}) must be from 1 to {_MOST_THREADS}")
        with GATE:
            pass
        with self.turn:
            for place, address in given:
                arguments.words[place] = address
            if threads == 1:
                self._code.entry(arguments.address, 0, 1, None, self._errors)
            else:
                self._workers = self._workers or shared_workers()  # held from the first call that needs them
                self._workers.run(self._code, arguments.address, self._errors, threads)
