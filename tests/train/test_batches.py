"""An epoch's batches: each image once, the same bits from any start, in any batches, by any number of threads."""

import threading

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.train import Augmentation, Images, Normalisation, Part
from pellucid.train.augmentation import pairs
from pellucid.train.augmentation.draws import Draws
from pellucid.train.batches import BatchPlan, epoch_batches
from pellucid.train.data.images import ArrayPixels

STRONG = Augmentation(rotation=20, crop=1, flip=True, contrast=0.3, erasing=0.3, mixup=0.4)


def part(count: int = 23, channels: int = 3) -> Part:
    random = np.random.default_rng(0)
    images = Images(ArrayPixels(random.integers(0, 256, (count, 5, 6, channels), dtype=np.uint8)))
    return Part(images.normalised(Normalisation.of(images)), random.integers(0, 4, count))


def whole(plan: BatchPlan, of: Part, epoch: int = 1, **options: int) -> tuple[np.ndarray, np.ndarray]:
    with epoch_batches(plan, of, epoch, **options) as batches:
        images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_every_image_comes_once_with_its_label_and_normalised():
    data = part()
    with epoch_batches(BatchPlan(5, 0, Augmentation()), data, 1) as batches:
        cut = list(batches)
    assert [len(labels) for _, labels in cut] == [5, 5, 5, 5, 3]
    order = np.random.default_rng([0, 1]).permutation(23)
    np.testing.assert_array_equal(np.concatenate([images for images, _ in cut]), np.asarray(data.images)[order])
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in cut]), data.labels[order])


def test_the_order_is_of_seed_and_epoch_alone():
    data = part(200)
    orders = {
        (seed, epoch): whole(BatchPlan(20, seed, Augmentation()), data, epoch)[0].tobytes()
        for seed in (0, 1)
        for epoch in (1, 2)
    }
    assert len(set(orders.values())) == 4
    assert whole(BatchPlan(33, 1, Augmentation()), data, 2)[0].tobytes() == orders[1, 2]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 50])
def test_neither_batches_nor_threads_show_in_an_image(batch_size: int, threads: int):
    data = part()
    images, labels = whole(BatchPlan(7, 3, STRONG), data, 2, classes=4)
    again, labels_again = whole(BatchPlan(batch_size, 3, STRONG), data, 2, classes=4, threads=threads)
    assert again.tobytes() == images.tobytes()
    assert labels_again.tobytes() == labels.tobytes()


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_an_epoch_goes_on_from_any_batch(start: int):
    data, plan = part(), BatchPlan(6, 3, STRONG)
    images, labels = whole(plan, data, 2, classes=4)
    with epoch_batches(plan, data, 2, start=start, classes=4) as batches:
        rest = list(batches)
    assert b"".join(x.tobytes() for x, _ in rest) == images[6 * start :].tobytes()
    assert b"".join(t.tobytes() for _, t in rest) == labels[6 * start :].tobytes()


def test_mixup_mixes_with_the_partner_as_it_is_in_this_epoch():
    data = part()
    alone = Augmentation(
        **{name: getattr(STRONG, name) for name in ("rotation", "crop", "flip", "contrast", "erasing")}
    )
    images, labels = whole(BatchPlan(7, 3, STRONG), data, 2, classes=4)
    changed, _ = whole(BatchPlan(7, 3, alone), data, 2)
    order = np.random.default_rng([3, 2]).permutation(23)
    place = np.argsort(order)
    for row, number in enumerate(order.tolist()):
        pair = pairs(0.4, Draws(3, 2, np.array([number])), 23)
        share, partner = float(pair.shares[0]), int(pair.partners[0])
        assert partner != number
        expected = share * changed[row].astype(np.float64) + (1 - share) * changed[place[partner]]
        np.testing.assert_allclose(images[row], expected, rtol=0, atol=1e-5)
        probabilities = np.zeros(4)
        probabilities[data.labels[number]] += share
        probabilities[data.labels[partner]] += 1 - share
        np.testing.assert_allclose(labels[row], probabilities, rtol=0, atol=1e-7)
    assert labels.dtype == np.float32


def test_targets_of_a_regression_are_mixed_too():
    random = np.random.default_rng(0)
    images = random.random((12, 2, 2, 1), np.float32)
    data = Part(images, images.reshape(12, 4))  # each image is its own target, so that their mixtures agree as well
    mixed, targets = whole(BatchPlan(5, 0, Augmentation(mixup=1)), data)
    np.testing.assert_array_equal(mixed.reshape(12, 4), targets)
    assert not np.isin(targets, images).all()


def test_what_a_part_holds_is_left_as_it_is():
    images, labels = np.random.default_rng(0).random((9, 4, 4, 3), np.float32), np.arange(9) % 3
    before = images.copy()
    whole(BatchPlan(4, 0, STRONG), Part(images, labels), classes=3)
    whole(BatchPlan(4, 0, Augmentation(mixup=0.2)), Part(images, labels), classes=3)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(labels, np.arange(9) % 3)


class Damaged(ArrayPixels):
    """Pixels of which one image cannot be read."""

    def read(self, numbers):
        if 7 in numbers:
            raise DataError("photos/seven.png: cut off in the middle")
        return super().read(numbers)


def test_an_image_that_cannot_be_read_is_an_error_of_the_loop():
    data = Part(Images(Damaged(np.zeros((30, 2, 2, 1), np.uint8))), np.zeros(30, np.int64))
    order = np.random.default_rng([0, 1]).permutation(30).tolist()
    seen = []
    with epoch_batches(BatchPlan(4, 0, Augmentation()), data, 1) as batches:
        with pytest.raises(DataError) as caught:
            seen.extend(len(labels) for _, labels in batches)
        assert str(caught.value) == "photos/seven.png: cut off in the middle"
    assert len(seen) == order.index(7) // 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pellucid")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 7, "classes": 4}, "`start` (=7) must be in 0..6, the number of batches"),
        ({"start": -1, "classes": 4}, "`start` (=-1) must be in 0..6, the number of batches"),
        ({}, "`classes` (=0) must be at least 1 for `mixup`, which makes probabilities of labels"),
    ],
)
def test_what_cannot_be_cut_says_why(options: dict[str, int], message: str):
    with pytest.raises(ArgumentError) as caught:
        epoch_batches(BatchPlan(4, 0, STRONG), part(), 1, **options)
    assert str(caught.value) == message
