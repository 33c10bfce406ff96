"""Formulas evaluated in exact rational numbers, cell by cell: the oracle of rewrites that hold exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from pellucid.language.solve import Solved
from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Compare,
    Condition,
    Expr,
    Logic,
    Name,
    Negative,
    Number,
    Reduce,
    walk,
)

Cell = tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """Rational numbers at the cells of a box; outside of it there are zeros."""

    shape: Cell
    cells: Mapping[Cell, Fraction]


def array(shape: Cell, values: list[int] | list[Fraction]) -> Array:
    """An array of values in row-major order."""
    cells = product(*(range(extent) for extent in shape))
    return Array(shape, {cell: Fraction(value) for cell, value in zip(cells, values, strict=True)})


def evaluate(solved: Solved, arrays: Mapping[str, Array]) -> Array:
    """The output of a formula made of sums, pointwise arithmetic, `max` and accesses."""
    output = solved.formula.output
    names = (node.name for index in output.indices for node in walk(index) if isinstance(node, Name))
    axes = tuple(dict.fromkeys(names))
    cells: dict[Cell, Fraction] = {}
    for point in product(*(range(solved.extents[axis]) for axis in axes)):
        scope = dict(zip(axes, point, strict=True))
        cell = tuple(_integer(index, scope) for index in output.indices)
        assert cell not in cells
        cells[cell] = _value(solved.formula.body, scope, solved.extents, arrays)
    shape = tuple(1 + max(cell[number] for cell in cells) for number in range(len(output.indices)))
    return Array(shape, cells)


def _value(node: Expr, scope: Mapping[str, int], extents: Mapping[str, int], arrays: Mapping[str, Array]) -> Fraction:
    match node:
        case Number(value):
            return Fraction(value)
        case Name(name):
            return Fraction(scope[name])
        case Access(tensor, indices):
            assert len(indices) == len(arrays[tensor].shape)
            return arrays[tensor].cells.get(tuple(_integer(index, scope) for index in indices), Fraction(0))
        case Negative(operand):
            return -_value(operand, scope, extents, arrays)
        case Binary(op, left, right):
            a = _value(left, scope, extents, arrays)
            return _combined(op, a, _value(right, scope, extents, arrays)) if a or op != "*" else a
        case Call("max", arguments):
            return max(_value(part, scope, extents, arrays) for part in arguments if not isinstance(part, _CONDITIONS))
        case Reduce("sum", axes, conditions, body):
            total = Fraction(0)
            for point in product(*(range(extents[axis]) for axis in axes)):
                inner = {**scope, **dict(zip(axes, point, strict=True))}
                if all(_holds(condition, inner) for condition in conditions):
                    total += _value(body, inner, extents, arrays)
            return total
        case _:
            raise NotImplementedError(node)


_CONDITIONS = (Compare, Logic)


def _holds(condition: Condition, scope: Mapping[str, int]) -> bool:
    assert isinstance(condition, Compare)
    left, right = _integer(condition.left, scope), _integer(condition.right, scope)
    assert condition.op in ("<", "==")
    return left < right if condition.op == "<" else left == right


def _integer(node: Expr, scope: Mapping[str, int]) -> int:
    value = _value(node, scope, {}, {})
    assert value.denominator == 1
    return value.numerator


def _combined(op: str, a: Fraction, b: Fraction) -> Fraction:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            return Fraction(a // b)
        case "%":
            return a % b
        case _:
            raise NotImplementedError(op)
