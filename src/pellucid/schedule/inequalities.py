"""Integer inequalities: how far an affine form reaches where a set of others is not negative.

An inequality `form >= 0` is the `Affine` form itself. Names are eliminated one by one (Fourier and Motzkin): of every
pair of inequalities that bound a name from below and from above, the combination without the name remains. Each
combination is divided by the common divisor of its coefficients, its constant rounded down, which integers allow.
Rounding apart the result is exact; where coefficients over 1 meet it may lie above the truth, never below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd, inf
from typing import TypeAlias

from pellucid.language.affine import Affine

__all__ = ["largest", "related", "smallest"]

# Inequalities by their terms; of several that differ in the constant alone, only the strictest matters.
Rows: TypeAlias = dict[tuple[tuple[str, int], ...], int]

# No identifier, so no name of a nest.
_OBJECTIVE = "?"

# Elimination can square the number of inequalities at each step; loop nests stay far below this.
_MOST_ROWS = 2000


def largest(form: Affine, inequalities: Iterable[Affine]) -> float:
    """The largest value of `form` where all inequalities hold: an integer, or one above it that is not reached.

    Infinity where the form is not bounded, minus infinity where the inequalities contradict each other.
    """
    rows: Rows = {}
    for inequality in related(form.names, list(inequalities)):
        _add(rows, inequality)
    # objective <= form: whatever bounds the objective from above once all else is gone bounds the form.
    _add(rows, form - Affine.name(_OBJECTIVE))
    while (name := _next_name(rows)) is not None:
        rows = _without(name, rows)
        if len(rows) > _MOST_ROWS:
            return inf
    best = inf
    for terms, const in rows.items():
        if terms:
            best = min(best, const // -terms[0][1])
        elif const < 0:
            return -inf
    return best


def smallest(form: Affine, inequalities: Iterable[Affine]) -> float:
    """The smallest value of `form` where all inequalities hold, or one below it; as `largest`."""
    return -largest(-form, inequalities)


def related(names: Iterable[str], inequalities: Sequence[Affine]) -> list[Affine]:
    """The inequalities that say something about `names`, directly or through others."""
    known, chosen, waiting = set(names), list[Affine](), list(inequalities)
    while True:
        near = [row for row in waiting if not known.isdisjoint(row.names) or not row.terms]
        if not near:
            return chosen
        chosen += near
        known.update(name for row in near for name in row.names)
        waiting = [row for row in waiting if row not in near]


def _add(rows: Rows, row: Affine) -> None:
    divisor = gcd(*(value for _, value in row.terms)) or 1
    terms = tuple((name, value // divisor) for name, value in row.terms)
    const = row.const // divisor
    rows[terms] = min(const, rows.get(terms, const))


def _next_name(rows: Rows) -> str | None:
    """The name whose elimination makes the fewest combinations."""
    below: dict[str, int] = {}
    above: dict[str, int] = {}
    for terms in rows:
        for name, value in terms:
            counts = below if value > 0 else above
            counts[name] = counts.get(name, 0) + 1
    names = sorted((below.keys() | above.keys()) - {_OBJECTIVE})
    return min(names, key=lambda name: below.get(name, 0) * above.get(name, 0), default=None)


def _without(name: str, rows: Rows) -> Rows:
    """The inequalities that follow from `rows` and do not speak of `name`."""
    rest: Rows = {}
    below: list[tuple[int, Affine]] = []
    above: list[tuple[int, Affine]] = []
    for terms, const in rows.items():
        row = Affine(const, terms)
        value = row.coefficient(name)
        if value > 0:
            below.append((value, row))
        elif value < 0:
            above.append((-value, row))
        else:
            _add(rest, row)
    for low_value, low in below:
        for high_value, high in above:
            common = gcd(low_value, high_value)
            _add(rest, low * (high_value // common) + high * (low_value // common))
    return rest
