"""Whole networks against PyTorch with the same weights: loss, gradients, steps, running statistics, predictions."""

import hashlib

import numpy as np
import pytest

from pellucid import nn, optim

# Relative to the largest value of an array: float64 as the issue asks; float32 some dozen units of rounding.
APART = {"float64": 1e-8, "float32": 2e-5}


class Theirs:
    """A network of PyTorch's functions over the same parameters; arrays are channels first inside."""

    def __init__(self, torch, model):
        self.torch = torch
        self.functional = torch.nn.functional
        self.parameters = {name: torch.tensor(array) for name, array in model.parameters.items()}
        for name, tensor in self.parameters.items():
            tensor.requires_grad_("running" not in name)

    def trained(self):
        return {name: tensor for name, tensor in self.parameters.items() if tensor.requires_grad}

    def conv(self, x, name, **attributes):
        weight = self.parameters[f"{name}.weight"].permute(3, 2, 0, 1)
        return self.functional.conv2d(x, weight, self.parameters.get(f"{name}.bias"), **attributes)

    def norm(self, x, name, training=True):
        get = self.parameters
        running = get[f"{name}.running_mean"], get[f"{name}.running_var"]
        return self.functional.batch_norm(x, *running, get[f"{name}.weight"], get[f"{name}.bias"], training)

    def linear(self, x, name):
        return x @ self.parameters[f"{name}.weight"] + self.parameters[f"{name}.bias"]

    def lenet5(self, x):
        f = self.functional
        h = f.max_pool2d(f.relu(self.conv(x.permute(0, 3, 1, 2), "0", padding=2)), 2)
        h = f.max_pool2d(f.relu(self.conv(h, "3")), 2).permute(0, 2, 3, 1).flatten(1)
        return self.linear(f.relu(self.linear(f.relu(self.linear(h, "7")), "9")), "11")

    def small_resnet(self, x, training=True):
        f = self.functional
        h = f.relu(self.norm(self.conv(x.permute(0, 3, 1, 2), "0", padding=1), "1", training))
        g = f.relu(self.norm(self.conv(h, "3", padding=1, stride=2), "4", training))
        g = self.norm(self.conv(g, "6", padding=1), "7", training)
        shortcut = self.norm(self.conv(h, "8", stride=2), "9", training)
        h = f.relu(g + shortcut)
        return self.linear(h.mean((2, 3)), "13")


def small_resnet():
    """A stem, one residual block at half the size, a mean and a classifier."""
    x = nn.Input()
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(8, 3, padding=1, bias=False)(x)))
    g = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(12, 3, stride=2, padding=1, bias=False)(h)))
    g = nn.BatchNorm2d()(nn.Conv2d(12, 3, padding=1, bias=False)(g))
    shortcut = nn.BatchNorm2d()(nn.Conv2d(12, 1, stride=2, bias=False)(h))
    return nn.Graph(x, nn.Linear(5)(nn.GlobalAvgPool()(nn.ReLU()(g + shortcut))))


def batch(dtype, shape, classes, rows=3):
    random = np.random.default_rng(5)
    return random.normal(size=(rows, *shape)).astype(dtype), random.integers(0, classes, rows)


def close(mine, theirs, apart, what):
    difference = np.abs(mine - theirs).max()
    assert difference <= apart * max(np.abs(theirs).max(), 1e-3), f"{what}: {difference}"


