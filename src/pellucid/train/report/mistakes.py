"""The predictions that were wrong and sure of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mistake", "worst_mistakes"]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A picture that was taken for another class.

    `path` is what it is called; `image` (height, width, channels) uint8, as it was stored, before normalisation;
    `label` the number of its true class; `probabilities` (classes,), all finite.

    Raises:
        DataError: the image is not of that type and rank or is empty, or the label has no probability.
    """

    path: str
    image: NDArray[np.uint8]
    label: int
    probabilities: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or 0 in self.image.shape:
            raise DataError(
                f"`image` must be uint8 (height, width, channels), got {self.image.dtype} {self.image.shape}"
            )
        if self.probabilities.ndim != 1 or not 0 <= self.label < len(self.probabilities):
            raise DataError(f"`label` (={self.label}) has no entry in `probabilities` {self.probabilities.shape}")

    @property
    def predicted(self) -> int:
        """The most likely class, the first of equals."""
        return int(self.probabilities.argmax())

    def likeliest(self, most: int) -> tuple[int, ...]:
        """The classes of greatest probability, falling, at most `most`, and behind them the true one if it is not
        among them."""
        order = np.argsort(-self.probabilities, kind="stable")[:most].tolist()
        return tuple(order if self.label in order else [*order, self.label])


def worst_mistakes(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating[Any]], count: int
) -> NDArray[np.int64]:
    """The numbers of the wrong predictions, at most `count`: the more likely the wrong class was held, the earlier.

    Equals stand in the order of the images.

    Args:
        labels: (images,), the true classes.
        probabilities: (images, classes).
        count: 0 or more.

    Raises:
        ArgumentError: `count` is negative.
        DataError: the shapes do not fit.
    """
    if count < 0:
        raise ArgumentError(f"`count` (={count}) must be 0 or more")
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise DataError(
            f"`labels` must be (images,) and `probabilities` (images, classes), got {labels.shape} and "
            f"{probabilities.shape}"
        )
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels) if len(labels) else np.zeros(0, np.int64)
    order = np.argsort(-probabilities[wrong].max(axis=1, initial=-np.inf), kind="stable")
    return wrong[order][:count].astype(np.int64)
