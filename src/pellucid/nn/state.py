"""The arrays of a model: parameters, running statistics, moments. One set, shared by all programs of the model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from difflib import get_close_matches
from math import prod
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.allocation import copied
from pellucid.errors import ArgumentError, DtypeError, OutOfMemoryError, ShapeError
from pellucid.nn.layer import Parameter
from pellucid.nn.update import COUNT, COUNT_ROUND, moment_name
from pellucid.optim import Optimizer

__all__ = ["STEPS", "ParameterView", "State", "draw_mask"]

Array: TypeAlias = NDArray[Any]

# Under which name the number of steps stands among the arrays of a state.
STEPS = "steps"
# What a stream of random numbers is for; part of its key, so that no two share numbers.
_INITIAL, _MASK = 0, 1


class State:
    """Every array that outlives a step, by its name in the graphs. OutOfMemoryError where there is no room for them."""

    def __init__(self, parameters: Mapping[str, Parameter], optimizer: Optimizer | None, seed: int, dtype: str) -> None:
        moments = optimizer.moments if optimizer is not None else {}
        count = sum(prod(one.shape) * (1 + len(moments) * one.trained) for one in parameters.values())
        try:
            if count * 8 > sys.maxsize:  # NumPy has another error for what no address can count
                raise MemoryError
            self.parameters = {
                name: copied(_initial(parameter, name, seed), dtype) for name, parameter in parameters.items()
            }
            self.arrays: dict[str, Array] = {**self.parameters, COUNT: np.zeros((), dtype)}
            for name, parameter in parameters.items():
                if parameter.trained:
                    for moment, start in moments.items():
                        values = np.broadcast_to(start, self.parameters[name].size)
                        self.arrays[moment_name(name, moment)] = copied(values, dtype)
        except MemoryError as error:
            size = count * np.dtype(dtype).itemsize
            raise OutOfMemoryError(f"parameters and moments of {size:,} bytes cannot be allocated") from error
        self._steps = 0

    @property
    def steps(self) -> int:
        """How many steps have changed the parameters; to be asked at least once in `COUNT_ROUND` steps."""
        self._steps += (int(self.arrays[COUNT]) - self._steps) % COUNT_ROUND
        return self._steps

    def load(self, given: Mapping[str, Array], *, strict: bool) -> None:
        """Copies `given` into the parameters, all or nothing.

        Raises ArgumentError for a name that the model does not have, for a missing one where `strict`, and for values
        that are not finite; ShapeError and DtypeError for an array of another shape or of no floating type.
        """
        arrays = {name: np.asarray(array) for name, array in given.items()}
        for name, array in arrays.items():
            if name not in self.parameters:
                near = get_close_matches(name, self.parameters, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ArgumentError(f"the model has no parameter {name!r}{hint}")
            wanted = self.parameters[name].shape
            if array.shape != wanted:
                raise ShapeError(f"parameter {name} has shape {wanted}, the given array {array.shape}")
            if array.dtype.kind != "f":
                raise DtypeError(f"parameter {name} is of floats, the given array of {array.dtype}")
            if not np.isfinite(array).all():
                raise ArgumentError(f"parameter {name}: {int((~np.isfinite(array)).sum())} given values are not finite")
        missing = [name for name in self.parameters if name not in arrays]
        if strict and missing:
            raise ArgumentError(f"`parameters` lacks {', '.join(missing)}; strict=False keeps what is not given")
        for name, array in arrays.items():
            self.parameters[name][...] = array

    def everything(self) -> dict[str, Array]:
        """Copies of all that a step changes: parameters, running statistics, moments ("0.weight:v"), and the number of
        steps, `STEPS`."""
        arrays = {name: array.copy() for name, array in self.arrays.items() if name != COUNT}
        return {**arrays, STEPS: np.array(self.steps, np.int64)}

    def take(self, given: Mapping[str, Array]) -> None:
        """Copies what `everything` gave into the arrays, all or nothing; ArgumentError, ShapeError or DtypeError where
        it is of another model."""
        own = {name: array for name, array in self.arrays.items() if name != COUNT}
        wanted = {**own, STEPS: np.zeros((), np.int64)}
        if wanted.keys() != given.keys():
            other = sorted(wanted.keys() ^ given.keys())
            raise ArgumentError(f"the state is of another model: {other[0]!r} is in one of the two alone")
        for name, array in wanted.items():
            if array.shape != given[name].shape:
                raise ShapeError(f"{name} has shape {array.shape}, the given array {given[name].shape}")
            if array.dtype != given[name].dtype:
                raise DtypeError(f"{name} has dtype {array.dtype}, the given array {given[name].dtype}")
        for name, array in own.items():
            array[...] = given[name]
        self._steps = int(given[STEPS])
        self.arrays[COUNT][...] = self._steps % COUNT_ROUND


class ParameterView(Mapping[str, Array]):
    """Parameters by name; every look-up gives a copy, which later steps do not change.

    A copy is made with `lock` held, so that no step of another thread is seen half done.
    """

    def __init__(self, arrays: Mapping[str, Array], lock: AbstractContextManager[object]) -> None:
        self._arrays = arrays
        self._lock = lock

    def __getitem__(self, name: str) -> Array:
        with self._lock:
            return self._arrays[name].copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<{len(self)} parameters: {', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())}>"


def draw_mask(shape: tuple[int, ...], rate: float, *, seed: int, step: int, name: str, dtype: str) -> Array:
    """Ones, and zeros with probability `rate`; the same for the same seed, step and name, whatever runs it."""
    kept = _random(_MASK, name, seed, step).random(shape, np.float32) >= rate
    return kept.astype(dtype)


def _initial(parameter: Parameter, name: str, seed: int) -> Array:
    random = _random(_INITIAL, name, seed, 0)
    return parameter.initial.draw(parameter.shape, parameter.fan_in, parameter.fan_out, random)


def _random(purpose: int, name: str, seed: int, step: int) -> np.random.Generator:
    """A counter-based stream for one purpose, so that no draw depends on the order of others."""
    key = np.random.SeedSequence((seed, purpose, step, crc32(name.encode())))
    return np.random.Generator(np.random.Philox(key))
