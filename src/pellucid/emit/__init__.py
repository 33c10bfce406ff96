"""Loop nests to machine code: LLVM assembly, objects cached on disk, the call contract, worker threads."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.emit.target import Target, host_target, target

if TYPE_CHECKING:
    from pellucid.emit.compile import Executable, compile_program

__all__ = ["Executable", "Target", "compile_program", "host_target", "target"]


def __getattr__(name: str) -> Any:
    """The emitter is loaded when it is first used: what runs a program from the cache does without."""
    if name in ("Executable", "compile_program"):
        return getattr(import_module("pellucid.emit.compile"), name)
    raise AttributeError(f"module 'pellucid.emit' has no attribute {name!r}")
