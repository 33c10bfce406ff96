"""Equations that read themselves one step before: computed, differentiated and explained through `pellucid.Equation`,
and as layers that a user writes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from pellucid import Equation, nn, optim
from pellucid.errors import ArgumentError, EquationError, ShapeError

SIMPLE = "h[t,k] = tanh(sum(c) x[t,c]*u[c,k] + sum(j) h[t-1,j]*w[j,k] + b[k])"
BEGUN = f"{SIMPLE}\nh[-1,k] = s[k]"
DOWN = "h[t,k] = x[t,k] * sigmoid(sum(j) h[t+1,j]*w[j,k])\nh[T,k] = s[k]"
GATES = """
a[t,q,k] = x[t,q,k] + sum(j) h[t-1,j]*w[j,q,k]
c[t,k] = sigmoid(a[t,0,k])*c[t-1,k] + tanh(a[t,1,k])
c[-1,k] = s[k]
h[t,k] = c[t,k]*sigmoid(a[t,0,k])
"""
STEPS, FEATURES = 5, 3
random = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return random.normal(0, 0.7, shape)


SQUARE = draw(FEATURES, FEATURES)
READ = {"x": draw(STEPS, 2), "u": draw(2, FEATURES), "w": SQUARE, "b": draw(FEATURES)}
STATE = {"s": draw(FEATURES)}
CASES = {
    "simple": (SIMPLE, READ),
    "begun": (BEGUN, READ | STATE),
    "down": (DOWN, {"x": draw(STEPS, FEATURES), "w": SQUARE} | STATE),
    "gates": (GATES, {"x": draw(STEPS, 2, FEATURES), "w": draw(FEATURES, 2, FEATURES)} | STATE),
}


def equation(text: str) -> Equation:
    return Equation(text, **({"T": STEPS} if "T" in text else {}))


def by_hand(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The states, by plain loops."""
    x, w, h = arrays["x"], arrays["w"], np.zeros(FEATURES)
    found = np.zeros((STEPS, FEATURES))
    cell = h = arrays.get("s", h)
    if name == "gates":
        h = np.zeros(FEATURES)
    for t in range(STEPS)[:: -1 if name == "down" else 1]:
        if name == "down":
            h = x[t] / (1 + np.exp(-(h @ w)))
        elif name == "gates":
            gate, value = x[t] + np.einsum("j,jqk->qk", h, w)
            open_ = 1 / (1 + np.exp(-gate))
            cell = open_ * cell + np.tanh(value)
            h = cell * open_
        else:
            h = np.tanh(x[t] @ arrays["u"] + h @ w + arrays["b"])
        found[t] = h
    return found


