"""Squares transposed in registers: a strided copy becomes loads and stores of whole vectors.

For w rows of w lanes, log2(w) stages of w shuffles. The stages inside 128 bits interleave neighbours, which is what
processors have single instructions for; the stages across swap blocks of lanes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.emit.ir import BYTES, Code, Register

__all__ = ["transpose"]


def transpose(code: Code, rows: Sequence[Register]) -> list[Register]:
    """The columns of a square of registers; the number of lanes is a power of two."""
    width = len(rows)
    assert width == rows[0].lanes
    assert width & (width - 1) == 0
    square = list(rows)
    section = min(width, 16 // BYTES[rows[0].kind])
    block = 1
    while block < section:
        square = _interleave(code, square, block, section)
        block *= 2
    while block < width:
        square = _swap_blocks(code, square, block)
        block *= 2
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


def _swap_blocks(code: Code, rows: list[Register], block: int) -> list[Register]:
    """Rows i and i + block exchange the block above the diagonal with the one below."""
    width = len(rows)
    result = list(rows)
    for i in range(width):
        if i & block:
            continue
        a, b = rows[i], rows[i + block]
        low = [lane if not lane & block else width + lane - block for lane in range(width)]
        high = [lane + block if not lane & block else width + lane for lane in range(width)]
        result[i], result[i + block] = code.shuffle(a, b, low), code.shuffle(a, b, high)
    return result
