"""Random changes to training images, drawn for each image from its own numbers.

The numbers of an image depend on the seed, the epoch and the image's place in the data set, and on nothing else: not on
the batch that it falls into, nor on how many threads prepare images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Augmentation", "uniform_numbers"]

_DRAWS = 4  # shift along y, shift along x, rotation, scale


@dataclass(frozen=True)
class Augmentation:
    """Shifts by up to `shift` pixels an axis, rotations by up to `rotation` degrees, scales within `1 +- scale`.

    Each amount is drawn uniformly from both signs. Cells that come from outside the image take the background.

    Raises:
        ArgumentError: an amount is negative or not finite, `rotation` above 180, or `scale` not below 1.
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in (("shift", math.inf), ("rotation", 180.0), ("scale", 1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= limit) or (name == "scale" and value == 1):
                rule = {"shift": "at least 0", "rotation": "in 0..180 degrees", "scale": "at least 0 and below 1"}[name]
                raise ArgumentError(f"`{name}` (={value}) must be a finite number, {rule}")

    @property
    def active(self) -> bool:
        """Whether any amount is not 0."""
        return bool(self.shift or self.rotation or self.scale)

    def __call__(
        self,
        images: NDArray[np.float32],
        numbers: NDArray[np.int64],
        *,
        seed: int,
        epoch: int,
        background: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Changed copies of `images`.

        Args:
            images: (batch, height, width, channels), float32.
            numbers: (batch,), the place of each image in its data set.
            seed: the seed of the run.
            epoch: the number of the epoch.
            background: (channels,), what stands outside an image.
        """
        if not self.active:
            return images
        _, height, width, _ = images.shape
        draws = (2 * uniform_numbers(seed, epoch, numbers, _DRAWS) - 1).astype(np.float32)
        down, right, turn, grow = (draws[:, column, None, None] for column in range(_DRAWS))
        angle = turn * np.float32(math.radians(self.rotation))
        zoom = 1 / (1 + grow * np.float32(self.scale))
        # Seen from an output cell, the centre moves back by the shift, then turns back and shrinks.
        y = np.arange(height, dtype=np.float32)[None, :, None] - (height - 1) / 2 - down * np.float32(self.shift)
        x = np.arange(width, dtype=np.float32)[None, None, :] - (width - 1) / 2 - right * np.float32(self.shift)
        cosine, sine = np.cos(angle) * zoom, np.sin(angle) * zoom
        source_y = cosine * y - sine * x + (height - 1) / 2
        source_x = sine * y + cosine * x + (width - 1) / 2
        return _bilinear(images, source_y, source_x, background)


def _bilinear(
    images: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The images read at real positions `y`, `x` (batch, height, width), between the four cells around each."""
    batch, height, width, channels = images.shape
    padded = np.empty((batch, height + 2, width + 2, channels), np.float32)
    padded[...] = background
    padded[:, 1:-1, 1:-1] = images
    y, x = np.clip(y, -1, height) + 1, np.clip(x, -1, width) + 1  # one cell of background stands on every side
    top, left = np.minimum(y.astype(np.int32), height), np.minimum(x.astype(np.int32), width)
    low, across = (y - top.astype(np.float32))[..., None], (x - left.astype(np.float32))[..., None]
    cells = padded.reshape(-1, channels)
    corner = (np.arange(batch)[:, None, None] * (height + 2) + top) * (width + 2) + left
    upper = _between(cells.take(corner, axis=0), cells.take(corner + 1, axis=0), across)
    corner += width + 2
    lower = _between(cells.take(corner, axis=0), cells.take(corner + 1, axis=0), across)
    return _between(upper, lower, low)


def _between(start: NDArray[np.float32], end: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """`start + share * (end - start)`; writes over both."""
    end -= start
    end *= share
    start += end
    return start


def uniform_numbers(seed: int, epoch: int, numbers: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """`draws` numbers in [0, 1) for each entry of `numbers`; (len(numbers), draws), float64.

    A hash of (seed, epoch, number, draw) by the finaliser of SplitMix64 (Steele, Lea, Flood 2014), so that any one
    of them can be had without the others.
    """
    state = _mix(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], np.uint64))
    state = _mix(state ^ np.array([epoch], np.uint64))
    each = _mix(state ^ numbers.astype(np.uint64))
    table = _mix(each[:, None] + np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15))
    return (table >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit integers in which every input bit moves about half of the output bits."""
    state = state + np.uint64(0x9E37_79B9_7F4A_7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return state ^ (state >> np.uint64(31))
