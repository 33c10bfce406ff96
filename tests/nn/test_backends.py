"""Networks of random layers: the compiled program against the literal evaluation of the same equations.

Loss, gradients, two steps of an optimiser, and predictions, in float64.
"""

import random

import numpy as np
import pytest

from pellucid import nn, optim


def residual(layer):
    x = nn.Input()
    return nn.Graph(x, layer(x) + x)


def joined(first, second):
    x = nn.Input()
    return nn.Graph(x, nn.Concat()(first(x), second(x)))


LAYERS = [
    lambda r: nn.Conv2d(r.choice([1, 3, 8, 17]), r.choice([1, 2, 3]), stride=r.choice([1, 2]), padding=1),
    lambda r: nn.Conv2d(r.choice([4, 9]), 3, padding="same", bias=False, flip=r.random() < 0.5),
    lambda r: nn.ConvTranspose2d(r.choice([2, 5]), r.choice([2, 3]), stride=r.choice([1, 2])),
    lambda r: nn.MaxPool2d(r.choice([2, 3]), stride=r.choice([1, 2]), padding=1),
    lambda r: nn.AvgPool2d(2, stride=r.choice([1, 2]), padding=1, count_include_pad=r.random() < 0.5),
    lambda r: nn.LPPool2d(2, 2, stride=1),
    lambda r: nn.BatchNorm2d(),
    lambda r: nn.LayerNorm(),
    lambda r: nn.LocalResponseNorm(3),
    lambda r: nn.PReLU(),
    lambda r: nn.Dropout(0.3),
    lambda r: r.choice(
        [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.SiLU(), nn.ELU(), nn.Softplus(), nn.Hardswish(), nn.Mish()]
    ),
    lambda r: residual(r.choice([nn.Tanh(), nn.MaxPool2d(3, stride=1, padding=1)])),
    lambda r: joined(nn.Conv2d(3, 1), nn.MaxPool2d(3, stride=1, padding=1)),
]


def random_network(seed):
    draw = random.Random(seed)
    shape = (draw.choice([6, 7, 9]), draw.choice([5, 6, 8]), draw.choice([1, 2, 3, 5]))
    layers = [draw.choice(LAYERS)(draw) for _ in range(draw.randint(2, 4))]
    last = [draw.choice([nn.Flatten(), nn.GlobalAvgPool(), nn.GlobalMaxPool()]), nn.Linear(4)]
    optimizer = draw.choice([optim.SGD(0.01, momentum=0.9), optim.Adam(1e-2), optim.RMSprop(1e-3)])
    return nn.Sequential(*layers, *last), shape, optimizer


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(seed):
    network, shape, optimizer = random_network(seed)
    literal, compiled = (
        network.build(
            shape,
            loss=nn.CrossEntropyLoss(label_smoothing=0.1),
            optimizer=optimizer,
            seed=seed,
            dtype="float64",
            backend=backend,
            threads=2,
        )
        for backend in ("reference", "compiled")
    )
    data = np.random.default_rng(seed)
    x, t = data.normal(size=(3, *shape)), data.integers(0, 4, 3)
    loss, gradients = literal.gradients(x, t)
    mine, own = compiled.gradients(x, t)
    assert mine == pytest.approx(loss, rel=1e-12)
    for name, gradient in gradients.items():
        # Absolute for gradients that are zero but for rounding (a bias before a norm).
        np.testing.assert_allclose(own[name], gradient, rtol=1e-9, atol=1e-13, err_msg=name)
    for _ in range(2):
        assert compiled.train_step(x, t) == pytest.approx(literal.train_step(x, t), rel=1e-9)
    # Adam and RMSprop divide such gradients by their own size, so later steps are compared by what they compute.
    compiled.load_parameters(literal.parameters)
    np.testing.assert_allclose(compiled.predict(x), literal.predict(x), rtol=1e-9, atol=1e-12)


def test_a_small_vgg():
    model, literal = (
        nn.vgg(width=4).build((16, 16, 1), loss=nn.CrossEntropyLoss(), dtype="float64", backend=backend)
        for backend in ("compiled", "reference")
    )
    data = np.random.default_rng(0)
    x, t = data.normal(size=(3, 16, 16, 1)), data.integers(0, 10, 3)
    loss, gradients = literal.gradients(x, t)
    mine, own = model.gradients(x, t)
    assert mine == pytest.approx(loss, rel=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(own[name], gradient, rtol=1e-8, atol=1e-12, err_msg=name)
