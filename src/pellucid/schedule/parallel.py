"""Threads: which loop of a nest they divide.

Every cell that threads share is written by one of them, in the order of one thread: results do not depend on
how many there are. Loops over slabs and panels of scratch stay whole, for every thread has its own.
"""

from __future__ import annotations

from dataclasses import replace

from pellucid.schedule.nest import Bound, For, Statement, Tile, statements

__all__ = ["divide"]

# A loop of this many rounds divides well enough among the threads of one machine to stop looking further inside.
ENOUGH_ROUNDS = 12


def divide(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The body with one parallel loop around every tile that stores to shared memory."""
    return tuple(_divided(statement) for statement in body)


def _divided(statement: Statement) -> Statement:
    if not _stores_shared(statement):
        return statement
    if isinstance(statement, For):
        inside = max((_rounds(child) for child in statement.body), default=0)
        own = _rounds_of(statement)
        if own >= ENOUGH_ROUNDS or (own > 1 and own >= inside):
            return replace(statement, parallel=True)
        return replace(statement, body=divide(statement.body))
    # A lone tile belongs to one thread: a loop of one round, which exactly one of them gets.
    return For("thread.once", Bound.of(0), Bound.of(1), 1, (statement,), parallel=True)


def _rounds(statement: Statement) -> int:
    """The rounds of the best loop to divide in a statement."""
    if not isinstance(statement, For) or not _stores_shared(statement):
        return 0
    return max([_rounds_of(statement), *(_rounds(child) for child in statement.body)])


def _rounds_of(loop: For) -> int:
    """Rounds of a loop that threads may divide: static, not over slabs, with nothing in it but tiles and loops."""
    low, high = loop.low.static, loop.high.static
    if low is None or high is None or loop.variable.endswith((".slab", ".chain")):
        return 0
    return -(-(high - low) // loop.step)


def _stores_shared(statement: Statement) -> bool:
    """Whether the statement holds a tile that stores to anything but a panel."""
    return any(
        isinstance(inner, Tile) and any(".panel" not in store.operand.tensor for store in inner.stores)
        for inner in statements((statement,))
    )
