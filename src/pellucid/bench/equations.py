"""Graphs of equations compiled as they are: neither joined, nor rewritten, nor looked up by their graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from pellucid.emit import compile_program, target
from pellucid.network import Graph
from pellucid.network.program import assemble

__all__ = ["graph_call"]


def graph_call(
    graph: Graph, outputs: Sequence[str], arrays: Mapping[str, NDArray[Any]], threads: int = 1
) -> Callable[[], None]:
    """A call that computes `outputs` in their arrays of `arrays`, which has those of all inputs too."""
    program = assemble(graph, outputs, {}, target().machine).program
    executable = compile_program(program, proved=True)
    tensors = [tensor for tensor in program.tensors if tensor.role != "table"]
    pointers = [arrays[tensor.name].ctypes.data if tensor.name in arrays else None for tensor in tensors]

    def call(_keep: object = arrays) -> None:  # the addresses are good as long as the arrays live
        executable.run(pointers, threads)

    return call
