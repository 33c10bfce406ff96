"""Recurrent operations against PyTorch: results and gradients in float64 and float32, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import errors, ops, vjp
from support.torch_recurrent import states, turned

BATCH, STEPS, INPUTS, FEATURES = 4, 7, 3, 5
GATES = {"tanh": (), "relu": (), "lstm": (4,), "gru": (3,)}
OPERATIONS = {"tanh": ops.rnn, "relu": ops.rnn, "lstm": ops.lstm, "gru": ops.gru}
OWN = {"tanh": {}, "relu": {"nonlinearity": "relu"}, "lstm": {}, "gru": {}}
LENGTHS = np.array([7, 1, 4, 5])

# Which optional arrays are given, and the attributes.
VARIANTS = {
    "everything": (("bias", "state"), {}),
    "no bias, no state": ((), {}),
    "last": (("bias", "state"), {"output": "last"}),
    "reverse": (("bias", "state"), {"reverse": True}),
    "lengths": (("bias", "state", "lengths"), {}),
    "last of lengths": (("bias", "lengths"), {"output": "last"}),
    "lengths in reverse": (("bias", "state", "lengths"), {"reverse": True}),
    "truncated": (("bias", "state"), {"truncate": 3}),
    "truncated, the last": (("bias",), {"truncate": 2, "output": "last"}),
    "truncated in reverse": (("bias", "state"), {"truncate": 3, "reverse": True}),
}


def arrays_of(kind, given, dtype, draw):
    """The arrays in the order of the operation's arguments."""
    gates = GATES[kind]
    biases = [draw(*gates, FEATURES) for _ in range(2 if kind == "gru" else 1)]
    begin = [draw(BATCH, FEATURES) for _ in range(2 if kind == "lstm" else 1)]
    arrays = [draw(BATCH, STEPS, INPUTS), draw(INPUTS, *gates, FEATURES) / 2, draw(FEATURES, *gates, FEATURES) / 2]
    arrays += [array if "bias" in given else None for array in biases]
    arrays += [array if "state" in given else None for array in begin]
    cast = [None if array is None else array.astype(dtype) for array in arrays]
    return [*cast, LENGTHS if "lengths" in given else None]


def judged(torch, kind, output="sequence", reverse=False, truncate=None):
    """The same by PyTorch, as a function of the same arrays."""
    names = ("bias_ih_l0", "bias_hh_l0") if kind == "gru" else ("bias_l0",)

    def theirs(x, weight_ih, weight_hh, *rest):
        biases, (*begin, lengths) = rest[: len(names)], rest[len(names) :]
        parameters = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
        parameters |= {name: bias for name, bias in zip(names, biases, strict=True) if bias is not None}
        begin = [None if state is None else state[:, None] for state in begin]
        x = turned(torch, x, lengths) if reverse else x
        y, last = states(torch, kind, x, parameters, *begin, lengths=lengths, truncate=truncate)
        return last if output == "last" else turned(torch, y, lengths) if reverse else y

    return theirs


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", GATES)
def test_results_and_gradients_are_pytorchs(torch, judge, draw, kind, variant):
    given, attributes = VARIANTS[variant]
    theirs = judged(torch, kind, **attributes)
    for dtype, apart in (("float64", 1e-12), ("float32", 5e-6)):
        arrays = arrays_of(kind, given, dtype, draw)
        judge.agree(OPERATIONS[kind], theirs, arrays, backend="compiled", apart=apart, **OWN[kind], **attributes)


@pytest.mark.parametrize("kind", GATES)
def test_the_literal_evaluation_says_the_same(torch, judge, draw, kind):
    arrays = arrays_of(kind, ("bias", "state", "lengths"), "float64", draw)
    judge.agree(OPERATIONS[kind], judged(torch, kind), arrays, apart=1e-12, **OWN[kind])


@pytest.mark.parametrize("kind", GATES)
def test_one_step_and_one_feature(torch, judge, draw, kind):
    arrays = arrays_of(kind, ("bias", "state"), "float64", draw)
    arrays = [None if array is None else array[..., :1] for array in arrays]
    arrays[:3] = arrays[0][:, :1], arrays[1][:1], arrays[2][:1]
    judge.agree(OPERATIONS[kind], judged(torch, kind), arrays, backend="compiled", **OWN[kind])


