"""What statements touch: the operands that they load and store to, and the tensors that those belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import TypeAlias

from pellucid.schedule.nest import For, Load, Operand, Statement, Store, Tile, Update, Value, operands, statements

__all__ = ["loaded", "loads", "read_of", "stored", "targets", "touched"]

_Range: TypeAlias = tuple[float, float]


def touched(body: tuple[Statement, ...]) -> Iterator[Operand]:
    """Every operand that statements load or store to in reading order, lookups after what they are added to."""
    for statement in statements(body):
        yield from operands(*_values(statement))
        for store in _stores(statement):
            yield store.operand
            for lookup in store.operand.lookups:
                yield from operands(Load(lookup.operand))


def loaded(body: tuple[Statement, ...]) -> set[str]:
    """The tensors that statements load from."""
    return {operand.tensor for operand in loads(body)}


def loads(body: tuple[Statement, ...]) -> Iterator[Operand]:
    """Every operand that statements load, also to know where a store goes, or to add to what stands there."""
    values = list[Value]()
    for statement in statements(body):
        values += _values(statement)
        for store in _stores(statement):
            values += [Load(lookup.operand) for lookup in store.operand.lookups]
            values += [Load(store.operand)] if store.add is not None else []
    return operands(*values)


def targets(body: tuple[Statement, ...]) -> Iterator[Operand]:
    """Every operand that statements store to."""
    return (store.operand for statement in statements(body) for store in _stores(statement))


def stored(body: tuple[Statement, ...]) -> set[str]:
    """The tensors that statements store to."""
    return {operand.tensor for operand in targets(body)}


def read_of(writer: Statement, reader: Statement) -> set[str]:
    """The tensors of which `reader` loads cells that `writer` stores to, as far as boxes around the cells tell: those
    that loops and tiles reach in every dimension."""
    reached, written = _ranges(reader), _ranges(writer)
    cells = list(targets((writer,)))
    return {
        load.tensor
        for load in loads((reader,))
        for cell in cells
        if load.tensor == cell.tensor and _meet(load, reached, cell, written)
    }


def _meet(one: Operand, ranges: Mapping[str, _Range], other: Operand, other_ranges: Mapping[str, _Range]) -> bool:
    """Whether the boxes of two operands of one tensor have a cell in common."""
    if one.shape != other.shape:
        return True  # views of one memory
    pairs = zip(_box(one, ranges), _box(other, other_ranges), strict=True)
    return all(low <= last and first <= high for (low, high), (first, last) in pairs)


def _ranges(outer: Statement) -> dict[str, _Range]:
    """The first and the last value of every loop variable, point and lane name, wherever it is bound."""
    ranges = dict[str, _Range]()
    for statement in statements((outer,)):
        for name, low, high in _bound_in(statement):
            first, last = ranges.get(name, (low, high))
            ranges[name] = (min(first, low), max(last, high))
    return ranges


def _bound_in(statement: Statement) -> Iterator[tuple[str, float, float]]:
    if isinstance(statement, For):
        low, high = statement.low.static, statement.high.static
        yield statement.variable, -inf if low is None else low, inf if high is None else high - 1
    elif isinstance(statement, Tile):
        yield from ((name, 0, count - 1) for name, count in statement.points)
        yield from ((statement.lane, group.offset, group.offset + group.width - 1) for group in statement.groups)


def _box(operand: Operand, ranges: Mapping[str, _Range]) -> list[_Range]:
    """The first and the last index that an operand reaches in each dimension."""
    if operand.lookups:
        return [(-inf, inf)] * len(operand.index)
    box = list[_Range]()
    for form in operand.index:
        ends = [sorted(value * end for end in ranges[name]) for name, value in form.terms]
        box.append((form.const + sum(low for low, _ in ends), form.const + sum(high for _, high in ends)))
    return box


def _values(statement: Statement) -> tuple[Value, ...]:
    """The values that a statement itself computes."""
    if isinstance(statement, Update):
        return (statement.value,)
    return tuple(store.value for store in _stores(statement))


def _stores(statement: Statement) -> tuple[Store, ...]:
    return statement.stores if isinstance(statement, Tile) else ()
