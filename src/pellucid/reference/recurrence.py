"""The literal meaning of a recurrence: step after step, every formula as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.language.recurrence import Recurrence
from pellucid.language.syntax import Access, Node, Number, map_children, substitute
from pellucid.reference.evaluate import evaluate

__all__ = ["evaluate_recurrence"]


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

    def started(node: Node) -> Node:
        node = map_children(node, started)
        before = recurrence.before_first(node) if isinstance(node, Access) and recurrence.is_before(node) else None
        return node if before is None else before

    for number, step in enumerate(steps):
        for formula in recurrence.formulas:
            body = started(formula.body) if number == 0 else formula.body
            here = {recurrence.axis: Number(step)}
            output, value = substitute(formula.output, dict(here)), substitute(body, dict(here))
            at_step = replace(formula, output=output, body=value)  # type: ignore[arg-type]
            evaluate(at_step, constants, extents, known, out=made[formula.output.tensor])
    return made
