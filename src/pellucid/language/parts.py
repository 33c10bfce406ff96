"""Several formulas and recurrences in order: what they read, how far their axes run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pellucid.language.extents import axes, infer_extents, inputs, output_shape, scalars
from pellucid.language.recurrence import Part, Recurrence, recurrence_extents
from pellucid.language.syntax import Formula

__all__ = ["Extents", "axes_of", "extents_of", "formulas_of", "inputs_of"]


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
