"""What was compiled, kept on disk in a folder of the user's alone: modules' objects, whole programs.

An entry is a line `pellucid-object <version> <sha256 of key and content>` followed by the content. What does not match
its checksum, an entry under another's key included, is never loaded: it is built again and replaced. Where the folder
cannot be used (read-only, full, another user's), nothing is kept and everything works.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CACHE_VERSION", "CacheUse", "ObjectCache", "cache_folder", "cache_use", "clear_cache", "entry_key"]

CACHE_VERSION = 2
_SUFFIX = ".object"


@dataclass(frozen=True)
class CacheUse:
    """The cache folder, the number of its entries, their bytes; `refusal` says why it is not used, "" where it is."""

    folder: Path
    entries: int
    bytes: int
    refusal: str


def cache_folder() -> Path:
    """PELLUCID_CACHE, else `pellucid` in XDG_CACHE_HOME, else in ~/.cache."""
    own = os.environ.get("PELLUCID_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    # The specification of that variable: a relative path is to be ignored.
    base = Path(shared) if shared and os.path.isabs(shared) else Path(os.path.expanduser("~")) / ".cache"
    return base / "pellucid"


def entry_key(*parts: str) -> str:
    """The name under which something is kept that is determined by these texts, the first saying what it is."""
    digest = hashlib.sha256()
    for part in (str(CACHE_VERSION), *parts):
        encoded = part.encode()
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()


class ObjectCache:
    """The entries in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def refusal(self) -> str:
        """Why the folder is not used; empty where it is. Creates it where it is missing."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            return f"{self.folder} cannot be made: {error.strerror}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{self.folder} is not a folder"
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return f"{self.folder} belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{self.folder} can be written by other users"
        return ""

    def load(self, key: str) -> bytes | None:
        """The content of that key's entry, or None where there is none that can be trusted."""
        header, _, content = (self.read(f"{key}{_SUFFIX}") or b"").partition(b"\n")
        return content if header + b"\n" == _header(key, content) else None

    def store(self, key: str, content: bytes) -> bool:
        """Keep an entry; whether it could be kept. Readers see the old entry or the new one, never a part."""
        return self.write(f"{key}{_SUFFIX}", _header(key, content) + content)

    def read(self, name: str) -> bytes | None:
        """What is in a file of the folder, or None where there is none of the user's own."""
        if self.refusal():
            return None
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "rb") as file:
                if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                    return None
                return file.read()
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> bool:
        """Make or replace a file of the folder; whether that could be done."""
        if self.refusal():
            return False
        temporary = ""
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, self.folder / name)
        except OSError:
            if temporary:
                _remove(Path(temporary))
            return False
        return True

    def entries(self) -> list[Path]:
        """The files of the cache."""
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix in (_SUFFIX, ".part"))
        except OSError:
            return []

    def remove(self, name: str) -> bool:
        """Remove a file of the folder; whether it was there."""
        return not self.refusal() and _remove(self.folder / name)


def cache_use() -> CacheUse:
    """What the cache holds now."""
    cache = ObjectCache(cache_folder())
    refusal = cache.refusal()
    sizes = [path.stat().st_size for path in cache.entries() if path.exists()]
    return CacheUse(cache.folder, len(sizes), sum(sizes), refusal)


def clear_cache() -> int:
    """Remove all entries; the number removed. Nothing is removed from a folder that is not the user's alone."""
    cache = ObjectCache(cache_folder())
    return 0 if cache.refusal() else sum(_remove(path) for path in cache.entries())


def _header(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return f"pellucid-object {CACHE_VERSION} {digest.hexdigest()}\n".encode()


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
