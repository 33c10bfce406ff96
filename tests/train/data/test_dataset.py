"""Parts, splits and normalisation."""

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.train import Dataset, Images, Normalisation, Part, split_part
from pellucid.train.data.images import ArrayPixels


def part(count: int, classes: int, seed: int = 0) -> Part:
    random = np.random.default_rng(seed)
    return Part(random.random((count, 4, 4, 2), np.float32), np.arange(count, dtype=np.int64) % classes)


def dataset(**changes: object) -> Dataset:
    return Dataset(**{"train": part(40, 4), "test": part(8, 4, 1), "class_names": ("a", "b", "c", "d"), **changes})


def test_split_is_stratified_complete_and_seeded():
    whole = part(103, 4)
    first, second = split_part(whole, 0.25, seed=3)
    assert np.bincount(second.labels).tolist() == [6, 6, 6, 6]  # a quarter of 26, 26, 26 and 25, rounded
    both = np.concatenate([first.images, second.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole.images))
    again, _ = split_part(whole, 0.25, seed=3)
    np.testing.assert_array_equal(again.images, first.images)
    other, _ = split_part(whole, 0.25, seed=4)
    assert not np.array_equal(other.images, first.images)


def test_every_class_has_an_image_on_both_sides():
    few = Part(np.zeros((5, 1, 1, 1), np.float32), np.array([0, 0, 1, 1, 1]))
    for fraction in (0.01, 0.99):
        first, second = split_part(few, fraction, seed=0)
        assert set(first.labels) == set(second.labels) == {0, 1}


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(DataError) as caught:
        split_part(Part(np.zeros((3, 1, 1, 1), np.float32), np.array([0, 0, 1])), 0.5, seed=0)
    assert str(caught.value) == "class 1 has a single image: it cannot be on both sides of a split"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan"), float("inf")])
def test_fraction_outside_its_rule(fraction: float):
    with pytest.raises(ArgumentError) as caught:
        split_part(part(8, 2), fraction, seed=0)
    assert str(caught.value) == f"`fraction` (={fraction}) must be between 0 and 1, both excluded"


def test_normalisation_is_of_the_training_part_alone():
    data = dataset().with_validation(0.2, seed=1)
    normalised = data.normalised()
    trained = np.asarray(normalised.train.images)
    np.testing.assert_allclose(trained.mean((0, 1, 2), np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(trained.std((0, 1, 2), np.float64), 1, atol=1e-6)
    plain = np.asarray(data.train.images)
    mean, deviation = plain.mean((0, 1, 2), np.float64), plain.std((0, 1, 2), np.float64)
    for name, images in normalised.parts():
        raw = np.asarray(dict(data.parts())[name].images)
        np.testing.assert_allclose(images.images, (raw - mean) / deviation, rtol=0, atol=1e-6)
        assert images.images.dtype == np.float32
    assert normalised.normalised() is normalised


def test_a_constant_channel_is_not_divided_by_zero():
    images = np.zeros((3, 2, 2, 2), np.float32)
    images[..., 1] = np.arange(12).reshape(3, 2, 2)
    result = Normalisation.of(Images(ArrayPixels(images)))(images)
    np.testing.assert_array_equal(result[..., 0], 0)
    assert np.isfinite(result).all()


def test_validation_is_split_before_normalising_and_once():
    with pytest.raises(ArgumentError) as caught:
        dataset().normalised().with_validation(0.2)
    assert str(caught.value) == "split off the validation part before the images are normalised"
    with pytest.raises(ArgumentError) as caught:
        dataset().with_validation(0.2).with_validation(0.2)
    assert str(caught.value) == "the data set has a validation part already (8 images)"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 3, 3, 1)),
            np.zeros(2, np.int64),
            "`images` must be float32 of rank 4 (count, height, width, channels), got float64 (2, 3, 3, 1)",
        ),
        (
            np.zeros((2, 3, 3), np.float32),
            np.zeros(2, np.int64),
            "`images` must be float32 of rank 4 (count, height, width, channels), got float32 (2, 3, 3)",
        ),
        (
            np.zeros((2, 3, 3, 1), np.float32),
            np.zeros(2, np.int32),
            "`labels` must be int64 of rank 1, or float32 of rank 2, got int32 (2,)",
        ),
        (
            np.zeros((2, 3, 3, 1), np.float32),
            np.zeros(3, np.int64),
            "`images` has 2 entries but `labels` has 3",
        ),
        (np.zeros((0, 3, 3, 1), np.float32), np.zeros(0, np.int64), "`images` (0, 3, 3, 1) is empty"),
    ],
)
def test_parts_that_are_none(images: np.ndarray, labels: np.ndarray, message: str):
    with pytest.raises(DataError) as caught:
        Part(images, labels)
    assert str(caught.value) == message


def test_parts_that_do_not_fit_each_other():
    with pytest.raises(DataError) as caught:
        dataset(test=Part(np.zeros((1, 5, 4, 2), np.float32), np.zeros(1, np.int64)))
    assert str(caught.value) == "the images of `test` (5, 4, 2) differ in shape from those of `train` (4, 4, 2)"
    with pytest.raises(DataError) as caught:
        dataset(class_names=("a", "b", "c"))
    assert str(caught.value) == "`train` has the label 3, outside 0..2 (3 classes)"
