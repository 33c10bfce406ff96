"""The order of loops: reductions, levels from the outside in, chains for accuracy."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, prod, sqrt
from operator import le, mul
from typing import NamedTuple

from pellucid.language.affine import Affine
from pellucid.schedule.axes import bind_contraction
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import CACHE_LINE, FAR, Machine
from pellucid.schedule.nest import Operand
from pellucid.schedule.plan import Level, Options
from pellucid.schedule.rewrite import names_of
from pellucid.schedule.tiling import RegisterTile, turned_axis
from pellucid.schedule.traits import footprint, is_product, lead_operand, lines, near_capacity, stride

__all__ = ["chain_levels", "order_levels", "order_reductions"]

# The rounding error of a chain of n additions of one sign is about sqrt(n)/4 units; of m such pieces added,
# (sqrt(n/m) + sqrt(m))/4. Reductions are cut so that this stays below the limit (a 4.5 sigma bound of 15 units).
CHAIN_ERROR_LIMIT = 3.3
# Cycles that an element costs on its way into the first cache, into the second, and from beyond one core's share of
# the last one.
L1_CYCLES, L2_CYCLES, FAR_CYCLES = 0.2, 0.4, 1.0
# Cycles lost where a loop of a reduction is not as long as it was in the tile before: no branch predictor foresees it.
# What follows in the pipeline is lost too: on 8x8 maps this was a seventh of a weight gradient.
MISPREDICTION = 60.0
# Threads divide the outermost loop. Where all equations divide the first axis of their output (the batch), each
# thread finds in its own cache what it wrote before; another order must move this much less to be worth leaving it.
OTHER_FIRST = 1.5
# What two axes in another order than the output's must save: arrays are then walked across their lines and pages.
OUT_OF_ORDER = 0.05
# Rounds of a loop that divide well enough among the threads of one machine.
DIVISIBLE = 8


def order_reductions(nest: Contraction, vector: str | None) -> Contraction:
    """Reductions by descending stride in the lead operand; axes that it walks backwards are turned round.

    The first winner is the first in the order as written, so nothing moves for argmax and argmin.
    """
    if nest.position is not None or not nest.reduced:
        return nest
    lead = lead_operand(nest, vector).address
    turned = {
        axis: Affine.name(axis) * -1 + (extent - 1) for axis, extent in nest.reduced if lead.coefficient(axis) < 0
    }
    nest = bind_contraction(nest, turned)
    lead = lead.substitute(turned)
    return replace(nest, reduced=tuple(sorted(nest.reduced, key=lambda axis: -abs(lead.coefficient(axis[0])))))


def order_levels(
    nest: Contraction, vector: str | None, across: bool, tile: RegisterTile, slabs: tuple[tuple[str, int], ...],
    in_parts: Container[Operand], machine: Machine, element_bytes: int, options: Options,
) -> tuple[Level, ...]:  # fmt: skip
    """Slabs outermost, then the output's axes in the order that moves the fewest bytes into the near caches; their
    own order where it does not matter. Of a given order those axes count that are left (one of extent 1 is not, nor one
    that is walked together with another); axes that it does not name stand inside. Of operands `in_parts` a tile reads
    parts of lines."""
    extents = {**nest.extents, **dict(slabs)}
    sizes = {axis: ("tile", size) for axis, size in tile.points}
    if vector is not None and not across:
        sizes[vector] = ("vector", tile.block)
    order = tuple(axis for axis, _ in nest.free)
    if options.order is not None:
        order = tuple(dict.fromkeys((*(axis for axis in options.order if axis in order), *order)))
    elif is_product(nest) and len(order) > 1:
        tiles = {axis: min(size, extents[axis]) for axis, (_, size) in sizes.items()}
        order = _Traffic(nest, tiles, extents, in_parts, machine, element_bytes).cheapest_order()
    elif (last := _last_of_turned_copy(nest, vector, machine, element_bytes)) is not None:
        order = (*(axis for axis in order if axis != last), last)
    levels = [Level(axis, "slab", size) for axis, size in slabs]
    levels += [Level(axis, *sizes.get(axis, ("loop", 1))) for axis in order]
    return tuple(_block_moving_tile(nest, levels, machine, element_bytes, extents))


def _last_of_turned_copy(nest: Contraction, vector: str | None, machine: Machine, element_bytes: int) -> str | None:
    """The axis by which a copy whose squares are turned goes inside, so that it reads its source in order and writes a
    line of each row in turn: where the first cache holds these lines. A copy of 56x56 pixels with 128 channels takes
    0.8 of the time, one of 32x32, with rows of 4 KiB, would take twice as long."""
    axis = None if vector is None else turned_axis(nest, vector, machine.lanes(element_bytes))
    if axis is None:
        return None
    row = abs(stride(nest.output, axis)) * element_bytes
    written = nest.extents[axis] * CACHE_LINE
    return axis if written <= near_capacity(row, CACHE_LINE, machine.l1) else None


class _Inner(NamedTuple):
    """The innermost loops of an order that is being made from the inside out.

    `moved` is what each operand moves into each cache; `restarts` counts loops of the reduction that do not run as long
    as before; `turned` counts pairs of axes, one of them here, in another order than the output's.
    """

    moved: tuple[float, ...]
    restarts: int
    turned: int
    places: tuple[int, ...]  # of the axes in the output, outermost first

    def is_no_dearer(self, other: _Inner) -> bool:
        """Whether the same loops around both never make this one the dearer; of equals, the one nearer to the
        output's order."""
        if self.restarts > other.restarts or self.turned > other.turned or not all(map(le, self.moved, other.moved)):
            return False
        return self[:3] != other[:3] or self.places <= other.places


