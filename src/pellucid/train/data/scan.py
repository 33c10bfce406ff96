"""Every picture of a data set opened once: is it whole, what is it, and what are its fingerprints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from pellucid.errors import DataError
from pellucid.train.data.decode import PictureFacts, examine, read_picture
from pellucid.train.data.fingerprints import SIDE, Fingerprint, hash_bytes
from pellucid.train.data.folder import Picture
from pellucid.train.data.threads import check_threads, in_threads

__all__ = ["Progress", "Scan", "Scanned", "hash_pictures", "scan"]

Result = TypeVar("Result")

# Called with how many files are done, and how many there are.
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scanned:
    """A picture that can be decoded, and what was seen of it."""

    picture: Picture
    facts: PictureFacts
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Scan:
    """The pictures that can be decoded, and those that cannot with a line that names each and says why."""

    whole: tuple[Scanned, ...]
    broken: tuple[tuple[Picture, str], ...]


def scan(pictures: Sequence[Picture], threads: int, progress: Progress | None = None) -> Scan:
    """Open and decode each of the pictures; none of them ends it."""
    whole, broken = list[Scanned](), list[tuple[Picture, str]]()
    results = _each(_scanned, pictures, threads, progress)
    for picture, result in zip(pictures, results, strict=True):
        if isinstance(result, Scanned):
            whole.append(result)
        else:
            broken.append((picture, result))
    return Scan(tuple(whole), tuple(broken))


def hash_pictures(pictures: Sequence[Picture], threads: int, progress: Progress | None = None) -> list[str | None]:
    """The SHA-256 of each file, None where it cannot be read."""
    return _each(_hashed, pictures, threads, progress)


def _each(
    work: Callable[[Picture], Result], pictures: Sequence[Picture], threads: int, progress: Progress | None
) -> list[Result]:
    check_threads(threads)
    results = list[Result]()
    for result in in_threads(work, pictures, threads):
        results.append(result)
        if progress is not None:
            progress(len(results), len(pictures))
    return results


def _scanned(picture: Picture) -> Scanned | str:
    try:
        content = read_picture(picture.path, picture.name)
        facts, copy = examine(content, SIDE, picture.name)
    except DataError as error:
        return str(error)
    return Scanned(picture, facts, Fingerprint(hash_bytes(content), copy.tobytes()))


def _hashed(picture: Picture) -> str | None:
    try:
        return hash_bytes(read_picture(picture.path))
    except DataError:
        return None
