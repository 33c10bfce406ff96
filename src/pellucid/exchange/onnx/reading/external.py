"""Data of tensors in files beside the model.

A location may lead to a regular file inside the model's folder, and nowhere else: its parts are opened one inside the
other, none may be a symbolic link, and the file must have no other name (a hard link could be any file of the disk).
The bytes are read, not mapped: a mapped file that is changed or cut by others changes a network that runs, or ends
the process. A checksum is not compared: whoever wrote the file wrote the checksum.
"""

from __future__ import annotations

import os
import stat

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from pellucid.exchange.onnx.reading.origin import Origin, shown

__all__ = ["read_external"]

_MOST_DIGITS = 19  # of an offset or a length: files have fewer than 2^63 bytes


def read_external(tensor: TensorProto, where: str, size: int, origin: Origin) -> NDArray[np.uint8]:
    """The `size` bytes of a tensor; memory for them is counted already."""
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        key = origin.label(entry.key, f"{where}: a key of its external data")
        if key in entries:
            raise origin.damaged(f"{where}: its external data has {shown(key)} twice")
        entries[key] = origin.label(entry.value, f"{where}: {shown(key)} of its external data")
    parts = _parts(entries.get("location", ""), where, origin)
    offset = _number(entries.get("offset", "0"), "offset", where, origin)
    length = _number(entries.get("length", str(size)), "length", where, origin)
    if length != size:
        raise origin.damaged(f"{where}: its external data has length {length:,}, the tensor has {size:,} bytes")
    if origin.folder is None:
        raise origin.damaged(f"{where}: has external data, and a model that is not read from a file has no folder")
    title = f"{where}: external data {shown('/'.join(parts))}"
    try:
        return _read(str(origin.folder), parts, offset, size, title, origin)
    except OSError as error:
        raise origin.damaged(f"{title} cannot be read: {error.strerror}") from error


def _parts(location: str, where: str, origin: Origin) -> list[str]:
    """The components of a relative path that stays where it starts."""
    parts = [part for part in location.split("/") if part != "."]
    if not parts or "" in parts or ".." in parts or any(sign in location for sign in "\\:\0"):
        raise origin.damaged(
            f"{where}: the location of its external data must be a path inside the model's folder, is {shown(location)}"
        )
    return parts


def _number(text: str, key: str, where: str, origin: Origin) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise origin.damaged(f"{where}: {key} of its external data must be a whole number of bytes, is {shown(text)}")
    return int(text)


def _read(folder: str, parts: list[str], offset: int, size: int, title: str, origin: Origin) -> NDArray[np.uint8]:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            # Looked at first, since opening a device can do something; then opened without following a link that came
            # in between, and looked at again.
            _check_kind(os.stat(part, dir_fd=held, follow_symlinks=False), last, title, origin)
            flags = os.O_NONBLOCK if last else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=held)
            os.close(held)
            held = inner
        status = os.fstat(held)
        _check_kind(status, True, title, origin)
        if offset + size > status.st_size:
            raise origin.damaged(
                f"{title} has {status.st_size:,} bytes, {size:,} bytes from {offset:,} on reach beyond them"
            )
        data = np.empty(size, np.uint8)
        done = 0
        while done < size:
            count = os.preadv(held, [data.data[done:]], offset + done)
            if not count:
                raise origin.damaged(f"{title} became shorter while it was read")
            done += count
        return data
    finally:
        os.close(held)


def _check_kind(status: os.stat_result, last: bool, title: str, origin: Origin) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise origin.damaged(f"{title} leads through a symbolic link")
    if not last:
        return
    if not stat.S_ISREG(status.st_mode):
        raise origin.damaged(f"{title} is not a file")
    if status.st_nlink != 1:
        raise origin.damaged(f"{title} is a hard link: the file has {status.st_nlink} names, must have one")
