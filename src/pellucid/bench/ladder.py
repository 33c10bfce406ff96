"""The kernel ladder: a 3x3 convolution from literal loops to the limit and past it, one idea a rung.

Every rung is the package's own scheduler with decisions taken from outside (`Options`), or Winograd's rewrite with
given tiles; docs/ladder.md tells the story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.equations import graph_call
from pellucid.bench.judge import largest_error
from pellucid.bench.kernels import CASES as KERNELS
from pellucid.bench.kernels import TOLERANCE, Convolution, graph_of, random_arrays
from pellucid.bench.rows import Row, timed
from pellucid.bench.turns import clock_for, peak_limit, take_turns
from pellucid.emit import compile_program, target
from pellucid.emit.allocation import aligned
from pellucid.language.extents import infer_extents
from pellucid.language.winograd import Tile
from pellucid.network.fast import with_tiles
from pellucid.schedule.lower import lower
from pellucid.schedule.nest import Program, Tensor
from pellucid.schedule.plan import Options

__all__ = ["CASES", "LITERAL", "Rung", "measure", "plan_of"]

Array: TypeAlias = NDArray[Any]
SHAPE = "28x28x128 3x3-128"
# All decisions taken: one point, no panels, no slabs, one chain, and the loops as the equation is written.
LITERAL = ("n", "i", "j", "k")
_OPEN = Options(vector="k", tile=(), block=1, panels=False, slabs=(), order=LITERAL, chain=1 << 30)


@dataclass(frozen=True)
class Rung:
    """`options` for the scheduler, on a machine whose vectors hold one number unless `vectors`; `row` stands for a
    block of as many vectors as leave registers for six points. With `tiles` the rewrite with so many outputs along rows
    and columns, scheduled as ever."""

    options: Options | None = None
    vectors: bool = True
    row: bool = False
    tiles: tuple[int, int] | None = None


CASES: Mapping[str, Rung] = MappingProxyType(
    {
        "v1 literal loops": Rung(_OPEN, vectors=False),
        "v2 vectors": Rung(_OPEN),
        "v3 row of vectors": Rung(_OPEN, row=True),
        "v4 register tile": Rung(replace(_OPEN, tile=(("j", 6),)), row=True),
        "v5 tile by estimate": Rung(replace(_OPEN, tile=None, block=None)),
        "v6 panels": Rung(replace(_OPEN, tile=None, block=None, panels=None)),
        "v7 order and slabs": Rung(Options(chain=1 << 30)),
        "v8 chains": Rung(Options()),
        "v9 Winograd 2x2": Rung(tiles=(2, 2)),
        "v10 Winograd 2x4": Rung(tiles=(2, 4)),
        "v11 Winograd 4x4": Rung(tiles=(4, 4)),
    }
)


def measure(names: Sequence[str], threads: Sequence[int], rounds: int) -> Iterator[Row]:
    """A row for every rung, verified against NumPy in float64 before it is timed.

    The fraction counts the operations of the plain sum, so that rungs which need fewer can exceed 1.
    """
    shape = KERNELS[SHAPE]
    assert isinstance(shape, Convolution)
    arrays = random_arrays(shape.shapes)
    given, result = {"x": arrays["x"], "w": arrays["w"]}, aligned(arrays["g"].shape, np.float32)
    exact = reference(shape, arrays["x"], arrays["w"])
    for count in threads:
        for name in names:
            call = _call(CASES[name], shape, {**given, "z": result}, count)
            result.fill(np.nan)
            call()
            error = largest_error(name, {"z": result}, {"z": exact}, TOLERANCE)
            turns = take_turns(
                {"ours": call}, shape.operations, peak_limit(count), rounds=rounds, clock=clock_for(count)
            )
            yield timed(name, "forward", count, turns, shape.operations, error=error)


def reference(shape: Convolution, x: Array, w: Array) -> Array:
    """The convolution of stride 1 in float64: a matrix product for each tap, on a padded copy."""
    sides = (shape.padding, shape.padding)
    padded = np.pad(x.astype(np.float64), ((0, 0), sides, sides, (0, 0)))
    taps = [(s, t) for s in range(shape.kernel) for t in range(shape.kernel)]
    return sum(
        (padded[:, s : s + shape.result, t : t + shape.result] @ w[s, t].astype(np.float64) for s, t in taps),
        start=np.zeros(shape.shapes["g"]),
    )


def plan_of(rung: Rung) -> str:
    """How a rung without tiles is scheduled, and why."""
    _, plans = _lowered(rung, KERNELS[SHAPE])
    return "\n".join(plans)


def _call(rung: Rung, shape: Convolution, arrays: Mapping[str, Array], threads: int) -> Callable[[], None]:
    if rung.tiles is not None:
        graph, output = graph_of(shape, "forward")
        rows, columns = rung.tiles
        tiles = {"i": Tile(rows, shape.kernel), "j": Tile(columns, shape.kernel)}
        return graph_call(with_tiles(graph, tiles), [output], arrays, threads)
    program, _ = _lowered(rung, shape)
    executable = compile_program(program)
    return lambda: executable.call(arrays, threads)


def _lowered(rung: Rung, shape: Any) -> tuple[Program, list[str]]:
    equation, machine = shape.equation, target().machine
    machine = machine if rung.vectors else replace(machine, vector_bytes=4)
    options = rung.options
    if rung.row and options is not None:
        options = replace(options, block=machine.lanes(4) * (machine.registers // 8))
    shapes = {"x": shape.shapes["x"], "w": shape.shapes["w"], "z": shape.shapes["g"]}
    tensors = {name: Tensor(name, "float32", own, "output" if name == "z" else "input") for name, own in shapes.items()}
    extents = infer_extents(equation.formula, equation.constants, {name: shapes[name] for name in "xw"}, {})
    lowered = lower(equation.formula, equation.constants, extents, tensors, machine, "ladder", options)
    program = Program((*tensors.values(), *lowered.tensors), lowered.nests)
    return program, [str(plan) for plan in lowered.plans]
