"""The gradient of a recurrence: another recurrence, which runs the other way (backpropagation through time).

    before   h[n,t,k] = tanh(a[n,t,k]);     a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k]
    after    dh[n,t,k] = g[n,t,k] + sum(k1) da[n,t+1,k1]*w[k,k1];     da[n,t,k] = dh[n,t,k]*(1 - h[n,t,k]**2)
             dw[j,k] = sum(n,t) da[n,t,k]*h[n,t-1,j]

It is the rule of `gradient.py` with what is read one step before (`h[n,t-1,j]`) as an operand of its own; what arrives
at that operand belongs to the cell one step earlier, so the formula is moved by one step. Behind the last step nothing
arrives: reading outside an array is 0. Where cells of a tensor are told apart by numbers (`a[n,t,0,k]`, the gates of an
LSTM), there is a formula for each number. What a formula's own value tells is read there and not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TypeGuard

from pellucid.language.binding import AxisCopies, by_place, names_of, numbered, reads, separate
from pellucid.language.gradient import Gradient, derive
from pellucid.language.recurrence import Recurrence
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Compare,
    Expr,
    Formula,
    Name,
    Node,
    Number,
    Reduce,
    map_children,
    substitute,
    walk,
)

__all__ = ["Backward"]

# Cells that are told apart by numbers get a formula for each number up to so many.
MOST_FORMULAS = 16


@dataclass(frozen=True)
class _Operand:
    """How a recurrence's own tensor is read: one step before or not, and at which numbers (by dimension)."""

    tensor: str
    is_before: bool
    numbers: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        """A name that no text can hold."""
        return "@".join((self.tensor, "before" if self.is_before else "now", *(str(n) for _, n in self.numbers)))


# What is read one step before the first step, and what is read one step before otherwise -> what stands there.
_Join = Callable[[Expr, Access], Expr]