@pytest.mark.parametrize("name", CASES)
def test_states_are_those_of_plain_loops(name: str) -> None:
    text, arrays = CASES[name]
    expected = by_hand(name, arrays)
    np.testing.assert_allclose(equation(text).reference(**arrays), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(equation(text)(**arrays), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name: str) -> None:
    text, arrays = CASES[name]
    g = draw(STEPS, FEATURES)
    for wrt, array in arrays.items():
        gradient = equation(text).gradient(wrt)
        found = gradient.reference(g=g, **arrays)
        np.testing.assert_allclose(gradient(g=g, **arrays), found, rtol=1e-11, atol=1e-12)
        direction, eps = draw(*array.shape), 1e-5
        ends = [np.sum(g * by_hand(name, {**arrays, wrt: array + step * direction})) for step in (eps, -eps)]
        assert abs((ends[0] - ends[1]) / (2 * eps) - np.sum(found * direction)) < 1e-8


def test_the_gradient_is_printed_as_a_recurrence_the_other_way() -> None:
    assert str(Equation(BEGUN).gradient("w")).splitlines() == [
        "h[t,k] = tanh(sum(c) x[t,c] * u[c,k] + sum(j) h[t-1,j] * w[j,k] + b[k])",
        "h[-1,k] = s[k]",
        "dh[t,k] = g[t,k] + sum(k1) dh[t+1,k1] * (1 - h[t+1,k1]**2) * w[k,k1]",
        "dw[j,k] = sum(t : t > 0) dh[t,k] * (1 - h[t,k]**2) * h[t-1,j] + dh[0,k] * (1 - h[0,k]**2) * s[j]",
    ]


def test_what_is_printed_can_be_read_again() -> None:
    for text, _ in CASES.values():
        for shown in (equation(text), equation(text).gradient("w")):
            assert Equation(str(shown), **shown.constants) == shown


def test_latex_has_a_line_for_each_equation() -> None:
    assert Equation("z[t] = x[t] + z[t-1]\nz[-1] = s").latex() == "z_{t} = x_{t} + z_{t - 1} \\\\\nz_{-1} = s"


def test_a_gradient_is_explained_step_by_step_in_time() -> None:
    decay = Equation("z[t] = x[t] + a * z[t-1]\nz[-1] = s")
    explanation = decay.gradient("a").explain((), x=np.ones(3), a=0.5, s=4.0, g=np.ones(3))
    # z = 3, 2.5, 2.25; dz = 1.75, 1.5, 1
    assert str(explanation) == ("da = dz[1]*z[0] + dz[2]*z[1] + dz[0]*s\n   = 1.5*3 + 1*2.5 + 1.75*4\n   = 14")


@pytest.mark.parametrize(
    ("index", "base", "text"),
    [
        ((0,), 0, "z[0] = x[0] + a*s\n     = 1 + 0.5*4\n     = 3"),
        ((2,), 0, "z[2] = x[2] + a*z[1]\n     = 1 + 0.5*2.5\n     = 2.25"),
        ((1,), 1, "z[1] = x[1] + a*s\n     = 1 + 0.5*4\n     = 3"),
    ],
)
def test_a_state_is_explained_by_the_one_before(index: tuple[int, ...], base: int, text: str) -> None:
    decay = Equation("z[t] = x[t] + a * z[t-1]\nz[-1] = s")
    assert str(decay.explain(index, base, x=np.ones(3), a=0.5, s=4.0)) == text


def test_sums_that_wait_for_nothing_stand_before_the_loop() -> None:
    text, arrays = CASES["simple"]
    nest = str(Equation(text).loop_nest(**arrays))
    assert nest.index("acc[chain 0] += x[") < nest.index("for time.step in 0 .. 4")
    assert "x[" not in nest[nest.index("for time.step") :]


@pytest.mark.parametrize(
    ("error", "message", "ask"),
    [
        (
            EquationError,
            "`z[t-2]` waits for itself: a recurrence reads what it makes one step before, at `t-1`\n"
            "  z[t] = z[t-2] + x[t]\n         ^^^^^^",
            lambda: Equation("z[t] = z[t-2] + x[t]"),
        ),
        (
            ArgumentError,
            "a recurrence, or several equations, are not solved: only a single equation is",
            lambda: Equation(SIMPLE).solved(**CASES["simple"][1]),
        ),
        (
            ArgumentError,
            "the gradient of 3 equations in order is derived one by one, not here",
            lambda: Equation(SIMPLE).gradient("w").gradient("x", "f"),
        ),
        (
            ArgumentError,
            "`wrt` (='x') has no influence that has a derivative",
            lambda: Equation("z[t] = floor(x[t]) + z[t-1]").gradient("x"),
        ),
        (
            ShapeError,
            "extent of index `t` is open: no array determines it; give it with extents={'t': ...}\n"
            "  z[t] = 2 * z[t-1]\n    ^",
            lambda: Equation("z[t] = 2 * z[t-1]\nz[-1] = s").reference(s=1.0),
        ),
        (
            EquationError,
            "the state before the first step stands at 3, not at `T`\n  z[T] = s\n    ^",
            lambda: Equation("z[t] = x[t] + z[t+1]\nz[T] = s", T=4).reference(x=np.ones(3), s=1.0),
        ),
    ],
)
def test_refused(error: type[Exception], message: str, ask) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        ask()


def test_steps_that_no_array_counts_are_given() -> None:
    np.testing.assert_array_equal(
        Equation("z[t] = 2 * z[t-1]\nz[-1] = s")(s=1.0, extents={"t": 4}), [2.0, 4.0, 8.0, 16.0]
    )


def test_a_layer_of_ones_own_is_trained() -> None:
    layer = nn.EquationLayer(
        f"h[n,t,k] = {SIMPLE.partition(' = ')[2].replace('x[t', 'x[n,t').replace('h[t', 'h[n,t')}\nh[n,-1,k] = s[k]",
        extents={"k": 8},
        parameters={"u": "glorot_uniform", "w": "orthogonal", "b": "zeros", "s": "zeros"},
    )
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(3))
    x = random.normal(size=(32, 6, 4))
    t = (x[:, 0, 0] > 0).astype(int) + (x[:, 5, 1] > 0)
    models = [
        net.build((6, 4), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(lr=0.02), backend=backend)
        for backend in ("compiled", "reference")
    ]
    assert models[0].parameters["0.w"].shape == (8, 8)
    losses = [[model.train_step(x, t) for _ in range(3)] for model in models]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for _ in range(100):
        models[0].train_step(x, t)
    assert models[0].train_step(x, t) < 0.3
    assert np.abs(models[0].parameters["0.s"]).max() > 0.01


def test_a_convolutional_state() -> None:
    layer = nn.EquationLayer(
        "h[n,t,i,k] = max(0, sum(a,c) x[n,t,i+a-1,c]*u[a,c,k] + sum(a,q) h[n,t-1,i+a-1,q]*w[a,q,k])",
        extents={"k": 5, "a": 3},
        parameters={"u": "he_normal", "w": "glorot_uniform"},
    )
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(2))
    x, t = random.normal(size=(8, 4, 6, 2)), np.arange(8) % 2
    one, two = (
        net.build((4, 6, 2), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.1), backend=backend)
        for backend in ("compiled", "reference")
    )
    np.testing.assert_allclose(
        [one.train_step(x, t) for _ in range(4)], [two.train_step(x, t) for _ in range(4)], rtol=1e-4
    )
