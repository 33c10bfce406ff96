"""Loops over the same rows that write parts of one array become one loop: what they read is near then.

    before   for y: dx[2*y, ...] = f(g[y, ...])        for y: dx[2*y + 1, ...] = f(g[y, ...], g[y + 1, ...])
    after    for y: dx[2*y, ...] = f(g[y, ...]);  dx[2*y + 1, ...] = f(g[y, ...], g[y + 1, ...])

The gradient of a pool of stride 2 has an equation for each residue of its rows and columns, all of which read the same
rows. One after the other for a whole image they find them in the second cache or beyond, row by row in the first.

Legal where no loop writes what another one reads, and what two of them write lies apart. Products are left alone: they
are scheduled for the caches by themselves. So are loops that write different arrays: the transforms of a gradient for
two products, read at once, made steps of networks 1 to 2% slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, For, Nest, Operand, Statement, Tile, statements
from pellucid.schedule.prefetching import multiplies
from pellucid.schedule.rewrite import bind_statements
from pellucid.schedule.touched import loaded, loads, stored, targets

__all__ = ["with_merged_loops"]

# What stands behind the variable of a loop that was merged.
SUFFIX = ".row"


def with_merged_loops(nest: Nest) -> Nest:
    """The nest with the loops merged that stand in its loops."""
    return replace(nest, body=tuple(_inside(statement) for statement in nest.body))


def _inside(statement: Statement) -> Statement:
    if not isinstance(statement, For):
        return statement
    return replace(statement, body=tuple(map(_inside, _merged(statement.body))))


def _merged(body: Sequence[Statement]) -> list[Statement]:
    """The statements in an order that keeps every dependence, with each loop in the first one that takes it."""
    result = list[Statement]()
    for statement in body:
        place = _place(result, statement)
        if place is None:
            result.append(statement)
        else:
            result[place : place + 1] = _joined(result[place], statement)
    return result


def _place(before: Sequence[Statement], statement: Statement) -> int | None:
    """Where the loop stands that takes a statement; None where there is none, or where something between them has to
    come first."""
    if not _rounds(statement):
        return None
    for place in reversed(range(len(before))):
        if _match(before[place], statement):
            return place
        if not _are_independent(before[place], statement):
            return None
    return None


def _match(one: Statement, other: Statement) -> bool:
    """Whether both are loops over about the same rounds that go through one array alike, write parts of another, and do
    not wait for each other."""
    first, second = _rounds(one), _rounds(other)
    return (
        min(first, second) > max(first, second) // 2
        and not any(isinstance(part, Tile) and multiplies(part) for part in statements((one, other)))
        and bool(stored((one,)) & stored((other,)))
        and bool(_steps(one) & _steps(other))
        and _are_independent(one, other)
    )


def _steps(loop: Statement) -> set[tuple[str, int]]:
    """By how many elements a loop moves through each array that it reads."""
    assert isinstance(loop, For)
    steps = {(operand.tensor, operand.address.coefficient(loop.variable)) for operand in loads((loop,))}
    return {(tensor, step) for tensor, step in steps if step}


def _rounds(statement: Statement) -> int:
    """The rounds of a loop whose variable counts them; 0 of anything else."""
    if not isinstance(statement, For) or statement.parallel or statement.step != 1 or statement.low.static != 0:
        return 0
    return statement.high.static or 0


def _are_independent(one: Statement, other: Statement) -> bool:
    """Whether neither reads what the other writes, and no cell is written by both."""
    if stored((one,)) & loaded((other,)) or loaded((one,)) & stored((other,)):
        return False
    return all(
        _lie_apart(first, second)
        for first in targets((one,))
        for second in targets((other,))
        if first.tensor == second.tensor
    )


def _lie_apart(one: Operand, other: Operand) -> bool:
    """Whether the cells of two operands have other remainders in a dimension, whatever their variables are."""
    if one.shape != other.shape or one.lookups or other.lookups:
        return False
    for first, second in zip(one.index, other.index, strict=True):
        step = gcd(*(value for form in (first, second) for _, value in form.terms))
        if step > 1 and (first.const - second.const) % step:
            return True
    return False


def _joined(one: Statement, other: Statement) -> list[Statement]:
    """One loop for what both do in the rounds that both have, and what is left of the longer one."""
    assert isinstance(one, For)
    assert isinstance(other, For)
    rounds, name = min(_rounds(one), _rounds(other)), f"{one.variable.removesuffix(SUFFIX)}{SUFFIX}"
    both = [part for loop in (one, other) for part in bind_statements(loop.body, {loop.variable: Affine.name(name)})]
    merged = For(name, Bound.of(0), Bound.of(rounds), 1, tuple(both))
    rest = [replace(loop, low=Bound.of(rounds)) for loop in (one, other) if _rounds(loop) > rounds]
    return [merged, *rest]
