"""Inputs, repetition, going on, early stopping, files, search, and errors."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from estimators.made import images, vectors
from pellucid import nn, optim
from pellucid.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from pellucid.estimators import CNNClassifier, CNNRegressor, base
from pellucid.train import fit

QUICK = {"random_state": 0, "epochs": 3, "batch_size": 8}


def small(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(classes))


def halved(x: np.ndarray) -> np.ndarray:
    return x[:, ::2]


def test_digits():
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, random_state=0)
    model = CNNClassifier(image_shape=(8, 8), random_state=0).fit(train_x, train_y)
    assert model.score(test_x, test_y) >= 0.975
    assert CNNClassifier(random_state=0).fit(train_x, train_y).score(test_x, test_y) >= 0.97


def test_diabetes_is_learned_nearly_as_by_a_linear_model():
    x, y = load_diabetes(return_X_y=True)
    linear = cross_val_score(Ridge(0.1), x, y).mean()
    assert cross_val_score(CNNRegressor(random_state=0), x, y).mean() > linear - 0.08


def test_the_same_images_in_every_form():
    x, y = images()
    x = (x[..., :1] * 170).astype(np.uint8)
    flat, shaped = x.reshape(40, 36), {**QUICK, "image_shape": (6, 6)}
    expected = CNNClassifier(**QUICK).fit(x, y).predict_proba(x)
    for given, parameters in (
        (x[..., 0], QUICK),
        (x.astype(np.float64), QUICK),
        (x.astype(int).tolist(), QUICK),
        (flat, shaped),
        (flat, {**QUICK, "image_shape": (6, 6, 1)}),
        (x, shaped),
    ):
        model = CNNClassifier(**parameters).fit(given, y)
        np.testing.assert_array_equal(model.predict_proba(given), expected)
        assert model.n_features_in_ == 36
    np.testing.assert_array_equal(CNNClassifier(**shaped).fit(flat, y).predict_proba(x), expected)


def test_vectors_are_not_images():
    x, _ = vectors()
    model = CNNRegressor(**QUICK).fit(x, x[:, 0])
    assert model.model_.dtype == "float64"
    assert [value.shape for value in model.model_.parameters.values()] == [(4, 64), (64,), (64, 1), (1,)]
    assert CNNRegressor(**QUICK, dtype="float32").fit(x, x[:, 0]).model_.dtype == "float32"


def test_scale_and_offset_of_inputs_and_targets_do_not_matter():
    x, y = vectors()
    plain = CNNRegressor(**QUICK).fit(x, y).predict(x)
    np.testing.assert_allclose(CNNRegressor(**QUICK).fit(1e6 * x + 1e7, y).predict(1e6 * x + 1e7), plain, rtol=1e-5)
    np.testing.assert_allclose(CNNRegressor(**QUICK).fit(x, 1e-6 * y - 3).predict(x), 1e-6 * plain - 3, rtol=1e-9)


def test_labels_of_any_kind():
    x, y = images()
    names = np.array(["pear", "apple", "fig"])
    model = CNNClassifier(**{**QUICK, "epochs": 20}).fit(x, names[y])
    assert model.classes_.tolist() == ["apple", "fig", "pear"]
    assert (model.predict(x) == names[y]).all()
    found = model.predict_proba(x)
    assert found.shape == (40, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[found.argmax(axis=1)], model.predict(x))


def test_regression_of_several_outputs_on_images():
    x, y = images()
    targets = np.column_stack([y, 100 - 20 * y])
    model = CNNRegressor(**{**QUICK, "epochs": 20}).fit(x, targets)
    assert model.predict(x).shape == (40, 2)
    assert model.score(x, targets) > 0.9
    assert CNNRegressor(**QUICK).fit(x, targets[:, :1]).predict(x).shape == (40, 1)
    assert CNNRegressor(**QUICK).fit(x, targets[:, 0]).predict(x).shape == (40,)
    assert model.history_.epochs[-1].accuracy is None


@pytest.mark.parametrize(
    "network",
    ["lenet5", "rnn", small, small(3), nn.Graph(x := nn.Input(), nn.Linear(3)(nn.GlobalAvgPool()(nn.ReLU()(x))))],
    ids=["lenet5", "rnn", "function", "sequential", "graph"],
)
def test_networks(network):
    x, y = images()
    x = np.pad(x, ((0, 0), (11, 11), (11, 11), (0, 0)))
    model = clone(CNNClassifier(network, random_state=0, epochs=1)).fit(x, y)
    again = copy.deepcopy(model) if callable(network) else pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))


def test_a_network_for_vectors():
    x, y = vectors()
    network = nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(1))
    assert CNNRegressor(network, **QUICK).fit(x, y).model_.parameters["1.0.weight"].shape == (4, 8)


def test_optimisers():
    x, y = vectors()
    given = CNNRegressor(optimizer=optim.SGD(0.01, momentum=0.9), **QUICK).fit(x, y).predict(x)
    named = CNNRegressor(optimizer="sgd", learning_rate=0.01, **QUICK).fit(x, y).predict(x)
    np.testing.assert_array_equal(given, named)
    scheduled = CNNRegressor(optimizer="sgd", learning_rate=optim.Constant(0.01), **QUICK).fit(x, y).predict(x)
    np.testing.assert_array_equal(given, scheduled)


def test_same_random_state_same_bits():
    x, y = images()

    def found(state: object, threads: int = 1) -> bytes:
        model = CNNClassifier(**{**QUICK, "random_state": state}, threads=threads)
        return model.fit(x, y).predict_proba(x).tobytes()

    assert found(1) == found(1, threads=2) == found(1)
    assert found(1) != found(2)
    assert found(np.random.RandomState(5)) == found(np.random.RandomState(5))
    assert found(None) != found(None)


def test_partial_fit_goes_over_what_it_is_given_once():
    x, y = images()
    model = CNNClassifier(random_state=0, batch_size=8)
    for start in (0, 16, 32):
        model.partial_fit(x[start : start + 16], y[start : start + 16], classes=[0, 1, 2] if not start else None)
        assert model.model_.steps == min(start + 16, 40) // 8
    assert [result.epoch for result in model.history_.epochs] == [1, 2, 3]
    assert model.history_.best_epoch == 3


def test_partial_fit_begins_as_fit_does():
    x, y = images()
    once = CNNClassifier(**{**QUICK, "epochs": 1}).fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(CNNClassifier(**QUICK).partial_fit(x, y, [2, 0, 1]).predict_proba(x), once)


def test_partial_fit_learns():
    x, y = images()
    classifier = CNNClassifier(random_state=0, batch_size=8)
    for _ in range(20):
        classifier.partial_fit(x, y, classes=[0, 1, 2])
    assert classifier.score(x, y) == 1
    x, y = vectors()
    regressor = CNNRegressor(random_state=0, batch_size=8)
    for _ in range(30):
        regressor.partial_fit(x, y)
    assert regressor.score(x, y) > 0.9


def test_passes_have_other_orders(monkeypatch):
    x, y = images()
    seeds: list[int] = []

    def recorded(*given, seed: int, **more):
        seeds.append(seed)
        return fit(*given, seed=seed, **more)

    def passes() -> bytes:
        model = CNNClassifier(small(3), random_state=0, batch_size=8).partial_fit(x, y, classes=[0, 1, 2])
        return model.partial_fit(x, y).predict_proba(x).tobytes()

    expected = passes()
    monkeypatch.setattr(base, "fit", recorded)
    assert passes() == expected
    assert len(set(seeds)) == 2


def test_warm_start_goes_on():
    x, y = images()
    model = CNNClassifier(**QUICK, warm_start=True).fit(x, y)
    first = model.history_
    model.fit(x, y)
    assert model.model_.steps == 2 * 3 * 5
    assert model.history_.epochs[:3] == first.epochs
    assert [result.epoch for result in model.history_.epochs] == [1, 2, 3, 4, 5, 6]
    assert model.history_.epochs[3].loss < first.epochs[0].loss
    cold = CNNClassifier(**QUICK).fit(x, y)
    assert cold.fit(x, y).model_.steps == 3 * 5


def test_early_stopping():
    x, y = images(60)
    y = np.random.default_rng(0).permutation(y)  # nothing to be found: the loss of other images only rises
    model = CNNClassifier(random_state=0, epochs=60, early_stopping=True, n_iter_no_change=3, validation_fraction=0.25)
    history = model.fit(x, y).history_
    assert history.stopped_early
    assert len(history.epochs) == history.best_epoch + 3
    losses = [result.validation_loss for result in history.epochs]
    assert losses.index(min(losses)) == history.best_epoch - 1
    longer = model.set_params(warm_start=True).fit(x, y).history_
    assert longer.epochs[: len(history.epochs)] == history.epochs
    assert longer.best_epoch > len(history.epochs)
    x, y = vectors()
    regressor = CNNRegressor(random_state=0, epochs=200, early_stopping=True).fit(x, y)
    assert regressor.history_.epochs[0].validation_loss is not None


def test_verbose_writes_a_line_an_epoch(capsys):
    x, y = images()
    CNNClassifier(**QUICK, verbose=True).fit(x, y)
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["epoch", "1/3", "2/3", "3/3"]
    CNNClassifier(**QUICK).fit(x, y)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_predicts_and_goes_on_to_the_same_bits(copied):
    x, y = images()
    model = CNNClassifier("vgg", random_state=0, batch_size=16)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    model.partial_fit(x, y, classes=[0, 1, 2])
    other = copied(model)
    np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    model.partial_fit(x[:20], y[:20])
    other.partial_fit(x[:20], y[:20])
    np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    assert other.history_.epochs[0] == model.history_.epochs[0]


def test_a_copy_does_not_need_the_parameters_that_were_changed_since(tmp_path):
    x, y = vectors()
    model = CNNRegressor(**QUICK).fit(x, y)
    model.set_params(network=nn.Sequential(nn.Linear(1)), dtype="float32", random_state=9)
    joblib.dump(model, tmp_path / "model.joblib")
    other = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    np.testing.assert_array_equal(other.partial_fit(x, y).predict(x), model.partial_fit(x, y).predict(x))


def test_unfitted():
    model = clone(CNNClassifier(small, epochs=7))
    assert pickle.loads(pickle.dumps(CNNClassifier(epochs=7))).epochs == 7
    assert model.epochs == 7
    with pytest.raises(NotFittedError):
        model.predict(images()[0])


@pytest.mark.parametrize("jobs", [1, 2])
def test_grid_search_over_images(jobs):
    x, y = images()
    choices = {"network": [None, small(3)], "learning_rate": [1e-6, 0.01]}
    search = GridSearchCV(CNNClassifier(**{**QUICK, "epochs": 8}), choices, cv=2, n_jobs=jobs)
    search.fit(x, y)
    assert search.best_params_ == {"network": None, "learning_rate": 0.01}
    assert search.best_score_ == 1


def test_pipeline_and_cross_validation_on_images():
    x, y = images()
    pipeline = make_pipeline(FunctionTransformer(halved), CNNClassifier(**{**QUICK, "epochs": 20}))
    assert cross_val_score(pipeline, x, y, cv=2).mean() == 1
    pipeline.fit(x, y, cnnclassifier__sample_weight=np.arange(40))
    assert pipeline.predict(x[:3]).tolist() == [0, 1, 2]


def test_numbers_of_numpy_are_numbers():
    x, y = vectors()
    model = CNNRegressor(random_state=0, epochs=np.int64(2), batch_size=np.int32(7), learning_rate=np.float32(0.01))
    assert len(model.fit(x, y).history_.epochs) == 2


WRONG = {
    "epochs": (0, "`epochs` (=0) must be a whole number of at least 1"),
    "batch_size": (2.5, "`batch_size` (=2.5) must be a whole number of at least 1"),
    "threads": (True, "`threads` (=True) must be a whole number of at least 1"),
    "learning_rate": (0, "`learning_rate` (=0) must be a finite number above 0, or a schedule"),
    "optimizer": (
        "adma",
        "`optimizer` (='adma') must be one of sgd, adam, adamw, rmsprop, adagrad, or an optimiser",
    ),
    "network": ("s4", "`network` (='s4') must be one of lenet5, vgg, resnet, rnn, or a network"),
    "image_shape": ((6, 0), "`image_shape` (=(6, 0)) must be (height, width) or (height, width, channels)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameters(name):
    value, message = WRONG[name]
    x, y = images()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below, word for word
        CNNClassifier(**{name: value}).fit(x, y)
    assert str(caught.value) == message


MISFITS = [
    ({"network": small(4)}, "`network` gives (4,) for an input; it must give (3,)"),
    ({"optimizer": 3}, "`optimizer` must be a name or an optimiser, not int"),
    (
        {"network": 5},
        "`network` must be None, a name, an nn.Sequential, an nn.Graph, or a function from the number of outputs to "
        "one of these, not int",
    ),
    (
        {"early_stopping": True, "validation_fraction": 1.0},
        "`validation_fraction` (=1.0) must be between 0 and 1, both excluded",
    ),
    (
        {"early_stopping": True, "n_iter_no_change": 0},
        "`n_iter_no_change` (=0) must be a whole number of at least 1",
    ),
    ({"image_shape": (6, 6)}, "`X` has images (6, 6, 2), `image_shape` is (6, 6, 1)"),
]


@pytest.mark.parametrize(("parameters", "message"), MISFITS)
def test_parameters_that_do_not_fit(parameters, message):
    x, y = images()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below, word for word
        CNNClassifier(**parameters).fit(x, y)
    assert str(caught.value) == message


def test_another_type():
    with pytest.raises(DtypeError, match=r"^`dtype` \(='float16'\) must be 'float32' or 'float64'$"):
        CNNClassifier(dtype="float16").fit(*images())


def test_wrong_inputs():
    x, y = images()
    with pytest.raises(ShapeError, match=r"^`X` \(40, 1, 6, 6, 2\) must be vectors \(samples, features\), or images "):
        CNNClassifier().fit(x[:, None], y)
    with pytest.raises(ShapeError, match=r"^`X` \(40, 0, 6, 2\) has images without pixels$"):
        CNNClassifier().fit(x[:, :0], y)
    with pytest.raises(ShapeError, match=r"^`image_shape` \(6, 6, 1\) has 36 numbers an image, `X` \(40, 72\) has 72$"):
        CNNClassifier(image_shape=(6, 6)).fit(x.reshape(40, -1), y)
    with pytest.raises(ArgumentError, match=r"^`y` has one class only, \[0\]; a classifier needs at least 2 classes$"):
        CNNClassifier().fit(x, np.zeros(40, int))
    with pytest.raises(ValueError, match="Unknown label type"):
        CNNClassifier().fit(x, np.linspace(0, 1, 40))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CNNClassifier().fit(x, y[1:])
    x[3, 2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        CNNClassifier().fit(x, y)


def test_inputs_of_another_form_than_before():
    x, y = images()
    model = CNNClassifier(**QUICK).fit(x, y)
    message = r"^`X` has images \(6, 6, 1\), but CNNClassifier was fitted to images \(6, 6, 2\)$"
    with pytest.raises(ShapeError, match=message):
        model.predict(x[..., :1])
    with pytest.raises(ShapeError, match=message):
        model.partial_fit(x[..., :1], y)
    with pytest.raises(ShapeError, match=r"^`X` has vectors of 72, but CNNClassifier was fitted to images"):
        model.predict(x.reshape(40, -1))
    regressor = CNNRegressor(**QUICK, warm_start=True).fit(x, y)
    with pytest.raises(ShapeError, match=r"^`y` has 2 columns, but CNNRegressor was fitted to 1$"):
        regressor.fit(x, np.column_stack([y, y]))


def test_classes_may_not_change():
    x, y = images()
    with pytest.raises(ArgumentError, match=r"^`classes` must be given in the first call of partial_fit$"):
        CNNClassifier().partial_fit(x, y)
    with pytest.raises(ArgumentError, match=r"^`classes` \(=\[1\]\) must be at least 2$"):
        CNNClassifier().partial_fit(x, y, classes=[1])
    model = CNNClassifier(**QUICK, warm_start=True).partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ArgumentError, match=r"^`classes` are \[0, 1\], but CNNClassifier was fitted to \[0, 1, 2\]"):
        model.partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ArgumentError, match=r"^`y` has the classes \[0, 1\], but CNNClassifier was fitted to \[0"):
        model.fit(x, y % 2)
    with pytest.raises(ArgumentError, match=r"^`y` has the label .*4.*, which is not among the classes \[0, 1, 2\]$"):
        model.partial_fit(x, y + 2)


def test_partial_fit_refuses_what_needs_all_data():
    x, y = images()
    with pytest.raises(ArgumentError, match=r"^`early_stopping` \(=True\) needs all data at once: use fit, not part"):
        CNNClassifier(early_stopping=True).partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ArgumentError, match=r"^`class_weight` \(='balanced'\) needs all data at once: use fit, or"):
        CNNClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ArgumentError, match=r"^`early_stopping` \(=True\) needs all data at once: use fit, not part"):
        CNNRegressor(early_stopping=True).partial_fit(x, y)


def test_what_fails_leaves_the_estimator_as_it_was():
    x, y = images()
    model = CNNClassifier(**QUICK).fit(x, y)
    before, attributes = model.predict_proba(x), dict(vars(model))
    model.set_params(network=small(5))
    with pytest.raises(ArgumentError):
        model.fit(x[:, :4], np.array(["a", "b"])[y % 2])
    model.set_params(network=None, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(TrainingError):
        model.fit(x[:, :4], y)
    model.set_params(optimizer="adamw", learning_rate=0.003)
    assert vars(model) == attributes
    np.testing.assert_array_equal(model.predict_proba(x), before)
    unfitted = CNNClassifier(learning_rate=-1)
    with pytest.raises(ArgumentError):
        unfitted.fit(x, y)
    assert vars(unfitted) == CNNClassifier(learning_rate=-1).get_params()
