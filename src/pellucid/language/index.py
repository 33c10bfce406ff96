"""The arithmetic of an index whose constants are bound: its linear form and the interval of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pellucid.errors import EquationError
from pellucid.language.syntax import Access, Binary, Expr, Name, Negative, Number

__all__ = ["Linear", "interval", "linear"]

LARGEST_EXPONENT = 64

Constants = Mapping[str, int | float]
Interval = tuple[int, int]


@dataclass(frozen=True)
class Linear:
    """`const + sum(coefficient * atom)`; an atom is a name, a lookup, a product of names, or a `//` or `%`.

    The divisor of a `//` or `%` atom is a `Number`. No coefficient is 0.
    """

    const: int
    terms: Mapping[Expr, int]

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """`self + factor * other`."""
        terms = dict(self.terms)
        for atom, value in other.terms.items():
            terms[atom] = terms.get(atom, 0) + factor * value
        return Linear(self.const + factor * other.const, {atom: value for atom, value in terms.items() if value})

    def times(self, factor: int) -> Linear:
        """`factor * self`."""
        return Linear(0, {}).plus(self, factor)

    def interval(self, constants: Constants, extents: Mapping[str, int]) -> Interval | None:
        """Bounds of the value, inclusive, over axes of those extents; None where a term has none."""
        low = high = self.const
        for atom, value in self.terms.items():
            span = _atom_interval(atom, constants, extents)
            if span is None:
                return None
            low += value * span[value < 0]
            high += value * span[value > 0]
        return low, high


def interval(index: Expr, constants: Constants, extents: Mapping[str, int]) -> Interval | None:
    """Bounds of an index, inclusive, over axes of those extents; None where it is open or looked up."""
    form = linear(index, constants)
    return None if form is None else form.interval(constants, extents)


def linear(index: Expr, constants: Constants) -> Linear | None:
    """The linear form of an index; None where it holds a float or something that no index holds.

    EquationError where it divides by zero.
    """
    if isinstance(index, Number):
        return Linear(index.value, {}) if isinstance(index.value, int) else None
    if isinstance(index, Name):
        value = constants.get(index.name)
        if value is None:
            return Linear(0, {index: 1})
        return Linear(value, {}) if isinstance(value, int) else None
    if isinstance(index, Access):
        return Linear(0, {index: 1})
    if isinstance(index, Negative):
        operand = linear(index.operand, constants)
        return None if operand is None else operand.times(-1)
    if isinstance(index, Binary):
        left, right = linear(index.left, constants), linear(index.right, constants)
        return None if left is None or right is None else _binary(index, left, right)
    return None


def _binary(index: Binary, left: Linear, right: Linear) -> Linear | None:
    if index.op in ("+", "-"):
        return left.plus(right, 1 if index.op == "+" else -1)
    if index.op == "*":
        if not right.terms:
            return left.times(right.const)
        return right.times(left.const) if not left.terms else Linear(0, {index: 1})
    if index.op in ("//", "%") and not right.terms:
        return _divide(index, left, right.const)
    if index.op == "**" and not left.terms and not right.terms and 0 <= right.const <= LARGEST_EXPONENT:
        return Linear(left.const**right.const, {})
    return None


def _divide(index: Binary, left: Linear, divisor: int) -> Linear:
    """`(k*a + c) // k -> a + c // k` and `(k*a + c) % k -> c % k`; anything else is an atom."""
    if divisor == 0:
        raise EquationError(f"an index divides by zero: `{index.op}` by 0", index.span)
    if all(value % divisor == 0 for value in left.terms.values()):
        if index.op == "%":
            return Linear(left.const % divisor, {})
        return Linear(left.const // divisor, {atom: value // divisor for atom, value in left.terms.items()})
    return Linear(0, {Binary(index.op, index.left, Number(divisor), index.span): 1})


def _atom_interval(atom: Expr, constants: Constants, extents: Mapping[str, int]) -> Interval | None:
    if isinstance(atom, Name):
        extent = extents.get(atom.name)
        return None if extent is None else (0, extent - 1)
    if not isinstance(atom, Binary):
        return None
    left = interval(atom.left, constants, extents)
    if isinstance(atom.right, Number) and isinstance(atom.right.value, int) and atom.op in ("//", "%"):
        return _division_interval(atom.op, left, atom.right.value)
    right = interval(atom.right, constants, extents)
    if atom.op != "*" or left is None or right is None:
        return None
    corners = [a * b for a in left for b in right]
    return min(corners), max(corners)


def _division_interval(operator: str, left: Interval | None, divisor: int) -> Interval | None:
    if operator == "%":
        if left is not None and divisor > 0 and left[0] >= 0 and left[1] < divisor:
            return left
        return (0, divisor - 1) if divisor > 0 else (divisor + 1, 0)
    if left is None:
        return None
    ends = left[0] // divisor, left[1] // divisor
    return min(ends), max(ends)
