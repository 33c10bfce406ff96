"""Contraction + machine -> plan. Each decision is one function; together they are the scheduler's judgement.

The order: axes are fused; a vector axis is chosen; reductions are ordered; the register tile is chosen by an
estimate of cycles; reductions are cut for the caches; loops are ordered; panels are placed; long chains are cut for
accuracy. Nothing here knows what a convolution is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod, sqrt

from pellucid.language.affine import Affine
from pellucid.schedule.axes import bind_contraction, fuse_axes, split_dimensions
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Apply, Load, Operand, Value
from pellucid.schedule.plan import Level, Options, Panel, Plan, near_equal
from pellucid.schedule.rewrite import names_of

__all__ = ["decide"]

# Cycles to start and finish a tile, beside its stores: loop control, pointer arithmetic, pipeline drain.
TILE_START = 20.0
# Bytes of a cache line, and of the two that processors fetch together.
CACHE_LINE, LINE_PAIR = 64, 128
# Loads hide behind multiply-adds, but not wholly: 4 points x 3 vectors beat 6 x 2 by 3 to 8 %, with one load fewer.
LOAD_SLOT = 0.05
# The rounding error of a chain of n additions of one sign is about sqrt(n)/4 units; of m such pieces added,
# (sqrt(n/m') + sqrt(m))/4. Reductions are cut so that this stays below the limit (a 4.5 sigma bound of 15 units).
CHAIN_ERROR_LIMIT = 3.3
# No slab for the caches is cut shorter than this: starting and storing a tile must stay a small part of its work.
SHORTEST_SLAB = 256
# An axis is nearly free to run inside where its next step adds at most 1 / NEARLY_FREE of what a tile touches.
NEARLY_FREE = 6


@dataclass(frozen=True)
class _Tile:
    points: tuple[tuple[str, int], ...]
    block: int
    cycles: float


def decide(nest: Contraction, machine: Machine, element_bytes: int, options: Options | None = None) -> Plan:
    """The plan of a contraction of elements of `element_bytes` bytes."""
    options = options or Options()
    nest, fused = fuse_axes(split_dimensions(nest))
    lanes = machine.lanes(element_bytes)
    vector, across, why = choose_vector(nest, lanes, options)
    reasons = [*(f"{a} and {b} are walked as one axis" for a, b in fused), why]
    nest = order_reductions(nest, vector)
    if across:
        nest = replace(
            nest, reduced=tuple(a for a in nest.reduced if a[0] != vector) + ((vector, nest.extents[vector]),)
        )  # type: ignore[arg-type]
    if is_product(nest) and not across:
        tile = choose_product_tile(nest, vector, lanes, machine, element_bytes, options)
    else:
        tile = choose_pointwise_tile(nest, vector, across, lanes, options)
    slabs = choose_slabs(nest, tile, vector, machine, element_bytes, options)
    levels = order_levels(nest, vector, across, tile, slabs, machine, element_bytes)
    panels = choose_panels(nest, vector, across, tile, levels, lanes, machine.l1, element_bytes, options)
    levels += chain_levels(nest, slabs)
    vectors = -(-min(tile.block, nest.extents[vector]) // lanes) if vector else 1
    accumulators = prod(size for _, size in tile.points) * vectors
    chains = choose_chains(nest, accumulators, machine)
    unroll = options.unroll or max(1, min(8, 32 // max(1, accumulators)))
    reasons.append(f"{accumulators} accumulators; estimated {tile.cycles:.0f} cycles")
    return Plan(
        nest, lanes, vector, across, tile.points, tile.block, levels, tuple(axis for axis, _ in nest.reduced),
        panels, chains, max(unroll, chains), tile.cycles, tuple(reasons),
    )  # fmt: skip


# ---------------------------------------------------------------- what the contraction is like
def stride(operand: Operand, axis: str | None) -> int:
    """How many elements apart neighbours along `axis` lie; 0 where the operand does not depend on it."""
    if axis is None:
        return 0
    if any(axis in names_of(lookup.operand) for lookup in operand.lookups):
        return 1 << 40
    return operand.address.coefficient(axis)


def is_product(nest: Contraction) -> bool:
    """Whether what is summed is a product of two or more loads."""

    def factors(value: Value) -> bool:
        if isinstance(value, Apply):
            return value.function == "mul" and all(factors(argument) for argument in value.arguments)
        return isinstance(value, Load)

    value = nest.value
    return nest.reduction == "sum" and isinstance(value, Apply) and factors(value) and len(nest.loads) > 1


def guarded_names(nest: Contraction) -> set[str]:
    """Axes that stand in a guard or a lookup."""
    every = (*nest.loads, *nest.late_loads)
    names = {name for operand in every for guard in operand.guards for name in guard.index.names}
    return names | {name for guard in nest.guards for name in guard.index.names}


def reuse(nest: Contraction, operand: Operand, vector: str | None) -> int:
    """How many times the nest walks the operand's cells with other values of the remaining output axes."""
    used = names_of(operand)
    return prod(extent for axis, extent in nest.free if axis not in used and axis != vector)


