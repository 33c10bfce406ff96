"""Where operands lie: their forms taken apart, the pointers to their cells, the conditions under which they exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.emit.ir import BYTES, Code, Register
from pellucid.emit.kinds import storage_kind
from pellucid.emit.loops import Loops, Terms
from pellucid.language.affine import Affine
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import Group, Operand, Tensor

__all__ = ["Cell", "Form", "Frame", "Place", "Places"]


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

    def __init__(
        self,
        loops: Loops,
        points: Sequence[tuple[str, int]],
        numbers: Sequence[dict[str, int]],
        lane: str,
        groups: Sequence[Group],
    ) -> None:
        self.loops = loops
        self.groups = groups
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


class Places:
    """The operands of one nest, taken apart once in every tile and loop."""

    def __init__(self, code: Code, loops: Loops, tensors: Mapping[str, Tensor]) -> None:
        self.code, self.loops, self.tensors = code, loops, tensors
        self.kinds = {name: storage_kind(tensor, code.floating) for name, tensor in tensors.items()}
        self.frame = Frame(loops, (), ({},), "", ())
        self._known: dict[int, Place] = {}

    def begin(self, frame: Frame) -> None:
        """Enter a tile."""
        self.frame = frame
        self._known = {}

    def loops_changed(self) -> None:
        """A loop opened or closed: its variable means something else now."""
        self.frame.forget()
        self._known = {}

    def of(self, operand: Operand) -> Place:
        found = self._known.get(id(operand))
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
            self._known[id(operand)] = found
        return found

    def pointer(self, place: Place, cell: Cell, lane: int, shift: Register | None) -> Register:
        """The address of one lane of a cell; `shift` elements further."""
        pointer = self.loops.pointer(place.operand.tensor, place.address.terms)
        number = self.frame.const(place.address, cell) + place.address.lane * lane
        size = BYTES[place.kind]
        if shift is not None:
            kind = f"[{size} x i8]"
            pointer = self.code.pure("ptr", 1, f"getelementptr {kind}, ptr {pointer.text}, i64 {shift.text}")
        return self.code.further(pointer, number * size)

    def element(self, place: Place, index: Register) -> Register:
        base = self.loops.bases[place.operand.tensor]
        kind = f"[{BYTES[place.kind]} x i8]"
        return self.code.pure("ptr", 1, f"getelementptr {kind}, ptr {base.text}, i64 {index.text}")

    def block_along_points(self, operand: Operand, cell: Cell) -> tuple[int, int] | None:
        """The first point of the cell's block of `width` points with neighbouring cells, and its place in it.

        None where no point name walks neighbouring cells, where the block is not whole, or where guards or lookups
        make single cells differ.
        """
        place, width = self.of(operand), cell.group.width
        if place.guards or place.lookups or width & (width - 1) or width == 1:
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
        points = self.of(operand).address.points
        return next((name for name, coefficient in points if coefficient == 1), None)

    def lanes_fill_lines(self, place: Place, cell: Cell) -> bool:
        """Whether all lanes that the tile writes of a cell's point are whole cache lines of a streamed tensor."""
        groups = self.frame.groups
        edges = [group.offset for group in groups[1:]] + [groups[-1].offset + groups[-1].width]
        return (
            place.address.lane == 1
            and all(group.offset + group.valid == edge for group, edge in zip(groups, edges, strict=True))
            and self._fill_lines(
                place, self.frame.const(place.address, Cell(cell.point, groups[0])), edges[-1] - groups[0].offset
            )
        )

    def row_fills_lines(self, place: Place, first: Cell, lane: int) -> bool:
        """The same of a lane of consecutive points."""
        number = self.frame.const(place.address, first) + place.address.lane * lane
        return self._fill_lines(place, number, first.group.width)

    def _fill_lines(self, place: Place, number: int, count: int) -> bool:
        """Whether `count` elements from element `number` on are whole lines, wherever the loops are."""
        if not place.tensor.streamed or place.guards or place.lookups:
            return False
        walked = (coefficient * self.loops.unit(name) for name, coefficient in place.address.terms)
        return all(part * BYTES[place.kind] % CACHE_LINE == 0 for part in (number, count, *walked))

    def condition(self, place: Place, cell: Cell) -> Register | None:
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

    def mask(self, group: Group, condition: Register | None) -> Register:
        """Lanes that exist and whose guards hold."""
        code = self.code
        exist = code.vector([lane < group.valid for lane in range(group.width)], "i1")
        if condition is None:
            return exist
        condition = code.splat(condition, group.width)
        return condition if group.valid == group.width else code.binary("and", exist, condition)
