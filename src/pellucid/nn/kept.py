"""The programs that a model has made, and which of them runs for a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.network.short import LIVE, ROWS
from pellucid.nn.programs import Program

__all__ = ["KeptPrograms", "filled", "with_rows"]

Array: TypeAlias = NDArray[Any]

# So many batches of one size, one after the other, and it is no rest of something larger: it gets its own program.
SETTLED = 8


class KeptPrograms:
    """Programs bound to a model's arrays; `made` has them by what they are for and the rows that they were made for."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self.made: dict[Hashable, dict[int, Program]] = {}
        self._served: dict[Hashable, bool] = {}
        self._asked: dict[Hashable, tuple[int, int]] = {}
        self._promised: dict[Hashable, int] = {}

    def get(self, kind: Hashable, rows: int, make: Callable[[int], Program]) -> Program:
        """The program for a batch: that of the promised size if it serves it, one of its size, else the smallest that
        serves it, else made.

        Which one it is depends on the calls before alone, so that the same calls give the same bits.
        """
        made = self.made.setdefault(kind, {})
        promised = self._promised.get(_name(kind), 0)
        if rows < promised:
            whole = self.get(kind, promised, make)
            if self._serves(kind, whole, rows):
                return whole
        last, times = self._asked.get(kind, (0, 0))
        self._asked[kind] = (rows, times + 1 if rows == last else 1)
        if rows in made:
            return made[rows]
        if self._asked[kind][1] < SETTLED and not promised:
            for larger in sorted(size for size in made if size > rows):
                if self._serves(kind, made[larger], rows):
                    return made[larger]
        program = make(rows)
        made[rows] = replace(program, compiled=program.compiled.bind(self._arrays))
        return made[rows]

    def promise(self, name: str, rows: int) -> None:
        """From now on batches of up to so many rows are served by one program of that size, where it can, whatever was
        asked for before; for kinds that are `name`, or tuples that begin with it."""
        self._promised[name] = rows

    def values(self) -> list[Program]:
        """All programs."""
        return [program for sizes in self.made.values() for program in sizes.values()]

    def of(self, name: str) -> list[Program]:
        """The programs whose kind is `name`, or a tuple that begins with it."""
        made = [sizes for kind, sizes in self.made.items() if _name(kind) == name]
        return [program for sizes in made for program in sizes.values()]

    def clear(self) -> None:
        """Releases all programs."""
        self.made.clear()

    def refresh(self) -> None:
        """Told that the contents of the arrays change: what programs keep of them is computed anew."""
        for program in self.values():
            program.compiled.refresh()

    def _serves(self, kind: Hashable, program: Program, rows: int) -> bool:
        key = (kind, program.rows, rows)
        if key not in self._served:
            self._served[key] = program.serves(rows)
        return self._served[key]


def _name(kind: Hashable) -> Hashable:
    return kind[0] if isinstance(kind, tuple) else kind


def with_rows(program: Program, arrays: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """The arrays of a batch, each with one row for an image, as the program takes them.

    A row that is not there is a copy of the first, so that nothing is computed of it that is not of that one.
    """
    if program.shared is None:
        return dict(arrays)
    rows = len(next(iter(arrays.values())))
    given = {name: filled(array, program.rows) for name, array in arrays.items()}
    return {**given, **_live(rows, program.rows, dtype)}


@lru_cache(maxsize=64)
def _live(rows: int, all_rows: int, dtype: str) -> Mapping[str, Array]:
    """Which of all rows are there, and how many: what no program writes."""
    live = np.zeros(all_rows, dtype)
    live[:rows] = 1
    return {LIVE: live, ROWS: np.asarray(rows, dtype)}


def filled(array: Array, rows: int) -> Array:
    """The array with copies of its first row behind it, up to `rows`."""
    missing = rows - len(array)
    return array if not missing else np.concatenate([array, np.broadcast_to(array[:1], (missing, *array.shape[1:]))])
