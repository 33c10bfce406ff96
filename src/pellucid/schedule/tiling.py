"""The register tile: how many points and vectors of accumulators, by an estimate of cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import FAR, Machine
from pellucid.schedule.nest import Operand
from pellucid.schedule.plan import Options, near_equal
from pellucid.schedule.rewrite import names_of
from pellucid.schedule.traits import (
    computes,
    footprint,
    guarded_names,
    lead_operand,
    near_capacity,
    sliding_axis,
    stride,
)

__all__ = [
    "LEAST_PIECE",
    "RegisterTile",
    "chains_for",
    "choose_pointwise_tile",
    "choose_product_tile",
    "next_rows",
    "streams",
    "turned_axis",
]

# Cycles to start and finish a tile, beside its stores: loop control, pointer arithmetic, pipeline drain.
TILE_START = 20.0
# Bytes of the two cache lines that processors fetch together.
LINE_PAIR = 128
# Loads hide behind multiply-adds, but not wholly: with vectors of 32 bytes 4 points x 3 vectors beat 6 x 2 by 3 to 8 %,
# with one load fewer. Nor does a panel that streams from the second cache.
LOAD_SLOT, STREAM_SLOT = 0.06, 0.015
# Four times the accumulators that the latency asks for are enough; each more slows a step by this part (measured with
# 32 registers: 24 accumulators 3 % slower than 16, 28 up to a tenth).
SURPLUS_SLOT = 0.005
# A row that is read from memory in pieces shorter than so many bytes costs so many cycles an element more: with 128 of
# 256 bytes a gradient towards the weights of a network's first layer took a tenth longer.
LEAST_PIECE, PIECE_CYCLES = 256, 1.0
# How much longer memory takes to give pieces of two lines of many rows than whole rows: so that it tells a Zen 4, where
# pieces were the faster, from a Zen 5, where whole rows are.
IN_PIECES = 1.5
# Vectors of a row from which rows are reduced one after the other: memory is then read in order, as it is fetched
# ahead; several rows at once read half as fast. Shorter rows are too short to hide how lanes are combined at the end.
LONG_ROW = 8
# Short rows of a product that are reduced side by side: a gradient towards few channels is twice as fast as by four.
NEIGHBOURS = 12
# Points of an elementwise tile that share what they read, at most.
SHARED = 4
# Vectors of an elementwise tile; and of one with functions that are long chains of operations, which so wait for each
# other less: from memory a sigmoid takes 0.87 of the time, GELU 0.81.
AT_ONCE, COMPUTED_AT_ONCE = 4, 8


@dataclass(frozen=True)
class RegisterTile:
    """`points` (axis, size), `block` lanes, and the estimated cycles of the whole nest."""

    points: tuple[tuple[str, int], ...]
    block: int
    cycles: float


def choose_product_tile(
    nest: Contraction, vector: str | None, lanes: int, machine: Machine, element_bytes: int, options: Options
) -> RegisterTile:
    """Points x vectors by an estimate of cycles: multiply-adds, loads, latency, streaming of a panel, tile start."""
    best: RegisterTile | None = None
    extent = nest.extents.get(vector or "", 1)
    shapes: Iterable[tuple[tuple[str, int], ...]] = _point_shapes(nest, vector, machine)
    most = min(machine.registers - 2, -(-extent // lanes))
    # Where memory is the bound, rows are read as whole as possible, and no vector is worth a register beside the sums.
    is_streamed = streams(nest, vector)
    least = min(most, machine.registers // 4) if is_streamed else 1
    widths: Iterable[int] = range(least, most + 1)
    window = _window(nest, vector, machine, element_bytes) if is_streamed else ()
    sums, pair = prod(size for _, size in window), LINE_PAIR // (lanes * element_bytes)
    # Pieces of two lines, where whole rows would need more sums than there are registers; one line of two came slower.
    if window and sums * pair + 2 <= machine.registers < sums * least + 2:
        shapes, widths = [window], [pair]
    if options.tile is not None:
        shapes = [options.tile]
    if options.block is not None:
        widths = [-(-options.block // lanes)]
    for points, vectors in product(shapes, widths):
        count = prod(size for _, size in points)
        # A row of vectors stays in registers while its points pass; one point needs each of them only once.
        held = count * vectors + (vectors if count > 1 and not is_streamed else 1) + 1
        if held > machine.registers and options.block is None and (count > 1 or vectors > 1):
            continue
        cycles = _product_cycles(nest, vector, lanes, machine, element_bytes, points, vectors, options.seldom)
        if best is None or cycles < best.cycles:
            best = RegisterTile(points, vectors * lanes, cycles)
    assert best is not None
    return best


def streams(nest: Contraction, vector: str | None) -> bool:
    """Whether all operands are vectors, as in a depthwise weight gradient: memory is then the bound."""
    return all(stride(operand, vector) == 1 for operand in nest.loads)


def next_rows(nest: Contraction, machine: Machine) -> str | None:
    """The reduction whose next round can be prefetched: the loop around the innermost one, where what a round of it
    reads, a pair of lines a step, leaves the second cache to the rest."""
    if len(nest.reduced) < 2:
        return None
    (ahead, _), (_, steps) = nest.reduced[-2:]
    return ahead if steps * LINE_PAIR * len(nest.loads) <= machine.l2 // 8 else None


def _window(nest: Contraction, vector: str | None, machine: Machine, element_bytes: int) -> tuple[tuple[str, int], ...]:
    """The output's axes, whole, by which an operand is read at neighbouring steps of a reduction: all sums of a window
    together need each of its cells once. A part of them would need it, too, and all parts but the first, which find
    it in the second cache, leave the memory idle: on a Zen 4 3 of 9 sums at a time, along whole rows, take 1.4 times as
    long as 9 sums along pieces of rows. On a Zen 5, whose second cache gives more, they take 0.75 of the time. None
    where that is so, where pieces push each other out of the first cache, or cannot be prefetched; nor where windows
    move by two cells, which share so little that whole rows are as fast."""
    reduced = {axis for axis, _ in nest.reduced}
    sliding = {
        name
        for operand in nest.loads
        for index in operand.index
        if any(abs(index.coefficient(axis)) == 1 for axis in reduced)
        for name in index.names
    }
    window = tuple(axis for axis in nest.free if axis[0] in sliding and axis[0] != vector)
    inner = nest.reduced[-1][0] if nest.reduced else None
    step = max(abs(stride(operand, inner)) for operand in nest.loads) * element_bytes
    cells = prod(size for _, size in window) + len(nest.loads) - 1
    is_near = cells * LINE_PAIR <= near_capacity(step, LINE_PAIR, machine.l1)
    # A byte costs so many cycles more in pieces from memory, or in whole rows from the second cache for all rows of
    # sums but the first.
    in_pieces = (IN_PIECES - 1) / machine.memory_bandwidth
    again = (prod(size for _, size in window[:-1]) - 1) / machine.l2_bandwidth
    return window if is_near and next_rows(nest, machine) and in_pieces <= again else ()


def _point_shapes(nest: Contraction, vector: str | None, machine: Machine) -> Iterator[tuple[tuple[str, int], ...]]:
    """Candidate point tiles: the axes that some vector operand does not depend on, nearest in the lead first; an
    axis joins once the ones before it are taken whole. One that the lead has not is as near as in another operand."""
    vectors = [operand for operand in nest.loads if stride(operand, vector)] or list(nest.loads)
    lead = lead_operand(nest, vector).address
    axes = [
        (axis, extent)
        for axis, extent in nest.free
        if axis != vector and any(axis not in names_of(operand) for operand in vectors)
    ]
    addresses = [lead, *(operand.address for operand in nest.loads)]
    axes.sort(key=lambda axis: next((step for a in addresses if (step := abs(a.coefficient(axis[0])))), 1 << 40))
    whole: tuple[tuple[str, int], ...] = ()
    yield whole
    for axis, extent in axes:
        room = (machine.registers - 2) // prod(size for _, size in whole)
        if room < 2:
            return
        for size in sorted({-(-extent // -(-extent // size)) for size in range(2, min(extent, room) + 1)}):
            yield (*whole, (axis, size))
        if extent > room:
            return
        whole = (*whole, (axis, extent))


def _product_cycles(
    nest: Contraction, vector: str | None, lanes: int, machine: Machine, element_bytes: int,
    points: tuple[tuple[str, int], ...], vectors: int, seldom: frozenset[str],
) -> float:  # fmt: skip
    extents = nest.extents
    steps = prod(extent for _, extent in nest.reduced)
    tiled = {axis for axis, _ in points}
    vector_operands = [operand for operand in nest.loads if stride(operand, vector)]
    shared = [operand for operand in vector_operands if not tiled & names_of(operand)]
    broadcast = len(nest.loads) - len(vector_operands)
    # What changes seldom was driven out of the second cache since it was read, and passes through it.
    is_far = any(operand.tensor in seldom for operand in shared)
    bandwidth = machine.l3_bandwidth if is_far else machine.l2_bandwidth
    blocks = near_equal(-(-extents[vector] // lanes), vectors) if vector else [(0, 1, 1)]
    cycles = 0.0
    # Partial accumulators take turns in straight-line code; a loop whose bounds other loops set has none.
    is_static = not any(
        nest.reduced[-1][0] in guard.index.names and set(guard.index.names) - tiled - {axis for axis, _ in nest.reduced}
        for guard in nest.guards
        if nest.reduced
    )
    chains = chains_for(nest, prod(size for _, size in points) * vectors, machine) if is_static else 1
    for pieces in product(*(near_equal(extents[axis], size) for axis, size in points)):
        count, copies = prod(size for _, size, _ in pieces), prod(number for _, _, number in pieces)
        for _, width, number in blocks:
            multiply_adds = count * width * (len(nest.loads) - 1)
            moving = len(vector_operands) - len(shared)
            line = max(1.0, LINE_PAIR / (width * lanes * element_bytes))  # a part of it costs the whole
            vector_loads = width * (len(shared) + count * moving * line)
            loading = vector_loads / machine.load_rate + count * broadcast / machine.broadcast_rate
            panel = steps * width * lanes * element_bytes * len(shared)
            streamed = width * lanes * element_bytes * len(shared) / bandwidth if panel > machine.l1 / 2 else 0
            step = max(multiply_adds / machine.fma_rate, loading, streamed)
            step += LOAD_SLOT * (vector_loads + count * broadcast) + STREAM_SLOT * streamed
            step *= 1 + SURPLUS_SLOT * max(0, count * width - 4 * machine.latency * machine.fma_rate)
            # A small last piece has as many partial accumulators as the whole tile: it may wait for its own results.
            hidden = machine.latency / chains
            finish = TILE_START + 2.0 * count * width
            cycles += copies * number * (steps * (max(step, hidden) + 0.1) + finish)
    rest = prod(extent for axis, extent in nest.free if axis != vector and axis not in tiled)
    return cycles * rest + _piecewise_cycles(vector_operands, extents, vector, vectors * lanes, machine, element_bytes)


def _piecewise_cycles(
    operands: list[Operand],
    extents: dict[str, int],
    vector: str | None,
    block: int,
    machine: Machine,
    element_bytes: int,
) -> float:
    """What it costs to read rows from memory in pieces, since no other piece of them is foreseen. Arrays of twice a
    core's share of the last cache, and less, come from there often enough."""
    if vector is None or block >= extents[vector] or block * element_bytes >= LEAST_PIECE:
        return 0.0
    sizes = (footprint(operand, extents, extents, 1) for operand in operands)
    return PIECE_CYCLES * sum(size for size in sizes if size * element_bytes > 2 * FAR * machine.l2)


