"""Formulas with conditions, `//` and `%` into formulas whose indices are affine.

`dx[n,y,x,c] = sum(i,j,s,t,k : i*S+s-P == y, j*S+t-P == x) g[n,i,j,k] * w[s,t,c,k]` with S = 2 becomes four formulas,
one for each residue of `y` and `x`, which multiply no zeros:

    dx[n, 2*y+1, 2*x, c] = sum(s,t,k) g[n, y-s, x-t, k] * w[2*s, 2*t+1, c, k]          (P = 1)

The steps are those of `residues.py`. What they cannot solve (lookups, inequalities, products of axes) stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.affine import Affine
from pellucid.language.axis_table import AxisTable, substitute
from pellucid.language.binding import names_of, numbered
from pellucid.language.extents import axes
from pellucid.language.index_forms import read, write
from pellucid.language.residues import OUTPUT, Scope, Wanted, rewrite
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Expr,
    Formula,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    map_children,
    walk,
)
from pellucid.language.syntax import substitute as substitute_names

__all__ = ["Solved", "solve"]


@dataclass(frozen=True)
class Solved:
    """A formula without constants that writes some cells of the output, and the extents of all of its axes."""

    formula: Formula
    extents: Mapping[str, int]


def solve(formula: Formula, constants: Mapping[str, int | float], extents: Mapping[str, int]) -> tuple[Solved, ...]:
    """Formulas that write disjoint cells of the output, together the cells of `formula`, and the same values.

    `extents` has every axis of the formula; constants and `position` become numbers. Cells that no term reaches are
    written by a formula with the body 0. A dimension that a bare axis indexes must have that axis' extent.
    ArgumentError where an extent is missing or below 1.
    """
    bare_by_numbers = _bare_by_numbers(formula, constants, extents)
    formula = _bound(formula, constants, extents)
    own = axes(formula)
    table = AxisTable()
    for axis in own:
        table.extents[axis], table.origins[axis] = extents[axis], axis
        if axis not in bare_by_numbers:
            table.cover[axis] = Affine.name(axis)
    outputs = tuple(axis for axis in own if axis in names_of(formula.output.indices))
    return tuple(_finished(piece, constants) for piece in _solved(_Piece(formula, outputs, table)))


@dataclass(frozen=True)
class _Piece:
    """A formula that is being solved, its output axes, and the table of all its axes."""

    formula: Formula
    outputs: tuple[str, ...]
    table: AxisTable


def _bound(formula: Formula, constants: Mapping[str, int | float], extents: Mapping[str, int]) -> Formula:
    """The formula with numbers for constants and for `position`."""
    bare = {index.name for index in formula.output.indices if isinstance(index, Name)}
    numbers: dict[str, Expr] = {name: Number(value) for name, value in constants.items() if name not in bare}
    indices = tuple(substitute_names(index, numbers) for index in formula.output.indices)
    output = replace(formula.output, indices=indices)
    for axis in axes(Formula(output, formula.body)):
        if axis not in extents:
            raise ArgumentError(f"`extents` must have every axis of {output.tensor}; `{axis}` is missing")
        if extents[axis] < 1:
            raise ArgumentError(f"`extents` must be 1 or more; that of `{axis}` is {extents[axis]}")
    body = substitute_names(formula.body, numbers)
    return Formula(output, simplify(_numbered_positions(body, extents)))  # type: ignore[arg-type]


def _bare_by_numbers(formula: Formula, constants: Mapping[str, int | float], extents: Mapping[str, int]) -> set[str]:
    """The axes that the numbers of constants leave alone in an index, `x[i+O]` with O = 0: that dimension may be longer
    than the axis runs."""
    numbers: dict[str, Expr] = {name: Number(value) for name, value in constants.items()}
    indices = (index for part in walk(formula.body) if isinstance(part, Access) for index in part.indices)
    forms = [read(substitute_names(index, numbers), extents) for index in indices if not isinstance(index, Name)]
    return {axis for axis in extents if Affine.name(axis) in forms}


def _numbered_positions(node: Node, extents: Mapping[str, int]) -> Node:
    """`position(s, t)` -> `s*T + t`."""
    if isinstance(node, Call) and node.function == "position":
        number = Affine()
        for axis in node.arguments:
            assert isinstance(axis, Name)
            number = number * extents[axis.name] + Affine.name(axis.name)
        return write(number, [axis.name for axis in node.arguments if isinstance(axis, Name)])
    return map_children(node, lambda child: _numbered_positions(child, extents))


# One piece at a time


def _solved(piece: _Piece) -> Iterator[_Piece]:
    while True:
        scope = Scope(dict.fromkeys(piece.outputs, OUTPUT))
        result = rewrite(piece.formula.body, scope, piece.table)
        if result is None:
            yield piece
            return
        if isinstance(result, Wanted):
            for part in _cut(piece, result):
                yield from _solved(part)
            return
        body = simplify(result)
        piece = replace(piece, formula=Formula(piece.formula.output, body))  # type: ignore[arg-type]


def _cut(piece: _Piece, wanted: Wanted) -> Iterator[_Piece]:
    """The piece with an output axis replaced as wanted: one piece, or one for each residue."""
    axis, modulus = wanted.axis, wanted.modulus
    origin, extent = piece.table.origins[axis], piece.table.extents[axis]
    if wanted.digits:
        table = piece.table.copy()
        digits = [(size, table.add(name, count)) for size, count, name in wanted.digits]
        form = Affine.of(0, ((name, size) for size, name in digits))
        yield _replaced(piece, table, axis, form, [name for _, name in digits])
        (size, count, _), *_ = wanted.digits
        if size * count < extent:
            table = piece.table.copy()
            rest = table.add(origin, extent - size * count)
            yield _replaced(piece, table, axis, Affine.name(rest) + size * count, [rest])
    elif wanted.at:
        for start, end in ((0, wanted.at), (wanted.at, extent)):
            table = piece.table.copy()
            part = table.add(origin, end - start)
            yield _replaced(piece, table, axis, Affine.name(part) + start, [part])
    elif wanted.pair:
        table = piece.table.copy()
        part, remainder = table.add(origin, extent // modulus), table.add(origin, modulus)
        form = Affine.of(0, {part: modulus, remainder: 1})
        yield _replaced(piece, table, axis, form, [part, remainder])
    else:
        for rho in range(min(modulus, extent)):
            table = piece.table.copy()
            part = table.add(origin, -((rho - extent) // modulus))
            yield _replaced(piece, table, axis, Affine.name(part) * modulus + rho, [part])


def _replaced(piece: _Piece, table: AxisTable, axis: str, form: Affine, axes: list[str]) -> _Piece:
    at = piece.outputs.index(axis)
    output = substitute(piece.formula.output, {axis: form})
    body = substitute(piece.formula.body, {axis: form})
    formula = Formula(output, body)  # type: ignore[arg-type]
    return _Piece(formula, (*piece.outputs[:at], *axes, *piece.outputs[at + 1 :]), table)


# Names again


def _finished(piece: _Piece, constants: Mapping[str, int | float]) -> Solved:
    """The piece with names that a reader knows, and every index written as its affine form."""
    output, body, table = piece.formula.output, piece.formula.body, piece.table
    unbound = names_of((body,)) - set(table.extents)
    naming = _Naming(table, frozenset(unbound | set(constants)), {})
    names = naming.extend({}, piece.outputs)
    formula = Formula(naming.written(output, names), naming.written(body, names))  # type: ignore[arg-type]
    return Solved(formula, MappingProxyType({axis: naming.extents[axis] for axis in axes(formula)}))


@dataclass(frozen=True)
class _Naming:
    """Gives each axis the name of its origin, with a number where that name has another extent or is in scope."""

    table: AxisTable
    taken: frozenset[str]
    extents: dict[str, int]

    def extend(self, names: Mapping[str, str], axes: tuple[str, ...]) -> dict[str, str]:
        """`names` (internal to final, of the axes in scope) with those of `axes` added."""
        result = dict(names)
        for axis in axes:
            extent = self.table.extents[axis]
            differing = {name for name, known in self.extents.items() if known != extent}
            result[axis] = numbered(self.table.origins[axis], self.taken | differing | set(result.values()))
            self.extents[result[axis]] = extent
        return result

    def written(self, node: Node, names: Mapping[str, str]) -> Node:
        """The node in final names; affine expressions in their plainest form."""
        if isinstance(node, Binary | Negative):
            form = read(node, self.table.extents)
            if form is not None:
                order = list(names.values())
                return write(Affine.of(form.const, ((names[name], value) for name, value in form.terms)), order)
        if isinstance(node, Name):
            return Name(names.get(node.name, node.name))
        if isinstance(node, Reduce):
            names = self.extend(names, node.axes)
            node = replace(node, axes=tuple(names[axis] for axis in node.axes))
        return map_children(node, lambda child: self.written(child, names))
