"""Plan -> loop nests: the levels become loops, the innermost one a register tile; borders become pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pellucid.language.affine import Affine
from pellucid.schedule.machine import CACHE_LINE, Machine
from pellucid.schedule.nest import (
    ELEMENT_BYTES,
    Accumulated,
    Apply,
    Bound,
    For,
    Group,
    Guard,
    Load,
    Nest,
    Operand,
    Position,
    Prefetch,
    Statement,
    Store,
    Tensor,
    Tile,
    Value,
)
from pellucid.schedule.panels import Binding, PlacedPanel, place_panels
from pellucid.schedule.parallel import as_nest, divide
from pellucid.schedule.plan import Level, Plan, near_equal
from pellucid.schedule.reduction import Reduction
from pellucid.schedule.rewrite import bind_guard, bind_operand, bind_value, map_operands
from pellucid.schedule.vectors import lane_groups, side_by_side, vector_pieces

__all__ = ["build"]

# The narrowest vector that is worth an instruction of its own.
LEAST_LANES = 4
SUFFIX = {"slab": "slab", "loop": "block", "vector": "block", "tile": "tile", "chain": "chain"}


@dataclass(frozen=True)
class _Place:
    """Where in the levels the builder is: bindings of axes, interval of every loop variable, first and last slab."""

    env: Mapping[str, Binding]
    ranges: Mapping[str, tuple[int, int]]
    slabs: Affine = Affine()  # noqa: RUF009 - frozen; 0 in the first slab, above 0 in later ones
    is_last: bool = True
    anchors: Mapping[str, Mapping[str, Binding]] = field(default_factory=dict[str, Mapping[str, Binding]])
    """For every panel already copied, the bindings at the depth where it was: its own indices count from there."""


def build(plan: Plan, machine: Machine, name: str, dtype: str, group: int = 1) -> tuple[list[Nest], list[Tensor]]:
    """The nests of a plan (panels that every thread shares first), and the tensors that they need; `group` images are a
    round of the outermost loops, where the plan has such."""
    panels = place_panels(plan, name, dtype)
    nests = [
        Nest(f"{placed.tensors[0].name}.copy", divide(tuple(placed.copies({}, "p"))))
        for placed in panels
        if placed.panel.depth == 0
    ]
    partial = _partial_sums(plan, name, dtype)
    builder = _Builder(plan, machine, panels, partial, dtype)
    body = builder.level(0, _Place({}, {}))
    tensors = [tensor for placed in panels for tensor in placed.tensors]
    tensors += [] if partial is None else [partial]
    own = {tensor.name for tensor in tensors if tensor.role == "scratch"}
    nests.append(replace(as_nest(name, tuple(body), plan.outer, own), group=group))
    return nests, tensors


def _partial_sums(plan: Plan, name: str, dtype: str) -> Tensor | None:
    """Where sums that are not finished stand, if not in the output: a result that reads the output's old cells
    (`v[i] = m*v[i] + sum(n) g[n,i]` in place) needs them until the sum is there."""
    output = plan.contraction.output
    cut = any(level.kind in ("slab", "chain") for level in plan.levels)
    if cut and any(operand.tensor == output.tensor for operand in plan.contraction.late_loads):
        return Tensor(f"{name}.partial", dtype, output.shape, "temporary")
    return None


class _Builder:
    def __init__(
        self, plan: Plan, machine: Machine, panels: list[PlacedPanel], partial: Tensor | None, dtype: str
    ) -> None:
        self.plan, self.machine, self.panels, self.partial = plan, machine, panels, partial
        self.nest = plan.contraction
        self.extents = self.nest.extents
        self.panel_of = {placed.panel.operand: placed for placed in panels}
        self.near = Prefetch(CACHE_LINE // 2 // ELEMENT_BYTES[dtype], (0,), cache=1)
        self.ahead = {ahead.operand: ahead for ahead in plan.prefetched}
        self.is_plain = self.nest.result == Accumulated("value")
        # An axis that is walked outermost stands still in a tile, also where it is reduced.
        outer = {level.axis for level in plan.levels[: plan.outer]}
        self.reductions = tuple(axis for axis in plan.reductions if axis not in outer)

    # ------------------------------------------------------------ levels
    def level(self, depth: int, place: _Place) -> list[Statement]:
        """The statements inside the first `depth` levels."""
        copies = [
            statement
            for number, placed in enumerate(self.panels)
            if placed.panel.depth == depth > 0
            for statement in placed.copies(place.env, f"p{number}")
        ]
        here = {placed.name: place.env for placed in self.panels if placed.panel.depth == depth}
        place = replace(place, anchors={**place.anchors, **here})
        if depth == len(self.plan.levels):
            return [*copies, self.tile(place)]
        level = self.plan.levels[depth]
        result = copies
        for number, piece in enumerate(self._pieces(level, place)):
            result += self._piece(depth, level, number, piece, place)
        return result

    def _pieces(self, level: Level, place: _Place) -> list[tuple[int, int, int]]:
        """The level's axis as (start, size, count), cut where a border begins."""
        length = self._length(level.axis, place)
        if level.kind == "vector":
            return vector_pieces(length, level.size, self.plan.lanes)
        pieces = near_equal(length, level.size)
        if level.kind in ("slab", "chain") and not self.is_plain:
            start, size, count = pieces[-1]
            if count > 1:
                pieces[-1:] = [(start, size, count - 1), (start + size * (count - 1), size, 1)]
        if level.kind == "tile" or (level.kind in ("slab", "chain") and self._tests_points(level.axis)):
            inner = self._interior(level.axis)
            return [part for piece in pieces for part in _cut_borders(piece, inner)]
        return pieces

    def _length(self, axis: str, place: _Place) -> int:
        return place.env[axis].length if axis in place.env else self.extents[axis]

    def _tests_points(self, axis: str) -> bool:
        """Whether a guard concerns the axis together with points of the tile: no loop's bounds can express it, so
        that every load would be tested."""
        tiled = {point for point, _ in self.plan.tile}
        return any(guard.index.coefficient(axis) and tiled & set(guard.index.names) for guard in self.nest.guards)

    def _interior(self, axis: str) -> tuple[int, int]:
        """The values of a tile axis for which every guard on it holds, whatever the other axes are."""
        low, high = 0, self.extents[axis]
        for guard in self.nest.guards:
            step = guard.index.coefficient(axis)
            if not step:
                continue
            rest_low, rest_high = (guard.index - Affine.name(axis) * step).span(self.extents)
            if step < 0:
                return 0, 0
            low = max(low, -((rest_low - guard.low) // step))
            high = min(high, (guard.high - 1 - rest_high) // step + 1)
        return low, high

    def _piece(
        self, depth: int, level: Level, number: int, piece: tuple[int, int, int], place: _Place
    ) -> list[Statement]:
        start, size, count = piece
        axis = level.axis
        outer = place.env.get(axis, Binding(Affine(), self.extents[axis]))
        blocks = number if level.kind == "vector" else self._part(level, start)
        variable = axis if level.kind == "loop" and level.size == 1 else f"{axis}.{SUFFIX[level.kind]}"
        counter = Affine() if count == 1 else Affine.name(variable)
        first_block = self._first_block(level, start)
        binding = Binding(outer.base + counter * size + start, size, counter + first_block, blocks)
        place = replace(
            place,
            env={**place.env, axis: binding},
            ranges=place.ranges if count == 1 else {**place.ranges, variable: (0, count - 1)},
        )
        if level.kind in ("slab", "chain"):
            ends = start + size * count == self._length(axis, _Place({axis: outer}, {}))
            place = replace(place, slabs=place.slabs + counter + start, is_last=place.is_last and ends)
        body = self.level(depth + 1, place)
        if count == 1:
            return body
        return [For(variable, Bound.of(0), Bound.of(count), 1, tuple(body))]

    def _part(self, level: Level, start: int) -> int:
        """Which piece of the uncut axis a tile piece belongs to (panels are laid out by uncut pieces)."""
        if level.kind != "tile":
            return 0
        pieces = near_equal(self.extents[level.axis], level.size)
        return max((n for n, piece in enumerate(pieces) if piece[0] <= start), default=0)

    def _first_block(self, level: Level, start: int) -> int:
        if level.kind != "tile":
            return 0
        begin, size, _ = near_equal(self.extents[level.axis], level.size)[self._part(level, start)]
        return (start - begin) // size

    # ------------------------------------------------------------ the register tile
    def tile(self, place: _Place) -> Tile:
        """The tile at the bottom of all levels."""
        plan, nest = self.plan, self.nest
        points = tuple(
            (level.axis, place.env[level.axis].length)
            for level in plan.levels
            if level.kind == "tile" and place.env[level.axis].length > 1
        )
        lane = plan.vector or "vector.lane"
        names = {axis for axis, _ in points} | ({lane} if plan.vector and not plan.across else set())
        bindings = {
            axis: binding.base + (Affine.name(axis) if axis in names or axis in self.reductions else 0)
            for axis, binding in place.env.items()
        }
        width = self._width(place)
        groups = lane_groups(width, plan.lanes) if plan.vector else (Group(0, 1, 1),)
        target, result = bind_operand(nest.output, bindings), bind_value(nest.result, bindings)
        if width % plan.lanes and self._is_padded():
            # Panels hold whole vectors: the last block is computed whole, or as far as a narrower vector reaches, and
            # only its own lanes are stored. 20 lanes are one vector of 16 and one of 4.
            rest = max(width % plan.lanes, min(LEAST_LANES, plan.lanes))
            padded = width - width % plan.lanes + (1 << (rest - 1).bit_length())
            groups = lane_groups(padded, plan.lanes)
            if padded > width:
                present = Guard(_form(bindings[lane]), 0, self.extents[lane])
                target = replace(target, guards=(present,))
                result = map_operands(result, lambda o: replace(o, guards=(*o.guards, present)))
        if nest.reduction is None:
            groups = groups if points else side_by_side(groups)
            return Tile(points, lane, groups, None, (), (Store(target, result),))
        body = self._body(place, points, lane, groups, bindings)
        stores = self._stores(place, target, result)
        return Tile(points, lane, groups, nest.reduction, body, stores, plan.chains, plan.across)

    def _is_padded(self) -> bool:
        """Whether everything that the tile reads along its lanes is a panel, which holds whole vectors."""
        if self.plan.across or self.plan.vector is None or self.nest.reduction is None:
            return False
        vectors = [operand for operand in self.nest.loads if operand.address.coefficient(self.plan.vector)]
        return bool(vectors) and all(operand in self.panel_of for operand in vectors)

    def _width(self, place: _Place) -> int:
        vector = self.plan.vector
        if vector is None:
            return 1
        if self.plan.across:
            return min(self.plan.block, -(-self.extents[vector] // self.plan.lanes) * self.plan.lanes)
        return place.env[vector].length

    def _body(
        self, place: _Place, points: tuple[tuple[str, int], ...], lane: str, groups: tuple[Group, ...],
        bindings: Mapping[str, Affine | int],
    ) -> tuple[Statement, ...]:  # fmt: skip
        plan, nest = self.plan, self.nest
        assert nest.value is not None
        assert nest.reduction is not None

        probe = Tile(points, lane, groups, None, (), ())
        numbers = [probe.point(number) for number in range(probe.point_count)]

        def bind(operand: Operand) -> Operand:
            own = bind_operand(operand, bindings)
            if placed := self.panel_of.get(operand):
                inner = self._inner_name(placed, points, plan.vector)
                own = placed.operand(place.env, place.anchors[placed.name], own, inner)
            return replace(own, prefetch=self._prefetch(operand, own, place, numbers))

        vectors = len(groups)
        reduction = Reduction(
            numbers,
            lane,
            groups,
            nest.reduction.removeprefix("arg"),
            plan.across,
            plan.chains,
            plan.unroll,
            max(2, self.machine.registers - probe.point_count * vectors * plan.chains - 1),
        )
        value: Value = map_operands(_bind_positions(nest.value, bindings), bind)
        axes = [(axis, 0, self._length(axis, place)) for axis in self.reductions]
        guards = tuple(bind_guard(guard, bindings) for guard in nest.guards)
        position = None if nest.position is None else nest.position.substitute(bindings)
        return reduction.body(value, position, guards, axes, dict(place.ranges))

    def _prefetch(self, operand: Operand, own: Operand, place: _Place, points: list[dict[str, int]]) -> Prefetch | None:
        """Half a line ahead, or what the next round of an axis reads; `own` is what the tile reads for `operand`.

        Of a sum's axis by the points that it leads where no point has been. Several of them read a cell, now or at the
        next steps, so that one does where borders leave others out: a line that is not prefetched costs as much as the
        rest of its row."""
        if operand not in self.ahead:
            return None
        axis, rounds = self.ahead[operand].axis, self.ahead[operand].rounds
        if axis is None:
            return self.near
        first = set(range(len(points)))
        if axis in self.reductions:
            distance = rounds * own.address.coefficient(axis)
            for index in own.index:
                if step := index.coefficient(axis):
                    cells = [sum(index.coefficient(name) * at for name, at in point.items()) for point in points]
                    first -= {number for number, cell in enumerate(cells) if cell + step in cells}
        elif placed := self.panel_of.get(operand):
            distance = placed.distance(axis, rounds, place.env[placed.panel.axis].piece)
        else:
            distance = rounds * operand.address.coefficient(axis)
        return Prefetch(distance, tuple(sorted(first)), cache=2)

    @staticmethod
    def _inner_name(placed: PlacedPanel, points: tuple[tuple[str, int], ...], vector: str | None) -> Affine:
        """The innermost index of a panel: the lane or point name; 0 for a point axis of one point."""
        axis = placed.panel.axis
        return Affine.name(axis) if axis == vector or axis in dict(points) else Affine()

    def _stores(self, place: _Place, target: Operand, result: Value) -> tuple[Store, ...]:
        later = place.slabs.terms or place.slabs.const
        sums = target if self.partial is None else replace(target, tensor=self.partial.name)
        if self.is_plain or not place.is_last:
            add = place.slabs if later else None
            return (Store(sums, Accumulated("value"), add),)
        if later:
            result = _with_accumulated(result, Apply("add", (Accumulated("value"), Load(sums))))
        return (Store(target, result),)


def _form(index: Affine | int) -> Affine:
    return Affine(index) if isinstance(index, int) else index


def _cut_borders(piece: tuple[int, int, int], interior: tuple[int, int]) -> list[tuple[int, int, int]]:
    """A run of tiles as single tiles at the borders and a loop in the interior."""
    start, size, count = piece
    result = list[tuple[int, int, int]]()
    number = 0
    while number < count:
        at = start + number * size
        run = 0
        while number + run < count and at + run * size >= interior[0] and at + (run + 1) * size <= interior[1]:
            run += 1
        result.append((at, size, max(run, 1)))
        number += max(run, 1)
    return result


def _bind_positions(value: Value, bindings: Mapping[str, Affine | int]) -> Value:
    """Positions bound; operands left as they are, so that panels can be found for them."""
    if isinstance(value, Position):
        return Position(value.index.substitute(bindings))
    if isinstance(value, Apply):
        return Apply(value.function, tuple(_bind_positions(argument, bindings) for argument in value.arguments))
    return value


def _with_accumulated(value: Value, new: Value) -> Value:
    if isinstance(value, Accumulated):
        return new
    if isinstance(value, Apply):
        return Apply(value.function, tuple(_with_accumulated(argument, new) for argument in value.arguments))
    return value
