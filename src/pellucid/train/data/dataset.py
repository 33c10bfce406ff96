"""A data set: parts of images with labels, their split and their normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.images import ArrayPixels, Images, Normalisation
from pellucid.train.data.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset", "Part", "split_part"]


@dataclass(frozen=True, eq=False)
class Part:
    """Images (count, height, width, channels) and what is to be learned of them.

    `images` is an array, float32, or `Images`, which is what the part then has. `labels` are the numbers of classes,
    (count,) int64, or for a regression targets, (count, outputs) float32.

    Raises:
        DataError: the arrays are not of those types and ranks, their counts differ, or there is no image.
    """

    images: Images
    labels: NDArray[np.int64] | NDArray[np.float32]

    def __init__(self, images: Images | NDArray[np.float32], labels: NDArray[np.int64] | NDArray[np.float32]) -> None:
        if images.dtype != np.float32 or images.ndim != 4:
            raise DataError(
                f"`images` must be float32 of rank 4 (count, height, width, channels), got {images.dtype} "
                f"{images.shape}"
            )
        if (labels.dtype, labels.ndim) not in ((np.int64, 1), (np.float32, 2)):
            raise DataError(
                f"`labels` must be int64 of rank 1, or float32 of rank 2, got {labels.dtype} {labels.shape}"
            )
        if len(images) != len(labels):
            raise DataError(f"`images` has {len(images)} entries but `labels` has {len(labels)}")
        if 0 in images.shape:
            raise DataError(f"`images` {images.shape} is empty")
        object.__setattr__(self, "images", images if isinstance(images, Images) else Images(ArrayPixels(images)))
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: NDArray[np.int64]) -> Part:
        """The images of those numbers; nothing is read."""
        return Part(self.images.subset(numbers), self.labels[numbers])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A part for training, perhaps others for test and validation, and the names of the classes.

    Without classes it is a regression: every part has targets for labels. `normalisation` is what is applied to the
    images, None where they are as loaded (numbers in [0, 1]).

    Where the data was loaded from files, `split` says of every image what it is for, and `sources` gives of each part
    the path of each image in order, as the rows of the split have it (`unescaped` makes it a file's name). `problems`
    are sentences about what was left out or looks wrong.

    Raises:
        DataError: the parts' images differ in shape, or a label is outside `0 .. len(class_names) - 1`.
    """

    train: Part
    test: Part | None
    class_names: tuple[str, ...]
    validation: Part | None = None
    normalisation: Normalisation | None = None
    split: Split | None = None
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, part in self.parts():
            if part.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"the images of `{name}` {part.images.shape[1:]} differ in shape from those of `train` "
                    f"{self.train.images.shape[1:]}"
                )
            if (part.labels.ndim == 1) != bool(self.class_names):
                rule = "float32 targets need no class names, and labels need them"
                raise DataError(f"`{name}` has {part.labels.dtype} labels, {len(self.class_names)} classes: {rule}")
            if not self.class_names:
                continue
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

    def normalised(self) -> Dataset:
        """Every part normalised by mean and deviation of the training part alone; the same where it is already."""
        if self.normalisation is not None:
            return self
        return self.normalised_by(Normalisation.of(self.train.images))

    def normalised_by(self, normalisation: Normalisation) -> Dataset:
        """Every part normalised in that way."""
        train, test, validation = (
            None if part is None else Part(part.images.normalised(normalisation), part.labels)
            for part in (self.train, self.test, self.validation)
        )
        assert train is not None
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
        chosen = _chosen(self.train, fraction, seed)
        train, validation = self.train.take(np.flatnonzero(~chosen)), self.train.take(np.flatnonzero(chosen))
        split = None if self.split is None else self.split.with_validation(chosen.tolist())
        sources = self.sources if split is None else split.sources()
        return replace(self, train=train, validation=validation, split=split, sources=sources)


def split_part(part: Part, fraction: float, seed: int) -> tuple[Part, Part]:
    """A part in two: of each class, `fraction` (rounded, at least one image) goes to the second.

    The same seed gives the same split; the order of the images is kept.

    Raises:
        ArgumentError: `fraction` is not strictly between 0 and 1.
        DataError: a class has a single image.
    """
    chosen = _chosen(part, fraction, seed)
    return part.take(np.flatnonzero(~chosen)), part.take(np.flatnonzero(chosen))


def _chosen(part: Part, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which images of the part go to the second; see `split_part`."""
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
    return chosen
