"""`vjp`: an operation's result together with the function that pulls a gradient back through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.ops.operation import Applied, Array, Operation, run, run_gradients

__all__ = ["Pullback", "vjp"]

Pullback: TypeAlias = Callable[[Array], tuple[Array | None, ...]]


def vjp(
    function: Callable[..., Array], *arrays: Array | None, backend: str = "compiled", **attributes: object
) -> tuple[Array, Pullback]:
    """`(y, pullback)` of a function of `pellucid.ops`: `y = function(*arrays, **attributes)`, and for a gradient `g`
    with the shape of `y`, `pullback(g)` is the gradient towards every one of `arrays`.

        y, pullback = vjp(ops.conv2d, x, w, b, stride=2, padding=1)
        dx, dw, db = pullback(g)

    `arrays` are for the array parameters of the function, in their order, as in
    `vjp(ops.layer_norm, x, w, b, normalized_shape=4)`; an array given by name is a constant. The tuple has None for
    integer arrays, for arrays that are None, and for those that only a state is kept in (running statistics in
    training). The gradient is derived from the operation's equations and compiled for these shapes on the first
    call of `pullback`. Do not write into the arrays between the two calls.

    `backend="reference"` evaluates the equations literally, in float64. Raises what `function` raises;
    ArgumentError where it is no operation or an argument is no array; ShapeError or DtypeError for a `g` that
    does not fit `y`.
    """
    found = getattr(function, "operation", None)
    if not isinstance(found, Operation):
        raise ArgumentError(f"`function` (={getattr(function, '__name__', function)}) must be one of pellucid.ops")
    if len(arrays) > len(found.arrays):
        given = f"{len(arrays)} are given; attributes go by name"
        raise ArgumentError(f"{found.name} takes {len(found.arrays)} arrays ({', '.join(found.arrays)}), {given}")
    for number, array in enumerate(arrays):
        if array is not None and not isinstance(cast("object", array), np.ndarray):
            raise ArgumentError(
                f"argument {number + 1} of {found.name} (={array!r}) is no array; give attributes by their names"
            )
    named = dict(zip(found.arrays, arrays, strict=False))
    twice = [name for name in named if name in attributes]
    if twice:
        raise ArgumentError(f"`{twice[0]}` of {found.name} is given by position and by name")
    applied = found.apply(**named, **attributes)
    result = run(applied, backend)

    def pullback(g: Array) -> tuple[Array | None, ...]:
        return _pull(applied, len(arrays), _upstream(g, result), backend)

    return result, pullback


def _upstream(g: Array, result: Array) -> Array:
    upstream = np.asarray(g)
    if upstream.shape != result.shape:
        raise ShapeError(f"`g` {upstream.shape} must have the shape of the result {result.shape}")
    # A Python number may stand for the gradient of a loss; it has no type of its own.
    if isinstance(g, int | float):
        return upstream.astype(result.dtype)
    if upstream.dtype != result.dtype:
        raise DtypeError(f"`g` has dtype {upstream.dtype}; {result.dtype} is needed, as the result has")
    return upstream


def _pull(applied: Applied, count: int, upstream: Array, backend: str) -> tuple[Array | None, ...]:
    """The gradients of the first `count` operands."""
    asked = list(applied.operands)[:count]
    arrays = applied.arrays
    wanted = tuple(name for name in asked if name in arrays and arrays[name].dtype.kind == "f")
    found = run_gradients(applied, upstream, wanted, backend) if wanted else {}
    return tuple(found.get(name, np.zeros_like(arrays[name])) if name in wanted else None for name in asked)
