"""The mini-batches of an epoch. Their order depends on the seed and the epoch's number alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.train.augmentation import Augmentation
from pellucid.train.data.dataset import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchPlan", "epoch_batches"]


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch is cut into batches: `batch_size` images each, the last one what is left."""

    batch_size: int
    seed: int
    augmentation: Augmentation

    def batch_count(self, part: Part) -> int:
        """The number of batches in an epoch over `part`."""
        return -(-len(part) // self.batch_size)


def epoch_batches(plan: BatchPlan, part: Part, epoch: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
    """Images (batch, height, width, channels) and labels (batch, ...) of every batch of an epoch; each image comes
    once."""
    order = np.random.default_rng([plan.seed, epoch]).permutation(len(part))
    for start in range(0, len(order), plan.batch_size):
        numbers = order[start : start + plan.batch_size]
        plain = plan.augmentation(part.images.plain(numbers), numbers, seed=plan.seed, epoch=epoch)
        yield part.images.finish(plain), part.labels[numbers]
