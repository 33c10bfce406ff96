"""Where an image is read: all changes of its geometry are one map, and one reading between cells.

Without amounts that fall between cells (flips, crops by whole pixels) the cells are copied as they are.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.train.augmentation.draws import AFFINE, CROP, DISTORTION, FLIP, RESIZED_CROP, Draws

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from pellucid.train.augmentation.amounts import Augmentation

__all__ = ["active", "area_sides", "change"]

# Images are read so many cells at a time: what that goes through stays in the second cache.
_CACHED = 1 << 15
_MOST_KEPT = 1 << 17  # numbers of an array that is used again; pages are not what takes the time of a larger one
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
        _, height, width, _ = images.shape
        maps = _maps(amounts, draws, height, width)
        block = max(1, _CACHED // (height * width))
        for start in range(0, len(images), block):
            part = slice(start, start + block)
            y, x = _positions(maps, part)
            _bilinear(images[part], y, x, amounts.edge, result[part])
    else:
        _copy_windows(amounts, images, draws, result)


def _copy_windows(
    amounts: Augmentation, images: NDArray[np.float32], draws: Draws, result: NDArray[np.float32]
) -> None:
    """Each image's window, perhaps turned over: cells are copied, nothing is computed."""
    _, height, width, _ = images.shape
    above, beside = min(amounts.crop, height), min(amounts.crop, width)
    if amounts.crop:
        around = ((0, 0), (above, above), (beside, beside), (0, 0))
        images = np.pad(images, around, mode="edge" if amounts.edge else "constant")
    tops, lefts = (_crop_moves(amounts, draws, height, width) + np.array([[above], [beside]])).tolist()
    overs, mirrors = _flips(amounts, draws).tolist()
    for image, changed, top, left, over, mirror in zip(images, result, tops, lefts, overs, mirrors, strict=True):
        window = image[top : top + height, left : left + width]
        changed[...] = window[:: -1 if over else 1, :: -1 if mirror else 1]


def _crop_moves(amounts: Augmentation, draws: Draws, height: int, width: int) -> NDArray[np.int64]:
    """(2, batch): how far down and right of the image's place its window lies, whole numbers in `-crop..crop`. Beyond
    the image's own extent it makes no difference how far."""
    if not amounts.crop:
        return np.zeros((2, len(draws.numbers)), np.int64)
    moves = np.floor(draws.uniform(CROP) * (2 * amounts.crop + 1)).astype(np.int64) - amounts.crop
    return np.clip(moves, [[-height], [-width]], [[height], [width]])


def _flips(amounts: Augmentation, draws: Draws) -> NDArray[np.bool_]:
    """(2, batch): whether up and down are exchanged, whether left and right are."""
    half = draws.uniform(FLIP) < 0.5
    return np.stack((half[1] & amounts.flip_vertical, half[0] & amounts.flip))


@dataclass(frozen=True, eq=False)
class _Maps:
    """Where the cells of output images are read: in row `y_of_row[n, i] - y_of_column[n, j]` and in column
    `x_of_row[n, i] + x_of_column[n, j]`, both moved by `moves` (batch, 2, 4, 4), smooth between its points."""

    y_of_row: NDArray[np.float32]
    y_of_column: NDArray[np.float32]
    x_of_row: NDArray[np.float32]
    x_of_column: NDArray[np.float32]
    moves: NDArray[np.float32] | None


