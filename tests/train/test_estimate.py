"""The estimate before the first epoch: it changes nothing, and is of the right size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.train import Augmentation, load_digits
from pellucid.train.estimate import estimate_training
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


class Clock:
    """Half a second passes between two looks at it."""

    def __init__(self) -> None:
        self._now = 0.0

    def perf_counter(self) -> float:
        self._now += 0.5
        return self._now


def test_it_counts_steps_and_predictions(monkeypatch: pytest.MonkeyPatch):
    model, data = model_and_data()
    monkeypatch.setattr("pellucid.train.estimate.time", Clock())
    course, steps, scored = Course(20, 50), -(-len(data.train) // 50), len(data.validation) * 0.5 / 64
    whole = estimate_training(model, data, course, Progress())
    assert whole is not None
    assert whole.seconds == pytest.approx(20 * (steps * 0.5 + scored))
    assert whole.bytes > 4 * sum(array.nbytes for array in model.state().values())
    # Of a training that goes on in the middle of its last epoch the rest counts.
    rest = estimate_training(model, data, course, Progress(epoch=20, step=15, results=(None,) * 19))
    assert rest is not None
    assert rest.seconds == pytest.approx((steps - 15) * 0.5 + scored)


def test_a_loss_without_bound_is_left_to_the_training():
    model, data = model_and_data(1e20)
    before = model.state()
    assert estimate_training(model, data, Course(1, 50), Progress()) is None
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
