"""Colours against Pillow's enhancements, the colour system of the standard library, and plain loops."""

import colorsys
import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pellucid.train.augmentation import Augmentation, uniform_numbers

COUNT = 30
FACTORS = 2 * uniform_numbers(0, 1, np.arange(COUNT), range(45, 49)) - 1
ENHANCE = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}


def changed(images: np.ndarray, **amounts: float) -> np.ndarray:
    return Augmentation(**amounts)(images, np.arange(len(images)), seed=0, epoch=1)


def random_bytes(low: int, high: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (COUNT, 9, 8, channels), dtype=np.uint8)


def floats(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(
    ("names", "channels", "low", "high"),
    [
        (("brightness",), 1, 0, 256),
        (("brightness",), 3, 0, 256),
        (("contrast",), 1, 0, 256),
        (("contrast",), 3, 0, 256),
        (("saturation",), 3, 0, 256),
        # Pillow cuts off at black and white between the changes: none of these comes so far.
        (("brightness", "contrast"), 1, 100, 156),
        (("brightness", "contrast", "saturation"), 3, 100, 140),
    ],
)
def test_colours_change_as_pillow_changes_them(names: tuple[str, ...], channels: int, low: int, high: int):
    images = random_bytes(low, high, channels)
    found = changed(floats(images), **dict.fromkeys(names, 0.6)) * 255
    for n, image in enumerate(images):
        picture = Image.fromarray(image if channels == 3 else image[..., 0])
        for name in names:
            factor = 1 + 0.6 * FACTORS[list(ENHANCE).index(name), n]
            picture = ENHANCE[name](picture).enhance(factor)
        # Pillow rounds to bytes at every change, and the mean grey and each grey before.
        np.testing.assert_allclose(found[n], np.asarray(picture).reshape(image.shape), rtol=0, atol=2.1 * len(names))


def test_hue_turns_colours_in_yiq_by_the_drawn_angle():
    images = floats(random_bytes(100, 156))
    found = changed(images, hue=120)
    for n in range(COUNT):
        angle = math.radians(120 * FACTORS[3, n])
        for i in range(9):
            y, a, b = colorsys.rgb_to_yiq(*images[n, i, 0].tolist())
            turned = (
                y,
                a * math.cos(angle) - b * math.sin(angle),
                a * math.sin(angle) + b * math.cos(angle),
            )
            # The standard library's coefficients have two digits.
            np.testing.assert_allclose(found[n, i, 0], colorsys.yiq_to_rgb(*turned), rtol=0, atol=0.01)


def test_hue_keeps_every_grey_and_the_grey_of_every_colour():
    greys = np.repeat(np.random.default_rng(0).random((COUNT, 4, 4, 1), np.float32), 3, axis=3)
    np.testing.assert_allclose(changed(greys, hue=180, saturation=1), greys, rtol=0, atol=1e-6)
    images = floats(random_bytes(110, 146))
    turned = changed(images, hue=180)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(turned @ weights, images @ weights, rtol=0, atol=1e-6)
    assert np.abs(turned - images).max() > 0.1


def test_all_colours_at_once_are_one_map():
    images = floats(random_bytes(120, 136))
    found = changed(images, brightness=0.3, contrast=0.3, saturation=0.5, hue=60)
    weights = np.array([0.299, 0.587, 0.114])
    yiq = np.array([weights, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    for n, image in enumerate(images.astype(np.float64)):
        bright, contrast, saturation = 1 + np.array([0.3, 0.3, 0.5]) * FACTORS[:3, n]
        step = image * bright
        step = contrast * step + (1 - contrast) * (step @ weights).mean()
        grey = (step @ weights)[..., None]
        step = saturation * step + (1 - saturation) * grey
        cosine, sine = (f(math.radians(60 * FACTORS[3, n])) for f in (math.cos, math.sin))
        turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        step = step @ (np.linalg.inv(yiq) @ turn @ yiq).T
        np.testing.assert_allclose(found[n], np.clip(step, 0, 1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_than_three_channels_have_brightness_and_contrast_alone(channels: int):
    images = floats(random_bytes(0, 256, channels))
    found = changed(images, brightness=0.9, contrast=0.9, saturation=1, hue=180)
    for n, image in enumerate(images.astype(np.float64)):
        bright, contrast = 1 + 0.9 * FACTORS[:2, n]
        mean = sum(image.ravel().tolist()) * bright / image.size
        expected = np.clip([contrast * bright * v + (1 - contrast) * mean for v in image.ravel().tolist()], 0, 1)
        np.testing.assert_allclose(found[n].ravel(), expected, rtol=0, atol=1e-6)
    assert found.min() == 0
    assert found.max() == 1
    np.testing.assert_array_equal(changed(images, saturation=1, hue=180), images)
