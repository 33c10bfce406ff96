"""Recurrent layers in networks: against PyTorch, the literal evaluation and differences, and what a model does."""

import hashlib

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, ShapeError
from pellucid.network import engine
from support.torch_recurrent import states

STEPS, INPUTS, FEATURES, CLASSES = 6, 4, 5, 3
SHAPE = (STEPS, INPUTS)
MAKE = {
    "tanh": nn.RNN,
    "relu": lambda features, **options: nn.RNN(features, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
# Relative to the largest value of an array, as for the networks of convolutions.
APART = {"float64": 1e-12, "float32": 2e-5}


def built(*layers, shape=SHAPE, **options):
    settings = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.Adam(0.01), "dtype": "float64", "seed": 3, **options}
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(CLASSES)).build(shape, **settings)


def batch(rows, shape=SHAPE, dtype="float64"):
    random = np.random.default_rng(rows)
    return random.normal(size=(rows, *shape)).astype(dtype), random.integers(0, CLASSES, rows)


def own(parameters, layer):
    """A layer's parameters without its name."""
    return {name.partition(".")[2]: array for name, array in parameters.items() if name.startswith(f"{layer}.")}


def close(found, expected, apart, what=""):
    assert np.abs(found - expected).max() <= apart * max(np.abs(expected).max(), 1e-3), what


class Judge:
    """A model's parameters as PyTorch's, and the loss and gradients of what a function makes of them."""

    def __init__(self, torch, model):
        self.torch = torch
        self.tensors = {name: torch.tensor(array, requires_grad=True) for name, array in model.parameters.items()}

    def linear(self, x, layer):
        return x @ self.tensors[f"{layer}.weight"] + self.tensors[f"{layer}.bias"]

    def agrees(self, model, x, t, logits, apart):
        loss, gradients = model.gradients(x, t)
        expected = self.torch.nn.functional.cross_entropy(logits, self.torch.tensor(t))
        expected.backward()
        assert loss == pytest.approx(expected.item(), rel=apart)
        assert gradients.keys() == self.tensors.keys()
        for name, tensor in self.tensors.items():
            close(gradients[name], tensor.grad.numpy(), apart, name)


