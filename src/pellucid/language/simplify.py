"""Exact algebra on syntax trees.

Every rule keeps the value for finite numbers to the last bit: nothing is reassociated, and numbers are folded only
where the result is exact. Written *before -> after*:

    0 + x, x - 0, 1 * x, x / 1, x ** 1  -> x         0 * x -> 0         x ** 0 -> 1         x + x -> 2 * x
    --x -> x      x + -y -> x - y      -x * y -> -(x * y)      0 - x -> -x
    where(true, a, b) -> a             [true] -> 1      sum(s) 0 -> 0       sum(s : false) x -> 0

`product` is the other half: it writes factors that a derivation collected as one flat product.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import TypeVar

from pellucid.language.syntax import (
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Logic,
    Negative,
    Node,
    Number,
    Reduce,
    map_children,
)

__all__ = ["FALSE", "TRUE", "Product", "simplify", "truth"]

ZERO = Number(0)
ONE = Number(1)
TRUE = Compare("==", ZERO, ZERO)
FALSE = Compare("!=", ZERO, ZERO)

_COMPARISONS: dict[str, Callable[[int | float, int | float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXACT: dict[str, Callable[[Fraction, Fraction], Fraction | int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_LARGEST_POWER = 64

AnyNode = TypeVar("AnyNode", bound=Node)


def simplify(node: AnyNode) -> AnyNode:
    """The same value, written shorter; the rules stand at the top of this file.

    An expression gives an expression and a condition a condition: known conditions become `TRUE` or `FALSE`.
    """
    return _simplify(node)  # type: ignore[return-value]


def _simplify(node: Node) -> Node:
    node = map_children(node, _simplify)
    match node:
        case Negative():
            return _negative(node)
        case Binary():
            return _binary(node)
        case Bracket(condition):
            known = truth(condition)
            return node if known is None else Number(int(known), node.span)
        case Call("where", (condition, first, second)) if isinstance(condition, Compare | Logic):
            return _where(node, condition, first, second)
        case Reduce():
            return _reduce(node)
        case Compare():
            known = truth(node)
            return node if known is None else (TRUE if known else FALSE)
        case Logic():
            return _logic(node)
        case _:
            return node


def truth(condition: Condition) -> bool | None:
    """Whether a simplified condition is known to hold or to fail; None where it depends on anything."""
    if isinstance(condition, Compare) and isinstance(condition.left, Number) and isinstance(condition.right, Number):
        return _COMPARISONS[condition.op](condition.left.value, condition.right.value)
    return None


def _negative(node: Negative) -> Expr:
    match node.operand:
        case Negative(operand):
            return operand
        case Number(value):
            return Number(-value, node.span) if value else ZERO
        case Binary("-", left, right):
            # -(x - y) = y - x to the bit, up to the sign of a zero
            return Binary("-", right, left, node.span)
        case _:
            return node


def _binary(node: Binary) -> Expr:
    left, right = node.left, node.right
    if isinstance(left, Number) and isinstance(right, Number):
        folded = _fold(node.op, left.value, right.value)
        return node if folded is None else Number(folded, node.span)
    match node.op:
        case "+":
            return _sum(node, left, right)
        case "-":
            return _difference(node, left, right)
        case "*":
            return _times(node, left, right)
        case "/":
            return _quotient(node, left, right)
        case "**":
            return left if _is(right, 1) else ONE if _is(right, 0) else node
        case "//":
            return left if _is(right, 1) else node
        case _:
            return node


def _sum(node: Binary, left: Expr, right: Expr) -> Expr:
    if _is(left, 0):
        return right
    if _is(right, 0):
        return left
    if isinstance(right, Negative):
        return _difference(replace(node, op="-"), left, right.operand)
    if isinstance(left, Negative):
        return _difference(replace(node, op="-"), right, left.operand)
    if isinstance(right, Number) and right.value < 0:
        return Binary("-", left, Number(-right.value, right.span), node.span)
    if left == right:
        return Binary("*", Number(2), left, node.span)
    return _operation(node, left, right)


def _difference(node: Binary, left: Expr, right: Expr) -> Expr:
    if _is(right, 0):
        return left
    if _is(left, 0):
        return _negative(Negative(right, node.span))
    if isinstance(right, Negative):
        return _sum(replace(node, op="+"), left, right.operand)
    if isinstance(right, Number) and right.value < 0:
        return Binary("+", left, Number(-right.value, right.span), node.span)
    return _operation(node, left, right)


def _times(node: Binary, left: Expr, right: Expr) -> Expr:
    if _is(left, 0) or _is(right, 0):
        return ZERO
    if _is(left, 1):
        return right
    if _is(right, 1):
        return left
    if isinstance(left, Negative):
        return _negative(Negative(_times(node, left.operand, right)))
    if isinstance(right, Negative):
        return _negative(Negative(_times(node, left, right.operand)))
    if _is(left, -1):
        return _negative(Negative(right, node.span))
    if _is(right, -1):
        return _negative(Negative(left, node.span))
    return _operation(node, left, right)


def _quotient(node: Binary, left: Expr, right: Expr) -> Expr:
    if _is(right, 1):
        return left
    if isinstance(left, Negative):
        return _negative(Negative(_quotient(node, left.operand, right)))
    if isinstance(right, Negative):
        return _negative(Negative(_quotient(node, left, right.operand)))
    return _operation(node, left, right)


def _operation(node: Binary, left: Expr, right: Expr) -> Binary:
    return node if left is node.left and right is node.right else replace(node, left=left, right=right)


def _where(node: Call, condition: Condition, first: Node, second: Node) -> Node:
    known = truth(condition)
    if known is not None:
        return first if known else second
    return first if first == second else node


def _reduce(node: Reduce) -> Expr:
    known = [truth(condition) for condition in node.conditions]
    if node.op == "sum" and (_is(node.body, 0) or False in known):
        return ZERO
    if True in known:
        remaining = tuple(part for part, holds in zip(node.conditions, known, strict=True) if not holds)
        node = replace(node, conditions=remaining)
    return node


def _logic(node: Logic) -> Condition:
    known = [truth(operand) for operand in node.operands]
    if node.op == "not":
        return node if known[0] is None else (FALSE if known[0] else TRUE)
    absorbing = node.op == "or"
    if absorbing in known:
        return TRUE if absorbing else FALSE
    remaining = tuple(operand for operand, holds in zip(node.operands, known, strict=True) if holds is None)
    if len(remaining) < 2:
        return remaining[0] if remaining else (FALSE if absorbing else TRUE)
    return replace(node, operands=remaining)


def _is(node: Node, value: int) -> bool:
    return isinstance(node, Number) and node.value == value


def _fold(op: str, left: int | float, right: int | float) -> int | float | None:
    """`left op right` where that is one number exactly; an integer where both are (`6 / 2` is 3, `1 / 2` is None)."""
    if not (isfinite(left) and isfinite(right)) or (op in ("/", "//", "%") and right == 0):
        return None
    integers = isinstance(left, int) and isinstance(right, int)
    if op == "**":
        if not isinstance(right, int) or not 0 <= right <= _LARGEST_POWER:
            return None
        exact: Fraction | int = Fraction(left) ** right
    else:
        exact = _EXACT[op](Fraction(left), Fraction(right))
    if integers:
        return int(exact) if exact == int(exact) else None
    number = float(exact)
    return number if isfinite(number) and Fraction(number) == exact else None


@dataclass(frozen=True)
class Product:
    """`coefficient * numerators[0] * ... / denominators[0] / ...`, flat, in the order in which factors came."""

    coefficient: int | float = 1
    numerators: tuple[Expr, ...] = ()
    denominators: tuple[Expr, ...] = ()

    @staticmethod
    def of(node: Expr) -> Product:
        """An expression taken apart at its multiplications, divisions and signs."""
        match node:
            case Number(value):
                return Product(value)
            case Negative(operand):
                return Product.of(operand).scaled(-1)
            case Binary("*", left, right):
                return Product.of(left).times(Product.of(right))
            case Binary("/", left, right):
                return Product.of(left).over(right)
            case _:
                return Product(1, (node,))

    @staticmethod
    def all(factors: Iterable[Expr]) -> Product:
        """The product of several expressions."""
        result = Product()
        for factor in factors:
            result = result.times(Product.of(factor))
        return result

    def scaled(self, number: int | float) -> Product:
        """The product times a number; a number that does not fold exactly is kept as a factor of its own."""
        folded = _fold("*", self.coefficient, number)
        if folded is None:
            return replace(self, numerators=(*self.numerators, Number(number)))
        return replace(self, coefficient=folded)

    def times(self, other: Product) -> Product:
        """Both products' factors, this one's first; a bracket, being 0 or 1, stands once."""
        new = tuple(node for node in other.numerators if not (isinstance(node, Bracket) and node in self.numerators))
        joined = Product(self.coefficient, (*self.numerators, *new), (*self.denominators, *other.denominators))
        return joined.scaled(other.coefficient)

    def over(self, divisor: Expr) -> Product:
        """The product divided by an expression, whose sign and exact reciprocal numbers join the coefficient."""
        parts = Product.of(divisor)
        if parts.denominators:
            return self._divided(divisor)
        result = self
        for factor in parts.numerators:
            result = replace(result, denominators=(*result.denominators, factor))
        return result if parts.coefficient == 1 else result._divided(Number(parts.coefficient))

    def _divided(self, divisor: Expr) -> Product:
        if isinstance(divisor, Number):
            folded = _fold("/", self.coefficient, divisor.value)
            if folded is not None:
                return replace(self, coefficient=folded)
            if divisor.value < 0:
                return self.scaled(-1)._divided(Number(-divisor.value))
        return replace(self, denominators=(*self.denominators, divisor))

    @property
    def negative(self) -> bool:
        """Whether the coefficient is below 0, so that the product is written as a difference."""
        return self.coefficient < 0

    def expression(self) -> Expr:
        """`c * a * b / d`, simplified; a negative coefficient becomes a sign in front."""
        if self.coefficient == 0:
            return ZERO
        size = abs(self.coefficient)
        factors = [*([] if size == 1 and self.numerators else [Number(size)]), *self.numerators]
        result: Expr = factors[0]
        for factor in factors[1:]:
            result = Binary("*", result, factor)
        for divisor in self.denominators:
            result = Binary("/", result, divisor)
        return simplify(Negative(result) if self.negative else result)
