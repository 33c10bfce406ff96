"""A rectangle of an image painted over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pellucid.train.augmentation.draws import ERASED_COLOUR, ERASING, Draws
from pellucid.train.augmentation.geometry import area_sides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.train.augmentation.amounts import Augmentation

__all__ = ["change"]

_ASPECT = 1 / 0.3  # height to width lies in 0.3..3.3


def change(amounts: Augmentation, images: NDArray[np.float32], draws: Draws) -> None:
    """Paint one rectangle of some of `images` (batch, height, width, channels) over with one colour, in place."""
    if not amounts.erasing:
        return
    _, height, width, channels = images.shape
    chance, area, aspect, *places = draws.uniform(ERASING)
    least, most = amounts.erasing_least, amounts.erasing_most
    shares = area_sides(least + (most - least) * area, aspect, _ASPECT)
    colours = draws.uniform(range(ERASED_COLOUR, ERASED_COLOUR + channels)).T.astype(np.float32)
    extents = np.array([[height], [width]])
    # Of an erased image at least one cell is erased.
    sides = np.clip(np.rint(np.stack(shares) * extents).astype(np.int64), 1, extents)
    starts = np.floor(np.stack(places) * (extents - sides + 1)).astype(np.int64)
    for image in np.flatnonzero(chance < amounts.erasing).tolist():
        (top, left), (down, across) = starts[:, image].tolist(), sides[:, image].tolist()
        images[image, top : top + down, left : left + across] = colours[image]