@pytest.mark.parametrize("kind", GATES)
def test_a_padded_sequence_gives_what_it_gives_alone(draw, kind):
    """Result and gradients, whatever stands behind its length."""
    arrays = arrays_of(kind, ("bias", "state", "lengths"), "float64", draw)
    y, pullback = ops.vjp(OPERATIONS[kind], *arrays, **OWN[kind])
    g = draw(*y.shape)
    together = pullback(g)
    total = [np.zeros_like(gradient) for gradient in together[1:3]]
    for row, length in enumerate(LENGTHS):
        # The first array and the states have a row for each sequence; weights and biases have none.
        begin = len(arrays) - 1 - (2 if kind == "lstm" else 1)
        own = [array[row : row + 1] if not 0 < place < begin else array for place, array in enumerate(arrays[:-1])]
        alone, back = ops.vjp(OPERATIONS[kind], own[0][:, :length], *own[1:], **OWN[kind])
        np.testing.assert_allclose(y[row, :length], alone[0], rtol=1e-12, atol=1e-14)
        assert not y[row, length:].any()
        gradients = back(g[row : row + 1, :length])
        np.testing.assert_allclose(together[0][row, :length], gradients[0][0], rtol=1e-11, atol=1e-13)
        assert not together[0][row, length:].any()
        total = [found + gradient for found, gradient in zip(total, gradients[1:3], strict=True)]
    for found, gradient in zip(total, together[1:3], strict=True):
        np.testing.assert_allclose(gradient, found, rtol=1e-11, atol=1e-13)


def test_cells_alone_begin_with_a_state_of_0(draw):
    x, weight_ih, weight_hh, bias, state, cell, _ = arrays_of("lstm", ("bias", "state"), "float64", draw)
    zeros = np.zeros_like(state)
    assert np.array_equal(
        ops.lstm(x, weight_ih, weight_hh, bias, cell=cell), ops.lstm(x, weight_ih, weight_hh, bias, zeros, cell)
    )


def test_lengths_have_no_gradient(draw):
    arrays = arrays_of("tanh", ("bias", "state", "lengths"), "float64", draw)
    y, pullback = ops.vjp(ops.rnn, *arrays)
    *_, state, lengths = pullback(np.ones_like(y))
    assert state.shape == (BATCH, FEATURES)
    assert lengths is None


def floats(*shape):
    return np.zeros(shape, np.float32)


X, W, U = floats(2, 3, 4), floats(4, 5), floats(5, 5)
SHAPE, ARGUMENT, DTYPE = errors.ShapeError, errors.ArgumentError, errors.DtypeError


def not_finite(value):
    state = floats(2, 5)
    state[1, 3] = value
    return state


