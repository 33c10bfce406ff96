"""Loads and stores of operands: addresses, guards, masks, lookups; every access tested in checked mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.emit.ir import BYTES, Code, Register, type_text
from pellucid.emit.loops import Loops, Terms
from pellucid.emit.transpose import transpose
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Group, Operand, Tensor

__all__ = ["KINDS", "Access", "Cell", "Form", "Frame"]

KINDS = {"float32": "float", "float64": "double", "int64": "i64"}


@dataclass(frozen=True)
class Cell:
    """One point of a tile and one group of lanes: what a value is computed for."""

    point: int
    group: Group


@dataclass(frozen=True)
class Form:
    """An affine form taken apart: constant, open loops, points of the tile, the lane."""

    const: int
    terms: Terms
    points: Terms
    lane: int


class Frame:
    """The names that a tile binds, and the forms that use them."""

    def __init__(self, loops: Loops, points: Sequence[tuple[str, int]], numbers: Sequence[dict[str, int]], lane: str):
        self.loops = loops
        self.counts = dict(points)
        self.numbers = numbers
        self.lane = lane
        self._known: dict[Affine, Form] = {}

    def form(self, index: Affine) -> Form:
        """The parts of an affine form, in the loops open now."""
        found = self._known.get(index)
        if found is not None:
            return found
        points = tuple(term for term in index.terms if term[0] in self.counts)
        rest = tuple(term for term in index.terms if term[0] not in self.counts and term[0] != self.lane)
        const, terms = self.loops.split(Affine(index.const, rest))
        found = self._known[index] = Form(const, terms, points, index.coefficient(self.lane))
        return found

    def forget(self) -> None:
        """Loops have changed."""
        self._known = {}

    def const(self, form: Form, cell: Cell) -> int:
        """The constant of a form at the first lane of a cell."""
        total = form.const + form.lane * cell.group.offset
        if form.points:
            numbers = self.numbers[cell.point]
            for name, coefficient in form.points:
                total += coefficient * numbers[name]
        return total


@dataclass(frozen=True)
class Place:
    """An operand with its address, guards and lookups taken apart."""

    operand: Operand
    tensor: Tensor
    kind: str
    address: Form
    guards: tuple[tuple[Form, int, int], ...]
    lookups: tuple[tuple[Operand, int], ...]  # with the distance of two cells whose looked-up integers differ by 1


@dataclass(frozen=True)
class Checks:
    """Checked mode: where violations are recorded, and the number of the nest."""

    record: Register
    nest: int


class Access:
    """Loads and stores of one nest."""

    def __init__(
        self, code: Code, loops: Loops, tensors: Mapping[str, Tensor], numbers: Mapping[str, int], checks: Checks | None
    ) -> None:
        self.code, self.loops, self.tensors, self.numbers, self.checks = code, loops, tensors, numbers, checks
        self.kinds = {name: storage_kind(tensor, code.floating) for name, tensor in tensors.items()}
        self.frame = Frame(loops, (), ({},), "")
        self._places: dict[int, Place] = {}

    def begin(self, frame: Frame) -> None:
        """Enter a tile."""
        self.frame = frame
        self._places = {}

    def loops_changed(self) -> None:
        """A loop opened or closed: its variable means something else now."""
        self.frame.forget()
        self._places = {}

    # Loads

    def load(self, operand: Operand, cell: Cell, *, every_point: bool = False) -> Register:
        """The cells of an operand: one register lane a lane of the cell, or a scalar where all lanes are equal.

        `every_point`: all points of the tile are read here, so that a square of points and lanes may be read at once.
        """
        place = self._place(operand)
        if self.checks is not None:
            return self._converted(self._load_checked(place, cell, self.checks))
        shift = self._lookup_shift(place, cell)
        condition = self._condition(place, cell)
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
        pointer = self._pointer(place, cell, 0, shift)
        if condition is None:
            return self._load_at(place, pointer)
        touched = condition
        if condition.lanes > 1:
            # One address for all lanes: it is legal where any lane's guard holds.
            touched = code.intrinsic("vector.reduce.or", [condition], ("i1", 1))
        value = self._load_safely(place, pointer, touched)
        outside = code.number(place.operand.outside, place.kind, condition.lanes)
        return code.select(condition, code.splat(value, condition.lanes), outside)

    def _load_safely(self, place: Place, pointer: Register, condition: Register) -> Register:
        """The element at a pointer where a scalar condition holds, else the tensor's first."""
        base = self.loops.bases[place.operand.tensor]
        return self._load_at(place, self.code.select(condition, pointer, base))

    def _load_row(self, place: Place, cell: Cell, shift: Register | None, condition: Register | None) -> Register:
        """Neighbouring cells as one vector."""
        code, width, valid = self.code, cell.group.width, cell.group.valid
        pointer = self._pointer(place, cell, 0, shift)
        if condition is None and valid == width:
            return self._load_at(place, pointer, width)
        outside = code.number(place.operand.outside, place.kind, width)
        if condition is not None and condition.lanes == 1 and valid == width and place.tensor.size >= width:
            base = self.loops.bases[place.operand.tensor]
            value = self._load_at(place, code.select(condition, pointer, base), width)
            return code.select(condition, value, outside)
        mask = self._mask(cell.group, condition)
        kind = type_text(place.kind, width)
        name = f"@llvm.masked.load.v{width}{_short(place.kind)}.p0"
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
            pointer = self._pointer(place, cell, lane, own_shift)
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
        block = self.block_along_points(place.operand, cell)
        if block is None:
            return None
        start, row = block
        code, width = self.code, cell.group.width
        first = Cell(start, cell.group)
        rows = [
            self._load_at(place, self._pointer(place, first, lane, None), width)
            if lane < cell.group.valid
            else code.number(0, place.kind, width)
            for lane in range(width)
        ]
        return transpose(code, rows)[row]

    def block_along_points(self, operand: Operand, cell: Cell) -> tuple[int, int] | None:
        """The first point of the cell's block of `width` points with neighbouring cells, and its place in it.

        None where no point name walks neighbouring cells, where the block is not whole, or where guards or lookups
        make single cells differ.
        """
        place, width = self._place(operand), cell.group.width
        if place.guards or place.lookups or self.checks is not None or width & (width - 1) or width == 1:
            return None
        if place.address.lane in (0, 1):
            return None
        name = self.walking_name(operand)
        if name is None:
            return None
        number = self.frame.numbers[cell.point][name]
        row = number % width
        if number - row + width > self.frame.counts[name]:
            return None
        wanted = dict(self.frame.numbers[cell.point])
        wanted[name] = number - row
        return self.frame.numbers.index(wanted), row

    def walking_name(self, operand: Operand) -> str | None:
        """The point name that walks neighbouring cells of an operand."""
        points = self._place(operand).address.points
        return next((name for name, coefficient in points if coefficient == 1), None)

    def _load_checked(self, place: Place, cell: Cell, checks: Checks) -> Register:
        """Every lane on its own, after its flat index was tested at run time."""
        code = self.code
        shift = self._lookup_shift(place, cell)
        condition = self._condition(place, cell)
        alone = place.address.lane == 0 and (shift is None or shift.lanes == 1)
        alone = cell.group.width == 1 or (alone and (condition is None or condition.lanes == 1))
        lanes = 1 if alone else cell.group.width
        result = code.number(0, place.kind, lanes)
        for lane in range(1 if alone else cell.group.valid):
            index = self._checked_index(place, cell, lane, shift, condition, checks)
            inside = code.compare("icmp sge", index, code.number(0, "i64"))
            at = code.select(inside, index, code.number(0, "i64"))
            value = self._load_at(place, self._element(place, at))
            value = code.select(inside, value, code.number(place.operand.outside, place.kind))
            result = value if lanes == 1 else code.insert(result, value, lane)
        return result

    # Stores

    def store(self, operand: Operand, cell: Cell, value: Register) -> None:
        """Write the existing lanes of a cell, where the operand's guards hold."""
        place = self._place(operand)
        value = self.converted_to(value, place.kind)
        shift = self._lookup_shift(place, cell)
        condition = self._condition(place, cell)
        if self.checks is not None:
            self._store_checked(place, cell, value, shift, condition, self.checks)
        elif place.address.lane == 1 and cell.group.width > 1 and (shift is None or shift.lanes == 1):
            self._store_row(place, cell, value, shift, condition)
        else:
            for lane in self._stored_lanes(place, cell, shift):
                own_shift = None if shift is None else self.code.extract(shift, lane if shift.lanes > 1 else 0)
                own = None if condition is None else self.code.extract(condition, lane if condition.lanes > 1 else 0)
                pointer = self._pointer(place, cell, lane, own_shift)
                self._store_at(place, pointer, self.code.extract(value, lane if value.lanes > 1 else 0), own)
        self.code.forget(operand.tensor)

    def store_row_of_points(self, operand: Operand, first: Cell, lane: int, value: Register) -> None:
        """Write one lane of consecutive points (a block of `block_along_points`) as a vector."""
        place = self._place(operand)
        self._store_at(place, self._pointer(place, first, lane, None), self.converted_to(value, place.kind), None)
        self.code.forget(operand.tensor)

    def _stored_lanes(self, place: Place, cell: Cell, shift: Register | None) -> list[int]:
        """All lanes; where they write one cell, the last."""
        together = place.address.lane == 0 and (shift is None or shift.lanes == 1)
        guarded_by_lane = any(form.lane for form, _, _ in place.guards)
        if together and not guarded_by_lane:
            return [cell.group.valid - 1]
        return list(range(cell.group.valid))

    def _store_row(
        self, place: Place, cell: Cell, value: Register, shift: Register | None, condition: Register | None
    ) -> None:
        code, width = self.code, cell.group.width
        pointer = self._pointer(place, cell, 0, shift)
        value = code.splat(value, width)
        if cell.group.valid == width and (condition is None or condition.lanes == 1):
            self._store_at(place, pointer, value, condition)
            return
        mask = self._mask(cell.group, condition)
        name = f"@llvm.masked.store.v{width}{_short(place.kind)}.p0"
        code.declare(f"void {name}({value.type}, ptr, i32, <{width} x i1>)")
        code.line(f"call void {name}({value.typed}, ptr {pointer.text}, i32 {BYTES[place.kind]}, {mask.typed})")

    def _store_at(self, place: Place, pointer: Register, value: Register, condition: Register | None) -> None:
        text = f"store {value.typed}, ptr {pointer.text}, align {BYTES[place.kind]}"
        if condition is None:
            self.code.line(text)
        else:
            with self.code.when(condition):
                self.code.line(text)

    def _store_checked(
        self,
        place: Place,
        cell: Cell,
        value: Register,
        shift: Register | None,
        condition: Register | None,
        checks: Checks,
    ) -> None:
        code = self.code
        for lane in self._stored_lanes(place, cell, shift):
            index = self._checked_index(place, cell, lane, shift, condition, checks)
            inside = code.compare("icmp sge", index, code.number(0, "i64"))
            element = code.extract(value, lane if value.lanes > 1 else 0)
            self._store_at(place, self._element(place, index), element, inside)

    # Addresses

    def _place(self, operand: Operand) -> Place:
        found = self._places.get(id(operand))
        if found is None:
            strides = [1]
            for extent in reversed(operand.shape[1:]):
                strides.insert(0, strides[0] * extent)
            found = Place(
                operand,
                self.tensors[operand.tensor],
                self.kinds[operand.tensor],
                self.frame.form(operand.address),
                tuple((self.frame.form(guard.index), guard.low, guard.high) for guard in operand.guards),
                tuple((lookup.operand, lookup.stride * strides[lookup.dimension]) for lookup in operand.lookups),
            )
            self._places[id(operand)] = found
        return found

    def _pointer(self, place: Place, cell: Cell, lane: int, shift: Register | None) -> Register:
        """The address of one lane of a cell; `shift` elements further."""
        pointer = self.loops.pointer(place.operand.tensor, place.address.terms)
        number = self.frame.const(place.address, cell) + place.address.lane * lane
        size = BYTES[place.kind]
        if shift is not None:
            kind = f"[{size} x i8]"
            pointer = self.code.pure("ptr", 1, f"getelementptr {kind}, ptr {pointer.text}, i64 {shift.text}")
        if number == 0:
            return pointer
        return self.code.pure("ptr", 1, f"getelementptr i8, ptr {pointer.text}, i64 {number * size}")

    def _element(self, place: Place, index: Register) -> Register:
        base = self.loops.bases[place.operand.tensor]
        kind = f"[{BYTES[place.kind]} x i8]"
        return self.code.pure("ptr", 1, f"getelementptr {kind}, ptr {base.text}, i64 {index.text}")

    def _checked_index(
        self,
        place: Place,
        cell: Cell,
        lane: int,
        shift: Register | None,
        condition: Register | None,
        checks: Checks,
    ) -> Register:
        """The flat index of a lane, or -1 where it is not to be touched; a violation is recorded on the way."""
        code = self.code
        number = self.frame.const(place.address, cell) + place.address.lane * lane
        index = self.loops.integer_of(place.address.terms, number)
        if shift is not None:
            index = code.binary("add", index, code.extract(shift, lane if shift.lanes > 1 else 0))
        wanted = code.number(1, "i1")
        if condition is not None:
            wanted = code.extract(condition, lane if condition.lanes > 1 else 0)
        arguments = (
            checks.record,
            code.number(checks.nest, "i64"),
            code.number(self.numbers[place.operand.tensor], "i64"),
            index,
            code.number(place.tensor.size, "i64"),
            wanted,
        )
        return code.instruction("i64", 1, f"call i64 @checked({', '.join(argument.typed for argument in arguments)})")

    def _lookup_shift(self, place: Place, cell: Cell) -> Register | None:
        """How many elements the looked-up integers move the address."""
        total: Register | None = None
        for operand, stride in place.lookups:
            value = self.load(operand, cell)
            part = self.code.binary("mul", value, self.code.number(stride, "i64", value.lanes))
            if total is None:
                total = part
            else:
                lanes = max(total.lanes, part.lanes)
                total = self.code.binary("add", self.code.splat(total, lanes), self.code.splat(part, lanes))
        return total

    # Conditions

    def _condition(self, place: Place, cell: Cell) -> Register | None:
        """Whether all guards hold, for each lane where they differ; None where they always hold."""
        code = self.code
        result: Register | None = None
        for form, low, high in place.guards:
            holds = self._guard_holds(form, low, high, cell)
            if holds is None:
                continue
            if result is None:
                result = holds
            else:
                lanes = max(result.lanes, holds.lanes)
                result = code.binary("and", code.splat(result, lanes), code.splat(holds, lanes))
        return result

    def _guard_holds(self, form: Form, low: int, high: int, cell: Cell) -> Register | None:
        code, width = self.code, cell.group.width
        const = self.frame.const(form, cell)
        by_lane = form.lane != 0 and width > 1
        if not form.terms:
            held = [low <= const + form.lane * lane < high for lane in range(width if by_lane else 1)]
            return None if all(held) else code.vector(held, "i1")
        # One unsigned comparison: low <= index < high is index - low < high - low.
        index = self.loops.integer_of(form.terms, const - low)
        span = code.number(max(high - low, 0), "i64")
        if not by_lane:
            return code.compare("icmp ult", index, span)
        steps = code.vector([form.lane * lane for lane in range(width)], "i64")
        return code.compare("icmp ult", code.binary("add", code.splat(index, width), steps), code.splat(span, width))

    def _mask(self, group: Group, condition: Register | None) -> Register:
        """Lanes that exist and whose guards hold."""
        code = self.code
        exist = code.vector([lane < group.valid for lane in range(group.width)], "i1")
        if condition is None:
            return exist
        condition = code.splat(condition, group.width)
        return condition if group.valid == group.width else code.binary("and", exist, condition)

    # Elements

    def _load_at(self, place: Place, pointer: Register, lanes: int = 1) -> Register:
        kind = type_text(place.kind, lanes)
        text = f"load {kind}, ptr {pointer.text}, align {BYTES[place.kind]}"
        return self.code.load(place.operand.tensor, (place.kind, lanes), text)

    def _converted(self, value: Register) -> Register:
        """Floating values are of the program's floating type as soon as they are in registers."""
        return self.converted_to(value, self.code.floating) if value.kind in ("float", "double") else value

    def converted_to(self, value: Register, kind: str) -> Register:
        """The value as another kind of element; a floating value becomes an integer by truncation, NaN 0."""
        code = self.code
        if value.kind == kind:
            return value
        if value.kind == "i1":
            return code.cast("zext" if kind == "i64" else "uitofp", value, kind)
        if value.kind in ("i64", "i32"):
            if value.is_literal and value.lanes == 1 and kind in ("float", "double"):
                return code.number(int(value.text), kind)
            return code.cast(("sext" if kind == "i64" else "sitofp"), value, kind)
        if kind == "i64":
            name = f"llvm.fptosi.sat.{_vector_short('i64', value.lanes)}.{_vector_short(value.kind, value.lanes)}"
            result = type_text("i64", value.lanes)
            code.declare(f"{result} @{name}({value.type})")
            return code.pure("i64", value.lanes, f"call {result} @{name}({value.typed})")
        return code.cast("fpext" if kind == "double" else "fptrunc", value, kind)


def storage_kind(tensor: Tensor, floating: str) -> str:
    """The element kind in memory; tables of floating numbers are made in the program's type."""
    if tensor.role == "table" and tensor.dtype != "int64":
        return floating
    return KINDS[tensor.dtype]


def _short(kind: str) -> str:
    return {"float": "f32", "double": "f64"}.get(kind, kind)


def _vector_short(kind: str, lanes: int) -> str:
    return _short(kind) if lanes == 1 else f"v{lanes}{_short(kind)}"
