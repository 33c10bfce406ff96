"""Frozen parameters: which they are, that they stay, and what that changes."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError

RANDOM = np.random.default_rng(0)
X = RANDOM.random((6, 8, 8, 2), np.float32)
T = np.arange(6) % 3


def build(*freeze: str, **options: object) -> nn.Model:
    network = nn.Sequential(
        nn.Conv2d(4, 3),
        nn.BatchNorm2d(),
        nn.Sequential(nn.Conv2d(4, 3), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(3),
    )
    return network.build((8, 8, 2), loss=nn.CrossEntropyLoss(), optimizer=optim.AdamW(0.01), freeze=freeze, **options)


def changed(model: nn.Model, steps: int = 3) -> set[str]:
    before = {name: model.parameters[name] for name in model.parameters}
    for _ in range(steps):
        model.train_step(X, T)
    return {name for name, array in before.items() if not np.array_equal(model.parameters[name], array)}


ALL = {
    "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "2.0.weight", "2.0.bias",
    "4.weight", "4.bias",
}  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ALL),
        (("0",), ALL - {"0.weight", "0.bias"}),
        (("0.bias", "4.*"), ALL - {"0.bias", "4.weight", "4.bias"}),
        (("2",), ALL - {"2.0.weight", "2.0.bias"}),
        (("*.weight",), {"0.bias", "1.bias", "1.running_mean", "1.running_var", "2.0.bias", "4.bias"}),
        (("1",), ALL - {"1.weight", "1.bias", "1.running_mean", "1.running_var"}),
        (("body",), {"4.weight", "4.bias"}),
    ],
)
def test_what_is_frozen_stays(patterns: tuple[str, ...], left: set[str]):
    model = build(*patterns)
    assert changed(model) == left
    _, gradients = model.gradients(X, T)
    assert set(gradients) == {name for name in left if "running" not in name}


def test_a_frozen_norm_uses_its_running_statistics():
    model, plain = build("1"), build()
    state = {"1.running_mean": np.full(4, 0.3), "1.running_var": np.full(4, 2.0)}
    for one in (model, plain):
        one.load_parameters(state, strict=False)
    frozen, _ = model.gradients(X, T)
    assert frozen == pytest.approx(model.evaluate(X, T)["loss"], rel=1e-5)  # in training what it is in inference
    assert plain.gradients(X, T)[0] != pytest.approx(frozen, rel=1e-3)


def test_the_gradients_of_what_is_left_are_those_of_the_whole():
    _, frozen = build("2").gradients(X, T)
    _, whole = build().gradients(X, T)
    for name, gradient in frozen.items():
        np.testing.assert_allclose(gradient, whole[name], rtol=1e-4, atol=1e-6)


def test_a_frozen_parameter_is_not_penalised():
    pull = optim.L2(0.5)
    with_penalty, _ = build("0.weight", "2", "4", regularizer=pull).gradients(X, T)
    without, _ = build("0.weight", "2", "4").gradients(X, T)
    assert with_penalty == pytest.approx(without, rel=1e-6)  # what is left are biases and a norm


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("9",), "`freeze` has '9', which matches no parameter; there are 0.weight, 0.bias, 1.weight, 1.bias, "
         "1.running_mean, 1.running_var, 2.0.weight, 2.0.bias, 4.weight, 4.bias"),
        (("0.wieght",), "`freeze` has '0.wieght', which matches no parameter; did you mean '0.weight'?"),
        (("*",), "`freeze` (=*) leaves no parameter to train"),
    ],
)  # fmt: skip
def test_patterns_that_are_none(patterns: tuple[str, ...], message: str):
    with pytest.raises(ArgumentError) as caught:
        build(*patterns)
    assert str(caught.value) == message
