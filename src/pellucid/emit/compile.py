"""From a program to machine code in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llvmlite.binding as llvm

from pellucid.emit.module import ENTRY, emit_module
from pellucid.emit.target import Target, target_machine
from pellucid.emit.target import target as find_target
from pellucid.schedule.nest import Program


class Executable:
    def __init__(self, program, target, text, obj, lib):
        self.program = program
        self.target = target
        self.text = text
        self.obj = obj
        self.lib = lib
        self.fn = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
        )(lib[ENTRY])
        self.barrier = (ctypes.c_int64 * 64)()
        self.errors = (ctypes.c_int64 * 8)()

    def run(self, pointers: Sequence[int], threads: int = 1) -> None:
        places = [i for i, t in enumerate(self.program.tensors) if t.role != "table"]
        args = (ctypes.c_void_p * len(self.program.tensors))()
        for p, a in zip(places, pointers, strict=True):
            args[p] = a
        self.fn(ctypes.addressof(args), 0, 1, ctypes.addressof(self.barrier), ctypes.addressof(self.errors))

    def assembly(self):
        return target_machine(self.target).emit_assembly(llvm.parse_assembly(self.text))


def compile_program(program: Program, target: Target | None = None, *, checked: bool = False) -> Executable:
    target = target or find_target()
    m = emit_module(program, target, checked=checked)
    machine = target_machine(target)
    mod = llvm.parse_assembly(m.text)
    mod.triple = target.triple
    obj = machine.emit_object(mod)
    jit = llvm.create_lljit_compiler(machine, use_jit_link=False, suppress_errors=False)
    lib = llvm.JITLibraryBuilder().add_object_img(obj).export_symbol(ENTRY).link(jit, "program")
    e = Executable(program, target, m.text, obj, lib)
    e.jit = jit
    return e
