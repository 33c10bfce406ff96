"""Recurrences: formulas that read each other one step before, found in a list of formulas.

    h[n,t,k]  = tanh(u[n,t,k] + sum(j) h[n,t-1,j] * w[j,k])
    h[n,-1,k] = s[n,k]

Formulas that read each other in a circle are made together, step by step along one bare axis (`t`). Inside, a tensor is
read at `t`, where it is made before in the same step, or one step before: at `t-1`, or everywhere at `t+1`, and then
the steps run from the last one to the first. A line that writes the place before the first step (`-1`; the extent of
`t` where steps run backwards) is the state that the first step reads. Without it reading there is what reading outside
an array is everywhere: 0 in a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from pellucid.errors import EquationError, ShapeError
from pellucid.language.binding import names_of
from pellucid.language.extents import infer_extents, inputs, known_extents, output_shape, scalars
from pellucid.language.remembered import remembered
from pellucid.language.render import to_text
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Expr,
    Formula,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    map_children,
    substitute,
    walk,
)

__all__ = ["Part", "Recurrence", "parts_of", "reads", "recurrence_extents", "recurrence_of"]


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
        return {formula.output.tensor: _place(formula.output, self.axis) or 0 for formula in self.formulas}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that are read and not made here, in order of appearance."""
        read = dict.fromkeys(name for formula in (*self.formulas, *self.initial) for name in inputs(formula))
        return tuple(name for name in read if name not in self.tensors)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that is no tensor's."""
        return names_of(node for formula in (*self.formulas, *self.initial) for node in (formula.output, formula.body))

    def scalars(self, constants: Iterable[str]) -> tuple[str, ...]:
        """The scalar inputs: names that are neither axes nor `constants`."""
        every = (scalars(formula, tuple(constants)) for formula in (*self.formulas, *self.initial))
        return tuple(dict.fromkeys(name for names in every for name in names))

    def is_before(self, access: Access) -> bool:
        """Whether an access reads one of the tensors one step before."""
        place = self.tensors.get(access.tensor)
        return place is not None and _offset(access.indices[place], self.axis) == -self.step

    def apart(self) -> tuple[str, ...]:
        """The axes along which the cells of all formulas depend on none but their own: the images of a batch.

        In each tensor such an axis stands bare in one place, wherever it is written or read.
        """
        found = list[str]()
        reduced = {
            axis for f in self.formulas for part in walk(f.body) if isinstance(part, Reduce) for axis in part.axes
        }
        for axis in self.formulas[0].free_axes:
            places = {f.output.tensor: _place(f.output, axis) for f in self.formulas}
            accesses = [
                part
                for f in self.formulas
                for part in (f.output, *walk(f.body))
                if isinstance(part, Access) and part.tensor in places
            ]
            stands = all(_place(part, axis) == places[part.tensor] for part in accesses)
            if stands and None not in places.values() and axis != self.axis and axis not in reduced:
                found.append(axis)
        return tuple(found)

    def without_waiting(self) -> tuple[tuple[Formula, ...], Recurrence]:
        """Sums that read nothing that is made here, as formulas before the recurrence, and what is left of it.

        before   h[t,k] = tanh(sum(c) x[t,c]*u[c,k] + sum(j) h[t-1,j]*w[j,k])
        after    h.1[t,k] = sum(c) x[t,c]*u[c,k];     h[t,k] = tanh(h.1[t,k] + sum(j) h[t-1,j]*w[j,k])
        """
        before = list[Formula]()

        def visit(node: Node, axes: tuple[str, ...], name: str) -> Node:
            if not isinstance(node, Reduce):
                return map_children(node, lambda child: visit(child, axes, name))
            if any(reads(node, tensor) for tensor in self.tensors):
                return node
            own = tuple(Name(axis) for axis in axes if reads(node, axis))
            access = Access(f"{name}.{len(before) + 1}", own)
            before.append(Formula(access, node))
            return access

        formulas = tuple(
            replace(formula, body=visit(formula.body, formula.free_axes, formula.output.tensor))  # type: ignore[arg-type]
            for formula in self.formulas
        )
        return tuple(before), (replace(self, formulas=formulas) if before else self)

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
        if step != (0 if self.step > 0 else count - 1):
            return formula

        def started(node: Node) -> Node:
            node = map_children(node, started)
            return (self.is_before(node) and self.before_first(node)) or node if isinstance(node, Access) else node

        return replace(formula, body=started(formula.body))  # type: ignore[arg-type]

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
        """The formula with what it reads one step before replaced by the state before the first step."""

        def visit(node: Node, kind: str) -> Node:
            if isinstance(node, Access) and self.is_before(node):
                found = self.before_first(node)
                # Outside a maximum is no number that could be written.
                return found or (Number(0) if kind == "sum" else node)
            inner = node.op.removeprefix("arg") if isinstance(node, Reduce) else kind
            return map_children(node, lambda child: visit(child, inner))

        return replace(formula, body=simplify(visit(formula.body, "sum")))  # type: ignore[arg-type, type-var]


Part: TypeAlias = Formula | Recurrence


