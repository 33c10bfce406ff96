"""Optimisers, clipping, penalties and schedules against PyTorch's, and their rules."""

import math

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError

CASES = [
    (optim.SGD(0.1), "SGD", {"lr": 0.1}),
    (optim.SGD(0.1, weight_decay=0.01), "SGD", {"lr": 0.1, "weight_decay": 0.01}),
    (optim.SGD(0.1, momentum=0.8), "SGD", {"lr": 0.1, "momentum": 0.8}),
    (
        optim.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.01),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    ),
    (optim.Adam(0.01), "Adam", {"lr": 0.01}),
    (
        optim.Adam(0.01, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.1),
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ),
    (optim.AdamW(0.01, weight_decay=0.2), "AdamW", {"lr": 0.01, "weight_decay": 0.2}),
    (optim.RMSprop(0.01), "RMSprop", {"lr": 0.01}),
    (
        optim.RMSprop(0.01, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ),
    (optim.Adagrad(0.1), "Adagrad", {"lr": 0.1}),
    (
        optim.Adagrad(0.1, lr_decay=0.1, weight_decay=0.1, initial_sum=0.5),
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5},
    ),
]


def linear_model(optimizer, **options):
    """Two parameters, a weight (5, 3) and a bias (3)."""
    net = nn.Sequential(nn.Linear(3))
    return net.build((5,), loss=nn.MSELoss(), optimizer=optimizer, dtype="float64", **options)


def data():
    random = np.random.default_rng(1)
    return random.normal(size=(7, 5)), random.normal(size=(7, 3))


def torch_steps(torch, model, update, steps, x, t, before_update=None, penalty=None):
    """The parameters and losses of PyTorch's optimiser from the model's start."""
    w, b = (torch.tensor(model.parameters[name], requires_grad=True) for name in ("0.weight", "0.bias"))
    optimizer = update([w, b])
    x, t = torch.tensor(x), torch.tensor(t)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(x @ w + b, t)
        if penalty is not None:
            loss = loss + penalty(w)
        loss.backward()
        if before_update is not None:
            before_update([w, b])
        optimizer.step()
        losses.append(loss.item())
    return {"0.weight": w.detach().numpy(), "0.bias": b.detach().numpy()}, losses


def compare(model, expected, losses, x, t):
    np.testing.assert_allclose([model.train_step(x, t) for _ in losses], losses, rtol=1e-12)
    for name, array in expected.items():
        np.testing.assert_allclose(model.parameters[name], array, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("mine", "theirs", "options"), CASES)
def test_against_torch(torch, mine, theirs, options):
    x, t = data()
    model = linear_model(mine, backend="reference")
    expected, losses = torch_steps(torch, model, lambda p: getattr(torch.optim, theirs)(p, **options), 5, x, t)
    compare(model, expected, losses, x, t)


@pytest.mark.parametrize("number", [3, 5, 6, 8, 10])
def test_compiled_against_torch(torch, number):
    mine, theirs, options = CASES[number]
    x, t = data()
    model = linear_model(mine)
    expected, losses = torch_steps(torch, model, lambda p: getattr(torch.optim, theirs)(p, **options), 5, x, t)
    compare(model, expected, losses, x, t)


@pytest.mark.parametrize("limit", [0.1, 100.0])
@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_clipping_by_norm(torch, limit, backend):
    x, t = data()
    model = linear_model(optim.SGD(0.1), clip_norm=limit, backend=backend)
    clip = torch.nn.utils.clip_grad_norm_
    expected, losses = torch_steps(
        torch, model, lambda p: torch.optim.SGD(p, lr=0.1), 3, x, t, before_update=lambda p: clip(p, limit)
    )
    compare(model, expected, losses, x, t)


@pytest.mark.parametrize(
    ("penalty", "theirs"),
    [(optim.L2(0.3), lambda w: 0.3 * (w**2).sum()), (optim.L1(0.2), lambda w: 0.2 * w.abs().sum())],
)
def test_penalties_act_on_weights_alone(torch, penalty, theirs):
    x, t = data()
    model = linear_model(optim.SGD(0.05), regularizer=penalty, backend="reference")
    expected, losses = torch_steps(torch, model, lambda p: torch.optim.SGD(p, lr=0.05), 3, x, t, penalty=theirs)
    compare(model, expected, losses, x, t)


