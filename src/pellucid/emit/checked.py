"""Checked mode: every access is tested when it happens, and not made where it would leave its tensor."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.emit.access import lookup_shift, stored_lanes
from pellucid.emit.ir import Code, Register
from pellucid.emit.kinds import KINDS, converted
from pellucid.emit.places import Cell, Place, Places
from pellucid.schedule.nest import Operand

__all__ = ["CHECKED_FUNCTIONS", "CheckedAccess"]

# Whether an access may be made. Record, i64 each: whether a violation is recorded, nest, tensor, flat index.
_TEST = """
define internal i1 @may_touch(ptr %record, i64 %nest, i64 %tensor, i64 %index, i64 %size, i1 %wanted) noinline {
entry:
  br i1 %wanted, label %test, label %refuse
test:
  %inside = icmp ult i64 %index, %size
  br i1 %inside, label %allow, label %bad
allow:
  ret i1 true
bad:
  %race = cmpxchg ptr %record, i64 0, i64 1 acq_rel monotonic
  %first = extractvalue { i64, i1 } %race, 1
  br i1 %first, label %write, label %refuse
write:
  %nest_slot = getelementptr i64, ptr %record, i64 1
  store i64 %nest, ptr %nest_slot
  %tensor_slot = getelementptr i64, ptr %record, i64 2
  store i64 %tensor, ptr %tensor_slot
  %index_slot = getelementptr i64, ptr %record, i64 3
  store i64 %index, ptr %index_slot
  br label %refuse
refuse:
  ret i1 false
}
"""

_WHERE = "ptr %record, i64 %nest, i64 %tensor, i64 %index, i64 %size, i1 %wanted"

# One load and one store of each kind. They are functions, not code in place: a nest has thousands of them, and so
# many branches in one function would take LLVM minutes.
_ACCESSES = """
define internal KIND @load.KIND(ptr %base, KIND %outside, WHERE) noinline {
entry:
  %good = call i1 @may_touch(WHERE)
  br i1 %good, label %touch, label %skip
touch:
  %at = getelementptr KIND, ptr %base, i64 %index
  %value = load KIND, ptr %at
  ret KIND %value
skip:
  ret KIND %outside
}
define internal void @store.KIND(ptr %base, KIND %value, WHERE) noinline {
entry:
  %good = call i1 @may_touch(WHERE)
  br i1 %good, label %touch, label %skip
touch:
  %at = getelementptr KIND, ptr %base, i64 %index
  store KIND %value, ptr %at
  br label %skip
skip:
  ret void
}
"""

CHECKED_FUNCTIONS = "\n".join(
    [_TEST, *(_ACCESSES.replace("KIND", kind).replace("WHERE", _WHERE) for kind in KINDS.values())]
)


class CheckedAccess:
    """Single cells, each read or written only after a test of its flat index.

    `record` points to where the first violation is written, `nest` is the nest's number in the program and `numbers`
    are those of its tensors.
    """

    def __init__(self, code: Code, places: Places, record: Register, nest: int, numbers: Mapping[str, int]) -> None:
        self.code, self.places = code, places
        self.record, self.nest, self.numbers = record, nest, numbers

    def block_along_points(self, operand: Operand, cell: Cell) -> tuple[int, int] | None:
        """No blocks: every cell is tested."""
        del operand, cell
        return None

    def store_row_of_points(self, operand: Operand, first: Cell, lane: int, value: Register) -> None:
        """Never asked for, since there are no blocks."""
        raise AssertionError("checked mode stores single cells")

    def load(self, operand: Operand, cell: Cell, *, every_point: bool = False) -> Register:
        """See `Access`; what may not be touched has the operand's outside value."""
        del every_point
        code, place = self.code, self.places.of(operand)
        shift = lookup_shift(code, self, place, cell)
        condition = self.places.condition(place, cell)
        same = place.address.lane == 0 and not any(part and part.lanes > 1 for part in (shift, condition))
        lanes = 1 if same else cell.group.width
        result = code.number(0, place.kind, lanes)
        outside = code.number(place.operand.outside, place.kind)
        for lane in range(min(lanes, cell.group.valid)):
            tested = self._tested(place, cell, lane, shift, condition)
            arguments = ", ".join(part.typed for part in (self._base(place), outside, *tested))
            value = code.instruction(place.kind, 1, f"call {place.kind} @load.{place.kind}({arguments})")
            result = value if lanes == 1 else code.insert(result, value, lane)
        return converted(code, result, code.floating) if result.kind in ("float", "double") else result

    def store(self, operand: Operand, cell: Cell, value: Register) -> None:
        """See `Access`."""
        code, place = self.code, self.places.of(operand)
        value = converted(code, value, place.kind)
        shift = lookup_shift(code, self, place, cell)
        condition = self.places.condition(place, cell)
        for lane in stored_lanes(place, cell, shift):
            tested = self._tested(place, cell, lane, shift, condition)
            element = _lane_of(code, value, lane)
            arguments = ", ".join(part.typed for part in (self._base(place), element, *tested))
            code.line(f"call void @store.{place.kind}({arguments})")
        code.forget(operand.tensor)

    def _base(self, place: Place) -> Register:
        return self.places.loops.bases[place.operand.tensor]

    def _tested(
        self, place: Place, cell: Cell, lane: int, shift: Register | None, condition: Register | None
    ) -> tuple[Register, ...]:
        """What the test of a lane is to know: record, nest, tensor, flat index, size, whether the access is wanted."""
        code = self.code
        number = self.places.frame.const(place.address, cell) + place.address.lane * lane
        index = self.places.loops.integer_of(place.address.terms, number)
        if shift is not None:
            index = code.binary("add", index, _lane_of(code, shift, lane))
        return (
            self.record,
            code.number(self.nest, "i64"),
            code.number(self.numbers[place.operand.tensor], "i64"),
            index,
            code.number(place.tensor.size, "i64"),
            code.number(1, "i1") if condition is None else _lane_of(code, condition, lane),
        )


def _lane_of(code: Code, value: Register, lane: int) -> Register:
    """One lane of a value, or the value that all lanes share."""
    return code.extract(value, lane if value.lanes > 1 else 0)
