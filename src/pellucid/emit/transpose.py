"""Squares transposed in registers: a strided copy becomes loads and stores of whole vectors.

For w rows of w lanes, log2(w) stages of w shuffles, each of which is one instruction. The stages inside sections of
128 bits interleave neighbours; those across take the even sections of two rows, and the odd ones.

A large square is a function of the module, with rows and columns in registers: LLVM takes 10 ms for one of 16 rows, and
a training step turns dozens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pellucid.emit.ir import BYTES, Code, Register, mangled, type_text

__all__ = ["transpose"]

# From here on a call costs little beside the shuffles.
_LEAST_CALLED = 8


def transpose(code: Code, rows: Sequence[Register]) -> list[Register]:
    """The columns of a square of registers; the number of lanes is a power of two."""
    width, kind = len(rows), rows[0].kind
    assert width == rows[0].lanes
    assert width & (width - 1) == 0
    # Rows of two registers each leave a function none to work with: LLVM 22 ends the process then.
    if width < _LEAST_CALLED or width * BYTES[kind] > code.vector_bytes:
        return _turned(code, rows)
    result = _square_type(kind, width)
    code.define(_function(kind, width, code.convention))
    arguments = ", ".join(row.typed for row in rows)
    columns = code.pure("", 1, f"call {code.convention} {result} @{_name(kind, width)}({arguments})").text
    return [code.pure(kind, width, f"extractvalue {result} {columns}, {lane}") for lane in range(width)]


@cache
def _function(kind: str, width: int, convention: str) -> str:
    """The definition of a function from rows to columns."""
    code, result = Code(kind), _square_type(kind, width)
    rows = [Register(f"%r{place}", kind, width) for place in range(width)]
    columns = "poison"
    for place, column in enumerate(_turned(code, rows)):
        columns = code.pure("", 1, f"insertvalue {result} {columns}, {column.typed}, {place}").text
    code.block.end = f"  ret {result} {columns}"
    head = f"define internal {convention} {result} @{_name(kind, width)}({', '.join(row.typed for row in rows)})"
    return f"{head} #0 {{\n{code.block.text()}\n}}"


def _name(kind: str, width: int) -> str:
    return f"transpose.{mangled(kind, width)}"


def _square_type(kind: str, width: int) -> str:
    return f"[{width} x {type_text(kind, width)}]"


def _turned(code: Code, rows: Sequence[Register]) -> list[Register]:
    width, square = len(rows), list(rows)
    section = min(width, 16 // BYTES[rows[0].kind])
    block = 1
    while block < section:
        square = _interleave(code, square, block, section)
        block *= 2
    for place in range(section):
        square[place::section] = _sections_turned(code, square[place::section], section)
    return square


def _interleave(code: Code, rows: list[Register], block: int, section: int) -> list[Register]:
    """Rows i and i + block become their units of `block` lanes, alternating: low halves of sections, then high ones.

    After all stages below `section`, register j of a group of `section` rows holds column j of each section.
    """
    width = len(rows)
    units = section // block
    result: list[Register] = []
    for group in range(0, width, 2 * block):
        for first in range(block):
            a, b = rows[group + first], rows[group + first + block]
            for half in (0, units // 2):
                result.append(code.shuffle(a, b, _interleaved(width, section, block, half)))
    return result


def _interleaved(width: int, section: int, block: int, half: int) -> list[int]:
    lanes: list[int] = []
    for start in range(0, width, section):
        for unit in range(section // block // 2):
            place = start + (half + unit) * block
            lanes += [place + lane for lane in range(block)]
            lanes += [width + place + lane for lane in range(block)]
    return lanes


def _sections_turned(code: Code, rows: list[Register], section: int) -> list[Register]:
    """Register s becomes section s of every row. Of two rows the even sections go to one register and the odd ones to
    another, which is a single instruction; so do those of the even ones, and of the odd ones."""
    if len(rows) == 1:
        return rows
    lanes = range(2 * rows[0].lanes)
    result = list(rows)
    for parity in (0, 1):
        chosen = [lane for lane in lanes if lane // section % 2 == parity]
        halves = [code.shuffle(a, b, chosen) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        result[parity::2] = _sections_turned(code, halves, section)
    return result
