"""Several formulas and recurrences in order: what they read, how far their axes run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pellucid.errors import EquationError, ShapeError
from pellucid.language.extents import axes, infer_extents, inputs, known_extents, output_shape, scalars
from pellucid.language.recurrence import Part, Recurrence
from pellucid.language.render import to_text
from pellucid.language.simplify import simplify
from pellucid.language.syntax import Expr, Formula, Name, Negative, Number, substitute, walk

__all__ = ["Extents", "axes_of", "extents_of", "formulas_of", "inputs_of", "recurrence_extents"]


@dataclass(frozen=True)
class Extents:
    """`parts` has the extents of every part's axes, `shapes` the shape of all that they make."""

    parts: tuple[Mapping[str, int], ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def last(self) -> Mapping[str, int]:
        """The extents of the last part."""
        return self.parts[-1]


def formulas_of(parts: Iterable[Part]) -> tuple[Formula, ...]:
    """Every formula in order, those of states before a first step behind their recurrence's."""
    return tuple(
        formula
        for part in parts
        for formula in ((*part.formulas, *part.initial) if isinstance(part, Recurrence) else (part,))
    )


def axes_of(parts: Iterable[Part], constants: Mapping[str, int | float]) -> frozenset[str]:
    """The axes of all formulas."""
    return frozenset(name for formula in formulas_of(parts) for name in axes(formula, constants))


def inputs_of(parts: Iterable[Part], constants: Mapping[str, int | float]) -> tuple[str, ...]:
    """The arrays and scalars that are read and not made, in order of appearance."""
    formulas = formulas_of(parts)
    made = {formula.output.tensor for formula in formulas}
    read = dict.fromkeys(name for formula in formulas for name in inputs(formula))
    numbers = dict.fromkeys(name for formula in formulas for name in scalars(formula, constants))
    return tuple(name for name in (*read, *numbers) if name not in made)


def extents_of(
    parts: Sequence[Part],
    constants: Mapping[str, int | float],
    shapes: Mapping[str, tuple[int, ...]],
    given: Mapping[str, int],
) -> Extents:
    """What the shapes of the inputs, and outputs that are known beforehand, say; raises what `infer_extents` does."""
    known, found = dict(shapes), list[Mapping[str, int]]()
    made = dict[str, tuple[int, ...]]()
    for part in parts:
        if isinstance(part, Recurrence):
            own, new = recurrence_extents(part, constants, known, given)
        else:
            own = infer_extents(part, constants, known, given)
            new = {part.output.tensor: output_shape(part, constants, own)}
        found.append(own)
        made |= new
        known |= new
    return Extents(tuple(found), made)


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
            if all(name in own for index in formula.output.indices for name in _names_in(index, constants)):
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


def _names_in(index: Expr, constants: Mapping[str, int | float]) -> set[str]:
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
