"""What statements touch: the operands that they load and store to, and the tensors that those belong to."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.schedule.nest import Load, Operand, Statement, Store, Tile, Update, Value, operands, statements

__all__ = ["loaded", "stored", "touched"]


def touched(body: tuple[Statement, ...]) -> Iterator[Operand]:
    """Every operand that statements load or store to in reading order, lookups after what they are added to."""
    for statement in statements(body):
        yield from operands(*_values(statement))
        for store in _stores(statement):
            yield from operands(Load(store.operand))


def loaded(body: tuple[Statement, ...]) -> set[str]:
    """The tensors that statements load from, also to know where a store goes."""
    values = list[Value]()
    for statement in statements(body):
        values += _values(statement)
        values += [Load(lookup.operand) for store in _stores(statement) for lookup in store.operand.lookups]
    return {operand.tensor for operand in operands(*values)}


def stored(body: tuple[Statement, ...]) -> set[str]:
    """The tensors that statements store to."""
    return {store.operand.tensor for statement in statements(body) for store in _stores(statement)}


def _values(statement: Statement) -> tuple[Value, ...]:
    """The values that a statement itself computes."""
    if isinstance(statement, Update):
        return (statement.value,)
    return tuple(store.value for store in _stores(statement))


def _stores(statement: Statement) -> tuple[Store, ...]:
    return statement.stores if isinstance(statement, Tile) else ()
