"""Weights of samples and classes, against plain loops, absence and repetition."""

import math

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from estimators.made import images, vectors
from pellucid import nn
from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.estimators import CNNClassifier, CNNRegressor
from pellucid.estimators.losses import WeightedCrossEntropyLoss, WeightedSquaredLoss, weighted_targets
from pellucid.estimators.standardise import Standardisation

RANDOM = np.random.default_rng(3)
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.0, 3.0])


def model_of(loss: nn.Loss, outputs: int) -> nn.Model:
    return nn.Sequential(nn.Linear(outputs)).build((3,), loss=loss, dtype="float64")


def test_cross_entropy_is_that_of_plain_loops():
    model, x, labels = model_of(WeightedCrossEntropyLoss(), 4), RANDOM.normal(size=(5, 3)), np.array([0, 3, 1, 2, 3])
    found = model.evaluate(x, weighted_targets(labels, WEIGHTS, 1.25))
    total, right = 0.0, 0
    for row, label, weight in zip(model.predict(x), labels, WEIGHTS, strict=True):
        total += weight / 1.25 * (math.log(sum(math.exp(logit) for logit in row)) - row[label])
        right += list(row).index(max(row)) == label
    assert found["loss"] == pytest.approx(total / 5, rel=1e-12)
    assert found["accuracy"] == right / 5


def test_squared_loss_is_that_of_plain_loops():
    model, x = model_of(WeightedSquaredLoss(), 2), RANDOM.normal(size=(5, 3))
    targets = RANDOM.normal(size=(5, 2)).astype(np.float32)
    found = model.evaluate(x, weighted_targets(targets, WEIGHTS, 1.25))
    rows = zip(model.predict(x), targets, WEIGHTS, strict=True)
    total = sum(weight / 1.25 * (y - t) ** 2 for row, wanted, weight in rows for y, t in zip(row, wanted, strict=True))
    assert found == {"loss": pytest.approx(total / 10, rel=1e-12)}


@pytest.mark.parametrize(
    ("loss", "outputs", "columns"), [(WeightedCrossEntropyLoss(), 4, 1), (WeightedSquaredLoss(), 2, 2)]
)
def test_gradients_of_batches_add_up_to_that_of_all_rows(loss, outputs, columns):
    model, x = model_of(loss, outputs), RANDOM.normal(size=(5, 3))
    targets = weighted_targets(RANDOM.integers(0, 4, (5, columns)), WEIGHTS, 1.25)
    _, whole = model.gradients(x, targets)
    parts = [(2, model.gradients(x[:2], targets[:2])[1]), (3, model.gradients(x[2:], targets[2:])[1])]
    for name, gradient in whole.items():
        np.testing.assert_allclose(sum(rows * part[name] for rows, part in parts) / 5, gradient, rtol=1e-12, atol=1e-14)


def test_losses_refuse_other_targets():
    model, x = model_of(WeightedSquaredLoss(), 2), np.zeros((5, 3))
    with pytest.raises(ShapeError, match=r"^`t` has shape \(5, 2\); the prediction has shape \(5, 4\)$"):
        model.evaluate(x, np.zeros((5, 2)))


def test_standardisation_is_that_of_scikit_learn():
    x, _ = vectors(700)  # more than one block
    weights = RANDOM.integers(1, 4, len(x)).astype(np.float64)
    scaler = StandardScaler().fit(x, sample_weight=weights)
    own = Standardisation.of("X", x, weights)
    np.testing.assert_allclose(own.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(own.deviation, scaler.scale_, rtol=1e-12)
    np.testing.assert_allclose(own(x), scaler.transform(x), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(own.undo(own(x)), x, rtol=1e-5, atol=1e-5)


def test_standardisation_of_images_is_by_channel():
    x = RANDOM.integers(0, 256, (300, 3, 4, 2), np.uint8)
    own = Standardisation.of("X", x, np.ones(300))
    np.testing.assert_allclose(own.mean, x.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(own.deviation, x.std((0, 1, 2)), rtol=1e-12)


def test_standardisation_of_constants_and_extremes():
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000) % 2])
    own = Standardisation.of("X", x, np.ones(1000))
    np.testing.assert_array_equal(own.deviation, [1, 0.5])
    np.testing.assert_allclose(own(np.array([[0.1, 1e300]])), [[0, 1e6]], atol=1e-15)
    with pytest.raises(DataError, match=r"^`X` has numbers too large to be standardised: their squares are beyond flo"):
        Standardisation.of("X", np.array([[1e200], [-1e200]]), np.ones(2))


