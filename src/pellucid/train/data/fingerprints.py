"""Which pictures are the same: by their bytes, or nearly, by what is seen in them.

Two pictures are *near* when small copies of them, 16x16 in colour, differ by no more than saving again, resizing or
compressing explains: by at most 4 of 255 levels (root mean square), at most 24 in every cell, and at most 0.09 of the
smaller contrast (standard deviation of a copy). Copies with a contrast below 3 are flat: they say nothing about a
picture, so that such pictures are the same by their bytes alone.

Measured: 28 photographs and drawings saved again as PNG, JPEG (quality 90, 50, 20), WebP and GIF, at half of their
size, and 256 and 64 pixels wide, differ by 0.2 to 4.0 levels, and by 0.09 of the contrast at most where that is above
10; the two most similar of the 5,000 bundled digits differ by 5.7 levels, 33 in a cell, and 0.112 of the contrast.

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
    copies = np.frombuffer(b"".join(fingerprints[number].copy for number in firsts), np.uint8)
    copies = copies.reshape(len(firsts), SIDE * SIDE * 3)
    for one, other in _near_pairs(copies):
        _join(parents, firsts[one], firsts[other])
    return [_root(parents, number) for number in range(len(parents))]


def join_by_key(groups: Sequence[int], keys: Sequence[str | None]) -> list[int]:
    """The groups, those joined that have pictures of the same key; one key for each picture, or None."""
    parents, first_with = list(groups), dict[str, int]()
    for number, key in enumerate(keys):
        if key is not None:
            _join(parents, first_with.setdefault(key, number), number)
    return [_root(parents, number) for number in range(len(parents))]


def _near_pairs(copies: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Pairs of near pictures, enough to join all that are near one that a hash remembers."""
    pairs = list[tuple[int, int]]()
    remembered = dict[int, list[int]]()
    contrasts = _contrasts(copies)
    for start in range(0, len(copies), _BLOCK):
        for offset, probes in enumerate(_probes(copies[start : start + _BLOCK]).tolist()):
            number = start + offset
            if contrasts[number] < _LEAST_CONTRAST:
                continue
            found = (other for probe in probes for other in remembered.get(probe, ()))
            candidates = list(islice(found, _COMPARED))
            near = _near(copies, contrasts, number, np.array(candidates, np.int64)) if candidates else ()
            pairs += [(int(other), number) for other in near]
            if not len(near):
                bucket = remembered.setdefault(probes[0], [])
                if len(bucket) < _REMEMBERED:
                    bucket.append(number)
    return pairs


def _near(
    copies: NDArray[np.uint8], contrasts: NDArray[np.float64], number: int, candidates: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the candidates that the picture of that number is near to."""
    differences = np.abs(copies[candidates].astype(np.int64) - copies[number])
    squares = (differences * differences).sum(axis=1) / copies.shape[1]
    contrast = np.minimum(contrasts[candidates], contrasts[number])
    most = np.minimum(_MOST_LEVELS, _MOST_OF_CONTRAST * contrast)
    return candidates[(squares <= most * most) & (differences.max(axis=1) <= _MOST_IN_A_CELL)]


def _contrasts(copies: NDArray[np.uint8]) -> NDArray[np.float64]:
    blocks = [copies[start : start + _BLOCK].astype(np.int64) for start in range(0, len(copies), _BLOCK)]
    count = copies.shape[1]
    squares = [(count * (block * block).sum(axis=1) - block.sum(axis=1) ** 2) / count**2 for block in blocks]
    return np.sqrt(np.concatenate(squares)) if squares else np.zeros(0)


def _probes(copies: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Of each picture its hash, and behind it the others that its weakest frequencies might have given."""
    levels = copies.reshape(-1, SIDE * SIDE, 3).astype(np.int64) @ np.array([77, 150, 29])
    frequencies = levels @ _cosines()
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
