"""Amounts as values, their rules, and that an image is changed alike wherever it stands."""

import dataclasses
import json
import tomllib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.train.augmentation import AUGMENTATIONS, Augmentation

EVERYTHING = Augmentation(
    resized_crop=0.4,
    distortion=1.0,
    shear=0.1,
    scale=0.2,
    rotation=20.0,
    shift=2.0,
    crop=1,
    flip=True,
    flip_vertical=True,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=20.0,
    erasing=0.5,
)
COPIES = Augmentation(crop=2, flip=True, brightness=0.2, contrast=0.5, saturation=0.5, erasing=0.5)


def test_nothing_asked_is_nothing_done():
    images = np.ones((2, 3, 3, 1), np.float32)
    assert Augmentation()(images, np.arange(2), seed=0, epoch=1) is images
    assert not Augmentation(edge=True, erasing_most=0.1).active
    for name in ("rotation", "crop", "flip", "hue", "erasing", "mixup"):
        assert Augmentation(**{name: True if name == "flip" else 1}).active


@settings(max_examples=100, deadline=None)
@example(change=EVERYTHING, shape=(3, 1, 1, 3), seed=0, epoch=0)
@given(
    change=st.sampled_from([EVERYTHING, COPIES, *AUGMENTATIONS.values()]),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3, 4])),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 1000),
)
def test_an_image_is_changed_alike_in_every_batch(change, shape, seed, epoch):
    random = np.random.default_rng(seed)
    images, numbers = random.random(shape, np.float32), random.permutation(1000)[: shape[0]]
    images[0] = 1  # white all over, so that rounding above 1 would show
    before = images.copy()
    together = change(images, numbers, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(images, before)
    assert together.dtype == np.float32
    assert together.shape == shape
    assert together.min() >= 0
    assert together.max() <= 1
    for n in range(shape[0]):
        alone = change(images[n : n + 1], numbers[n : n + 1], seed=seed, epoch=epoch)
        assert alone.tobytes() == together[n].tobytes()
    backwards = change(images[::-1], numbers[::-1], seed=seed, epoch=epoch)
    assert backwards.tobytes() == together[::-1].tobytes()


@pytest.mark.parametrize("change", [EVERYTHING, COPIES])
@pytest.mark.parametrize("shape", [(150, 28, 28, 1), (90, 33, 31, 3)])
def test_neither_blocks_nor_threads_show_in_the_result(change: Augmentation, shape: tuple[int, ...]):
    images, numbers = np.random.default_rng(0).random(shape, np.float32), np.arange(shape[0]) * 7
    together = change(images, numbers, seed=1, epoch=2)

    def some(start: int) -> np.ndarray:
        part = slice(start, start + 11)
        return change(images[part], numbers[part], seed=1, epoch=2)

    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(some, range(0, shape[0], 11)))
    assert np.concatenate(parts).tobytes() == together.tobytes()


def test_seed_and_epoch_change_the_result():
    images = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    results = {
        EVERYTHING(images, np.arange(5), seed=seed, epoch=epoch).tobytes() for seed in (0, 1) for epoch in (1, 2)
    }
    assert len(results) == 4


def test_a_change_draws_the_same_numbers_whatever_else_is_changed():
    images = np.random.default_rng(0).random((40, 6, 6, 1), np.float32)
    flips = Augmentation(flip=True)(images, np.arange(40), seed=0, epoch=1)
    both = Augmentation(flip=True, brightness=1e-9)(images, np.arange(40), seed=0, epoch=1)
    np.testing.assert_allclose(both, flips, rtol=0, atol=1e-6)


def test_an_empty_batch_stays_empty():
    assert EVERYTHING(np.zeros((0, 4, 4, 3), np.float32), np.arange(0), seed=0, epoch=1).shape == (0, 4, 4, 3)


@pytest.mark.parametrize("change", [EVERYTHING, COPIES, *AUGMENTATIONS.values(), Augmentation(shift=1 / 3, hue=0.1)])
def test_json_and_toml_keep_every_amount(change: Augmentation):
    values = dataclasses.asdict(change)
    assert {type(value) for value in values.values()} <= {bool, int, float}
    assert Augmentation(**json.loads(json.dumps(values))) == change
    toml = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    assert Augmentation(**tomllib.loads(toml)) == change


def test_numbers_of_numpy_become_plain_ones():
    change = Augmentation(rotation=np.float32(2), shift=np.int64(3))
    assert (type(change.rotation), type(change.shift)) == (float, float)
    assert change == Augmentation(rotation=2, shift=3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": -1.0}, "`shift` (=-1.0) must be a finite number, in 0..100000 pixels"),
        ({"rotation": 181.0}, "`rotation` (=181.0) must be a finite number, in 0..180 degrees"),
        ({"scale": 1.0}, "`scale` (=1.0) must be a finite number, in 0..0.9"),
        ({"shear": -0.1}, "`shear` (=-0.1) must be a finite number, in 0..10"),
        ({"distortion": -1.0}, "`distortion` (=-1.0) must be a finite number, in 0..100000 pixels"),
        ({"shift": float("nan")}, "`shift` (=nan) must be a finite number, in 0..100000 pixels"),
        ({"shift": "2"}, "`shift` (='2') must be a finite number, in 0..100000 pixels"),
        ({"shift": True}, "`shift` (=True) must be a finite number, in 0..100000 pixels"),
        ({"resized_crop": 1.0}, "`resized_crop` (=1.0) must be a finite number, in 0..0.99"),
        ({"crop": 1.5}, "`crop` (=1.5) must be a whole number, in 0..100000 pixels"),
        ({"crop": -1}, "`crop` (=-1) must be a whole number, in 0..100000 pixels"),
        ({"crop": True}, "`crop` (=True) must be a whole number, in 0..100000 pixels"),
        ({"flip": 0.5}, "`flip` (=0.5) must be true or false"),
        ({"flip_vertical": "true"}, "`flip_vertical` (='true') must be true or false"),
        ({"edge": 1}, "`edge` (=1) must be true or false"),
        ({"brightness": 1.1}, "`brightness` (=1.1) must be a finite number, in 0..1"),
        ({"contrast": -0.1}, "`contrast` (=-0.1) must be a finite number, in 0..1"),
        ({"saturation": 2}, "`saturation` (=2) must be a finite number, in 0..1"),
        ({"hue": 200}, "`hue` (=200) must be a finite number, in 0..180 degrees"),
        ({"erasing": 1.5}, "`erasing` (=1.5) must be a finite number, in 0..1"),
        ({"erasing_least": 0.5}, "`erasing_least` (=0.5) must be at most `erasing_most` (=0.33)"),
        ({"mixup": -0.2}, "`mixup` (=-0.2) must be a finite number, in 0..100"),
        ({"mixup": None}, "`mixup` (=None) must be a finite number, in 0..100"),
    ],
)
def test_amounts_outside_their_rule(arguments: dict, message: str):
    with pytest.raises(ArgumentError) as caught:
        Augmentation(**arguments)
    assert str(caught.value) == message
