"""Loop nests to machine code: LLVM assembly, objects cached on disk, the call contract, worker threads."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.emit.compile import Executable, compile_program
    from pellucid.emit.targets import Target, host_target, target

__all__ = ["Executable", "Target", "compile_program", "host_target", "target"]


def __getattr__(name: str) -> Any:
    """The emitter is loaded when it is first used, and so is LLVM: what runs a program from the cache does without the
    one, what makes memory for it without both."""
    if name not in __all__:
        raise AttributeError(f"module 'pellucid.emit' has no attribute {name!r}")
    room = "compile" if name in ("Executable", "compile_program") else "targets"
    return getattr(import_module(f"pellucid.emit.{room}"), name)
