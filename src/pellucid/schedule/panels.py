"""Panels: copies of an operand's tensor with one dimension blocked and innermost.

    w[s, t, c, k]  by k in blocks of 16     w.panel[k // 16, s, t, c, k % 16]

Where the axis is cut into pieces of several sizes, each piece has its own panel tensor. Of the other dimensions only
what is read is copied: none where an outer loop or the equation fixes the index, that loop's share where it limits it,
and the values of an axis in their order where the index is one axis with a factor.

    g[n,i,j,k] * w[2*s, 2 - 2*t, c, k]  by c        w.panel[c // 16, s, t, k, c % 16]    (s and t have two values)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, For, Group, Load, Operand, Statement, Store, Tensor, Tile
from pellucid.schedule.plan import Panel, Plan, near_equal
from pellucid.schedule.vectors import exact_groups, vector_pieces

__all__ = ["Binding", "PlacedPanel", "place_panels"]

# Rows that a plain copy moves together: four rows of four floats fill a cache line of a panel.
ROWS = 4
# Rows below which turning a square costs more shuffles than single loads.
SMALLEST_SQUARE = 4


@dataclass(frozen=True)
class Binding:
    """What a loop level binds an axis to: values `base .. base + length - 1`; the `block`-th of piece `piece`."""

    base: Affine
    length: int
    block: Affine = Affine()  # noqa: RUF009 - frozen
    piece: int = 0


@dataclass(frozen=True)
class PlacedPanel:
    """A panel in a plan: which dimension of the operand is blocked, which are kept in which order, and its parts."""

    panel: Panel
    dimension: int
    kept: tuple[int, ...]
    ranged: Mapping[int, str]  # kept dimensions that an outer level limits -> its axis
    counted: Mapping[int, tuple[str, int]]  # kept dimensions that count an axis -> the axis, its extent
    pieces: tuple[tuple[int, int, int], ...]
    keeps_block: bool
    tensors: tuple[Tensor, ...]
    lanes: int

    @property
    def name(self) -> str:
        """The name of its first tensor."""
        return self.tensors[0].name

    def operand(
        self, env: Mapping[str, Binding], anchor: Mapping[str, Binding], own: Operand, axis_name: Affine
    ) -> Operand:
        """The operand that reads the panel in the piece that `env` is in; `own` is the bound original, `anchor` are
        the bindings under which the panel was filled."""
        binding = env[self.panel.axis]
        tensor = self.tensors[binding.piece]
        index = [binding.block] if self.keeps_block else []
        for d in self.kept:
            if d in self.counted:
                index.append(_argument(self.panel.operand.index[d], own.index[d]))
            else:
                axis = self.ranged.get(d)
                index.append(own.index[d] if axis is None else own.index[d] - anchor[axis].base)
        return Operand(tensor.name, tensor.shape, (*index, axis_name), guards=own.guards, outside=own.outside)

    def distance(self, axis: str, count: int, piece: int) -> int:
        """How many elements a cell of a piece lies before the one `count` values of `axis` further; of the axis of the
        panel, before the one in the next block. Only of panels that hold all blocks."""
        assert self.keeps_block
        shape = self.tensors[piece].shape
        if axis == self.panel.axis:
            return prod(shape[1:])
        total = 0
        for place, d in enumerate(self.kept, start=1):
            step = self.panel.operand.index[d].coefficient(axis)
            total += (bool(step) if d in self.counted else step) * count * prod(shape[place + 1 :])
        return total

    def copies(self, env: Mapping[str, Binding], prefix: str) -> list[Statement]:
        """The statements that fill the panel, of every piece or of the one that `env` is in."""
        if not self.keeps_block:
            binding = env[self.panel.axis]
            return self._copy(env, prefix, binding.piece, binding.base, [])
        block = f"{prefix}.block"
        result = list[Statement]()
        for number, (start, width, count) in enumerate(self.pieces):
            result += self._copy(env, prefix, number, Affine.name(block) * width + start, [(block, count)])
        return result

    def _copy(
        self, env: Mapping[str, Binding], prefix: str, number: int, base: Affine, blocks: list[tuple[str, int]]
    ) -> list[Statement]:
        """One piece: its block at `base`, or all of its blocks, whose loop is then given."""
        source, axis, width = self.panel.operand, self.panel.axis, self.pieces[number][1]
        tensor = self.tensors[number]
        lane = Affine.name(axis)
        index: list[Affine] = [Affine()] * len(source.index)
        target = [Affine.name(name) for name, _ in blocks]
        loops = list[tuple[str, int]]()
        for place, d in enumerate(self.kept):
            name = f"{prefix}.{d}"
            extent = tensor.shape[place + len(blocks)]
            limited = self.ranged.get(d)
            if limited is not None:
                extent = min(extent, env[limited].length)
            index[d] = Affine.name(name) + (env[limited].base if limited is not None else 0)
            if d in self.counted:
                index[d] = source.index[d].substitute({self.counted[d][0]: Affine.name(name)})
            target.append(Affine.name(name))
            loops.append((name, extent))
        for d, form in enumerate(source.index):
            if d != self.dimension and d not in self.kept:
                index[d] = form.substitute({name: env[name].base for name in form.names})
        index[self.dimension] = base + lane
        read = Operand(source.tensor, source.shape, tuple(index))
        write = Operand(tensor.name, tensor.shape, (*target, lane))
        last = len(source.index) - 1
        turned = next(((name, n) for d, (name, n) in zip(self.kept, loops, strict=True) if d == last), None)
        if self.dimension != last and turned is not None:
            # A transposing copy: squares are turned in registers, one after the other; smaller ones where rows end.
            outer = [*blocks, *(loop for loop in loops if loop != turned)]
            result = list[Statement]()
            for start, rows, strips in _squares(turned[1], self.lanes):
                side = rows if rows >= SMALLEST_SQUARE else self.lanes
                for first, size, count in vector_pieces(width, side, side):
                    square = f"{prefix}.square"
                    at = {axis: lane + first + (Affine.name(square) * size if count > 1 else 0)}
                    copy = axis, exact_groups(size, side), _bound(read, at), _bound(write, at)
                    inner = [(square, count)] if count > 1 else []
                    result += _strip((turned[0], start, rows, strips), [*outer, *inner], [], copy)
            return result
        groups = exact_groups(width, self.lanes)
        if not loops:
            return list(_loops(blocks, (_tile((), axis, groups, read, write),)))
        # Some rows of every block in turn: the source is read along its rows, and panels are written in whole lines.
        return _in_strips(loops[-1], ROWS, loops[:-1], blocks, (axis, groups, read, write))


def _in_strips(
    rows: tuple[str, int], strip: int, outer: list[tuple[str, int]], inner: list[tuple[str, int]],
    copy: tuple[str, tuple[Group, ...], Operand, Operand],
) -> list[Statement]:  # fmt: skip
    """A copy with the dimension `rows` cut into strips, whose rows are the points of one tile.

    for outer: for strip: for inner: tile(rows of the strip)
    """
    name, extent = rows
    result = list[Statement]()
    whole = extent // strip
    for start, size, count in ((0, strip, whole), (whole * strip, extent % strip, 1)):
        if size and count:
            result += _strip((name, start, size, count), outer, inner, copy)
    return result


def _strip(
    rows: tuple[str, int, int, int], outer: list[tuple[str, int]], inner: list[tuple[str, int]],
    copy: tuple[str, tuple[Group, ...], Operand, Operand],
) -> tuple[Statement, ...]:  # fmt: skip
    """The strips of one size: of a dimension (name, start, size, count)."""
    name, start, size, count = rows
    axis, groups, read, write = copy
    step = f"{name}.tile"
    at = {name: Affine.name(step) * size + start + Affine.name(name)}
    tile = _tile(((name, size),), axis, groups, _bound(read, at), _bound(write, at))
    return _loops([*outer, (step, count), *inner], (tile,))


def _squares(extent: int, lanes: int) -> list[tuple[int, int, int]]:
    """A dimension cut into the sides of squares, powers of two, and what is too short for one: (start, size, count)."""
    few = extent % min(SMALLEST_SQUARE, lanes)
    whole, rest = divmod(extent - few, lanes)
    sides = [(whole * lanes + group.offset, group.width, 1) for group in exact_groups(rest, lanes)]
    return [*([(0, lanes, whole)] if whole else []), *sides, *([(extent - few, few, 1)] if few else [])]


def _tile(
    points: tuple[tuple[str, int], ...], lane: str, groups: tuple[Group, ...], read: Operand, write: Operand
) -> Tile:
    return Tile(points, lane, groups, None, (), (Store(write, Load(read)),))


def _bound(operand: Operand, bindings: Mapping[str, Affine]) -> Operand:
    return Operand(operand.tensor, operand.shape, tuple(index.substitute(bindings) for index in operand.index))


def _loops(loops: list[tuple[str, int]], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    for name, extent in reversed(loops):
        body = (For(name, Bound.of(0), Bound.of(extent), 1, body),)
    return body


def place_panels(plan: Plan, name: str, dtype: str) -> list[PlacedPanel]:
    """The panels of a plan with their tensors. One outside all loops is a temporary that a nest of its own fills and
    every thread reads; one inside is each thread's own scratch."""
    return [_place(plan, panel, f"{name}.panel{number}", dtype) for number, panel in enumerate(plan.panels)]


