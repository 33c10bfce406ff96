"""A data set in memory: parts of images with labels, their split and their normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset", "Normalisation", "Part", "split_part"]


@dataclass(frozen=True, eq=False)
class Part:
    """Images (count, height, width, channels) float32 and the labels (count,) int64 of their classes.

    Raises:
        DataError: the arrays are not of those types and ranks, their counts differ, or there is no image.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.float32 or self.images.ndim != 4:
            raise DataError(
                f"`images` must be float32 of rank 4 (count, height, width, channels), "
                f"got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.dtype != np.int64 or self.labels.ndim != 1:
            raise DataError(f"`labels` must be int64 of rank 1, got {self.labels.dtype} {self.labels.shape}")
        if len(self.images) != len(self.labels):
            raise DataError(f"`images` has {len(self.images)} entries but `labels` has {len(self.labels)}")
        if 0 in self.images.shape:
            raise DataError(f"`images` {self.images.shape} is empty")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: NDArray[np.int64]) -> Part:
        """The images of those numbers, copied."""
        return Part(self.images[numbers], self.labels[numbers])


@dataclass(frozen=True)
class Normalisation:
    """`(x - mean) / deviation`, a number of each for every channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, images: NDArray[np.float32]) -> Normalisation:
        """Mean and standard deviation of each channel of `images`; a channel that is constant gets deviation 1."""
        mean = images.mean(axis=(0, 1, 2), dtype=np.float64)
        deviation = images.std(axis=(0, 1, 2), dtype=np.float64)
        return cls(tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The normalised copy of images (..., channels), float32."""
        if images.shape[-1] != len(self.mean):
            raise DataError(f"`images` {images.shape} must have {len(self.mean)} channels, as the training images had")
        return (images - np.asarray(self.mean, np.float32)) / np.asarray(self.deviation, np.float32)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Parts for training and test, perhaps one for validation, and the names of the classes.

    `normalisation` is what was applied to the images, None where they are as loaded (numbers in [0, 1]).

    Raises:
        DataError: the parts' images differ in shape, or a label is outside `0 .. len(class_names) - 1`.
    """

    train: Part
    test: Part
    class_names: tuple[str, ...]
    validation: Part | None = None
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        for name, part in self.parts():
            if part.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"the images of `{name}` {part.images.shape[1:]} differ in shape from those of `train` "
                    f"{self.train.images.shape[1:]}"
                )
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise DataError(
                    f"`{name}` has the label {low if low < 0 else high}, outside 0..{len(self.class_names) - 1} "
                    f"({len(self.class_names)} classes)"
                )

    def parts(self) -> tuple[tuple[str, Part], ...]:
        """The parts that there are, with their names."""
        named = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return tuple((name, part) for name, part in named if part is not None)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def background(self) -> NDArray[np.float32]:
        """(channels,): the value that 0 in the file has become."""
        zero = np.zeros(self.image_shape[2], np.float32)
        return zero if self.normalisation is None else self.normalisation(zero)

    def normalised(self) -> Dataset:
        """Every part normalised by mean and deviation of the training part alone; the same where it is already."""
        if self.normalisation is not None:
            return self
        normalisation = Normalisation.of(self.train.images)
        train, test, validation = (
            part and replace(part, images=normalisation(part.images))
            for part in (self.train, self.test, self.validation)
        )
        assert train is not None
        assert test is not None
        return replace(self, train=train, test=test, validation=validation, normalisation=normalisation)

    def with_validation(self, fraction: float, seed: int = 0) -> Dataset:
        """That fraction of the training part of each class moved into a validation part.

        Split before `normalised()`, so that the validation images take no part in the mean.

        Raises:
            ArgumentError: `fraction` is not inside 0..1, there is a validation part already, or the images are
                normalised.
            DataError: a class has too few images for one to be on each side.
        """
        if self.validation is not None:
            raise ArgumentError(f"the data set has a validation part already ({len(self.validation)} images)")
        if self.normalisation is not None:
            raise ArgumentError("split off the validation part before the images are normalised")
        train, validation = split_part(self.train, fraction, seed)
        return replace(self, train=train, validation=validation)


def split_part(part: Part, fraction: float, seed: int) -> tuple[Part, Part]:
    """A part in two: of each class, `fraction` (rounded, at least one image) goes to the second.

    The same seed gives the same split; the order of the images is kept.

    Raises:
        ArgumentError: `fraction` is not strictly between 0 and 1.
        DataError: a class has a single image.
    """
    if not (math.isfinite(fraction) and 0 < fraction < 1):
        raise ArgumentError(f"`fraction` (={fraction}) must be between 0 and 1, both excluded")
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(part), np.bool_)
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        if len(members) < 2:
            raise DataError(f"class {label} has a single image: it cannot be on both sides of a split")
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        chosen[random.permutation(members)[:count]] = True
    return part.take(np.flatnonzero(~chosen)), part.take(np.flatnonzero(chosen))
