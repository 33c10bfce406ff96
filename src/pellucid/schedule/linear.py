"""Known matrices applied to values: adds and multiply-adds, with what rows share computed once.

    before:  rows of numbers, values x0 .. xn              after:  one value a row

Greedily: the pair of terms that stands with one ratio in most rows becomes a value of its own, and again, until no pair
stands in two rows. For the six-point transforms of Winograd this finds the 12 operations that are known for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

from pellucid.schedule.nest import Apply, Constant, Value

__all__ = ["combine", "operations"]

ZERO = Constant(0.0)

Row = dict[int, Fraction]


def combine(matrix: Sequence[Sequence[int | float | Fraction]], values: Sequence[Value]) -> list[Value]:
    """`matrix @ values`, one value a row. Equal parts are one object; values that are the constant 0 drop out."""
    terms = list(values)
    rows: list[Row] = [
        {place: Fraction(number) for place, number in enumerate(row) if number and terms[place] != ZERO}
        for row in matrix
    ]
    while (best := _most_common_pair(rows)) is not None:
        first, second, ratio = best
        # Where it can be, the part without a factor is the one that has none in the rows.
        if any(abs(row[second]) == 1 for row in rows if row.get(second) and row.get(first)):
            first, second, ratio = second, first, 1 / ratio
        terms.append(_added(terms[first], ratio, terms[second]))
        for row in rows:
            if first in row and second in row and row[second] / row[first] == ratio:
                row[len(terms) - 1] = row.pop(first)
                del row[second]
    return [_total(row, terms) for row in rows]


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


def _total(row: Row, terms: Sequence[Value]) -> Value:
    """The sum of a row: begins with a term that has no factor, where there is one."""
    if not row:
        return ZERO
    start = min(row, key=lambda place: (row[place] != 1, place))
    factor, total = row[start], terms[start]
    if factor == -1:
        total = Apply("neg", (total,))
    elif factor != 1:
        total = Apply("mul", (Constant(float(factor)), total))
    for place in sorted(row):
        if place != start:
            total = _added(total, row[place], terms[place])
    return total
