"""NPZ files: a zip archive of .npy arrays. Objects (pickles) are refused, sizes are checked before memory is taken."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pellucid.errors import DataError

__all__ = ["read_npz"]

_MOST_BYTES = 1 << 36  # 64 GiB: no data set that fits the memory of one machine is larger

# All that zipfile, zlib and the header parser are known to raise on bytes that are not what they expect.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, SyntaxError,
    NotImplementedError, RuntimeError, OverflowError, MemoryError,
)  # fmt: skip


def read_npz(path: Path, names: tuple[str, ...]) -> Mapping[str, NDArray[np.generic]]:
    """The arrays of `names` that the archive at `path` has; other members are not looked at.

    Raises:
        DataError: the file is not a zip archive, or an array is damaged, of objects, or not of the size it declares.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: f"{name}.npy" for name in names if f"{name}.npy" in archive.namelist()}
            return {name: _read_member(path, archive, member) for name, member in members.items()}
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: cannot be read as an .npz file: {error or type(error).__name__}") from error


def _read_member(path: Path, archive: zipfile.ZipFile, member: str) -> NDArray[np.generic]:
    declared = archive.getinfo(member).file_size
    with archive.open(member) as stream:
        shape, by_columns, dtype = _read_header(stream)
        if dtype.hasobject or dtype.kind not in "biuf":
            raise DataError(f"{path}: `{member}` has elements of type {dtype}; only numbers are read")
        size = prod(shape) * dtype.itemsize
        if size > _MOST_BYTES or stream.tell() + size != declared:
            raise DataError(
                f"{path}: `{member}` {shape} of {dtype} needs {size} bytes "
                f"but the archive holds {declared - stream.tell()}"
            )
        data = stream.read(size + 1)  # one more, so that the end is met and the checksum of the archive is compared
    if len(data) != size:
        raise DataError(f"{path}: `{member}` needs {size} bytes but the archive gives {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f".npy version {version[0]}.{version[1]} is not read, only 1.0 and 2.0")
