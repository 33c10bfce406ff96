"""Where an image is read: all changes of its geometry are one map, and one reading between cells.

Without amounts that fall between cells (flips, crops by whole pixels) the cells are copied as they are.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pellucid.train.augmentation.draws import AFFINE, CROP, DISTORTION, FLIP, RESIZED_CROP, Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.train.augmentation.amounts import Augmentation

__all__ = ["active", "area_sides", "change"]

_GRID = 4  # points an axis at which a distortion is drawn
_ASPECT = 4 / 3  # of the window of a resized crop


def active(amounts: Augmentation) -> bool:
    """Whether any of them moves a cell."""
    return _between_cells(amounts) or bool(amounts.crop or amounts.flip or amounts.flip_vertical)


def _between_cells(amounts: Augmentation) -> bool:
    a = amounts
    return any((a.resized_crop, a.distortion, a.shear, a.scale, a.rotation, a.shift))


def change(amounts: Augmentation, images: NDArray[np.float32], draws: Draws, result: NDArray[np.float32]) -> None:
    """Write the moved `images` (batch, height, width, channels) to `result`."""
    if not active(amounts):
        result[...] = images
    elif _between_cells(amounts):
        y, x = _positions(amounts, draws, *images.shape[1:3])
        _bilinear(images, y, x, amounts.edge, result)
    else:
        _copy_windows(amounts, images, draws, result)


def _copy_windows(
    amounts: Augmentation, images: NDArray[np.float32], draws: Draws, result: NDArray[np.float32]
) -> None:
    """Each image's window, perhaps turned over: cells are copied, nothing is computed."""
    _, height, width, _ = images.shape
    around = (amounts.crop, amounts.crop)
    if amounts.crop:
        images = np.pad(images, ((0, 0), around, around, (0, 0)), mode="edge" if amounts.edge else "constant")
    tops, lefts = (_crop_moves(amounts, draws) + amounts.crop).tolist()
    overs, mirrors = _flips(amounts, draws).tolist()
    for image, changed, top, left, over, mirror in zip(images, result, tops, lefts, overs, mirrors, strict=True):
        window = image[top : top + height, left : left + width]
        changed[...] = window[:: -1 if over else 1, :: -1 if mirror else 1]


def _crop_moves(amounts: Augmentation, draws: Draws) -> NDArray[np.int64]:
    """(2, batch): how far down and right of the image's place its window lies, whole numbers in `-crop..crop`."""
    if not amounts.crop:
        return np.zeros((2, len(draws.numbers)), np.int64)
    return np.floor(draws.uniform(CROP) * (2 * amounts.crop + 1)).astype(np.int64) - amounts.crop


def _flips(amounts: Augmentation, draws: Draws) -> NDArray[np.bool_]:
    """(2, batch): whether up and down are exchanged, whether left and right are."""
    half = draws.uniform(FLIP) < 0.5
    return np.stack((half[1] & amounts.flip_vertical, half[0] & amounts.flip))