def _place(plan: Plan, panel: Panel, name: str, dtype: str) -> PlacedPanel:
    operand, outer = panel.operand, plan.levels[: panel.depth]
    dimension = next(d for d, index in enumerate(operand.index) if index.coefficient(panel.axis))
    lengths = {level.axis: level.size for level in outer if level.kind in ("slab", "loop")}
    keeps_block = not any(level.axis == panel.axis for level in outer)
    extents = plan.contraction.extents
    if panel.axis == plan.vector:
        pieces = vector_pieces(extents[panel.axis], plan.block, plan.lanes)
    else:
        pieces = near_equal(extents[panel.axis], dict(plan.tile)[panel.axis])
    ranged, counted, kept, shape = dict[int, str](), dict[int, tuple[str, int]](), list[int](), list[int]()
    for d in _order_of_dimensions(operand, plan):
        if d == dimension:
            continue
        names = operand.index[d].names
        limiting = next((axis for axis in names if axis in lengths), None)
        if not names or (limiting is not None and lengths[limiting] == 1):
            continue
        kept.append(d)
        if limiting is not None:
            ranged[d] = limiting
            shape.append(lengths[limiting])
        elif len(names) == 1 and _stays_inside(operand.index[d], operand.shape[d], extents):
            counted[d] = names[0], extents[names[0]]
            shape.append(extents[names[0]])
        else:
            shape.append(operand.shape[d])
    tensors = tuple(
        Tensor(
            f"{name}.{number}" if len(pieces) > 1 else name,
            dtype,
            (*((count,) if keeps_block else ()), *shape, _whole(width, plan) if panel.axis == plan.vector else width),
            "scratch" if panel.depth else "temporary",
        )
        for number, (_, width, count) in enumerate(pieces)
    )
    return PlacedPanel(panel, dimension, tuple(kept), ranged, counted, tuple(pieces), keeps_block, tensors, plan.lanes)


def _stays_inside(form: Affine, size: int, extents: Mapping[str, int]) -> bool:
    low, high = form.span(extents)
    return low >= 0 and high < size


def _argument(form: Affine, value: Affine) -> Affine:
    """What the one name of a form stands for where the form has this value."""
    ((_, step),) = form.terms
    rest = value - form.const
    return Affine(rest.const // step, tuple((name, factor // step) for name, factor in rest.terms))


def _whole(width: int, plan: Plan) -> int:
    """A width as whole vectors: a ragged block is computed whole."""
    return -(-width // plan.lanes) * plan.lanes


def _order_of_dimensions(operand: Operand, plan: Plan) -> list[int]:
    """Dimensions walked by outer loops first, then those of the reductions in their order; innermost last."""
    rank = {axis: number for number, axis in enumerate(plan.reductions)}

    def key(d: int) -> tuple[int, int]:
        return max((rank.get(axis, -1) for axis in operand.index[d].names), default=-1), d

    return sorted(range(len(operand.index)), key=key)
