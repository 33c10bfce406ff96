"""Slabs: reductions cut so that what the tiles of a nest read stays in a cache until the next tile reads it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import prod

from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import CACHE_LINE, FAR, Machine
from pellucid.schedule.nest import Operand
from pellucid.schedule.plan import Options
from pellucid.schedule.tiling import RegisterTile
from pellucid.schedule.traits import footprint, is_product, lines, near_capacity, stride

__all__ = ["choose_slabs"]

# No slab for the second cache is cut shorter than this: starting and storing a tile must stay a small part of its work.
SHORTEST_SLAB = 256
# Where tiles would wait otherwise it may be shorter.
SHORTEST_IF_HELD_UP = 128
# The part of its time from which a tile's loads from the second cache hold it up: they do not come evenly.
HELD_UP = 0.9


def choose_slabs(
    nest: Contraction, tile: RegisterTile, vector: str | None, copied: Container[Operand],
    in_parts: Container[Operand], machine: Machine, element_bytes: int, options: Options,
) -> tuple[tuple[str, int], ...]:  # fmt: skip
    """A reduction whose walk by one tile leaves the second cache is cut, outermost axis first, until what all tiles
    of a slab read is near: every tile of the slab then finds it there. Near is the first cache, where tiles read parts
    of lines and the second one would hold them up: for what a tile reads as vectors, and, if other vectors go with the
    same lines and the sums are small enough to be added to so often, for these lines, too."""
    if options.slabs is not None:
        return options.slabs
    if not is_product(nest):
        return ()
    extents = nest.extents
    reads = _Reads(nest, tile, vector, copied, in_parts, options.seldom, machine, element_bytes)
    # Less than half: beside one slab there are the outputs, and what is fetched of the next. With two images of 256 KiB
    # in a slab, half of 1 MiB, a weight gradient ran at 0.90 of the peak, with one at 0.97.
    room = machine.l2 * 7 // 16
    # Where borders cut the tile a slab costs up to a fifth: the second cache may then be filled well, unless what comes
    # after comes from far. Where borders make the walk jump, it should stay in a small part of that cache.
    whole = sum(
        footprint(operand, extents, extents, element_bytes) for operand in nest.loads if stride(operand, vector)
    )
    filled = machine.l2 * 3 // 4 if whole <= FAR * machine.l2 else room
    cut = {axis for axis, _ in tile.points} & {name for guard in nest.guards for name in guard.index.names}
    near = filled if cut else min(room, 4 * machine.l1) if nest.guards else machine.l2 * 3 // 8
    if reads.room_of_tile(extents) <= near:
        return ()
    shortest, limits = SHORTEST_SLAB, [(reads.room_of_slab, room)]
    if reads.hold_up_tiles():
        has_small_sums = footprint(nest.output, extents, extents, element_bytes) <= machine.l2 // 4
        if has_small_sums and vector is not None and tile.block < extents[vector]:
            shortest, limits = 1, [(reads.bytes_of_tile, machine.l1 // 2)]
        else:
            shortest, limits = SHORTEST_IF_HELD_UP, [*limits, (reads.vectors_of_tile, machine.l1 * 3 // 4)]
    lengths: dict[str, int] = {}

    def is_near(axis: str, length: int) -> bool:
        """Whether slabs of so many values of an axis are near enough, or short enough to stop."""
        lengths[axis] = length
        spans = {**extents, **lengths}
        is_short = prod(spans[name] for name, _ in nest.reduced) <= shortest
        return is_short or all(size(spans) <= limit for size, limit in limits)

    tiled = {axis for axis, _ in tile.points}
    for axis, extent in nest.reduced:
        if any(axis in guard.index.names and tiled & set(guard.index.names) for guard in nest.guards):
            continue
        small, large = 1, extent
        while small < large:  # the largest size that is near
            middle = (small + large + 1) // 2
            small, large = (middle, large) if is_near(axis, middle) else (small, middle - 1)
        if is_near(axis, -(-extent // -(-extent // small))):
            break
    return tuple((axis, size) for axis, size in lengths.items() if size < extents[axis])


class _Reads:
    """What tiles read while the reductions of a nest run through `spans`, in whole lines."""

    def __init__(
        self, nest: Contraction, tile: RegisterTile, vector: str | None, copied: Container[Operand],
        in_parts: Container[Operand], seldom: Container[str], machine: Machine, element_bytes: int,
    ) -> None:  # fmt: skip
        self.nest, self.tile, self.vector = nest, tile, vector
        self.copied, self.in_parts, self.seldom = copied, in_parts, seldom
        self.machine, self.element_bytes = machine, element_bytes
        self.block = {axis: min(size, nest.extents[axis]) for axis, size in tile.points}
        self.lanes = 1 if vector is None else min(tile.block, nest.extents[vector])
        if vector is not None:
            self.block[vector] = self.lanes

    def bytes_of_tile(self, spans: Mapping[str, int]) -> int:
        """What one tile reads."""
        return sum(self._of_tile(operand, spans) for operand in self.nest.loads)

    def vectors_of_tile(self, spans: Mapping[str, int]) -> int:
        """What it reads as vectors."""
        return sum(self._of_tile(operand, spans) for operand in self.nest.loads if stride(operand, self.vector))

    def room_of_tile(self, spans: Mapping[str, int]) -> int:
        """What that takes up in the second cache."""
        return sum(self._of_tile(operand, spans) * self._crowding(operand) for operand in self.nest.loads)

    def room_of_slab(self, spans: Mapping[str, int]) -> int:
        """What all tiles together take up there: of what is read as vectors one block is in use."""
        return sum(
            self._of_tile(operand, spans) * self._crowding(operand)
            if stride(operand, self.vector)
            else footprint(operand, spans, dict(spans), self.element_bytes)
            for operand in self.nest.loads
        )

    def hold_up_tiles(self) -> bool:
        """Whether tiles read parts of lines where they stand, of which others read the rest, and wait for the second
        cache about as long as they multiply."""
        nest, machine = self.nest, self.machine
        in_parts = any(operand in self.in_parts for operand in nest.loads)
        steps = prod(extent for _, extent in nest.reduced)
        vectors = -(-self.lanes // machine.lanes(self.element_bytes))
        multiply_adds = prod(size for _, size in self.tile.points) * vectors * (len(nest.loads) - 1)
        read = self.bytes_of_tile(nest.extents) / steps / machine.l2_bandwidth
        return in_parts and read > HELD_UP * multiply_adds / machine.fma_rate

    def _of_tile(self, operand: Operand, spans: Mapping[str, int]) -> int:
        names = [*(axis for axis, _ in self.nest.reduced), *self.block]
        return lines(operand, names, {**spans, **self.block}, self.element_bytes)

    def _crowding(self, operand: Operand) -> int:
        """How much more room than bytes: pieces of rows a power of two apart meet in few sets of the second cache.
        What changes seldom passes through it."""
        row = abs(stride(operand, self.nest.reduced[-1][0])) * self.element_bytes
        if operand in self.in_parts:
            width = CACHE_LINE
        elif stride(operand, self.vector) == 1 and operand not in self.copied:
            width = self.lanes * self.element_bytes
        else:
            return 1
        if operand.tensor in self.seldom or row <= width:
            return 1
        return self.machine.l2 // near_capacity(row, width, self.machine.l2)