def _positions(
    amounts: Augmentation, draws: Draws, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each output cell is read: (batch, height, width), rows and columns.

    Seen from an output cell: it is turned over, moves with the window, the centre moves back by the shift, then the
    image turns back, shrinks and leans back, parts move, and what is found lies in the window of the resized crop.
    """
    down, right, turn, grow, lean = draws.signed(AFFINE)
    angle = turn * np.float32(math.radians(amounts.rotation))
    zoom = 1 / (1 + grow * np.float32(amounts.scale))
    lean = lean * np.float32(amounts.shear)
    move_y, move_x = _crop_moves(amounts, draws).astype(np.float32)
    sign_y, sign_x = 1 - 2 * _flips(amounts, draws).astype(np.float32)
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    row = sign_y[:, None] * (np.arange(height, dtype=np.float32) - middle_y)
    column = sign_x[:, None] * (np.arange(width, dtype=np.float32) - middle_x)
    row -= (down * np.float32(amounts.shift) - move_y)[:, None]
    column -= (right * np.float32(amounts.shift) - move_x)[:, None]
    cosine, sine = (np.cos(angle) * zoom)[:, None], (np.sin(angle) * zoom)[:, None]
    lean = lean[:, None]
    (share_y, share_x), (top, left) = _windows(amounts, draws, height, width)
    # Sums of a row's part and a column's part: this way whole images are walked once.
    y = (share_y * (cosine * row + middle_y) + top)[:, :, None] - (share_y * (sine * column))[:, None, :]
    x = (share_x * ((sine - lean * cosine) * row))[:, :, None] + (
        share_x * ((cosine + lean * sine) * column + middle_x) + left
    )[:, None, :]
    if amounts.distortion:
        moves = draws.signed(DISTORTION).T.reshape(-1, 2, _GRID, _GRID) * np.float32(amounts.distortion)
        moves *= np.stack((share_y, share_x), axis=1)[..., None]
        # One small product an image, never one for the batch: an image's bits must not depend on its neighbours.
        moved = _smooth_steps(height) @ moves @ _smooth_steps(width).T
        y += moved[:, 0]
        x += moved[:, 1]
    return y, x


def _windows(
    amounts: Augmentation, draws: Draws, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The windows of the resized crop: their shares of height and width, and their first row and column in cells; each
    (2, batch, 1). From the middle of the first cell to that of the last, so that nothing outside is ever read."""
    if not amounts.resized_crop:
        batch = len(draws.numbers)
        return np.ones((2, batch, 1), np.float32), np.zeros((2, batch, 1), np.float32)
    area, aspect, *places = draws.uniform(RESIZED_CROP)
    shares = np.stack(area_sides(1 - amounts.resized_crop * area, aspect, _ASPECT))
    starts = np.stack(places) * (1 - shares) * np.array([[height - 1], [width - 1]])
    return shares.astype(np.float32)[..., None], starts.astype(np.float32)[..., None]


def area_sides(
    area: NDArray[np.float64], aspect: NDArray[np.float64], most: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and width, as shares of the image's, of rectangles of those shares of its area.

    `aspect` in 0..1 chooses height to width from `1/most` to `most`, evenly in the logarithm; where a side would be
    longer than the image's, it is the image's.
    """
    ratio = np.exp((2 * aspect - 1) * math.log(most))
    np.clip(ratio, area, 1 / np.maximum(area, 1e-300), out=ratio)
    return np.sqrt(area * ratio), np.sqrt(area / ratio)


@cache
def _smooth_steps(extent: int) -> NDArray[np.float32]:
    """(extent, grid): the share of each grid point in each cell, smooth between points (3 s^2 - 2 s^3), together 1."""
    place = np.linspace(0, _GRID - 1, extent, dtype=np.float32)[:, None]
    nearness = np.clip(1 - np.abs(place - np.arange(_GRID, dtype=np.float32)), 0, 1)
    shares = nearness**2 * (3 - 2 * nearness)
    shares.setflags(write=False)
    return shares


def _bilinear(
    images: NDArray[np.float32],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    edge: bool,
    result: NDArray[np.float32],
) -> None:
    """The images read at real positions `y`, `x` (batch, height, width), between the four cells around each.

    Writes over `y` and `x`.
    """
    batch, height, width, channels = images.shape
    # Zeros stand before each image and twice behind it: positions are kept between the first such row and the
    # one after the last of the image, and the cell after that is read too, with the share 0.
    rows, columns = height + 3, width + 3
    padded = np.zeros((batch, rows, columns), np.float32)
    cells = padded.reshape(-1)
    y += 1
    x += 1
    outside = 0 if edge else 1
    np.clip(y, 1 - outside, height + outside, out=y)
    np.clip(x, 1 - outside, width + outside, out=x)
    # Indices as `take` wants them: of another type each of four calls would convert them.
    corner, left = y.astype(np.intp), x.astype(np.intp)
    y -= corner
    x -= left
    corner *= columns
    corner += left
    corner += (np.arange(batch) * (rows * columns))[:, None, None]
    # The four neighbours have the same indices, in arrays that begin later.
    neighbours = [cells[first:] for first in (0, 1, columns, columns + 1)]
    read = [np.empty_like(y) for _ in neighbours]
    # One channel after another: shares then are as large as what they multiply.
    for channel in range(channels):
        padded[:, 1:-2, 1:-2] = images[..., channel]
        for values, found in zip(neighbours, read, strict=True):
            # Every index is inside; "clip" is what lets `take` write without a copy.
            values.take(corner, out=found, mode="clip")
        upper, lower = _between(read[0], read[1], x), _between(read[2], read[3], x)
        result[..., channel] = _between(upper, lower, y)


def _between(start: NDArray[np.float32], end: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """`start + share * (end - start)`; writes over both."""
    end -= start
    end *= share
    start += end
    return start
