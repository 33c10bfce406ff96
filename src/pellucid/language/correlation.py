"""Sums of products in which an output axis and a summed axis walk together through one dimension: correlations.

    z[n,i,k] = sum(s,c) x[n,i+s-1,c] * w[s,c,k]          the pair (i, s), in dimension 1 of x

Convolutions are such sums, and so are their gradients towards the input and towards the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pellucid.language.affine import Affine
from pellucid.language.binding import names_of
from pellucid.language.index_forms import read
from pellucid.language.render import to_text
from pellucid.language.simplify import Product
from pellucid.language.solve import Solved
from pellucid.language.syntax import Access, Reduce, walk

__all__ = ["Correlation", "Pair", "recognise"]


@dataclass(frozen=True)
class Pair:
    """An output axis and a summed axis that walk together through dimension `dimension` of the data; `is_turned` where
    one walks against the other, as in the gradient towards an input. One of them may take `steps`: (2, 1) is a stride
    of 2, (1, 2) a dilation."""

    output: str
    tap: str
    dimension: int
    is_turned: bool
    steps: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Correlation:
    """A sum of `coefficient * data * taps`: the reduction, its two accesses, and the pairs that move through `data`."""

    sum: Reduce
    coefficient: int | float
    data: Access
    taps: Access
    pairs: tuple[Pair, ...]

    def __str__(self) -> str:
        steps = " and ".join(f"{pair.output} walks with {pair.tap}" for pair in self.pairs)
        return f"{steps} in {self.data.tensor}"


def recognise(solved: Solved) -> Correlation | str:
    """The correlation that a formula is, or why it is none.

    The body holds one plain sum, of a product of two accesses: the data has an index `+-S*o +-r + number`, or
    `+-o +-S*r + number`, of an output axis o and a summed axis r that stand in no other index of it; the other access
    has r, in an index of its own, and not o.
    """
    formula = solved.formula
    reductions = [node for node in walk(formula.body) if isinstance(node, Reduce)]
    if len(reductions) != 1:
        return f"it has {len(reductions) or 'no'} reductions; the rule takes one sum"
    (reduction,) = reductions
    if reduction.op != "sum":
        return f"`{reduction.op}` is no sum"
    if reduction.conditions:
        return f"the sum has the condition `{to_text(reduction.conditions[0])}`"
    product = Product.of(reduction.body)
    factors = [factor for factor in product.numerators if isinstance(factor, Access)]
    if len(factors) != 2 or len(product.numerators) != 2 or product.denominators:
        return "what is summed is no product of two accesses"
    for factor in factors:
        if any(read(index, solved.extents) is None for index in factor.indices):
            return f"an index of {factor.tensor} is not affine"
    candidates: list[Correlation] = []
    reasons: list[str] = []
    for data, other in (factors, factors[::-1]):
        pairs = tuple(_pairs(solved, reduction, data, other, reasons))
        candidates.append(Correlation(reduction, product.coefficient, data, other, pairs))
    best = max(candidates, key=lambda found: len(found.pairs))
    if best.pairs:
        return best
    return "; ".join(reasons) or "no index adds an output axis and a summed axis"


def _pairs(solved: Solved, reduction: Reduce, data: Access, other: Access, reasons: list[str]) -> Iterable[Pair]:
    """The pairs in the dimensions of `data`; why a dimension with axes of both kinds is none goes to `reasons`."""
    outputs = names_of(solved.formula.output.indices)
    forms, others = ([read(index, solved.extents) or Affine() for index in access.indices] for access in (data, other))
    for dimension, form in enumerate(forms):
        moving = [name for name in form.names if name in outputs]
        summed = [name for name in form.names if name in reduction.axes]
        if not moving or not summed:
            continue
        index = f"index `{to_text(data.indices[dimension], compact=True)}` of {data.tensor}"
        steps = [(name, abs(value)) for name, value in form.terms if abs(value) != 1]
        if len(form.names) != 2:
            reasons.append(f"{index} has {len(form.names)} axes")
        elif len(steps) > 1:
            (one, first), (two, second) = steps
            reasons.append(f"{index} takes steps of {first} along {one} and of {second} along {two}")
        elif any(name in rest.names for at, rest in enumerate(forms) if at != dimension for name in form.names):
            reasons.append(f"an axis of {index} stands in another index too")
        elif any(moving[0] in rest.names for rest in others):
            reasons.append(f"{moving[0]} of {index} stands in {other.tensor} too")
        elif [rest.names for rest in others if summed[0] in rest.names] != [(summed[0],)]:
            reasons.append(f"{summed[0]} of {index} stands in no index of its own of {other.tensor}")
        else:
            one, two = form.coefficient(moving[0]), form.coefficient(summed[0])
            yield Pair(moving[0], summed[0], dimension, (one > 0) != (two > 0), (abs(one), abs(two)))
