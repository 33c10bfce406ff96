"""Runs a graph as machine code: one program, one arena, one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import Executable, compile_program
from pellucid.emit.target import target
from pellucid.network.apart import address
from pellucid.network.graph import Graph
from pellucid.network.memory import ALIGNMENT, element_bytes
from pellucid.network.program import Assembled, assemble

__all__ = ["CompiledEngine", "compile_engine"]


def compile_engine(graph: Graph, outputs: Collection[str], homes: Mapping[str, str], threads: int) -> CompiledEngine:
    """Machine code for a graph; `outputs` and `homes` as in `assemble`."""
    assembled = assemble(graph, outputs, homes, target().machine)
    memory = Memory(assembled, threads)
    copied: dict[str, str] = {}
    written: dict[str, str] = {}
    for name in dict.fromkeys(outputs):
        tensor = assembled.tensors[name]
        if tensor in graph.inputs:
            copied[name] = tensor
        elif written.setdefault(tensor, name) != name:
            copied[name] = written[tensor]
    return CompiledEngine(assembled, compile_program(assembled.program, proved=True), memory, copied, threads)


class Memory:
    """The arena of a program's temporaries and the scratch of its threads; `addresses` says where each begins.

    `arena` is the memory itself, of which nothing is promised between two runs.
    """

    def __init__(self, assembled: Assembled, threads: int) -> None:
        scratch = {
            tensor.name: tensor.size * element_bytes(tensor.dtype) * threads
            for tensor in assembled.program.tensors
            if tensor.role == "scratch"
        }
        self._kept = {name: aligned_bytes(size) for name, size in scratch.items()}
        self.arena = aligned_bytes(assembled.arena.size)
        base = address(self.arena)
        self.addresses = {name: base + offset for name, offset in assembled.arena.offsets.items()}
        self.addresses |= {name: address(array) for name, array in self._kept.items()}


class CompiledEngine:
    """The program of a graph, compiled, with the memory of its temporaries.

    `copied` names the outputs that no nest writes under their own name (inputs, values that took over an input's
    memory, second views of one output), each with the input or output that holds it.
    """

    def __init__(
        self,
        assembled: Assembled,
        executable: Executable,
        memory: Memory,
        copied: Mapping[str, str],
        threads: int,
        fixed: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.assembled = assembled
        self.executable = executable
        self.memory = memory
        self._copied = copied
        self._threads = threads
        self._fixed = dict(fixed or {})
        known = {**memory.addresses, **{name: address(array) for name, array in self._fixed.items()}}
        self._order = [tensor.name for tensor in assembled.program.tensors if tensor.role != "table"]
        self._pointers = [known.get(name, 0) for name in self._order]
        self._open = [(place, name) for place, name in enumerate(self._order) if name not in known]

    def bound(self, arrays: Mapping[str, NDArray[Any]]) -> CompiledEngine:
        """See `Engine`."""
        fixed = {**self._fixed, **arrays}
        return CompiledEngine(self.assembled, self.executable, self.memory, self._copied, self._threads, fixed)

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """See `Engine`."""
        written = {self.assembled.tensors[name]: array for name, array in outputs.items() if name not in self._copied}
        given = {**written, **arrays}
        pointers = self._pointers.copy()
        for place, name in self._open:
            pointers[place] = address(given[name])
        self.executable.run(pointers, self._threads)
        for name, source in self._copied.items():
            array = next(held[source] for held in (outputs, arrays, self._fixed) if source in held)
            outputs[name][...] = array.reshape(outputs[name].shape)


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """Zeroed memory of at least `size` bytes that starts at a multiple of `ALIGNMENT`."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + max(size, 1)]
