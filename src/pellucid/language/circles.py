"""Which formulas of a list are recurrences: those that read each other in a circle.

    a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k]      reads h
    h[n,t,k] = tanh(a[n,t,k])                           reads a
    h[n,-1,k] = s[n,k]                                  the state before their first step

A circle that has no step between its reads has no order in which it can be made, and is an error with a caret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pellucid.errors import EquationError
from pellucid.language.extents import axes, inputs, scalars
from pellucid.language.recurrence import Part, Recurrence, offset_of, place_of
from pellucid.language.remembered import remembered
from pellucid.language.render import to_text
from pellucid.language.syntax import Access, Formula, Name, Reduce, walk

__all__ = ["parts_of", "recurrence_of"]


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
    recurrent = {name for part in result if isinstance(part, Recurrence) for name in part.tensors}
    for formula in formulas:
        if formula not in main and formula.output.tensor not in recurrent:
            message = f"`{formula.output.tensor}` is no recurrence, and has no state before a first step"
            raise EquationError(message, formula.output.span)
    return tuple(result)


@remembered
def tensors_read(formula: Formula) -> frozenset[str]:
    """The tensors that a formula reads, and the names that may be those of single numbers."""
    return frozenset((*inputs(formula), *scalars(formula)))


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
            here, there = (len(entry.output.indices) for entry in (formula, other))
            count = f"{here} index" if here == 1 else f"{here} indices"
            raise EquationError(f"`{name}` has {count} here and {there} elsewhere", formula.output.span)
        pairs = zip(formula.output.indices, other.output.indices, strict=True)
        if any(isinstance(theirs, Name) and own != theirs for own, theirs in pairs):
            return True
    return False


def _begins(output: Access, other: Access) -> bool:
    """Whether an output has no axis where another of the same tensor has one."""
    return output.tensor == other.tensor and any(
        isinstance(theirs, Name) and not isinstance(own, Name)
        for own, theirs in zip(output.indices, other.indices, strict=True)
    )


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
    for formula in formulas:
        if any(_begins(formula.output, other.output) for other in formulas):
            message = f"`{to_text(formula.output)}` is a state before the first step and depends on the steps"
            raise EquationError(message, formula.output.span)
    closest: tuple[Recurrence, list[_Fault]] | None = None
    for axis in formulas[0].free_axes:
        for step in (1, -1):
            found = Recurrence(axis, step, tuple(formulas), tuple(initial))
            faults = _faults(found)
            if not faults:
                _check_initial(found)
                return found
            if closest is None or len(faults) < len(closest[1]):
                closest = found, faults
    if closest is None:
        output = formulas[0].output
        message = f"`{to_text(output)}` is read to make itself; a recurrence needs an axis to walk along"
        raise EquationError(message, output.span)
    # Of several that are none, the one that comes closest says best what is wrong.
    recurrence, (fault, *_) = closest
    raise _error(recurrence, fault)


def _check_initial(recurrence: Recurrence) -> None:
    """EquationError unless each state before the first step is one value without reductions, over bare axes, and its
    names mean what they mean in the recurrence."""
    done = set[str]()
    inside = {axis for formula in recurrence.formulas for axis in axes(formula)}
    for formula in recurrence.initial:
        output = formula.output
        if output.tensor in done:
            raise EquationError(f"`{output.tensor}` has two states before the first step", output.span)
        done.add(output.tensor)
        place = recurrence.tensors[output.tensor]
        begin = output.indices[place]
        if isinstance(begin, Name) and begin.name in inside:
            wanted = "-1" if recurrence.step > 0 else f"the extent of `{recurrence.axis}`"
            message = f"the state before the first step stands at {wanted}, not at `{to_text(begin)}`"
            raise EquationError(message, begin.span)
        for index in (*output.indices[:place], *output.indices[place + 1 :]):
            if not isinstance(index, Name):
                message = f"the state before the first step has an axis in every other place, not `{to_text(index)}`"
                raise EquationError(message, index.span)
        for node in walk(formula.body):
            if isinstance(node, Reduce):
                raise EquationError("the state before the first step is a value without reductions", node.span)
            if isinstance(node, Name) and node.name in inside and node.name not in formula.free_axes:
                message = f"`{node.name}` is an axis of the recurrence, and none of the state before the first step"
                raise EquationError(message, node.span)


# A formula, and what it reads that is made neither before it in the same step nor in the step before; its output where
# that does not stand at the step.
_Fault: TypeAlias = tuple[Formula, Access]


def _faults(recurrence: Recurrence) -> list[_Fault]:
    """Every `_Fault`; none in a recurrence."""
    axis, found = recurrence.axis, dict[str, set[int | None]]()
    for formula in recurrence.formulas:
        found.setdefault(formula.output.tensor, set()).add(place_of(formula.output, axis))
    # Where each tensor counts the steps, in one place in all that is written of it.
    places = {name: place for name, (place, *others) in found.items() if place is not None and not others}
    faults, done = list[_Fault](), set[str]()
    for number, formula in enumerate(recurrence.formulas):
        name = formula.output.tensor
        if name not in places:
            faults.append((formula, formula.output))
            continue
        for node in walk(formula.body):
            if not (isinstance(node, Access) and node.tensor in places):
                continue
            offset = offset_of(node.indices[places[node.tensor]], axis)
            if not (offset == -recurrence.step or (offset == 0 and node.tensor in done)):
                faults.append((formula, node))
        if all(later.output.tensor != name for later in recurrence.formulas[number + 1 :]):
            done.add(name)
    return faults


def _error(recurrence: Recurrence, fault: _Fault) -> EquationError:
    """What is wrong with formulas that are no recurrence."""
    (formula, access), axis = fault, recurrence.axis
    tensor, before = access.tensor, f"`{axis}{'-' if recurrence.step > 0 else '+'}1`"
    own = next(other.output for other in recurrence.formulas if other.output.tensor == tensor)
    place = place_of(own, axis)
    if access is formula.output or place is None:
        message = f"`{to_text(access)}` has no index `{axis}`, along which the others wait for it"
    elif access.indices == own.indices and len(recurrence.formulas) == 1:
        message = f"`{tensor}` is the output and is also read"
    elif (offset := offset_of(access.indices[place], axis)) == 0 and tensor != formula.output.tensor:
        message = f"`{to_text(access)}` is made later in the same step; write it before this equation, or read {before}"
    elif offset is None and any(offset_of(index, axis) is not None for index in access.indices):
        message = f"`{to_text(access)}` has `{axis}` in another place than `{to_text(own)}`"
    else:
        message = f"`{to_text(access)}` waits for itself: a recurrence reads what it makes one step before, at {before}"
    return EquationError(message, access.span)