def test_weight_zero_is_absence_bit_for_bit():
    x, y = images()
    weights = np.where(np.arange(len(y)) % 4 == 1, 0.0, 1.0)
    x[weights == 0] = 1e6  # would be noticed in the mean
    weighted = CNNClassifier(random_state=0, epochs=2, batch_size=8).fit(x, y, weights)
    kept = weights > 0
    absent = CNNClassifier(random_state=0, epochs=2, batch_size=8).fit(x[kept], y[kept])
    np.testing.assert_array_equal(weighted.predict_proba(x[kept]), absent.predict_proba(x[kept]))


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_weight_two_is_repetition_in_one_batch(kind, call):
    x, y = vectors(20)
    labels = (y > 50).astype(int)
    weights = RANDOM.integers(0, 4, len(y))
    made = {"random_state": 0, "epochs": 20, "batch_size": 100}
    model, target = (CNNClassifier(**made), labels) if kind == "classifier" else (CNNRegressor(**made), y)
    more = {"classes": [0, 1]} if (kind, call) == ("classifier", "partial_fit") else {}

    def predicted(x_fit, y_fit, **weight):
        fitted = getattr(type(model)(**model.get_params()), call)(x_fit, y_fit, **weight, **more)
        return fitted.predict_proba(x) if kind == "classifier" else fitted.predict(x)

    repeated = predicted(x.repeat(weights, axis=0), target.repeat(weights))
    # Inputs and targets are rounded to float32, nothing else.
    np.testing.assert_allclose(predicted(x, target, sample_weight=weights), repeated, rtol=1e-6)
    assert not np.allclose(predicted(x, target), repeated, rtol=1e-4)


def test_only_ratios_of_weights_count():
    x, y = images()
    weights = RANDOM.random(len(y)) + 0.1
    first, second = (
        CNNClassifier(random_state=0, epochs=2, batch_size=8).fit(x, y, weights * scale).predict_proba(x)
        for scale in (1, 2.0**900)
    )
    np.testing.assert_array_equal(first, second)


def test_class_weights_are_weights_of_samples():
    x, y = images()
    by_class = CNNClassifier(random_state=0, epochs=2, class_weight={0: 1.0, 1: 4.0, 2: 0.5}).fit(x, y)
    by_row = CNNClassifier(random_state=0, epochs=2).fit(x, y, np.array([1.0, 4.0, 0.5])[y])
    np.testing.assert_array_equal(by_class.predict_proba(x), by_row.predict_proba(x))


def test_balanced_is_by_count_and_weight():
    x, y = images(30, classes=2)
    x, y = x[6:], np.where(np.arange(6, 30) < 24, 0, y[6:])  # 21 of class 0 and 3 of class 1
    counts = np.bincount(y)
    assert counts.tolist() == [21, 3]
    balanced = CNNClassifier(random_state=0, epochs=2, class_weight="balanced").fit(x, y)
    by_hand = CNNClassifier(random_state=0, epochs=2, class_weight={0: 24 / 42, 1: 24 / 6}).fit(x, y)
    np.testing.assert_allclose(balanced.predict_proba(x), by_hand.predict_proba(x), rtol=1e-5)
    weighted = CNNClassifier(random_state=0, epochs=2, class_weight="balanced").fit(x, y, np.where(y == 1, 7.0, 1.0))
    plain = CNNClassifier(random_state=0, epochs=2).fit(x, y, np.where(y == 1, 7.0, 1.0))
    np.testing.assert_allclose(weighted.predict_proba(x), plain.predict_proba(x), rtol=1e-5)


def test_score_takes_weights():
    x, y = images()
    model = CNNClassifier(random_state=0, epochs=1).fit(x, y)
    right = model.predict(x) == y
    assert model.score(x, y, sample_weight=right + 1e-9) == pytest.approx(1)
    x, y = vectors()
    regressor = CNNRegressor(random_state=0, epochs=1).fit(x, y)
    assert regressor.score(x, y, sample_weight=np.arange(60)) != regressor.score(x, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(40), "every weight is zero: there is nothing to learn from"),
        (np.ones(39), r"`sample_weight` has shape \(39,\); `X` has 40 samples"),
        (np.full(40, -1.0), "Negative values in data passed to sample_weight"),
        (np.full(40, np.nan), "Input sample_weight contains NaN."),
    ],
)
def test_wrong_weights(weights, message):
    x, y = images()
    with pytest.raises(ValueError, match=f"^{message}"):
        CNNClassifier().fit(x, y, weights)


def test_wrong_class_weights():
    x, y = images()
    with pytest.raises(ArgumentError, match=r"^`class_weight` \(=\{0: -1.0\}\) must have finite numbers, 0 or above$"):
        CNNClassifier(class_weight={0: -1.0}).fit(x, y)
    with pytest.raises(ValueError, match="are not in class_weight"):
        CNNClassifier(class_weight={7: 1.0}).fit(x, y)
