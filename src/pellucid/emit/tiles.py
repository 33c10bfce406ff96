"""Tiles: accumulators in registers from the identity through the updates to the stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

from pellucid.emit.access import Access
from pellucid.emit.across import Pair, across, combined
from pellucid.emit.extreme import extreme
from pellucid.emit.ir import Code, Register
from pellucid.emit.kinds import converted
from pellucid.emit.loops import Loops
from pellucid.emit.multiply import accumulate, multiply_add
from pellucid.emit.places import Cell, Frame
from pellucid.emit.transpose import transpose
from pellucid.emit.values import Values, product_factors
from pellucid.errors import CompileError
from pellucid.schedule.nest import IDENTITY, For, Group, Store, Tile, Update, statements

__all__ = ["Tiles"]


class Slot(NamedTuple):
    """One accumulator: point, group and chain; of an arg reduction the `value` or the `position`."""

    point: int
    group: int
    chain: int
    part: str = "value"


class Tiles:
    """Writes tiles into one function. `loop` writes a For: handed in, since loops hold tiles as well."""

    def __init__(self, code: Code, loops: Loops, access: Access, values: Values) -> None:
        self.code, self.loops, self.access, self.values = code, loops, access, values
        self.state: dict[Slot, Register] = {}
        self._count = 0

    def write(self, tile: Tile, run_body: Callable[[Tile], None]) -> None:
        """A tile; `run_body` walks its statements and calls `update` for every Update."""
        numbers = [tile.point(number) for number in range(tile.point_count)]
        self.access.places.begin(Frame(self.loops, tile.points, numbers, tile.lane, tile.groups))
        self.state = {}
        if tile.reduction is not None:
            for slot in self._slots(tile):
                self.state[slot] = self._identity(tile, slot)
            run_body(tile)
            self._finish(tile)
        self._count += 1
        self.values.begin_stores(self._count, tile.stores)
        for store in tile.stores:
            self._store(tile, store)
        self.state = {}

    def updated_in(self, tile: Tile, loop: For) -> list[Slot]:
        """The accumulators that a loop inside the tile changes, in a fixed order."""
        pairs = {
            (point, statement.chain)
            for statement in statements((loop,))
            if isinstance(statement, Update)
            for point in statement.active
        }
        return [slot for slot in self.state if (slot.point, slot.chain) in pairs]

    # Accumulators

    def _slots(self, tile: Tile) -> list[Slot]:
        parts = ("value", "position") if _is_arg(tile) else ("value",)
        return [
            Slot(point, group, chain, part)
            for chain in range(tile.chains)
            for point in range(tile.point_count)
            for group in range(len(tile.groups))
            for part in parts
        ]

    def _identity(self, tile: Tile, slot: Slot) -> Register:
        width = tile.groups[slot.group].width
        if slot.part == "position":
            return self.code.number(0, self._position_kind(), width)
        return self.code.number(_identity(tile), lanes=width)

    def _position_kind(self) -> str:
        """Positions are as wide as the values that they stand beside, so that one mask serves both."""
        return "i32" if self.code.floating == "float" else "i64"

    # Updates

    def update(self, tile: Tile, update: Update) -> None:
        """One step of the reduction for the active points."""
        if update.fence:
            self.code.line('call void asm sideeffect "", "~{memory}"()')
            self.code.forget()
        for point in update.active:
            for number, group in enumerate(tile.groups):
                self._update_cell(tile, update, Cell(point, group), Slot(point, number, update.chain))

    def _update_cell(self, tile: Tile, update: Update, cell: Cell, slot: Slot) -> None:
        code, group = self.code, cell.group
        old = self.state[slot]
        if tile.reduction == "sum":
            new = self._added(update, cell, old)
            changes = [(slot, new)]
        else:
            value = code.splat(self.values.real(self.values.evaluate(update.value, cell)), group.width)
            if _is_arg(tile):
                changes = self._argued(tile, update, cell, slot, value)
            else:
                changes = [(slot, extreme(code, _wins(tile), old, value))]
        if tile.across and group.valid < group.width:
            exist = code.vector([lane < group.valid for lane in range(group.width)], "i1")
            changes = [(changed, code.select(exist, new, self.state[changed])) for changed, new in changes]
        for changed, new in changes:
            self.state[changed] = new

    def _added(self, update: Update, cell: Cell, old: Register) -> Register:
        """`old + value`, as a multiply-add where the value is a product; its uniform factors multiply first."""
        code, values = self.code, self.values
        factors = [values.real(values.evaluate(factor, cell)) for factor in product_factors(update.value)]
        uniform = [factor for factor in factors if factor.lanes == 1]
        by_lane = [factor for factor in factors if factor.lanes > 1]
        if uniform and by_lane:
            factors = [reduce(lambda a, b: code.binary("fmul", a, b), uniform), *by_lane]
        factors = [code.splat(factor, cell.group.width) for factor in factors]
        if len(factors) == 1:
            return code.binary("fadd", old, factors[0])
        first = reduce(lambda a, b: code.binary("fmul", a, b), factors[:-1])
        if len(uniform) > 0 and len(factors) == 2:
            return accumulate(code, first, factors[-1], old, values.target)
        return multiply_add(code, first, factors[-1], old, values.target.machine.has_fma)

    def _argued(
        self, tile: Tile, update: Update, cell: Cell, slot: Slot, value: Register
    ) -> list[tuple[Slot, Register]]:
        """Value and position of the winner: strictly better or NaN, unless the old one is NaN."""
        code = self.code
        if update.position is None:
            raise CompileError(f"an update of {tile.reduction} needs a position")
        place = slot._replace(part="position")
        old = self.state[slot]
        frame = self.access.places.frame
        form = frame.form(update.position)
        kind, width = self._position_kind(), cell.group.width
        index = self.loops.integer_of(form.terms, frame.const(form, cell))
        if kind == "i32":
            index = code.number(int(index.text), kind) if index.is_literal else code.cast("trunc", index, kind)
        index = code.splat(index, width)
        if form.lane and width > 1:
            index = code.binary("add", index, code.vector([form.lane * lane for lane in range(width)], kind))
        better_or_nan = code.compare(f"fcmp {_wins(tile).replace('o', 'u')}", value, old)
        wins = code.binary("and", better_or_nan, code.compare("fcmp ord", old, old))
        return [(slot, code.select(wins, value, old)), (place, code.select(wins, index, self.state[place]))]

    # The finished result

    def _finish(self, tile: Tile) -> None:
        """Combine chains, and groups and lanes where they are part of the reduction, always in the same order."""
        for point in range(tile.point_count):
            for group in range(len(tile.groups)):
                chains = [self._pair(tile, Slot(point, group, chain)) for chain in range(tile.chains)]
                self._set(tile, Slot(point, group, 0), combined(chains, partial(self._join, tile)))
        if tile.across:
            self._across(tile)

    def _pair(self, tile: Tile, slot: Slot) -> Pair:
        return [self.state[slot], *([self.state[slot._replace(part="position")]] if _is_arg(tile) else [])]

    def _set(self, tile: Tile, slot: Slot, pair: Pair) -> None:
        for part, register in zip(("value", "position"), pair, strict=False):
            self.state[slot._replace(part=part)] = register

    def _join(self, tile: Tile, a: Pair, b: Pair) -> Pair:
        code = self.code
        if tile.reduction == "sum":
            return [code.binary("fadd", a[0], b[0])]
        if not _is_arg(tile):
            return [extreme(code, _wins(tile), a[0], b[0])]
        # Equal values, or two NaN: the smaller position is the first.
        earlier = code.compare("icmp slt", b[1], a[1])
        better = code.compare(f"fcmp {_wins(tile)}", b[0], a[0])
        tie = code.binary("and", code.compare("fcmp oeq", b[0], a[0]), earlier)
        earlier_or_only = code.binary("or", code.compare("fcmp ord", a[0], a[0]), earlier)
        nan = code.binary("and", code.compare("fcmp uno", b[0], b[0]), earlier_or_only)
        wins = code.binary("or", code.binary("or", better, tie), nan)
        return [code.select(wins, b[0], a[0]), code.select(wins, b[1], a[1])]

    def _across(self, tile: Tile) -> None:
        """All groups and lanes of each point as one scalar: groups of one width first, then lanes by halves."""
        groups: dict[int, list[int]] = {}
        for number, group in enumerate(tile.groups):
            groups.setdefault(group.width, []).append(number)
        join = partial(self._join, tile)
        scalars: list[list[Pair]] = []
        for numbers in groups.values():
            pairs = [
                combined([self._pair(tile, Slot(point, number, 0)) for number in numbers], join)
                for point in range(tile.point_count)
            ]
            scalars.append(across(self.code, pairs, join))
        for point, found in enumerate(zip(*scalars, strict=True)):
            self._set(tile, Slot(point, 0, 0), combined(found, join))

    def _result(self, tile: Tile, which: str, cell: Cell) -> Register:
        if tile.reduction is None:
            raise CompileError("`Accumulated` stands in a tile without a reduction")
        group = 0 if tile.across else tile.groups.index(cell.group)
        found = self.state[Slot(cell.point, group, 0, which)]
        return converted(self.code, found, "i64") if which == "position" else found

    # Stores

    def _store(self, tile: Tile, store: Store) -> None:
        groups = (Group(0, 1, 1),) if tile.across else tile.groups
        done: set[tuple[int, int]] = set()
        for point in range(tile.point_count):
            for number, group in enumerate(groups):
                cell = Cell(point, group)
                if (point, number) in done:
                    continue
                block = None if store.add is not None else self.access.block_along_points(store.operand, cell)
                if block is None:
                    self.access.store(store.operand, cell, self._stored_value(tile, store, cell))
                else:
                    done |= {(member, number) for member in self._store_square(tile, store, cell)}

    def _stored_value(self, tile: Tile, store: Store, cell: Cell) -> Register:
        code, values = self.code, self.values
        value = values.evaluate(
            store.value, cell, lambda which, at: self._result(tile, which, at), every_point=not tile.across
        )
        if store.add is None:
            return value
        form = self.access.places.frame.form(store.add)
        slab = self.loops.integer_of(form.terms, self.access.places.frame.const(form, cell))
        if slab.is_literal and int(slab.text) <= 0:
            return value
        value, old = values.alike([value, self.access.load(store.operand, cell)])
        total = code.binary("add" if value.kind == "i64" else "fadd", old, value)
        if slab.is_literal:
            return total
        again = code.compare("icmp sgt", slab, code.number(0, "i64"))
        return code.select(again, total, value)

    def _store_square(self, tile: Tile, store: Store, cell: Cell) -> list[int]:
        """Points that are neighbours in memory: their vectors of lanes are transposed and stored along the points."""
        block = self.access.block_along_points(store.operand, cell)
        assert block is not None
        start, _ = block
        frame, width = self.access.places.frame, cell.group.width
        name = self.access.places.walking_name(store.operand)
        assert name is not None
        first = frame.numbers[start]
        members = [frame.numbers.index({**first, name: first[name] + step}) for step in range(width)]
        kind = self.access.places.kinds[store.operand.tensor]
        rows = [
            self.code.splat(
                converted(self.code, self._stored_value(tile, store, Cell(member, cell.group)), kind), width
            )
            for member in members
        ]
        for lane, column in enumerate(transpose(self.code, rows)[: cell.group.valid]):
            self.access.store_row_of_points(store.operand, Cell(start, cell.group), lane, column)
        return members


def _is_arg(tile: Tile) -> bool:
    return tile.reduction in ("argmax", "argmin")


def _identity(tile: Tile) -> float:
    assert tile.reduction is not None
    return IDENTITY[tile.reduction.removeprefix("arg")]


def _wins(tile: Tile) -> str:
    """The comparison by which a new value beats an old one."""
    return "ogt" if tile.reduction in ("max", "argmax") else "olt"
