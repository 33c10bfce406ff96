"""The literal meaning of a formula: every cell of its index grid, in float64, with nothing rewritten.

Each axis has an array dimension of its own. The dimensions of the output's axes come last; a reduction puts its
axes in front of those that stand, evaluates its body on that larger grid, and reduces the front ones away. So a
node's value is an array that broadcasts against the grid around it, and an array's cell is found by computing its
index for every point of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pellucid.errors import ArgumentError, DtypeError, EquationError, ShapeError
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Formula,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    walk,
)
from pellucid.reference.functions import COMPARISONS, FUNCTIONS, OPERATORS

__all__ = ["evaluate"]

Array: TypeAlias = NDArray[Any]

# Points of the grid that are evaluated at once: 8 MB for each intermediate value.
_BLOCK = 2**20

_IDENTITY = {"sum": 0.0, "max": -np.inf, "argmax": -np.inf, "min": np.inf, "argmin": np.inf}


def evaluate(
    formula: Formula,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    arrays: Mapping[str, ArrayLike],
    *,
    out: Array | None = None,
) -> Array:
    """The value of `formula`, computed as it is written.

    `constants` binds names to numbers, `extents` gives every axis its number of values, `arrays` gives every tensor
    and scalar input (any real dtype; values are taken as float64, arrays inside indices must be integers).

    Returns a float64 array, int64 where the right-hand side is an `argmax` or `argmin`; each dimension is as long as
    its index reaches over the axes. With `out`, only the cells that the formula's output names are written, into
    `out`, which is returned.

    Raises `ArgumentError` for a name without a value, `ShapeError` for ranks and extents that do not fit or an output
    index that leaves `out`, `DtypeError` for indices that are no integers, `EquationError` for what has no meaning.
    """
    axes = _output_axes(formula, constants)
    no_cells = 0 in [_extent(axis, extents) for axis in axes]
    scope = _Scope(constants, extents, {name: np.asarray(array) for name, array in arrays.items()})
    if out is None:
        out = np.zeros(_output_shape(formula, axes, scope), dtype=_result_type(formula.body))
    elif out.ndim != len(formula.output.indices):
        raise ShapeError(
            f"`{formula.output.tensor}` has {len(formula.output.indices)} indices but `out` has shape {out.shape}",
            formula.output.span,
        )
    if no_cells:
        return out
    with np.errstate(all="ignore"):
        for grid in _blocks(formula, axes, scope):
            cells = _output_cells(formula.output, grid, scope, out.shape)
            value = _Evaluator(scope, grid, "sum", np.float64).expression(formula.body)
            out[cells] = np.broadcast_to(value, grid.shape)
    return out


@dataclass(frozen=True)
class _Scope:
    """What names mean everywhere in the formula."""

    constants: Mapping[str, int | float]
    extents: Mapping[str, int]
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class _Grid:
    """The points at which a node is evaluated: the values of each axis, shaped to broadcast over `shape`."""

    shape: tuple[int, ...]
    axes: Mapping[str, NDArray[np.int64]]

    def inside(self, names: tuple[str, ...], extents: Mapping[str, int]) -> _Grid:
        """This grid with the axes `names` in front."""
        counts = [_extent(name, extents) for name in names]
        trailing = (1,) * len(self.shape)
        front = {
            name: _along(np.arange(count, dtype=np.int64), place, len(names), trailing)
            for place, (name, count) in enumerate(zip(names, counts, strict=True))
        }
        return _Grid((*counts, *self.shape), {**self.axes, **front})


def _along(values: NDArray[np.int64], place: int, rank: int, trailing: tuple[int, ...] = ()) -> NDArray[np.int64]:
    """`values` along dimension `place` of `rank`, followed by `trailing` dimensions of extent 1."""
    return values.reshape((1,) * place + (len(values),) + (1,) * (rank - 1 - place) + trailing)


def _extent(axis: str, extents: Mapping[str, int]) -> int:
    if axis not in extents:
        raise ShapeError(f"extent of index `{axis}` is not given; `extents` has {sorted(extents)}")
    return extents[axis]


def _output_axes(formula: Formula, constants: Mapping[str, int | float]) -> tuple[str, ...]:
    """The axes of the output: the bare ones in order, then the names inside other indices that are no constants."""
    names: dict[str, None] = dict.fromkeys(formula.free_axes)
    inner = (
        node.name
        for index in formula.output.indices
        for node in walk(index)
        if isinstance(node, Name) and node.name not in constants
    )
    names.update(dict.fromkeys(inner))
    return tuple(names)


def _output_shape(formula: Formula, axes: tuple[str, ...], scope: _Scope) -> tuple[int, ...]:
    """One more than the largest value of each index."""
    shape: list[int] = []
    for index in formula.output.indices:
        names = tuple(
            axis for axis in axes if any(isinstance(node, Name) and node.name == axis for node in walk(index))
        )
        grid = _Grid((), {}).inside(names, scope.extents)
        values = _Evaluator(scope, grid, "sum", np.int64).expression(index)
        shape.append(int(values.max(initial=-1)) + 1)
    return tuple(shape)


def _result_type(body: Expr) -> DTypeLike:
    return np.int64 if isinstance(body, Reduce) and body.op in ("argmax", "argmin") else np.float64


def _blocks(formula: Formula, axes: tuple[str, ...], scope: _Scope) -> Iterator[_Grid]:
    """The output's grid in blocks, each of so few cells that its points with the reductions' fit `_BLOCK`."""
    room = max(1, _BLOCK // _points_per_cell(formula.body, scope.extents))
    lengths: list[int] = []
    for axis in reversed(axes):
        length = min(scope.extents[axis], room)
        lengths.append(length)
        room = max(1, room // max(1, length))
    lengths.reverse()
    starts = (range(0, scope.extents[axis], length) for axis, length in zip(axes, lengths, strict=True))
    for corner in product(*starts):
        ranges = [
            np.arange(start, min(start + length, scope.extents[axis]), dtype=np.int64)
            for axis, start, length in zip(axes, corner, lengths, strict=True)
        ]
        values = {
            axis: _along(part, place, len(axes)) for place, (axis, part) in enumerate(zip(axes, ranges, strict=True))
        }
        yield _Grid(tuple(len(part) for part in ranges), values)


def _points_per_cell(node: Node, extents: Mapping[str, int]) -> int:
    """The largest number of points that one cell of the output is spread over by the reductions."""
    below = max((_points_per_cell(child, extents) for child in children(node)), default=1)
    return below * prod(_extent(axis, extents) for axis in node.axes) if isinstance(node, Reduce) else below


def _output_cells(output: Access, grid: _Grid, scope: _Scope, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The output's indices at every point of the grid; they must lie in `shape`."""
    evaluator = _Evaluator(scope, grid, "sum", np.int64)
    cells: list[Array] = []
    for dimension, (index, extent) in enumerate(zip(output.indices, shape, strict=True)):
        values = np.asarray(evaluator.expression(index))
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= extent:
            raise ShapeError(
                f"index {dimension} of the output `{output.tensor}` runs over {low} .. {high}, outside extent {extent}",
                output.span,
            )
        cells.append(np.broadcast_to(values, grid.shape))
    return tuple(cells)