# ---------------------------------------------------------------- against PyTorch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {"num_layers": 2, "bidirectional": True}) for kind in MAKE),
        ("gru", {"num_layers": 2, "output": "last"}),
        ("lstm", {"bidirectional": True, "output": "last"}),
        ("tanh", {"bias": False}),
        ("gru", {"bias": False, "bidirectional": True}),
        ("lstm", {"num_layers": 2, "truncate": 4}),
        ("tanh", {"truncate": 1, "output": "last"}),
    ],
)
def test_loss_and_gradients(torch, kind, options, dtype):
    model = built(MAKE[kind](FEATURES, **options), dtype=dtype)
    x, t = batch(4, dtype=dtype)
    judge = Judge(torch, model)
    y, last = states(torch, kind, torch.tensor(x), own(judge.tensors, 0), truncate=options.get("truncate"))
    logits = judge.linear(last if options.get("output") == "last" else y.flatten(1), 2)
    judge.agrees(model, x, t, logits, APART[dtype])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("tanh", {}),
        ("lstm", {"output": "last"}),
        ("gru", {"num_layers": 2, "bidirectional": True}),
        ("lstm", {"bidirectional": True, "output": "last"}),
    ],
)
def test_padded_sequences_are_those_of_their_own_lengths(torch, kind, options):
    """Packed sequences of PyTorch; rows of the padding's value inside a sequence are steps like others."""
    model = built(MAKE[kind](FEATURES, padding=-1.0, **options))
    x, t = batch(4)
    lengths = [6, 1, 4, 2]
    for row, length in zip(x, lengths, strict=True):
        row[length:] = -1.0
    x[2, 1] = -1.0
    judge = Judge(torch, model)
    lengths = torch.tensor(lengths)
    y, last = states(torch, kind, torch.tensor(x), own(judge.tensors, 0), lengths=lengths)
    logits = judge.linear(last if options.get("output") == "last" else y.flatten(1), 2)
    judge.agrees(model, x, t, logits, 1e-12)
    alone = [model.predict(x[number : number + 1])[0] for number in range(4)]
    np.testing.assert_allclose(model.predict(x), alone, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_state_from_another_layer(torch, dtype):
    """An encoder's last state is the decoder's first, and an LSTM's cells come from a dense layer."""
    x = nn.Input()
    h = nn.GRU(FEATURES, output="last")(x)
    c = nn.Linear(FEATURES)(nn.Flatten()(x))
    net = nn.Graph(x, nn.Linear(CLASSES)(nn.Flatten()(nn.LSTM(FEATURES)(x, h, c))))
    model = net.build(SHAPE, loss=nn.CrossEntropyLoss(), dtype=dtype)
    batch_x, t = batch(4, dtype=dtype)
    judge, given = Judge(torch, model), torch.tensor(batch_x)
    gru, dense, lstm, last = dict.fromkeys(name.partition(".")[0] for name in model.parameters)
    _, state = states(torch, "gru", given, own(judge.tensors, gru))
    cell = judge.linear(given.flatten(1), dense)
    y, _ = states(torch, "lstm", given, own(judge.tensors, lstm), state[:, None], cell[:, None])
    judge.agrees(model, batch_x, t, judge.linear(y.flatten(1), last), APART[dtype])


def test_states_of_all_layers_and_directions(torch):
    """One row for each layer and direction, made here from as many steps."""
    x = nn.Input()
    layer = nn.GRU(FEATURES, num_layers=2, bidirectional=True)
    net = nn.Graph(x, nn.Linear(CLASSES)(nn.Flatten()(layer(x, nn.Linear(FEATURES)(x)))))
    model = net.build((4, INPUTS), loss=nn.CrossEntropyLoss(), dtype="float64")
    given, t = batch(3, (4, INPUTS))
    judge = Judge(torch, model)
    dense, gru, last = dict.fromkeys(name.partition(".")[0] for name in model.parameters)
    tensor = torch.tensor(given)
    y, _ = states(torch, "gru", tensor, own(judge.tensors, gru), judge.linear(tensor, dense))
    judge.agrees(model, given, t, judge.linear(y.flatten(1), last), 1e-12)


def test_a_convolution_feeds_it(torch):
    """Rows of the maps are the steps: (batch, rows, columns, channels) -> (batch, rows, columns * channels)."""
    layers = nn.Conv2d(3, 3), nn.ReLU(), nn.Flatten(start_dim=2), nn.LSTM(FEATURES, output="last")
    model = built(*layers, shape=(7, 6, 2))
    x, t = batch(4, (7, 6, 2))
    judge = Judge(torch, model)
    kernel, bias = judge.tensors["0.weight"].permute(3, 2, 0, 1), judge.tensors["0.bias"]
    maps = torch.relu(torch.nn.functional.conv2d(torch.tensor(x).permute(0, 3, 1, 2), kernel, bias))
    rows = maps.permute(0, 2, 3, 1).flatten(2)
    _, last = states(torch, "lstm", rows, own(judge.tensors, 3))
    judge.agrees(model, x, t, judge.linear(last, 5), 1e-12)


# ---------------------------------------------------------------- against the equations themselves
@pytest.mark.parametrize("kind", MAKE)
def test_compiled_steps_are_those_of_the_literal_evaluation(kind):
    layer = MAKE[kind](FEATURES, num_layers=2, padding=0.0, truncate=4)
    literal, compiled = (built(layer, backend=backend) for backend in ("reference", "compiled"))
    x, t = batch(3)
    x[1, 2:] = 0
    for _ in range(2):
        assert compiled.train_step(x, t) == pytest.approx(literal.train_step(x, t), rel=1e-12)
    for name, array in literal.parameters.items():
        close(compiled.parameters[name], array, 1e-10, name)
    np.testing.assert_allclose(compiled.predict(x), literal.predict(x), rtol=1e-10)


@pytest.mark.parametrize("kind", MAKE)
def test_gradients_are_those_of_central_differences(kind):
    model = built(MAKE[kind](FEATURES, num_layers=2, bidirectional=True, padding=0.0))
    x, t = batch(3)
    x[1, 3:] = 0
    start, (_, gradients) = dict(model.parameters), model.gradients(x, t)
    random, eps = np.random.default_rng(1), 1e-5
    for name, gradient in gradients.items():
        way = random.normal(size=gradient.shape)
        losses = []
        for step in (eps, -eps):
            model.load_parameters({**start, name: start[name] + step * way})
            losses.append(model.gradients(x, t)[0])
        slope = (losses[0] - losses[1]) / (2 * eps)
        assert abs(slope - (gradient * way).sum()) <= 1e-8 * max(1, abs(slope)), name


def test_norms_of_the_states_gradients_step_by_step(torch):
    model = built(nn.RNN(FEATURES, output="last"))
    x, t = batch(4)
    judge = Judge(torch, model)
    parameters, h, seen = own(judge.tensors, 0), torch.zeros(4, FEATURES, dtype=torch.float64), []
    for step in torch.tensor(x).unbind(1):
        h = torch.tanh(step @ parameters["weight_ih_l0"] + h @ parameters["weight_hh_l0"] + parameters["bias_l0"])
        h.retain_grad()
        seen.append(h)
    torch.nn.functional.cross_entropy(judge.linear(h, 2), torch.tensor(t)).backward()
    assert model.state_gradient_norms == {}
    model.train_step(x, t, gradient_norms=True)
    assert model.state_gradient_norms.keys() == {"0.state_l0"}
    expected = [float(torch.linalg.norm(h.grad)) for h in seen]
    assert model.state_gradient_norms["0.state_l0"] == pytest.approx(expected, rel=1e-12)
    assert model.gradient_norms.keys() == model.parameters.keys()


def test_every_layer_and_direction_has_norms():
    model = built(nn.LSTM(FEATURES, num_layers=2, bidirectional=True))
    model.train_step(*batch(2), gradient_norms=True)
    found = model.state_gradient_norms
    assert list(found) == ["0.state_l0", "0.state_l0_reverse", "0.state_l1", "0.state_l1_reverse"]
    assert all(len(norms) == STEPS and min(norms) > 0 for norms in found.values())


# ---------------------------------------------------------------- what a model does
def digest(model):
    found = hashlib.sha256()
    for array in model.parameters.values():
        found.update(array.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("kind", MAKE)
def test_the_same_bits_for_every_number_of_threads(kind):
    found = set()
    for threads in (1, 2, 3):
        layer = MAKE[kind](24, bidirectional=True)
        with built(layer, shape=(9, 17), dtype="float32", threads=threads) as model:
            for rows in (11, 11, 4):
                model.train_step(*batch(rows, (9, 17), "float32"))
            predicted = model.predict(batch(37, (9, 17), "float32")[0])
            found.add((digest(model), hashlib.sha256(predicted.tobytes()).hexdigest()))
    assert len(found) == 1


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "padding": 0.0}])
def test_short_batches_compile_nothing(monkeypatch, options):
    builds, original = [], engine.compile_engine
    monkeypatch.setattr(engine, "compile_engine", lambda *given: builds.append(1) or original(*given))
    model = built(nn.GRU(FEATURES, **options))
    x, t = batch(6)
    model.gradients(x, t)
    assert len(builds) == 1
    for rows in (1, 2, 5):
        loss, gradients = model.gradients(x[:rows], t[:rows])
        assert len(builds) == 1
        with built(nn.GRU(FEATURES, **options)) as other:
            expected, judged = other.gradients(x[:rows], t[:rows])
        builds.pop()
        assert loss == pytest.approx(expected, rel=1e-12)
        for name, gradient in judged.items():
            close(gradients[name], gradient, 1e-12, name)