def _maps(amounts: Augmentation, draws: Draws, height: int, width: int) -> _Maps:
    """What all drawn changes together come to.

    Seen from an output cell: it is turned over, moves with the window, the centre moves back by the shift, then the
    image turns back, shrinks and leans back, parts move, and what is found lies in the window of the resized crop.
    """
    down, right, turn, grow, lean = draws.signed(AFFINE)
    angle = turn * np.float32(math.radians(amounts.rotation))
    zoom = 1 / (1 + grow * np.float32(amounts.scale))
    lean = (lean * np.float32(amounts.shear))[:, None]
    move_y, move_x = _crop_moves(amounts, draws, height, width).astype(np.float32)
    sign_y, sign_x = 1 - 2 * _flips(amounts, draws).astype(np.float32)
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    row = sign_y[:, None] * (np.arange(height, dtype=np.float32) - middle_y)
    column = sign_x[:, None] * (np.arange(width, dtype=np.float32) - middle_x)
    row -= (down * np.float32(amounts.shift) - move_y)[:, None]
    column -= (right * np.float32(amounts.shift) - move_x)[:, None]
    cosine, sine = (np.cos(angle) * zoom)[:, None], (np.sin(angle) * zoom)[:, None]
    (share_y, share_x), (top, left) = _windows(amounts, draws, height, width)
    moves = None
    if amounts.distortion:
        moves = draws.signed(DISTORTION).T.reshape(-1, 2, _GRID, _GRID) * np.float32(amounts.distortion)
        moves *= np.stack((share_y, share_x), axis=1)[..., None]
    return _Maps(
        share_y * (cosine * row + middle_y) + top,
        share_y * (sine * column),
        share_x * ((sine - lean * cosine) * row),
        share_x * ((cosine + lean * sine) * column + middle_x) + left,
        moves,
    )


def _positions(maps: _Maps, part: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each output cell of some of the images is read: (images, height, width), rows and columns."""
    y_of_row, x_of_column = maps.y_of_row[part, :, None], maps.x_of_column[part, None, :]
    batch, height, width = len(y_of_row), y_of_row.shape[1], x_of_column.shape[2]
    y, x = _memory("y", batch, height, width), _memory("x", batch, height, width)
    np.subtract(y_of_row, maps.y_of_column[part, None, :], out=y)
    np.add(maps.x_of_row[part, :, None], x_of_column, out=x)
    if maps.moves is not None:
        moved = _memory("moved", batch, 2, height, width)
        # One small product an image, never one for the batch: an image's bits must not depend on its neighbours.
        np.matmul(_smooth_steps(height) @ maps.moves[part], _smooth_steps(width).T, out=moved)
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


class _Memory(threading.local):
    """Arrays that a thread uses again for every block. Were they taken anew, the system would give and take back their
    pages each time, which lasts longer than all that is computed in them."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def __call__(self, name: str, *shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """An array of that shape with anything in it, which is the caller's until the same name is asked for again."""
        size = math.prod(shape)
        if size > _MOST_KEPT:
            return np.empty(shape, dtype)
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = np.empty(size, dtype)
        return self._kept[name][:size].reshape(shape)


_memory = _Memory()


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
    padded = _memory("padded", batch, rows, columns)
    padded.fill(0)
    y += 1
    x += 1
    outside = 0 if edge else 1
    np.clip(y, 1 - outside, height + outside, out=y)
    np.clip(x, 1 - outside, width + outside, out=x)
    top, left = _memory("top", *y.shape, dtype=np.int32), _memory("left", *y.shape, dtype=np.int32)
    # Indices as `take` wants them: of another type each of its calls would convert them.
    corner = _memory("corner", *y.shape, dtype=np.intp)
    _split(y, top, whole := _memory("whole", *y.shape))
    _split(x, left, whole)
    top *= columns
    top += left
    corner[...] = top
    corner += (np.arange(batch) * (rows * columns))[:, None, None]
    # The four neighbours have the same indices, in arrays that begin later.
    cells = padded.reshape(-1)
    neighbours = [cells[first:] for first in (0, 1, columns, columns + 1)]
    read = [_memory(f"read {number}", *y.shape) for number in range(4)]
    # One channel after another: shares then are as large as what they multiply.
    for channel in range(channels):
        padded[:, 1:-2, 1:-2] = images[..., channel]
        for values, found in zip(neighbours, read, strict=True):
            # Every index is inside; "clip" is what lets `take` write without a copy.
            values.take(corner, out=found, mode="clip")
        upper, lower = _between(read[0], read[1], x), _between(read[2], read[3], x)
        result[..., channel] = _between(upper, lower, y)


def _split(positions: NDArray[np.float32], whole: NDArray[np.int32], floats: NDArray[np.float32]) -> None:
    """Leave the fractions in `positions`, at least 0, and the whole parts in `whole`; writes over `floats`."""
    whole[...] = positions
    floats[...] = whole
    positions -= floats


def _between(start: NDArray[np.float32], end: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """`start + share * (end - start)`; writes over both."""
    end -= start
    end *= share
    start += end
    return start
