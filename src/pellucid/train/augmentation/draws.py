"""Random numbers that are counted, not generated: each can be had without the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AFFINE",
    "COLOUR",
    "CROP",
    "DISTORTION",
    "ERASED_COLOUR",
    "ERASING",
    "FLIP",
    "MIXUP",
    "RESIZED_CROP",
    "Draws",
    "uniform_numbers",
]

# Every change has draws of its own, so that none moves where another one is turned on.
AFFINE = range(0, 5)  # shift along y, shift along x, rotation, scale, shear
DISTORTION = range(5, 37)  # a move along y, then along x, at 4x4 points
CROP = range(37, 39)  # along y, along x
FLIP = range(39, 41)  # left and right, up and down
RESIZED_CROP = range(41, 45)  # area, aspect, place along y, along x
COLOUR = range(45, 49)  # brightness, contrast, saturation, hue
ERASING = range(49, 54)  # whether, area, aspect, place along y, along x
MIXUP = range(54, 57)  # partner, and two for the share
ERASED_COLOUR = 64  # the first of as many as there are channels


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of some images, `numbers` (batch,), in an epoch of a run."""

    seed: int
    epoch: int
    numbers: NDArray[np.int64]

    def uniform(self, places: range) -> NDArray[np.float64]:
        """(len(places), batch), in [0, 1)."""
        return uniform_numbers(self.seed, self.epoch, self.numbers, places)

    def signed(self, places: range) -> NDArray[np.float32]:
        """(len(places), batch), in [-1, 1]."""
        return (2 * self.uniform(places) - 1).astype(np.float32)


def uniform_numbers(seed: int, epoch: int, numbers: NDArray[np.int64], places: range) -> NDArray[np.float64]:
    """The numbers in [0, 1) at `places` of the sequence of each image of `numbers`; (len(places), len(numbers)),
    float64.

    A hash of (seed, epoch, number, place) by the finaliser of SplitMix64 (Steele, Lea, Flood 2014), so that any one
    of them can be had without the others.
    """
    state = _mix(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], np.uint64))
    state = _mix(state ^ np.array([epoch], np.uint64))
    each = _mix(state ^ numbers.astype(np.uint64))
    counters = np.arange(places.start + 1, places.stop + 1, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    table = _mix(each + counters[:, None])
    table >>= np.uint64(11)
    return table.astype(np.float64) * 2.0**-53


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit integers in which every input bit moves about half of the output bits."""
    state = state + np.uint64(0x9E37_79B9_7F4A_7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return state ^ (state >> np.uint64(31))
