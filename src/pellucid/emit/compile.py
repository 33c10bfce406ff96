"""From a program to machine code in memory, and its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from pellucid.emit.allocation import check_begin, cleared
from pellucid.emit.cache import ObjectCache, cache_folder, entry_key
from pellucid.emit.call import check_arrays, lookup_rules
from pellucid.emit.entry import COMPILING, Arguments, Entry, LoadedCode, llvm_version, load_object
from pellucid.emit.module import emit_module
from pellucid.emit.targets import Target, check_runnable, target_machine
from pellucid.emit.targets import target as find_target
from pellucid.errors import ArgumentError, CompileError, OutOfBoundsError
from pellucid.schedule.bounds import prove
from pellucid.schedule.machine import whole_lines
from pellucid.schedule.nest import Program, Tensor

__all__ = ["Executable", "assembly_text", "compile_program", "generate", "load_module"]


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
    check_runnable(chosen)
    if not (checked or proved):
        prove(program)
    module = emit_module(program, chosen, checked=checked)
    return Executable(program, chosen, load_module(module.text, chosen, optimised=not checked), module.text, checked)


def assembly_text(program: Program, target: Target | None = None) -> str:
    """The assembly of a program for any target, this processor's or another's."""
    chosen = target or find_target()
    return _assembly(emit_module(program, chosen).text, chosen)


def generate(program: Program, chosen: Target) -> bytes:
    """The object of a program that is proved in bounds, for any target; nothing is looked up or kept."""
    text = emit_module(program, chosen).text
    with COMPILING:
        return target_machine(chosen).emit_object(_parsed(text, chosen))


@cache
def load_module(text: str, chosen: Target, optimised: bool = True) -> LoadedCode:
    """The code of a module: what is in memory already, else from the object cache, else generated."""
    cache_on_disk = ObjectCache(cache_folder())
    key = entry_key("module", llvm_version(), f"{chosen.triple} {chosen.cpu} {chosen.features} {optimised}", text)
    content = cache_on_disk.load(key)
    if content is None:
        with COMPILING:
            content = target_machine(chosen, optimised).emit_object(_parsed(text, chosen))
        cache_on_disk.store(key, content)
    return load_object(content, chosen)


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
        self._tensors = [tensor for tensor in program.tensors if tensor.role != "table"]
        self._streamed = [place for place, tensor in enumerate(self._tensors) if tensor.streamed]
        self._entry = Entry(code)
        self._own: dict[str, NDArray[np.uint8]] = {}
        largest = max((tensor.bytes for tensor in self._tensors if tensor.role == "scratch"), default=0)
        self._stride = whole_lines(largest)
        self._arguments = Arguments([0] * len(self._tensors), self._stride)
        self._rules = lookup_rules(program)

    @property
    def code_size(self) -> int:
        """Bytes of the object that holds the code and its constants."""
        return self._code.size

    def assembly(self) -> str:
        """The code as assembly text."""
        return _assembly(self._text, self.target)

    def run(self, pointers: Sequence[int | None], threads: int = 1) -> None:
        """Run on raw memory: one address for every tensor that is no table, in the program's order.

        Nothing is checked but their number, and that what is streamed begins at a cache line. None (or 0) for a
        temporary or scratch: the Executable's own memory; several threads need that for scratch. OutOfBoundsError in
        checked mode.
        """
        needed = len(self._tensors)
        if len(pointers) != needed:
            raise ArgumentError(f"`pointers` has {len(pointers)} addresses; the program needs {needed}")
        with self._entry.turn:
            addresses = [
                address or self._own_memory(tensor, threads)
                for tensor, address in zip(self._tensors, pointers, strict=True)
            ]
            for place in self._streamed:
                check_begin(self._tensors[place].name, addresses[place])
            self._entry.errors[:] = 0
            self._entry.run(self._arguments, enumerate(addresses), threads)
            if self._checked and self._entry.errors[0]:
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

    def _own_memory(self, tensor: Tensor, threads: int) -> int:
        if tensor.role not in ("scratch", "temporary"):
            raise ArgumentError(f"`pointers` has no address for the {tensor.role} {tensor.name}")
        size = threads * self._stride if tensor.role == "scratch" else tensor.bytes
        found = self._own.get(tensor.name)
        if found is None or found.nbytes < size:
            found = self._own[tensor.name] = cleared(size, f"the {tensor.role} {tensor.name}")
        return found.ctypes.data

    def _report(self) -> None:
        _, nest, tensor, index = (int(word) for word in self._entry.errors)
        found = self.program.tensors[tensor]
        raise OutOfBoundsError(
            f"nest {self.program.nests[nest].name}: element {index} of {found.name} {found.shape}, "
            f"which has {found.size}, was asked for"
        )
