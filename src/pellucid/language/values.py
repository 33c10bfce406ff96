"""The value of an expression at one cell, in plain Python floats: what `explain` computes with.

Slow and literal. The whole-array reading of an equation is the reference's; the two share no code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pellucid.errors import ArgumentError
from pellucid.language.points import points
from pellucid.language.scalar_functions import COMPARISONS, FUNCTIONS, arithmetic, finite_or_limit
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Logic,
    Name,
    Negative,
    Number,
    Reduce,
)

__all__ = ["IDENTITY", "MAX_TERMS", "Array", "Cells", "Environment", "ValueUnknownError"]

MAX_TERMS = 100_000

IDENTITY = {"sum": 0.0, "max": -math.inf, "min": math.inf, "argmax": -math.inf, "argmin": math.inf}

Environment: TypeAlias = Mapping[str, int]


class Array(Protocol):
    """What is asked of an array: a shape, and numbers at tuples of integers."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: tuple[int, ...], /) -> float: ...


class ValueUnknownError(Exception):
    """Internal: a tensor is known by its shape alone; the argument is its name."""


@dataclass(frozen=True)
class Cells:
    """Constants, extents and arrays. `arrays` has None where only the shape, in `shapes`, is known."""

    constants: Mapping[str, int | float]
    extents: Mapping[str, int]
    arrays: Mapping[str, Array | float | None]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    def cell(self, access: Access, environment: Environment) -> tuple[int, ...]:
        """The cell that an access names, possibly outside the array."""
        return tuple(self.integer(index, environment) for index in access.indices)

    def inside(self, access: Access, cell: tuple[int, ...]) -> bool:
        """Whether that cell exists."""
        shape = self._shape(access.tensor)
        return all(0 <= index < extent for index, extent in zip(cell, shape, strict=True))

    def _shape(self, tensor: str) -> tuple[int, ...]:
        array = self.arrays.get(tensor)
        if array is not None and not isinstance(array, int | float):
            return tuple(array.shape)
        if tensor not in self.shapes:
            raise ArgumentError(f"`{tensor}` must be given: neither its values nor its shape are known")
        return self.shapes[tensor]

    def read(self, tensor: str, cell: tuple[int, ...] = ()) -> float:
        """The number in a cell that exists, or a scalar input; ValueUnknownError where only the shape is known."""
        array = self.arrays.get(tensor)
        if array is None:
            raise ValueUnknownError(tensor)
        return float(array) if isinstance(array, int | float) else float(array[cell])

    def integer(self, index: Expr, environment: Environment) -> int:
        """The value of an index; a lookup outside its array counts as 0."""
        value = self.value(index, environment, 0.0)
        if value != math.floor(value):
            raise ArgumentError(f"an index is {value}; it must be an integer")
        return int(value)

    def value(self, node: Expr, environment: Environment, outside: float) -> float:
        """The value of an expression; an access outside its array gives `outside`."""
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            return self.named(node.name, environment)
        if isinstance(node, Access):
            cell = self.cell(node, environment)
            return self.read(node.tensor, cell) if self.inside(node, cell) else outside
        if isinstance(node, Negative):
            return -self.value(node.operand, environment, outside)
        if isinstance(node, Binary):
            left = self.value(node.left, environment, outside)
            return arithmetic(node.op, left, self.value(node.right, environment, outside))
        if isinstance(node, Bracket):
            return 1 if self.holds(node.condition, environment, outside) else 0
        if isinstance(node, Reduce):
            return self._reduced(node, environment)
        return self._called(node, environment, outside)

    def named(self, name: str, environment: Environment) -> float:
        """The value of an axis, a constant or a scalar input."""
        if name in environment:
            return environment[name]
        return self.constants[name] if name in self.constants else self.read(name)

    def _called(self, node: Call, environment: Environment, outside: float) -> float:
        if node.function == "position":
            return self.position(tuple(axis.name for axis in node.arguments if isinstance(axis, Name)), environment)
        if node.function == "where":
            condition, a, b = node.arguments
            assert isinstance(condition, Compare | Logic)
            chosen = a if self.holds(condition, environment, outside) else b
            assert not isinstance(chosen, Compare | Logic)
            return self.value(chosen, environment, outside)
        values = [
            self.value(argument, environment, outside)
            for argument in node.arguments
            if not isinstance(argument, Compare | Logic)
        ]
        return finite_or_limit(FUNCTIONS[node.function], *values)

    def holds(self, condition: Condition, environment: Environment, outside: float = 0.0) -> bool:
        """Whether a condition holds."""
        if isinstance(condition, Compare):
            left = self.value(condition.left, environment, outside)
            return COMPARISONS[condition.op](left, self.value(condition.right, environment, outside))
        operands = (self.holds(operand, environment, outside) for operand in condition.operands)
        if condition.op == "not":
            return not next(operands)
        return all(operands) if condition.op == "and" else any(operands)

    # Reductions

    def position(self, axes: tuple[str, ...], environment: Environment) -> int:
        """The row-major number of the axes' values over their extents."""
        number = 0
        for axis in axes:
            number = number * self.extents[axis] + environment[axis]
        return number

    def _reduced(self, node: Reduce, environment: Environment) -> float:
        outside = IDENTITY[node.op]
        points = self.assignments(node, environment)
        values = [self.value(node.body, point, outside) for point in points]
        if node.op == "sum":
            return sum(values)
        winner = self.winner(node.op, values)
        if winner is None:
            return outside if node.op in ("max", "min") else 0
        return values[winner] if node.op in ("max", "min") else self.position(node.axes, points[winner])

    def winner(self, operator: str, values: list[float]) -> int | None:
        """The number of the first largest (max, argmax) or smallest value, or of the first NaN; None of nothing."""
        best: int | None = None
        for number, value in enumerate(values):
            if math.isnan(value):
                return number
            if best is None or (value > values[best] if operator.endswith("max") else value < values[best]):
                best = number
        return best

    def assignments(self, node: Reduce, environment: Environment) -> list[dict[str, int]]:
        """The environments of a reduction's body: its axes' values for which the conditions hold, in row-major order.

        ArgumentError where there are more than MAX_TERMS of them.
        """
        found: list[dict[str, int]] = []
        search = points(node, environment, self.constants, self.extents, self.holds)
        for point in search:
            found.append(point)
            if len(found) > MAX_TERMS:
                raise ArgumentError(f"an explanation has at most {MAX_TERMS} terms; this {node.op} has more")
        found.sort(key=lambda point: tuple(point[axis] for axis in node.axes))
        return found
