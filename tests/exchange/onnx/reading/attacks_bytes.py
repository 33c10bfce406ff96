"""Damaged bytes: cut short, flipped, and protobuf that no writer of models makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from exchange.onnx.reading.case import Case
from exchange.onnx.reading.models import REAL, convolutional

TRUNCATIONS, FLIPS = 8, 12


def attacks() -> Iterator[Case]:
    for name, make in REAL.items():
        content = make().SerializeToString()
        yield from _truncations(name, content)
        yield from _flips(name, content)
    yield from _wire()
    yield from _no_files()


def _truncations(name: str, content: bytes) -> Iterator[Case]:
    """A file that is cut between two fields of the model is protobuf still, so it may pass."""
    for number in range(TRUNCATIONS):
        length = (2 * number + 1) * len(content) // (2 * TRUNCATIONS)
        yield Case(f"{name} cut after {length}", content[:length], may_pass=True)
    for length in (1, 2, len(content) - 1):
        yield Case(f"{name} cut after {length}", content[:length])


def _flips(name: str, content: bytes) -> Iterator[Case]:
    random = np.random.default_rng(len(content))
    for number in range(FLIPS):
        damaged = bytearray(content)
        # One bit, then many: the more, the less is left of the file's form.
        for place in random.integers(0, len(content), 1 << number % 6):
            damaged[place] ^= 1 << int(random.integers(0, 8))
        yield Case(f"{name} with flips {number}", bytes(damaged), may_pass=True)
    header = bytearray(content)
    header[:64] = random.bytes(64)
    yield Case(f"{name} with a random beginning", bytes(header), may_pass=True)


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf with its length before it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


# Numbers of fields of models, graphs, nodes, attributes and tensors.
GRAPH, NODE, ATTRIBUTE, INNER_GRAPH, INITIALISER, INT64_DATA, FUNCTIONS = 7, 1, 5, 6, 5, 7, 25


def nested_graphs(depth: int) -> bytes:
    """Graphs as attributes of nodes of graphs."""
    graph = b""
    for _ in range(depth):
        graph = field(NODE, field(ATTRIBUTE, field(INNER_GRAPH, graph)))
    return graph


def _wire() -> Iterator[Case]:
    whole = convolutional().SerializeToString()
    yield Case("empty file", b"")
    yield Case("zeros", bytes(4096))
    yield Case("ones", b"\xff" * 4096)
    yield Case("text", b"this is not a model\n" * 100)
    yield Case(
        "a pickle", b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."
    )
    yield Case("noise", np.random.default_rng(0).bytes(65536))
    yield Case("length beyond the file", whole + varint(GRAPH << 3 | 2) + varint(1 << 40) + b"x")
    yield Case("length of 2^63", whole + varint(GRAPH << 3 | 2) + varint((1 << 63) - 1))
    yield Case("endless number", varint(1 << 3) + b"\xff" * 100_000)
    yield Case("a group", whole + bytes([GRAPH << 3 | 3]) * 1000)
    yield Case("field number 0", whole + field(0, b""))
    yield Case("graphs inside graphs", whole + field(GRAPH, nested_graphs(40)))
    yield Case("graphs inside graphs, 6,000 deep", whole + field(GRAPH, nested_graphs(2_000)))
    yield Case("four million empty nodes", whole + field(GRAPH, b"\x0a\x00" * 4_000_000))
    yield Case("a million empty functions", whole + field(FUNCTIONS, b"") * 1_100_000)
    yield Case("300,000 names without a letter", whole + field(GRAPH, field(NODE, b"\x0a\x00" * 300_000)))
    zeros = field(INITIALISER, field(INT64_DATA, bytes(40_000_000)))
    yield Case("40 million numbers in as many bytes", whole + field(GRAPH, zeros))
    yield Case("names that are not UTF-8", whole.replace(b"conv", b"\xff\xfe\xfd\xfc"))


def _no_files() -> Iterator[Case]:
    yield Case("a folder", b"", prepare=lambda folder: (folder / "model.onnx").mkdir())
    yield Case("a pipe", b"", prepare=lambda folder: os.mkfifo(folder / "model.onnx"))
    yield Case("a device", b"", prepare=lambda folder: _link(folder, "/dev/zero"))
    yield Case("a link to nothing", b"", prepare=lambda folder: _link(folder, "missing"))
    yield Case("a file of 64 GiB", b"", prepare=_gigantic_file)


def _link(folder: Path, target: str) -> None:
    (folder / "model.onnx").symlink_to(target)


def _gigantic_file(folder: Path) -> None:
    with open(folder / "model.onnx", "wb") as file:
        file.truncate(1 << 36)