def test_predictions_of_any_number_of_rows():
    model = built(nn.LSTM(FEATURES, num_layers=2, output="last"))
    x, _ = batch(70)
    whole = model.predict(x)
    for rows in (1, 2, 31, 32, 33, 69):
        np.testing.assert_allclose(model.predict(x[:rows]), whole[:rows], rtol=1e-12)


def test_parameters_go_from_one_model_to_another():
    layer = nn.GRU(FEATURES, num_layers=2, bidirectional=True)
    first, second = built(layer), built(layer, seed=4)
    x, _ = batch(3)
    assert not np.array_equal(first.predict(x), second.predict(x))
    second.load_parameters({name: np.array(array) for name, array in first.parameters.items()})
    assert np.array_equal(first.predict(x), second.predict(x))
    names = [name for name in first.parameters if name.startswith("0.")]
    assert names[:5] == ["0.weight_ih_l0", "0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0", "0.weight_ih_l0_reverse"]
    assert first.parameters["0.weight_ih_l1"].shape == (2 * FEATURES, 3, FEATURES)


def test_the_summary_shows_the_recurrence():
    text = nn.Sequential(nn.LSTM(8, output="last"), nn.Linear(CLASSES)).build((5, 4)).summary()
    assert text.splitlines()[:4] == [
        "layer          reads  output  parameters  multiply-adds",
        "0      LSTM    input  8              416          1,920",
        "1      Linear  0      3               27             24",
        "total                                443          1,944",
    ]
    for line in (
        "u0[n,t,q,k] = sum(c) x[n,t,c] * v0[c,q,k] + b0[q,k]",
        "a0[n,t,q,k] = u0[n,t,q,k] + sum(j) h0[n,t-1,j] * w0[j,q,k]",
        "g0[n,t,k] = tanh(a0[n,t,2,k])",
        "c0[n,t,k] = f0[n,t,k] * c0[n,t-1,k] + i0[n,t,k] * g0[n,t,k]",
        "h0[n,t,k] = o0[n,t,k] * m0[n,t,k]",
        "y0[n,k] = h0[n,L,k]",
        "with L = 4",
    ):
        assert f"  {line}" in text.splitlines()


