"""The bytes of a file before they are parsed: is it protobuf, and what memory would the parsed message take?

Two bytes can be an empty node, which takes a hundred times as much when it is parsed; so the fields are counted first,
without parsing them. Data of tensors is stepped over, so this takes no time to speak of for real files.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from onnx import ModelProto

from pellucid.errors import DataError
from pellucid.exchange.onnx.reading.origin import Origin

__all__ = ["check_wire"]

# What an entry (a nested message, a string) and a number take when they are parsed, rounded up: a message of ONNX has
# up to 200 bytes, and a list is copied when it grows.
_ENTRY_BYTES, _NUMBER_BYTES = 256, 24
_MOST_DEPTH = 100  # of nested messages; protobuf's own limit
# How a field is written: as a number of variable length, with its length before it, or in 8 or 4 bytes.
_VARINT, _LENGTH, _FIXED = 0, 2, {1: 8, 5: 4}


@cache
def _inside(kind: Any) -> tuple[dict[int, Any], frozenset[int]]:
    """Of a kind of message: the kinds of its nested messages by number, and the numbers of fields of packed varints."""
    nested = {entry.number: entry.message_type for entry in kind.fields if entry.message_type is not None}
    varints = frozenset(
        entry.number
        for entry in kind.fields
        if entry.message_type is None
        and entry.type not in (entry.TYPE_STRING, entry.TYPE_BYTES, entry.TYPE_FLOAT, entry.TYPE_DOUBLE)
    )
    return nested, varints


def check_wire(data: bytes, origin: Origin) -> None:
    """Raises DataError where `data` is not protobuf of a model, or would take too much when it is parsed."""
    limits = origin.limits
    position, end, fields, memory = 0, len(data), 0, 2 * len(data)
    nested, varints = _inside(ModelProto.DESCRIPTOR)
    # The messages around the one that is read: where each ends, and what is inside it.
    around: list[tuple[int, dict[int, Any], frozenset[int]]] = []
    try:
        while position < end or around:
            if position == end:
                end, nested, varints = around.pop()
                continue
            start = position
            fields += 1
            # Numbers of one byte are most of all, and not worth a call.
            tag, position = (data[position], position + 1) if data[position] < 128 else _varint(data, position)
            number, kind = tag >> 3, tag & 7
            if kind == _LENGTH:
                length, position = (data[position], position + 1) if data[position] < 128 else _varint(data, position)
                memory += _ENTRY_BYTES + (_NUMBER_BYTES * length if number in varints else 0)
                if number in nested and length and position + length <= end:
                    around.append((end, nested, varints))
                    end = position + length
                    nested, varints = _inside(nested[number])
                else:
                    position += length
            elif kind == _VARINT:
                memory += _NUMBER_BYTES
                _, position = _varint(data, position)
            elif kind in _FIXED:
                memory += _NUMBER_BYTES
                position += _FIXED[kind]
            else:
                raise origin.damaged(f"is not an ONNX file: no field of protobuf at byte {start:,}")
            if position > end:
                raise origin.damaged(
                    f"is damaged or cut short: the field at byte {start:,} ends at byte {position:,}, "
                    f"what it stands in at byte {end:,}"
                )
            if fields > limits.fields or memory > limits.memory or len(around) > _MOST_DEPTH:
                raise _too_much(fields, memory, origin)
    except IndexError:
        raise origin.damaged(f"is damaged or cut short at byte {len(data):,}") from None
    except OverflowError:
        raise origin.damaged(f"is not an ONNX file: no number of protobuf at byte {position:,}") from None


def _too_much(fields: int, memory: int, origin: Origin) -> DataError:
    limits = origin.limits
    if fields > limits.fields:
        return origin.damaged(f"has more than {limits.fields:,} fields")
    if memory > limits.memory:
        return origin.damaged(f"takes more than {limits.memory:,} bytes of memory when it is parsed")
    return origin.damaged(f"has more than {_MOST_DEPTH} messages inside each other")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = data[position]
    position += 1
    if value < 128:
        return value, position
    value &= 127
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise OverflowError
