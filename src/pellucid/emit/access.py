"""Loads and stores of operands: vectors, masked vectors, squares of points and lanes, single cells."""

from __future__ import annotations

from math import gcd
from typing import Protocol

from pellucid.emit.ir import BYTES, Code, Register, mangled, type_text
from pellucid.emit.kinds import converted
from pellucid.emit.places import Cell, Place, Places
from pellucid.emit.transpose import transpose
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import Operand

__all__ = ["Access", "MemoryAccess", "lookup_shift", "stored_lanes"]


class Access(Protocol):
    """How the cells of a nest are read and written."""

    @property
    def places(self) -> Places:
        """Where operands lie."""
        ...

    def load(self, operand: Operand, cell: Cell, *, every_point: bool = False) -> Register:
        """The cells of an operand: one register lane a lane of the cell, or a scalar where all lanes are equal.

        `every_point`: all points of the tile are read here, so that a square of points and lanes may be read at once.
        """
        ...

    def store(self, operand: Operand, cell: Cell, value: Register) -> None:
        """Write the existing lanes of a cell, where the operand's guards hold."""
        ...

    def block_along_points(self, operand: Operand, cell: Cell) -> tuple[int, int] | None:
        """As `Places.block_along_points`, or None where blocks are not to be used."""
        ...

    def store_row_of_points(self, operand: Operand, first: Cell, lane: int, value: Register) -> None:
        """Write one lane of consecutive points (a block of `block_along_points`) as a vector."""
        ...