def choose_pointwise_tile(
    nest: Contraction, vector: str | None, across: bool, lanes: int, machine: Machine, options: Options
) -> RegisterTile:
    """The tile of an elementwise equation, a pooling or a statistic: bound by memory, so whole lines and few loops."""
    extents = nest.extents
    if options.tile is not None and options.block is not None:
        return RegisterTile(options.tile, options.block, 0.0)
    if vector is None:
        return RegisterTile((), 1, 0.0)
    cells = prod(extent for _, extent in nest.free) * prod(extent for _, extent in nest.reduced)
    if across:
        return _rows_tile(nest, vector, lanes)
    turned = turned_axis(nest, vector, lanes)
    if turned is not None:
        return RegisterTile(((turned, lanes),), lanes, cells / lanes * 2)
    sliding = sliding_axis(nest)
    if sliding is not None and sliding[0] != vector:
        return _windows_tile(nest, vector, lanes, *sliding)
    if nest.reduction is None:
        widest = COMPUTED_AT_ONCE if computes(nest) else AT_ONCE
    else:
        # Rows that are read whole are read in the order of memory: a part of every row comes half as fast.
        widest = machine.registers // (4 if nest.position is not None else 2)
    points = _shared_points(nest, vector)
    return RegisterTile(points, min(1 if points else widest, -(-extents[vector] // lanes)) * lanes, cells / lanes)


def _shared_points(nest: Contraction, vector: str) -> tuple[tuple[str, int], ...]:
    """Short axes of an elementwise equation that some vectors do not depend on, as the cells of a window, to which a
    pool's gradient goes: they are read once for all."""
    vectors = [operand for operand in nest.late_loads if stride(operand, vector)]
    points = tuple(
        (axis, extent)
        for axis, extent in nest.free
        if axis != vector and 1 < extent <= SHARED and any(axis not in names_of(operand) for operand in vectors)
    )
    return points if nest.reduction is None and prod(extent for _, extent in points) <= SHARED else ()


def _rows_tile(nest: Contraction, vector: str, lanes: int) -> RegisterTile:
    """Rows reduced along their length: one long one after the other, or several that are short or share an operand."""
    vectors = -(-nest.extents[vector] // lanes)
    cells = prod(extent for _, extent in (*nest.free, *nest.reduced))
    row = next((axis for axis in reversed(nest.free) if axis[1] > 1), None)
    shared = row is not None and any(stride(o, vector) and row[0] not in names_of(o) for o in nest.loads)
    if vectors >= LONG_ROW and not shared:
        return RegisterTile((), LONG_ROW * lanes, cells / lanes)
    if shared and vectors == 1:
        return RegisterTile(_neighbours(nest), lanes, cells / lanes)
    points = ((row[0], min(4, row[1])),) if row is not None else ()
    return RegisterTile(points, lanes if vectors < 4 else 2 * lanes, cells / lanes)


def _neighbours(nest: Contraction) -> tuple[tuple[str, int], ...]:
    """Neighbouring results that share what they read, up to `NEIGHBOURS` of them: whole axes, innermost first, and a
    part of the next."""
    points, room = list[tuple[str, int]](), NEIGHBOURS
    for axis, extent in reversed(nest.free):
        size = -(-extent // -(-extent // room))
        if size > 1:
            points.append((axis, size))
        room //= size
        if size < extent or room < 2:
            break
    return tuple(reversed(points))


def _windows_tile(nest: Contraction, vector: str, lanes: int, sliding: str, step: int) -> RegisterTile:
    """Neighbouring windows together read what they share once; axes in borders are tiles too, of one point, so that
    the interior is free of tests. Windows that move by more than a cell share less; those of a residue are near anyway,
    since the loops of all residues become one (`merging.py`)."""
    is_residue = any(abs(index.coefficient(sliding)) > 1 for index in nest.output.index)
    rows, vectors = (1, 4) if is_residue else (4, 1) if step == 1 else (2, 4)
    bordered = [axis for axis, _ in nest.free if axis in guarded_names(nest) and axis not in (sliding, vector)]
    points = ((sliding, min(rows, nest.extents[sliding])), *((axis, 1) for axis in bordered))
    cells = prod(extent for _, extent in (*nest.free, *nest.reduced))
    return RegisterTile(points, min(vectors, -(-nest.extents[vector] // lanes)) * lanes, cells / lanes)


def turned_axis(nest: Contraction, vector: str, lanes: int) -> str | None:
    """An axis along which a copy's source is contiguous where it is not along the vector axis: squares are turned
    in registers."""
    if nest.reduction is not None or nest.extents[vector] < lanes:
        return None
    strided = [operand for operand in nest.late_loads if stride(operand, vector) not in (0, 1)]
    for axis, extent in nest.free:
        if axis != vector and extent >= lanes and any(stride(operand, axis) == 1 for operand in strided):
            return axis
    return None


def chains_for(nest: Contraction, accumulators: int, machine: Machine) -> int:
    """Partial accumulators, where a tile has too few to hide the latency of a multiply-add. Windows that slide have
    few terms, added in their order: the next tile starts before they end."""
    needed = machine.latency * machine.fma_rate
    if not nest.reduced or nest.position is not None or accumulators >= needed or sliding_axis(nest) is not None:
        return 1
    room = (machine.registers - 4) // accumulators
    return int(max(1, min(-(-needed // accumulators), room, 8)))
