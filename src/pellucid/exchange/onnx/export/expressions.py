"""The right side of an equation as nodes: accesses become gathers, sums of products contractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.accesses import Stored, read
from pellucid.exchange.onnx.export.arithmetic import called, choose, combine, compare, logic, negative
from pellucid.exchange.onnx.export.products import sum_of_products
from pellucid.exchange.onnx.export.terms import Computed, Known, Scope, Term
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
    substitute,
    walk,
)
from pellucid.nn.written import Growing, Value

__all__ = ["Expressions", "Steps", "Tensor"]

_OUTSIDE = {"sum": 0.0, "max": -inf, "argmax": -inf, "min": inf, "argmin": inf}


@dataclass(frozen=True)
class Steps:
    """A tensor that a recurrence makes: what stands at each step, along the dimension `place`; None before it is made.

    `stacked` is the whole tensor, once it was asked for.
    """

    place: int
    made: list[Stored | None]
    stacked: list[Stored] = field(default_factory=list[Stored])


Tensor = Stored | Steps


@dataclass(frozen=True)
class Expressions:
    """What names mean in one formula; `inside` is the reduction around the expression, `whole` says that it is an
    index, made of integers."""

    scope: Scope
    constants: Mapping[str, Value]
    tensors: Mapping[str, Tensor]
    inside: str = "sum"
    whole: bool = False

    def within(self, reduction: str) -> Expressions:
        """The same names inside another reduction."""
        return Expressions(self.scope, self.constants, self.tensors, reduction, False)

    def value(self, node: Expr) -> Term:
        """The value of an expression."""
        match node:
            case Number(value):
                return Known(np.asarray(value))
            case Name(name):
                return self._name(name, node)
            case Access():
                return self._access(node)
            case Negative(operand):
                return negative(self.scope, self.value(operand))
            case Binary(op, left, right):
                return combine(self.scope, op, self.value(left), self.value(right), integers=self.whole or op != "**")
            case Bracket(condition):
                found = self.condition(condition)
                if isinstance(found, Known):
                    return Known(found.array.astype(np.int64), found.axes)
                return self.scope.computed(found, "i" if self.whole else "f")
            case Call():
                return self._call(node)
            case Reduce():
                return self._reduce(node)

    def condition(self, node: Condition) -> Term:
        """Where a condition holds."""
        if isinstance(node, Logic):
            return logic(self.scope, node.op, [self.condition(operand) for operand in node.operands])
        return compare(self.scope, node.op, self.value(node.left), self.value(node.right))

    def _name(self, name: str, node: Name) -> Term:
        if name in self.scope.extents:
            return self.scope.axis(name)
        if name not in self.constants:
            return self._access(Access(name, (), node.span))
        value = self.constants[name]
        if not isinstance(value, Growing):
            return Known(np.asarray(value))
        if self.whole:
            raise ArgumentError(f"the constant {name} grows with the batch and stands in an index")
        each = combine(self.scope, "*", self.scope.batch_size(), Known(np.asarray(value.each)))
        return combine(self.scope, "+", each, Known(np.asarray(value.fixed)))

    def _access(self, node: Access) -> Term:
        tensor = self.tensors[node.tensor]
        outside = 0.0 if self.whole else _OUTSIDE[self.inside]
        indices = list(node.indices)
        if isinstance(tensor, Steps):
            at = self._index(indices[tensor.place])
            if isinstance(at, Known) and not at.axes:
                step = int(at.array)
                found = tensor.made[step] if 0 <= step < len(tensor.made) else None
                if found is None:
                    return Known(np.asarray(outside))
                tensor = found
                del indices[self.tensors[node.tensor].place]  # type: ignore[union-attr]
            else:
                tensor = stacked(self.scope, tensor)
        terms: list[str | Term] = []
        for index, extent in zip(indices, tensor.shape, strict=True):
            own = isinstance(index, Name) and index.name in self.scope.extents
            is_whole = own and isinstance(index, Name) and self.scope.extents[index.name] == extent
            terms.append(index.name if is_whole and isinstance(index, Name) else self._index(index))
        return read(self.scope, tensor, terms, outside)

    def _index(self, node: Expr) -> Term:
        found = Expressions(self.scope, self.constants, self.tensors, "sum", True).value(node)
        return found if found.kind == "i" else self.scope.computed(found, "i")

    def _call(self, node: Call) -> Term:
        if node.function == "position":
            return self._position([part.name for part in node.arguments if isinstance(part, Name)])
        if node.function == "where":
            condition, chosen, otherwise = node.arguments
            assert isinstance(condition, Compare | Logic)
            return choose(self.scope, self.condition(condition), self._argument(chosen), self._argument(otherwise))
        return called(self.scope, node.function, [self._argument(argument) for argument in node.arguments])

    def _argument(self, node: Expr | Condition) -> Term:
        assert not isinstance(node, Compare | Logic), "only `where` takes a condition"
        return self.value(node)

    def _position(self, axes: Sequence[str]) -> Term:
        number: Term = self.scope.axis(axes[0])
        for axis in axes[1:]:
            extent = self.scope.extents[axis]
            size = self.scope.batch_size() if extent is None else Known(np.asarray(extent, np.int64))
            number = combine(self.scope, "+", combine(self.scope, "*", number, size), self.scope.axis(axis))
        return number

    # Reductions.

    def _reduce(self, node: Reduce) -> Term:
        if node.op == "sum":
            return self._sum(node)
        inner = self.within(node.op)
        body = inner.value(node.body)
        allowed = [inner.condition(condition) for condition in node.conditions]
        mask = logic(self.scope, "and", allowed) if allowed else Known(np.asarray(True))
        if node.op in ("argmax", "argmin"):
            return self._winner(node, body, mask)
        return self._extreme(node, choose(self.scope, mask, body, Known(np.asarray(_OUTSIDE[node.op]))))

    def _extreme(self, node: Reduce, values: Term) -> Term:
        places = [values.axes.index(axis) for axis in node.axes if axis in values.axes]
        kept = tuple(axis for axis in values.axes if axis not in node.axes)
        if isinstance(values, Known):
            reduced = (np.max if node.op == "max" else np.min)(values.array, axis=tuple(places))
            return Known(np.asarray(reduced), kept)
        computed = self.scope.computed(values, "f")
        op = "ReduceMax" if node.op == "max" else "ReduceMin"
        return Computed(self.scope.nodes.reduce(op, computed.name, places), kept, "f")

    def _winner(self, node: Reduce, body: Term, mask: Term) -> Term:
        """The number of the first winner among what is allowed, in the order in which the axes are written."""
        scope, op = self.scope, "ArgMax" if node.op == "argmax" else "ArgMin"
        values = scope.computed(body, "f")
        if not (isinstance(mask, Known) and mask.array.all()):
            best = self._extreme(
                Reduce(node.op[3:], node.axes, (), node.body),
                choose(scope, mask, values, Known(np.asarray(_OUTSIDE[node.op]))),
            )
            wins = logic(scope, "and", [mask, compare(scope, "==", values, best)])
            values, op = scope.computed(wins, "f"), "ArgMax"
        values = scope.expanded(values, (*values.axes, *node.axes))
        kept = [axis for axis in values.axes if axis not in node.axes]
        name = scope.arranged(values, [*kept, *node.axes])
        name = scope.reshaped(name, [*([axis] for axis in kept), list(node.axes)])
        return Computed(scope.nodes.add(op, name, axis=len(kept), keepdims=0), tuple(kept), "i")

    def _sum(self, node: Reduce) -> Term:
        node, masks = self._solved(node)
        inner = self.within("sum")
        factors = [inner.value(part) for part in _factors(node.body)]
        factors += [inner.value(Bracket(condition)) for condition in (*node.conditions, *masks)]
        factors = [factor for factor in factors if not _is_one(factor)] or [Known(np.asarray(1))]
        if self.whole:
            return self._whole_sum(factors, node.axes)
        return sum_of_products(self.scope, factors, node.axes)

    def _whole_sum(self, factors: Sequence[Term], axes: Sequence[str]) -> Term:
        """A sum in an index, of known integers."""
        if not all(isinstance(factor, Known) for factor in factors):
            raise ArgumentError("a sum inside an index, of what is computed, cannot be written")
        found = sum_of_products(self.scope, factors, axes)
        assert isinstance(found, Known)
        return Known(found.array.astype(np.int64), found.axes)

    def _solved(self, node: Reduce) -> tuple[Reduce, list[Condition]]:
        """The sum without the axes that a condition gives alone: `sum(c0 : c0 + O == c) x[c0]` is `x[c - O]` where
        that lies on the axis.

            before   sum(axis, ... : axis == place, ...) body
            after    sum(... : ...) body with `place` for `axis`, under the conditions 0 <= place < extent
        """
        bound = {axis for part in walk(node.body) if isinstance(part, Reduce) for axis in part.axes}
        for condition in node.conditions:
            found = self._place_of(condition, node.axes, bound)
            extent = None if found is None else self.scope.extents[found[0]]
            if found is None or extent is None:
                continue
            axis, place = found
            left = [other for other in node.conditions if other is not condition]
            rest = Reduce("sum", tuple(name for name in node.axes if name != axis), tuple(left), node.body)
            written = substitute(rest, {axis: place})
            assert isinstance(written, Reduce)
            # The others were written in other words now.
            solved, masks = self._solved(written)
            return solved, [Compare(">=", place, Number(0)), Compare("<", place, Number(extent)), *masks]
        return node, []

    def _place_of(self, condition: Condition, axes: Sequence[str], bound: set[str]) -> tuple[str, Expr] | None:
        """An axis of the sum and what a condition says that it is: nothing that is read or summed."""
        if not (isinstance(condition, Compare) and condition.op == "=="):
            return None
        for side, other in ((condition.left, condition.right), (condition.right, condition.left)):
            alone = _alone(side, other, axes, self.constants)
            if alone is None:
                continue
            axis, place = alone
            names = {part.name for part in walk(place) if isinstance(part, Name)}
            plain = all(isinstance(part, Number | Name | Binary | Negative) for part in walk(place))
            batch = any(self.scope.extents.get(name, 1) is None for name in names)
            known = names <= self.scope.extents.keys() | self.constants.keys()
            if plain and known and not batch and axis not in names and not names & bound and axis not in bound:
                return axis, place
        return None


def stacked(scope: Scope, tensor: Steps) -> Stored:
    """All steps of a recurrence as one tensor."""
    if not tensor.stacked:
        made = [step for step in tensor.made if step is not None]
        assert len(made) == len(tensor.made)
        parts = [scope.nodes.unsqueeze(_name(scope, step), [tensor.place]) for step in made]
        shape = [*made[0].shape[: tensor.place], len(made), *made[0].shape[tensor.place :]]
        tensor.stacked.append(Stored(scope.nodes.add("Concat", *parts, axis=tensor.place), tuple(shape)))
    return tensor.stacked[0]


def _name(scope: Scope, tensor: Stored) -> str:
    return tensor.name if tensor.array is None else scope.nodes.constant(tensor.array.astype(np.float64))


def _alone(side: Expr, other: Expr, axes: Sequence[str], constants: Mapping[str, Value]) -> tuple[str, Expr] | None:
    """`axis == other`, or `axis + constant == other`, as an axis and its place."""
    match side:
        case Name(name) if name in axes:
            return name, other
        case Binary("+" | "-" as op, Name(name), Number() | Name() as shift) if name in axes:
            if isinstance(shift, Name) and shift.name not in constants:
                return None
            return name, Binary("-" if op == "+" else "+", other, shift)
        case _:
            return None


def _factors(node: Expr) -> list[Expr]:
    match node:
        case Binary("*", left, right):
            return [*_factors(left), *_factors(right)]
        case Negative(operand):
            return [Number(-1), *_factors(operand)]
        case _:
            return [node]


def _is_one(term: Term) -> bool:
    return isinstance(term, Known) and not term.axes and float(term.array) == 1
