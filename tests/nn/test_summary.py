"""The summary with kernels, against a file: `python tests/nn/test_summary.py` writes it anew."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.emit.targets import missing_features, target

GOLDEN = Path(__file__).parent / "golden" / "summary.txt"
TARGET = "x86-64-v3"


def trained():
    """A network after a step: a convolution that takes Winograd's form, its gradients, a dense layer."""
    net = nn.Sequential(nn.Conv2d(16, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4))
    model = net.build((8, 8, 16), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1))
    random = np.random.default_rng(0)
    model.train_step(random.normal(size=(4, 8, 8, 16)).astype("float32"), random.integers(0, 4, 4))
    return model


def on_the_golden_machine(patch):
    """The summary for a processor whose caches are not this one's."""
    room = import_module("pellucid.emit.targets")
    patch.setenv("PELLUCID_TARGET", TARGET)
    patch.setattr(room, "_cache_sizes", lambda: (32 << 10, 1 << 20))
    room._named.cache_clear()
    text = trained().summary(kernels=True)
    room._named.cache_clear()
    return text


@pytest.mark.skipif(bool(missing_features(target(TARGET))), reason="the file is for AVX2")
def test_kernels_forward_and_backward():
    with pytest.MonkeyPatch.context() as patch:
        text = on_the_golden_machine(patch)
    assert text + "\n" == GOLDEN.read_text()
    assert max(map(len, text.splitlines())) <= 120


def test_before_any_step_it_shows_inference():
    text = nn.Sequential(nn.Linear(16), nn.ReLU()).build((8,)).summary(kernels=True)
    assert "  forward 1.z: direct: no index adds an output axis and a summed axis; " in text
    assert "backward" not in text


def test_the_reference_has_no_kernels():
    model = nn.Sequential(nn.Linear(16)).build((8,), backend="reference")
    assert model.summary(kernels=True) == model.summary()


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        GOLDEN.write_text(on_the_golden_machine(patch) + "\n")
