"""What happens to an array when a nest runs: a walk statement by statement, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, Fetch, For, Operand, Program, Tile, Update, operands
from pellucid.schedule.rewrite import names_of

LINE = 16  # elements of float32


@dataclass(frozen=True)
class Event:
    """A line of an array that is read, fetched or prefetched (`ahead`), and the round of the loop that is watched: its
    number, the variables of the loops around it, and its own."""

    round: tuple[int, ...]
    kind: str
    line: int


def events(program: Program, tensor: str, watched: str) -> Iterator[Event]:
    """All that happens to an array in the order of running: no bound but those of the loops is trusted."""
    size = program.tensor(tensor).size

    def value(form: Affine, names: Mapping[str, int]) -> int:
        return form.const + sum(factor * names[name] for name, factor in form.terms)

    def limit(bound: Bound, names: Mapping[str, int]) -> list[int]:
        return [ceil(value(form, names) / divisor) for form, divisor in bound.terms]

    def holds(operand: Operand, names: Mapping[str, int]) -> bool:
        return all(guard.low <= value(guard.index, names) < guard.high for guard in operand.guards)

    def cells(operand: Operand, names: Mapping[str, int], tile: Tile, active: Sequence[int]) -> Iterator[int]:
        lanes = [group.offset + lane for group in tile.groups for lane in range(group.valid)]
        used = names_of(operand) | {name for guard in operand.guards for name in guard.index.names}
        points = active if used & {name for name, _ in tile.points} else [0]
        for point, lane in product(points, lanes if tile.lane in used else lanes[:1]):
            inside = {**names, **tile.point(point), tile.lane: lane}
            index = [value(form, inside) for form in operand.index]
            if holds(operand, inside):
                yield int(np.ravel_multi_index(index, operand.shape))

    def walk(body, names: dict[str, int], seen: tuple[int, ...], around: tuple[int, ...], tile: Tile | None):
        for statement in body:
            match statement:
                case For():
                    for count in range(
                        max(limit(statement.low, names)), min(limit(statement.high, names)), statement.step
                    ):
                        inner = (*around, count)
                        here = (id(statement), *inner) if statement.variable == watched else seen
                        yield from walk(statement.body, {**names, statement.variable: count}, here, inner, tile)
                case Tile():
                    yield from walk(statement.body, names, seen, around, statement)
                    for store in statement.stores:
                        yield from read((store.value,), names, seen, statement, range(statement.point_count))
                case Update():
                    yield from read((statement.value,), names, seen, tile, statement.active)
                case Fetch(operand, lines) if operand.tensor == tensor and holds(operand, names):
                    first = value(operand.address, names)
                    yield from (Event(seen, "fetch", first // LINE + line) for line in range(lines))

    def read(values, names, seen, tile, active):
        for operand in operands(*values):
            if operand.tensor == tensor:
                found = list(cells(operand, names, tile, active))
                assert all(0 <= cell < size for cell in found)
                if operand.prefetch is not None:
                    for point, group in product(set(operand.prefetch.points) & set(active), tile.groups):
                        first = value(operand.address, {**names, **tile.point(point), tile.lane: group.offset})
                        if group.offset % LINE == 0:
                            yield Event(seen, "ahead", (first + operand.prefetch.distance) // LINE)
                yield from (Event(seen, "read", cell // LINE) for cell in found)

    for nest in program.nests:
        yield from walk(nest.body, {}, (), (), None)


def by_round(program: Program, tensor: str, watched: str) -> dict[tuple[int, ...], dict[str, list[int]]]:
    found: dict[tuple[int, ...], dict[str, list[int]]] = {}
    for event in events(program, tensor, watched):
        if event.round:
            found.setdefault(event.round, {"read": [], "fetch": [], "ahead": []})[event.kind].append(event.line)
    return found