class MemoryAccess:
    """Loads and stores at once, since the nest was proved to stay inside its tensors."""

    def __init__(self, code: Code, places: Places) -> None:
        self.code = code
        self.places = places

    def block_along_points(self, operand: Operand, cell: Cell) -> tuple[int, int] | None:
        """See `Access`."""
        return self.places.block_along_points(operand, cell)

    # Loads

    def load(self, operand: Operand, cell: Cell, *, every_point: bool = False) -> Register:
        """See `Access`."""
        place = self.places.of(operand)
        shift = lookup_shift(self.code, self, place, cell)
        condition = self.places.condition(place, cell)
        if shift is None or shift.lanes == 1:
            if place.address.lane == 0 or cell.group.width == 1:
                return self._converted(self._load_one(place, cell, shift, condition))
            if place.address.lane == 1:
                return self._converted(self._load_row(place, cell, shift, condition))
            if every_point and shift is None and condition is None:
                square = self._load_square(place, cell)
                if square is not None:
                    return self._converted(square)
        return self._converted(self._load_lanes(place, cell, shift, condition))

    def _load_one(self, place: Place, cell: Cell, shift: Register | None, condition: Register | None) -> Register:
        code = self.code
        pointer = self.places.pointer(place, cell, 0, shift)
        if cell.group.offset == 0:
            self._prefetch(place, cell, pointer)
        if condition is None:
            return self._load_at(place, pointer)
        touched = condition
        if condition.lanes > 1:
            # One address for all lanes: it is legal where any lane's guard holds.
            touched = code.intrinsic("vector.reduce.or", [condition], ("i1", 1))
        value = self._load_safely(place, pointer, touched)
        outside = code.number(place.operand.outside, place.kind, condition.lanes)
        return code.select(condition, code.splat(value, condition.lanes), outside)

    def _prefetch(self, place: Place, cell: Cell, pointer: Register) -> None:
        """Have the line of a later cell brought nearer, where the operand asks, once in straight-line code."""
        prefetch = place.operand.prefetch
        begins_line = cell.group.offset * BYTES[place.kind] % CACHE_LINE == 0
        if prefetch is None or cell.point not in prefetch.points or not begins_line:
            return
        ahead = self.code.further(pointer, prefetch.distance * BYTES[place.kind])
        text = f"prefetch {ahead.text}"
        if text not in self.code.memory:
            self.code.prefetch(ahead, prefetch.cache)
            self.code.memory[text] = (place.operand.tensor, ahead)

    def _load_safely(self, place: Place, pointer: Register, condition: Register) -> Register:
        """The element at a pointer where a scalar condition holds, else the tensor's first."""
        base = self.places.loops.bases[place.operand.tensor]
        return self._load_at(place, self.code.select(condition, pointer, base))

    def _load_row(self, place: Place, cell: Cell, shift: Register | None, condition: Register | None) -> Register:
        """Neighbouring cells as one vector."""
        code, width, valid = self.code, cell.group.width, cell.group.valid
        pointer = self.places.pointer(place, cell, 0, shift)
        self._prefetch(place, cell, pointer)
        if condition is None and valid == width:
            return self._load_at(place, pointer, width)
        outside = code.number(place.operand.outside, place.kind, width)
        if condition is not None and condition.lanes == 1 and valid == width and place.tensor.size >= width:
            base = self.places.loops.bases[place.operand.tensor]
            value = self._load_at(place, code.select(condition, pointer, base), width)
            return code.select(condition, value, outside)
        mask = self.places.mask(cell.group, condition)
        kind = type_text(place.kind, width)
        name = f"@llvm.masked.load.v{width}{mangled(place.kind, 1)}.p0"
        code.declare(f"{kind} {name}(ptr, i32, <{width} x i1>, {kind})")
        alignment = BYTES[place.kind]
        text = f"call {kind} {name}(ptr {pointer.text}, i32 {alignment}, {mask.typed}, {outside.typed})"
        return code.load(place.operand.tensor, (place.kind, width), text)

    def _load_lanes(self, place: Place, cell: Cell, shift: Register | None, condition: Register | None) -> Register:
        """Cells anywhere, one at a time."""
        code = self.code
        result = code.number(0, place.kind, cell.group.width)
        for lane in range(cell.group.valid):
            own_shift = None if shift is None else code.extract(shift, lane)
            pointer = self.places.pointer(place, cell, lane, own_shift)
            if condition is None:
                value = self._load_at(place, pointer)
            else:
                holds = code.extract(condition, lane)
                value = self._load_safely(place, pointer, holds)
                value = code.select(holds, value, code.number(place.operand.outside, place.kind))
            result = value if cell.group.width == 1 else code.insert(result, value, lane)
        return result

    def _load_square(self, place: Place, cell: Cell) -> Register | None:
        """Where the cells of consecutive points are neighbours: whole vectors along the points, transposed."""
        block = self.places.block_along_points(place.operand, cell)
        if block is None:
            return None
        start, row = block
        code, width = self.code, cell.group.width
        first = Cell(start, cell.group)
        pointer = self.places.pointer(place, first, 0, None)
        # The columns are remembered as if each were loaded: every other point of the square finds its own.
        square = f"square {width} {cell.group.valid} {place.address.lane} {pointer.text}"
        found = code.memory.get(f"{square} {row}")
        if found is None:
            rows = [
                self._load_at(place, self.places.pointer(place, first, lane, None), width)
                if lane < cell.group.valid
                else code.number(0, place.kind, width)
                for lane in range(width)
            ]
            for number, column in enumerate(transpose(code, rows)):
                code.memory[f"{square} {number}"] = (place.operand.tensor, column)
            found = code.memory[f"{square} {row}"]
        return found[1]

    # Stores

    def store(self, operand: Operand, cell: Cell, value: Register) -> None:
        """See `Access`."""
        place = self.places.of(operand)
        value = converted(self.code, value, place.kind)
        shift = lookup_shift(self.code, self, place, cell)
        condition = self.places.condition(place, cell)
        if place.address.lane == 1 and cell.group.width > 1 and (shift is None or shift.lanes == 1):
            self._store_row(place, cell, value, shift, condition)
        else:
            for lane in stored_lanes(place, cell, shift):
                own_shift = None if shift is None else self.code.extract(shift, lane if shift.lanes > 1 else 0)
                own = None if condition is None else self.code.extract(condition, lane if condition.lanes > 1 else 0)
                pointer = self.places.pointer(place, cell, lane, own_shift)
                self._store_at(place, pointer, self.code.extract(value, lane if value.lanes > 1 else 0), own)
        self.code.forget(operand.tensor)

    def store_row_of_points(self, operand: Operand, first: Cell, lane: int, value: Register) -> None:
        """See `Access`."""
        place = self.places.of(operand)
        value = converted(self.code, value, place.kind)
        pointer = self.places.pointer(place, first, lane, None)
        self._store_at(place, pointer, value, None, self.places.row_fills_lines(place, first, lane))
        self.code.forget(operand.tensor)

    def _store_row(
        self, place: Place, cell: Cell, value: Register, shift: Register | None, condition: Register | None
    ) -> None:
        code, width = self.code, cell.group.width
        pointer = self.places.pointer(place, cell, 0, shift)
        value = code.splat(value, width)
        if cell.group.valid == width and (condition is None or condition.lanes == 1):
            self._store_at(place, pointer, value, condition, self.places.lanes_fill_lines(place, cell))
            return
        mask = self.places.mask(cell.group, condition)
        name = f"@llvm.masked.store.v{width}{mangled(place.kind, 1)}.p0"
        code.declare(f"void {name}({value.type}, ptr, i32, <{width} x i1>)")
        code.line(f"call void {name}({value.typed}, ptr {pointer.text}, i32 {BYTES[place.kind]}, {mask.typed})")

    def _store_at(
        self, place: Place, pointer: Register, value: Register, condition: Register | None, streamed: bool = False
    ) -> None:
        """Store where a scalar condition holds; past the caches what is `streamed`, a part of whole lines."""
        alignment, note = BYTES[place.kind], ""
        if streamed:
            alignment, note = gcd(value.lanes * alignment, CACHE_LINE), ", !nontemporal !0"
            self.code.define("!0 = !{i32 1}")
            self.code.streams = True
        text = f"store {value.typed}, ptr {pointer.text}, align {alignment}{note}"
        if condition is None:
            self.code.line(text)
        else:
            with self.code.when(condition):
                self.code.line(text)

    # Elements

    def _load_at(self, place: Place, pointer: Register, lanes: int = 1) -> Register:
        kind = type_text(place.kind, lanes)
        text = f"load {kind}, ptr {pointer.text}, align {BYTES[place.kind]}"
        return self.code.load(place.operand.tensor, (place.kind, lanes), text)

    def _converted(self, value: Register) -> Register:
        """Floating values are of the program's floating type as soon as they are in registers."""
        return converted(self.code, value, self.code.floating) if value.kind in ("float", "double") else value


def stored_lanes(place: Place, cell: Cell, shift: Register | None) -> list[int]:
    """All lanes; where they write one cell, the last."""
    together = place.address.lane == 0 and (shift is None or shift.lanes == 1)
    guarded_by_lane = any(form.lane for form, _, _ in place.guards)
    if together and not guarded_by_lane:
        return [cell.group.valid - 1]
    return list(range(cell.group.valid))


def lookup_shift(code: Code, access: Access, place: Place, cell: Cell) -> Register | None:
    """How many elements the looked-up integers move the address."""
    total: Register | None = None
    for operand, stride in place.lookups:
        value = access.load(operand, cell)
        part = code.binary("mul", value, code.number(stride, "i64", value.lanes))
        if total is None:
            total = part
        else:
            lanes = max(total.lanes, part.lanes)
            total = code.binary("add", code.splat(total, lanes), code.splat(part, lanes))
    return total
