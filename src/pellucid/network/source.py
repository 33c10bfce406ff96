"""A digest of the compiler's own source: part of the key of whatever it makes."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from time import time
from uuid import uuid4

__all__ = ["source_digest"]

# The rooms that a graph passes through on its way to machine code.
_ROOMS = ("language", "schedule", "emit", "network")
# Taken with the import of the network, right after that of the language.
_IMPORTED = time()


@cache
def source_digest() -> str:
    """A digest of the source of the rooms that determine what is compiled.

    Where there is no source to read, or it was changed after it was imported, a text that no other process has: what
    this process makes is not to be taken for what that source makes.
    """
    package = Path(__file__).parent.parent
    digest = sha256()
    paths = sorted(path for room in _ROOMS for path in (package / room).glob("*.py"))
    for path in paths:
        text = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(text)}:".encode())
        digest.update(text)
    known = bool(paths) and max(path.stat().st_mtime for path in paths) <= _IMPORTED
    return digest.hexdigest() if known else uuid4().hex
