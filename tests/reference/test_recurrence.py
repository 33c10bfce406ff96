"""The literal meaning of recurrences against loops in NumPy, and against their steps as ordinary formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from pellucid.reference import evaluate, evaluate_recurrence
from support.recurrences import KNOWN, Steps, recurrences


def made(case, arrays):
    extents, shapes = case.solved
    return evaluate_recurrence(case.recurrence, case.constants, extents, shapes, arrays)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_lstm_against_a_loop():
    case = KNOWN["LSTM begun"]
    arrays = case.arrays()
    found = made(case, arrays)
    h, c = arrays["s"], np.broadcast_to(2 * arrays["r"], arrays["s"].shape)
    for t in range(3):
        a = arrays["u"][:, t] + np.einsum("nj,jqk->nqk", h, arrays["w"])
        into, forget, candidate, out = a.transpose(1, 0, 2)
        c = sigmoid(forget) * c + sigmoid(into) * np.tanh(candidate)
        h = sigmoid(out) * np.tanh(c)
        for name, expected in (("a", a), ("c", c), ("h", h)):
            np.testing.assert_allclose(found[name][:, t], expected, rtol=1e-14, atol=1e-15)


def test_missing_steps_downwards_against_a_loop():
    """A sequence begins, seen from behind, where it ends: until then the state is the initial one."""
    case = KNOWN["masked downwards"]
    arrays = case.arrays()
    found = made(case, arrays)["h"]
    h = arrays["s"]
    for t in reversed(range(5)):
        h = np.where(t < arrays["length"][:, None], np.tanh(arrays["u"][:, t] + h @ arrays["w"]), h)
        np.testing.assert_allclose(found[:, t], h, rtol=1e-14)


def test_convolutional_state_against_a_loop():
    case = KNOWN["convolution"]
    arrays = case.arrays()
    found = made(case, arrays)["h"]
    h = np.zeros_like(arrays["u"][:, 0])
    for t in range(4):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(h, ((0, 0), (1, 1), (0, 0))), 3, axis=1)
        h = np.tanh(arrays["u"][:, t] + np.einsum("nijs,sjk->nik", windows, arrays["w"]))
        np.testing.assert_allclose(found[:, t], h, rtol=1e-14)


def test_outside_of_a_maximum_is_no_number_without_an_initial_state():
    found = made(Steps("h[t,k] = max(max(j) h[t-1,j], x[t,k])", {"x": (2, 2)}), {"x": [[1.0, 2], [0, 3]]})
    np.testing.assert_array_equal(found["h"], [[1, 2], [2, 3]])
    found = made(Steps("h[t,k] = x[t,k] + max(j) h[t-1,j]", {"x": (2, 2)}), {"x": np.zeros((2, 2))})
    np.testing.assert_array_equal(found["h"], np.full((2, 2), -np.inf))


def by_formulas(case, arrays):
    """The first step and the later ones as ordinary formulas, evaluated one by one."""
    recurrence, (extents, shapes) = case.recurrence, case.solved
    count = extents[recurrence.axis]
    result = {name: np.full(shapes[name], np.nan) for name in recurrence.tensors}
    known = {**arrays, **result}
    for formula in recurrence.first(count):
        evaluate(formula, case.constants, extents, known, out=result[formula.output.tensor])
    for step in range(count - 1):
        for formula in recurrence.later(count):
            # The axis of the steps as a constant is one step.
            at_step = {name: extent for name, extent in extents.items() if name != recurrence.axis}
            constants = {**case.constants, recurrence.axis: step}
            evaluate(formula, constants, at_step, known, out=result[formula.output.tensor])
    return result


def check(case):
    arrays = case.arrays()
    expected = made(case, arrays)
    for name, found in by_formulas(case, arrays).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-13, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", KNOWN)
def test_known_recurrences_step_by_step(name):
    check(KNOWN[name])


@settings(max_examples=60, deadline=None)
@given(recurrences())
def test_drawn_recurrences_step_by_step(case):
    check(case)