def waits_for_later(formulas: Sequence[Formula]) -> bool:
    """Whether a formula reads what it makes itself, or what one behind it makes: else the order is that of writing."""
    open_ = {formula.output.tensor for formula in formulas}
    for number, formula in enumerate(formulas):
        if not open_.isdisjoint(tensors_read(formula)):
            return True
        if all(later.output.tensor != formula.output.tensor for later in formulas[number + 1 :]):
            open_.discard(formula.output.tensor)
    return False


def parts_of(formulas: Sequence[Formula]) -> tuple[Part, ...]:
    """The formulas in an order in which they can be computed, those that depend on each other as recurrences.

    EquationError with a caret where one reads another in a way that has no order.
    """
    if not waits_for_later(formulas):
        return tuple(formulas)
    reads = {formula.output.tensor: set[str]() for formula in formulas}
    for formula in formulas:
        reads[formula.output.tensor] |= reads.keys() & tensors_read(formula)
    reach = {name: _reachable(name, reads) for name in reads}
    main = [formula for formula in formulas if not _is_initial(formula, formulas, reach)]
    made = {formula.output.tensor for formula in main}
    done, result = set[str](), list[Part]()
    waiting = list(main)
    while waiting:
        formula = next(entry for entry in waiting if _is_ready(entry.output.tensor, reach, reads, done))
        name = formula.output.tensor
        together = {other for other in made if other in reach[name] and name in reach[other]} or {name}
        own = [entry for entry in waiting if entry.output.tensor in together]
        waiting = [entry for entry in waiting if entry.output.tensor not in together]
        done |= together
        if name in reach[name]:
            initial = [entry for entry in formulas if entry not in main and entry.output.tensor in together]
            result.append(recurrence_of(own, initial))
        else:
            result += own
    for formula in formulas:
        if formula not in main and formula.output.tensor not in {t for part in result for t in _recurrent(part)}:
            message = f"`{formula.output.tensor}` is no recurrence, and has no state before a first step"
            raise EquationError(message, formula.output.span)
    return tuple(result)


