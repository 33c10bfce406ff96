"""Which pictures are the same: by their bytes, or nearly, by what is seen in them.

Two pictures are *near* when small copies of them, 16x16 in colour, differ by no more than saving again, resizing or
compressing explains: in brightness by at most 4 of 255 levels (root mean square), 24 in every cell, and 0.09 of the
smaller contrast (standard deviation of the brightness); and in colour, which compression keeps less well, by at most 16
levels in every cell of a 4x4 copy. Copies with a contrast below 3 are flat: they say nothing about a picture, so that
such pictures are the same by their bytes alone.

Measured: of 28 photographs and drawings, at 400, 128 and 64 pixels wide, each saved again at a third to three quarters
of that as JPEG, nine in ten differ by at most 1.8 (from 400), 2.5 (from 128) and 4.9 levels (from 64), and by 0.05 to
0.09 of the contrast; the two most similar of the 5,000 bundled digits by 5.7 levels, 33 in a cell, and 0.112.

Not every pair is compared: candidates share a hash, the signs of the 32 lowest frequencies of the copy, where the six
weakest of them may be either. A hash remembers 32 pictures that are near no other one, and a picture is compared with
64 of them at most, so that the time grows with the number of pictures even where all of them look alike. All sums are
of whole numbers: the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "Fingerprint", "group_alike", "hash_bytes", "join_by_key"]

SIDE = 16
_MOST_LEVELS, _MOST_IN_A_CELL, _MOST_OF_CONTRAST, _LEAST_CONTRAST = 4, 24, 0.09, 3
_MOST_OF_COLOR = 16
_LEVEL = 256  # of brightness is one of the 255 levels, as the weights of red, green and blue have it
_WEIGHTS = (77, 150, 29)
_FREQUENCIES, _WEAK, _REMEMBERED, _COMPARED = 32, 6, 32, 64
_BLOCK = 4096


@dataclass(frozen=True)
class Fingerprint:
    """The SHA-256 of a file, as 64 hexadecimal digits, and the bytes of the picture's (16, 16, 3) copy."""

    sha256: str
    copy: bytes


def hash_bytes(content: bytes | memoryview) -> str:
    """The SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def group_alike(fingerprints: Sequence[Fingerprint]) -> list[int]:
    """Of each picture, the number of the first one in its group: those with the same bytes, or near each other."""
    first_of = dict[str, int]()
    parents = [first_of.setdefault(fingerprint.sha256, number) for number, fingerprint in enumerate(fingerprints)]
    firsts = list(first_of.values())
    for one, other in _near_pairs(_seen([fingerprints[number].copy for number in firsts])):
        _join(parents, firsts[one], firsts[other])
    return [_root(parents, number) for number in range(len(parents))]


def join_by_key(groups: Sequence[int], keys: Sequence[str | None]) -> list[int]:
    """The groups, those joined that have pictures of the same key; one key for each picture, or None."""
    parents, first_with = list(groups), dict[str, int]()
    for number, key in enumerate(keys):
        if key is not None:
            _join(parents, first_with.setdefault(key, number), number)
    return [_root(parents, number) for number in range(len(parents))]


@dataclass(frozen=True, eq=False)
class _Seen:
    """Of many pictures: the brightness (n, 256) uint16 and its contrast (n,), both in 256ths of a level, and the
    colour (n, 48) uint8 of 4x4 cells."""

    brightness: NDArray[np.uint16]
    contrast: NDArray[np.float64]
    color: NDArray[np.uint8]


def _seen(copies: Sequence[bytes]) -> _Seen:
    blocks = [_seen_block(copies[start : start + _BLOCK]) for start in range(0, max(1, len(copies)), _BLOCK)]
    return _Seen(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def _seen_block(copies: Sequence[bytes]) -> tuple[NDArray[np.uint16], NDArray[np.float64], NDArray[np.uint8]]:
    pixels = np.frombuffer(b"".join(copies), np.uint8).reshape(-1, SIDE, SIDE, 3).astype(np.int64)
    brightness = (pixels @ np.array(_WEIGHTS)).reshape(len(pixels), SIDE * SIDE)
    count = SIDE * SIDE
    squares = count * (brightness * brightness).sum(axis=1) - brightness.sum(axis=1) ** 2
    cells = pixels.reshape(-1, 4, SIDE // 4, 4, SIDE // 4, 3).sum(axis=(2, 4)) // (SIDE // 4) ** 2
    contrast = np.sqrt(squares.astype(np.float64)) / count
    return brightness.astype(np.uint16), contrast, cells.reshape(len(pixels), 48).astype(np.uint8)


def _near_pairs(seen: _Seen) -> list[tuple[int, int]]:
    """Pairs of near pictures, enough to join all that are near one that a hash remembers."""
    pairs = list[tuple[int, int]]()
    remembered = dict[int, list[int]]()
    for start in range(0, len(seen.contrast), _BLOCK):
        for offset, probes in enumerate(_probes(seen.brightness[start : start + _BLOCK]).tolist()):
            number = start + offset
            if seen.contrast[number] < _LEAST_CONTRAST * _LEVEL:
                continue
            found = (other for probe in probes for other in remembered.get(probe, ()))
            candidates = list(islice(found, _COMPARED))
            near = _near(seen, number, np.array(candidates, np.int64)) if candidates else ()
            pairs += [(int(other), number) for other in near]
            if not len(near):
                bucket = remembered.setdefault(probes[0], [])
                if len(bucket) < _REMEMBERED:
                    bucket.append(number)
    return pairs


def _near(seen: _Seen, number: int, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the candidates that the picture of that number is near to."""
    differences = np.abs(seen.brightness[candidates].astype(np.int64) - seen.brightness[number])
    squares = (differences * differences).sum(axis=1) / differences.shape[1]
    contrast = np.minimum(seen.contrast[candidates], seen.contrast[number])
    most = np.minimum(_MOST_LEVELS * _LEVEL, _MOST_OF_CONTRAST * contrast)
    color = np.abs(seen.color[candidates].astype(np.int64) - seen.color[number]).max(axis=1)
    alike = (differences.max(axis=1) <= _MOST_IN_A_CELL * _LEVEL) & (color <= _MOST_OF_COLOR)
    return candidates[alike & (squares <= most * most)]


def _probes(brightness: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Of each picture its hash, and behind it the others that its weakest frequencies might have given."""
    frequencies = brightness.astype(np.int64) @ _cosines()
    bits = np.left_shift(1, np.arange(_FREQUENCIES))
    weakest = bits[np.argsort(np.abs(frequencies), axis=1, kind="stable")[:, :_WEAK]]
    chosen = np.arange(1 << _WEAK)[:, None] >> np.arange(_WEAK) & 1
    return (frequencies > 0) @ bits[:, None] ^ weakest @ chosen.T


def _cosines() -> NDArray[np.int64]:
    """The lowest frequencies of the discrete cosine transform (type II) of 16x16 levels but the mean, (256, 32)."""
    waves = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * np.arange(SIDE)[:, None])
    lowest = sorted(((u, v) for u in range(SIDE) for v in range(SIDE) if u + v), key=lambda uv: (sum(uv), uv))
    return np.stack([np.rint(256 * np.outer(waves[u], waves[v])).ravel() for u, v in lowest[:_FREQUENCIES]], 1).astype(
        np.int64
    )


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first
