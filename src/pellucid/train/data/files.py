"""Pictures in files, decoded when they are asked for; what was decoded stays in memory as far as there is room."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError
from pellucid.train.data.decode import PictureForm, decode, read_picture
from pellucid.train.data.threads import check_threads, in_threads

__all__ = ["FilePixels", "available_memory"]

_MOST_CACHE = 1 << 30
_UNKNOWN_MEMORY = 4 << 30


class FilePixels:
    """Pictures at `paths`, decoded to `form` in so many threads; see `Pixels`.

    The first `cache_bytes // (bytes of a picture)` of them are kept once they have been decoded, the others are decoded
    each time: so a small set is decoded once, and one larger than memory streams. `cache_bytes` is 1 GiB by default, or
    a quarter of the memory that is free, whichever is less.

    May be read by several threads at once, and after a fork: there are no locks, since a picture is always decoded to
    the same bytes, and marked as kept when it stands.

    Raises:
        ArgumentError: `threads` is below 1, or `cache_bytes` below 0.
    """

    def __init__(
        self, paths: Sequence[str], form: PictureForm, threads: int = 2, cache_bytes: int | None = None
    ) -> None:
        check_threads(threads)
        if cache_bytes is None:
            cache_bytes = min(_MOST_CACHE, available_memory() // 4)
        if cache_bytes < 0:
            raise ArgumentError(f"`cache_bytes` (={cache_bytes}) must be at least 0")
        self._paths = tuple(paths)
        self._form = form
        self._threads = threads
        room = min(len(self._paths), cache_bytes // prod(form.shape))
        self._cache = np.empty((room, *form.shape), np.uint8)  # the system gives its memory as it is written
        self._kept = np.zeros(room, np.bool_)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Pixels`."""
        return len(self._paths), *self._form.shape

    @property
    def bytes_to_come(self) -> int:
        """See `Pixels`."""
        return (len(self._kept) - self.kept) * prod(self._form.shape)

    @property
    def kept(self) -> int:
        """How many pictures are in memory."""
        return int(self._kept.sum())

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """See `Pixels`.

        Raises:
            DataError: a file is gone or cannot be decoded; names the first such of `numbers`.
        """
        images = np.empty((len(numbers), *self._form.shape), np.uint8)
        hits = np.flatnonzero(numbers < len(self._kept))
        hits = hits[self._kept[numbers[hits]]]
        images[hits] = self._cache[numbers[hits]]
        absent = np.ones(len(numbers), np.bool_)
        absent[hits] = False
        places = np.flatnonzero(absent)
        decoded = in_threads(self._decoded, numbers[places].tolist(), self._threads)
        for place, image in zip(places, decoded, strict=True):
            images[place] = image
        return images

    def _decoded(self, number: int) -> NDArray[np.uint8]:
        path = self._paths[number]
        image = decode(read_picture(path), self._form, path)
        if number < len(self._kept):
            self._cache[number] = image
            self._kept[number] = True
        return image


def available_memory() -> int:
    """Bytes that this process may still take, as far as the system tells: its free memory, or what its control group
    has left; 4 GiB where nothing is told."""
    found = [size for size in (_free_memory(), _group_memory()) if size is not None]
    return min(found, default=_UNKNOWN_MEMORY)


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group_memory() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        most, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such groups, or "max": no limit
        return None
    return max(0, most - used)
