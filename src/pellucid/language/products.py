"""A value at one point as a sum of products: the terms of an explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

from pellucid.errors import ArgumentError
from pellucid.language.render import to_text
from pellucid.language.scalar_functions import arithmetic
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Expr,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    map_children,
    walk,
)
from pellucid.language.values import MAX_TERMS, Cells, Environment, ValueUnknownError

__all__ = ["Factor", "Term", "expand", "is_plain", "number_text", "written_out"]


@dataclass(frozen=True)
class Factor:
    """The cell `tensor[index]`, counted from 0, and its value, None where it is not known.

    A scalar input has no index. A value that is neither sum nor product (`exp(x[0,3])`) is one factor, with its text
    as `tensor`. `divides`: the term is divided by it.
    """

    tensor: str
    index: tuple[int, ...]
    value: float | None
    divides: bool = False

    def text(self, base: int) -> str:
        """`x[0,3]`, with indices counted from `base`."""
        return f"{self.tensor}[{','.join(str(number + base) for number in self.index)}]" if self.index else self.tensor


@dataclass(frozen=True)
class Term:
    """`coefficient` times the factors; the coefficient is what constants and axes contribute, mostly 1."""

    coefficient: float
    factors: tuple[Factor, ...]

    @property
    def value(self) -> float | None:
        """The product, from left to right; None where a factor's value is not known."""
        product = self.coefficient
        for factor in self.factors:
            if factor.value is None:
                return None
            product = arithmetic("/", product, factor.value) if factor.divides else product * factor.value
        return product

    def text(self, base: int) -> str:
        """`2*w[1,1]*g[0,3]`, with indices counted from `base`."""
        return self._written([factor.text(base) for factor in self.factors])

    def numbers(self) -> str:
        """`2*4*(-1)`: the values in place of the factors, which must be known."""
        values = [factor.value for factor in self.factors if factor.value is not None]
        if len(values) == 1 and abs(self.coefficient) == 1 and not self.factors[0].divides:
            return f"{self.coefficient * values[0]:.6g}"
        return self._written([number_text(value) for value in values])

    def _written(self, texts: list[str]) -> str:
        prefix, suffix = _coefficient_texts(abs(self.coefficient))
        leads = bool(self.factors) and not self.factors[0].divides
        text = "" if leads and prefix == "1" else prefix
        for factor, written in zip(self.factors, texts, strict=True):
            text += ("/" if factor.divides else "*" if text else "") + written
        return ("-" if self.coefficient < 0 else "") + text + suffix


def number_text(value: float) -> str:
    """The value to six digits, in parentheses where it is negative."""
    text = f"{value:.6g}"
    return f"({text})" if text.startswith("-") else text


def is_plain(node: Expr, cells: Cells, point: Environment) -> bool:
    """Whether the value is made of constants and axes alone, and reads nothing."""
    return not any(
        isinstance(part, Access) or (isinstance(part, Name) and _is_input(part.name, cells, point))
        for part in walk(node)
    )


def expand(node: Expr, cells: Cells, point: Environment, outside: float, base: int) -> Iterator[Term]:
    """The terms whose sum is the value of `node` at `point`; none of them is 0 for reading outside an array.

    `outside` is what a read outside gives: the identity of the reduction around. `base` is where indices begin in the
    texts of factors that are neither cell nor scalar.
    """
    if is_plain(node, cells, point):
        value = cells.value(node, point, outside)
        if value != 0:
            yield Term(value, ())
    elif isinstance(node, Access):
        cell = cells.cell(node, point)
        if cells.inside(node, cell):
            yield Term(1, (Factor(node.tensor, cell, _known(node, cells, point, outside)),))
        elif outside != 0:
            yield Term(outside, ())
    elif isinstance(node, Negative):
        for term in expand(node.operand, cells, point, outside, base):
            yield Term(-term.coefficient, term.factors)
    elif isinstance(node, Binary) and node.op in ("+", "-"):
        yield from expand(node.left, cells, point, outside, base)
        yield from expand(Negative(node.right) if node.op == "-" else node.right, cells, point, outside, base)
    elif isinstance(node, Binary) and node.op == "*":
        yield from _product(node, cells, point, outside, base)
    elif isinstance(node, Binary) and node.op == "/":
        yield from _quotient(node, cells, point, outside, base)
    elif isinstance(node, Reduce) and node.op == "sum":
        for inner in cells.assignments(node, point):
            yield from expand(node.body, cells, inner, 0.0, base)
    elif isinstance(node, Bracket):
        if cells.holds(node.condition, point, outside):
            yield Term(1, ())
    else:
        yield Term(1, (_factor(node, cells, point, outside, base),))