REFUSED = [
    (
        lambda: ops.rnn(floats(3, 4), W, U),
        SHAPE,
        "`x` (3, 4) must have 3 dimensions (batch, steps, inputs), has 2",
    ),
    (lambda: ops.rnn(floats(2, 0, 4), W, U), SHAPE, "`x` (2, 0, 4) is empty"),
    (
        lambda: ops.rnn(X, W, floats(5)),
        SHAPE,
        "`weight_hh` (5,) must have 2 dimensions (features, features), has 1",
    ),
    (
        lambda: ops.lstm(X, W, U),
        SHAPE,
        "`weight_hh` (5, 5) must have 3 dimensions (features, gates, features), has 2",
    ),
    (lambda: ops.rnn(X, W, floats(4, 5)), SHAPE, "`weight_hh` (4, 5) must have shape (5, 5)"),
    (lambda: ops.rnn(X, floats(3, 5), U), SHAPE, "`weight_ih` (3, 5) must have shape (4, 5)"),
    (lambda: ops.gru(X, floats(4, 3, 5), floats(5, 4, 5)), SHAPE, "`weight_hh` (5, 4, 5) must have shape (5, 3, 5)"),
    (lambda: ops.rnn(X, W, U, floats(4)), SHAPE, "`bias` (4,) must have shape (5,)"),
    (
        lambda: ops.gru(X, floats(4, 3, 5), floats(5, 3, 5), floats(3, 5), floats(15)),
        SHAPE,
        "`bias_hh` (15,) must have shape (3, 5)",
    ),
    (
        lambda: ops.gru(X, floats(4, 3, 5), floats(5, 3, 5), floats(3, 5)),
        ARGUMENT,
        "`bias_ih` and `bias_hh` must be given both or neither",
    ),
    (lambda: ops.rnn(X, W, U, state=floats(3, 5)), SHAPE, "`state` (3, 5) must have shape (2, 5)"),
    (
        lambda: ops.lstm(X, floats(4, 4, 5), floats(5, 4, 5), cell=floats(2, 2, 5)),
        SHAPE,
        "`cell` (2, 2, 5) must have shape (2, 1, 5)",
    ),
    (
        lambda: ops.lstm(X, floats(4, 4, 5), floats(5, 4, 5), state=floats(2, 3, 5)),
        SHAPE,
        "`state` (2, 3, 5) must have shape (2, 1, 5), or with the cells (2, 2, 5)",
    ),
    (lambda: ops.rnn(X, W, U, state=not_finite(np.inf)), ARGUMENT, "`state` must be finite, is inf at (1, 3)"),
    (
        lambda: ops.lstm(X, floats(4, 4, 5), floats(5, 4, 5), cell=not_finite(np.nan)),
        ARGUMENT,
        "`cell` must be finite, is nan at (1, 3)",
    ),
    (lambda: ops.rnn(X, W, U, state=np.zeros((2, 5))), DTYPE,
        "`state` has dtype float64 and `x` float32; one type is needed"),
    (lambda: ops.rnn(X, W, U, lengths=np.array([3, 0])), ARGUMENT, "length 0 at position 1 is outside 1 .. 3"),
    (lambda: ops.rnn(X, W, U, lengths=np.array([4, 1])), ARGUMENT, "length 4 at position 0 is outside 1 .. 3"),
    (lambda: ops.rnn(X, W, U, lengths=np.array([3, 1, 2])), SHAPE, "`lengths` (3,) must have shape (2,)"),
    (
        lambda: ops.rnn(X, W, U, lengths=np.array([3.0, 1.0])),
        DTYPE,
        "`lengths` has dtype float64; an integer type is needed for lengths",
    ),
    (lambda: ops.rnn(X, W, U, lengths=[3, 1]), DTYPE, "`lengths` must be a NumPy array, is a list"),
    (
        lambda: ops.rnn(X, W, U, nonlinearity="sin"),
        ARGUMENT,
        "`nonlinearity` (='sin') must be 'tanh' or 'relu'",
    ),
    (
        lambda: ops.rnn(X, W, U, nonlinearity="lstm"),
        ARGUMENT,
        "`nonlinearity` (='lstm') must be 'tanh' or 'relu'",
    ),
    (lambda: ops.rnn(X, W, U, output="all"), ARGUMENT, "`output` (='all') must be one of sequence, last, state"),
    (lambda: ops.rnn(X, W, U, truncate=0), ARGUMENT, "`truncate` (=0) must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind) as refusal:
        call()
    assert str(refusal.value) == message


@pytest.mark.parametrize(("name", "gates"), [("rnn", ()), ("lstm", (4,)), ("gru", (3,))])
def test_the_final_state_is_what_goes_on(name: str, gates: tuple[int, ...]):
    random = np.random.default_rng(0)
    call, biases = getattr(ops, name), [None] * (2 if name == "gru" else 1)
    x, ih, hh = (
        random.normal(size=(3, 8, 4)),
        random.normal(size=(4, *gates, 5)),
        random.normal(size=(5, *gates, 5)) / 2,
    )
    state = call(x[:, :5], ih, hh, output="state")
    assert state.shape == (3, 2 if name == "lstm" else 1, 5)
    np.testing.assert_array_equal(call(x[:, 5:], ih, hh, *biases, state), call(x, ih, hh)[:, 5:])
    y, pullback = vjp(call, x[:, 5:], ih, hh, *biases, state)
    g, direction = random.normal(size=y.shape), random.normal(size=state.shape)
    gradient = next(array for array in pullback(g) if array is not None and array.shape == state.shape)
    ends = [np.sum(g * call(x[:, 5:], ih, hh, *biases, state + step * direction)) for step in (1e-6, -1e-6)]
    assert abs((ends[0] - ends[1]) / 2e-6 - np.sum(gradient * direction)) < 1e-8
