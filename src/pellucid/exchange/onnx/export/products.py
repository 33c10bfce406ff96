"""Sums of products: factors contracted two at a time, the pair with the smallest result first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np

from pellucid.exchange.onnx.export.arithmetic import combine
from pellucid.exchange.onnx.export.terms import Computed, Known, Scope, Term

__all__ = ["sum_of_products"]

# What the batch counts for when results are compared.
_IMAGES = 8


def sum_of_products(scope: Scope, factors: Sequence[Term], over: Collection[str]) -> Term:
    """The product of the factors, summed over axes."""
    waiting = list(factors)
    for axis in over:
        if not any(axis in factor.axes for factor in waiting):
            extent = scope.extents[axis]
            waiting.append(scope.batch_size() if extent is None else Known(np.asarray(extent, np.int64)))
    waiting = [_summed(scope, factor, _only_in(factor, waiting, over)) for factor in waiting]
    while len(waiting) > 1:
        one, other = min(combinations(waiting, 2), key=lambda pair: _cost(scope, pair, waiting, over))
        waiting = [factor for factor in waiting if factor is not one and factor is not other]
        contracted = {
            axis for axis in {*one.axes, *other.axes} & set(over) if not any(axis in factor.axes for factor in waiting)
        }
        waiting.append(_pair(scope, one, other, contracted))
    return waiting[0]


def _only_in(factor: Term, factors: Sequence[Term], over: Collection[str]) -> list[str]:
    others = {axis for other in factors if other is not factor for axis in other.axes}
    return [axis for axis in factor.axes if axis in over and axis not in others]


def _cost(scope: Scope, pair: tuple[Term, Term], factors: Sequence[Term], over: Collection[str]) -> float:
    """The size of the pair's product behind its sum, less what it takes away."""
    axes = {axis for factor in pair for axis in factor.axes}
    others = {axis for factor in factors if factor not in pair for axis in factor.axes}
    kept = [axis for axis in axes if axis not in over or axis in others]

    def size(axes: Collection[str]) -> float:
        return scope.size(axes) * (_IMAGES if any(scope.extents[axis] is None for axis in axes) else 1)

    return size(kept) - sum(size(factor.axes) for factor in pair)


def _summed(scope: Scope, factor: Term, axes: Sequence[str]) -> Term:
    if not axes:
        return factor
    places = [factor.axes.index(axis) for axis in axes]
    kept = tuple(axis for axis in factor.axes if axis not in axes)
    if isinstance(factor, Known):
        return Known(factor.array.sum(axis=tuple(places)), kept)
    computed = scope.computed(factor, "f")
    return Computed(scope.nodes.reduce("ReduceSum", computed.name, places), kept, "f")


def _pair(scope: Scope, one: Term, other: Term, contracted: Collection[str]) -> Term:
    if not contracted:
        return combine(scope, "*", one, other)
    if isinstance(one, Known) and isinstance(other, Known):
        return _summed(scope, combine(scope, "*", one, other), sorted(contracted))
    both = [axis for axis in scope.sorted({*one.axes, *other.axes}) if axis in one.axes and axis in other.axes]
    shared = [axis for axis in both if axis not in contracted]
    # The batch stands first, where it keeps its place.
    shared.sort(key=lambda axis: scope.extents[axis] is not None)
    inner = [axis for axis in both if axis in contracted]
    left = [axis for axis in one.axes if axis not in both]
    right = [axis for axis in other.axes if axis not in both]
    scope.check([*shared, *left, *right])
    a = _matrix(scope, one, shared, left, inner)
    b = _matrix(scope, other, shared, inner, right)
    product = scope.nodes.add("MatMul", a, b)
    axes = (*shared, *left, *right)
    product = scope.split(product, axes, [*([axis] for axis in shared), left, right])
    wanted = scope.sorted(axes)
    return Computed(scope.arranged(Computed(product, axes, "f"), wanted), wanted, "f")


def _matrix(scope: Scope, term: Term, shared: list[str], rows: list[str], columns: list[str]) -> str:
    """The term's array as matrices of rows and columns, one for each place in the axes that are shared."""
    name = scope.arranged(scope.computed(term, "f"), [*shared, *rows, *columns])
    return scope.reshaped(name, [*([axis] for axis in shared), rows, columns])
