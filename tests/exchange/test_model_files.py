"""Models as files: what comes back computes and trains to the same bits, and damage is said, not met later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.json_values import parse_json
from pellucid.exchange.model_files import (
    ModelFiles,
    Preprocessing,
    config_as_bytes,
    parameters_as_bytes,
    read_model,
    read_parameters,
)
from pellucid.nn.layer import Stage
from pellucid.nn.written import WrittenLayer

PREPROCESSING = Preprocessing("gray", "crop", (0.25,), (0.5,))
OWN = nn.EquationLayer(
    "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]",
    extents={"s": 3, "t": 3, "k": 4},
    parameters={"w": "he_normal"},
)


@dataclass(frozen=True)
class Doubling:
    """A layer of somebody else's: its code is not there when the model is loaded."""

    factor: float = 2.0

    def stage(self, *shapes: tuple[int, ...]) -> Stage:
        from pellucid.nn.equations.notation import system

        batch = shapes[0][0]
        return Stage(system("z[n,i,j,c] = x[n,i,j,c] * F / B * B", constants={"F": self.factor, "B": batch}))


def chain(*layers: nn.Layer) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(3))


NETWORKS = {
    "lenet5": (nn.lenet5(3), (28, 28, 1)),
    "resnet": (nn.resnet(3, depth=10, width=4), (16, 16, 2)),
    "vgg with dropout": (nn.vgg(3, width=4, dropout=0.5), (16, 16, 2)),
    "gru": (nn.rnn(3, features=8), (9, 7, 1)),
    "lstm of two layers both ways": (
        nn.Sequential(
            nn.Flatten(start_dim=2), nn.LSTM(5, num_layers=2, bidirectional=True, output="last"), nn.Linear(3)
        ),
        (6, 5, 1),
    ),
    "own equation": (chain(OWN), (8, 8, 2)),
    "own class": (chain(Doubling()), (4, 4, 2)),
    "own recurrence": (
        nn.Sequential(
            nn.Flatten(start_dim=2),
            nn.EquationLayer(
                "h[n,t,k] = tanh(sum(c) x[n,t,c] * u[c,k] + sum(j) h[n,t-1,j] * w[j,k])\nz[n,k] = h[n,5,k]",
                extents={"k": 4, "j": 4},
                parameters={"u": "he_normal", "w": "orthogonal"},
            ),
            nn.Linear(3),
        ),
        (6, 5, 1),
    ),
    "every other layer": (
        chain(
            nn.Conv2d(4, 3, padding="same", groups=2),
            nn.BatchNorm2d(affine=False),
            nn.LeakyReLU(),
            nn.AvgPool2d(2),
            nn.LayerNorm(),
            nn.PReLU(),
            nn.LocalResponseNorm(3),
            nn.ConvTranspose2d(4, 2, stride=2),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(3),
        ),
        (8, 8, 2),
    ),
}


def build(network: nn.Sequential | nn.Graph, shape: tuple[int, ...], **options: object) -> nn.Model:
    return network.build(shape, loss=nn.CrossEntropyLoss(), optimizer=optim.AdamW(0.01), seed=3, **options)


def written(model: nn.Model, folder: Path, **entries: object) -> Path:
    files = ModelFiles(model.blueprint, **{"class_names": ("a", "b", "c"), "preprocessing": PREPROCESSING, **entries})
    (folder / "config.json").write_bytes(config_as_bytes(files.config()))
    (folder / "model.safetensors").write_bytes(parameters_as_bytes(dict(model.parameters)))
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_back_computes_and_trains_to_the_same_bits(name: str, tmp_path: Path):
    network, shape = NETWORKS[name]
    model = build(network, shape)
    read = read_model(written(model, tmp_path))
    assert read.class_names == ("a", "b", "c")
    assert read.preprocessing == PREPROCESSING
    assert all(isinstance(place.layer, WrittenLayer) for place in read.blueprint.topology.places)
    again = read.build()
    random = np.random.default_rng(0)
    for rows in (5, 5, 3):
        x, t = random.random((rows, *shape), np.float32), np.arange(rows) % 3
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
        assert again.train_step(x, t) == model.train_step(x, t)
    for parameter, array in model.parameters.items():
        assert again.parameters[parameter].tobytes() == array.tobytes()
    assert again.summary() == model.summary()
    # Written again it is the same file.
    assert (
        config_as_bytes(ModelFiles(again.blueprint, read.class_names, read.preprocessing).config())
        == (tmp_path / "config.json").read_bytes()
    )


def test_the_config_has_the_equations_to_read(tmp_path: Path):
    config = json.loads((written(build(*NETWORKS["own equation"]), tmp_path) / "config.json").read_text())
    assert config["layers"][0]["kind"] == "EquationLayer"
    assert config["layers"][0]["inference"]["equations"] == ["z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]"]
    assert config["training"]["optimizer"]["kind"] == "AdamW"


def test_a_constant_that_grows_with_the_batch_is_kept_as_that(tmp_path: Path):
    config = json.loads((written(build(*NETWORKS["vgg with dropout"]), tmp_path) / "config.json").read_text())
    norm = next(layer for layer in config["layers"] if layer["kind"] == "BatchNorm2d")
    assert norm["training"]["constants"]["N"] == {"fixed": 0, "for_each_of_the_batch": 256}


@dataclass(frozen=True)
class Unequal:
    """Its text depends on the batch."""

    def stage(self, *shapes: tuple[int, ...]) -> Stage:
        from pellucid.nn.equations.notation import system

        return Stage(system(f"z[n,i,j,c] = x[n,i,j,c] * {shapes[0][0]}"))