@dataclass(frozen=True)
class _Evaluator:
    """Values of nodes at the points of one grid, inside the reduction `reduction`.

    `dtype` is float64 where values are meant and int64 inside an index, where division is refused and arrays must
    hold integers.
    """

    scope: _Scope
    grid: _Grid
    reduction: str
    dtype: type[np.float64 | np.int64]

    def expression(self, node: Expr) -> Array:
        """The value of an expression, an array that broadcasts against the grid."""
        match node:
            case Number(value):
                return self._number(value, node)
            case Name(name):
                return self._name(name, node)
            case Access():
                return self._access(node)
            case Negative(operand):
                return -self.expression(operand)
            case Binary("/", _, _) if self.dtype is np.int64:
                raise EquationError("`/` has no meaning inside an index; `//` divides integers", node.span)
            case Binary(op, left, right):
                return np.asarray(OPERATORS[op](self.expression(left), self.expression(right)))
            case Bracket(condition):
                return self.condition(condition).astype(self.dtype)
            case Call():
                return self._call(node)
            case Reduce():
                return self._reduce(node)

    def condition(self, node: Condition) -> NDArray[np.bool_]:
        """Whether a condition holds, an array that broadcasts against the grid."""
        match node:
            case Compare(op, left, right):
                values = _Evaluator(self.scope, self.grid, self.reduction, np.float64)
                return np.asarray(COMPARISONS[op](values.expression(left), values.expression(right)))
            case Logic("not", operands):
                return np.logical_not(self.condition(operands[0]))
            case Logic(op, operands):
                truth = self.condition(operands[0])
                for operand in operands[1:]:
                    other = self.condition(operand)
                    truth = np.logical_and(truth, other) if op == "and" else np.logical_or(truth, other)
                return truth

    def _number(self, value: int | float, node: Expr) -> Array:
        if self.dtype is np.int64 and not isinstance(value, int):
            raise EquationError(f"an index must be an integer, not {value}", node.span)
        return np.asarray(value, dtype=self.dtype)

    def _name(self, name: str, node: Name) -> Array:
        if name in self.grid.axes:
            return self.grid.axes[name].astype(self.dtype)
        if name in self.scope.constants:
            return self._number(self.scope.constants[name], node)
        if name not in self.scope.arrays:
            raise ArgumentError(f"`{name}` is no axis, and neither a constant nor an array was given for it", node.span)
        return self._access(Access(name, (), node.span))

    def _access(self, node: Access) -> Array:
        array = self._array(node)
        identity = 0 if self.dtype is np.int64 else _IDENTITY[self.reduction]
        inside = np.asarray(True)
        cells: list[Array] = []
        indices = _Evaluator(self.scope, self.grid, self.reduction, np.int64)
        for index, extent in zip(node.indices, array.shape, strict=True):
            values = indices.expression(index)
            inside = inside & (values >= 0) & (values < extent)
            cells.append(np.clip(values, 0, max(extent - 1, 0)))
        if array.size == 0:
            return np.full(inside.shape, identity, dtype=self.dtype)
        value = array[tuple(cells)].astype(self.dtype)
        return value if inside.all() else np.where(inside, value, identity)

    def _array(self, node: Access) -> Array:
        """The array of an access, checked against its use."""
        if node.tensor not in self.scope.arrays:
            raise ArgumentError(f"`{node.tensor}` is read by the equation, but no array was given for it", node.span)
        array = self.scope.arrays[node.tensor]
        if array.ndim != len(node.indices):
            raise ShapeError(
                f"`{node.tensor}` has {len(node.indices)} indices in the equation, its array has shape {array.shape}",
                node.span,
            )
        if self.dtype is np.int64 and array.dtype.kind not in "iu":
            raise DtypeError(f"`{node.tensor}` is used as an index and must hold integers, not {array.dtype}")
        if array.dtype.kind not in "biuf":
            raise DtypeError(f"`{node.tensor}` must hold real numbers, not {array.dtype}")
        return array

    def _call(self, node: Call) -> Array:
        if node.function == "position":
            return self._position(node)
        if node.function == "where":
            condition, chosen, otherwise = node.arguments
            assert isinstance(condition, Compare | Logic)
            return np.where(self.condition(condition), self._argument(chosen), self._argument(otherwise))
        if node.function not in FUNCTIONS:
            raise EquationError(f"unknown function `{node.function}`", node.span)
        value = FUNCTIONS[node.function](*(self._argument(argument) for argument in node.arguments))
        if self.dtype is np.int64 and value.dtype.kind not in "iu":
            raise EquationError(f"`{node.function}` gives no integer and cannot stand in an index", node.span)
        return np.asarray(value)

    def _argument(self, node: Expr | Condition) -> Array:
        assert not isinstance(node, Compare | Logic), "only `where` takes a condition"
        return self.expression(node)

    def _position(self, node: Call) -> Array:
        """The row-major number of the axes that `node` lists."""
        number = np.asarray(0, dtype=np.int64)
        for axis in node.arguments:
            assert isinstance(axis, Name), "`position` lists axes"
            if axis.name not in self.grid.axes:
                raise EquationError(f"`position` lists axes, and `{axis.name}` is none here", node.span)
            number = number * _extent(axis.name, self.scope.extents) + self.grid.axes[axis.name]
        return number.astype(self.dtype)

    def _reduce(self, node: Reduce) -> Array:
        if self.dtype is np.int64 and node.op in ("max", "min"):
            raise EquationError(f"`{node.op}` over axes has no meaning inside an index", node.span)
        grid = self.grid.inside(node.axes, self.scope.extents)
        # What argmax compares are values even where the winner's number is an index.
        dtype = np.float64 if node.op in ("argmax", "argmin") else self.dtype
        inner = _Evaluator(self.scope, grid, node.op, dtype)
        allowed = np.asarray(True)
        for condition in node.conditions:
            allowed = allowed & inner.condition(condition)
        body = inner.expression(node.body)
        shape = np.broadcast_shapes(body.shape, allowed.shape)
        # Every reduced dimension at its full length, the others as long as they are anyway.
        front = len(node.axes)
        padded = (1,) * (len(grid.shape) - len(shape)) + shape
        shape = grid.shape[:front] + padded[front:]
        values, allowed = np.broadcast_to(body, shape), np.broadcast_to(allowed, shape)
        result = _reduced(node.op, values, allowed, tuple(range(front)))
        return result.astype(self.dtype) if node.op in ("argmax", "argmin") else result


def _reduced(op: str, values: Array, allowed: NDArray[np.bool_], dimensions: tuple[int, ...]) -> Array:
    """The values at allowed points reduced over the leading `dimensions`."""
    if op in ("argmax", "argmin"):
        return _first_winner(op, values, allowed, len(dimensions))
    if not allowed.all():
        values = np.where(allowed, values, np.asarray(_IDENTITY[op]).astype(values.dtype))
    match op:
        case "sum":
            return values.sum(axis=dimensions)
        case "max":
            return values.max(axis=dimensions, initial=-np.inf)
        case _:
            return values.min(axis=dimensions, initial=np.inf)


def _first_winner(op: str, values: Array, allowed: NDArray[np.bool_], front: int) -> Array:
    """The row-major number of the first allowed winner, where a NaN beats every number; 0 where none is allowed."""
    rest = values.shape[front:]
    flat, allowed = values.reshape((-1, *rest)), allowed.reshape((-1, *rest))
    best = _reduced(op[3:], flat, allowed, (0,))
    wins = allowed & np.where(np.isnan(best), np.isnan(flat), flat == best)
    return wins.argmax(axis=0)
