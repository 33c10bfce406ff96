"""Random changes to training images, drawn for each image from its own numbers.

The numbers of an image depend on the seed, the epoch and the image's place in the data set, and on nothing else: not on
the batch that it falls into, nor on how many threads prepare images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Augmentation", "uniform_numbers"]

_DRAWS = 5  # shift along y, shift along x, rotation, scale, shear
_GRID = 4  # points an axis at which a distortion is drawn

_RULES = {
    "shift": (math.inf, "at least 0"),
    "rotation": (180.0, "in 0..180 degrees"),
    "scale": (0.9, "in 0..0.9"),
    "shear": (10.0, "in 0..10"),
    "distortion": (math.inf, "at least 0"),
}


@dataclass(frozen=True)
class Augmentation:
    """Random changes of an image's geometry; each amount is drawn uniformly from both signs.

    `shift`: pixels along each axis; `rotation`: degrees; `scale`: enlarged by `1 + scale` or less; `shear`: pixels to
    the side for each pixel down; `distortion`: pixels by which parts of the image move apart from each other, drawn at
    4x4 points and smooth between them. Cells that come from outside the image are 0.

    Raises:
        ArgumentError: an amount is not a finite number inside its range.
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    distortion: float = 0.0

    def __post_init__(self) -> None:
        for name, (most, rule) in _RULES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ArgumentError(f"`{name}` (={value}) must be a finite number, {rule}")

    @property
    def active(self) -> bool:
        """Whether any amount is not 0."""
        return any(getattr(self, name) for name in _RULES)

    def __call__(
        self,
        images: NDArray[np.float32],
        numbers: NDArray[np.int64],
        *,
        seed: int,
        epoch: int,
    ) -> NDArray[np.float32]:
        """Changed copies of `images`.

        Args:
            images: (batch, height, width, channels), float32, before normalisation.
            numbers: (batch,), the place of each image in its data set.
            seed: the seed of the run.
            epoch: the number of the epoch.
        """
        if not self.active:
            return images
        _, height, width, _ = images.shape
        count = _DRAWS + (2 * _GRID**2 if self.distortion else 0)
        draws = (2 * uniform_numbers(seed, epoch, numbers, count) - 1).astype(np.float32)
        y, x = self._affine(draws[:, :_DRAWS, None, None], height, width)
        if self.distortion:
            moves = draws[:, _DRAWS:].reshape(-1, 2, _GRID, _GRID) * np.float32(self.distortion)
            # One small product an image, never one for the batch: an image's bits must not depend on its neighbours.
            moved = _smooth_steps(height) @ moves @ _smooth_steps(width).T
            y += moved[:, 0]
            x += moved[:, 1]
        return _bilinear(images, y, x)

    def _affine(
        self, draws: NDArray[np.float32], height: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where each output cell is read: (batch, height, width), rows and columns.

        Seen from an output cell, the centre moves back by the shift, then the image turns back, shrinks and leans back.
        """
        down, right, turn, grow, lean = (draws[:, column] for column in range(_DRAWS))
        angle = turn * np.float32(math.radians(self.rotation))
        zoom = 1 / (1 + grow * np.float32(self.scale))
        lean = lean * np.float32(self.shear)
        middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
        y = np.arange(height, dtype=np.float32)[None, :, None] - middle_y - down * np.float32(self.shift)
        x = np.arange(width, dtype=np.float32)[None, None, :] - middle_x - right * np.float32(self.shift)
        cosine, sine = np.cos(angle) * zoom, np.sin(angle) * zoom
        # What depends on the row and what depends on the column are added last, the only work on whole images.
        source_y = (cosine * y + middle_y) - sine * x
        source_x = (sine - lean * cosine) * y + ((cosine + lean * sine) * x + middle_x)
        return source_y.astype(np.float32, copy=False), source_x.astype(np.float32, copy=False)


@cache
def _smooth_steps(extent: int) -> NDArray[np.float32]:
    """(extent, grid): the share of each grid point in each cell, smooth between points (3 s^2 - 2 s^3), together 1."""
    place = np.linspace(0, _GRID - 1, extent, dtype=np.float32)[:, None]
    nearness = np.clip(1 - np.abs(place - np.arange(_GRID, dtype=np.float32)), 0, 1)
    shares = nearness**2 * (3 - 2 * nearness)
    shares.setflags(write=False)
    return shares


def _bilinear(images: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The images read at real positions `y`, `x` (batch, height, width), between the four cells around each.

    Writes over `y` and `x`.
    """
    batch, height, width, channels = images.shape
    # Zeros stand before each image and twice behind it: positions are kept between the first such row and the
    # one after the last of the image, and the cell after that is read too, with the share 0.
    rows, columns = height + 3, width + 3
    padded = np.zeros((batch, rows, columns, channels), np.float32)
    padded[:, 1:-2, 1:-2] = images
    y += 1
    x += 1
    np.clip(y, 0, height + 1, out=y)
    np.clip(x, 0, width + 1, out=x)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y -= top.astype(np.float32)
    x -= left.astype(np.float32)
    top *= columns
    top += left
    corner = top + (np.arange(batch) * (rows * columns))[:, None, None]
    cells, down, across = padded.reshape(-1, channels), y[..., None], x[..., None]
    upper = _between(cells.take(corner, axis=0), cells.take(corner + 1, axis=0), across)
    corner += columns
    lower = _between(cells.take(corner, axis=0), cells.take(corner + 1, axis=0), across)
    return _between(upper, lower, down)


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
