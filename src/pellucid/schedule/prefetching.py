"""Windows ask for what they read before they get there.

    before   for j: tile c: p[j, c] = max(x[2*j - 1, c], x[2*j, c], x[2*j + 1, c])
    after    the same, and with x[2*j, c] and x[2*j + 1, c] the cells 1.5 KiB further are brought into the first cache

A processor foresees what is read in order, but not far enough where much is computed with each line: gradients of max
pools, 3x3 pools and depthwise convolutions of stride 1 waited for memory, and take 0.65 to 0.85 of the time so. Every
line is asked for once, by the tap of a window that comes to it first. What is read cell by cell, and long sums, gained
nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    ELEMENT_BYTES,
    For,
    Nest,
    Operand,
    Prefetch,
    Statement,
    Tensor,
    Tile,
    Update,
    operands,
    statements,
)
from pellucid.schedule.rewrite import map_operands, names_of
from pellucid.schedule.scope import rounds

__all__ = ["multiplies", "with_prefetches"]

# Bytes between what is read and what is prefetched.
AHEAD = 1536


def multiplies(tile: Tile) -> bool:
    """Whether a tile sums products whose factors serve several of its points or all of its lanes: arithmetic bounds it,
    and `fetching.py` finds what it fetches."""
    points = {name for name, _ in tile.points}
    if tile.reduction != "sum" or tile.across or not points:
        return False
    names = [
        names_of(operand)
        for statement in statements(tile.body)
        if isinstance(statement, Update)
        for operand in operands(statement.value)
    ]
    return any(tile.lane not in own for own in names) and any(not points & own for own in names)


def with_prefetches(nest: Nest, far: Mapping[str, Tensor]) -> Nest:
    """The nest in which the windows of tiles that do not multiply prefetch what they read in order of `far` tensors."""

    def visit(statement: Statement, loops: tuple[For, ...]) -> Statement:
        match statement:
            case For():
                inside = tuple(visit(inner, (*loops, statement)) for inner in statement.body)
                return replace(statement, body=inside)
            case Tile() if not multiplies(statement):
                return _with_prefetches(statement, loops, far)
            case _:
                return statement

    return replace(nest, body=tuple(visit(statement, ()) for statement in nest.body))


def _with_prefetches(tile: Tile, loops: tuple[For, ...], far: Mapping[str, Tensor]) -> Tile:
    found = _prefetches([inner for inner in tile.body if isinstance(inner, Update)], tile, loops, far)

    def prefetching(operand: Operand) -> Operand:
        return replace(operand, prefetch=found[operand]) if operand in found else operand

    body = tuple(
        replace(inner, value=map_operands(inner.value, prefetching)) if isinstance(inner, Update) else inner
        for inner in tile.body
    )
    return replace(tile, body=body) if found else tile


def _prefetches(
    updates: Sequence[Update], tile: Tile, loops: tuple[For, ...], far: Mapping[str, Tensor]
) -> Mapping[Operand, Prefetch]:
    """By operand how far it prefetches, and with which points: those that come to a cell first. The lanes of a tile are
    neighbours in what is prefetched."""
    cells: dict[tuple[str, Affine], dict[int, tuple[Operand, int]]] = {}
    points = {name for name, _ in tile.points}
    for active, operand in ((update.active, operand) for update in updates for operand in operands(update.value)):
        if operand.tensor not in far or operand.lookups or operand.prefetch is not None:
            continue
        if operand.address.coefficient(tile.lane) != 1:
            continue
        for number in active if points & set(operand.address.names) else active[:1]:
            form = operand.address.substitute({name: Affine(at) for name, at in tile.point(number).items()})
            cells.setdefault((operand.tensor, form - form.const), {}).setdefault(form.const, (operand, number))
    chosen: dict[Operand, tuple[int, list[int]]] = {}
    for (name, form), found in cells.items():
        size = AHEAD // ELEMENT_BYTES[far[name].dtype]
        run = _run(form, loops, size)
        if not run:
            continue
        distance = -(-size // run[0].step) * run[0].step
        for const, (operand, number) in found.items():
            if not any(const + step in found for move in run for step in move.steps(max(found) - const)):
                chosen.setdefault(operand, (distance, []))[1].append(number)
    return {operand: Prefetch(distance, tuple(own), cache=1) for operand, (distance, own) in chosen.items()}


@dataclass(frozen=True)
class _Move:
    """A loop moves an address so often, by `step` elements a round."""

    step: int
    rounds: int

    def steps(self, most: int) -> range:
        """How far on later rounds are, up to `most` elements."""
        return range(self.step, min(self.step * (self.rounds - 1), most) + 1, self.step)


def _run(form: Affine, loops: Sequence[For], size: int) -> list[_Move]:
    """The innermost loops that go through an array in order, one going on where the one in it ends, for `size` elements
    at least; none where they do not."""
    run, reach = list[_Move](), 0
    for loop in reversed(loops):
        step = form.coefficient(loop.variable) * loop.step
        if not step:
            continue
        # Borders may stand between: at least half of what is prefetched is read.
        if (run and not reach <= step <= 2 * reach) or step > 2 * size:
            return []
        run.append(_Move(step, rounds(loop)))
        reach = step * rounds(loop)
        if reach >= size:
            return run
    return []