class _Traffic:
    """What each order of the loops moves into the caches, and the order that moves least."""

    def __init__(
        self, nest: Contraction, tile: dict[str, int], extents: dict[str, int], in_parts: Container[Operand],
        machine: Machine, element_bytes: int,
    ) -> None:  # fmt: skip
        self.loads, self.tile, self.extents = nest.loads, tile, extents
        self.in_parts, self.element_bytes = in_parts, element_bytes
        self.reduced = [axis for axis, _ in nest.reduced]
        self.axes = [axis for axis, _ in nest.free]
        self.rounds = [-(-extents[axis] // tile.get(axis, 1)) for axis in self.axes]
        self.changing = _changing_loops(nest, tile, extents)
        self.uses = [names_of(operand) for operand in nest.loads]
        caches = ((machine.l1, L1_CYCLES), (machine.l2 * 3 // 4, L2_CYCLES), (FAR * machine.l2, FAR_CYCLES))
        self.weights = [weight for _, weight in caches for _ in nest.loads]
        # By cache what it holds of each operand: the first one little of lines that lie a power of two apart.
        self.rooms = [[size // element_bytes for _ in nest.loads] for size, _ in caches]
        for place, operand in enumerate(nest.loads):
            if operand in in_parts:
                row = abs(stride(operand, nest.reduced[-1][0])) * element_bytes
                self.rooms[0][place] = near_capacity(row, CACHE_LINE, machine.l1) // element_bytes
        self._touched: dict[frozenset[int], tuple[int, ...]] = {}

    def cheapest_order(self) -> tuple[str, ...]:
        """The order of fewest cycles; of several the one nearest to the output's.

        What a loop adds depends on which loops stand inside it, not on their order. So of the orders of the same
        innermost loops only those are kept that no other one beats in everything.
        """
        start = tuple(float(size) for _ in self.rooms for size in self.touched(frozenset()))
        level = {frozenset[int](): [_Inner(start, 0, 0, ())]}
        for _ in self.axes:
            wider: dict[frozenset[int], list[_Inner]] = {}
            for inside, orders in level.items():
                for place in range(len(self.axes)):
                    if place not in inside:
                        kept = wider.setdefault(inside | {place}, [])
                        for order in self._surrounded(inside, place, orders):
                            if not any(other.is_no_dearer(order) for other in kept):
                                kept[:] = [other for other in kept if not order.is_no_dearer(other)]
                                kept.append(order)
            level = wider
        (orders,) = level.values()
        best = min(orders, key=lambda order: (self._cycles(order), order.places))
        return tuple(self.axes[place] for place in best.places)

    def touched(self, inside: frozenset[int]) -> tuple[int, ...]:
        """Elements of each operand that the loops `inside` move, with one tile of all other axes."""
        if inside not in self._touched:
            whole = {self.axes[place] for place in inside}
            spans = {**self.extents, **{axis: size for axis, size in self.tile.items() if axis not in whole}}
            names = {*self.reduced, *self.tile, *whole}
            self._touched[inside] = tuple(
                lines(operand, names, spans, self.element_bytes) // self.element_bytes
                if operand in self.in_parts
                else footprint(operand, names, spans, 1)
                for operand in self.loads
            )
        return self._touched[inside]

    def _surrounded(self, inside: frozenset[int], place: int, orders: Sequence[_Inner]) -> Iterator[_Inner]:
        """Orders of the loops `inside` with one more loop around them."""
        around = [other for other in range(len(self.axes)) if other not in inside and other != place]
        growth = self._growth(inside, place)
        rounds = self.rounds[place] * prod(self.rounds[other] for other in around)
        restarts = rounds * self.changing.get(self.axes[place], 0)
        turned = sum(other > place for other in around)
        for moved, old_restarts, old_turned, places in orders:
            yield _Inner(tuple(map(mul, moved, growth)), old_restarts + restarts, old_turned + turned, (place, *places))

    def _growth(self, inside: frozenset[int], place: int) -> list[float]:
        """By how much a loop around others multiplies what moves: what fits stays; an operand that the loop does not
        use is read again in every round of it unless it is small enough to have stayed; one that it uses grows to what
        the loop touches."""
        axis, rounds = self.axes[place], self.rounds[place]
        before, after = self.touched(inside), self.touched(inside | {place})
        growth = list[float]()
        for rooms in self.rooms:
            for uses, old, new, room in zip(self.uses, before, after, rooms, strict=True):
                if axis in uses:
                    growth.append(new / old if old <= room else rounds)
                else:
                    growth.append(rounds if old > 0.75 * room else 1)
        return growth

    def _cycles(self, order: _Inner) -> float:
        """Cycles for what moves into each cache, and for loops of the reduction that change their length."""
        cycles = sum(map(mul, self.weights, order.moved)) + MISPREDICTION * order.restarts
        if self.extents[self.axes[0]] >= DIVISIBLE and order.places[0] != 0:
            cycles *= OTHER_FIRST
        return cycles * (1 + OUT_OF_ORDER * order.turned)


def _changing_loops(nest: Contraction, tile: dict[str, int], extents: dict[str, int]) -> dict[str, int]:
    """For each output axis outside the tile that bounds a loop of the reduction: how often a tile starts that loop."""
    found: dict[str, int] = {}
    for guard in nest.guards:
        starts = 1
        for axis, _ in nest.reduced:
            if axis in guard.index.names:
                outer = set(guard.index.names) & {name for name, _ in nest.free} - tile.keys()
                found |= {name: max(starts, found.get(name, 0)) for name in outer}
            starts *= extents[axis]
    return found


def _block_moving_tile(
    nest: Contraction, levels: list[Level], machine: Machine, element_bytes: int, extents: dict[str, int]
) -> list[Level]:
    """Where the vector blocks run innermost inside a tile axis, that axis is blocked around them, so that a block's
    panel serves many tiles from the first cache.

    before: for m-tile: for k-block        after: for m-block: for k-block: for m-tile
    """
    if not is_product(nest) or [level.kind for level in levels[-2:]] != ["tile", "vector"]:
        return levels
    level, vectors = levels[-2:]
    names = [axis for axis, _ in nest.reduced] + [level.axis]
    moving = [operand for operand in nest.loads if level.axis in names_of(operand)]
    beside = any(stride(operand, level.axis) == 1 for operand in moving)  # those points will be a panel of their own
    if beside or any(level.axis in guard.index.names for guard in nest.guards):
        return levels
    per = sum(footprint(operand, names, {**extents, level.axis: 64}, element_bytes) for operand in moving) / 64
    block = int(machine.l2 / 4 / per) // level.size * level.size
    if block < 2 * level.size:
        return levels
    outer = [Level(level.axis, "loop", block)] if block < extents[level.axis] else []
    return [*levels[:-2], *outer, vectors, level]


def chain_levels(
    nest: Contraction, slabs: tuple[tuple[str, int], ...], longest: int = 0, across: Mapping[str, int] | None = None
) -> tuple[Level, ...]:
    """Reductions cut for accuracy: outermost axis first, until the estimated rounding error is small enough, or until a
    chain has at most `longest` terms. An axis of `across` is summed in so many lanes, each a chain of its own."""
    if nest.reduction != "sum":
        return ()
    lengths = {**nest.extents, **dict(slabs)}
    lengths |= {axis: -(-lengths[axis] // lanes) for axis, lanes in (across or {}).items()}
    if longest:
        return _chains_of(nest, lengths, longest)
    total = prod(lengths[axis] if axis in (across or {}) else extent for axis, extent in nest.reduced)
    chain = prod(lengths[axis] for axis, _ in nest.reduced)
    levels = list[Level]()

    def error(length: int) -> float:
        pieces = -(-total // length)
        return 0.25 * (sqrt(length / pieces) + (sqrt(pieces) if pieces > 1 else 0.0))

    for axis, _ in nest.reduced:
        if error(chain) <= CHAIN_ERROR_LIMIT or chain <= 128 or axis in (across or {}):
            break
        rest = chain // lengths[axis]
        # Pieces as equal as possible: the longest that stay below the limit, or those with the least error, which is
        # least of all where a chain has (total / 2)^(2/3) terms.
        most = ceil(2 * lengths[axis] * rest / (total / 2) ** (2 / 3))
        sizes = [-(-lengths[axis] // count) for count in range(1, min(most, lengths[axis]) + 1)]
        size = next((n for n in sizes if error(rest * n) <= CHAIN_ERROR_LIMIT), None)
        size = size or min(sizes, key=lambda n: error(rest * n))
        if size < lengths[axis]:
            levels.append(Level(axis, "chain", size))
            chain = rest * size
    return tuple(levels)


def _chains_of(nest: Contraction, lengths: dict[str, int], longest: int) -> tuple[Level, ...]:
    levels = list[Level]()
    chain = prod(lengths[axis] for axis, _ in nest.reduced)
    for axis, _ in nest.reduced:
        if chain <= longest:
            break
        rest = chain // lengths[axis]
        count = -(-lengths[axis] // max(1, longest // rest))
        size = -(-lengths[axis] // count)
        levels.append(Level(axis, "chain", size))
        chain = rest * size
    return tuple(levels)
