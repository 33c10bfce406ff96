"""Images mixed with others of the same data set, and their targets alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.train.augmentation.draws import MIXUP, Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pairs", "mixed_images", "mixed_targets", "pairs"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The partner of each image of a batch: its number in the data set, (batch,), and the share of the image itself in
    0.5..1, (batch,), float32; the partner has the rest."""

    partners: NDArray[np.int64]
    shares: NDArray[np.float32]


def pairs(mixup: float, draws: Draws, count: int) -> Pairs:
    """Whom each image of `draws` is mixed with, and how: drawn from the image's own numbers, whatever its batch holds.

    Any of the `count` images of the data set may be the partner, all alike, but for the image itself where there are
    others. Shares are the larger one of s and 1 - s with s from Beta(mixup, mixup): pairs and shares are distributed as
    without this, and every image is once an epoch the larger part of what is learned from.
    """
    step, radius, turn = draws.uniform(MIXUP)
    partners = (draws.numbers + 1 + np.floor(step * max(count - 1, 1)).astype(np.int64)) % count
    # Student's t with 2*mixup degrees of freedom in polar form (Bailey 1994), squeezed into -1..1, is 2*s - 1.
    inner = (1 - radius) ** (1 / mixup)
    outer = (1 - inner) * np.cos(2 * np.pi * turn) ** 2
    shares = 0.5 + 0.5 * np.sqrt(outer / (inner + outer))
    return Pairs(partners, shares.astype(np.float32))


def mixed_images(
    images: NDArray[np.float32], others: NDArray[np.float32], shares: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`share * image + (1 - share) * other`, over arrays (batch, ...) float32; writes over both."""
    shares = shares.reshape(-1, *(1,) * (images.ndim - 1))
    images *= shares
    others *= 1 - shares
    images += others
    return images


def mixed_targets(
    labels: NDArray[Any], others: NDArray[Any], shares: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """What is to be learned of mixed images, float32: of labels (batch,) the probabilities (batch, classes), of targets
    (batch, outputs) their mixture."""
    if labels.ndim == 2:
        return mixed_images(labels.copy(), others.copy(), shares)
    rows = np.arange(len(labels))
    result = np.zeros((len(labels), classes), np.float32)
    result[rows, labels] = shares
    result[rows, others] += 1 - shares
    return result
