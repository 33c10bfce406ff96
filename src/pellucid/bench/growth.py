"""How time and memory of a training step grow with the batch, the channels, the size of the images, the threads.

Six convolutions with batch norm; one quantity changes, the others stay. Every point is a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pellucid.bench.alone import Request, run_alone
from pellucid.bench.peers import load
from pellucid.bench.rows import Row

__all__ = ["CASES", "Point", "bars", "heading", "line", "measure", "row"]

BASE = Request("ours", "", batch=32, channels=32, size=32)
CASES: Mapping[str, Sequence[int]] = MappingProxyType(
    {"batch": (1, 2, 4, 8, 16, 32, 64, 128), "channels": (8, 16, 32, 64), "size": (16, 32, 64), "threads": ()}
)
BAR = 40


@dataclass(frozen=True)
class Point:
    """`who` took so many seconds and bytes for each image of a step where `quantity` was `value`."""

    who: str
    quantity: str
    value: int
    threads: int
    seconds: float
    bytes: float


def measure(names: Sequence[str], peers: Sequence[str], rounds: int, threads: int = 1) -> Iterator[Point]:
    """The points of every curve; with `threads` as named quantity from 1 to the cores of this machine."""
    for peer in peers:
        load(peer)
    for name in names:
        for value in CASES[name] or range(1, (os.cpu_count() or 1) + 1):
            for who in ("ours", *peers):
                request = replace(BASE, who=who, rounds=rounds, threads=threads)
                request = replace(request, **{name: value})
                if who == "ours":
                    run_alone(replace(request, rounds=1))  # compiles, so that what is measured does not
                found = run_alone(request)
                yield Point(
                    who, name, value, request.threads, found.seconds / request.batch, found.bytes / request.batch
                )


def heading() -> str:
    """The titles of `line`'s columns."""
    return f"{'':16}{'':>6} {'ms an image':>12} {'MB an image':>12}"


def line(point: Point) -> str:
    """A point as a line of the table."""
    return f"{point.quantity:10}{point.who:6}{point.value:6d} {point.seconds * 1e3:12.3f} {point.bytes / 1e6:12.3f}"


def row(point: Point) -> Row:
    """The seconds of a point, for a file of results."""
    name = f"{point.quantity} {point.value}"
    return Row(name, f"growth {point.who}", point.threads, None, point.seconds, None)


def bars(points: Sequence[Point]) -> str:
    """The curves as bars of text: time for each image, the longest of a quantity `BAR` characters."""
    lines = list[str]()
    for quantity in dict.fromkeys(point.quantity for point in points):
        own = [point for point in points if point.quantity == quantity]
        longest = max(point.seconds for point in own)
        lines += ["", f"ms an image against {quantity}"]
        for point in own:
            bar = "#" * max(1, round(BAR * point.seconds / longest))
            lines.append(f"{point.value:6d} {point.who:6}{bar} {point.seconds * 1e3:.3f}")
    return "\n".join(lines)
