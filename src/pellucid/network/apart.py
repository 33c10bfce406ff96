"""Arrays that are updated in place share no byte with any other: checked by address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping
from ctypes import addressof, c_char
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pellucid.errors import ArgumentError

__all__ = ["Spans", "address", "spans"]


@dataclass(frozen=True)
class Spans:
    """Arrays by address: `(start, end, name)`, sorted; `updated` are those of the arrays that are written."""

    all: tuple[tuple[int, int, str], ...] = ()
    updated: tuple[tuple[int, int, str], ...] = ()

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises ArgumentError where one of `arrays`, which are only read, overlaps an updated array."""
        for name, array in arrays.items():
            start = address(array)
            place = bisect_right(self.updated, (start + array.nbytes,)) - 1
            if place >= 0 and self.updated[place][1] > start:
                raise ArgumentError(f"{self.updated[place][2]} is updated in place and overlaps {name}")


def spans(arrays: Mapping[str, NDArray[Any]], updated: Container[str], others: Spans | None = None) -> Spans:
    """The spans of `arrays`, and those of `others`; ArgumentError where an updated one overlaps any."""
    known = others or Spans()
    own = [(address(array), address(array) + array.nbytes, name) for name, array in arrays.items()]
    everything = tuple(sorted((*known.all, *own)))
    written = {span for span in own if span[2] in updated} | set(known.updated)
    end = (0, 0, "")
    last = (0, 0, "")
    for span in everything:
        if span[0] < last[1]:
            raise ArgumentError(f"{last[2]} is updated in place and overlaps {span[2]}")
        if span in written and span[0] < end[1]:
            raise ArgumentError(f"{span[2]} is updated in place and overlaps {end[2]}")
        end = max(end, span, key=lambda entry: entry[1])
        last = span if span in written else last
    return Spans(everything, tuple(sorted(written)))


def address(array: NDArray[Any]) -> int:
    """Where an array's memory begins."""
    try:
        # A quarter of the time of the other way, which serves arrays that are read-only or without elements as well.
        return addressof(c_char.from_buffer(array))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return array.__array_interface__["data"][0]
