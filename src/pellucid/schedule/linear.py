"""Known matrices applied to values: adds and multiply-adds, with what rows share computed once.

    before:  rows of numbers, values x0 .. xn              after:  one value a row

Greedily: the pair of terms that stands with one ratio in most rows becomes a value of its own, and again, until no pair
stands in two rows. For the six-point transforms of Winograd this finds the 12 operations that are known for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from pellucid.schedule.nest import Apply, Constant, Value

__all__ = ["Matrix", "combine", "operations"]

Matrix = tuple[tuple[int | float | Fraction, ...], ...]

ZERO = Constant(0.0)

Row = dict[int, Fraction]


@dataclass(frozen=True)
class _Program:
    """Steps `(first, ratio, second)`, each a new term `first + ratio * second`, and for every row its terms."""

    steps: tuple[tuple[int, Fraction, int], ...]
    rows: tuple[tuple[tuple[int, Fraction], ...], ...]


def combine(matrix: Matrix, values: Sequence[Value]) -> list[Value]:
    """`matrix @ values`, one value a row. Equal parts are one object; values that are the constant 0 drop out."""
    program = _program(matrix, tuple(value != ZERO for value in values))
    terms = list(values)
    for first, ratio, second in program.steps:
        terms.append(_added(terms[first], ratio, terms[second]))
    return [_total(row, terms) for row in program.rows]


def operations(values: Sequence[Value]) -> int:
    """How many functions are applied in values, equal ones once."""
    found: dict[int, Value] = {}
    open_ = list(values)
    while open_:
        value = open_.pop()
        if isinstance(value, Apply) and id(value) not in found:
            found[id(value)] = value
            open_ += value.arguments
    return len(found)


@lru_cache(maxsize=256)
def _program(matrix: Matrix, present: tuple[bool, ...]) -> _Program:
    rows: list[Row] = [
        {place: Fraction(number) for place, number in enumerate(row) if number and present[place]} for row in matrix
    ]
    steps: list[tuple[int, Fraction, int]] = []
    while (best := _most_common_pair(rows)) is not None:
        first, second, ratio = best
        sharing = [row for row in rows if first in row and second in row and row[second] / row[first] == ratio]
        # Where it can be, the part without a factor is the one that has none in the rows.
        if any(abs(row[second]) == 1 for row in sharing):
            first, second, ratio = second, first, 1 / ratio
        for row in sharing:
            row[len(present) + len(steps)] = row.pop(first)
            del row[second]
        steps.append((first, ratio, second))
    # A row begins with a term that has no factor, where there is one.
    order = [sorted(row.items(), key=lambda term: (term[1] != 1, term[0])) for row in rows]
    return _Program(tuple(steps), tuple(tuple(row) for row in order))


def _most_common_pair(rows: Sequence[Row]) -> tuple[int, int, Fraction] | None:
    """The pair of terms, and the ratio of the second to the first, that most rows have; None where no two have one."""
    counts: Counter[tuple[int, int, Fraction]] = Counter()
    for row in rows:
        for first, second in combinations(sorted(row), 2):
            counts[first, second, row[second] / row[first]] += 1
    best = max(counts, key=lambda pair: counts[pair], default=None)
    return best if best is not None and counts[best] > 1 else None


def _added(total: Value, factor: Fraction, term: Value) -> Value:
    """`total + factor * term`."""
    if abs(factor) == 1:
        return Apply("add" if factor == 1 else "sub", (total, term))
    return Apply("fma", (Constant(float(factor)), term, total))


def _total(row: Sequence[tuple[int, Fraction]], terms: Sequence[Value]) -> Value:
    """The sum of a row."""
    if not row:
        return ZERO
    (start, factor), *rest = row
    total = terms[start]
    if factor == -1:
        total = Apply("neg", (total,))
    elif factor != 1:
        total = Apply("mul", (Constant(float(factor)), total))
    for place, number in rest:
        total = _added(total, number, terms[place])
    return total
