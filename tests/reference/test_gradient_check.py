"""The gradient check itself: it must accept right gradients to rounding and refuse slightly wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import ArgumentError, ShapeError
from pellucid.reference import check_gradient


def bilinear(arrays):
    return arrays["x"] @ arrays["w"]


@pytest.fixture
def dense():
    generator = np.random.default_rng(0)
    arrays = {"x": generator.standard_normal((4, 6)), "w": generator.standard_normal((6, 3))}
    g = generator.standard_normal((4, 3))
    return arrays, {"x": g @ arrays["w"].T, "w": arrays["x"].T @ g}, g


def test_a_bilinear_function_leaves_only_rounding_at_eps_1(dense):
    arrays, gradients, g = dense
    report = check_gradient(bilinear, arrays, gradients, g, eps=1)
    assert [check.name for check in report.checks] == ["x", "w"]
    assert report.relative_error < 1e-14


def test_a_smooth_function(dense):
    arrays, _, g = dense
    value = np.tanh(bilinear(arrays))
    gradients = {"x": (g * (1 - value**2)) @ arrays["w"].T}
    report = check_gradient(lambda a: np.tanh(bilinear(a)), arrays, gradients, g)
    assert report.relative_error < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_cell_is_seen(dense, seed):
    arrays, gradients, g = dense
    gradients["w"][2, 1] *= 1.001
    report = check_gradient(bilinear, arrays, gradients, g, eps=1, direction_seed=seed)
    assert report.worst.name == "w"
    assert report.relative_error > 1e-6


def test_a_gradient_that_is_not_a_number_is_the_worst(dense):
    arrays, gradients, g = dense
    gradients["x"][0, 0] = np.nan
    report = check_gradient(bilinear, arrays, gradients, g, eps=1)
    assert report.worst.name == "x"
    assert np.isnan(report.relative_error)


def test_zero_gradients_and_scalars():
    report = check_gradient(lambda a: 3.0 * a["s"], {"s": np.array(2.0)}, {"s": 3.0}, eps=1)
    assert report.relative_error < 1e-15
    assert check_gradient(lambda a: 1.0, {"s": np.array(2.0)}, {"s": 0.0}).relative_error == 0
    assert check_gradient(lambda a: 1.0, {"s": np.array(2.0)}, {"s": 1.0}).relative_error == 1


def test_integer_arrays_without_gradient_pass_unchanged():
    def gather(arrays):
        return arrays["x"][arrays["t"]]

    arrays = {"x": np.arange(4.0), "t": np.array([2, 2, 0])}
    report = check_gradient(gather, arrays, {"x": np.array([3.0, 0, 3.0, 0])}, np.array([1.0, 2.0, 3.0]), eps=1)
    assert report.relative_error < 1e-15


def test_printing(dense):
    report = check_gradient(lambda a: 2.0 * a["s"], {"s": np.array(1.0)}, {"s": 0.0}, eps=1)
    assert str(report).startswith("s  by differences ")
    assert str(report).endswith("by gradient 0  relative error 1.0e+00")


def test_messages(dense):
    arrays, gradients, g = dense
    with pytest.raises(ArgumentError, match=r"^`gradients` is empty: there is nothing to check$"):
        check_gradient(bilinear, arrays, {}, g)
    with pytest.raises(ArgumentError, match=r"^`eps` \(=0\) must be positive and finite$"):
        check_gradient(bilinear, arrays, gradients, g, eps=0)
    with pytest.raises(ArgumentError, match=r"^`gradients` has `y`, which is not among the arrays: \['w', 'x'\]$"):
        check_gradient(bilinear, arrays, {"y": g}, g)
    with pytest.raises(ShapeError, match=r"^the gradient of `x` has shape \(4, 3\), the array has \(4, 6\)$"):
        check_gradient(bilinear, arrays, {"x": g}, g)
    with pytest.raises(ShapeError, match=r"^`upstream` has shape \(2, 2\), the function's value has \(4, 3\)$"):
        check_gradient(bilinear, arrays, gradients, np.zeros((2, 2)))
