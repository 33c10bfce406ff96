"""A scheduled convolution with a planted fault in its nest; as a script it runs one on arrays between forbidden pages.

    python planted_convolution.py FAULT start|end

The faults are those that a scheduler could make: a loop of one round too many, a border that begins a cell early, a
point of the tile that is active in the border, a vector with lanes that do not exist, a panel copied past its end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from pellucid.emit import compile_program
from pellucid.schedule.nest import Bound, For, Nest, Program, Statement, Tile, Update
from schedule.cases import AVX2, Case, case, with_tiny_caches
from schedule.pages import Sides, run_between_pages

__all__ = ["CONVOLUTION", "FAULTS", "planted", "program"]

Change = Callable[[Statement], Statement]

CONVOLUTION: Case = case(
    "z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[k,s,t,c]", {"x": (1, 6, 7, 8), "w": (21, 3, 3, 8)}
)


def program() -> Program:
    """The convolution as it is scheduled: a panel of the kernel, tiles with borders, a vector that ends early."""
    return CONVOLUTION.program(with_tiny_caches(AVX2))


def _longer(variable: str) -> Change:
    """One round too many of the loops over `variable`."""

    def change(statement: Statement) -> Statement:
        if not isinstance(statement, For) or statement.variable != variable:
            return statement
        terms = tuple((form + statement.step * divisor, divisor) for form, divisor in statement.high.terms)
        return replace(statement, high=Bound(terms))

    return change


def _earlier(variable: str) -> Change:
    """The loops over `variable` begin a cell early."""

    def change(statement: Statement) -> Statement:
        if not isinstance(statement, For) or statement.variable != variable:
            return statement
        return replace(statement, low=Bound(tuple((form - divisor, divisor) for form, divisor in statement.low.terms)))

    return change


def _first_point_active(statement: Statement) -> Statement:
    """The first point of a tile takes part where the border leaves it out."""
    if not isinstance(statement, Update) or 0 in statement.active:
        return statement
    return replace(statement, active=(0, *statement.active))


def _whole_vectors(statement: Statement) -> Statement:
    """Vectors store lanes that do not exist."""
    if not isinstance(statement, Tile):
        return statement
    stores = tuple(replace(store, operand=replace(store.operand, guards=())) for store in statement.stores)
    return replace(
        statement, groups=tuple(replace(group, valid=group.width) for group in statement.groups), stores=stores
    )


# Fault -> the change, and the side of a buffer on which it leaves it.
FAULTS: dict[str, tuple[Change, str]] = {
    "a row too many": (_longer("i"), "end"),
    "the top border begins early": (_earlier("s"), "start"),
    "the bottom border ends late": (_longer("s"), "end"),
    "a point active in the border": (_first_point_active, "start"),
    "lanes that do not exist": (_whole_vectors, "end"),
    "a panel copied too far": (_longer("p.1"), "end"),
}


def planted(fault: str) -> Program:
    """The program with one fault in all its nests."""
    right = program()
    change = FAULTS[fault][0]
    wrong = replace(right, nests=tuple(Nest(nest.name, _changed(nest.body, change)) for nest in right.nests))
    assert wrong != right, f"no place for the fault: {fault}"
    return wrong


def _changed(body: tuple[Statement, ...], change: Change) -> tuple[Statement, ...]:
    result = list[Statement]()
    for statement in body:
        inside = (
            replace(statement, body=_changed(statement.body, change))
            if isinstance(statement, For | Tile)
            else statement
        )
        result.append(change(inside))
    return tuple(result)


def main(fault: str, side: Sides) -> None:
    """Run the convolution with a fault, unproved, between forbidden pages, and print that it survived."""
    run_between_pages(compile_program(planted(fault), proved=True), CONVOLUTION.arrays(), side)
    print("survived")


if __name__ == "__main__":
    main(sys.argv[1], "end" if sys.argv[2] == "end" else "start")