def recurrence_extents(
    recurrence: Recurrence,
    constants: Mapping[str, int | float],
    shapes: Mapping[str, tuple[int, ...]],
    given: Mapping[str, int],
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """The extent of every axis, which has one in all formulas of a recurrence, and the shapes of what they make.

    `shapes` and `given` as for `infer_extents`. ShapeError where extents are open or contradict each other.
    """
    known, found = dict(shapes), dict[str, int]()
    close, progress = False, True
    while progress or not close:
        # By the field's rule only where nothing else tells: a state that is as long as it is says nothing of the steps.
        close, before = not progress, (dict(known), dict(found))
        for formula in recurrence.formulas:
            own = known_extents(formula, constants, known, {**given, **found}, close=close)
            _join(found, formula, own)
            if all(name in own for index in formula.output.indices for name in names_in(index, constants)):
                shape = output_shape(formula, constants, own)
                known[formula.output.tensor] = tuple(map(max, known.get(formula.output.tensor, shape), shape))
        progress = (known, found) != before
    for formula in recurrence.formulas:
        _join(found, formula, infer_extents(formula, constants, known, {**given, **found}))
    made = {name: known[name] for name in recurrence.tensors}
    for name, place in recurrence.tensors.items():
        if made[name][place] != found[recurrence.axis]:
            raise ShapeError(
                f"index `{recurrence.axis}` has two extents: {found[recurrence.axis]}, and {made[name][place]} in "
                f"{name} {made[name]}"
            )
    for formula in recurrence.initial:
        place, shape = recurrence.tensors[formula.output.tensor], made[formula.output.tensor]
        _check_begin(formula.output.indices[place], recurrence, constants, shape[place])
        # A state is an array of the other dimensions.
        kept = tuple(index for number, index in enumerate(formula.output.indices) if number != place)
        state = replace(formula, output=replace(formula.output, indices=kept))
        sizes = {**known, formula.output.tensor: shape[:place] + shape[place + 1 :]}
        _join(found, formula, infer_extents(state, constants, sizes, {}))
    return found, made


def names_in(index: Expr, constants: Mapping[str, int | float]) -> set[str]:
    """The axes in an index."""
    return {part.name for part in walk(index) if isinstance(part, Name) and part.name not in constants}


def _join(found: dict[str, int], formula: Formula, extents: Mapping[str, int]) -> None:
    for name, extent in extents.items():
        if found.setdefault(name, extent) != extent:
            message = f"index `{name}` has two extents in one recurrence: {found[name]} and {extent}"
            raise ShapeError(message, formula.output.span)


def _check_begin(index: Expr, recurrence: Recurrence, constants: Mapping[str, int | float], extent: int) -> None:
    wanted = -1 if recurrence.step > 0 else extent
    value = simplify(substitute(index, {name: Number(number) for name, number in constants.items()}))
    if isinstance(value, Negative) and isinstance(value.operand, Number):
        value = Number(-value.operand.value)
    if not isinstance(value, Number) or value.value != wanted:
        message = f"the state before the first step stands at {wanted}, not at `{to_text(index, compact=True)}`"
        raise EquationError(message, index.span)


@remembered
def tensors_read(formula: Formula) -> frozenset[str]:
    """The tensors that a formula reads."""
    return frozenset(inputs(formula))


def reads(node: Node, name: str) -> bool:
    """Whether a tensor or scalar stands anywhere in a value."""
    return any(
        (isinstance(part, Access) and part.tensor == name) or (isinstance(part, Name) and part.name == name)
        for part in walk(node)
    )


# ---------------------------------------------------------------- which formulas belong together
def _is_initial(formula: Formula, formulas: Sequence[Formula], reach: Mapping[str, set[str]]) -> bool:
    """Whether a formula that depends on no cell of its own tensor has a place where another one has an axis."""
    name = formula.output.tensor
    if any(other == name or name in reach.get(other, ()) for other in tensors_read(formula)):
        return False
    for other in formulas:
        if other is formula or other.output.tensor != name:
            continue
        if len(other.output.indices) != len(formula.output.indices):
            raise EquationError(f"{name} has another number of indices elsewhere", formula.output.span)
        pairs = zip(formula.output.indices, other.output.indices, strict=True)
        if any(isinstance(theirs, Name) and own != theirs for own, theirs in pairs):
            return True
    return False


def _recurrent(part: Part) -> tuple[str, ...]:
    return tuple(part.tensors) if isinstance(part, Recurrence) else ()


def _reachable(name: str, reads: Mapping[str, set[str]]) -> set[str]:
    """The tensors that `name` depends on over one formula or more."""
    found, open_ = set[str](), list(reads[name])
    while open_:
        other = open_.pop()
        if other not in found:
            found.add(other)
            open_ += reads.get(other, ())
    return found


def _is_ready(name: str, reach: Mapping[str, set[str]], reads: Mapping[str, set[str]], done: set[str]) -> bool:
    """Whether all that a tensor depends on is done, or depends on it."""
    return all(other in done or name in reach.get(other, ()) for other in reach[name] | reads[name])


# ---------------------------------------------------------------- one recurrence
def recurrence_of(formulas: Sequence[Formula], initial: Sequence[Formula] = ()) -> Recurrence:
    """The recurrence of formulas that depend on each other; EquationError where they are none along any axis."""
    for formula in initial:
        if any(isinstance(node, Reduce) for node in walk(formula.body)):
            raise EquationError("a state before the first step is a value without reductions", formula.body.span)
    for axis in formulas[0].free_axes:
        for step in (1, -1):
            found = Recurrence(axis, step, tuple(formulas), tuple(initial))
            if not _faults(found):
                return found
    raise _fault(formulas)


def _faults(recurrence: Recurrence) -> list[Access]:
    """The accesses that find nothing: neither made before in the same step nor in the one before it."""
    axis, made = recurrence.axis, {formula.output.tensor for formula in recurrence.formulas}
    places = {name: {_place(f.output, axis) for f in recurrence.formulas if f.output.tensor == name} for name in made}
    faults = list[Access]()
    done = set[str]()
    for number, formula in enumerate(recurrence.formulas):
        name = formula.output.tensor
        if len(places[name]) > 1 or None in places[name]:
            faults.append(formula.output)
            continue
        for node in walk(formula.body):
            if not (isinstance(node, Access) and node.tensor in made) or None in places[node.tensor]:
                continue
            (place,) = list(places[node.tensor])[:1]
            offset = _offset(node.indices[place or 0], axis) if place is not None else None
            if not (offset == -recurrence.step or (offset == 0 and node.tensor in done)):
                faults.append(node)
        if all(later.output.tensor != name for later in recurrence.formulas[number + 1 :]):
            done.add(name)
    return faults


def _fault(formulas: Sequence[Formula]) -> EquationError:
    """What is wrong with formulas that are no recurrence along any axis."""
    made = {formula.output.tensor for formula in formulas}
    only = formulas[0].output
    for formula in formulas:
        for node in walk(formula.body):
            if isinstance(node, Access) and node.tensor in made:
                if len(formulas) == 1 and node.indices == only.indices:
                    return EquationError(f"`{only.tensor}` is the output and is also read", node.span)
                steps = " or ".join(f"`{axis}-1`" for axis in formula.free_axes[:3])
                message = f"`{to_text(node)}` waits for itself: a recurrence reads what it makes one step before"
                return EquationError(f"{message}, at {steps or 'an axis minus 1'}", node.span)
    raise AssertionError("formulas that depend on each other read each other")


def _place(access: Access, axis: str) -> int | None:
    """The dimension whose index is the bare axis."""
    places = (number for number, index in enumerate(access.indices) if _is_name(index) and index == Name(axis))
    return next(places, None)


def _offset(index: Expr, axis: str) -> int | None:
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


def _is_name(index: Expr) -> bool:
    return isinstance(index, Name)


def _at(formula: Formula, axis: str, at: Expr) -> Formula:
    """The formula with its free axis standing at another place."""
    output = simplify(substitute(formula.output, {axis: at}))
    return replace(formula, output=output, body=simplify(substitute(formula.body, {axis: at})))  # type: ignore[arg-type]
