"""From a program to machine code in memory, and its calls."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from pellucid.emit.cache import ObjectCache, cache_folder, object_key
from pellucid.emit.call import check_arrays, lookup_rules
from pellucid.emit.module import BARRIER_WORDS, ENTERED_WORD, ENTRY, YIELD_WORD, emit_module
from pellucid.emit.target import Target, missing_features, target_machine
from pellucid.emit.target import target as find_target
from pellucid.emit.workers import shared_workers
from pellucid.errors import ArgumentError, CompileError, OutOfBoundsError
from pellucid.schedule.bounds import prove
from pellucid.schedule.nest import Program, Tensor

__all__ = ["Executable", "LoadedCode", "assembly_text", "compile_program", "load_module"]

_ALIGNMENT = 64
_MOST_THREADS = 1024


def compile_program(
    program: Program, target: Target | None = None, *, checked: bool = False, proved: bool = False
) -> Executable:
    """Machine code for a program, for `target` or this processor.

    The program is proved in bounds first (OutOfBoundsError), unless the caller says that it is `proved` already. With
    `checked` there is no proof: every access is tested when it happens, and one that leaves its tensor is not made, but
    reported when the run is over. CompileError where the target is another
    processor's; DtypeError where the program mixes float32 and float64.
    """
    chosen = target or find_target()
    missing = missing_features(chosen)
    if missing:
        raise CompileError(f"code for {chosen.name} cannot run on this processor, which lacks {', '.join(missing)}")
    if not (checked or proved):
        prove(program)
    module = emit_module(program, chosen, checked=checked)
    return Executable(program, chosen, load_module(module.text, chosen, optimised=not checked), module.text, checked)


def assembly_text(program: Program, target: Target | None = None) -> str:
    """The assembly of a program for any target, this processor's or another's."""
    chosen = target or find_target()
    return _assembly(emit_module(program, chosen).text, chosen)


@dataclass(frozen=True)
class LoadedCode:
    """Loaded machine code. The library keeps the memory of the code alive."""

    library: Any
    entry: Any
    size: int


@cache
def load_module(text: str, chosen: Target, optimised: bool = True) -> LoadedCode:
    """The code of a module: what is in memory already, else from the object cache, else generated."""
    cache_on_disk = ObjectCache(cache_folder())
    key = object_key(text, f"{chosen.triple} {chosen.cpu} {chosen.features} {optimised}", str(llvm.llvm_version_info))
    content = cache_on_disk.load(key)
    if content is None:
        content = target_machine(chosen, optimised).emit_object(_parsed(text, chosen))
        cache_on_disk.store(key, content)
    builder = llvm.JITLibraryBuilder().add_object_img(content).export_symbol(ENTRY)
    # Two threads may come here with one module at once: each gets a library of its own.
    library = builder.link(_linker(chosen), f"{key}-{uuid4().hex}")
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
    )
    return LoadedCode(library, signature(library[ENTRY]), len(content))


@cache
def _linker(chosen: Target) -> Any:
    return llvm.create_lljit_compiler(target_machine(chosen), use_jit_link=False, suppress_errors=False)


def _parsed(text: str, chosen: Target) -> Any:
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:  # a fault of the emitter, with LLVM's line and column
        raise CompileError(f"LLVM refuses the generated code: {error}") from error
    module.triple = chosen.triple
    module.data_layout = str(target_machine(chosen).target_data)
    return module


def _assembly(text: str, chosen: Target) -> str:
    return target_machine(chosen).emit_assembly(_parsed(text, chosen))


class Executable:
    """A compiled program. Calls of one Executable from several Python threads take turns."""

    def __init__(self, program: Program, target: Target, code: LoadedCode, text: str, checked: bool) -> None:
        self.program = program
        self.target = target
        self._code = code
        self._text = text
        self._checked = checked
        self._places = [place for place, tensor in enumerate(program.tensors) if tensor.role != "table"]
        self._arguments = (ctypes.c_void_p * len(program.tensors))()
        self._barrier = _cleared(8 * BARRIER_WORDS).view(np.int64)
        self._barrier[YIELD_WORD] = _yield_address()
        self._errors = np.zeros(4, np.int64)
        # Asking NumPy and ctypes for addresses takes longer than a small program runs; so once.
        self._addresses = (ctypes.addressof(self._arguments), self._barrier.ctypes.data, self._errors.ctypes.data)
        self._own: dict[str, NDArray[np.uint8]] = {}
        self._rules = lookup_rules(program)
        self._turn = threading.Lock()

    @property
    def code_size(self) -> int:
        """Bytes of the object that holds the code and its constants."""
        return self._code.size

    def assembly(self) -> str:
        """The code as assembly text."""
        return _assembly(self._text, self.target)

    def run(self, pointers: Sequence[int | None], threads: int = 1) -> None:
        """Run on raw memory: one address for every tensor that is no table, in the program's order.

        Nothing is checked but their number. Scratch needs room for `threads` times its size. None (or 0) for a
        temporary or scratch: the Executable's own memory. OutOfBoundsError in checked mode.
        """
        if not 1 <= threads <= _MOST_THREADS:
            raise ArgumentError(f"`threads` (={threads}) must be from 1 to {_MOST_THREADS}")
        if len(pointers) != len(self._places):
            raise ArgumentError(f"`pointers` has {len(pointers)} addresses; the program needs {len(self._places)}")
        with self._turn:
            for place, address in zip(self._places, pointers, strict=True):
                self._arguments[place] = address or self._own_memory(self.program.tensors[place], threads)
            self._enter(threads)
        if self._checked and self._errors[0]:
            self._report()

    def call(self, arrays: Mapping[str, NDArray[Any]], threads: int = 1) -> None:
        """Run on arrays, one for every input and output of the program by name; outputs are written in place.

        Checked before anything runs: names, dtype, shape, C order, alignment, writable outputs that overlap no other
        array, integer arrays that stand in an index within its range. ArgumentError, DtypeError, ShapeError.
        """
        check_arrays(self.program, arrays, self._rules)
        pointers = [
            arrays[tensor.name].ctypes.data if tensor.role in ("input", "output") else None
            for tensor in self.program.tensors
            if tensor.role != "table"
        ]
        self.run(pointers, threads)

    def _enter(self, threads: int) -> None:
        """Every thread enters the program once; thread 0 is the caller's."""
        arguments, barrier, errors = self._addresses
        entry, state = self._code.entry, self._barrier
        if self._checked:
            self._errors[:] = 0
        if threads == 1:
            entry(arguments, 0, 1, barrier, errors)
            return
        state[:YIELD_WORD] = 0
        state[ENTERED_WORD] = 0

        def task(thread: int) -> None:
            if thread != 0 or not state[ENTERED_WORD]:
                entry(arguments, thread, threads, barrier, errors)

        shared_workers().run(task, threads)

    def _own_memory(self, tensor: Tensor, threads: int) -> int:
        if tensor.role not in ("temporary", "scratch"):
            raise ArgumentError(f"`pointers` has no address for the {tensor.role} {tensor.name}")
        size = tensor.size * np.dtype(tensor.dtype).itemsize * (threads if tensor.role == "scratch" else 1)
        found = self._own.get(tensor.name)
        if found is None or found.nbytes < size:
            found = self._own[tensor.name] = _cleared(size)
        return found.ctypes.data

    def _report(self) -> None:
        _, nest, tensor, index = (int(word) for word in self._errors)
        found = self.program.tensors[tensor]
        raise OutOfBoundsError(
            f"nest {self.program.nests[nest].name}: element {index} of {found.name} {found.shape}, "
            f"which has {found.size}, was asked for"
        )


def _cleared(size: int) -> NDArray[np.uint8]:
    """Zeroed memory that starts at a multiple of a cache line."""
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


@cache
def _yield_address() -> int:
    """The address of the system's `sched_yield`, by which a waiting thread gives its processor away."""
    library = ctypes.CDLL(None)
    return ctypes.cast(library.sched_yield, ctypes.c_void_p).value or 0