# ---------------------------------------------------------------- 1. vector axis
def choose_vector(nest: Contraction, lanes: int, options: Options) -> tuple[str | None, bool, str]:
    """The vectorised axis, whether it is a reduced one, and why.

    An output axis in no guard; half its lanes used at least, contiguous in the output, most operands of stride 0
    or 1 along it, longest. A reduced axis where no output axis keeps the operands' vectors together.
    """
    if options.vector is not None:
        return options.vector, options.vector in dict(nest.reduced), "the caller chose the vector axis"
    barred = guarded_names(nest)
    every = (*nest.loads, *nest.late_loads)
    best: tuple[tuple[object, ...], str] | None = None
    for axis, extent in nest.free:
        if axis in barred or extent < 2 or abs(stride(nest.output, axis)) > 1 << 39:
            continue
        used = extent / (-(-extent // lanes) * lanes)
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
    if best is None:
        return None, False, "no axis can be a vector"
    return best[1], False, f"{best[1]} is contiguous and in no border"


def _reduced_vector(nest: Contraction, barred: set[str]) -> str | None:
    if nest.reduction not in IDENTITY_REDUCTIONS:
        return None
    fit = [
        (extent, axis)
        for axis, extent in nest.reduced
        if axis not in barred and extent >= 4 and all(stride(o, axis) in (0, 1) for o in nest.loads)
        if any(stride(o, axis) == 1 for o in nest.loads)
    ]
    return max(fit)[1] if fit else None


IDENTITY_REDUCTIONS = ("sum", "max", "min")


# ---------------------------------------------------------------- 2. order of reductions
def lead_operand(nest: Contraction, vector: str | None) -> Operand:
    """The operand whose cells the innermost loops should walk in order: the one that is broadcast, else the first."""
    loads = nest.loads or nest.late_loads or (nest.output,)
    return next((operand for operand in loads if stride(operand, vector) == 0 and operand.index), loads[0])


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


# ---------------------------------------------------------------- 3. register tile
def choose_product_tile(
    nest: Contraction, vector: str | None, lanes: int, machine: Machine, element_bytes: int, options: Options
) -> _Tile:
    """Points x vectors by an estimate of cycles: multiply-adds, loads, latency, streaming of a panel, tile start."""
    best: _Tile | None = None
    extent = nest.extents.get(vector or "", 1)
    for points in _point_shapes(nest, vector, machine) if options.tile is None else [options.tile]:
        count = prod(size for _, size in points)
        most = -(-extent // lanes)
        for vectors in range(1, min(machine.registers - 2, most) + 1) if options.block is None else [-(-options.block // lanes)]:
            # A row of vectors stays in registers while its points pass; one point needs each of them only once.
            held = count * vectors + (vectors if count > 1 else 1) + 1
            if held > machine.registers and options.block is None and (count > 1 or vectors > 1):
                continue
            cycles = _product_cycles(nest, vector, lanes, machine, element_bytes, points, vectors)
            if best is None or cycles < best.cycles:
                best = _Tile(points, vectors * lanes, cycles)
    assert best is not None
    return best


def _point_shapes(nest: Contraction, vector: str | None, machine: Machine) -> Iterator[tuple[tuple[str, int], ...]]:
    """Candidate point tiles: the axes that some vector operand does not depend on, nearest in the lead first; an
    axis joins once the ones before it are taken whole."""
    vectors = [operand for operand in nest.loads if stride(operand, vector)] or list(nest.loads)
    lead = lead_operand(nest, vector).address
    axes = [
        (axis, extent)
        for axis, extent in nest.free
        if axis != vector and any(axis not in names_of(operand) for operand in vectors)
    ]
    axes.sort(key=lambda axis: abs(lead.coefficient(axis[0])) or 1 << 40)
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
    points: tuple[tuple[str, int], ...], vectors: int,
) -> float:  # fmt: skip
    extents = nest.extents
    steps = prod(extent for _, extent in nest.reduced)
    tiled = {axis for axis, _ in points}
    vector_operands = [operand for operand in nest.loads if stride(operand, vector)]
    shared = [operand for operand in vector_operands if not tiled & names_of(operand)]
    broadcast = len(nest.loads) - len(vector_operands)
    blocks = near_equal(-(-extents[vector] // lanes), vectors) if vector else [(0, 1, 1)]
    cycles = 0.0
    for pieces in product(*(near_equal(extents[axis], size) for axis, size in points)):
        count, copies = prod(size for _, size, _ in pieces), prod(number for _, _, number in pieces)
        for _, width, number in blocks:
            multiply_adds = count * width * (len(nest.loads) - 1)
            moving = len(vector_operands) - len(shared)
            line = max(1.0, LINE_PAIR / (width * lanes * element_bytes))  # a part of it costs the whole
            loads = width * (len(shared) + count * moving * line) + count * broadcast
            panel = steps * width * lanes * element_bytes * len(shared)
            streamed = (
                width * lanes * element_bytes * len(shared) / machine.l2_bandwidth if panel > machine.l1 / 2 else 0
            )
            step = max(multiply_adds / machine.fma_rate, loads / machine.load_rate, streamed) + LOAD_SLOT * loads
            hidden = machine.latency if count * width * (machine.registers // 2) < machine.latency else 0
            finish = TILE_START + 2.0 * count * width
            cycles += copies * number * (steps * (max(step, hidden) + 0.1) + finish)
    rest = prod(extent for axis, extent in nest.free if axis != vector and axis not in tiled)
    return cycles * rest


def choose_pointwise_tile(nest: Contraction, vector: str | None, across: bool, lanes: int, options: Options) -> _Tile:
    """The tile of an elementwise equation, a pooling or a statistic: bound by memory, so whole lines and few loops."""
    extents = nest.extents
    if options.tile is not None and options.block is not None:
        return _Tile(options.tile, options.block, 0.0)
    if vector is None:
        return _Tile((), 1, 0.0)
    cells = prod(extent for _, extent in nest.free) * prod(extent for _, extent in nest.reduced)
    if across:
        rows = [axis for axis in nest.free if axis[1] > 1]
        points = ((rows[-1][0], min(4, rows[-1][1])),) if rows else ()
        return _Tile(points, lanes if extents[vector] < 4 * lanes else 2 * lanes, cells / lanes)
    turned = _turned_axis(nest, vector, lanes)
    if turned is not None:
        return _Tile(((turned, lanes),), lanes, cells / lanes * 2)
    widest = 8 if nest.reduction is not None and len(nest.loads) == 1 else 4
    return _Tile((), min(widest, -(-extents[vector] // lanes)) * lanes, cells / lanes)


def _turned_axis(nest: Contraction, vector: str, lanes: int) -> str | None:
    """An axis along which a copy's source is contiguous where it is not along the vector axis: squares are turned
    in registers."""
    if nest.reduction is not None or nest.extents[vector] < lanes:
        return None
    strided = [operand for operand in nest.late_loads if stride(operand, vector) not in (0, 1)]
    for axis, extent in nest.free:
        if axis != vector and extent >= lanes and any(stride(operand, axis) == 1 for operand in strided):
            return axis
    return None


# ---------------------------------------------------------------- 4. slabs
def footprint(operand: Operand, names: Iterable[str], extents: dict[str, int], element_bytes: int) -> int:
    """Bytes that the operand's cells span while `names` run and all else stands still."""
    inside, total = set(names), element_bytes
    for size, index in zip(operand.shape, operand.index, strict=True):
        low, high = Affine.of(0, {name: c for name, c in index.terms if name in inside}).span(extents)
        total *= min(size, high - low + 1)
    return total


def choose_slabs(
    nest: Contraction, tile: _Tile, vector: str | None, machine: Machine, element_bytes: int, options: Options
) -> tuple[tuple[str, int], ...]:
    """A reduction whose walk by one tile leaves the second cache is cut, outermost axis first, until what all tiles
    of a slab read is near: every tile of the slab then finds it there."""
    if options.slabs is not None:
        return options.slabs
    if not is_product(nest):
        return ()
    extents, names = nest.extents, [axis for axis, _ in nest.reduced]
    block = {axis: min(size, extents[axis]) for axis, size in tile.points}
    if vector is not None:
        block[vector] = min(tile.block, extents[vector])
    room = machine.l2 // 2
    own = [*names, *block]
    if sum(_lines(operand, own, {**extents, **block}, element_bytes) for operand in nest.loads) <= room:
        return ()
    lengths: dict[str, int] = {}

    def walked() -> int:
        # A vector operand is copied to a panel, of which one block is in use; the others are read where they are.
        spans = {**extents, **lengths}
        free = [axis for axis, _ in nest.free]
        return sum(
            footprint(operand, own, {**spans, **block}, element_bytes)
            if stride(operand, vector)
            else footprint(operand, [*names, *free], spans, element_bytes)
            for operand in nest.loads
        )

    tiled = {axis for axis, _ in tile.points}
    for axis in names:
        if any(axis in guard.index.names and tiled & set(guard.index.names) for guard in nest.guards):
            continue
        rest = prod(lengths.get(name, extents[name]) for name in names if name != axis)
        small, large = 1, extents[axis]
        while small < large:  # the largest size that is near enough, or short enough to stop
            lengths[axis] = middle = (small + large + 1) // 2
            fits = walked() <= room or rest * middle <= SHORTEST_SLAB
            small, large = (middle, large) if fits else (small, middle - 1)
        lengths[axis] = small
        lengths[axis] = -(-extents[axis] // -(-extents[axis] // lengths[axis]))
        if walked() <= room or rest * lengths[axis] <= SHORTEST_SLAB:
            break
    return tuple((axis, size) for axis, size in lengths.items() if size < extents[axis])


def _lines(operand: Operand, names: Iterable[str], extents: dict[str, int], element_bytes: int) -> int:
    """Bytes of the cache lines that the operand's cells lie in while `names` run."""
    inside = set(names)
    total, width = element_bytes, 1
    for number, (size, index) in enumerate(zip(operand.shape, operand.index, strict=True)):
        low, high = Affine.of(0, {name: c for name, c in index.terms if name in inside}).span(extents)
        width = min(size, high - low + 1)
        if number == len(operand.shape) - 1:
            width = max(width, min(size, CACHE_LINE // element_bytes))
        total *= width
    return total


# ---------------------------------------------------------------- 5. order of loops
def order_levels(
    nest: Contraction, vector: str | None, across: bool, tile: _Tile, slabs: tuple[tuple[str, int], ...],
    machine: Machine, element_bytes: int,
) -> tuple[Level, ...]:  # fmt: skip
    """Slabs outermost, then the output's axes in their order, but innermost those that are nearly free: whose next
    step makes a tile touch little that it has not touched before (the windows of a convolution overlap)."""
    extents = {**nest.extents, **dict(slabs)}
    sizes = {axis: ("tile", size) for axis, size in tile.points}
    if vector is not None and not across:
        sizes[vector] = ("vector", tile.block)
    one_tile = {axis: min(size, extents[axis]) for axis, (_, size) in sizes.items()}
    inside = [*(axis for axis, _ in nest.reduced), *one_tile]
    spans = {**extents, **one_tile}
    touched = sum(footprint(operand, inside, spans, element_bytes) for operand in nest.loads)

    def is_nearly_free(axis: str) -> bool:
        step = one_tile.get(axis, 1)
        wider = {**spans, axis: step + 1}
        more = sum(footprint(operand, {*inside, axis}, wider, element_bytes) for operand in nest.loads)
        return (more - touched) * step * NEARLY_FREE <= touched

    free = [axis for axis, _ in nest.free]
    last = [axis for axis in free if is_product(nest) and axis != vector and is_nearly_free(axis)]
    order = [axis for axis in free if axis not in last] + last
    levels = [Level(axis, "slab", size) for axis, size in slabs]
    levels += [Level(axis, *sizes.get(axis, ("loop", 1))) for axis in order]
    return tuple(_block_moving_tile(nest, levels, machine, element_bytes, extents))


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


# ---------------------------------------------------------------- 6. panels
def choose_panels(
    nest: Contraction, vector: str | None, across: bool, tile: _Tile, levels: tuple[Level, ...], lanes: int,
    l1: int, element_bytes: int, options: Options,
) -> tuple[Panel, ...]:  # fmt: skip
    """Operands that are copied so that a tile reads them in order.

    A vector operand whose lanes or rows lie apart and that many tiles read; a broadcast operand whose points lie
    side by side but whose rows lie apart. The copy stands inside the loops that are its own axes, outside all others.
    """
    if options.panels is False or vector is None or across or not is_product(nest):
        return ()
    panels = list[Panel]()
    inner = nest.reduced[-1][0] if nest.reduced else None
    steps = prod(extent for _, extent in nest.reduced)
    for operand in nest.loads:
        step = stride(operand, vector)
        width = -(-(tile.block if step else 1) * element_bytes // CACHE_LINE) * CACHE_LINE
        long_walk = steps * width > _near_capacity(abs(stride(operand, inner)) * element_bytes, width, l1) // 2
        axis: str | None = None
        if step not in (0, 1) and reuse(nest, operand, vector) >= 4:
            axis = vector
        elif step == 1 and long_walk and stride(operand, inner) > tile.block and reuse(nest, operand, vector) >= 16:
            axis = vector
        elif step == 0 and long_walk and reuse(nest, operand, None) >= 16:
            near = [name for name, size in tile.points if stride(operand, name) == 1 and size > 1]
            axis = near[0] if near and abs(stride(operand, inner)) >= 4 * lanes else None
        if axis is not None and _bare_dimension(operand, axis) is not None and not operand.lookups:
            panels.append(Panel(operand, axis, _panel_depth(operand, axis, levels)))
    return tuple(panels)


def _near_capacity(step: int, width: int, l1: int) -> int:
    """Bytes of the first cache that rows of `width` bytes, `step` apart, can fill: rows a power of two apart meet in
    few of its sets (eight ways assumed)."""
    way = l1 // 8
    return min(l1, way // gcd(step, way) * width * 8) if step else l1


def _bare_dimension(operand: Operand, axis: str) -> int | None:
    """The dimension whose index is the bare axis, where the axis occurs nowhere else and no guard concerns it."""
    uses = [d for d, index in enumerate(operand.index) if index.coefficient(axis)]
    guarded = any(axis in guard.index.names for guard in operand.guards)
    return uses[0] if len(uses) == 1 and operand.index[uses[0]] == Affine.name(axis) and not guarded else None


def _panel_depth(operand: Operand, axis: str, levels: tuple[Level, ...]) -> int:
    """How many levels stand outside the copy: those whose axis is a bare dimension of the operand."""
    for depth, level in enumerate(levels):
        whole_axis = level.kind in ("vector", "tile") and level.axis == axis
        fixed = level.kind in ("slab", "loop") and _bare_dimension(operand, level.axis) is not None
        if not whole_axis and not fixed:
            return depth
    return len(levels)


# ---------------------------------------------------------------- 7. chains
def chain_levels(nest: Contraction, slabs: tuple[tuple[str, int], ...]) -> tuple[Level, ...]:
    """Reductions cut for accuracy: outermost axis first, until the estimated rounding error is small enough."""
    if nest.reduction != "sum":
        return ()
    lengths = {**nest.extents, **dict(slabs)}
    total = prod(extent for _, extent in nest.reduced)
    chain = prod(lengths[axis] for axis, _ in nest.reduced)
    levels = list[Level]()

    def error(length: int) -> float:
        pieces = -(-total // length)
        return 0.25 * (sqrt(length / pieces) + (sqrt(pieces) if pieces > 1 else 0.0))

    for axis, _ in nest.reduced:
        if error(chain) <= CHAIN_ERROR_LIMIT or chain <= 128:
            break
        rest = chain // lengths[axis]
        size = next((n for n in range(lengths[axis], 0, -1) if error(rest * n) <= CHAIN_ERROR_LIMIT), 1)
        count = -(-lengths[axis] // size)
        size = -(-lengths[axis] // count)
        if size < lengths[axis]:
            levels.append(Level(axis, "chain", size))
            chain = rest * size
    return tuple(levels)


def choose_chains(nest: Contraction, accumulators: int, machine: Machine) -> int:
    """Partial accumulators, where a tile has too few to hide the latency of a multiply-add."""
    needed = machine.latency * machine.fma_rate
    if not nest.reduced or nest.position is not None or accumulators >= needed:
        return 1
    room = (machine.registers - 4) // accumulators
    return int(max(1, min(-(-needed // accumulators), room, 8)))