# ---------------------------------------------------------------- what is refused
def reading_twice(layer):
    x = nn.Input()
    return nn.Graph(x, layer(x, x))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nn.RNN(4, nonlinearity="sin"), ArgumentError, "`nonlinearity` (='sin') must be 'tanh' or 'relu'"),
        (lambda: nn.LSTM(0), ArgumentError, "`features` (=0) must be at least 1"),
        (lambda: nn.GRU(4, num_layers=0), ArgumentError, "`num_layers` (=0) must be at least 1"),
        (lambda: nn.GRU(4, output="all"), ArgumentError, "`output` (='all') must be one of sequence, last, state"),
        (lambda: nn.GRU(4, truncate=0), ArgumentError, "`truncate` (=0) must be at least 1"),
        (lambda: nn.rnn(kind="elman"), ArgumentError, "`kind` (='elman') must be one of rnn, lstm, gru"),
        (
            lambda: nn.Sequential(nn.LSTM(4)).build((8, 8, 3)),
            ShapeError,
            "layer 0 (LSTM): LSTM takes (batch, steps, features); its input has shape (2, 8, 8, 3); "
            "Flatten(start_dim=2) makes the axes behind the steps one",
        ),
        (
            lambda: nn.Sequential(nn.GRU(4)).build((8,)),
            ShapeError,
            "layer 0 (GRU): GRU takes (batch, steps, features); its input has shape (2, 8)",
        ),
        (
            lambda: reading_twice(nn.LSTM(4)).build((8, 4)),
            ShapeError,
            "layer 0 (LSTM): `state` (2, 8, 4) must have shape (2, 1, 4), or with the cells (2, 2, 4)",
        ),
        (
            lambda: nn.GRU(4).stage((2, 8, 4), (2, 4), (2, 4)),
            ArgumentError,
            "GRU takes its input, and may take state; 3 are given",
        ),
        (
            lambda: reading_twice(nn.GRU(4)).build((8, 4)),
            ShapeError,
            "layer 0 (GRU): `state` (2, 8, 4) must have shape (2, 1, 4)",
        ),
    ],
)
def test_what_is_refused(make, kind, message):
    with pytest.raises(kind) as refusal:
        make()
    assert str(refusal.value) == message


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_one_network_goes_on_from_another_s_final_state(layer):
    x = nn.Input((6, 4))
    state = layer(5, num_layers=2, bidirectional=True, output="state")(x)
    net = nn.Graph(x, nn.Linear(3)(layer(5, num_layers=2, bidirectional=True, output="last")(x, state)))
    batch, labels = np.random.default_rng(0).normal(size=(6, 6, 4)), np.arange(6) % 3
    losses = []
    for backend in ("compiled", "reference"):
        model = net.build(loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.1), backend=backend)
        losses.append([model.train_step(batch, labels) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
