"""Activations and softmax against PyTorch, their kinks, and their large arguments."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import ops
from pellucid.errors import ArgumentError
from pellucid.nn.equations import activation
from pellucid.ops.operation import Applied, run, run_gradients

SAME_NAME = [
    ("sigmoid", {}),
    ("logsigmoid", {}),
    ("tanh", {}),
    ("relu", {}),
    ("relu6", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {}),
    ("elu", {"alpha": 0.4}),
    ("selu", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("silu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("hardswish", {}),
    ("mish", {}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
]


@pytest.mark.parametrize(("name", "attributes"), SAME_NAME, ids=str)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)], ids=str)
def test_elementwise(judge, draw, name, attributes, shape):
    theirs = getattr(judge.torch.nn.functional, name)
    judge.agree(getattr(ops, name), lambda x: theirs(x, **attributes), [3 * draw(*shape)], **attributes)


def test_hard_sigmoid(judge, draw):
    """By its definition: the gradient of PyTorch's own `hardsigmoid` multiplies by a float32 1/6 even in float64."""
    judge.agree(ops.hardsigmoid, lambda x: judge.torch.nn.functional.relu6(x + 3) / 6, [3 * draw(2, 3, 5)])


def test_softplus_with_beta_has_no_linear_part(judge, draw):
    """PyTorch's turns into a line past a threshold; put out of reach, both are the same."""
    theirs = judge.torch.nn.functional.softplus
    judge.agree(ops.softplus, lambda x: theirs(x, beta=2.5, threshold=1000), [draw(4, 5)], beta=2.5)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (lambda x: activation.celu(x, alpha=0.7), lambda f, x: x.clamp(min=0) + 0.7 * (x.clamp(max=0) / 0.7).expm1()),
        (lambda x: activation.selu(x, alpha=0.5, scale=3.0), lambda f, x: 3 * f.elu(x, alpha=0.5)),
        (lambda x: activation.silu(x, beta=1.7), lambda f, x: x * (1.7 * x).sigmoid()),
        (lambda x: activation.hardsigmoid(x, slope=0.2, offset=0.4), lambda f, x: (0.2 * x + 0.4).clamp(0, 1)),
    ],
    ids=["celu", "selu", "silu", "hardsigmoid"],
)
def test_equations_with_numbers_that_no_layer_has(judge, draw, mine, theirs):
    x = 3 * draw(3, 5)
    applied = Applied(mine(x.shape), {"x": x})
    tensor = judge.torch.tensor(x, requires_grad=True)
    expected = theirs(judge.torch.nn.functional, tensor)
    expected.sum().backward()
    np.testing.assert_allclose(run(applied, "reference"), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    gradients = run_gradients(applied, np.ones_like(x), ("x",), "reference")
    np.testing.assert_allclose(gradients["x"], tensor.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_hardmax_is_1_at_the_first_of_the_largest(dim):
    x = np.array([[1.0, 3.0, 3.0], [4.0, 3.0, 0.0]])
    expected = np.zeros_like(x)
    for number, place in enumerate(np.argmax(x, dim)):
        expected[(place, number) if dim == 0 else (number, place)] = 1
    for backend in ("reference", "compiled"):
        found = run(Applied(activation.hardmax(x.shape, dim=dim), {"x": x}), backend)
        np.testing.assert_array_equal(found, expected)


def test_numbers_that_are_refused():
    with pytest.raises(ArgumentError) as caught:
        activation.celu((3,), alpha=0)
    assert str(caught.value) == "`alpha` (=0.0) must be greater than 0"


@pytest.mark.parametrize("count", [1, 5])
def test_prelu(judge, draw, count):
    def theirs(x, weight):
        return judge.torch.nn.functional.prelu(x.movedim(-1, 1), weight).movedim(1, -1)

    judge.agree(ops.prelu, theirs, [draw(2, 3, 4, 5), draw(count)])
    judge.agree(ops.prelu, judge.torch.nn.functional.prelu, [draw(5), draw(1)])


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout(judge, draw, pieces):
    def theirs(x):
        return x.reshape(2, 3, 6 // pieces, pieces).amax(-1)

    judge.agree(ops.maxout, theirs, [draw(2, 3, 6)], pieces=pieces)


@pytest.mark.parametrize("dim", [-1, 0, 1, 2])
def test_softmax(judge, draw, dim):
    functional = judge.torch.nn.functional
    arrays = [4 * draw(3, 4, 5)]
    judge.agree(ops.softmax, lambda x: functional.softmax(x, dim), arrays, dim=dim)
    judge.agree(ops.log_softmax, lambda x: functional.log_softmax(x, dim), arrays, dim=dim)


def test_softmax_of_one_row(judge, draw):
    functional = judge.torch.nn.functional
    judge.agree(ops.softmax, lambda x: functional.softmax(x, -1), [draw(6)])
    judge.agree(ops.log_softmax, lambda x: functional.log_softmax(x, -1), [draw(6)])


KINKS = {
    "relu": [0.0],
    "relu6": [0.0, 6.0],
    "leaky_relu": [0.0],
    "elu": [0.0],
    "selu": [0.0],
    "hardtanh": [-1.0, 1.0],
}


@pytest.mark.parametrize("name", KINKS)
def test_derivatives_at_kinks_are_those_of_torch(judge, name):
    theirs = getattr(judge.torch.nn.functional, name)
    judge.agree(getattr(ops, name), theirs, [np.array(KINKS[name])])


LARGE = np.array([-1e30, -1e4, -800.0, -90.0, 90.0, 800.0, 1e4, 1e30])


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize("name", ["elu", "hardtanh", "logsigmoid", "relu", "selu", "sigmoid", "softplus", "tanh"])
def test_infinities_and_nan(judge, name, backend):
    x = np.array([-np.inf, np.inf])
    theirs = getattr(judge.torch.nn.functional, name)
    y, pullback = ops.vjp(getattr(ops, name), x, backend=backend)
    tensor = judge.torch.tensor(x, requires_grad=True)
    expected = theirs(tensor)
    expected.sum().backward()
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_array_equal(pullback(np.ones(2))[0], tensor.grad.numpy())
    assert np.isnan(run(getattr(ops, name).operation.apply(np.array([np.nan])), backend)).all()


def test_hard_swish_of_infinities():
    """Its limits; the product of the definition would be minus infinity times 0."""
    x = np.array([-np.inf, np.inf])
    y, pullback = ops.vjp(ops.hardswish, x, backend="reference")
    np.testing.assert_array_equal(y, [0, np.inf])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0, 1])


@pytest.mark.parametrize(
    "operation",
    [ops.sigmoid, ops.logsigmoid, ops.tanh, ops.elu, ops.selu, ops.softplus, ops.softsign, ops.silu, ops.mish],
    ids=lambda operation: operation.__name__,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arguments_overflow_nowhere(operation, dtype):
    y, pullback = ops.vjp(operation, LARGE.astype(dtype), backend="reference")
    assert np.isfinite(y).all()
    assert np.isfinite(pullback(np.ones_like(y))[0]).all()


def test_softmax_of_large_logits(literally):
    logits = np.array([[1e4, 1e4, -1e4], [-1e4, -2e4, -3e4]])
    np.testing.assert_array_equal(literally(ops.softmax, logits), [[0.5, 0.5, 0], [1, 0, 0]])
    expected = [[-np.log(2), -np.log(2), -2e4 - np.log(2)], [0, -1e4, -2e4]]
    np.testing.assert_allclose(literally(ops.log_softmax, logits), expected, rtol=1e-15)


def test_derivatives_of_mathematics_section_3(draw):
    z = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    one = np.ones_like(z)

    def derivative(operation, **attributes):
        return ops.vjp(operation, z, backend="reference", **attributes)[1](one)[0]

    sigmoid = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(derivative(ops.sigmoid), sigmoid * (1 - sigmoid), rtol=1e-15)
    np.testing.assert_allclose(derivative(ops.tanh), 1 - np.tanh(z) ** 2, rtol=1e-14)
    np.testing.assert_array_equal(derivative(ops.relu), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(derivative(ops.leaky_relu, negative_slope=0.25), [0.25, 0.25, 0.25, 1, 1])
    np.testing.assert_allclose(derivative(ops.softsign), 1 / (1 + np.abs(z)) ** 2, rtol=1e-15)
    np.testing.assert_array_equal(derivative(ops.hardtanh), [0, 1, 1, 1, 0])
