"""`x[n,i*S+s-P,c]` as gathers: an axis for an axis that stands alone, a table of positions for anything else.

Where a read may leave the array, one cell of what stands outside is added at its end, and read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.arithmetic import combine
from pellucid.exchange.onnx.export.nodes import Array
from pellucid.exchange.onnx.export.terms import Computed, Known, Scope, Term

__all__ = ["Stored", "read"]


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor that equations read: its name and shape (None for the batch), or its array where that is known."""

    name: str
    shape: tuple[int | None, ...]
    kind: str = "f"
    array: Array | None = None


def read(scope: Scope, tensor: Stored, indices: Sequence[str | Term], outside: float) -> Term:
    """The cells of a tensor; an index is an axis that runs over a whole dimension, or a term of integers."""
    if tensor.array is not None and all(isinstance(index, str | Known) for index in indices):
        return _known(scope, tensor.array, indices, outside)
    name = tensor.name if tensor.array is None else scope.nodes.constant(tensor.array)
    kind = tensor.kind
    inside, padded = list[str | Term](), list[int]()
    for place, (index, extent) in enumerate(zip(indices, tensor.shape, strict=True)):
        if isinstance(index, str):
            inside.append(index)
            continue
        found = _inside(scope, index, extent)
        inside.append(index if found is None else found)
        if found is not None:
            padded.append(place)
    if padded:
        if kind != "f":
            name, kind = scope.computed(Computed(name, (), kind), "f").name, "f"
        name = _padded(scope, name, len(indices), padded, outside)
    sizes = [None if e is None else e + (place in padded) for place, e in enumerate(tensor.shape)]
    return _gathered(scope, name, kind, inside, sizes)


def _known(scope: Scope, array: Array, indices: Sequence[str | Term], outside: float) -> Known:
    terms = [_as_term(scope, index) for index in indices]
    axes = scope.sorted({axis for term in terms for axis in term.axes})
    cells, there = list[Array](), np.asarray(True)
    for term, extent in zip(terms, array.shape, strict=True):
        places = scope.aligned(term, axes)
        assert isinstance(places, Known)
        there = there & (places.array >= 0) & (places.array < extent)
        cells.append(np.clip(places.array, 0, extent - 1))
    scope.check(axes)
    found = array[tuple(cells)]
    return Known(found if there.all() else np.where(there, found, outside), axes)


def _as_term(scope: Scope, index: str | Term) -> Term:
    return scope.axis(index) if isinstance(index, str) else index


def _inside(scope: Scope, index: Term, extent: int | None) -> Term | None:
    """The index with every number outside the dimension replaced by its extent; None where it never leaves it."""
    if extent is None:
        raise ArgumentError("an equation that reads another image of the batch than its own cannot be written")
    if isinstance(index, Known):
        wrong = (index.array < 0) | (index.array >= extent)
        return Known(np.where(wrong, extent, index.array), index.axes) if wrong.any() else None
    last = Known(np.asarray(extent, np.int64))
    low = scope.applied("Less", (index, Known(np.asarray(0, np.int64))), "i", "b")
    high = scope.applied("GreaterOrEqual", (index, last), "i", "b")
    wrong = scope.applied("Or", (low, high), "b")
    name = scope.nodes.add("Where", wrong.name, scope.computed(last).name, index.name)
    return Computed(name, index.axes, "i")


def _padded(scope: Scope, name: str, rank: int, places: Sequence[int], outside: float) -> str:
    after = [int(place in places) for place in range(rank)]
    return scope.nodes.add("Pad", name, scope.nodes.integers(*[0] * rank, *after), scope.nodes.number(outside))


def _gathered(
    scope: Scope, name: str, kind: str, indices: Sequence[str | Term], sizes: Sequence[int | None]
) -> Computed:
    """Dimensions whose indices share no axis are gathered each by itself, others together."""
    groups = _groups(indices)
    # What stands in the array's dimensions: an axis, or the number of one that is not read yet.
    held: list[str | int] = list(range(len(indices)))
    for place in (group[0] for group in groups if len(group) == 1):
        index, at = indices[place], held.index(place)
        if isinstance(index, str):
            held[at] = index
            continue
        name = scope.nodes.add("Gather", name, scope.computed(index).name, axis=at)
        held[at : at + 1] = index.axes
        scope.check([axis for axis in held if isinstance(axis, str)])
    for group in (group for group in groups if len(group) > 1):
        # The batch first, so that its size is never needed.
        together = sorted(group, key=lambda place: sizes[place] is not None)
        rest = [entry for entry in held if entry not in group]
        name = scope.nodes.transpose(name, [held.index(entry) for entry in (*rest, *together)])
        kept = [scope.extents[entry] if isinstance(entry, str) else sizes[entry] for entry in rest]
        joined = [sizes[place] for place in together]
        whole = -1 if None in joined else prod(size or 1 for size in joined)
        name = scope.nodes.reshape(name, [*(0 if size is None else size for size in kept), whole])
        index = _row_major(scope, [indices[place] for place in together], joined)
        name = scope.nodes.add("Gather", name, scope.computed(index).name, axis=len(rest))
        held = [*rest, *index.axes]
        scope.check([axis for axis in held if isinstance(axis, str)])
    found = tuple(str(axis) for axis in held)
    wanted = scope.sorted(found)
    return Computed(scope.arranged(Computed(name, found, kind), wanted), wanted, kind)


def _groups(indices: Sequence[str | Term]) -> list[list[int]]:
    """The dimensions, together where their indices share an axis."""
    groups: list[tuple[set[str], list[int]]] = []
    for place, index in enumerate(indices):
        axes = {index} if isinstance(index, str) else set(index.axes)
        shared = [group for group in groups if group[0] & axes]
        groups = [group for group in groups if not group[0] & axes]
        axes = axes.union(*(own for own, _ in shared))
        groups.append((axes, [*(place for _, places in shared for place in places), place]))
    return [places for _, places in groups]


def _row_major(scope: Scope, indices: Sequence[str | Term], sizes: Sequence[int | None]) -> Term:
    """The number of a cell in dimensions of these sizes; that of the first is not needed."""
    flat = _as_term(scope, indices[0])
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        assert size is not None
        flat = combine(scope, "+", combine(scope, "*", flat, Known(np.asarray(size, np.int64))), _as_term(scope, index))
    return flat
