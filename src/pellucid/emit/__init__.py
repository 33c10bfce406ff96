"""Loop nests to machine code: LLVM assembly, objects cached on disk, the call contract, worker threads."""

from pellucid.emit.compile import Executable, compile_program
from pellucid.emit.target import Target, host_target, target

__all__ = ["Executable", "Target", "compile_program", "host_target", "target"]
