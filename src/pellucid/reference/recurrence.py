"""The literal meaning of a recurrence, step after step, and of several formulas and recurrences in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.language.parts import Extents
from pellucid.language.recurrence import Part, Recurrence
from pellucid.language.syntax import Number, substitute
from pellucid.reference.evaluate import evaluate

__all__ = ["evaluate_parts", "evaluate_recurrence"]


def evaluate_parts(
    parts: Sequence[Part],
    constants: Mapping[str, int | float],
    extents: Extents,
    arrays: Mapping[str, ArrayLike],
) -> dict[str, NDArray[Any]]:
    """Everything that the parts make, one after the other; `extents` as `extents_of` gives them, the rest as for
    `evaluate`."""
    made = dict[str, NDArray[Any]]()
    for part, own in zip(parts, extents.parts, strict=True):
        known = {**arrays, **made}
        if isinstance(part, Recurrence):
            made |= evaluate_recurrence(part, constants, own, extents.shapes, known)
        else:
            made[part.output.tensor] = evaluate(part, constants, own, known)
    return made


def evaluate_recurrence(
    recurrence: Recurrence,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Mapping[str, ArrayLike],
) -> dict[str, NDArray[Any]]:
    """Every tensor that a recurrence makes, in float64 and of its shape in `shapes`; the rest as for `evaluate`."""
    made = {name: np.zeros(shapes[name]) for name in recurrence.tensors}
    known = {**{name: np.asarray(array) for name, array in arrays.items()}, **made}
    count = extents[recurrence.axis]
    steps = range(count) if recurrence.step > 0 else range(count - 1, -1, -1)

    for step in steps:
        for formula in recurrence.formulas:
            own = recurrence.at_step(formula, step, count)
            output, body = (substitute(part, {recurrence.axis: Number(step)}) for part in (own.output, own.body))
            at_step = replace(own, output=output, body=body)  # type: ignore[arg-type]
            evaluate(at_step, constants, extents, known, out=made[formula.output.tensor])
    return made