def test_schedules_by_hand():
    assert [optim.Step(1.0, every=2, factor=0.5).rate(step) for step in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = optim.Cosine(2.0, steps=4, final=1.0)
    np.testing.assert_allclose(
        [cosine.rate(step) for step in range(6)], [2, 1.5 + math.sqrt(0.125), 1.5, 1.5 - math.sqrt(0.125), 1, 1]
    )
    warmup = optim.Warmup(4, then=optim.Step(1.0, every=1, factor=0.5))
    assert [warmup.rate(step) for step in range(7)] == [0.25, 0.5, 0.75, 1, 1, 0.5, 0.25]
    assert optim.Constant(0.3).rate(10**6) == 0.3


def test_one_cycle_against_torch(torch):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.4, total_steps=37, cycle_momentum=False)
    mine = optim.OneCycle(0.4, steps=37)
    for step in range(36):
        assert mine.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        theirs.step()
    assert mine.rate(36) == pytest.approx(0.4 / 25 / 1e4, rel=1e-12)
    assert mine.rate(99) == mine.rate(36)


def test_the_schedule_drives_the_step():
    x, t = data()
    model = linear_model(optim.SGD(optim.Step(0.1, every=2)), backend="reference")
    assert model.learning_rate == 0.1
    rates = []
    for _ in range(4):
        model.train_step(x, t)
        rates.append(model.learning_rate)
    assert rates == [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1]
    model.train_step(x, t, learning_rate=0.5)
    assert model.learning_rate == 0.5


def test_gradient_norms():
    x, t = data()
    model = linear_model(optim.SGD(0.1), clip_norm=0.01, backend="reference")
    assert model.gradient_norms == {}
    _, gradients = model.gradients(x, t)
    model.train_step(x, t, gradient_norms=True)
    assert model.gradient_norms == pytest.approx({name: np.linalg.norm(g) for name, g in gradients.items()}, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(math.nan), "`lr` (=nan) must be a finite number above 0"),
        (lambda: optim.SGD(math.inf), "`lr` (=inf) must be a finite number above 0"),
        (lambda: optim.Adam(-0.1), "`lr` (=-0.1) must be a finite number above 0"),
        (lambda: optim.SGD(0.1, momentum=1.0), "`momentum` (=1.0) must be at least 0 and below 1"),
        (lambda: optim.SGD(0.1, weight_decay=-1), "`weight_decay` (=-1) must be a finite number, 0 or above"),
        (lambda: optim.SGD(0.1, nesterov=True), "`nesterov` needs `momentum` (=0.0) above 0"),
        (lambda: optim.Adam(beta2=1.5), "`beta2` (=1.5) must be at least 0 and below 1"),
        (lambda: optim.AdamW(eps=0), "`eps` (=0) must be a finite number above 0"),
        (lambda: optim.RMSprop(alpha=-1), "`alpha` (=-1) must be at least 0 and below 1"),
        (lambda: optim.Adagrad(lr_decay=math.nan), "`lr_decay` (=nan) must be a finite number, 0 or above"),
        (lambda: optim.Step(0.1, every=0), "`every` (=0) must be a whole number of at least 1"),
        (lambda: optim.Cosine(0.1, steps=2.5), "`steps` (=2.5) must be a whole number of at least 1"),
        (lambda: optim.OneCycle(0.1, steps=3), "`rise` (=0.3) of `steps` (=3) must be over 1 step, is 0.9"),
        (lambda: optim.Warmup(3, then=-1.0), "`then` (=-1.0) must be a finite number above 0"),
        (lambda: optim.L2(0), "`strength` (=0) must be a finite number above 0"),
        (lambda: linear_model(optim.SGD(0.1), clip_norm=0.0), "`clip_norm` (=0.0) must be a finite number above 0"),
    ],
)
def test_rules(make, message):
    with pytest.raises(ArgumentError) as raised:
        make()
    assert str(raised.value) == message
