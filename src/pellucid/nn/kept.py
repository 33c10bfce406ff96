"""The programs that a model has made, and which of them runs for a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.network.short import LIVE, ROWS
from pellucid.nn.programs import Program

__all__ = ["KeptProgram", "KeptPrograms"]

Array: TypeAlias = NDArray[Any]

# So many batches of one size, one after the other, and it is no rest of something larger: it gets its own program.
SETTLED = 8


class KeptProgram:
    """A program with a model's arrays bound; a call takes a batch and nothing else."""

    def __init__(self, program: Program, arrays: Mapping[str, Array]) -> None:
        self.outputs, self.masks, self.rows = program.outputs, program.masks, program.rows
        self.serves = program.serves
        self._live: dict[str, Array] = {}
        self._present = 0
        if program.shared is not None:
            values = program.compiled.graph.values
            self._live = {name: np.zeros(values[name].shape, values[name].dtype) for name in (LIVE, ROWS)}
        self.compiled = program.compiled.bind({**arrays, **self._live}, reuse=program.read_at_once)

    def __call__(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The values of the graph that are given back, for arrays with one row for an image, all C-contiguous and of
        the program's types.

        A row that is not there is a copy of the first, so that nothing is computed of it that is not of that one.
        """
        rows = len(next(iter(batch.values())))
        if rows != self._present and self._live:
            self._present = 0  # an interrupt may come before all is told
            self._live[LIVE][:rows], self._live[LIVE][rows:], self._live[ROWS][...] = 1, 0, rows
            self._present = rows
        if rows != self.rows:
            batch = {name: _filled(array, self.rows) for name, array in batch.items()}
        return self.compiled.run(batch)


class KeptPrograms:
    """Programs bound to a model's arrays; `made` has them by what they are for and the rows that they were made for."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self.made: dict[Hashable, dict[int, KeptProgram]] = {}
        self._served: dict[Hashable, bool] = {}
        self._asked: dict[Hashable, tuple[int, int]] = {}
        self._promised: dict[Hashable, int] = {}

    def get(self, kind: Hashable, rows: int, make: Callable[[int], Program]) -> KeptProgram:
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
        made[rows] = KeptProgram(make(rows), self._arrays)
        return made[rows]

    def promise(self, name: str, rows: int) -> None:
        """From now on batches of up to so many rows are served by one program of that size, where it can, whatever was
        asked for before; for kinds that are `name`, or tuples that begin with it."""
        self._promised[name] = rows

    def values(self) -> list[KeptProgram]:
        """All programs."""
        return [program for sizes in self.made.values() for program in sizes.values()]

    def of(self, name: str) -> list[KeptProgram]:
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

    def _serves(self, kind: Hashable, program: KeptProgram, rows: int) -> bool:
        key = (kind, program.rows, rows)
        if key not in self._served:
            self._served[key] = program.serves(rows)
        return self._served[key]


def _name(kind: Hashable) -> Hashable:
    return kind[0] if isinstance(kind, tuple) else kind


def _filled(array: Array, rows: int) -> Array:
    """The array with copies of its first row behind it, `rows` rows in all."""
    result = np.empty((rows, *array.shape[1:]), array.dtype)
    result[: len(array)], result[len(array) :] = array, array[0]
    return result
