"""Values of expressions on the way to nodes: known now, or computed by the file; both with names for their axes.

The axes of a term stand in the order of `Scope.order`, each in full length; a term lacks those that it does not
depend on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.nodes import Array, Nodes

__all__ = ["MOST_POINTS", "Computed", "Known", "Scope", "Term"]

# The most elements of an intermediate result for one image (or, without a batch, at all).
MOST_POINTS = 2**25


@dataclass(frozen=True, eq=False)
class Known:
    """An array of booleans, integers or floats."""

    array: Array
    axes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """NumPy's letter of the type: "b", "i" or "f"."""
        return self.array.dtype.kind


@dataclass(frozen=True)
class Computed:
    """What a node gives."""

    name: str
    axes: tuple[str, ...]
    kind: str


Term: TypeAlias = Known | Computed


class Scope:
    """The axes of a formula with their extents (None for the batch), and the nodes that are written."""

    def __init__(self, nodes: Nodes, extents: Mapping[str, int | None], order: Sequence[str], batch: str) -> None:
        self.nodes = nodes
        self.extents = extents
        self.order = {axis: number for number, axis in enumerate(order)}
        self._batch = batch

    def sorted(self, axes: Collection[str]) -> tuple[str, ...]:
        """Axes in the order in which terms have them."""
        return tuple(sorted(axes, key=self.order.__getitem__))

    def size(self, axes: Collection[str]) -> int:
        """The number of points of a grid, for one image."""
        return prod(self.extents[axis] or 1 for axis in axes)

    def check(self, axes: Collection[str]) -> None:
        """ArgumentError where a result over these axes is too large to be written."""
        if self.size(axes) > MOST_POINTS:
            grid = " x ".join(f"{axis} {self.extents[axis] or 'batch'}" for axis in axes)
            raise ArgumentError(
                f"an intermediate result over {grid} has {self.size(axes):,} numbers for an image; at most "
                f"{MOST_POINTS:,} are written as standard operators"
            )

    def axis(self, name: str) -> Term:
        """The numbers of an axis."""
        extent = self.extents[name]
        if extent is not None:
            return Known(np.arange(extent, dtype=np.int64), (name,))
        zero, one = (self.nodes.constant(np.asarray(value, np.int64)) for value in (0, 1))
        return Computed(self.nodes.add("Range", zero, self.batch_size().name, one), (name,), "i")

    def batch_size(self) -> Computed:
        """The number of images, which the file finds when it runs."""
        shape = self.nodes.add("Shape", self._batch)
        return Computed(self.nodes.add("Gather", shape, self.nodes.constant(np.asarray(0, np.int64))), (), "i")

    def computed(self, term: Term, kind: str | None = None) -> Computed:
        """The term as a node's result, of this kind."""
        wanted = kind or term.kind
        if isinstance(term, Known):
            types = {"f": np.float64, "i": np.int64, "b": np.bool_}
            return Computed(self.nodes.constant(term.array.astype(types[wanted])), term.axes, wanted)
        if term.kind == wanted:
            return term
        to = {"f": {"float32": 1, "float64": 11}[self.nodes.dtype.name], "i": 7, "b": 9}[wanted]
        return Computed(self.nodes.add("Cast", term.name, to=to), term.axes, wanted)

    def aligned(self, term: Term, axes: Sequence[str]) -> Term:
        """The term with axes of extent 1 where it lacks one of `axes`."""
        if isinstance(term, Known):
            shape = [term.array.shape[term.axes.index(axis)] if axis in term.axes else 1 for axis in axes]
            return Known(term.array.reshape(shape), tuple(axes))
        missing = [place for place, axis in enumerate(axes) if axis not in term.axes]
        if missing == list(range(len(missing))):
            missing = []  # Broadcasting adds axes in front by itself.
        return Computed(self.nodes.unsqueeze(term.name, missing), tuple(axes), term.kind)

    def applied(self, op: str, terms: Sequence[Term], kind: str, result: str | None = None) -> Computed:
        """A node of the terms, made the same kind and broadcast to each other."""
        axes = self.sorted({axis for term in terms for axis in term.axes})
        self.check(axes)
        names = [self.computed(self.aligned(term, axes), kind).name for term in terms]
        return Computed(self.nodes.add(op, *names), axes, result or kind)

    def arranged(self, term: Computed, axes: Sequence[str]) -> str:
        """The term's array with its axes in this order, which has all of them."""
        return self.nodes.transpose(term.name, [term.axes.index(axis) for axis in axes])

    def reshaped(self, name: str, groups: Sequence[Sequence[str]]) -> str:
        """An array whose axes are those of `groups` one behind the other, with an axis for each group.

        The batch, where it stands alone, must stand in the place where it stood.
        """
        shape: list[int] = []
        place = 0
        for group in groups:
            open_ = any(self.extents[axis] is None for axis in group)
            alone = open_ and len(group) == 1 and place == len(shape)
            shape.append(0 if alone else -1 if open_ else self.size(group))
            place += len(group)
        return self._reshape(name, shape)

    def split(self, name: str, axes: Sequence[str], joined: Sequence[Sequence[str]]) -> str:
        """The inverse: an array with an axis for each group of `joined` gets all `axes`."""
        shape: list[int] = []
        for place, group in enumerate(joined):
            for axis in group:
                extent = self.extents[axis]
                kept = extent is None and len(group) == 1 and len(shape) == place
                shape.append(0 if kept else -1 if extent is None else extent)
        assert len(shape) == len(axes)
        return self._reshape(name, shape)

    def _reshape(self, name: str, shape: Sequence[int]) -> str:
        if shape.count(-1) > 1:
            raise ArgumentError("an equation that compares the images of a batch with each other cannot be written")
        return self.nodes.reshape(name, shape)

    def expanded(self, term: Computed, axes: Sequence[str]) -> Computed:
        """The term with all of `axes`, in the order of terms, repeated along those that it lacks."""
        wanted = self.sorted(axes)
        missing = [axis for axis in wanted if axis not in term.axes]
        if not missing:
            return term
        name = self.computed(self.aligned(term, wanted)).name
        sizes = [(self.extents[axis] or 0) if axis in missing else 1 for axis in wanted]
        if 0 not in sizes:
            return Computed(self.nodes.add("Expand", name, self.nodes.integers(*sizes)), wanted, term.kind)
        batch = self.nodes.unsqueeze(self.batch_size().name, [0])
        parts = [batch if not size else self.nodes.integers(size) for size in sizes]
        return Computed(self.nodes.add("Expand", name, self.nodes.add("Concat", *parts, axis=0)), wanted, term.kind)