def written_out(node: Node, cells: Cells, point: Environment, base: int) -> str:
    """The text of a value or condition at a point: axes and constants are numbers, indices are counted from `base`."""
    return to_text(_concrete(node, cells, point, base), compact=True)


def _product(node: Binary, cells: Cells, point: Environment, outside: float, base: int) -> Iterator[Term]:
    lefts = list(expand(node.left, cells, point, outside, base))
    # A left side without terms is 0: the right one need not be known.
    rights = list(expand(node.right, cells, point, outside, base)) if lefts else []
    if len(lefts) * len(rights) > MAX_TERMS:
        raise ArgumentError(f"an explanation has at most {MAX_TERMS} terms; this product has more")
    for left in lefts:
        for right in rights:
            yield Term(left.coefficient * right.coefficient, left.factors + right.factors)


def _quotient(node: Binary, cells: Cells, point: Environment, outside: float, base: int) -> Iterator[Term]:
    terms = expand(node.left, cells, point, outside, base)
    if is_plain(node.right, cells, point):
        divisor = cells.value(node.right, point, outside)
        for term in terms:
            yield Term(arithmetic("/", term.coefficient, divisor), term.factors)
        return
    below = replace(_factor(node.right, cells, point, outside, base), divides=True)
    for term in terms:
        yield Term(term.coefficient, (*term.factors, below))


def _factor(node: Expr, cells: Cells, point: Environment, outside: float, base: int) -> Factor:
    """A value that is no sum of products, as one factor."""
    value = _known(node, cells, point, outside)
    if isinstance(node, Name):
        return Factor(node.name, (), value)
    if isinstance(node, Access):
        cell = cells.cell(node, point)
        if cells.inside(node, cell):
            return Factor(node.tensor, cell, value)
    text = written_out(node, cells, point, base)
    closed = isinstance(node, Call | Access) or (isinstance(node, Binary) and node.op == "**")
    return Factor(text if closed else f"({text})", (), value)


def _known(node: Expr, cells: Cells, point: Environment, outside: float) -> float | None:
    try:
        return cells.value(node, point, outside)
    except ValueUnknownError:
        return None


def _is_input(name: str, cells: Cells, point: Environment) -> bool:
    return name not in point and name not in cells.constants and name not in cells.extents


def _concrete(node: Node, cells: Cells, point: Environment, base: int) -> Node:
    if isinstance(node, Name):
        if node.name in point:
            return Number(point[node.name])
        return Number(cells.constants[node.name]) if node.name in cells.constants else node
    if isinstance(node, Access):
        return Access(node.tensor, tuple(_concrete_index(index, cells, point, base) for index in node.indices))
    return map_children(node, lambda child: _concrete(child, cells, point, base))


def _concrete_index(index: Expr, cells: Cells, point: Environment, base: int) -> Expr:
    """The index as a number; one with an axis that is still open, or a lookup of unknown value, as an expression."""
    try:
        return Number(cells.integer(index, point) + base)
    except ValueUnknownError:
        rest = _concrete(index, cells, point, base)
        assert not isinstance(rest, Compare | Logic)
        return Binary("+", rest, Number(base)) if base else rest


def _coefficient_texts(size: float) -> tuple[str, str]:
    """What stands before the factors and behind them: a quarter is `/4`, which says more than 0.25."""
    inverse = 1 / size if size else inf
    if size < 1 and inverse < 1e9 and inverse == round(inverse):
        return "1", f"/{round(inverse)}"
    return f"{size:.6g}", ""
