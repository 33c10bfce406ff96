"""Compiled programs on buffers between forbidden pages: arrays, temporaries and panels; as a script, many kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import Executable, compile_program, target
from schedule.cases import EQUATIONS, Case, gradients, with_tiny_caches
from support.guard_pages import guarded

__all__ = ["KERNELS", "Sides", "run_between_pages"]

Sides: TypeAlias = Literal["start", "end"]

# Borders, tails, panels, scratch, gathers, elementwise tails, lanes reduced.
KERNELS = (
    "conv", "conv stride 2", "conv NCHW", "conv depthwise", "dense", "products along rows", "max pool overlapping",
    "max pool, winners", "average pool", "mean of rows", "variance", "normalised", "relu with slope", "neighbours",
    "gather", "depth to space", "transposed", "local response",
)  # fmt: skip


def run_between_pages(executable: Executable, arrays: Mapping[str, NDArray[Any]], side: Sides) -> NDArray[Any]:
    """The output; every buffer of the program starts (or ends) at a page that may not be touched."""
    buffers = {
        tensor.name: guarded(tensor.shape, tensor.dtype, at_end=side == "end")
        for tensor in executable.program.tensors
        if tensor.role != "table"
    }
    for name, array in arrays.items():
        buffers[name].array[...] = array
    executable.run([buffer.array.ctypes.data for buffer in buffers.values()])
    output = next(tensor for tensor in executable.program.tensors if tensor.role == "output")
    return buffers[output.name].array.copy()


def main() -> None:
    """Every kernel and its gradients on both sides; each result is the reference's."""
    machines = (target().machine, with_tiny_caches(target().machine))
    for name in KERNELS:
        kernels: list[Case] = [EQUATIONS[name], *gradients(EQUATIONS[name]).values()]
        for kernel in kernels:
            arrays = kernel.arrays()
            expected = kernel.expected(arrays)
            for machine in machines:
                executable = compile_program(kernel.program(machine))
                for side in ("start", "end"):
                    np.testing.assert_array_equal(run_between_pages(executable, arrays, side), expected)
    print(f"{len(KERNELS)} kernels survived")


if __name__ == "__main__":
    main()
