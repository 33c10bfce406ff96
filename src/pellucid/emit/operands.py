"""Every operand of statements: those that are read, those that are written, those that are looked up."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.schedule.nest import Operand, Statement, Tile, Update, operands, statements

__all__ = ["all_operands"]


def all_operands(body: tuple[Statement, ...]) -> Iterator[Operand]:
    """The operands of statements in reading order, lookups after what they are added to."""
    for statement in statements(body):
        if isinstance(statement, Update):
            yield from operands(statement.value)
        elif isinstance(statement, Tile):
            yield from operands(*(store.value for store in statement.stores))
            for store in statement.stores:
                yield from _with_lookups(store.operand)


def _with_lookups(operand: Operand) -> Iterator[Operand]:
    yield operand
    for lookup in operand.lookups:
        yield from _with_lookups(lookup.operand)
