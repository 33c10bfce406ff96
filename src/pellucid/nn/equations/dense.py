"""The fully connected layer (MATHS.md, section 5)."""

from __future__ import annotations

from pellucid.errors import ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, check_rank, check_shape, elementwise_axes, system

__all__ = ["linear"]


def linear(x: Shape, w: Shape, b: Shape | None = None) -> System:
    """`z[n,o] = sum(q) x[n,q]*w[q,o] + b[o]`; x (..., in_features), w (in_features, out_features)."""
    check_rank("w", w, ("in_features", "out_features"))
    if not x or 0 in x:
        raise ShapeError(f"`x` {x} must have at least 1 dimension and no extent of 0")
    if x[-1] != w[0]:
        raise ShapeError(f"`x` {x} must have `in_features` (={w[0]}) in its last place, has {x[-1]}")
    check_shape("b", b, (w[1],))
    rows = "".join(f"{axis}," for axis in elementwise_axes(len(x) + 1)[:-2]) if len(x) > 1 else ""
    bias = " + b[o]" if b is not None else ""
    return system(f"z[{rows}o] = sum(q) x[{rows}q]*w[q,o]{bias}")
