"""Erased rectangles against plain loops."""

import math

import numpy as np
import pytest

from pellucid.train.augmentation import Augmentation, uniform_numbers

COUNT = 400
DRAWS = uniform_numbers(0, 1, np.arange(COUNT), range(49, 54))


def changed(images: np.ndarray, **amounts: float) -> np.ndarray:
    return Augmentation(**amounts)(images, np.arange(len(images)), seed=0, epoch=1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (12, 15, 3), (20, 9, 1)])
def test_a_rectangle_of_one_colour_is_where_the_draws_say(shape: tuple[int, int, int]):
    height, width, channels = shape
    images = np.full((COUNT, *shape), 0.5, np.float32)
    found = changed(images, erasing=0.3, erasing_least=0.1, erasing_most=0.4)
    colours = uniform_numbers(0, 1, np.arange(COUNT), range(64, 64 + channels))
    erased = 0
    for n in range(COUNT):
        chance, area, aspect, top, left = DRAWS[:, n].tolist()
        expected = images[n].copy()
        if chance < 0.3:
            erased += 1
            share = 0.1 + 0.3 * area
            ratio = min(max(0.3 ** (1 - 2 * aspect), share), 1 / share)
            down = min(max(round(math.sqrt(share * ratio) * height), 1), height)
            across = min(max(round(math.sqrt(share / ratio) * width), 1), width)
            first, start = int(top * (height - down + 1)), int(left * (width - across + 1))
            for i in range(first, first + down):
                for j in range(start, start + across):
                    expected[i, j] = colours[:, n]
        np.testing.assert_array_equal(found[n], expected)
    assert abs(erased - 0.3 * COUNT) < 5 * math.sqrt(0.21 * COUNT)


def test_erased_shares_of_the_area_are_in_their_range_and_everywhere():
    found = changed(np.zeros((COUNT, 40, 40, 1), np.float32), erasing=1, erasing_least=0.05, erasing_most=0.2)
    shares = (found > 0).mean(axis=(1, 2, 3))
    assert 0.045 < shares.min() < 0.06
    assert 0.19 < shares.max() < 0.21
    ever = (found > 0).any(axis=0)[..., 0]
    assert ever[:, 20].all()
    assert ever[20].all()


def test_a_certain_erasing_of_everything_leaves_one_colour():
    found = changed(np.zeros((5, 6, 7, 3), np.float32), erasing=1, erasing_least=1, erasing_most=1)
    for image in found:
        np.testing.assert_array_equal(image, np.broadcast_to(image[0, 0], image.shape))
    assert len(np.unique(found)) == 15
