"""Pairs, shares and mixed targets by hand; shares against the distributions that are known in closed form."""

import numpy as np
import pytest

from pellucid.train.augmentation import mixed_images, mixed_targets, pairs
from pellucid.train.augmentation.draws import Draws

COUNT = 20_000


def drawn(mixup: float, numbers: np.ndarray, count: int):
    return pairs(mixup, Draws(0, 1, numbers), count)


@pytest.mark.parametrize(
    ("mixup", "below"),
    [
        (0.5, lambda s: 2 / np.pi * np.arcsin(np.sqrt(s))),
        (1.0, lambda s: s),
        (2.0, lambda s: 3 * s**2 - 2 * s**3),
    ],
)
def test_shares_are_distributed_as_the_larger_part_of_beta(mixup: float, below):
    shares = np.sort(drawn(mixup, np.arange(COUNT), COUNT).shares.astype(np.float64))
    assert shares[0] >= 0.5
    assert shares[-1] <= 1
    # The larger one is below s where the drawn one lies in 1-s..s.
    expected = below(shares) - below(1 - shares)
    assert np.abs(expected - (np.arange(COUNT) + 0.5) / COUNT).max() < 1.63 / np.sqrt(COUNT)  # Kolmogorov, 1%


@pytest.mark.parametrize("mixup", [0.001, 0.2, 0.4, 5.0, 100.0])
def test_the_variance_of_shares_is_that_of_beta(mixup: float):
    shares = drawn(mixup, np.arange(COUNT), COUNT).shares.astype(np.float64)
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(((shares - 0.5) ** 2).mean(), 1 / (4 * (2 * mixup + 1)), rtol=0.05)


def test_partners_are_all_others_alike():
    partners = drawn(1, np.repeat(3, 1), 8).partners
    assert partners.shape == (1,)
    table = np.zeros((8, 8), int)
    for epoch in range(2000):
        table[np.arange(8), pairs(1, Draws(0, epoch, np.arange(8)), 8).partners] += 1
    assert (np.diag(table) == 0).all()
    others = table[~np.eye(8, dtype=bool)]
    np.testing.assert_allclose(others, 2000 / 7, atol=5 * np.sqrt(2000 / 7))


def test_an_image_alone_is_its_own_partner():
    np.testing.assert_array_equal(drawn(1, np.array([0]), 1).partners, [0])


def test_a_pair_does_not_depend_on_the_batch():
    together = drawn(0.3, np.arange(100), 100)
    for n in (0, 7, 99):
        alone = drawn(0.3, np.array([n]), 100)
        assert alone.partners[0] == together.partners[n]
        assert alone.shares[0].tobytes() == together.shares[n].tobytes()


def test_images_and_targets_are_mixed_by_their_shares():
    shares = np.array([0.75, 0.5, 1.0], np.float32)
    images = np.array([[[[1.0]]], [[[0.25]]], [[[0.5]]]], np.float32)
    others = np.array([[[[0.0]]], [[[0.75]]], [[[1.0]]]], np.float32)
    np.testing.assert_array_equal(mixed_images(images, others, shares).ravel(), [0.75, 0.5, 0.5])
    found = mixed_targets(np.array([0, 2, 1]), np.array([1, 2, 0]), shares, 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0.75, 0.25, 0], [0, 0, 1], [0, 1, 0]])
    targets, other_targets = np.float32([[4, 8], [0, 2], [1, 1]]), np.float32([[0, 4], [2, 0], [9, 9]])
    found = mixed_targets(targets, other_targets, shares, 0)
    np.testing.assert_array_equal(found, [[3, 7], [1, 1], [1, 1]])
    np.testing.assert_array_equal(targets, [[4, 8], [0, 2], [1, 1]])  # the data set's own are left alone