@pytest.mark.parametrize(
    ("dtype", "backend"), [("float64", "reference"), ("float64", "compiled"), ("float32", "compiled")]
)
@pytest.mark.parametrize(("which", "shape", "classes"), [("lenet5", (28, 28, 1), 10), ("small_resnet", (9, 8, 3), 5)])
def test_loss_and_gradients(torch, which, shape, classes, dtype, backend):
    network = nn.lenet5() if which == "lenet5" else small_resnet()
    model = network.build(shape, loss=nn.CrossEntropyLoss(), seed=1, dtype=dtype, backend=backend)
    x, t = batch(dtype, shape, classes)
    loss, gradients = model.gradients(x, t)
    theirs = Theirs(torch, model)
    expected = torch.nn.functional.cross_entropy(getattr(theirs, which)(torch.tensor(x)), torch.tensor(t))
    expected.backward()
    assert abs(loss - expected.item()) <= APART[dtype] * expected.item()
    assert set(gradients) == set(theirs.trained())
    for name, tensor in theirs.trained().items():
        close(gradients[name], tensor.grad.numpy(), APART[dtype], name)


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_steps_and_running_statistics(torch, backend):
    shape = (9, 8, 3)
    optimizer = optim.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    model = small_resnet().build(
        shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer, seed=1, dtype="float64", backend=backend
    )
    x, t = batch("float64", shape, 5)
    theirs = Theirs(torch, model)
    update = torch.optim.SGD(theirs.trained().values(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for _ in range(3):
        update.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs.small_resnet(torch.tensor(x)), torch.tensor(t))
        expected.backward()
        update.step()
        assert abs(model.train_step(x, t) - expected.item()) <= 1e-8 * expected.item()
    assert model.steps == 3
    for name, array in model.parameters.items():
        close(array, theirs.parameters[name].detach().numpy(), 1e-8, name)
    with torch.no_grad():
        expected = theirs.small_resnet(torch.tensor(x), training=False)
    close(model.predict(x), expected.numpy(), 1e-8, "prediction")
    measures = model.evaluate(x, t)
    assert abs(measures["loss"] - torch.nn.functional.cross_entropy(expected, torch.tensor(t)).item()) < 1e-8
    assert measures["accuracy"] == (expected.argmax(1).numpy() == t).mean()


def test_same_bits_for_any_number_of_threads():
    x, t = batch("float32", (28, 28, 1), 10, rows=6)
    hashes = set()
    for threads in (1, 2, 3):
        model = nn.Sequential(
            nn.Conv2d(6, 5, padding="same"), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.3), nn.Linear(10),
        ).build(
            (28, 28, 1), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(1e-3), seed=7, threads=threads
        )  # fmt: skip
        for _ in range(5):
            model.train_step(x, t)
        digest = hashlib.sha256()
        for array in model.parameters.values():
            digest.update(array.tobytes())
        hashes.add(digest.hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_two_models_do_not_meet(backend):
    net = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(3))
    random = np.random.default_rng(0)
    x, t = random.normal(size=(5, 6)), random.integers(0, 3, 5)

    def build(seed):
        return net.build(
            (6,), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1), seed=seed, dtype="float64", backend=backend
        )

    alone = build(0)
    losses = [alone.train_step(x, t) for _ in range(4)]
    first, second = build(0), build(1)
    mixed = []
    for _ in range(4):
        mixed.append(first.train_step(x, t))
        second.train_step(x, t)
    assert mixed == losses
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(array, alone.parameters[name])
        assert array.ndim == 1 or not np.array_equal(array, second.parameters[name])


@pytest.mark.parametrize(
    ("network", "shape", "parameters"),
    [
        (nn.lenet5(), (28, 28, 1), 61706),
        (nn.s4(), (28, 28, 1), 411690),
        (nn.vgg(), (32, 32, 3), 814570),
        (nn.resnet(), (32, 32, 3), 11173962),
        (nn.rnn(), (28, 28, 1), 61962),
        (nn.rnn(kind="lstm", features=16), (28, 28, 3), 6634),
    ],
)
def test_ready_networks(network, shape, parameters):
    """Numbers of parameters, counted by hand; ResNet-18 for CIFAR is known to have 11,173,962."""
    model = network.build(shape, backend="reference")
    trained = {name: array for name, array in model.parameters.items() if "running" not in name}
    assert sum(array.size for array in trained.values()) == parameters
    assert model.output_shape == (10,)
