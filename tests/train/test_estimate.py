"""The estimate before the first epoch: it changes nothing, and is of the right size."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.train import Augmentation, load_digits
from pellucid.train.estimate import duration, estimate_training
from pellucid.train.loop import Course, Progress, train_epochs


def model_and_data(rate: float = 0.01) -> tuple:
    data = load_digits()
    data = replace(data, train=data.train.take(np.arange(1200)), split=None).with_validation(0.2).normalised()
    network = nn.Sequential(nn.Conv2d(16, 5, stride=2), nn.ReLU(), nn.BatchNorm2d(), nn.Flatten(), nn.Linear(10))
    options = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(rate, momentum=0.9), "seed": 0}
    return network.build(data.image_shape, **options), data


def test_nothing_is_changed():
    (model, data), (other, _) = model_and_data(), model_and_data()
    course = Course(2, 50, augmentation=Augmentation(shift=1))
    before = model.state()
    assert estimate_training(model, data, course, Progress()) is not None
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
    histories = [train_epochs(one, data, course) for one in (model, other)]
    assert histories[0].epochs[1].loss == histories[1].epochs[1].loss
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


def test_it_is_of_the_right_size():
    model, data = model_and_data()
    course = Course(20, 50)
    estimate = estimate_training(model, data, course, Progress())
    assert estimate is not None
    start = time.perf_counter()
    train_epochs(model, data, course)
    assert 0.05 < estimate.seconds / (time.perf_counter() - start) < 20  # a machine may be busy meanwhile
    assert 30e6 < estimate.bytes < 20e9


def test_what_is_left_is_what_counts():
    model, data = model_and_data()
    course = Course(1000, 50)
    whole = estimate_training(model, data, course, Progress())
    rest = estimate_training(model, data, course, Progress(epoch=1000, results=(None,) * 999))
    assert whole is not None
    assert rest is not None
    assert rest.seconds < whole.seconds / 10


def test_a_loss_without_bound_is_left_to_the_training():
    model, data = model_and_data(1e20)
    before = model.state()
    assert estimate_training(model, data, Course(1, 50), Progress()) is None
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_durations_in_words(seconds: float, words: str):
    assert duration(seconds) == words
