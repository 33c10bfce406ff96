"""Inputs and targets brought to mean 0 and deviation 1, piece by piece: bytes stay bytes until they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import DataError

__all__ = ["Standardisation", "Standardised"]

Array: TypeAlias = NDArray[Any]

_BLOCK = 256
# What rounding leaves of a constant is no deviation.
_CONSTANT = 1e-12
# So that one broken measurement among new data gives a poor prediction, and not a number that is none.
_FARTHEST = 1e6


@dataclass(frozen=True, eq=False)
class Standardisation:
    """`(x - mean) / deviation`, a float64 number of each for every entry of the last axis."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, name: str, array: Array, weights: NDArray[np.float64]) -> Standardisation:
        """Mean and standard deviation over all but the last axis, each row of the first counted by its weight.

        What is constant gets the deviation 1. `name` is what the array is called in an error.

        Raises:
            DataError: the numbers are too large for their squares to be summed.
        """
        each = array[:1].size // array.shape[-1]
        total = weights.sum() * each
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _weighted_sum(array, weights, np.zeros(array.shape[-1]), 1) / total
            deviation = np.sqrt(_weighted_sum(array, weights, mean, 2) / total)
        if not np.isfinite(deviation).all():
            raise DataError(f"`{name}` has numbers too large to be standardised: their squares are beyond float64")
        return cls(mean, np.where(deviation > _CONSTANT * np.abs(mean), deviation, 1.0))

    def __call__(self, array: Array) -> NDArray[np.float32]:
        """The standardised copy, float32; nothing is farther than a million deviations from the mean."""
        return np.clip((array - self.mean) / self.deviation, -_FARTHEST, _FARTHEST).astype(np.float32)

    def undo(self, array: Array) -> NDArray[np.float64]:
        """What `array` was before."""
        return array * self.deviation + self.mean


class Standardised:
    """The images of an array, standardised when they are read: `Pixels` for a data set."""

    def __init__(self, array: Array, standardisation: Standardisation) -> None:
        self._array = array
        self._standardisation = standardisation

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(count, height, width, channels)."""
        count, height, width, channels = self._array.shape
        return count, height, width, channels

    @property
    def bytes_to_come(self) -> int:
        """None: the array is in memory."""
        return 0

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images of those numbers."""
        return self._standardisation(self._array[numbers])


def _weighted_sum(
    array: Array, weights: NDArray[np.float64], mean: NDArray[np.float64], power: int
) -> NDArray[np.float64]:
    """The sum of `weight * (x - mean)**power` for every entry of the last axis, in float64."""
    total = np.zeros(array.shape[-1])
    for start in range(0, len(array), _BLOCK):
        rows = slice(start, start + _BLOCK)
        moved = (array[rows] - mean) ** power
        total += weights[rows] @ moved.reshape(len(moved), -1, array.shape[-1]).sum(axis=1)
    return total
