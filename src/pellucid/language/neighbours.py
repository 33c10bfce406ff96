"""Neighbouring outputs side by side in one vector, as a rewrite of equations.

A vector of 16 lanes that holds the 6 channels of one output does the work of 6. Two neighbours have 12, and read one
cell more than each of them alone:

    before:  z[n,i,j,k] = max((sum(s,t,c) x[n,i+s-2,j+t-2,c] * w[s,t,c,k]) + b[k], 0)

    after:   W[s,u,c,r,k] = sum(t : r+t == u) w[s,t,c,k]                        r below 2, u below the taps and 1
             b1[r,k] = b[k]
             z[n,i,j,k] = max((sum(s,u,c) x[n,i+s-2,2*(j//2)+u-2,c] * W[s,u,c,j%2,k]) + b1[j%2,k], 0)

In the gradient towards the weights the neighbours are terms of the sum:

    before:  dw[s,t,c,k] = sum(n,i,j) x[n,i+s-2,j+t-2,c] * g[n,i,j,k]

    after:   D[s,u,c,r,k] = sum(n,i,J) x[n,i+s-2,2*J+u-2,c] * g[n,i,2*J+r,k]
             dw[s,t,c,k] = sum(r) D[s,r+t,c,r,k]

W has zeros where a neighbour does not read a cell, and D sums that nobody reads: 6 products do for two outputs what 5
did for one. Both sides add the same products, with others by 0 between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.affine import Affine
from pellucid.language.binding import Names, names_of
from pellucid.language.correlation import Correlation, Pair
from pellucid.language.index_forms import read, write
from pellucid.language.simplify import Product
from pellucid.language.solve import Solved
from pellucid.language.syntax import (
    Access,
    Binary,
    Compare,
    Expr,
    Formula,
    Name,
    Node,
    Number,
    Reduce,
    map_children,
    substitute,
)
from pellucid.language.winograd import Rewritten

__all__ = ["Neighbours", "find_neighbours", "side_by_side"]


@dataclass(frozen=True)
class Neighbours:
    """What can stand side by side: cells along `axis`, one of a pair whose other axis is `other`, right before the
    `lane`, the last axis of the output; `forward` where they are outputs, else terms of the sum."""

    pair: Pair
    axis: str
    other: str
    lane: str
    forward: bool

    @property
    def steps(self) -> tuple[int, int]:
        """How far apart the cells lie that one reads of the data who goes on by one along `axis`, and along `other`."""
        output, tap = self.pair.steps
        return (output, tap) if self.forward else (tap, output)


def find_neighbours(solved: Solved, found: Correlation) -> Neighbours | str:
    """The neighbours that a correlation may put side by side, or why there are none."""
    taps, outputs = found.taps.indices, solved.formula.output.indices
    names = [index.name for index in outputs if isinstance(index, Name)]
    if len(names) < len(outputs):
        return "an index of the output is no bare axis"
    lane = names[-1]
    if lane in names_of(found.data.indices) or Name(lane) not in taps:
        return "the last axis of the output is none of the taps alone"
    for pair in found.pairs:
        if names[-2:] == [pair.output, lane]:
            return Neighbours(pair, pair.output, pair.tap, lane, True)
        if taps[-2:] == (Name(pair.tap), Name(lane)):
            return Neighbours(pair, pair.tap, pair.output, lane, False)
    return "no axis of the windows stands before the last one"


def side_by_side(solved: Solved, found: Correlation, neighbours: Neighbours, count: int) -> Rewritten:
    """The steps that compute `solved` with so many neighbours in a vector.

    ArgumentError where the extent of their axis is no multiple of `count`, or where something beside the sum does not
    allow it.
    """
    extent = solved.extents[neighbours.axis]
    if not 2 <= count <= extent or extent % count:
        raise ArgumentError(
            f"`count` (={count}) must be 2 or more and divide the extent of {neighbours.axis} (={extent})"
        )
    return _Rewrite(solved, found, neighbours, count).result()


class _Rewrite:
    def __init__(self, solved: Solved, found: Correlation, neighbours: Neighbours, count: int) -> None:
        self.solved, self.found, self.by, self.count = solved, found, neighbours, count
        self.names = Names.of(solved.formula)
        self.extents = dict(solved.extents)
        form = read(found.data.indices[neighbours.pair.dimension], solved.extents)
        assert form is not None
        self.place = self._new("r", count)
        # The cell that a tap of a neighbour reads, counted from the first one that any of them reads.
        step, other = form.coefficient(neighbours.axis), form.coefficient(neighbours.other)
        reach = Affine.of(0, {self.place: step, neighbours.other: other})
        low, high = reach.span(self.extents)
        self.reach = reach - low
        self.cell = self._new("u", high - low + 1)
        self.block = self._new(neighbours.axis.upper(), solved.extents[neighbours.axis] // count)
        self.window = Affine.of(form.const + low, {self.block: step * count, self.cell: 1})

    def _new(self, name: str, extent: int) -> str:
        name = self.names.new(name)
        self.extents[name] = extent
        return name

    def result(self) -> Rewritten:
        """All steps; there are no matrices."""
        steps = self._outputs_beside() if self.by.forward else self._terms_beside()
        return Rewritten(tuple(self._solved(step) for step in steps), MappingProxyType({}))

    def _outputs_beside(self) -> list[Formula]:
        """Taps for all neighbours, what else is read by lanes for all of them, and the sum."""
        by, found = self.by, self.found
        taps = Access(self.names.new("W"), self._wide(self._axes_of(found.taps)))
        condition = Compare("==", self._written(self.reach), Name(self.cell))
        steps = [Formula(taps, Reduce("sum", (by.other,), (condition,), found.taps))]
        number = Number(self.count)
        within: dict[str, Expr] = {
            self.block: Binary("//", Name(by.axis), number),
            self.place: Binary("%", Name(by.axis), number),
        }

        def placed(access: Access) -> Access:
            return substitute(access, within)  # type: ignore[return-value]

        axes = tuple(self.cell if axis == by.other else axis for axis in found.sum.axes)
        body = Product(found.coefficient, (placed(self._windows()), placed(taps))).expression()
        total = Reduce("sum", axes, (), body)
        copies = dict[Access, Access]()

        def beside(node: Node) -> Node:
            if node is found.sum:
                return total
            if isinstance(node, Access):
                read_axes = names_of(node.indices) & {by.axis, by.lane}
                if not read_axes or (by.axis in read_axes and self._is_in_step(node)):
                    return node
                if node.indices == (Name(by.lane),):
                    if node not in copies:
                        copies[node] = Access(self.names.new(node.tensor), (Name(self.place), Name(by.lane)))
                    return placed(copies[node])
                raise ArgumentError(f"{node.tensor} is read neither by {by.lane} alone nor as the output is written")
            if node in (Name(by.axis), Name(by.lane)):
                raise ArgumentError(f"the value depends on {node.name} itself")  # type: ignore[attr-defined]
            return map_children(node, beside)

        last = replace(self.solved.formula, body=beside(self.solved.formula.body))  # type: ignore[arg-type]
        return [*steps, *(Formula(copy, access) for access, copy in copies.items()), last]

    def _is_in_step(self, access: Access) -> bool:
        """Whether an array is read with the two axes last, as the output is written, and nowhere else."""
        ends = access.indices[-2:] == (Name(self.by.axis), Name(self.by.lane))
        return ends and not names_of(access.indices[:-2]) & {self.by.axis, self.by.lane}

    def _terms_beside(self) -> list[Formula]:
        """The sums of all neighbours apart, and their total."""
        by, found, formula = self.by, self.found, self.solved.formula
        place = self._written(Affine.of(0, {self.block: self.count, self.place: 1}))
        terms = replace(found.taps, indices=(*found.taps.indices[:-2], place, found.taps.indices[-1]))
        axes = tuple(self.block if axis == by.axis else axis for axis in found.sum.axes)
        names = [index.name for index in formula.output.indices if isinstance(index, Name)]
        sums = Access(self.names.new("D"), self._wide(names))
        first = Formula(sums, Reduce("sum", axes, (), Product(1, (self._windows(), terms)).expression()))
        reach = self._written(self.reach)
        read_back = replace(sums, indices=tuple(reach if i == Name(self.cell) else i for i in sums.indices))
        total = Product(found.coefficient, (Reduce("sum", (self.place,), (), read_back),)).expression()

        def replaced(node: Node) -> Node:
            return total if node is found.sum else map_children(node, replaced)

        return [first, replace(formula, body=replaced(formula.body))]  # type: ignore[arg-type]

    def _axes_of(self, access: Access) -> list[str]:
        """The axes of an access, one an index."""
        found = list[str]()
        for index in access.indices:
            form = read(index, self.solved.extents)
            assert form is not None
            if len(form.names) > 1 or set(form.names) & set(found):
                raise ArgumentError(f"an index of {access.tensor} has several axes")
            found += form.names
        return found

    def _wide(self, axes: Iterable[str]) -> tuple[Expr, ...]:
        """The indices of what has all neighbours: the cell for the axis of the pair, the place before the lane."""
        others = (self.cell if axis == self.by.other else axis for axis in axes if axis != self.by.lane)
        return (*map(Name, others), Name(self.place), Name(self.by.lane))

    def _windows(self) -> Access:
        """The data, as the cells under all neighbours."""
        data, dimension = self.found.data, self.by.pair.dimension
        window = self._written(self.window)
        return replace(data, indices=(*data.indices[:dimension], window, *data.indices[dimension + 1 :]))

    def _written(self, form: Affine) -> Expr:
        return write(form, [self.block, self.place, self.by.other, self.cell])

    def _solved(self, formula: Formula) -> Solved:
        names = names_of((*formula.output.indices, formula.body)) & self.extents.keys()
        return Solved(formula, MappingProxyType({name: self.extents[name] for name in self.extents if name in names}))
