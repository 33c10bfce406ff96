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


class _B:
    waited = 0.0

    def __init__(self, it):
        self.it = it

    def __enter__(self):
        return self

    def __exit__(self, *a):
        pass

    def __iter__(self):
        return self.it


def epoch_batches(plan: BatchPlan, part: Part, epoch: int, *, start=0, classes=0):
    return _B(_eb(plan, part, epoch, start))


def _eb(plan, part, epoch, begin):
    order = np.random.default_rng([plan.seed, epoch]).permutation(len(part))
    for start in range(begin * plan.batch_size, len(order), plan.batch_size):
        numbers = order[start : start + plan.batch_size]
        plain = plan.augmentation(part.images.plain(numbers), numbers, seed=plan.seed, epoch=epoch)
        yield part.images.finish(plain), part.labels[numbers]
