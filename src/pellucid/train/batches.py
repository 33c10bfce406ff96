"""The mini-batches of an epoch. Their order depends on the seed and the epoch's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError
from pellucid.train.ahead import Ahead
from pellucid.train.augmentation import Augmentation, mixed_images, mixed_targets, pairs
from pellucid.train.augmentation.draws import Draws
from pellucid.train.data.dataset import Part

__all__ = ["Batch", "BatchPlan", "epoch_batches"]

Batch: TypeAlias = tuple[NDArray[np.float32], NDArray[Any]]


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch is cut into batches: `batch_size` images each, the last one what is left."""

    batch_size: int
    seed: int
    augmentation: Augmentation

    def batch_count(self, part: Part) -> int:
        """The number of batches in an epoch over `part`."""
        return -(-len(part) // self.batch_size)


def epoch_batches(
    plan: BatchPlan, part: Part, epoch: int, *, start: int = 0, classes: int = 0, threads: int = 1
) -> Ahead[Batch]:
    """Images (batch, height, width, channels) and labels (batch, ...) of the batches of an epoch, in which each image
    comes once; made ahead of their use:

        with epoch_batches(plan, part, epoch) as batches:
            for images, labels in batches:
                ...

    Labels that are mixed become rows of probabilities (batch, classes), float32. A batch is a function of its number,
    whether those before it are made or not, and of the number of `threads` that make them.

    Args:
        plan: how the epoch is cut, ordered and changed.
        part: the images.
        epoch: its number.
        start: the number of the first batch, from 0 to the number of batches.
        classes: how many classes there are; 0 where `part` has targets for labels.
        threads: how many threads make batches.

    Raises:
        ArgumentError: `start` is behind the last batch, or labels are to be mixed and `classes` is 0.
    """
    count = plan.batch_count(part)
    if not 0 <= start <= count:
        raise ArgumentError(f"`start` (={start}) must be in 0..{count}, the number of batches")
    if plan.augmentation.mixup and part.labels.ndim == 1 and not classes:
        raise ArgumentError("`classes` (=0) must be at least 1 for `mixup`, which makes probabilities of labels")
    order = np.random.default_rng([plan.seed, epoch]).permutation(len(part))

    def make(step: int) -> Batch:
        return _batch(plan, part, epoch, order[step * plan.batch_size : (step + 1) * plan.batch_size], classes)

    return Ahead(make, range(start, count), _bytes, depth=threads + 2, threads=threads)


def _bytes(batch: Batch) -> int:
    images, labels = batch
    return images.nbytes + labels.nbytes


def _batch(plan: BatchPlan, part: Part, epoch: int, numbers: NDArray[np.int64], classes: int) -> Batch:
    """The images of those numbers as they are in this epoch, and what is to be learned of them."""
    images, labels = _changed(plan, part, epoch, numbers), part.labels[numbers]
    if plan.augmentation.mixup:
        found = pairs(plan.augmentation.mixup, Draws(plan.seed, epoch, numbers), len(part))
        images = mixed_images(images, _changed(plan, part, epoch, found.partners), found.shares)
        labels = mixed_targets(labels, part.labels[found.partners], found.shares, classes)
    return part.images.finish(images), labels


def _changed(plan: BatchPlan, part: Part, epoch: int, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The images of those numbers, changed as they are in this epoch wherever they appear."""
    return plan.augmentation(part.images.plain(numbers), numbers, seed=plan.seed, epoch=epoch)
