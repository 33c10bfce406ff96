"""A reduction over the batch as reductions over equal parts of it, and one over the parts.

    before:  dw[s,t,c,k] = sum(n,i,j) x[n,i+s,j+t,c] * g[n,i,j,k]
    after:   dw.parts[p,s,t,c,k] = sum(m,i,j) x[B*p+m,i+s,j+t,c] * g[B*p+m,i,j,k]
             dw[s,t,c,k] = sum(p) dw.parts[p,s,t,c,k]

Threads may share the parts among them, and a part's images may run in the pass that makes what they read. How many
parts there are is fixed by the equation's extents: the order of the sum never depends on the threads.
"""

from __future__ import annotations

from dataclasses import replace

from pellucid.language.affine import Affine
from pellucid.schedule.axes import bind_contraction
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.nest import IDENTITY, Accumulated, Load, Operand, Tensor
from pellucid.schedule.traits import guarded_names

__all__ = ["IMAGE", "PART", "in_parts"]

# The axes that a cut reduction gets; no axis of a formula has such a name.
PART, IMAGE = "batch.part", "batch.image"
PARTS = "parts"


def in_parts(nest: Contraction, axis: str, parts: int, name: str, dtype: str) -> tuple[list[Contraction], list[Tensor]]:
    """The two contractions for one, and the tensor between them; the contraction itself where the rule does not apply:
    no reduction over `axis`, one that parts do not divide, one with a border or a position."""
    extent = dict(nest.reduced).get(axis, 1)
    if extent == 1 or parts < 2 or extent % parts or nest.reduction not in IDENTITY or axis in guarded_names(nest):
        return [nest], []
    images = extent // parts
    shape = (parts, *(size for _, size in nest.free))
    tensor = Tensor(f"{name}.parts", dtype, shape, "temporary")
    cell = Operand(tensor.name, shape, (Affine.name(PART), *(Affine.name(free) for free, _ in nest.free)))
    bound = bind_contraction(nest, {axis: Affine.name(PART) * images + (Affine.name(IMAGE) if images > 1 else 0)})
    rest = tuple(other for other in nest.reduced if other[0] != axis)
    partial = replace(
        bound,
        output=cell,
        free=((PART, parts), *nest.free),
        reduced=(((IMAGE, images), *rest) if images > 1 else rest),
        result=Accumulated("value"),
    )
    result = replace(cell, index=(Affine.name(PARTS), *cell.index[1:]))
    combined = Contraction(nest.output, nest.free, ((PARTS, parts),), nest.reduction, Load(result), None, nest.result)
    return [partial, combined], [tensor]
