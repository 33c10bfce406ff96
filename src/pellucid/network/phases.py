"""Nests that do not wait for each other, made one: threads meet at a barrier between two nests, and only there.

before   dw = ... g ...  | barrier |  db = ... g ...  | barrier |  dx = ... g ...
after    dw = ... g ...;  db = ... g ...;  dx = ... g ...
"""

from __future__ import annotations

from collections.abc import Iterable

from pellucid.schedule.nest import Load, Nest, Operand, Statement, Tile, Update, Value, operands, statements

__all__ = ["join_independent", "reads_and_writes"]

# Nests in one function: code grows faster than linearly dear to generate, and so many barriers saved are most of them.
LARGEST = 16


def join_independent(nests: Iterable[Nest]) -> tuple[Nest, ...]:
    """The same statements in the same order, neighbours joined where neither writes what the other touches."""
    joined: list[Nest] = []
    members = 0
    read: set[str] = set()
    written: set[str] = set()
    for nest in nests:
        reads, writes = reads_and_writes(nest)
        if joined and members < LARGEST and not (written & (reads | writes) or writes & read):
            joined[-1] = Nest(joined[-1].name, (*joined[-1].body, *nest.body))
            members += 1
        else:
            joined.append(nest)
            members, read, written = 1, set(), set()
        read |= reads
        written |= writes
    return tuple(joined)


def reads_and_writes(nest: Nest) -> tuple[set[str], set[str]]:
    """The names of the tensors that a nest loads from, and of those that it stores to."""
    reads: set[str] = set()
    writes: set[str] = set()
    for statement in statements(nest.body):
        reads |= {operand.tensor for operand in _loaded(statement)}
        if isinstance(statement, Tile):
            writes |= {store.operand.tensor for store in statement.stores}
    return reads, writes


def _loaded(statement: Statement) -> list[Operand]:
    """Every operand that a statement itself loads; with a store, also those that say where it goes."""
    values: list[Value] = []
    if isinstance(statement, Update):
        values.append(statement.value)
    elif isinstance(statement, Tile):
        values += [store.value for store in statement.stores]
        values += [Load(lookup.operand) for store in statement.stores for lookup in store.operand.lookups]
    return list(operands(*values))
