"""Proof that a program stays inside its tensors, made before any code is generated from it.

Every dimension of every index is proved, not the flat address alone: an index that leaves one row and lands in the next
is as wrong as one that leaves the array. What is not proved is refused, so a mistake here can only refuse too much.

Not proved, because it depends on data: a dimension that an integer array of the caller is added to. Those integers
are checked when the program is called. Tables are constants of the program and are proved like everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod

from pellucid.errors import OutOfBoundsError
from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    Fetch,
    For,
    Guard,
    Lookup,
    Nest,
    Operand,
    Program,
    Statement,
    Tensor,
    Tile,
    Update,
    operands,
)
from pellucid.schedule.scope import Scope, box_reach
from pellucid.schedule.show import show_operand

__all__ = ["prove"]

# Cells that enumeration looks at before it gives up; about a fifth of a second.
_MOST_CELLS = 100_000


def prove(program: Program) -> int:
    """Prove that no access of `program` leaves its tensor; the number of accesses that were proved.

    Raises `OutOfBoundsError` naming the nest, the access, the dimension, the index it reaches and the extent. Where
    neither a proof nor an offending cell was found, the message says "may reach". Accesses inside loops that never run
    are not counted.
    """
    tensors = {tensor.name: tensor for tensor in program.tensors}
    for tensor in program.tensors:
        if tensor.role == "table" and len(tensor.values) != tensor.size:
            raise OutOfBoundsError(f"table {tensor.name} has {len(tensor.values)} values for shape {tensor.shape}")
    return sum(_proved(statement, Scope(), nest, tensors) for nest in program.nests for statement in nest.body)


def _proved(statement: Statement, scope: Scope, nest: Nest, tensors: Mapping[str, Tensor]) -> int:
    """The number of accesses proved in a statement that stands outside of tiles."""
    match statement:
        case For(body=body):
            inner = scope.enter(statement)
            return 0 if inner is None else sum(_proved(part, inner, nest, tensors) for part in body)
        case Tile():
            return _TileProof(statement, nest, tensors).count(scope)
        case Update():
            raise AssertionError(f"nest {nest.name}: an Update stands outside of every Tile")
        case Fetch():
            return 0


@dataclass(frozen=True)
class _Cells:
    """Where an access happens: inside which loops, for which points and lanes of a tile."""

    scope: Scope
    points: tuple[Mapping[str, int], ...]
    lane: str
    lanes: tuple[int, ...]
    # Indices that were proved for these cells, with their extents.
    settled: set[tuple[Affine, int]] = field(default_factory=set[tuple[Affine, int]], compare=False, repr=False)

    def spread(self, index: Affine) -> tuple[int, int]:
        """How far points and lanes alone move an index."""
        names = set(index.names) - set(self.scope.values)
        coefficient = index.coefficient(self.lane)
        lanes = (coefficient * self.lanes[0], coefficient * self.lanes[-1])
        names.discard(self.lane)
        if not names:
            return min(lanes), max(lanes)
        moves = [sum(index.coefficient(name) * point[name] for name in names) for point in self.points]
        return min(moves) + min(lanes), max(moves) + max(lanes)

    def loop_part(self, index: Affine) -> Affine:
        """The rest of an index: its loop variables and constant, in proof names."""
        values = self.scope.values
        own = tuple((name, value) for name, value in index.terms if name in values)
        return Affine(index.const, own).substitute(values)


class _TileProof:
    """The proofs of one tile."""

    def __init__(self, tile: Tile, nest: Nest, tensors: Mapping[str, Tensor]) -> None:
        self.tile, self.nest, self.tensors = tile, nest, tensors
        self.points = tuple(tile.point(number) for number in range(tile.point_count))
        self.lanes = tuple(sorted({group.offset + lane for group in tile.groups for lane in range(group.valid)}))
        self.cells: dict[tuple[int, tuple[int, ...]], _Cells] = {}
        assert self.lanes, f"nest {nest.name}: a tile without lanes"

    def count(self, scope: Scope) -> int:
        """Prove the body, then the stores; the number of accesses."""
        total = sum(self.statement(statement, scope) for statement in self.tile.body)
        lanes = (0,) if self.tile.across else self.lanes
        cells = _Cells(scope, self.points, self.tile.lane, lanes)
        for operand in operands(*(store.value for store in self.tile.stores)):
            total += self.operand(operand, cells)
        for store in self.tile.stores:
            total += self.operand(store.operand, cells)
            # `operands` gives the lookups of loads, not those of the cell that is stored to.
            for lookup in store.operand.lookups:
                total += self.operand(lookup.operand, cells)
        return total

    def statement(self, statement: Statement, scope: Scope) -> int:
        match statement:
            case For(body=body):
                inner = scope.enter(statement)
                return 0 if inner is None else sum(self.statement(part, inner) for part in body)
            case Update(active=active, value=value):
                if not active:
                    return 0
                cells = self.cells.get((id(scope), active))
                if cells is None:
                    points = tuple(self.points[number] for number in active)
                    cells = self.cells[id(scope), active] = _Cells(scope, points, self.tile.lane, self.lanes)
                return sum(self.operand(operand, cells) for operand in operands(value))
            case Tile():
                raise AssertionError(f"nest {self.nest.name}: a Tile stands inside a Tile")
            case Fetch():
                return 0

    # ------------------------------------------------------------ one access
    def operand(self, operand: Operand, cells: _Cells) -> int:
        """Prove every dimension of one access; 1."""
        tensor = self.tensors[operand.tensor]
        if prod(operand.shape) != tensor.size or len(operand.index) != len(operand.shape):
            raise OutOfBoundsError(
                f"nest {self.nest.name}: {show_operand(operand)} sees {operand.tensor} {tensor.shape} "
                f"as shape {operand.shape}"
            )
        for dimension, (index, extent) in enumerate(zip(operand.index, operand.shape, strict=True)):
            lookups = [lookup for lookup in operand.lookups if lookup.dimension == dimension]
            if any(self.tensors[lookup.operand.tensor].role != "table" for lookup in lookups):
                continue
            if not operand.guards and not lookups:
                if (index, extent) in cells.settled:
                    continue
                cells.settled.add((index, extent))
            reach = self.reach(index, extent, operand.guards, lookups, cells)
            if reach is not None:
                verb, number = reach
                raise OutOfBoundsError(
                    f"nest {self.nest.name}: {show_operand(operand)} dimension {dimension} {verb} {number} "
                    f"of extent {extent}"
                )
        return 1

    def reach(
        self, index: Affine, extent: int, guards: tuple[Guard, ...], lookups: list[Lookup], cells: _Cells
    ) -> tuple[str, float] | None:
        """None where an index stays in `0 .. extent - 1`, else how far it goes and whether that is certain."""
        form = cells.loop_part(index)
        low_move, high_move = cells.spread(index)
        for lookup in lookups:
            low, high = self.table_reach(lookup)
            low_move, high_move = low_move + low, high_move + high
        # A guard on the index itself, or on the index and a constant, holds it directly.
        held_low, held_high = _held(index, guards) if not lookups else (-_FAR, _FAR)

        def inside(reach: tuple[float, float]) -> bool:
            low, high = max(reach[0] + low_move, held_low), min(reach[1] + high_move, held_high)
            return low > high or (low >= 0 and high < extent)

        if inside(box_reach(form, cells.scope.box)):
            return None
        reach = cells.scope.reach(form)
        if inside(reach) or (guards and not lookups and self.inside_with_guards(index, extent, guards, cells)):
            return None
        outside = self.search(index, extent, guards, lookups, cells)
        if outside is not None:
            return (
                ("reaches", outside) if outside != _FAR else ("may reach", _worst(reach, low_move, high_move, extent))
            )
        return None

    def inside_with_guards(self, index: Affine, extent: int, guards: tuple[Guard, ...], cells: _Cells) -> bool:
        """Whether an index stays inside where the guards hold: elimination for each point, the lane one more name."""
        lane = Affine.name(_LANE)
        lanes = (lane - cells.lanes[0], -lane + cells.lanes[-1])
        names = {name for form in (index, *(guard.index for guard in guards)) for name in form.names}
        for point in _distinct(cells.points, names):
            bindings = {**cells.scope.values, **point, cells.lane: lane}
            rows = [*lanes]
            for guard in guards:
                form = guard.index.substitute(bindings)
                rows += [form - guard.low, -form + (guard.high - 1)]
            low, high = cells.scope.reach(index.substitute(bindings), tuple(rows))
            if low <= high and (low < 0 or high >= extent):
                return False
        return True

    def table_reach(self, lookup: Lookup) -> tuple[int, int]:
        """The smallest and largest number that a table can add to an index."""
        table = self.tensors[lookup.operand.tensor]
        values = [int(value) for value in table.values]
        if lookup.operand.guards:
            values.append(int(lookup.operand.outside))
        ends = (lookup.stride * min(values), lookup.stride * max(values))
        return min(ends), max(ends)

    # ------------------------------------------------------------ enumeration
    def search(
        self, index: Affine, extent: int, guards: tuple[Guard, ...], lookups: list[Lookup], cells: _Cells
    ) -> int | None:
        """A number outside the extent that an index takes, None where there is none, `_FAR` where there are too many
        cells to look at."""
        forms = [index, *(guard.index for guard in guards)]
        for lookup in lookups:
            forms += [*lookup.operand.index, *(guard.index for guard in lookup.operand.guards)]
        names = {name for form in forms for name in form.names}
        for number, cell in enumerate(_every_cell(names, cells)):
            if number >= _MOST_CELLS:
                return _FAR
            if all(guard.low <= guard.index.value(cell) < guard.high for guard in guards):
                reached = index.value(cell) + sum(self.looked_up(lookup, cell) for lookup in lookups)
                if not 0 <= reached < extent:
                    return reached if cells.scope.runs() else None
        return None

    def looked_up(self, lookup: Lookup, cell: Mapping[str, int]) -> int:
        """What a table adds to an index in one cell. The table's own index has been proved, or will be refused."""
        operand = lookup.operand
        if not all(guard.low <= guard.index.value(cell) < guard.high for guard in operand.guards):
            return lookup.stride * int(operand.outside)
        element = 0
        for form, extent in zip(operand.index, operand.shape, strict=True):
            element = element * extent + min(max(form.value(cell), 0), extent - 1)
        return lookup.stride * int(self.tensors[operand.tensor].values[element])


