"""A model's state: taken and given back, training goes on to the same bits."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.nn.update import COUNT

RANDOM = np.random.default_rng(0)
X = RANDOM.random((40, 10, 10, 1), np.float32)
T = np.arange(40) % 3
OPTIMIZERS = {
    "sgd": optim.SGD(0.05, momentum=0.9, nesterov=True),
    "adamw": optim.AdamW(optim.OneCycle(0.01, 12)),
    "rmsprop": optim.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": optim.Adagrad(0.01, lr_decay=0.1),
}


def build(optimizer: optim.Optimizer) -> nn.Model:
    network = nn.Sequential(nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(3))
    return network.build((10, 10, 1), loss=nn.CrossEntropyLoss(), optimizer=optimizer, seed=5)


def steps(model: nn.Model, batches: range) -> list[float]:
    return [model.train_step(X[8 * n % 40 :][:8], T[8 * n % 40 :][:8]) for n in batches]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_goes_on_to_the_same_bits(name: str):
    whole = build(OPTIMIZERS[name])
    losses = steps(whole, range(12))
    first, second = build(OPTIMIZERS[name]), build(OPTIMIZERS[name])
    steps(first, range(7))
    second.load_state(first.state())
    assert second.steps == 7
    assert steps(second, range(7, 12)) == losses[7:]
    for key, array in whole.state().items():
        assert second.state()[key].tobytes() == array.tobytes(), key


def test_a_state_is_a_copy():
    model = build(OPTIMIZERS["adamw"])
    state = model.state()
    steps(model, range(1))
    assert not np.array_equal(state["0.weight"], model.parameters["0.weight"])
    assert state["steps"] == 0


def test_steps_are_counted_past_what_a_float_holds():
    model = build(OPTIMIZERS["sgd"])
    model.load_state({**model.state(), "steps": np.array(2**40 + 3, np.int64)})
    steps(model, range(2))
    assert model.steps == 2**40 + 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arrays_begin_at_cache_lines(name: str):
    """A vector of weights that lies in two lines takes as long as two."""
    arrays = build(OPTIMIZERS[name])._state.arrays
    assert len(arrays) > 10
    assert [key for key, array in arrays.items() if key != COUNT and array.ctypes.data % 64] == []


def test_states_of_other_models():
    model = build(OPTIMIZERS["adamw"])
    state, before = model.state(), model.state()
    cases = [
        ({**state, "9.weight": state["0.weight"]}, ArgumentError,
         "the state is of another model: '9.weight' is in one of the two alone"),
        ({**state, "0.weight": np.zeros((2, 2), np.float32)}, ShapeError,
         "0.weight has shape (3, 3, 1, 4), the given array (2, 2)"),
        ({**state, "0.bias": np.zeros(4)}, DtypeError, "0.bias has dtype float32, the given array float64"),
    ]  # fmt: skip
    for given, kind, message in cases:
        with pytest.raises(kind) as caught:
            model.load_state(given)
        assert str(caught.value) == message
    assert all(np.array_equal(model.state()[name], array) for name, array in before.items())


def test_prepared_programs_do_not_depend_on_what_was_asked_before():
    def run(*sizes: int, prepared: bool) -> bytes:
        """The parameters behind a batch of 5, after batches of `sizes` whose effect is taken back."""
        model = build(optim.SGD(0.1))
        if prepared:
            model.prepare(step_rows=16, score_rows=16)
        start = model.state()
        for size in sizes:
            model.train_step(X[:size], T[:size])
        model.load_state(start)
        model.train_step(X[:5], T[:5])
        return model.parameters["0.weight"].tobytes() + repr(model.score(model.predict(X[:5]), T[:5])).encode()

    assert run(prepared=True) == run(16, 5, prepared=True) == run(5, 5, 5, 5, 5, 5, 5, 5, 5, prepared=True)
    assert run(9, prepared=True) == run(7, 16, 9, prepared=True)


def test_prepare_takes_whole_numbers():
    with pytest.raises(ArgumentError) as caught:
        build(OPTIMIZERS["sgd"]).prepare(step_rows=0)
    assert str(caught.value) == "`step_rows` (=0) must be a whole number of at least 1"


def test_scores_are_of_predictions():
    model = build(OPTIMIZERS["sgd"])
    assert model.score(model.predict(X), T) == model.evaluate(X, T)
    with pytest.raises(ShapeError) as caught:
        model.score(np.zeros((4, 5)), T[:4])
    assert str(caught.value) == "`y` has shape (4, 5); the model gives (batch, 3)"
    with pytest.raises(ShapeError) as caught:
        model.score(np.zeros((4, 3)), T)
    assert str(caught.value) == "`y` has 4 rows and `t` has 40"