@dataclass(frozen=True)
class Shrinking:
    """A constant of it shrinks with the batch."""

    def stage(self, *shapes: tuple[int, ...]) -> Stage:
        from pellucid.nn.equations.notation import system

        return Stage(system("z[n,i,j,c] = x[n,i,j,c] * F", constants={"F": 1 / shapes[0][0]}))


@pytest.mark.parametrize(("layer", "what"), [(Unequal(), "the text of its equations"), (Shrinking(), "its constant F")])
def test_what_cannot_be_written_down_is_refused(layer: nn.Layer, what: str):
    model = build(chain(layer), (4, 4, 2))
    with pytest.raises(ArgumentError) as caught:
        ModelFiles(model.blueprint).config()
    kind = type(layer).__name__
    assert str(caught.value) == (
        f"layer 0 ({kind}) cannot be saved as equations: {what} depends on the size of the batch"
    )


@dataclass(frozen=True)
class OwnOptimizer:
    """What this package does not know is not kept."""

    lr: float = 0.1


def test_losses_and_optimisers_come_back(tmp_path: Path):
    from pellucid.exchange.described import as_data, from_data

    for value in (
        nn.CrossEntropyLoss(class_weights=(1.0, 2.0, 0.5), label_smoothing=0.1),
        nn.BCELoss(),
        optim.SGD(optim.Warmup(5, optim.Cosine(0.1, 100)), momentum=0.9, nesterov=True),
        optim.AdamW(optim.OneCycle(0.01, 50)),
        optim.L2(0.01),
        None,
    ):
        data = json.loads(json.dumps(as_data(value)))
        assert (None if data is None else from_data(parse_json(json.dumps(data), "x.json"))) == value
    assert as_data(OwnOptimizer()) is None


def test_another_head_for_other_classes(tmp_path: Path):
    model = build(*NETWORKS["resnet"])
    read = read_model(written(model, tmp_path))
    assert read.with_classes(("a", "b", "c")) is read
    other = read.with_classes(("x", "y"))
    fine = other.build(freeze=("body",), loss=nn.CrossEntropyLoss())
    head = other.blueprint.topology.places[-1].name
    for name, array in model.parameters.items():
        if name.rpartition(".")[0] != head:
            np.testing.assert_array_equal(fine.parameters[name], array)
    assert fine.output_shape == (2,)
    before = fine.parameters
    kept = {name: before[name] for name in before}
    fine.train_step(np.random.default_rng(0).random((4, 16, 16, 2), np.float32), np.arange(4) % 2)
    changed = {name for name in kept if not np.array_equal(kept[name], fine.parameters[name])}
    assert changed == {f"{head}.weight", f"{head}.bias"}


def test_a_head_that_is_no_linear_layer_is_not_replaced(tmp_path: Path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3), nn.Softmax())
    model = network.build((2, 2, 1), loss=nn.CategoricalCrossEntropyLoss())
    with pytest.raises(ArgumentError) as caught:
        read_model(written(model, tmp_path)).with_classes(("x", "y"))
    assert str(caught.value) == (
        "the head cannot be replaced: the network ends with layer 2 (Softmax), not with a Linear layer"
    )


def replaced(folder: Path, old: str, new: str) -> Path:
    text = (folder / "config.json").read_text()
    assert old in text
    (folder / "config.json").write_text(text.replace(old, new, 1))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"pellucid model"', '"a model"', "{config}: format must be 'pellucid model', is 'a model'"),
        ('"version": 1', '"version": 7', "{config}: version is 7; this package reads up to 1"),
        ('"version": 1', '"version": "1"', "{config}: version must be a whole number of at least 0, is '1'"),
        ('"dtype": "float32"', '"dtype": "int8"', "{config}: `dtype` (='int8') must be 'float32' or 'float64'"),
        ('"name": "1"', '"name": "0"', "{config}: layers[1]: a second layer is called '0'"),
        ('"reads": ["0"]', '"reads": ["9"]', "{config}: layers[1].reads[0] (='9') is no layer before it"),
        ('"kind": "AdamW"', '"kind": "Adamant"',
         "{config}: training.optimizer: there is no loss, optimiser or schedule called 'Adamant'"),
        ('"lr": 0.01', '"lr": -1', "{config}: training.optimizer: `lr` (=-1) must be a finite number above 0"),
        ('"k": 4', '"k": 5', "{config}: layer 0 (EquationLayer): index `k` has two extents: 5 given and 4 in w"),
        ('"shape": [3, 3, 2, 4]', '"shape": [3, 3, 2, 40000000]', None),
        ('["z[n,i,j,k] = sum', '["z[n,i,j,k] = sun', None),
        ("{", "[", None),
    ],
)  # fmt: skip
def test_a_damaged_config_is_said(tmp_path: Path, old: str, new: str, message: str | None):
    folder = replaced(written(build(*NETWORKS["own equation"]), tmp_path), old, new)
    with pytest.raises(DataError) as caught:
        read_model(folder).build()
    if message is not None:
        assert str(caught.value).startswith(message.format(config=folder / "config.json"))


def test_every_truncation_and_flip_of_the_parameters_is_an_error_or_harmless(tmp_path: Path):
    folder = written(build(*NETWORKS["own equation"]), tmp_path)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be read"):
            read_parameters(path)
    for place in range(0, 400):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_model(folder).build()
        except DataError as error:
            assert str(tmp_path) in str(error) or "parameter" in str(error)  # noqa: PT017


def test_missing_files(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read_model(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'config.json'}: cannot be read: No such file or directory"
    written(build(*NETWORKS["own equation"]), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read: "):
        read_model(tmp_path)


def test_no_module_imports_pickle():
    import ast

    source = Path(nn.__file__).parent.parent
    for module in source.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"}, module
