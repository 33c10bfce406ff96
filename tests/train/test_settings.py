"""Settings: what they take, how they are written and read, and what stands in for what was not given."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.train import Dataset, Part, Settings
from pellucid.train.build import fill_settings

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(
    source=TEXTS,
    freeze=st.lists(TEXTS, max_size=3).map(tuple),
    lr=st.floats(1e-300, 1e300),
    seed=st.integers(0, 2**60),
    tensorboard=st.booleans(),
    size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
)
def test_a_file_gives_back_what_was_written(source, freeze, lr, seed, tensorboard, size):
    settings = Settings(source, freeze=freeze, lr=lr, seed=seed, tensorboard=tensorboard, image_size=size)
    assert Settings.of(tomllib.loads(settings.toml())) == settings


def test_every_setting_has_a_rule():
    for field in fields(Settings):
        with pytest.raises(ArgumentError) as caught:
            replace(Settings("digits"), **{field.name: object()})
        name = {"from_": "from"}.get(field.name, field.name)
        assert str(caught.value).startswith(f"`{name}` (=<object")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` (=0) must be a whole number of at least 1"),
        ({"epochs": True}, "`epochs` (=True) must be a whole number of at least 1"),
        ({"lr": float("inf")}, "`lr` (=inf) must be a finite number above 0"),
        ({"validation": 1.0}, "`validation` (=1.0) must be a number of at least 0 and below 1"),
        ({"optimizer": "adan"}, "`optimizer` (='adan') is not known; did you mean 'adam'?"),
        ({"color": "mauve"}, "`color` (='mauve') is not known; known: auto, gray, rgb"),
        ({"image_size": (0, 5)}, "`image_size` (=(0, 5)) must be a height and a width of at least 1 pixel"),
        ({"freeze": ("a", 1)}, "`freeze` (=('a', 1)) must be a list of texts"),
        ({"from_": ""}, "`from` (='') must be a text"),
        ({"source": "bad \udcff"}, "`source` (='bad \\udcff') must be a text"),
    ],
)
def test_what_is_refused(changes: dict, message: str):
    with pytest.raises(ArgumentError) as caught:
        Settings(**{"source": "digits", **changes})
    assert str(caught.value) == message


def test_names_with_either_line():
    assert Settings.of({"source": "digits", "batch-size": 5, "class_weight": "balanced"}).batch_size == 5


def data(count: int = 30, shape: tuple[int, ...] = (28, 28, 1)) -> Dataset:
    part = Part(np.zeros((count, *shape), np.float32), np.arange(count) % 3)
    return Dataset(part, part, ("a", "b", "c"))


def test_what_suits_the_images():
    small = fill_settings(Settings("x"), data())
    assert (small.model, small.optimizer, small.epochs, small.batch_size) == ("lenet5", "adamw", 30, 50)
    assert "flip" not in (small.augment or "")  # of grey pictures nobody knows
    colour = fill_settings(Settings("x"), data(shape=(64, 64, 3)))
    assert (colour.model, colour.augment) == ("resnet", "photos")
    many = fill_settings(Settings("x"), data(10_001))
    assert (many.epochs, many.batch_size) == (10, 128)
    digits = fill_settings(Settings("digits"), data())
    assert (digits.epochs, digits.augment) == (24, "digits")


def test_what_is_given_stays():
    given = Settings("x", model="vgg", optimizer="sgd", epochs=2, augment="none", threads=3, seed=9)
    filled = fill_settings(given, data())
    assert (filled.model, filled.epochs, filled.augment, filled.threads, filled.seed) == ("vgg", 2, "none", 3, 9)
    # Another optimiser has its own usual rate, and no decay.
    assert (filled.lr, filled.weight_decay, filled.momentum) == (0.02, 0.0, 0.9)
    assert fill_settings(filled, data()) == filled
