"""Colours: all changes of an image's colours together are one linear map of its channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pellucid.train.augmentation.draws import COLOUR, Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.train.augmentation.amounts import Augmentation

__all__ = ["active", "change"]

# The grey that stands for a colour (ITU-R BT.601), as shares of red, green and blue.
_GREY = (0.299, 0.587, 0.114)
# Grey and the two axes of colour of the NTSC's YIQ: turning these two changes the hue alone.
_YIQ = np.array([_GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = np.linalg.inv(_YIQ)
# A colour is its grey and what is coloured of it; the third is the second turned by a quarter of the circle.
_KEEP_GREY = _RGB[:, :1] @ _YIQ[:1]
_KEEP_COLOUR = _RGB[:, 1:] @ _YIQ[1:]
_TURN_COLOUR = _RGB[:, 1:] @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ _YIQ[1:]


def active(amounts: Augmentation) -> bool:
    """Whether any of them changes a colour."""
    return any((amounts.brightness, amounts.contrast, amounts.saturation, amounts.hue))


def change(amounts: Augmentation, images: NDArray[np.float32], draws: Draws) -> None:
    """Change the colours of `images` (batch, height, width, channels) in place; the result is in 0..1."""
    if not active(amounts):
        return
    bright, contrast, saturation, hue = 2 * draws.uniform(COLOUR) - 1
    bright, contrast = 1 + amounts.brightness * bright, 1 + amounts.contrast * contrast
    factor, constant = bright * contrast, bright * (1 - contrast)
    if amounts.contrast:
        constant *= _mean_grey(images)
    if images.shape[3] == 3 and (amounts.saturation or amounts.hue):
        angle = np.radians(amounts.hue * hue)
        vivid = 1 + amounts.saturation * saturation
        maps = _KEEP_GREY + _cell(vivid * np.cos(angle)) * _KEEP_COLOUR + _cell(vivid * np.sin(angle)) * _TURN_COLOUR
        _map_channels(images, (_cell(factor) * maps).astype(np.float32), constant.astype(np.float32))
    else:
        flat = images.reshape(len(images), -1)
        flat *= factor.astype(np.float32)[:, None]
        flat += constant.astype(np.float32)[:, None]
    np.clip(images, 0, 1, out=images)


def _cell(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """A number for each image as a matrix for each."""
    return numbers[:, None, None]


def _mean_grey(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """(batch,): the mean grey of each image; of other than three channels the mean of all."""
    batch, _, _, channels = images.shape
    if channels != 3:
        return images.reshape(batch, -1).mean(axis=1).astype(np.float64)
    cells = images.reshape(batch, -1, 3)
    means = [share * cells[..., channel].mean(axis=1) for channel, share in enumerate(_GREY)]
    return means[0] + means[1] + means[2]


def _map_channels(images: NDArray[np.float32], maps: NDArray[np.float32], constant: NDArray[np.float32]) -> None:
    """`maps[n] @ colour + constant[n]` for every cell of image n, in place; maps are (batch, 3, 3).

    Not a product of matrices of NumPy, whose library may share its rows among threads of its own.
    """
    cells = images.reshape(len(images), -1, 3)
    # A row for each channel: numbers of `maps` then stand for whole rows. A copy, as `cells` is written over.
    red, green, blue = cells.transpose(2, 0, 1).copy()
    for channel in range(3):
        shares = maps[:, channel, :, None]
        mixed = shares[:, 0] * red
        mixed += shares[:, 1] * green
        mixed += shares[:, 2] * blue
        mixed += constant[:, None]
        cells[..., channel] = mixed
