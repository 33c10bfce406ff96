"""Recurrences: formulas that read each other one step before.

    h[n,t,k]  = tanh(u[n,t,k] + sum(j) h[n,t-1,j] * w[j,k])
    h[n,-1,k] = s[n,k]

Formulas that read each other in a circle are made together, step by step along one bare axis (`t`). Inside, a tensor is
read at `t`, where it is made before in the same step, or one step before: at `t-1`, or everywhere at `t+1`, and then
the steps run from the last one to the first. A line that writes the place before the first step (`-1`; the extent of
`t` where steps run backwards) is the state that the first step reads. Without it reading there is what reading outside
an array is everywhere: 0 in a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from pellucid.language.binding import names_of
from pellucid.language.extents import inputs
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
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

__all__ = ["Part", "Recurrence", "offset_of", "place_of"]


@dataclass(frozen=True)
class Recurrence:
    """`formulas` in the order of a step, along `axis`, upwards (`step` 1) or downwards (-1).

    `initial` are the formulas of the states before the first step. A tensor may be made by several formulas, which
    write different cells of it.
    """

    axis: str
    step: int
    formulas: tuple[Formula, ...]
    initial: tuple[Formula, ...] = ()

    @cached_property
    def tensors(self) -> Mapping[str, int]:
        """The tensors that are made, in order, each with the dimension that counts the steps."""
        return {formula.output.tensor: place_of(formula.output, self.axis) or 0 for formula in self.formulas}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that are read and not made here, in order of appearance."""
        read = dict.fromkeys(name for formula in (*self.formulas, *self.initial) for name in inputs(formula))
        return tuple(name for name in read if name not in self.tensors)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that is no tensor's."""
        return names_of(node for formula in (*self.formulas, *self.initial) for node in (formula.output, formula.body))

    def is_before(self, access: Access) -> bool:
        """Whether an access reads one of the tensors one step before."""
        place = self.tensors.get(access.tensor)
        return place is not None and offset_of(access.indices[place], self.axis) == -self.step

    def apart(self) -> tuple[str, ...]:
        """The axes along which the cells of all formulas depend on none but their own: the images of a batch.

        In each tensor such an axis stands bare in one place, wherever it is written or read.
        """
        found = list[str]()
        reduced = {
            axis for f in self.formulas for part in walk(f.body) if isinstance(part, Reduce) for axis in part.axes
        }
        for axis in self.formulas[0].free_axes:
            places = {f.output.tensor: place_of(f.output, axis) for f in self.formulas}
            accesses = [
                part
                for f in self.formulas
                for part in (f.output, *walk(f.body))
                if isinstance(part, Access) and part.tensor in places
            ]
            stands = all(place_of(part, axis) == places[part.tensor] for part in accesses)
            if stands and None not in places.values() and axis != self.axis and axis not in reduced:
                found.append(axis)
        return tuple(found)

    def first(self, extent: int) -> tuple[Formula, ...]:
        """The formulas of the first of `extent` steps, no longer recurrent."""
        start = Number(0 if self.step > 0 else extent - 1)
        return tuple(self.first_of(formula, start) for formula in self.formulas)

    def first_of(self, formula: Formula, start: Expr) -> Formula:
        """A formula of the recurrence in the first step, which is at `start`."""
        return _at(self._started(formula), self.axis, start)

    def later(self, extent: int) -> tuple[Formula, ...]:
        """The formulas of all other steps; `axis` counts them from 0, and the cells of the step before it are there."""
        up = Binary("+", Name(self.axis), Number(1))
        at = up if self.step > 0 else Binary("-", Number(extent - 2), Name(self.axis))
        return tuple(_at(formula, self.axis, at) for formula in self.formulas)

    def at_step(self, formula: Formula, step: int, count: int) -> Formula:
        """A formula of the recurrence as it stands in one of `count` steps: in the first it reads the states before."""
        return self._started(formula) if step == (0 if self.step > 0 else count - 1) else formula

    @property
    def start(self) -> Expr:
        """Where the first step is, of a recurrence with a state before it."""
        end = self.initial[0].output.indices[self.tensors[self.initial[0].output.tensor]]
        return Number(0) if self.step > 0 else simplify(Binary("-", end, Number(1)))

    def before_first(self, access: Access) -> Expr | None:
        """What stands for an access that `is_before` in the first step: the initial state's value there; None where
        there is no initial state."""
        place = self.tensors[access.tensor]
        state = next((formula for formula in self.initial if formula.output.tensor == access.tensor), None)
        if state is None:
            return None
        pairs = list(zip(state.output.indices, access.indices, strict=True))
        del pairs[place]
        names = {own.name: given for own, given in pairs if isinstance(own, Name)}
        return substitute(state.body, names)  # type: ignore[arg-type, return-value]

    def _started(self, formula: Formula) -> Formula:
        """The formula with what it reads one step before replaced by the state before the first step. Where there is
        none, what is multiplied by it is not there either, be it infinite: a gradient's factors are read behind the
        last step, where no array has cells."""

        def visit(node: Node, kind: str) -> Node:
            if isinstance(node, Access) and self.is_before(node):
                found = self.before_first(node)
                # Outside a maximum is no number that could be written.
                return found or (Number(0) if kind == "sum" else node)
            inner = node.op.removeprefix("arg") if isinstance(node, Reduce) else kind
            node = map_children(node, lambda child: visit(child, inner))
            is_nothing = isinstance(node, Binary) and node.op == "/" and simplify(node.left) == Number(0)
            return Number(0) if is_nothing else node

        return replace(formula, body=simplify(visit(formula.body, "sum")))  # type: ignore[arg-type, type-var]


Part: TypeAlias = Formula | Recurrence


def place_of(access: Access, axis: str) -> int | None:
    """The dimension whose index is the bare axis."""
    return next((number for number, index in enumerate(access.indices) if index == Name(axis)), None)


def offset_of(index: Expr, axis: str) -> int | None:
    """c of an index `axis + c`; None for any other."""
    match index:
        case Name(name) if name == axis:
            return 0
        case Binary("-", Name(name), Number(int(value))) if name == axis:
            return -value
        case Binary("+", Name(name), Number(int(value))) if name == axis:
            return value
        case _:
            return None


def _at(formula: Formula, axis: str, at: Expr) -> Formula:
    """The formula with its free axis standing at another place."""
    output = simplify(substitute(formula.output, {axis: at}))
    return replace(formula, output=output, body=simplify(substitute(formula.body, {axis: at})))  # type: ignore[arg-type]