class Backward:
    """The gradient of a recurrence `forward`, whose tensors get the gradients `arriving` (by tensor) from outside.

    `recurrence` makes the gradient of every tensor of `forward`, called `names[tensor]`; `copies` maps each axis that
    is a copy to the axis whose extent it shares. Where `shapes` of the tensors are not known, cells that are told apart
    by the numbers 0 to m are taken to be all.
    """

    def __init__(
        self,
        forward: Recurrence,
        arriving: Mapping[str, str],
        constants: Collection[str] = (),
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.forward = forward
        self.copies: dict[str, str] = {}
        self._taken = {*forward.tensors, *forward.inputs, *forward.names, *arriving.values(), *constants}
        self.names = {tensor: numbered(f"d{tensor}", self._taken) for tensor in forward.tensors}
        self._constants = constants
        self._apart = {
            tensor: _told_apart(forward, tensor, None if shapes is None else shapes[tensor])
            for tensor in forward.tensors
        }
        self._operands: dict[str, _Operand] = {}
        self._formulas = {formula: self._in_operands(formula) for formula in forward.formulas}
        formulas = [
            formula
            for tensor in reversed(list(forward.tensors))
            for formula in self._of_tensor(tensor, arriving.get(tensor))
        ]
        self.recurrence = Recurrence(forward.axis, -forward.step, tuple(formulas))

    def extents(self, forward: Mapping[str, int]) -> dict[str, int]:
        """The extents of all axes that the gradient's formulas have, from those of the recurrence."""
        found = dict(forward)
        while missing := [copy for copy, origin in self.copies.items() if copy not in found and origin in found]:
            found |= {copy: found[self.copies[copy]] for copy in missing}
        return found

    def towards(self, wrt: str) -> Formula | None:
        """The gradient towards an input of the recurrence, `d` + `wrt`, an ordinary formula; None where it is 0 by
        rule."""
        terms = list[tuple[tuple[Expr, ...], Expr]]()
        for formula in self.forward.formulas:
            if reads(formula.body, wrt):
                terms.append(self._over_steps(formula, wrt))
            if (begun := self._at_begin(formula, wrt)) is not None:
                terms.append(begun)
        terms = [(indices, body) for indices, body in terms if body != Number(0)]
        if not terms:
            return None
        target, total = terms[0]
        for indices, body in terms[1:]:
            total = Binary("+", total, self._renamed(body, indices, target))
        name = numbered(f"d{wrt}", {*self._taken, *self.names.values()})
        return Formula(Access(name, target), simplify(total))

    # ------------------------------------------------------------ towards the recurrence's own tensors
    def _of_tensor(self, tensor: str, arriving: str | None) -> list[Formula]:
        """The formulas of a tensor's gradient: one, or one for each number that tells its cells apart."""
        axes = next(formula.output.indices for formula in self.forward.formulas if formula.output.tensor == tensor)
        places, found = self._apart[tensor], list[Formula]()
        for numbers in product(*(range(count) for count in places.values())):
            cell = tuple(zip(places, numbers, strict=True))
            indices = tuple(Number(dict(cell)[place]) if place in places else axis for place, axis in enumerate(axes))
            total: Expr = Number(0) if arriving is None else Access(arriving, indices)
            # From readers in the same step, and from those in the next one.
            for operand, by in ((_Operand(tensor, False, cell), 0), (_Operand(tensor, True, cell), self.forward.step)):
                for formula, own in self._formulas.items():
                    if reads(own.body, operand.name):
                        read, body = self._derived(formula, operand.name)
                        # One step later there is a step before.
                        own_body = self._restored(body, by) if by else self._restored(body, join=self._begun)
                        total = Binary("+", total, self._renamed(own_body, read, indices))
            found.append(Formula(Access(self.names[tensor], indices), simplify(total)))
        return found

    # ------------------------------------------------------------ towards inputs
    def _over_steps(self, formula: Formula, wrt: str) -> tuple[tuple[Expr, ...], Expr]:
        """What reaches an input through one formula: indices and value.

        Where a factor is a state that does not begin with 0, the first step is a term of its own:

            sum(n,t) da[n,t,k]*h[n,t-1,j]   ->   sum(n,t : t > 0) da[n,t,k]*h[n,t-1,j] + sum(n) da[n,0,k]*s[n,j]
        """
        indices, body = self._derived(formula, wrt)
        axis = self.forward.axis
        if not self._begins(body):
            return indices, self._restored(body)
        if Name(axis) in indices:
            return indices, self._restored(body, join=self._begun)
        start = self.forward.start

        def split(node: Node) -> Node:
            if isinstance(node, Reduce) and axis in node.axes:
                others = replace(node, conditions=(*node.conditions, self._is_later()), body=self._restored(node.body))
                once = substitute(self._restored(node.body, join=lambda first, _: first), {axis: start})
                rest = tuple(other for other in node.axes if other != axis)
                conditions = tuple(substitute(condition, {axis: start}) for condition in node.conditions)
                begin = replace(node, axes=rest, conditions=conditions, body=once) if rest else once  # type: ignore[arg-type]
                return Binary("+", others, begin)  # type: ignore[arg-type]
            return map_children(node, split)

        return indices, split(body)  # type: ignore[return-value]

    def _is_later(self) -> Compare:
        """The condition that a step is not the first."""
        return Compare(">" if self.forward.step > 0 else "<", Name(self.forward.axis), self.forward.start)

    def _begun(self, first: Expr, before: Access) -> Expr:
        """What is read one step before, at whatever step."""
        return Call("where", (self._is_later(), before, first))

    def _at_begin(self, formula: Formula, wrt: str) -> tuple[tuple[Expr, ...], Expr] | None:
        """What reaches an input through the states before the first step that a formula reads."""
        if not any(reads(state.body, wrt) for state in self.forward.initial):
            return None
        hidden = f"{wrt}@elsewhere"
        first = self.forward.first_of(_with_name(formula, wrt, hidden), self.forward.start)
        if not reads(first.body, wrt):
            return None
        found = derive(first, wrt, self.names[formula.output.tensor], self._constants)
        self.copies.update(found.copies)
        body = self._told(found, first, first.output)
        return found.formula.output.indices, _with_name(replace(found.formula, body=body), hidden, wrt).body

    def _begins(self, body: Node) -> bool:
        """Whether something reads a state before the first step that is not 0."""
        states = {formula.output.tensor for formula in self.forward.initial}
        read = (self._operands[node.tensor] for node in walk(body) if self._is_operand(node))
        return any(operand.is_before and operand.tensor in states for operand in read)

    # ------------------------------------------------------------ formulas in operands
    def _in_operands(self, formula: Formula) -> Formula:
        """The formula with each of the recurrence's tensors as operands that are read at the step itself."""

        def visit(node: Node) -> Node:
            node = map_children(node, visit)
            if not isinstance(node, Access) or node.tensor not in self.forward.tensors:
                return node
            place, apart = self.forward.tensors[node.tensor], self._apart[node.tensor]
            numbers = tuple((number, _integer(node.indices[number])) for number in apart)
            operand = _Operand(node.tensor, self.forward.is_before(node), numbers)
            self._operands[operand.name] = operand
            at_step = (*node.indices[:place], Name(self.forward.axis), *node.indices[place + 1 :])
            return Access(operand.name, tuple(index for number, index in enumerate(at_step) if number not in apart))

        return replace(formula, body=visit(formula.body))  # type: ignore[arg-type]

    def _restored(self, body: Node, by: int = 0, join: _Join | None = None) -> Expr:
        """The value moved by some steps, in the recurrence's tensors again; see `_Join`."""
        axis = self.forward.axis

        def visit(node: Node) -> Node:
            node = map_children(node, visit)
            if not self._is_operand(node):
                return node
            operand = self._operands[node.tensor]
            indices = list(node.indices)
            for place, number in operand.numbers:
                indices.insert(place, Number(number))
            indices[self.forward.tensors[operand.tensor]] = _plus(axis, by - self.forward.step * operand.is_before)
            found = Access(operand.tensor, tuple(indices))
            first = self.forward.before_first(found) if operand.is_before and join else None
            return join(first, found) if join and first is not None else found

        return visit(substitute(body, {axis: _plus(axis, by)}) if by else body)  # type: ignore[return-value]

    def _is_operand(self, node: Node) -> TypeGuard[Access]:
        return isinstance(node, Access) and node.tensor in self._operands

    def _derived(self, formula: Formula, wrt: str) -> tuple[tuple[Expr, ...], Expr]:
        """The gradient of one formula towards `wrt`, in operands: indices and value. Its own value is read where the
        gradient says it again."""
        own, upstream = self._formulas[formula], self.names[formula.output.tensor]
        found = derive(own, wrt, upstream, self._constants)
        self.copies.update(found.copies)
        now = _Operand(formula.output.tensor, False)
        self._operands[now.name] = now
        return found.formula.output.indices, self._told(found, own, Access(now.name, formula.output.indices))

    @staticmethod
    def _told(found: Gradient, formula: Formula, result: Access) -> Expr:
        """The gradient's value, with the formula's result where it says the same: at the cells that it stands at."""
        body = found.formula.body
        arrived = (part for part in walk(body) if isinstance(part, Access) and part.tensor == found.upstream)
        if any(part.indices != formula.output.indices for part in arrived):
            return body
        return _told_by(body, formula.body, result)

    def _renamed(self, body: Expr, old: tuple[Expr, ...], new: tuple[Expr, ...]) -> Expr:
        """A value over the indices `old` as one over the indices `new`, numbers among them left out of both."""
        own, wanted = ([index.name for index in indices if isinstance(index, Name)] for indices in (old, new))
        renamed = {name: other for name, other in zip(own, wanted, strict=True) if name != other}
        copies = AxisCopies(frozenset(self._taken) | names_of((body,)) | frozenset(wanted))
        result = separate(body, renamed, frozenset(wanted), copies)
        self.copies.update(copies.origins)
        return result  # type: ignore[return-value]


def _told_apart(forward: Recurrence, tensor: str, shape: tuple[int, ...] | None) -> dict[int, int]:
    """The dimensions in which a tensor is read at numbers alone, each with how many there are."""
    bodies = [node for formula in forward.formulas for node in walk(formula.body)]
    found = [node.indices for node in bodies if isinstance(node, Access) and node.tensor == tensor]
    counts = dict[int, int]()
    for place, indices in enumerate(zip(*found, strict=True)):
        numbers = {index.value for index in indices if isinstance(index, Number)}
        if all(isinstance(index, Number) for index in indices):
            counts[place] = int(max(numbers)) + 1 if shape is None else shape[place]
    return counts if prod(counts.values()) <= MOST_FORMULAS else {}


def _told_by(node: Node, value: Expr, result: Access) -> Expr:
    """The node with every part that says the same as `value` replaced; what is read as it stands says nothing new."""
    if isinstance(value, Access | Number | Name):
        return node  # type: ignore[return-value]
    if type(node) is type(value) and by_place(node) == by_place(value):
        return result
    return map_children(node, lambda child: _told_by(child, value, result))  # type: ignore[return-value]


def _with_name(formula: Formula, old: str, new: str) -> Formula:
    """The formula reading another tensor or scalar."""

    def visit(node: Node) -> Node:
        node = map_children(node, visit)
        if isinstance(node, Access) and node.tensor == old:
            return replace(node, tensor=new)
        return replace(node, name=new) if isinstance(node, Name) and node.name == old else node

    return replace(formula, body=visit(formula.body))  # type: ignore[arg-type]


def _integer(index: Expr) -> int:
    assert isinstance(index, Number)
    assert isinstance(index.value, int)
    return index.value


def _plus(axis: str, by: int) -> Expr:
    return Binary("+" if by > 0 else "-", Name(axis), Number(abs(by))) if by else Name(axis)
