"""Where the cells of an axis that is made longer or shorter read: coordinates, and weights of the cells around them.

Arithmetic is that of the file's own number type, float32, where a coordinate is rounded to a cell: half a step away
another type would give another cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

__all__ = ["COORDINATES", "ROUNDINGS", "Axis", "Taps", "nearest", "taps"]

Reals = NDArray[np.floating]


@dataclass(frozen=True)
class Axis:
    """An axis of `before` cells that gets `after`. `scale` is the file's: not always the ratio of the two. `region` is
    the part that `tf_crop_and_resize` reads, from 0 to 1."""

    before: int
    after: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Taps:
    """For each cell of the result (rows) the cells that it reads, what each is multiplied by, and whether it lies
    outside, so that a given number stands there."""

    cells: NDArray[np.int64]
    weights: NDArray[np.float64]
    outside: NDArray[np.bool_]


def _symmetric(i: Reals, axis: Axis) -> Reals:
    ideal = axis.scale * axis.before
    return axis.before / 2 * (1 - axis.after / ideal) + (i + 0.5) / axis.scale - 0.5


def _cropped(i: Reals, axis: Axis) -> Reals:
    first, last = axis.region
    if axis.after == 1:
        return 0 * i + 0.5 * (first + last) * (axis.before - 1)
    return first * (axis.before - 1) + i * ((last - first) * (axis.before - 1) / (axis.after - 1))


COORDINATES: dict[str, Callable[[Reals, Axis], Reals]] = {
    "half_pixel": lambda i, axis: (i + 0.5) / axis.scale - 0.5,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda i, axis: (i + 0.5) / axis.scale - 0.5 if axis.after > 1 else 0 * i,
    "align_corners": lambda i, axis: i * (axis.before - 1) / max(axis.after - 1, 1),
    "asymmetric": lambda i, axis: i / axis.scale,
    "tf_half_pixel_for_nn": lambda i, axis: (i + 0.5) / axis.scale,
    "tf_crop_and_resize": _cropped,
}
ROUNDINGS: dict[str, Callable[[Reals], Reals]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _coordinates(axis: Axis, mode: str) -> tuple[Reals, NDArray[np.bool_]]:
    """Where each cell reads, and whether that is outside."""
    steps = np.arange(axis.after).astype(np.float32)
    exact = Axis(axis.before, axis.after, float(np.float32(axis.scale)), axis.region)
    x = np.asarray(COORDINATES[mode](steps, exact))
    outside = (x < 0) | (x > axis.before - 1) if mode == "tf_crop_and_resize" else np.zeros(axis.after, bool)
    return x, outside


def nearest(axis: Axis, mode: str, rounding: str) -> Taps:
    """The one cell that each reads."""
    x, outside = _coordinates(axis, mode)
    cells = np.clip(ROUNDINGS[rounding](x), 0, axis.before - 1).astype(np.int64)[:, None]
    return Taps(cells, np.where(outside[:, None], 0.0, 1.0), outside)


def taps(
    axis: Axis, mode: str, *, cubic: float | None = None, antialias: bool = False, exclude_outside: bool = False
) -> Taps:
    """The cells below the linear kernel, or the cubic one whose coefficient is given, and their weights.

    With `antialias` the kernel is as wide as the step between the cells that are read. With `exclude_outside` cells
    beyond the ends count nothing; otherwise the last one stands there.
    """
    x, outside = _coordinates(axis, mode)
    x = x.astype(np.float64)
    narrow = min(axis.scale, 1.0) if antialias else 1.0
    reach = (1.0 if cubic is None else 2.0) / narrow
    # The first cell that is less than `reach` before x.
    first = np.floor(x - reach).astype(np.int64) + 1
    cells = first[:, None] + np.arange(ceil(2 * reach))
    distance = np.abs(cells - x[:, None]) * narrow
    weights = np.maximum(1 - distance, 0) if cubic is None else _cubic(distance, cubic)
    inside = (cells >= 0) & (cells < axis.before)
    if exclude_outside:
        weights = np.where(inside, weights, 0.0)
    if exclude_outside or antialias:
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    weights = np.where(outside[:, None], 0.0, weights)
    cells = np.clip(cells, 0, axis.before - 1)
    used: NDArray[np.bool_] = np.asarray(weights.any(0))
    used[0] |= not used.any()
    return Taps(cells[:, used], weights[:, used], outside)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """The kernel of cubic convolution (Keys, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
