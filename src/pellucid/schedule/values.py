"""Expressions -> values: accesses become operands with guards, integer arithmetic that is not affine becomes tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import product
from math import prod

from pellucid.errors import EquationError, ShapeError
from pellucid.language.affine import Affine
from pellucid.language.extents import affine
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
    Node,
    Number,
    Reduce,
    walk,
)
from pellucid.schedule.nest import (
    Accumulated,
    Apply,
    Constant,
    Guard,
    Load,
    Lookup,
    Operand,
    Position,
    Tensor,
    Value,
)

__all__ = ["Lowering"]

FUNCTION_OF_OPERATOR = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
FUNCTION_OF_COMPARISON = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
INTEGER_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
LARGEST_TABLE = 1 << 24


class Lowering:
    """Turns the expressions of one formula into values; collects the tables that they need."""

    def __init__(
        self,
        constants: Mapping[str, int | float],
        extents: Mapping[str, int],
        tensors: Mapping[str, Tensor],
        name: str,
    ) -> None:
        self.constants, self.extents, self.tensors, self.name = constants, extents, tensors, name
        self.tables: list[Tensor] = []
        self._table_of: dict[tuple[Node, tuple[str, ...]], Tensor] = {}

    # ------------------------------------------------------------ accesses
    def operand(self, access: Access, outside: float) -> Operand:
        """The operand of an access; a dimension that its index can leave gets a guard."""
        tensor = self.tensors[access.tensor]
        index, guards, lookups = list[Affine](), list[Guard](), list[Lookup]()
        for dimension, (entry, extent) in enumerate(zip(access.indices, tensor.shape, strict=True)):
            form, looked_up = self.index(entry)
            if looked_up is None:
                low, high = form.span(self.extents)
                if low < 0 or high >= extent:
                    guards.append(Guard(form, 0, extent))
            else:
                lookups.append(Lookup(dimension, looked_up))
            index.append(form)
        return Operand(tensor.name, tensor.shape, tuple(index), tuple(guards), tuple(lookups), outside)

    def index(self, entry: Expr) -> tuple[Affine, Operand | None]:
        """An index as an affine form plus, where it is not affine, a looked-up integer."""
        form = affine(entry, self.constants)
        if form is not None:
            return form, None
        if isinstance(entry, Access):
            return Affine(), self.operand(entry, 0.0)
        if isinstance(entry, Binary) and entry.op in ("+", "-"):
            (left, left_lookup), (right, right_lookup) = self.index(entry.left), self.index(entry.right)
            if left_lookup is None:
                if entry.op == "+":
                    return left + right, right_lookup
            elif right_lookup is None:
                return (left + right if entry.op == "+" else left - right), left_lookup
        return Affine(), self.table(entry)

    def table(self, entry: Expr) -> Operand:
        """A table of an integer expression over the axes in it, read at those axes."""
        axes = tuple(dict.fromkeys(node.name for node in walk(entry) if self._is_axis(node)))  # type: ignore[union-attr]
        shape = tuple(self.extents[axis] for axis in axes)
        if prod(shape) > LARGEST_TABLE:
            raise ShapeError(
                f"an index that is not affine needs a table of {prod(shape)} integers; at most {LARGEST_TABLE}",
                entry.span,
            )
        key = (entry, axes)
        if key not in self._table_of:
            cells = product(*(range(extent) for extent in shape))
            values = tuple(self._integer(entry, dict(zip(axes, cell, strict=True))) for cell in cells)
            self._table_of[key] = Tensor(f"{self.name}.table{len(self.tables)}", "int64", shape, "table", values)
            self.tables.append(self._table_of[key])
        table = self._table_of[key]
        return Operand(table.name, shape, tuple(Affine.name(axis) for axis in axes))

    def _is_axis(self, node: Node) -> bool:
        return isinstance(node, Name) and node.name in self.extents and node.name not in self.constants

    def _integer(self, entry: Expr, axes: Mapping[str, int]) -> int:
        """The value of an integer expression of axes and constants."""
        match entry:
            case Number(value) if isinstance(value, int):
                return value
            case Name(name) if name in axes:
                return axes[name]
            case Name(name) if isinstance(self.constants.get(name), int):
                return int(self.constants[name])
            case Negative(operand):
                return -self._integer(operand, axes)
            case Binary(op, left, right) if op in INTEGER_OPERATORS:
                a, b = self._integer(left, axes), self._integer(right, axes)
                if op in ("//", "%") and b == 0:
                    raise EquationError("division by zero in an index", entry.span)
                return INTEGER_OPERATORS[op](a, b)
            case _:
                raise EquationError("an index must be made of axes, integers and integer constants", entry.span)

    # ------------------------------------------------------------ values
    @staticmethod
    def constant(number: float) -> Value:
        """A number as a value."""
        return Constant(number)

    def value(self, expression: Expr, outside: float, accumulated: Reduce | None = None) -> Value:
        """The value of an expression. `outside` is what a read outside an array gives; `accumulated` is the one
        reduction in it, which the tile has finished by then."""
        match expression:
            case Number(number):
                return Constant(number)
            case Name():
                return self._name(expression)
            case Access():
                return Load(self.operand(expression, outside))
            case Negative(operand):
                return Apply("neg", (self.value(operand, outside, accumulated),))
            case Binary(op, left, right):
                return self._binary(expression, op, left, right, outside, accumulated)
            case Bracket(condition):
                return Apply("where", (self.condition(condition, outside, accumulated), Constant(1.0), Constant(0.0)))
            case Call():
                return self._call(expression, outside, accumulated)
            case Reduce(op):
                assert expression == accumulated, "a reduction left by staging"
                return Accumulated("position" if op.startswith("arg") else "value")

    def _name(self, expression: Name) -> Value:
        name = expression.name
        if name in self.constants:
            return Constant(self.constants[name])
        # An axis may have the name of a tensor (`da[x]` read from `x[n,c]`); a name without indices is then the axis.
        if name in self.extents:
            return Position(Affine.name(name))
        if name in self.tensors:
            return Load(Operand(self.tensors[name].name, (), ()))
        raise EquationError(f"`{name}` is neither an axis, a constant nor an input", expression.span)

    def _binary(
        self, expression: Binary, op: str, left: Expr, right: Expr, outside: float, accumulated: Reduce | None
    ) -> Value:
        form = affine(expression, self.constants) if self._is_integer(expression) else None
        if form is not None:
            return Position(form)
        if op in ("//", "%"):
            return Load(self.table(expression))
        if op == "**" and isinstance(right, Number) and right.value in (1, 2, 3):
            base = self.value(left, outside, accumulated)
            power = base
            for _ in range(int(right.value) - 1):
                power = Apply("mul", (power, base))
            return power
        arguments = (self.value(left, outside, accumulated), self.value(right, outside, accumulated))
        return Apply(FUNCTION_OF_OPERATOR[op], arguments)

    def _is_integer(self, expression: Expr) -> bool:
        """Whether the expression is made of axes and integers alone, with at least one axis in it."""
        nodes = list(walk(expression))
        return any(self._is_axis(node) for node in nodes) and all(
            self._is_axis(node)
            or isinstance(node, Negative)
            or (isinstance(node, Binary) and node.op in INTEGER_OPERATORS)
            or (isinstance(node, Number) and isinstance(node.value, int))
            or (isinstance(node, Name) and isinstance(self.constants.get(node.name), int))
            for node in nodes
        )

    def _call(self, expression: Call, outside: float, accumulated: Reduce | None) -> Value:
        if expression.function == "position":
            number = Affine()
            for argument in expression.arguments:
                assert isinstance(argument, Name)
                number = number * self.extents[argument.name] + Affine.name(argument.name)
            return Position(number)
        if expression.function == "where":
            condition, yes, no = expression.arguments
            assert isinstance(condition, Compare | Logic)
            return Apply(
                "where",
                (
                    self.condition(condition, outside, accumulated),
                    self.value(yes, outside, accumulated),  # type: ignore[arg-type]
                    self.value(no, outside, accumulated),  # type: ignore[arg-type]
                ),
            )
        arguments = tuple(self.value(argument, outside, accumulated) for argument in expression.arguments)  # type: ignore[arg-type]
        return arguments[0] if expression.function == "stop" else Apply(expression.function, arguments)

    # ------------------------------------------------------------ conditions
    def condition(self, condition: Condition, outside: float, accumulated: Reduce | None = None) -> Value:
        """A condition as a value that `where` takes."""
        if isinstance(condition, Logic):
            parts = [self.condition(operand, outside, accumulated) for operand in condition.operands]
            if condition.op == "not":
                return Apply("not", (parts[0],))
            result = parts[0]
            for part in parts[1:]:
                result = Apply(condition.op, (result, part))
            return result
        left, right = (self.value(side, outside, accumulated) for side in (condition.left, condition.right))
        return Apply(FUNCTION_OF_COMPARISON[condition.op], (left, right))

    def conditions(self, conditions: tuple[Condition, ...]) -> tuple[tuple[Guard, ...], list[Value]]:
        """The conditions of a reduction: as guards where they are affine, the others as values."""
        guards, rest = list[Guard](), list[Value]()
        for condition in conditions:
            if isinstance(condition, Logic) and condition.op == "and":
                inner_guards, inner_rest = self.conditions(condition.operands)
                guards += inner_guards
                rest += inner_rest
            elif isinstance(condition, Compare) and (found := self._guards(condition)) is not None:
                guards += found
            else:
                rest.append(self.condition(condition, 0.0))
        return tuple(guards), rest

    def _guards(self, condition: Compare) -> list[Guard] | None:
        left, right = affine(condition.left, self.constants), affine(condition.right, self.constants)
        if left is None or right is None or condition.op == "!=":
            return None
        difference = left - right
        low, high = difference.span(self.extents)
        bounds = {
            "==": (0, 1),
            "<": (low, 0),
            "<=": (low, 1),
            ">": (1, high + 1),
            ">=": (0, high + 1),
        }[condition.op]
        return [] if bounds[0] <= low and high < bounds[1] else [Guard(difference, *bounds)]
