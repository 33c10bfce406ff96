"""A small network in training, for tests of what happens around it."""

from __future__ import annotations

import hashlib

import numpy as np

from pellucid import nn, optim

random = np.random.default_rng(0)
x, t = random.normal(size=(8, 8, 8, 3)).astype("float32"), random.integers(0, 4, 8)


def build(threads=2, **options):
    """A model that is trained by Adam, which counts its steps."""
    net = nn.Sequential(
        nn.Conv2d(6, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4)
    )
    settings = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.Adam(1e-3), "threads": threads, **options}
    return net.build((8, 8, 3), **settings)


def digest(model):
    """Equal for equal parameters alone."""
    found = hashlib.sha256()
    for array in model.parameters.values():
        found.update(array.tobytes())
    return found.hexdigest()


def train(model, steps):
    """The digest after so many more steps."""
    for _ in range(steps):
        model.train_step(x, t)
    return digest(model)
