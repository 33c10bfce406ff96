"""A map by known matrices: a contraction of tables and one load becomes straight-line code.

    before:  V[a,b,n,I,J,c] = sum(p,q) B0[a,p] * B1[b,q] * x[n,4*I+p-1,4*J+q-1,c]
    after:   one tile for every block of lanes and (n, I, J): the 6x6 cells of x are loaded, B1 is applied to each of
             their rows, B0 to each of the columns that come out, and 36 cells are stored

No table is read at run time. Borders are no code of their own: a load that leaves its array in some tiles is tested,
and gives 0 where it does; one that leaves it in all of them is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from pellucid.language.affine import Affine
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.linear import Matrix, combine, operations
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import (
    Accumulated,
    Apply,
    Bound,
    Constant,
    For,
    Guard,
    Load,
    Nest,
    Operand,
    Statement,
    Store,
    Tensor,
    Tile,
    Value,
)
from pellucid.schedule.parallel import as_nest
from pellucid.schedule.parts import OUTER
from pellucid.schedule.plan import Level, Options, Plan
from pellucid.schedule.rewrite import bind_operand, bind_value, names_of
from pellucid.schedule.traits import never_holds, stride
from pellucid.schedule.vectors import lane_groups, vector_pieces

__all__ = ["LARGEST_MAP", "Map", "build_map", "find_map"]

# The most cells that straight-line code reads or writes: two six-point transforms are 36, three four-point ones 64, two
# for four outputs of three taps with a stride of 2 are 81.
LARGEST_MAP = 81


@dataclass(frozen=True)
class Map:
    """`output[rows, rest] = result(matrices applied to the cells of load over the columns)`.

    `matrices` has, for every column axis, the row axis that replaces it (None where its rows are one) and the rows.
    """

    contraction: Contraction
    load: Operand
    vector: str
    matrices: Mapping[str, tuple[str | None, Matrix]]

    @property
    def rows(self) -> tuple[str, ...]:
        """The output axes that tables alone depend on."""
        return tuple(row for row, _ in self.matrices.values() if row is not None)


def find_map(nest: Contraction, tensors: Mapping[str, Tensor]) -> Map | None:
    """The map that a contraction is; None where it is none, has no axis of vectors, or would be too much code."""
    factors = _factors(nest.value) if nest.reduction == "sum" else []
    loads = [factor for factor in factors if tensors[factor.tensor].role != "table"]
    tables = [factor for factor in factors if tensors[factor.tensor].role == "table"]
    if len(loads) != 1 or not tables:
        return None
    (load,) = loads
    free, extents = dict(nest.free), nest.extents
    outer = names_of(load) | {name for guard in nest.guards for name in guard.index.names}
    matrices: dict[str, tuple[str | None, Matrix]] = {}
    for table in tables:
        columns = [name for name in names_of(table) if name not in free]
        rows = [name for name in names_of(table) if name in free]
        if len(columns) != 1 or len(rows) > 1 or columns[0] in matrices or outer & set(rows) or table.guards:
            return None
        row = rows[0] if rows else None
        numbers = tensors[table.tensor].values
        matrices[columns[0]] = (
            row,
            tuple(
                tuple(
                    numbers[table.address.value({columns[0]: column} | ({} if row is None else {row: number}))]
                    for column in range(extents[columns[0]])
                )
                for number in range(1 if row is None else extents[row])
            ),
        )
    rows = [row for row, _ in matrices.values() if row is not None]
    sizes = prod(extents[axis] for axis in matrices), prod(extents[axis] for axis in rows)
    if set(matrices) != {axis for axis, _ in nest.reduced} or len(set(rows)) < len(rows) or max(sizes) > LARGEST_MAP:
        return None
    vector = _vector(nest, load)
    return None if vector is None else Map(nest, load, vector, matrices)


def _factors(value: Value | None) -> list[Operand]:
    """The loads of a product of loads; empty for any other value."""
    if isinstance(value, Load):
        return [value.operand]
    if isinstance(value, Apply) and value.function == "mul":
        parts = [_factors(argument) for argument in value.arguments]
        return [operand for part in parts for operand in part] if all(parts) else []
    return []


def _vector(nest: Contraction, load: Operand) -> str | None:
    """The longest output axis along which the output and the load are contiguous, in no guard."""
    barred = {name for guard in (*nest.guards, *load.guards) for name in guard.index.names}
    fit = [
        (extent, axis)
        for axis, extent in nest.free
        if axis not in barred and stride(nest.output, axis) == 1 and stride(load, axis) == 1
    ]
    return max(fit)[1] if fit else None


# Building


def build_map(
    found: Map, machine: Machine, element_bytes: int, name: str, options: Options | None = None
) -> tuple[Nest, Plan]:
    """The nest of a map, and its plan."""
    nest = found.contraction
    lanes = machine.lanes(element_bytes)
    outer = [axis for axis in OUTER if axis in dict(nest.free)]
    inner = [axis for axis, _ in nest.free if axis not in (*outer, *found.rows, found.vector)]
    loops = [*outer, *inner]
    body = _loops(found, loops, {}, lanes)
    tile = _stores(found, {axis: Affine.name(axis) for axis in (*loops, found.vector)})
    count = operations([store.value for store in tile])
    levels = (*(Level(axis, "loop", 1) for axis in loops), Level(found.vector, "vector", lanes))
    plan = Plan(
        nest, lanes, found.vector, False, (), lanes, levels, tuple(axis for axis, _ in nest.reduced),
        reasons=(f"a map by known matrices: {count} operations from {_cells(found)} cells to {len(tile)}",),
    )  # fmt: skip
    return replace(as_nest(name, tuple(body), len(outer)), group=options.group if options else 1), plan


def _cells(found: Map) -> int:
    return prod(found.contraction.extents[axis] for axis in found.matrices)


def _loops(found: Map, axes: list[str], bound: Mapping[str, Affine], lanes: int) -> list[Statement]:
    """Loops over the axes around the tiles. Borders are no code of their own: that would be nine times as much in two
    dimensions, and a test of a load costs little beside what is done with it."""
    extents = found.contraction.extents
    if axes:
        axis, *rest = axes
        inner = _loops(found, rest, {**bound, axis: Affine.name(axis)}, lanes)
        return [For(axis, Bound.of(0), Bound.of(extents[axis]), 1, tuple(inner))]
    result = list[Statement]()
    lane, block = found.vector, f"{found.vector}.block"
    for start, width, count in vector_pieces(extents[lane], lanes, lanes):
        place = Affine.name(lane) + start
        if count > 1:
            place = place + Affine.name(block) * width
        tile = Tile((), lane, lane_groups(width, lanes), None, (), _stores(found, {**bound, lane: place}))
        result.append(tile if count == 1 else For(block, Bound.of(0), Bound.of(count), 1, (tile,)))
    return result


def _stores(found: Map, bound: Mapping[str, Affine]) -> tuple[Store, ...]:
    """The stores of one tile: every row of the matrices, of the cells over their columns."""
    nest = found.contraction
    extents = nest.extents
    columns = list(found.matrices)
    cells: dict[tuple[int, ...], Value] = {
        place: _loaded(found, {**bound, **{axis: Affine(number) for axis, number in zip(columns, place, strict=True)}})
        for place in product(*(range(extents[axis]) for axis in columns))
    }
    # The last axis first: the cells of a row are neighbours in memory.
    for number in reversed(range(len(columns))):
        matrix = found.matrices[columns[number]][1]
        lines = dict.fromkeys((place[:number], place[number + 1 :]) for place in cells)
        mapped: dict[tuple[int, ...], Value] = {}
        for before, after in lines:
            line = [cells[*before, at, *after] for at in range(len(matrix[0]))]
            mapped |= {(*before, at, *after): value for at, value in enumerate(combine(matrix, line))}
        cells = mapped
    stores: list[Store] = []
    for place in sorted(cells):
        rows = {row: Affine(at) for at, (row, _) in zip(place, found.matrices.values(), strict=True) if row is not None}
        bindings = {**bound, **rows}
        value = _finished(bind_value(nest.result, bindings), cells[place])
        stores.append(Store(bind_operand(nest.output, bindings), value))
    return tuple(stores)


def _loaded(found: Map, bindings: Mapping[str, Affine]) -> Value:
    """A cell, without the guards that are known to hold; 0 where one is known to fail."""
    operand = bind_operand(found.load, bindings)
    extents = found.contraction.extents
    if any(never_holds(guard, extents) for guard in operand.guards):
        return Constant(operand.outside)
    unknown: list[Guard] = []
    for guard in operand.guards:
        low, high = guard.index.span(extents)
        if low < guard.low or high >= guard.high:
            unknown.append(guard)
    return Load(replace(operand, guards=tuple(unknown)))


def _finished(result: Value, total: Value) -> Value:
    """The result with the total in the place of what is accumulated."""
    if isinstance(result, Accumulated):
        return total
    if isinstance(result, Apply):
        return Apply(result.function, tuple(_finished(argument, total) for argument in result.arguments))
    return result
