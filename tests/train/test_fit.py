"""`fit` from Python: what goes together, what comes back, and what the folder has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError
from pellucid.train import Callback, Dataset, Part, fit, load_classifier, load_digits, resume
from train.linear_model import LinearModel

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = {"epochs": 2, "batch_size": 16, "seed": 0}


@pytest.fixture(scope="module")
def data() -> Dataset:
    digits = load_digits()
    return Dataset(digits.train.take(np.arange(120)), digits.test.take(np.arange(40)), digits.class_names)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(10))


def build(network: nn.Sequential, data: Dataset, seed: int = 0) -> nn.Model:
    return network.build(data.image_shape, loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(0.01), seed=seed)


def test_a_folder_changes_no_bit(data: Dataset, tmp_path: Path):
    split = data.with_validation(0.2).normalised()
    plain, kept = build(network(), data), build(network(), data)
    first = fit(plain, split, **QUICK)
    second = fit(kept, split, name="run", runs=tmp_path, **QUICK)
    assert first.model is plain
    assert second.folder == tmp_path / "run"
    assert second.evaluation is not None
    for name, array in plain.parameters.items():
        np.testing.assert_array_equal(kept.parameters[name], array)
    assert load_classifier(tmp_path / "run").model.parameters["3.weight"].tobytes() == array_of(plain)


def array_of(model: nn.Model) -> bytes:
    return model.parameters["3.weight"].tobytes()


def test_a_built_model_goes_on_in_its_folder(data: Dataset, tmp_path: Path):
    split = data.with_validation(0.2).normalised()
    fit(build(network(), data), split, name="long", runs=tmp_path, epochs=4, batch_size=16)
    fit(build(network(), data), split, name="short", runs=tmp_path, epochs=2, batch_size=16)
    history = resume(tmp_path / "short", data=split, epochs=4)
    assert len(history.epochs) == 4
    for name in ("best", "last"):
        paths = [tmp_path / run / name / "model.safetensors" for run in ("long", "short")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_networks_by_name_and_by_object(data: Dataset):
    by_name = fit("lenet5", data, threads=1, augment="none", validation=0.2, **QUICK)
    by_object = fit(nn.lenet5(), data, threads=1, augment="none", validation=0.2, **QUICK)
    assert by_name.model is not None
    assert by_object.model is not None
    for name, array in by_name.model.parameters.items():
        np.testing.assert_array_equal(by_object.model.parameters[name], array)
    assert by_name.folder is None


def test_a_layer_of_ones_own_reloads_without_its_code(data: Dataset, tmp_path: Path):
    own = nn.EquationLayer(
        "z[n,i,j,k] = max(0, sum(s,t,c) x[n,2*i+s,2*j+t,c] * w[s,t,c,k])",
        extents={"s": 3, "t": 3, "k": 4},
        parameters={"w": "he_normal"},
    )
    history = fit(nn.Sequential(own, nn.Flatten(), nn.Linear(10)), data, runs=tmp_path, name="own", **QUICK)
    assert history.model is not None
    config = json.loads((tmp_path / "own" / "best" / "config.json").read_text())
    assert config["layers"][0]["inference"]["equations"][0].startswith("z[n,i,j,k] = max(0, sum(s,t,c)")
    assert "model" not in (tmp_path / "own" / "config.toml").read_text()
    loaded = load_classifier(tmp_path / "own").model
    x = np.asarray(data.normalised().test.images[:4])
    np.testing.assert_array_equal(loaded.predict(x), history.model.predict(x))


def test_a_regression_has_a_folder_too(tmp_path: Path):
    random = np.random.default_rng(0)
    images = random.random((60, 4, 4, 1)).astype(np.float32)
    targets = images.mean((1, 2, 3))[:, None].astype(np.float32)
    part = Part(images, targets)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1)).build(
        (4, 4, 1), loss=nn.MSELoss(), optimizer=optim.Adam(0.05), seed=0
    )
    history = fit(model, Dataset(part, part, (), part), epochs=15, batch_size=10, name="run", runs=tmp_path)
    assert history.epochs[-1].loss < 0.1 * history.epochs[0].loss
    assert history.epochs[-1].accuracy is None
    assert (tmp_path / "run" / "report.html").exists()
    assert 'class_names": []' in (tmp_path / "run" / "best" / "config.json").read_text()


def test_mixup_trains_on_probabilities(data: Dataset):
    history = fit("lenet5", data, threads=1, augment="mixup=0.4", validation=0.2, epochs=3, batch_size=32)
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_what_does_not_go_together(data: Dataset):
    model = build(network(), data)
    cases = [
        ({"lr": 0.1}, "`lr` (=0.1) belongs to `build`: the model is built already"),
        ({"validation": 0.2}, "`validation` (=0.2) is not for a built model: see `Dataset.with_validation`"),
        ({"image_size": (8, 8)}, "`image_size` (=(8, 8)) is of loading: the data set is loaded already"),
        ({"freeze": ["0"]}, "`freeze` (=('0',)) belongs to `build`: the model is built already"),
    ]
    for options, message in cases:
        with pytest.raises(ArgumentError) as caught:
            fit(model, data, **QUICK, **options)
        assert str(caught.value) == message
    with pytest.raises(ArgumentError) as caught:
        fit(model, "digits", **QUICK)
    assert str(caught.value) == ("a built model takes a data set as it is: `pellucid.train.load(...)`, `.normalised()`")
    with pytest.raises(ArgumentError) as caught:
        fit("lenet5", data, color="gray", **QUICK)
    assert str(caught.value) == "`color` (='gray') is of loading: the data set is loaded already"
    with pytest.raises(ArgumentError) as caught:
        fit(LinearModel(4, 3), data, name="run", **QUICK)
    assert str(caught.value) == "a run folder keeps a model of this package, not a LinearModel"


class Failing(Callback):
    def on_epoch_end(self, result):
        raise RuntimeError("somebody's callback")


def test_a_callback_that_fails_loses_nothing(data: Dataset, tmp_path: Path):
    split = data.with_validation(0.2).normalised()
    options = {"runs": tmp_path, "epochs": 3, "batch_size": 16}
    fit("lenet5", split, name="whole", threads=1, **options)
    with pytest.raises(RuntimeError, match="somebody's callback"):
        fit("lenet5", split, name="run", threads=1, callbacks=[Failing()], **options)
    resume(tmp_path / "run", data=split)
    for name in ("best", "last"):
        paths = [tmp_path / run / name / "model.safetensors" for run in ("whole", "run")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
