"""Winograd's fast convolution as a rewrite of equations.

A sum of products in which an output axis and a summed axis walk together through one dimension of `x`

    before:  z[n,i,k] = max(sum(s,c) x[n,i+s-1,c] * w[s,c,k] + b[k], 0)

is cut into tiles of m outputs and r taps, and each tile is computed at n = m + r - 1 points (`interpolation.py`):

    after:   V[a,n,I,c] = sum(p) B0[a,p] * x[n,4*I+p-1,c]
             U[a,c,k] = sum(s) G0[a,s] * w[s,c,k]
             M[a,n,I,k] = sum(c) V[a,n,I,c] * U[a,c,k]
             z[n,i,k] = max((sum(a) A0[i%4,a] * M[a,n,i//4,k]) + b[k], 0)

With exact numbers both sides are equal. Several pairs of axes are nested: each brings its own point axis and matrices.
What the taps become is read often. With a `row` it is laid out as the products read it: the output's last axis comes
last in it, in blocks of so many that stand one behind the other. Where that axis is not the last of the taps themselves
(towards the input), they are turned first.

             T[s,k,c] = w[s,c,k]
             U[a,o,c,l] = sum(s) G0[a,s] * w[s,c,64*o+l]
             M[a,n,I,64*o+l] = sum(c) V[a,n,I,c] * U[a,o,c,l]

An axis that one tile covers is not divided. Forward, the few taps are covered by one tile and the outputs are divided;
in the gradient towards the weights the few outputs are covered and the summed axis is divided; the rule is the same.

    x[.., o+r+k, ..]  ->  x[.., m*O + q*R + p + k, ..]          o = m*O + o',  r = q*R + r',  p = o' + r'
    x[.., o-r+k, ..]  ->  x[.., m*O - q*R + p + k-(q-1), ..]    the taps turned: p = o' + q-1-r', columns of G reversed
    both negated          the same with a minus sign in front, except in front of k
    x[.., S*o+r+k, ..]    with steps along one of them O and o', or R and r', stand with a factor S

What a tile reads beyond an array is 0, as everywhere under a sum; what it would compute beyond an extent is not
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.affine import Affine
from pellucid.language.binding import Names
from pellucid.language.correlation import Correlation, Pair, recognise
from pellucid.language.index_forms import read, write
from pellucid.language.interpolation import Matrix, cells, matrices, residues
from pellucid.language.simplify import Product
from pellucid.language.solve import Solved
from pellucid.language.syntax import (
    Access,
    Binary,
    Compare,
    Condition,
    Expr,
    Formula,
    Name,
    Node,
    Number,
    Reduce,
    map_children,
    walk,
)

__all__ = ["Rewritten", "Tile", "rewrite"]

_POINTS, _CELLS = ("a", "b", "d"), ("p", "q", "r")


@dataclass(frozen=True)
class Tile:
    """`outputs` neighbouring outputs from `taps` neighbouring taps at once, with these finite points.

    Without `points` those of `default_points`.
    """

    outputs: int
    taps: int
    points: tuple[Fraction, ...] | None = None

    def cells(self, steps: tuple[int, int]) -> int:
        """The number of input cells."""
        return cells(self.outputs, self.taps, steps)

    def products(self, steps: tuple[int, int]) -> int:
        """The number of points in all residues, and so of products; as many as there are cells, but for idle ones."""
        return sum(len(outputs) + len(taps) - 1 for outputs, taps in residues(self.outputs, self.taps, steps))


@dataclass(frozen=True)
class Rewritten:
    """Steps in order of evaluation, the last of which writes the output; each brings the extents of its axes.

    `tables` has the values of the matrices that the steps read, by name, as rows of exact numbers.
    """

    steps: tuple[Solved, ...]
    tables: Mapping[str, Matrix]


def rewrite(solved: Solved, tiles: Mapping[str, Tile], row: int | None = None) -> Rewritten:
    """The steps that compute `solved` with those tiles, by the output axis of each pair; others stay as they are.

    What is between has its point axes first: the matrix products of one point read and write what lies together. With
    `row` the taps at the points stand in rows of so many of the output's last axis, where there are several whole
    ones. The denominators of the matrices go to the taps or to the outputs, whichever are fewer numbers. ArgumentError
    where the rule does not apply, a tile names an axis of no pair, or is larger than the extents of its axes.
    """
    found = recognise(solved)
    if isinstance(found, str):
        raise ArgumentError(f"{solved.formula.output.tensor} cannot be rewritten: {found}")
    known = {pair.output for pair in found.pairs}
    if not tiles:
        raise ArgumentError(f"`tiles` is empty; it must have one of {', '.join(sorted(known))}")
    for axis in tiles:
        if axis not in known:
            raise ArgumentError(f"`tiles` (={axis!r}) must be one of {', '.join(sorted(known))}")
    return _Rewrite(solved, found, tiles, row).result()


@dataclass(frozen=True)
class _Cut:
    """A pair with its tile, and the names of its axes and matrices; an axis that one tile covers has no block axis.

    `point` counts the points, `cell` the cells of the data under a tile.
    """

    pair: Pair
    tile: Tile
    point: str
    cell: str
    output_block: str | None
    tap_block: str | None
    tables: Mapping[str, str]

    def access(self, matrix: str, *indices: Expr) -> Access:
        """A cell of the matrix A, B or G."""
        return Access(self.tables[matrix], indices)

    @property
    def blocks(self) -> dict[str, str | None]:
        """What counts the tiles along the two axes."""
        return {self.pair.output: self.output_block, self.pair.tap: self.tap_block}


class _Rewrite:
    """One formula being rewritten; every method makes one step."""

    def __init__(self, solved: Solved, found: Correlation, tiles: Mapping[str, Tile], row: int | None) -> None:
        self.solved, self.found, self.row = solved, found, row
        self.names = Names.of(solved.formula)
        self.extents = dict(solved.extents)
        self.cuts = [
            self._cut(pair, tiles[pair.output], number)
            for number, pair in enumerate(pair for pair in found.pairs if pair.output in tiles)
        ]
        self.blocks = {axis: block for cut in self.cuts for axis, block in cut.blocks.items()}
        self.lane = self._lane() if row else None
        self.taps = self._turned_taps()
        self.points = tuple(cut.point for cut in self.cuts)

    def _cut(self, pair: Pair, tile: Tile, number: int) -> _Cut:
        blocks: list[str | None] = []
        for name, axis, size in (("outputs", pair.output, tile.outputs), ("taps", pair.tap, tile.taps)):
            extent = self.solved.extents[axis]
            if not 1 <= size <= extent:
                message = (
                    f"`{name}` (={size}) of the tile along {pair.output} must be between 1 and the extent of {axis}"
                )
                raise ArgumentError(f"{message} (={extent})")
            count = -(-extent // size)
            blocks.append(self._new(axis.upper(), count) if count > 1 else None)
        point = self._new(_POINTS[number % 3], tile.products(pair.steps))
        cell = self._new(_CELLS[number % 3], tile.cells(pair.steps))
        tables = {letter: self.names.new(f"{letter}{number}") for letter in "ABG"}
        return _Cut(pair, tile, point, cell, blocks[0], blocks[1], MappingProxyType(tables))

    def _lane(self) -> str | None:
        """The last axis of the output, where it is the taps' alone and all theirs are bare."""
        last, taps = self.solved.formula.output.indices[-1], self.found.taps.indices
        if not isinstance(last, Name) or not all(isinstance(index, Name) for index in taps):
            return None
        elsewhere = {*self.blocks, *_axes(self.found.data.indices, self.extents)}
        own = {index.name for index in taps if isinstance(index, Name)}
        return last.name if last.name in own - elsewhere else None

    def _new(self, name: str, extent: int) -> str:
        name = self.names.new(name)
        self.extents[name] = extent
        return name

    def result(self) -> Rewritten:
        """All steps and matrices."""
        names = [self.names.new(name) for name in ("V", "U", "M")]
        data, windows = self._transformed_data(names[0])
        taps, weights = self._transformed_taps(names[1])
        products = self._products(names[2], windows, weights)
        outputs = self._outputs(products.output)
        turned = [Formula(self.taps, self.found.taps)] if self.taps != self.found.taps else []
        steps = (*turned, data, *self._in_rows(weights, taps, products), outputs)
        return Rewritten(tuple(self._solved(step) for step in steps), MappingProxyType(self._tables()))

    def _transformed_data(self, name: str) -> tuple[Formula, Access]:
        """`V[a, ..] = sum(p) B[a,p] * x[.. m*O + q*R + p ..]`, and how the products read it."""
        windows: dict[int, Affine] = {}
        for cut in self.cuts:
            form = self._form(self.found.data.indices[cut.pair.dimension])
            turned, (along_outputs, along_taps) = cut.pair.is_turned, cut.pair.steps
            terms = {cut.cell: 1}
            if cut.output_block:
                terms[cut.output_block] = along_outputs * cut.tile.outputs
            if cut.tap_block:
                terms[cut.tap_block] = along_taps * (-cut.tile.taps if turned else cut.tile.taps)
            window = Affine.of(along_taps * (1 - cut.tile.taps) if turned else 0, terms)
            sign = 1 if form.coefficient(cut.pair.output) > 0 else -1
            windows[cut.pair.dimension] = window * sign + form.const
        return self._transform(name, self.found.data, windows, "B", [cut.cell for cut in self.cuts])

    def _transformed_taps(self, name: str) -> tuple[Formula, Access]:
        """`U[a, ..] = sum(s) G[a,s] * w[.. q*R + s ..]`, and how the products read it."""
        windows: dict[int, Affine] = {}
        conditions: list[Condition] = []
        for cut in self.cuts:
            tap, size, extent = cut.pair.tap, cut.tile.taps, self.solved.extents[cut.pair.tap]
            place = Affine.name(tap)
            if cut.tap_block:
                place = place + Affine.name(cut.tap_block) * size
            forms = [self._form(index) for index in self.taps.indices]
            dimension = next(number for number, form in enumerate(forms) if tap in form.names)
            windows[dimension] = forms[dimension].substitute({tap: place})
            # The dimension of a bare axis ends with it, and beyond there are zeros; another may go on.
            if extent % size and forms[dimension] != Affine.name(tap):
                conditions.append(Compare("<", write(place, self._order()), Number(extent)))
        taps = [cut.pair.tap for cut in self.cuts]
        return self._transform(name, self.taps, windows, "G", taps, tuple(conditions))

    def _turned_taps(self) -> Access:
        """The taps; where the lane is not their last axis, `T[.., k] = w[.., k, ..]`, in which it is."""
        taps = self.found.taps
        if self.lane is None or taps.indices[-1] == Name(self.lane):
            return taps
        others = (index for index in taps.indices if index != Name(self.lane))
        return Access(self.names.new("T"), (*others, Name(self.lane)))

    def _in_rows(self, weights: Access, *formulas: Formula) -> tuple[Formula, ...]:
        """The formulas with the lane cut into rows, and the transformed taps `U[a,c,k]` as `U[a,o,c,l]`."""
        lane, row = self.lane, self.row
        if lane is None or row is None or self.extents[lane] % row or self.extents[lane] == row:
            return formulas
        block, inside = self._new(lane.upper(), self.extents[lane] // row), self._new("l", row)
        place = write(Affine.name(block) * row + Affine.name(inside), [block, inside])
        points, rest = weights.indices[: len(self.points)], weights.indices[len(self.points) : -1]
        laid = Access(weights.tensor, (*points, Name(block), *rest, Name(inside)))

        def cut(node: Node) -> Node:
            if isinstance(node, Access) and node.tensor == weights.tensor:
                return laid
            return place if node == Name(lane) else map_children(node, cut)

        return tuple(Formula(cut(each.output), cut(each.body)) for each in formulas)  # type: ignore[arg-type]

    def _transform(
        self, name: str, access: Access, windows: Mapping[int, Affine], matrix: str, summed: Sequence[str],
        conditions: tuple[Condition, ...] = (),
    ) -> tuple[Formula, Access]:  # fmt: skip
        """The tensor at the points, `name[points, its other axes]`, and how the products read it.

        Dimensions with windows become tiles; one that several axes walk through (`2*i + s`) stays a dimension, of the
        cells that they reach.
        """
        indices: list[Expr] = []
        axes: dict[str, Expr] = {}
        for dimension, index in enumerate(access.indices):
            form = self._form(index)
            if dimension in windows:
                indices.append(write(windows[dimension], self._order()))
                blocks = [axis for axis in self._order() if axis in windows[dimension].names and axis not in summed]
                axes |= {axis: Name(axis) for axis in blocks}
            elif len(form.names) > 1:
                low, high = form.span(self.solved.extents)
                cell = self._new("h", high - low + 1)
                indices.append(write(Affine.name(cell) + low))
                axes[cell] = write(form - low, list(self.solved.extents))
            else:
                indices.append(index)
                axes |= {axis: Name(axis) for axis in form.names}
        pairs = zip(self.cuts, summed, strict=True)
        factors = [cut.access(matrix, Name(cut.point), Name(axis)) for cut, axis in pairs]
        body = Product(1, (*factors, replace(access, indices=tuple(indices)))).expression()
        axes = {**{point: Name(point) for point in self.points}, **axes}
        target = Access(name, tuple(Name(axis) for axis in axes))
        return Formula(target, Reduce("sum", tuple(summed), conditions, body)), Access(name, tuple(axes.values()))

    def _form(self, index: Expr) -> Affine:
        form = read(index, self.solved.extents)
        assert form is not None
        return form

    def _order(self) -> list[str]:
        """The order in which the axes of a window are written: blocks, then cells."""
        blocks = [block for block in self.blocks.values() if block is not None]
        return [*blocks, *(cut.cell for cut in self.cuts), *(cut.pair.tap for cut in self.cuts)]

    def _products(self, name: str, data: Access, filter_: Access) -> Formula:
        """`M[a, ..] = sum(.., O, R) V[a, ..] * U[a, ..]`."""
        held = {*_axes((data, filter_), self.extents)}
        outputs = self._blocked(_axes(self.solved.formula.output.indices, self.extents))
        axes = {axis: Name(axis) for axis in (*self.points, *outputs) if axis in held}
        target = Access(name, tuple(axes.values()))
        summed = tuple(self._blocked(self.found.sum.axes))
        body = Product(1, (data, filter_)).expression()
        return Formula(target, Reduce("sum", summed, (), body) if summed else body)

    def _blocked(self, axes: Iterable[str]) -> list[str]:
        """The axes with those of tiles replaced by what counts the tiles, if anything does."""
        return [block for axis in axes if (block := self.blocks.get(axis, axis)) is not None]

    def _outputs(self, products: Access) -> Formula:
        """The formula with its sum replaced by `sum(a) A[o % m, a] * M[a, .. o // m ..]`."""
        places: dict[str, Expr] = {
            cut.output_block: Binary("//", Name(cut.pair.output), Number(cut.tile.outputs))
            for cut in self.cuts
            if cut.output_block is not None
        }
        factors = [
            cut.access(
                "A",
                Name(cut.pair.output)
                if cut.output_block is None
                else Binary("%", Name(cut.pair.output), Number(cut.tile.outputs)),
                Name(cut.point),
            )
            for cut in self.cuts
        ]
        indices = tuple(places.get(index.name, index) for index in products.indices if isinstance(index, Name))
        total: Expr = Reduce(
            "sum", self.points, (), Product(1, (*factors, replace(products, indices=indices))).expression()
        )
        total = Product(self.found.coefficient, (total,)).expression()

        def replaced(node: Node) -> Node:
            return total if node is self.found.sum else map_children(node, replaced)

        return replace(self.solved.formula, body=replaced(self.solved.formula.body))  # type: ignore[arg-type]

    def _tables(self) -> dict[str, Matrix]:
        tables: dict[str, Matrix] = {}
        sizes = [
            prod(self.solved.extents[axis] for axis in _axes(indices, self.solved.extents))
            for indices in (self.solved.formula.output.indices, self.found.taps.indices)
        ]
        for cut in self.cuts:
            tile, steps = cut.tile, cut.pair.steps
            exact = matrices(tile.outputs, tile.taps, tile.points, steps=steps, divide_outputs=sizes[0] < sizes[1])
            taps = tuple(row[::-1] for row in exact.taps) if cut.pair.is_turned else exact.taps
            for letter, matrix in (("A", exact.outputs), ("B", exact.data), ("G", taps)):
                tables[cut.tables[letter]] = matrix
        return tables

    def _solved(self, formula: Formula) -> Solved:
        """The formula with the extents of its axes; those of taps are the tile's in the step that transforms them."""
        reduced = [axis for node in walk(formula.body) if isinstance(node, Reduce) for axis in node.axes]
        taps = {cut.pair.tap: cut.tile.taps for cut in self.cuts}
        sizes = {axis: self.extents[axis] for axis in _axes(formula.output.indices, self.extents)}
        sizes |= {axis: taps.get(axis, self.extents[axis]) for axis in reduced}
        return Solved(formula, MappingProxyType(sizes))


def _axes(nodes: Iterable[Node], extents: Mapping[str, int]) -> list[str]:
    """The axes at or below the nodes, in order of appearance."""
    names = (node.name for top in nodes for node in walk(top) if isinstance(node, Name) and node.name in extents)
    return list(dict.fromkeys(names))