# Farther than any index, and a name that no nest uses.
_FAR = 1 << 62
_LANE = "?lane"


def _held(index: Affine, guards: tuple[Guard, ...]) -> tuple[int, int]:
    """The range that guards on this very index, or on it plus a constant, leave it."""
    low, high = -_FAR, _FAR
    for guard in guards:
        if guard.index.terms == index.terms:
            shift = index.const - guard.index.const
            low, high = max(low, guard.low + shift), min(high, guard.high - 1 + shift)
    return low, high


def _worst(reach: tuple[float, float], low_move: int, high_move: int, extent: int) -> float:
    """The end of a reach that is outside."""
    return reach[0] + low_move if reach[0] + low_move < 0 else max(reach[1] + high_move, extent)


def _distinct(points: tuple[Mapping[str, int], ...], names: set[str]) -> list[dict[str, int]]:
    """The points as far as `names` tell them apart."""
    seen = {tuple(sorted((name, value) for name, value in point.items() if name in names)) for point in points}
    return [dict(entries) for entries in sorted(seen)]


def _every_cell(names: set[str], cells: _Cells) -> Iterator[Mapping[str, int]]:
    """Every combination of the loop variables, points and lanes among `names`."""
    points = _distinct(cells.points, names)
    lanes = cells.lanes if cells.lane in names else cells.lanes[:1]
    for loops in cells.scope.points(names & set(cells.scope.values)):
        for point, lane in product(points, lanes):
            yield {**loops, **point, cells.lane: lane}
