"""A measured search for the decisions about single equations: what `pellucid tune` does.

An equation is compiled alone, on arrays of the network's shapes, in several ways: its dearest contraction with other
tiles, orders of loops, panels, slabs and unrollings than the cost model's choice. One decision after the other is
tried, the best so far kept; every candidate must give the default's result, and is timed in turns with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.allocation import copied
from pellucid.emit.compile import Executable, generate
from pellucid.emit.entry import load_object
from pellucid.emit.targets import Target, check_runnable, target
from pellucid.network.build import rewritten
from pellucid.network.graph import Equation, Graph
from pellucid.network.images import image_values
from pellucid.network.program import equation_options
from pellucid.network.run import CompiledGraph
from pellucid.network.source import source_digest
from pellucid.network.tuned import Choice, Tuned, merged
from pellucid.schedule.bounds import prove
from pellucid.schedule.lower import Lowered, lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import ELEMENT_BYTES, Program, Tensor
from pellucid.schedule.plan import Options, Plan
from pellucid.schedule.tiling import choose_product_tile
from pellucid.schedule.traits import is_product

__all__ = ["Measured", "candidates", "tune"]

# What a choice must save to be kept: less is not told from noise.
WORTHWHILE = 0.03
# Tiles that are tried: those that the cost model finds best, and no more vectors or points than these.
MOST_TILES, MOST_VECTORS, MOST_POINTS = 8, 8, 16
# Rounds in which a candidate is timed in turns with the best so far; of the last comparison, with the default.
ROUNDS, LAST_ROUNDS = 5, 11
# A round lasts at least this many seconds: shorter ones measure the clock.
SHORTEST_ROUND = 2e-4
# No equation gets more than this part of the time that is left.
LARGEST_SHARE = 0.2


@dataclass(frozen=True)
class Measured:
    """An equation, seconds of a run by the defaults and by the best that was found, and that choice ({}: the default)
    under its key. `tried` is how many candidates ran."""

    node: Equation
    key: str
    default: float
    best: float
    choice: Choice
    tried: int


def tune(compiled: CompiledGraph, *, threads: int, seconds: float) -> Iterator[Measured]:
    """Searches for better decisions about the equations of a compiled graph, dearest first, until the time is used up.

    Equations that occur several times are measured once.
    """
    chosen = target()
    check_runnable(chosen)
    graph, outputs, updates = compiled.graph, compiled.outputs, compiled.updates
    own = rewritten(graph, outputs, updates, chosen.machine)
    known, of_images = Tuned(repr(chosen), source_digest()), image_values(own)
    problems: dict[str, _Problem] = {}
    for node in own.nodes:
        if isinstance(node, Equation) and not own.tables.keys() & set(node.sources):
            decided = equation_options(node, own, of_images, chosen.machine)
            key = known.key(node, own, decided)
            if key not in problems:
                problems[key] = _Problem(node, own, decided, chosen, threads)
    end = time.perf_counter() + seconds
    for key, problem in sorted(problems.items(), key=lambda item: -item[1].cycles):
        left = end - time.perf_counter()
        if left <= 0:
            return
        if problem.cycles > 0:
            yield problem.search(key, time.perf_counter() + LARGEST_SHARE * left)


class _Problem:
    """One equation to be compiled in several ways."""

    def __init__(self, node: Equation, graph: Graph, decided: Options | None, chosen: Target, threads: int) -> None:
        self.node, self.decided, self.chosen, self.threads = node, decided, chosen, threads
        bound = {**node.bindings, node.formula.output.tensor: node.output}
        roles = {node.formula.output.tensor: "output"}
        self.tensors = {
            local: Tensor(local, graph.values[name].dtype, graph.values[name].shape, roles.get(local, "input"))
            for local, name in bound.items()
        }
        self.default = self._lowered(decided)
        self.number = max(range(len(self.default.plans)), key=lambda number: self.default.plans[number].cycles)
        self.bytes = ELEMENT_BYTES[graph.dtype]

    @property
    def cycles(self) -> float:
        """The estimate for the dearest contraction; 0 of a map by known matrices, which has no choices."""
        return self.default.plans[self.number].cycles

    def search(self, key: str, end: float) -> Measured:
        """The best choice that is found before `end`."""
        first = best = self._compiled(self.default)
        arrays = self._arrays()
        expected = self._result(first, arrays)
        choice: dict[str, Any] = {}
        plan, tried = self.default.plans[self.number], 0
        for decision in DECISIONS:
            for change in candidates(decision, plan, self.chosen.machine, self.bytes):
                if time.perf_counter() > end:
                    break
                wanted = {**choice, **change, "number": self.number}
                lowered = self._lowered(merged(self.decided, wanted))
                if lowered.nests == self.default.nests:
                    continue
                other = self._compiled(lowered)
                tried += 1
                if not _equal(self._result(other, arrays), expected):
                    continue
                if _faster(*_timed([best, other], arrays, self.threads, ROUNDS)):
                    best, choice = other, wanted
            if choice:
                plan = self._lowered(merged(self.decided, choice)).plans[self.number]
        rounds = _timed([first, best], arrays, self.threads, LAST_ROUNDS)
        default, found = map(median, rounds)
        if best is first or not _faster(*rounds):
            return Measured(self.node, key, default, default, {}, tried)
        return Measured(self.node, key, default, found, choice, tried)

    def _lowered(self, options: Options | None) -> Lowered:
        node = self.node
        return lower(node.formula, node.constants, node.extents, self.tensors, self.chosen.machine, "tuned", options)

    def _compiled(self, lowered: Lowered) -> Executable:
        """Code that is not kept on disk: of many candidates one is wanted again."""
        program = Program((*self.tensors.values(), *lowered.tensors), lowered.nests)
        prove(program)
        return Executable(program, self.chosen, load_object(generate(program, self.chosen), self.chosen), "", False)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Small whole numbers, so that sums come out alike in whatever order they are added; indices are 0."""
        random = np.random.default_rng(0)
        return {
            name: copied(random.integers(-2, 3, tensor.shape), tensor.dtype)
            if tensor.dtype != "int64"
            else np.zeros(tensor.shape, np.int64)
            for name, tensor in self.tensors.items()
        }

    def _result(self, code: Executable, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        code.call(arrays, self.threads)
        return arrays[self.node.formula.output.tensor].copy()


def _equal(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether two results are one: to the bit where the arithmetic is exact, else to what rounding may change."""
    size = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    accuracy = 16 * np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
    return bool(np.allclose(found, expected, rtol=accuracy, atol=accuracy * size, equal_nan=True))


def _timed(
    codes: Sequence[Executable], arrays: Mapping[str, NDArray[Any]], threads: int, rounds: int
) -> list[list[float]]:
    """Seconds of a run of each in every round, measured in turns; of one thread its own time."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    calls = [_call(code, arrays, threads) for code in codes]
    repeats = [max(1, round(SHORTEST_ROUND / max(_seconds(clock, call, 1), 1e-7))) for call in calls]
    found: list[list[float]] = [[] for _ in codes]
    for _ in range(rounds):
        for times, call, repeat in zip(found, calls, repeats, strict=True):
            times.append(_seconds(clock, call, repeat) / repeat)
    return found


def _faster(old: Sequence[float], new: Sequence[float]) -> bool:
    """Whether the new times are below the old ones by what is worth it, and in nearly every round below its old one."""
    wins = sum(b < a for a, b in zip(old, new, strict=True))
    return median(new) < (1 - WORTHWHILE) * median(old) and wins >= 0.8 * len(old)


def _call(code: Executable, arrays: Mapping[str, NDArray[Any]], threads: int) -> Callable[[], None]:
    tensors = [tensor for tensor in code.program.tensors if tensor.role != "table"]
    pointers = [arrays[tensor.name].ctypes.data if tensor.name in arrays else None for tensor in tensors]
    return lambda: code.run(pointers, threads)


def _seconds(clock: Callable[[], float], call: Callable[[], None], repeat: int) -> float:
    start = clock()
    for _ in range(repeat):
        call()
    return clock() - start


# Candidates


DECISIONS = ("tile", "order", "panels", "slabs", "unroll")


def candidates(decision: str, plan: Plan, machine: Machine, element_bytes: int) -> list[dict[str, Any]]:
    """Other choices than the plan's for one decision of `DECISIONS`, as JSON has them; likely ones first."""
    nest = plan.contraction
    outer = {level.axis for level in plan.levels[: plan.outer]}
    if decision == "tile":
        return _tiles(plan, outer, machine, element_bytes)
    if decision == "order":
        order = list(dict.fromkeys(level.axis for level in plan.levels if level.kind in ("loop", "vector", "tile")))
        order = [axis for axis in order if axis not in outer]
        return [{"order": swapped} for swapped in _neighbours(order)]
    if decision == "panels":
        return [{"panels": False}] if plan.panels else []
    if decision == "slabs":
        cut = [[level.axis, level.size] for level in plan.levels if level.kind == "slab" and level.axis not in outer]
        guarded = {name for guard in nest.guards for name in guard.index.names}
        longest = next(
            ((axis, size) for axis, size in nest.reduced if axis not in guarded | outer and size >= 64), None
        )
        halves = [] if longest is None else [[[longest[0], -(-longest[1] // parts)]] for parts in (2, 4)]
        return [{"slabs": slabs} for slabs in ([[]] if cut else []) + halves if slabs != cut]
    return [{"unroll": unroll} for unroll in (1, 2, 4, 8) if unroll != plan.unroll and unroll >= plan.chains]


def _neighbours(order: list[str]) -> Iterator[list[str]]:
    """The orders in which two neighbours have changed places."""
    for place in range(len(order) - 1):
        yield [*order[:place], order[place + 1], order[place], *order[place + 2 :]]


def _tiles(plan: Plan, outer: set[str], machine: Machine, element_bytes: int) -> list[dict[str, Any]]:
    """Tiles and blocks: of products those for which the cost model estimates the fewest cycles."""
    nest, lanes = plan.contraction, plan.lanes
    if plan.vector is None or plan.across:
        return []
    most = min(MOST_VECTORS, -(-nest.extents[plan.vector] // lanes))
    current = (plan.tile, plan.block)
    if not is_product(nest):
        widths = sorted({1, 2, 4, 8, most} & set(range(1, most + 1)))
        tiles = [(plan.tile, width * lanes) for width in widths]
        return [{"tile": _listed(points), "block": block} for points, block in tiles if (points, block) != current]
    axes = [axis for axis, extent in nest.free if axis != plan.vector and axis not in outer and extent > 1]
    shapes = {(), *(((axis, size),) for axis in axes for size in _sizes(nest.extents[axis]))}
    shapes |= {((a, x), (b, y)) for a, b in product(axes, axes) if a != b for x in (2, 3, 4) for y in (2, 3, 4)
               if x <= nest.extents[a] and y <= nest.extents[b]}  # fmt: skip
    found: list[tuple[float, tuple[tuple[str, int], ...], int]] = []
    for points, vectors in product(sorted(shapes), range(1, most + 1)):
        count = prod(size for _, size in points)
        if (
            count * vectors + (vectors if count > 1 else 1) + 1 > machine.registers
            or (points, vectors * lanes) == current
        ):
            continue
        given = Options(tile=points, block=vectors * lanes)
        found.append(
            (choose_product_tile(nest, plan.vector, lanes, machine, element_bytes, given).cycles, points, vectors)
        )
    return [{"tile": _listed(points), "block": vectors * lanes} for _, points, vectors in sorted(found)[:MOST_TILES]]


def _sizes(extent: int) -> set[int]:
    """Sizes of a tile's axis that cut it into as equal pieces as can be."""
    return {-(-extent // -(-extent // size)) for size in range(2, min(extent, MOST_POINTS) + 1)}


def _listed(points: Sequence[tuple[str, int]]) -> list[list[str | int]]:
    return [list(point) for point in points]
