"""The batch axis of a contraction cut into rounds, and a reduction over it into parts that are added up at the end.

    before:  z[n,i,k] = sum(c) x[n,i,c] * w[c,k]
    rounds:  z[G*r+m,i,k] = sum(c) x[G*r+m,i,c] * w[c,k]                          r: the rounds, of G images each

    before:  dw[s,c,k] = sum(n,i) x[n,i+s,c] * g[n,i,k]
    parts:   dw.parts[p,s,c,k] = sum(r,m,i) x[R*G*p+G*r+m,i+s,c] * g[R*G*p+G*r+m,i,k]
             dw[s,c,k] = sum(p) dw.parts[p,s,c,k]

Threads share the rounds or the parts among them, and the rounds of a part may run in the pass that makes what they
read. How many there are is fixed by the equation's extents: the order of the sum never depends on the threads.
"""

from __future__ import annotations

from dataclasses import replace

from pellucid.language.affine import Affine
from pellucid.schedule.axes import bind_contraction
from pellucid.schedule.contraction import Axes, Contraction
from pellucid.schedule.nest import Accumulated, Load, Operand, Tensor
from pellucid.schedule.traits import guarded_names

__all__ = ["OUTER", "ROUND", "STEP", "in_rounds", "in_steps"]

# The axes that a cut batch axis becomes; no axis of a formula has such a name.
PART, ROUND, MEMBER, PARTS = "batch.part", "batch.round", "batch.image", "parts"
# The axis along which a recurrence walks.
STEP = "time.step"
# Those that are walked outermost, from the outside in.
OUTER = (PART, ROUND, STEP)


def in_rounds(
    nest: Contraction, axis: str, group: int, parts: int, name: str, dtype: str
) -> tuple[list[Contraction], list[Tensor]]:
    """The contractions for one, with the axes `OUTER` in the place of `axis`, and the tensor between them.

    The contraction itself where the rule does not apply: it does not have `axis`, whose extent must be a multiple of
    `group` (and, where it is reduced, of `group * parts`), or the axis stands in a border, or the reduction over it is
    no sum: only sums are carried from round to round.
    """
    extent = nest.extents.get(axis, 1)
    is_reduced = axis in dict(nest.reduced)
    whole = group * (parts if is_reduced else 1)
    if extent == 1 or extent % whole or axis in guarded_names(nest):
        return [nest], []
    if not is_reduced:
        cut, index = _cut(((ROUND, extent // group), (MEMBER, group)))
        return [replace(bind_contraction(nest, {axis: index}), free=_replaced(nest.free, axis, cut))], []
    if parts < 2 or nest.reduction != "sum":
        return [nest], []
    cut, index = _cut(((PART, parts), (ROUND, extent // whole), (MEMBER, group)))
    shape = (parts, *(size for _, size in nest.free))
    tensor = Tensor(f"{name}.parts", dtype, shape, "temporary")
    rest = tuple(Affine.name(free) for free, _ in nest.free)
    partial = replace(
        bind_contraction(nest, {axis: index}),
        output=Operand(tensor.name, shape, (Affine.name(PART), *rest)),
        free=(cut[0], *nest.free),
        reduced=_replaced(nest.reduced, axis, cut[1:]),
        result=Accumulated("value"),
    )
    part = Load(Operand(tensor.name, shape, (Affine.name(PARTS), *rest)))
    return [
        partial,
        Contraction(nest.output, nest.free, ((PARTS, parts),), nest.reduction, part, None, nest.result),
    ], [tensor]


def in_steps(nest: Contraction, axis: str) -> Contraction:
    """The contraction with `axis`, one of its output, walked in order inside the rounds; itself where it has none."""
    if axis not in dict(nest.free):
        return nest
    index = Affine.name(STEP)
    return replace(
        bind_contraction(nest, {axis: index}), free=_replaced(nest.free, axis, ((STEP, nest.extents[axis]),))
    )


def _cut(axes: Axes) -> tuple[Axes, Affine]:
    """The axes of more than one value, and the number that all of them count together."""
    index = Affine()
    for name, extent in axes:
        index = index * extent + (Affine.name(name) if extent > 1 else 0)
    return tuple(axis for axis in axes if axis[1] > 1), index


def _replaced(axes: Axes, old: str, new: Axes) -> Axes:
    return tuple(entry for axis in axes for entry in (new if axis[0] == old else (axis,)))
