"""Augmentation against hand-made shifts and turns, and its independence of batches."""

import numpy as np
import pytest

from pellucid.errors import ArgumentError
from pellucid.train.augmentation import Augmentation, uniform_numbers

BLACK = np.zeros(1, np.float32)


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


def test_nothing_asked_is_nothing_done():
    images = np.ones((2, 3, 3, 1), np.float32)
    assert Augmentation()(images, numbers(2), seed=0, epoch=1) is images


def test_an_image_is_changed_alike_in_every_batch():
    images = np.random.default_rng(0).random((10, 9, 7, 2), np.float32)
    change = Augmentation(shift=2, rotation=20, scale=0.2, shear=0.1, distortion=1)
    together = change(images, numbers(10), seed=3, epoch=5)
    chosen = np.array([7, 2, 9])
    apart = change(images[chosen], chosen, seed=3, epoch=5)
    np.testing.assert_array_equal(apart, together[chosen])
    assert not np.array_equal(together, change(images, numbers(10), seed=3, epoch=6))
    assert not np.array_equal(together, change(images, numbers(10), seed=4, epoch=5))


def test_shift_moves_the_image_by_the_drawn_amount_and_fills_with_background():
    images = np.zeros((200, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    moved = Augmentation(shift=2)(images, numbers(200), seed=0, epoch=1)
    down, right = (2 * (2 * uniform_numbers(0, 1, numbers(200), 4)[:, axis] - 1) for axis in (0, 1))
    rows, columns = np.mgrid[:9, :9]
    np.testing.assert_allclose((moved[..., 0] * rows).sum((1, 2)), 4 + down, rtol=0, atol=1e-5)
    np.testing.assert_allclose((moved[..., 0] * columns).sum((1, 2)), 4 + right, rtol=0, atol=1e-5)
    np.testing.assert_allclose(moved.sum((1, 2, 3)), 1, rtol=0, atol=1e-5)
    filled = Augmentation(shift=2)(np.ones_like(images), numbers(200), seed=0, epoch=1)
    assert filled.min(axis=(1, 2, 3)).min() < 0.2  # a shift of more than a pixel shows what stands outside
    np.testing.assert_array_equal(filled[:, 4, 4], 1)


def test_a_turn_by_half_a_circle_is_a_flip_of_both_axes(monkeypatch: pytest.MonkeyPatch):
    # With every draw at its upper end the turn is by all of `rotation`.
    monkeypatch.setattr("pellucid.train.augmentation.uniform_numbers", lambda *_: np.ones((1, 5)))
    image = np.random.default_rng(0).random((1, 5, 6, 3), np.float32)
    turned = Augmentation(rotation=180)(image, numbers(1), seed=0, epoch=1)
    np.testing.assert_allclose(turned, image[:, ::-1, ::-1], rtol=0, atol=1e-6)


def test_a_quarter_turn_is_numpys_rot90(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.train.augmentation.uniform_numbers", lambda *_: np.ones((1, 5)))
    image = np.random.default_rng(0).random((1, 5, 5, 1), np.float32)
    turned = Augmentation(rotation=90)(image, numbers(1), seed=0, epoch=1)
    np.testing.assert_allclose(turned, np.rot90(image, -1, axes=(1, 2)), rtol=0, atol=1e-6)


def test_a_shear_by_one_moves_each_row_by_its_distance_from_the_middle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.train.augmentation.uniform_numbers", lambda *_: np.ones((1, 5)))
    image = np.zeros((1, 5, 5, 1), np.float32)
    image[0, :, 2] = 1  # an upright line through the middle
    leaning = Augmentation(shear=1)(image, numbers(1), seed=0, epoch=1)
    np.testing.assert_allclose(leaning[0, ..., 0], np.eye(5), rtol=0, atol=1e-6)


def test_a_distortion_moves_no_cell_by_more_than_its_amount():
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[None, None, :, None], (50, 20, 20, 1))  # reads as its column
    moved = Augmentation(distortion=1.5)(ramp, numbers(50), seed=0, epoch=1)[:, 2:-2, 2:-2, 0]
    distance = moved - np.arange(2, 18)  # background may show in the two rows and columns at each side
    assert np.abs(distance).max() <= 1.5 + 1e-5
    assert np.abs(distance).max() > 1.2
    assert np.abs(np.diff(distance, axis=1)).max() < 1  # smooth: neighbours move alike
    assert distance.std(axis=(1, 2)).min() > 0.1  # and no image moves as a whole


def test_a_distortion_drawn_alike_everywhere_is_a_shift(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.train.augmentation.uniform_numbers", lambda *_: np.ones((1, 5 + 2 * 16)))
    image = np.random.default_rng(0).random((1, 8, 7, 1), np.float32)
    moved = Augmentation(distortion=2)(image, numbers(1), seed=0, epoch=1)
    np.testing.assert_allclose(moved[:, :-2, :-2], image[:, 2:, 2:], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(moved[:, -2:], 0)


def test_numbers_are_uniform_and_uncorrelated():
    table = uniform_numbers(1, 2, numbers(40_000), 4)
    assert table.min() >= 0
    assert table.max() < 1
    np.testing.assert_allclose(table.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * 40_000))
    np.testing.assert_allclose(table.var(axis=0), 1 / 12, rtol=0.03)
    assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.025
    assert np.abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.025


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": -1.0}, "`shift` (=-1.0) must be a finite number, at least 0"),
        ({"rotation": 181.0}, "`rotation` (=181.0) must be a finite number, in 0..180 degrees"),
        ({"scale": 1.0}, "`scale` (=1.0) must be a finite number, in 0..0.9"),
        ({"shear": -0.1}, "`shear` (=-0.1) must be a finite number, in 0..10"),
        ({"distortion": -1.0}, "`distortion` (=-1.0) must be a finite number, at least 0"),
        ({"shift": float("nan")}, "`shift` (=nan) must be a finite number, at least 0"),
    ],
)
def test_amounts_outside_their_rule(arguments: dict[str, float], message: str):
    with pytest.raises(ArgumentError) as caught:
        Augmentation(**arguments)
    assert str(caught.value) == message
