"""Runs a graph as machine code: one program, one arena, one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import compile_program
from pellucid.emit.target import target
from pellucid.network.graph import Graph
from pellucid.network.memory import ALIGNMENT
from pellucid.network.program import assemble, element_bytes

__all__ = ["CompiledEngine"]


class CompiledEngine:
    """The program of a graph, compiled, with the memory of its temporaries."""

    def __init__(self, graph: Graph, outputs: Collection[str], homes: Mapping[str, str], threads: int) -> None:
        self.assembled = assemble(graph, outputs, homes, target().machine)
        self.executable = compile_program(self.assembled.program)
        self._threads = threads
        self._arena = aligned_bytes(self.assembled.arena.size)
        self._scratch = {
            tensor.name: aligned_bytes(tensor.size * element_bytes(tensor.dtype) * threads)
            for tensor in self.assembled.program.tensors
            if tensor.role == "scratch"
        }
        base = self._arena.ctypes.data
        self._own = {name: base + offset for name, offset in self.assembled.arena.offsets.items()}
        self._own |= {name: array.ctypes.data for name, array in self._scratch.items()}
        self._order = [tensor.name for tensor in self.assembled.program.tensors if tensor.role != "table"]
        # Outputs that no nest writes under their own name: inputs, or values that took over an input's memory.
        self._copied = [name for name in outputs if self.assembled.tensors[name] in graph.inputs]

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """As `Engine.run`."""
        given = {name: array.ctypes.data for name, array in arrays.items()}
        filled = {self.assembled.tensors[name]: array.ctypes.data for name, array in outputs.items()}
        addresses = {**filled, **given, **self._own}
        self.executable.run([addresses[name] for name in self._order], self._threads)
        for name in self._copied:
            outputs[name][...] = arrays[self.assembled.tensors[name]].reshape(outputs[name].shape)


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """Zeroed memory of at least `size` bytes that starts at a multiple of `ALIGNMENT`."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + max(size, 1)]
