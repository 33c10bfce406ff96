"""The matrices of Toom and Cook: short correlations by evaluation at points, exactly.

For `y[o] = sum(s) x[o+s] * w[s]` with m outputs and r taps, and n = m + r - 1 points, the last of them infinity,

    y = A (G w * B x)        A is m x n, G is n x r, B is n x n, `*` is cell by cell

needs n products instead of m * r. `G w` is the polynomial w at the points, A is the transpose of evaluation, and B that
of interpolation. The finite points p_0 .. p_{n-2} are any distinct rational numbers:

    A[o, j] = p_j ** o            G[j, s] = p_j ** s / N_j         N_j = product over l != j of (p_j - p_l)
    B[j, :] = coefficients of product over l != j of (z - p_l)
    infinity:   A[m-1, n-1] = G[n-1, r-1] = 1, 0 elsewhere         B[n-1, :] = coefficients of product of (z - p_l)

Where an axis takes steps, `y[o] = sum(s) x[S*o+s] * w[s]` or `y[o] = sum(s) x[o+S*s] * w[s]`, the cells of x fall into
S residues, and so do the taps of the first and the outputs of the second. Each residue is a correlation of its own
without steps, so the matrices are blocks. A tile of m outputs and 3 taps at S = 2 needs 2m + 1 products.

Sources: S. Winograd, *Arithmetic Complexity of Computations* (1980); A. Lavin and S. Gray, *Fast Algorithms for
Convolutional Neural Networks* (2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pellucid.errors import ArgumentError

__all__ = ["Matrix", "Transforms", "cells", "default_points", "largest", "matrices", "residues"]

Matrix = tuple[tuple[Fraction, ...], ...]
Rational = int | Fraction

# Zero, then pairs +-p, so that rows of B share their even and odd halves; p and 1/p together, so that the ends of a row
# are 1. Which of such sets rounds least was measured: `tools/winograd_accuracy.py`, `docs/winograd.md`.
_UP_TO_5 = tuple(Fraction(*p) for p in ((0, 1), (1, 1), (-1, 1), (-1, 2)))
_FOR_6 = tuple(Fraction(*p) for p in ((0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2)))
_UP_TO_8 = tuple(Fraction(*p) for p in ((0, 1), (1, 2), (-1, 2), (2, 1), (-2, 1), (1, 1), (-1, 1)))


@dataclass(frozen=True)
class Transforms:
    """`outputs` is A (m x n), `taps` is G (n x r), `data` is B (n x cells); rows of exact numbers."""

    outputs: Matrix
    taps: Matrix
    data: Matrix


def default_points(cells: int) -> tuple[Fraction, ...]:
    """The finite points for tiles of `cells` = m + r - 1 input cells: of those tried, the ones that round least.

    ArgumentError below 1 and above 8: beyond that float32 keeps too few digits.
    """
    if not 1 <= cells <= 8:
        raise ArgumentError(f"`cells` (={cells}) must be between 1 and 8: more points lose too many digits")
    return (_UP_TO_5 if cells < 6 else _FOR_6 if cells == 6 else _UP_TO_8)[: cells - 1]


def residues(outputs: int, taps: int, steps: tuple[int, int] = (1, 1)) -> list[tuple[range, range]]:
    """The outputs and the taps of each correlation without steps that one with `steps` along outputs and taps falls
    into; one of the steps is 1. ArgumentError for sizes and steps below 1, and for two steps above 1."""
    for name, size in (("outputs", outputs), ("taps", taps)):
        if size < 1:
            raise ArgumentError(f"`{name}` (={size}) must be 1 or more")
    of_outputs, of_taps = steps
    if min(steps) != 1:
        raise ArgumentError(f"`steps` (={of_outputs}, {of_taps}) must be 1 or more, and one of them 1")
    found = [
        (range(first if of_taps > 1 else 0, outputs, of_taps), range(first if of_outputs > 1 else 0, taps, of_outputs))
        for first in range(max(steps))
    ]
    return [(own, other) for own, other in found if own and other]


def largest(parts: Sequence[tuple[range, range]]) -> int:
    """The points of the largest residue, infinity among them."""
    return max(len(own) + len(other) - 1 for own, other in parts)


def cells(outputs: int, taps: int, steps: tuple[int, int] = (1, 1)) -> int:
    """The cells of the data under so many outputs and taps."""
    return steps[0] * (outputs - 1) + steps[1] * (taps - 1) + 1


def matrices(
    outputs: int,
    taps: int,
    points: Sequence[Rational] | None = None,
    *,
    steps: tuple[int, int] = (1, 1),
    divide_outputs: bool = False,
) -> Transforms:
    """The matrices for `outputs` outputs, `taps` taps and those finite points; infinity is added.

    Without `points` those of `default_points`. With `steps` along outputs and taps there are blocks, and of the points
    each has as many of the first as it needs. B has rows with the leading coefficient 1: they are integers where the
    points are, and the rows of a pair +-p differ in the signs of every other entry. The denominators N_j stand in G, or
    in A with `divide_outputs`; they belong where the fewest numbers are transformed. ArgumentError for sizes and steps
    below 1, two steps above 1, and points that are not as many distinct ones as the largest block needs.
    """
    parts = residues(outputs, taps, steps)
    most, width = largest(parts) - 1, cells(outputs, taps, steps)
    exact = None if points is None else [Fraction(point) for point in points]
    if exact is not None and (len(exact) != most or len(set(exact)) != most):
        listed = ", ".join(str(point) for point in exact)
        message = f"`points` (={listed}) must be {most} distinct numbers for {outputs} outputs and {taps} taps"
        raise ArgumentError(message)
    columns, rows, windows = list[list[Fraction]](), list[tuple[Fraction, ...]](), list[tuple[Fraction, ...]]()
    for number, (own, other) in enumerate(parts):
        count = len(own) + len(other) - 1
        use = default_points(count) if exact is None else exact[: count - 1]
        block = _block(len(own), len(other), use, divide_outputs=divide_outputs)
        columns += _spread(list(zip(*block.outputs, strict=True)), own, outputs)
        rows += map(tuple, _spread(block.taps, other, taps))
        windows += map(tuple, _spread(block.data, range(number, width, max(steps)), width))
    return Transforms(tuple(zip(*columns, strict=True)), tuple(rows), tuple(windows))


def _spread(rows: Sequence[Sequence[Fraction]], places: range, size: int) -> list[list[Fraction]]:
    """The rows with their entries at `places` of `size`, 0 elsewhere."""
    spread = [[Fraction(0)] * size for _ in rows]
    for found, row in zip(spread, rows, strict=True):
        for place, entry in zip(places, row, strict=True):
            found[place] = entry
    return spread


def _block(outputs: int, taps: int, exact: Sequence[Fraction], *, divide_outputs: bool) -> Transforms:
    """The matrices without steps."""
    others = [[other for other in exact if other != point] for point in exact]
    norms = [_product(point - other for other in rest) for point, rest in zip(exact, others, strict=True)]
    outer = norms if divide_outputs else [Fraction(1)] * len(exact)
    inner = [Fraction(1)] * len(exact) if divide_outputs else norms
    ends = [Fraction(o == outputs - 1) for o in range(outputs)]
    return Transforms(
        tuple((*(p**o / n for p, n in zip(exact, outer, strict=True)), ends[o]) for o in range(outputs)),
        (
            *(tuple(p**s / n for s in range(taps)) for p, n in zip(exact, inner, strict=True)),
            tuple(Fraction(s == taps - 1) for s in range(taps)),
        ),
        (*((*_polynomial(rest), Fraction(0)) for rest in others), _polynomial(exact)),
    )


def _product(factors: Iterable[Fraction]) -> Fraction:
    result = Fraction(1)
    for factor in factors:
        result *= factor
    return result


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of the product of `z - root`, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return tuple(coefficients)
