"""Threads: which loop of a nest they divide.

Every cell that threads share is written by one of them, in the order of one thread: results do not depend on
how many there are. Loops over slabs and panels of scratch stay whole, for every thread has its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pellucid.schedule.nest import Bound, For, Nest, Statement
from pellucid.schedule.ordering import DIVISIBLE
from pellucid.schedule.touched import stored

__all__ = ["as_nest", "divide", "for_one_thread", "in_one_thread"]

# The loop of one round in which a statement stands that one thread alone runs.
ONCE = "thread.once"


def divide(body: tuple[Statement, ...], own: Collection[str] = ()) -> tuple[Statement, ...]:
    """The body with one parallel loop around every tile that stores to shared memory: to a tensor that is not among
    `own`, of which every thread has one for itself."""
    return tuple(_divided(statement, own) for statement in body)


def as_nest(name: str, body: tuple[Statement, ...], outer: int, own: Collection[str] = ()) -> Nest:
    """The nest of a body whose `outer` outermost loops were asked for. Where they are around everything else threads
    divide the first, each of whose rounds has results of its own; else what they divide is chosen here. `own` as in
    `divide`."""
    rounds = _rounds_around(body, outer)
    if rounds:
        assert isinstance(body[0], For)
        return Nest(name, (replace(body[0], parallel=True),), rounds)
    return Nest(name, divide(body, own))


def in_one_thread(body: tuple[Statement, ...]) -> For:
    """A loop of one round, which exactly one thread gets."""
    return For(ONCE, Bound.of(0), Bound.of(1), 1, body, parallel=True)


def for_one_thread(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """A divided body as it is inside a loop that threads divide already: undone."""
    result = list[Statement]()
    for statement in body:
        if isinstance(statement, For) and statement.variable == ONCE:
            result += for_one_thread(statement.body)
        elif isinstance(statement, For):
            result.append(replace(statement, body=for_one_thread(statement.body), parallel=False))
        else:
            result.append(statement)
    return tuple(result)


def _rounds_around(body: tuple[Statement, ...], count: int) -> tuple[str, ...]:
    """The variables of the `count` outermost loops; none where they are not the only statements of their bodies."""
    names = list[str]()
    while len(names) < count:
        if len(body) != 1 or not isinstance(body[0], For):
            return ()
        names.append(body[0].variable)
        body = body[0].body
    return tuple(names)


def _divided(statement: Statement, own: Collection[str]) -> Statement:
    if not _stores_shared(statement, own):
        return statement
    if isinstance(statement, For):
        inside = max((_rounds(child, own) for child in statement.body), default=0)
        rounds = _rounds_of(statement)
        if rounds >= DIVISIBLE or (rounds > 1 and rounds >= inside):
            return replace(statement, parallel=True)
        return replace(statement, body=divide(statement.body, own))
    # A lone tile belongs to one thread.
    return in_one_thread((statement,))


def _rounds(statement: Statement, own: Collection[str]) -> int:
    """The rounds of the best loop to divide in a statement."""
    if not isinstance(statement, For) or not _stores_shared(statement, own):
        return 0
    return max([_rounds_of(statement), *(_rounds(child, own) for child in statement.body)])


def _rounds_of(loop: For) -> int:
    """Rounds of a loop that threads may divide: static, not over slabs, with nothing in it but tiles and loops."""
    low, high = loop.low.static, loop.high.static
    if low is None or high is None or loop.variable.endswith((".slab", ".chain")):
        return 0
    return -(-(high - low) // loop.step)


def _stores_shared(statement: Statement, own: Collection[str]) -> bool:
    """Whether the statement holds a tile that stores to memory that threads share."""
    return any(name not in own for name in stored((statement,)))
