"""Files that are there whole or not at all.

The bytes go to a temporary file in the same folder, which is synced and renamed over the old file; then the folder is
synced, so that the name too outlives a loss of power. Whatever fails, the old file is as it was.
"""

from __future__ import annotations

import os
from pathlib import Path

from pellucid.errors import StorageError

__all__ = ["append_line", "make_folder", "replace_file", "rotate_file"]


def replace_file(path: Path, content: bytes) -> None:
    """The file at `path` is `content`, or what it was before.

    Raises:
        StorageError: the disk is full, the folder is read-only, or something else is in the way.
    """
    _write(path, content, previous=None)


def rotate_file(path: Path, previous: Path, content: bytes) -> None:
    """As `replace_file`; what stood at `path` is at `previous` then. At every moment one of the two is whole."""
    _write(path, content, previous=previous)


def append_line(path: Path, line: str) -> None:
    """`line` at the end of the file at `path`, not synced: a log may lose its last lines.

    Raises StorageError as `replace_file` does.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            _write_all(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failure(path, error) from error


def make_folder(path: Path) -> None:
    """The folder, with those above it; StorageError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _failure(path, error) from error


def _write(path: Path, content: bytes, previous: Path | None) -> None:
    # Always the same name: what a killed process left is written over.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            _write_synced(temporary, content)
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _failure(path, error) from error


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written: {error.strerror or error}")
