"""The training loop: batches, rows, early stopping, errors, and that it repeats."""

import math

import numpy as np
import pytest

from pellucid.errors import ArgumentError, TrainingError
from pellucid.train import Augmentation, Callback, Dataset, Part, fit
from train.linear_model import LinearModel


def blobs(count: int, seed: int, noise: float = 0.1) -> Part:
    """Images of 2x2 in which the brightest of the first three pixels is the class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = random.random((count, 4)) * noise
    images[np.arange(count), labels] += 1
    return Part(images.reshape(count, 2, 2, 1).astype(np.float32), labels)


def dataset(validation: Part | None = None) -> Dataset:
    return Dataset(blobs(50, 0), blobs(12, 1), ("a", "b", "c"), validation)


class Recorder(Callback):
    def __init__(self):
        self.events: list[tuple] = []

    def on_start(self, run):
        self.events.append(("start", run))

    def on_step_end(self, epoch, step, loss):
        self.events.append(("step", epoch, step, loss))

    def on_epoch_end(self, result):
        self.events.append(("epoch", result))

    def on_end(self, history):
        self.events.append(("end", history))


def test_every_image_comes_once_an_epoch_in_another_order_each_time():
    data, model = dataset(), LinearModel(4, 3)
    fit(model, data, epochs=2, batch_size=16, seed=1)
    assert [len(t) for _, t in model.batches] == [16, 16, 16, 2] * 2
    epochs = [np.concatenate([x for x, _ in model.batches[start : start + 4]]) for start in (0, 4)]
    for images in epochs:
        assert sorted(map(bytes, images)) == sorted(map(bytes, data.train.images))
    assert not np.array_equal(epochs[0], epochs[1])
    lookup = {bytes(image): label for image, label in zip(data.train.images, data.train.labels, strict=True)}
    assert all(lookup[bytes(image)] == label for x, t in model.batches for image, label in zip(x, t, strict=True))


def test_same_seed_same_parameters():
    def trained(seed: int) -> bytes:
        model = LinearModel(4, 3)
        fit(model, dataset(), epochs=3, batch_size=16, seed=seed, augment=Augmentation(shift=0.5))
        return model.parameters["weight"].tobytes()

    assert trained(7) == trained(7)
    assert trained(7) != trained(8)


def test_rows_hold_what_happened():
    model, recorder = LinearModel(4, 3), Recorder()
    history = fit(model, dataset(blobs(9, 2)), epochs=2, batch_size=16, gradient_norms=True, callbacks=[recorder])
    losses = [event[3] for event in recorder.events if event[0] == "step" and event[1] == 1]
    assert history.epochs[0].loss == pytest.approx((16 * sum(losses[:3]) + 2 * losses[3]) / 50, rel=1e-12)
    assert losses[0] == pytest.approx(math.log(3), rel=1e-12)  # all classes alike before the first step
    assert history.epochs[1].loss < history.epochs[0].loss
    assert history.epochs[1].accuracy == 1
    assert history.epochs[0].learning_rate == 0.5
    assert history.epochs[0].seconds > 0
    assert history.epochs[0].images_per_second > 0
    assert set(history.epochs[0].gradient_norms) == {"weight", "bias"}
    assert model.evaluated == [50, 9, 50, 9]  # never the 12 test images
    assert history.epochs[1].gradient_norms == model.gradient_norms  # of the last step
    assert history.epochs[0].gradient_norms["weight"] > history.epochs[1].gradient_norms["weight"] > 0
    assert [event[0] for event in recorder.events] == ["start", *(["step"] * 4 + ["epoch"]) * 2, "end"]
    start = recorder.events[0][1]
    assert (start.epochs, start.batch_size, start.batches) == (2, 16, 4)
    assert (start.training_images, start.validation_images, start.seed) == (50, 9, 0)
    assert recorder.events[-1][1] == history


class ScriptedModel(LinearModel):
    """Reports validation losses from a list; its bias counts the steps that it has seen."""

    def __init__(self, losses: list[float]):
        super().__init__(4, 3, rate=0.0)
        self._losses = iter(losses)

    def train_step(self, x, t, *, gradient_norms=False):
        loss = super().train_step(x, t)
        self.parameters["bias"] += 1
        return loss

    def score(self, y, t):
        return {"loss": next(self._losses) if len(y) == 9 else 0.0, "accuracy": 0.5}


def test_the_best_parameters_come_back_and_patience_ends_training():
    model, recorder = ScriptedModel([3.0, 1.0, 2.0, 1.0, 5.0, 0.5]), Recorder()
    history = fit(model, dataset(blobs(9, 2)), epochs=6, batch_size=50, patience=3, callbacks=[recorder])
    assert [result.validation_loss for result in history.epochs] == [3.0, 1.0, 2.0, 1.0, 5.0]
    assert history.best_epoch == 2
    assert history.best.validation_loss == 1.0
    assert history.stopped_early
    np.testing.assert_array_equal(model.parameters["bias"], 2)  # one step an epoch


def test_without_patience_all_epochs_run_and_the_best_comes_back():
    model = ScriptedModel([3.0, 1.0, 2.0])
    history = fit(model, dataset(blobs(9, 2)), epochs=3, batch_size=50)
    assert len(history.epochs) == 3
    assert history.best_epoch == 2
    assert not history.stopped_early
    np.testing.assert_array_equal(model.parameters["bias"], 2)


def test_without_validation_the_last_parameters_stay():
    model = ScriptedModel([])
    history = fit(model, dataset(), epochs=3, batch_size=50)
    assert history.best_epoch == 3
    assert history.epochs[0].validation_loss is None
    np.testing.assert_array_equal(model.parameters["bias"], 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_training(loss: float):
    class Diverging(LinearModel):
        def train_step(self, x, t, *, gradient_norms=False):
            return loss if len(self.batches) == 5 else super().train_step(x, t)

    recorder = Recorder()
    with pytest.raises(TrainingError) as caught:
        fit(Diverging(4, 3), dataset(), epochs=2, batch_size=16, callbacks=[recorder])
    assert str(caught.value) == f"the loss is {loss} in step 2 of epoch 2; try a lower learning rate"
    assert recorder.events[-1][:3] == ("step", 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` (=0) must be a whole number of at least 1"),
        ({"batch_size": 0}, "`batch_size` (=0) must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "`batch_size` (=2.5) must be a whole number of at least 1"),
        ({"epochs": True}, "`epochs` (=True) must be a whole number of at least 1"),
        ({"seed": -1}, "`seed` (=-1) must be a whole number of at least 0"),
        ({"patience": 0}, "`patience` (=0) must be a whole number of at least 1"),
        ({"patience": 2}, "`patience` (=2) needs a validation part; see `Dataset.with_validation`"),
    ],
)
def test_arguments_outside_their_rule(changes: dict, message: str):
    with pytest.raises(ArgumentError) as caught:
        fit(LinearModel(4, 3), dataset(), **{"epochs": 1, "batch_size": 8, **changes})
    assert str(caught.value) == message
