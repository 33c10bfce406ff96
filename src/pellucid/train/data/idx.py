"""IDX files, the format of MNIST: a folder with images and labels for training and test.

A file is: two zero bytes, a type byte (8: unsigned bytes), the number of dimensions, each dimension as a big-endian
32-bit number, then the elements in row-major order. Nothing may be missing and nothing may follow.
"""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import DataError

__all__ = ["FILES", "find_idx_file", "has_idx_file", "read_idx"]

# Of each part: the names under which the files are found in the wild, with and without .gz behind them.
FILES = {
    f"{part} {kind}": tuple(f"{prefix}-{kind}{mark}idx{rank}-ubyte" for mark in ("-", "."))
    for part, prefix in (("train", "train"), ("test", "t10k"))
    for kind, rank in (("images", 3), ("labels", 1))
}

_UNSIGNED_BYTE = 8
_CHUNK = 1 << 20


def has_idx_file(folder: Path) -> bool:
    """Whether any of the four files lies there."""
    return any((folder / f"{name}{end}").is_file() for names in FILES.values() for name in names for end in ("", ".gz"))


def find_idx_file(folder: Path, content: str) -> Path:
    """The file of `folder` that holds `content`, a key of `FILES` such as "train images".

    Raises:
        DataError: there is none.
    """
    for name in FILES[content]:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(f"{folder}: the {content} are missing: expected {FILES[content][0]} or {FILES[content][0]}.gz")


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes with `rank` dimensions in the file at `path`, unpacked where it is gzip.

    Raises:
        DataError: the file cannot be read, is not of this format, type and rank, or is cut short or too long.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            shape = _read_header(path, stream, rank)
            data = _read_at_most(stream, prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(data) != prod(shape):
        finding = "more follow" if len(data) > prod(shape) else f"the file ends after {len(data)}"
        raise DataError(f"{path}: the header {shape} promises {prod(shape)} bytes of data but {finding}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_header(path: Path, stream: BinaryIO | gzip.GzipFile, rank: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * rank)
    magic = int.from_bytes(header[:4], "big")
    expected = _UNSIGNED_BYTE << 8 | rank
    if len(header) < 4 or magic != expected:
        raise DataError(
            f"{path}: starts with 0x{header[:4].hex()} but an IDX file of {rank} dimensions of unsigned bytes "
            f"starts with 0x{expected:08x}"
        )
    if len(header) < 4 + 4 * rank:
        raise DataError(f"{path}: the header is cut short: {len(header)} of {4 + 4 * rank} bytes")
    shape = tuple(int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank))
    if 0 in shape:
        raise DataError(f"{path}: the header {shape} says that the file is empty")
    return shape


def _read_at_most(stream: BinaryIO | gzip.GzipFile, count: int) -> bytes:
    """Up to `count` bytes, in pieces, so that a header that lies does not reserve its size in memory."""
    pieces: list[bytes] = []
    while count > 0 and (piece := stream.read(min(count, _CHUNK))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
