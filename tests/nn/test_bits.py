"""The same bits for every number of threads, and the same results on every level of processor."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.emit import target
from pellucid.emit.targets import missing_features

TESTS = Path(__file__).parent.parent


def residual():
    """Convolutions, batch norm, a residual, pooling: with 64 channels, so that Winograd's form takes part."""
    x = nn.Input()
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(64, 3, padding=1)(x)))
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(64, 3, padding=1)(h)) + h)
    return nn.Graph(x, nn.Linear(10)(nn.GlobalAvgPool()(nn.MaxPool2d(2)(h))))


def normed():
    """The sums of batch norm over 19 images cannot be cut into parts: they are made in memory, part by part."""
    return nn.Sequential(
        nn.Conv2d(16, 3),
        nn.BatchNorm2d(),
        nn.ReLU(),
        nn.Conv2d(16, 3),
        nn.BatchNorm2d(),
        nn.GlobalAvgPool(),
        nn.Linear(10),
    )


def trained(make, shape, batch, accuracy, threads):
    """The digest of all parameters after 20 steps, and whether Winograd's form was used."""
    random = np.random.default_rng(batch)
    x, t = random.normal(size=(batch, *shape)).astype("float32"), random.integers(0, 10, batch)
    options = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(0.01, momentum=0.9)}
    with make().build(shape, threads=threads, accuracy=accuracy, **options) as model:
        for _ in range(20):
            model.train_step(x, t)
        plans = next(iter(model._programs.values())).compiled.engine.plans
        found = hashlib.sha256(b"".join(array.tobytes() for array in model.parameters.values()))
        return found.hexdigest(), any(name.endswith(".M") for name in plans)


@pytest.mark.parametrize("accuracy", ["standard", "fast", "direct"])
@pytest.mark.parametrize("batch", [8, 7])
@pytest.mark.parametrize(
    ("make", "shape"), [(nn.lenet5, (28, 28, 1)), (residual, (8, 8, 3))], ids=["lenet5", "residual"]
)
def test_the_same_bits_for_every_number_of_threads(make, shape, batch, accuracy):
    found = [trained(make, shape, batch, accuracy, threads) for threads in (1, 2, 3, 4)]
    assert len(set(found)) == 1
    assert found[0][1] == (make is residual and accuracy != "direct")


def test_the_same_bits_where_sums_are_made_in_memory():
    assert len({trained(normed, (20, 20, 3), 19, "standard", threads) for threads in (1, 2, 3, 4)}) == 1


# Oracles of every make: PyTorch for operations, the interpreter for passes, the literal evaluation for the rewrite.
CHOSEN = (
    "ops/test_convolution.py",
    "schedule/test_passes.py::test_a_pass_computes_what_its_nests_did",
    "network/test_fast.py::test_epilogues_borders_and_odd_maps",
    "network/test_fast.py::test_errors_of_every_pass[64 channels-Gaussian]",
    "nn/test_backends.py::test_random_networks[1]",
)


@pytest.mark.long
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
def test_other_levels_of_processor(level):
    if missing_features(target(level)):
        pytest.skip(f"this processor runs no code for {level}")
    paths = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-n0", "-pno:cacheprovider", *(str(TESTS / name) for name in CHOSEN)],
        env={**os.environ, "PELLUCID_TARGET": level, "PYTHONPATH": paths},
        cwd=TESTS.parent, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout or "[100%]" in done.stdout
