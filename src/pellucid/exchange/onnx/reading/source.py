"""A path, bytes or a message -> the parsed message, and what is known of its origin."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.reading.origin import Origin
from pellucid.exchange.onnx.reading.wire import check_wire

__all__ = ["Source", "open_source"]

Source = str | os.PathLike[str] | bytes | ModelProto

_NAMELESS = "the model"


def open_source(source: Source, limits: Limits) -> tuple[ModelProto, Origin]:
    """The parsed file. Only a model that came from a file has a folder for external data."""
    if isinstance(source, ModelProto):
        return source, Origin(_NAMELESS, None, limits)
    if isinstance(source, bytes):
        return _parse(source, Origin(_NAMELESS, None, limits))
    if not isinstance(source, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"`source` must be a path, bytes or a ModelProto, is {type(source).__name__}")
    path = Path(source)
    return _parse(_content(path, limits), Origin(str(path), path.parent, limits))


def _parse(data: bytes, origin: Origin) -> tuple[ModelProto, Origin]:
    if len(data) > origin.limits.file_bytes:
        raise _too_large(origin.name, len(data), origin.limits)
    if not data:
        raise origin.damaged("is empty")
    check_wire(data, origin)
    try:
        return ModelProto.FromString(data), origin
    except DecodeError as error:
        if "alloc" in str(error):
            raise MemoryError from error
        raise origin.damaged(f"is not an ONNX file: {error}") from error


def _content(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file. Opening does not wait for the other end of a pipe, and the size is that of what was
    opened, whatever the path leads to later."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a path with a zero character
        raise ArgumentError(f"`source` must be a path: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is not a file")
        if status.st_size > limits.file_bytes:
            raise _too_large(str(path), status.st_size, limits)
        with open(handle, "rb", closefd=False) as file:
            data = file.read(status.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(data) != status.st_size:
        raise DataError(f"{path}: became shorter while it was read")
    return data


def _too_large(name: str, size: int, limits: Limits) -> DataError:
    return DataError(f"{name}: has {size:,} bytes, at most {limits.file_bytes:,} are read")
