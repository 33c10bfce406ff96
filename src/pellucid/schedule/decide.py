"""Contraction + machine -> plan. Each decision is one function; together they are the scheduler's judgement.

The order: axes are fused; a vector axis is chosen; reductions are ordered; the register tile is chosen by an
estimate of cycles; what it should read in order is copied into panels; reductions are cut for the caches; loops are
ordered; panels are placed among them; what comes from afar is prefetched; long chains are cut for accuracy. Nothing
here knows what a convolution is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from math import prod

from pellucid.schedule.axes import fuse_axes, split_dimensions
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import Machine, whole_lines
from pellucid.schedule.nest import IDENTITY, Operand
from pellucid.schedule.normal import vanishes
from pellucid.schedule.ordering import chain_levels, order_levels, order_reductions
from pellucid.schedule.parts import OUTER
from pellucid.schedule.plan import Ahead, Level, Options, Panel, Plan
from pellucid.schedule.slabs import choose_slabs
from pellucid.schedule.tiling import (
    LEAST_PIECE,
    RegisterTile,
    chains_for,
    choose_pointwise_tile,
    choose_product_tile,
    next_rows,
    streams,
)
from pellucid.schedule.traits import (
    bare_dimension,
    footprint,
    guarded_names,
    is_product,
    near_capacity,
    never_holds,
    reads_parts_of_lines,
    reuse,
    stride,
)

__all__ = ["decide"]

# Multiply-adds that each element of a copied operand must enter, so that the copy pays: of one that is read as points,
# and of one that is read as vectors. On a Zen 4 weight gradients with 256 to 512 of them were slower with a copy of the
# points (by 5 to 12 %), with 576 and more faster (by 5 to 20 %). Vectors: 32 were slower by a fifth, 128 faster by 6 %,
# and by a third where weights came again for each image. That is with one multiply-add of 64 bytes a cycle; where it
# is two a copy takes as long and saves half: a Zen 5 was slower by 3 to 5 % with 576 points, and with 128 vectors. What
# is copied seldom needs few.
LEAST_USES_OF_POINTS, LEAST_USES_OF_VECTORS, LEAST_USES_IF_SELDOM = 512, 100, 16
# Steps of an innermost loop from which it does two of them a round even with many accumulators: dense layers then reach
# 1 to 2 % more of the peak. A network has many shorter ones: from 64 steps on one of residual blocks took 1 to 2 %
# less a step, and 0.3 s more to compile.
LONG_LOOP = 256
# Bytes between what is read of a matrix that is read once, in pieces of rows, and what is prefetched: a processor sees
# one piece of every page alone, and waits for memory at each. With 4 to 64 KiB the dense layers of a VGG for one image
# read 18 GB/s, without 10.
ONCE_AHEAD = 16 << 10


def decide(nest: Contraction, machine: Machine, element_bytes: int, options: Options | None = None) -> Plan:
    """The plan of a contraction of elements of `element_bytes` bytes."""
    options = options or Options()
    whole = split_dimensions(nest)
    outer = outer_levels(whole)
    nest, fused = fuse_axes(_without(whole, outer))
    lanes = machine.lanes(element_bytes)
    vector, across, why = choose_vector(nest, lanes, options)
    reasons = [*(f"{a} and {b} are walked as one axis" for a, b in fused), why]
    nest = order_reductions(nest, vector)
    if across and vector is not None:
        others = tuple(axis for axis in nest.reduced if axis[0] != vector)
        nest = replace(nest, reduced=(*others, (vector, nest.extents[vector])))
    if is_product(nest) and not across:
        tile = choose_product_tile(nest, vector, lanes, machine, element_bytes, options)
    else:
        tile = choose_pointwise_tile(nest, vector, across, lanes, machine, options)
    rounds = {level.axis: whole.extents[level.axis] for level in outer}
    copied = choose_copied(nest, rounds, vector, across, tile, machine, element_bytes, options)
    in_parts = read_in_parts(nest, tile, copied, machine, element_bytes)
    slabs = choose_slabs(nest, tile, vector, copied, in_parts, machine, element_bytes, options)
    levels = order_levels(nest, vector, across, tile, slabs, in_parts, machine, element_bytes, options)
    levels = (*outer, *levels)
    panels = place_panels(copied, levels, options)
    # What is prefetched within a block comes first: an operand has one distance.
    prefetched = choose_prefetched(nest, vector, across, tile, copied, in_parts, machine, element_bytes)
    prefetched = prefetched or choose_blocks_ahead(
        nest, vector, across, tile, slabs, levels, machine, element_bytes, options
    )
    levels += chain_levels(nest, slabs, options.chain, {vector: lanes} if across and vector else None)
    vectors = -(-min(tile.block, nest.extents[vector]) // lanes) if vector else 1
    accumulators = prod(size for _, size in tile.points) * vectors
    chains = chains_for(nest, accumulators, machine)
    unroll = options.unroll or choose_unroll(nest, levels, accumulators)
    reasons.append(f"{accumulators} accumulators; estimated {tile.cycles:.0f} cycles")
    for level in reversed(outer):
        axis = (level.axis, whole.extents[level.axis])
        if level.kind == "slab":
            nest = replace(nest, reduced=(axis, *nest.reduced))
        else:
            nest = replace(nest, free=(axis, *nest.free))
        reasons.append(f"{level.axis} is walked outermost, so that the nest may share a pass")
    return Plan(
        nest, lanes, vector, across, tile.points, tile.block, levels, tuple(axis for axis, _ in nest.reduced),
        panels, prefetched, chains, max(unroll, chains), tile.cycles, len(outer), tuple(reasons),
    )  # fmt: skip


def choose_unroll(nest: Contraction, levels: Iterable[Level], accumulators: int) -> int:
    """Steps of the innermost loop that a round of it does, of a tile with so many accumulators."""
    steps = max(1, min(8, 32 // max(1, accumulators)))
    if not is_product(nest):
        return steps
    inner, extent = nest.reduced[-1]
    length = min((level.size for level in levels if level.axis == inner), default=extent)
    return max(steps, 2) if length >= LONG_LOOP else steps


def outer_levels(nest: Contraction) -> tuple[Level, ...]:
    """The levels of the axes that are walked outermost, one value each: of outputs loops, of sums slabs."""
    extents, reduced = nest.extents, dict(nest.reduced)
    return tuple(Level(axis, "slab" if axis in reduced else "loop", 1) for axis in OUTER if axis in extents)


def _without(nest: Contraction, levels: tuple[Level, ...]) -> Contraction:
    """One round of the levels: their axes stand still."""
    names = {level.axis for level in levels}
    free = tuple(axis for axis in nest.free if axis[0] not in names)
    return replace(nest, free=free, reduced=tuple(axis for axis in nest.reduced if axis[0] not in names))


def choose_vector(nest: Contraction, lanes: int, options: Options) -> tuple[str | None, bool, str]:
    """The vectorised axis, whether it is a reduced one, and why.

    An output axis in no guard; at least half the lanes used, contiguous in the output, most operands of stride 0
    or 1 along it, longest. A reduced axis where no output axis keeps the operands' vectors together.
    """
    if options.vector is not None:
        return options.vector, options.vector in dict(nest.reduced), "the caller chose the vector axis"
    barred = guarded_names(nest)
    every = (*nest.loads, *nest.late_loads)
    is_sum_of_products = is_product(nest)
    best: tuple[tuple[object, ...], str] | None = None
    for axis, extent in nest.free:
        if axis in barred or extent < 2 or abs(stride(nest.output, axis)) > 1 << 39:
            continue
        used = extent / (-(-extent // lanes) * lanes)
        if extent < lanes and not is_sum_of_products:
            # What memory bounds runs on narrower vectors, too: 6 channels are 6 of 8 lanes.
            used = extent / (1 << (extent - 1).bit_length())
        scattered = sum(stride(o, axis) not in (0, 1) and reuse(nest, o, axis) < 4 for o in every)
        scattered += stride(nest.output, axis) != 1
        key = (
            used >= 0.5 or extent >= lanes // 2,
            -scattered,
            stride(nest.output, axis) == 1,
            sum(stride(o, axis) in (0, 1) for o in every),
            extent,
        )
        if best is None or key > best[0]:
            best = (key, axis)
    across = _reduced_vector(nest, barred)
    if across is not None and (best is None or best[0][1] != 0 or not best[0][0]):
        return across, True, f"{across} is contiguous in what is read, no output axis is"
    bordered = None if is_sum_of_products else _bordered_vector(nest, barred, lanes)
    if bordered is not None and (best is None or best[0][1] != 0):
        return bordered, False, f"{bordered} is contiguous, no axis without a border is"
    if best is None:
        return None, False, "no axis can be a vector"
    return best[1], False, f"{best[1]} is contiguous and in no border"


def _bordered_vector(nest: Contraction, barred: set[str], lanes: int) -> str | None:
    """An output axis along which all operands are vectors, though some leave their arrays: each lane is then tested.

    A lane's load is; a term that a lane leaves out for another reason is not.
    """
    value, reduction = nest.value, nest.reduction
    if value is None or reduction not in IDENTITY:
        return None
    tested = {guard for load in nest.loads if vanishes(value, load, reduction) for guard in load.guards}
    untested = {name for guard in nest.guards if guard not in tested for name in guard.index.names}
    every = (*nest.loads, *nest.late_loads)
    fit = [
        (extent, axis)
        for axis, extent in nest.free
        if axis in barred - untested and extent >= lanes // 2 and stride(nest.output, axis) == 1
        if all(stride(operand, axis) in (0, 1) for operand in every)
    ]
    return max(fit)[1] if fit else None


def _reduced_vector(nest: Contraction, barred: set[str]) -> str | None:
    if nest.reduction not in IDENTITY:
        return None
    fit = [
        (extent, axis)
        for axis, extent in nest.reduced
        if axis not in barred and extent >= 4 and all(stride(o, axis) in (0, 1) for o in nest.loads)
        if any(stride(o, axis) == 1 for o in nest.loads)
    ]
    return max(fit)[1] if fit else None


def choose_copied(
    nest: Contraction, rounds: Mapping[str, int], vector: str | None, across: bool, tile: RegisterTile,
    machine: Machine, element_bytes: int, options: Options,
) -> Mapping[Operand, str]:  # fmt: skip
    """Operands that are copied so that a tile reads them in order, and the axis along which it does.

    A vector operand whose lanes or rows lie apart and that many tiles read; a broadcast operand whose points lie
    side by side but whose rows lie apart. `rounds` are the axes that are walked outermost.
    """
    if options.panels is False or vector is None or across or not is_product(nest):
        return {}
    copied = dict[Operand, str]()
    extents = {**nest.extents, **rounds}
    # An index array is read where it stands; a copy of it, too, would be read in whole vectors beyond its end.
    indices = {lookup.operand for operand in nest.loads for lookup in operand.lookups}
    for operand in nest.loads:
        is_seldom = operand.tensor in options.seldom
        uses = prod(extents.values()) / footprint(operand, extents, extents, 1)
        axis = _panel_axis(nest, operand, vector, tile, machine, element_bytes, uses, is_seldom)
        if (
            axis is None
            or operand.tensor in options.made
            or operand.lookups
            or operand in indices
            or any(never_holds(guard, extents) for guard in operand.guards)
        ):
            continue
        if bare_dimension(operand, axis) is not None:
            copied[operand] = axis
    return copied


def read_in_parts(
    nest: Contraction, tile: RegisterTile, copied: Container[Operand], machine: Machine, element_bytes: int
) -> frozenset[Operand]:
    """Operands of which a step of a tile reads a part of a line where it stands, and other tiles the rest."""
    return frozenset(
        operand
        for operand in nest.loads
        if operand not in copied and reads_parts_of_lines(nest, operand, tile.points, machine.l1, element_bytes)
    )


def place_panels(copied: Mapping[Operand, str], levels: tuple[Level, ...], options: Options) -> tuple[Panel, ...]:
    """A copy stands inside the loops that are its own axes, outside all others; outside all loops where the operand
    seldom changes."""
    return tuple(
        Panel(operand, axis, 0 if operand.tensor in options.seldom else _panel_depth(operand, axis, levels))
        for operand, axis in copied.items()
    )


def choose_prefetched(
    nest: Contraction, vector: str | None, across: bool, tile: RegisterTile, copied: Container[Operand],
    in_parts: Container[Operand], machine: Machine, element_bytes: int,
) -> tuple[Ahead, ...]:  # fmt: skip
    """Operands that are read in parts of rows, as no processor foresees.

    Some whose points lie side by side but whose rows lie lines apart: each step of a tile reads a part of another
    line, and tiles after it read the rest. A weight gradient reads its input so. And those of which a tile reads a
    piece of every row as vectors.
    """
    if vector is None or across or not is_product(nest) or not nest.reduced:
        return ()
    is_piece = tile.block < nest.extents[vector] and tile.block * element_bytes < LEAST_PIECE
    if streams(nest, vector) and is_piece:
        ahead = next_rows(nest, machine)
        return tuple(Ahead(operand, ahead) for operand in nest.loads if stride(operand, ahead))
    inner = nest.reduced[-1][0]
    once = tuple(
        operand for operand in nest.loads if operand not in copied and _is_read_once(nest, operand, vector, tile)
    )
    if once and machine.l2 < sum(footprint(operand, nest.extents, nest.extents, element_bytes) for operand in once):
        return tuple(Ahead(operand, inner, max(1, ONCE_AHEAD // (tile.block * element_bytes))) for operand in once)
    return tuple(Ahead(operand) for operand in nest.loads if operand in in_parts)


def choose_blocks_ahead(
    nest: Contraction, vector: str | None, across: bool, tile: RegisterTile, slabs: Iterable[tuple[str, int]],
    levels: tuple[Level, ...], machine: Machine, element_bytes: int, options: Options,
) -> tuple[Ahead, ...]:  # fmt: skip
    """Operands that seldom change and are read as vectors, of which the next block is prefetched while tiles go through
    one: the weights of a prediction. What else it reads has driven them out of the caches since the last one."""
    if vector is None or across or not is_product(nest):
        return ()
    block_extents = {**nest.extents, **dict(slabs), vector: min(tile.block, nest.extents[vector])}
    within = {vector, *(axis for axis, _ in nest.reduced)}
    # Of loops the one that goes through what lies one behind the other; else blocks of lanes.
    cut = [level for level in levels if level.size < nest.extents.get(level.axis, 1)]
    result = list[Ahead]()
    for operand in nest.loads:
        if operand.tensor not in options.seldom or stride(operand, vector) != 1:
            continue
        loops, blocks = (
            [level for level in cut if level.kind == kind and stride(operand, level.axis)]
            for kind in ("loop", "vector")
        )
        # Smaller blocks stay in the caches or come by themselves: with them six convolutions took 1% longer. Of larger
        # ones the second cache does not hold two.
        block = footprint(operand, within, block_extents, element_bytes)
        if (loops or blocks) and machine.l1 // 2 <= block < machine.l2 // 2:
            level = min(loops or blocks, key=lambda level: abs(stride(operand, level.axis)))
            result.append(Ahead(operand, level.axis, level.size))
    return tuple(result)


def _is_read_once(nest: Contraction, operand: Operand, vector: str, tile: RegisterTile) -> bool:
    """Whether one tile alone reads each cell of an operand, as vectors that are pieces of rows."""
    points = prod(size for _, size in tile.points)
    is_piece = abs(stride(operand, nest.reduced[-1][0])) > tile.block
    return stride(operand, vector) == 1 and is_piece and reuse(nest, operand, vector) <= points


def _panel_axis(
    nest: Contraction, operand: Operand, vector: str, tile: RegisterTile, machine: Machine, element_bytes: int,
    uses: float, is_seldom: bool,
) -> str | None:  # fmt: skip
    """The axis by which an operand is worth copying, if any; each of its elements has so many `uses`."""
    step = stride(operand, vector)
    inner = nest.reduced[-1][0] if nest.reduced else None
    row = abs(stride(operand, inner))
    width = whole_lines((tile.block if step else 1) * element_bytes)
    walk = prod(extent for _, extent in nest.reduced) * width
    is_far = walk > near_capacity(row * element_bytes, width, machine.l1) // 2
    if step not in (0, 1):
        return vector if reuse(nest, operand, vector) >= 4 else None
    least = machine.fma_rate * machine.vector_bytes / 64 * (LEAST_USES_OF_VECTORS if step else LEAST_USES_OF_POINTS)
    if not is_far or uses <= (LEAST_USES_IF_SELDOM if is_seldom else least):
        return None
    if step == 1:
        return vector if row > tile.block else None
    beside = (axis for axis, size in tile.points if stride(operand, axis) == 1 and size > 1)
    return next(beside, None) if row >= 4 * machine.lanes(element_bytes) else None


def _panel_depth(operand: Operand, axis: str, levels: tuple[Level, ...]) -> int:
    """How many levels stand outside the copy: those that leave only a part of the operand to be read."""
    for depth, level in enumerate(levels):
        whole_axis = level.kind in ("vector", "tile") and level.axis == axis
        fixed = level.kind in ("slab", "loop") and _is_fixed_by(operand, level)
        if not whole_axis and not fixed:
            return depth
    return len(levels)


def _is_fixed_by(operand: Operand, level: Level) -> bool:
    """Whether a level limits a dimension of the operand that no other axis moves in: to its share of a bare axis, or to
    one cell (`2 - s`: a kernel that is turned)."""
    uses = [index for index in operand.index if index.coefficient(level.axis)]
    is_alone = len(uses) == 1 and set(uses[0].names) == {level.axis}
    guarded = any(level.axis in guard.index.names for guard in operand.guards)
    return is_alone and not guarded and (level.size == 1 or bare_dimension(operand, level.axis) is not None)
