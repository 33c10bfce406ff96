"""What in a recurrence does not wait for its steps, as formulas before it.

    before   h[t,k] = tanh(sum(c) x[t,c]*u[c,k] + sum(j) h[t-1,j]*w[j,k])
    after    h.1[t,k] = sum(c) x[t,c]*u[c,k];     h[t,k] = tanh(h.1[t,k] + sum(j) h[t-1,j]*w[j,k])

Sums that read nothing that is made in the recurrence are taken out, and reads at a divided step (`x[t//2]`): steps are
walked one by one, so no formula of them can be cut into one for each remainder.
"""

from __future__ import annotations

from dataclasses import replace

from pellucid.language.binding import reads
from pellucid.language.recurrence import Recurrence
from pellucid.language.syntax import Access, Binary, Formula, Name, Node, Reduce, map_children, walk

__all__ = ["without_waiting"]


def without_waiting(recurrence: Recurrence) -> tuple[tuple[Formula, ...], Recurrence]:
    """The formulas before the recurrence, and what is left of it."""
    before = list[Formula]()

    def visit(node: Node, axes: tuple[str, ...], name: str, waits: bool) -> Node:
        """The node over these axes without what is taken out of it; of what `waits` no sums are."""
        if isinstance(node, Access):
            goes = _divides_steps(node, recurrence)
        elif isinstance(node, Reduce):
            goes = not waits and not any(reads(node, tensor) for tensor in recurrence.tensors)
            if not goes:
                # What is outside of an array counts as 0 when it is read before, so in no maximum.
                if waits or node.op != "sum":
                    return node
                return replace(node, body=visit(node.body, (*axes, *node.axes), name, True))  # type: ignore[arg-type]
        else:
            return map_children(node, lambda child: visit(child, axes, name, waits))
        if not goes:
            return node
        access = Access(f"{name}.{len(before) + 1}", tuple(Name(axis) for axis in axes if reads(node, axis)))
        before.append(Formula(access, node))
        return access

    formulas = tuple(
        replace(formula, body=visit(formula.body, formula.free_axes, formula.output.tensor, False))  # type: ignore[arg-type]
        for formula in recurrence.formulas
    )
    return tuple(before), (replace(recurrence, formulas=formulas) if before else recurrence)


def _divides_steps(access: Access, recurrence: Recurrence) -> bool:
    """Whether a tensor that is not made in the recurrence is read at a step divided by a number, or at the rest."""
    parts = (part for index in access.indices for part in walk(index))
    return access.tensor not in recurrence.tensors and any(
        isinstance(part, Binary) and part.op in ("//", "%") and reads(part, recurrence.axis) for part in parts
    )
