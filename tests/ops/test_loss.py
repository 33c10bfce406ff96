"""Losses against PyTorch, the gradients of MATHS.md section 6, and logits that overflow nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pellucid import ops

REDUCTIONS = ["mean", "sum", "none"]
SMOOTH = 1e-11


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4, 2)], ids=str)
@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("huber_loss", {}),
        ("huber_loss", {"delta": 0.3}),
        ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.4}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("binary_cross_entropy_with_logits", {}),
    ],
    ids=str,
)
def test_elementwise(judge, draw, name, attributes, shape, reduction):
    attributes = {**attributes, "reduction": reduction}
    theirs = getattr(judge.torch.nn.functional, name)
    judge.agree(getattr(ops, name), lambda y, t: theirs(y, t, **attributes), [draw(*shape), draw(*shape)], **attributes)


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_div(judge, draw, reduction, log_target):
    def theirs(y, t):
        # Reduced here: PyTorch warns that its own mean will change.
        each = judge.torch.nn.functional.kl_div(y, t, reduction="none", log_target=log_target)
        return {"mean": each.mean(), "sum": each.sum(), "none": each, "batchmean": each.sum() / 3}[reduction]

    target = draw(3, 4) if log_target else np.abs(draw(3, 4))
    judge.agree(ops.kl_div, theirs, [draw(3, 4), target], reduction=reduction, log_target=log_target)


def test_kl_div_where_the_target_is_0():
    target = np.array([[0.0, 1.0]])
    y, pullback = ops.vjp(ops.kl_div, np.array([[-1.0, -2.0]]), target, reduction="none", backend="reference")
    np.testing.assert_array_equal(y, [[0, 2]])
    np.testing.assert_array_equal(pullback(np.ones_like(y))[0], [[0, -1]])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_the_sources(judge, draw, reduction):
    torch = judge.torch
    y, t = np.abs(draw(3, 4)), np.abs(draw(3, 4))
    reduce = {"mean": lambda l: l.mean(), "sum": lambda l: l.sum(), "none": lambda l: l}[reduction]
    formulas = {
        ops.squared_error_loss: lambda y, t: (t - y) ** 2 / 2,
        ops.msle_loss: lambda y, t: (torch.log1p(y) - torch.log1p(t)) ** 2,
        ops.mape_loss: lambda y, t: (y - t).abs() / t.abs().clamp(min=1e-8),
        ops.categorical_cross_entropy: lambda y, t: -(t * y.log()).sum(-1),
    }
    for operation, formula in formulas.items():
        judge.agree(operation, lambda y, t, formula=formula: reduce(formula(y, t)), [y, t], reduction=reduction)
    signs = np.sign(draw(3, 4))
    judge.agree(ops.hinge_loss, lambda y, t: reduce((1 - t * y).clamp(min=0)), [draw(3, 4), signs], reduction=reduction)


def test_squared_error_is_a_sum_by_itself(literally):
    y, t = np.array([[1.0, 2.0]]), np.array([[0.0, 5.0]])
    assert literally(ops.squared_error_loss, y, t) == 5
    assert literally(ops.mse_loss, y, t) == 5
    assert literally(ops.mape_loss, np.array([1.0, 3.0]), np.array([2.0, 2.0])) == 0.5


def test_gradients_of_mathematics_section_6(draw):
    y, t = np.array([0.5, 2.0, 3.0]), np.array([1.0, 2.0, 0.5])

    def gradient(operation):
        value, pullback = ops.vjp(operation, y, t, reduction="none", backend="reference")
        return pullback(np.ones_like(value))[0]

    np.testing.assert_allclose(gradient(ops.squared_error_loss), y - t, rtol=1e-15)
    np.testing.assert_allclose(gradient(ops.mse_loss), 2 * (y - t), rtol=1e-15)
    np.testing.assert_array_equal(gradient(ops.l1_loss), [-1, 0, 1])
    np.testing.assert_allclose(gradient(ops.mape_loss), [-1, 0, 2], rtol=1e-15)
    msle = 2 * (np.log1p(y) - np.log1p(t)) / (1 + y)
    np.testing.assert_allclose(gradient(ops.msle_loss), msle, rtol=1e-15)
    np.testing.assert_allclose(gradient(ops.binary_cross_entropy_with_logits), 1 / (1 + np.exp(-y)) - t, rtol=1e-14)


def cross_entropy_of_torch(torch, weight, **attributes):
    def call(y, t):
        target = t.movedim(-1, 1) if t.is_floating_point() and t.ndim > 1 else t
        logits = y.movedim(-1, 1) if y.ndim > 1 else y
        return torch.nn.functional.cross_entropy(logits, target, weight, **attributes)

    return call


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(judge, draw, shape, reduction, smoothing, weighted):
    y = 3 * draw(*shape)
    generator = np.random.default_rng(1)
    target = np.asarray(generator.integers(0, 5, shape[:-1]))
    weight = np.abs(draw(5)) if weighted else None
    attributes = {"reduction": reduction, "label_smoothing": smoothing}
    tensor = judge.torch.tensor(weight) if weighted else None
    theirs = cross_entropy_of_torch(judge.torch, tensor, **attributes)
    judge.agree(ops.cross_entropy, theirs, [y, target], apart=SMOOTH, weight=weight, **attributes)
    if len(shape) > 1:
        for ignored in (-100, 3):
            some = target.copy()
            some.flat[:2] = ignored
            theirs = cross_entropy_of_torch(judge.torch, tensor, **attributes, ignore_index=ignored)
            judge.agree(
                ops.cross_entropy, theirs, [y, some], apart=SMOOTH, weight=weight, ignore_index=ignored, **attributes
            )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_probabilities(judge, draw, reduction, smoothing, weighted):
    y, target = draw(2, 3, 4), np.abs(draw(2, 3, 4))
    target /= target.sum(-1, keepdims=True)
    weight = np.abs(draw(4)) if weighted else None
    attributes = {"reduction": reduction, "label_smoothing": smoothing}
    theirs = cross_entropy_of_torch(judge.torch, judge.torch.tensor(weight) if weighted else None, **attributes)
    judge.agree(ops.cross_entropy, theirs, [y, target], apart=SMOOTH, weight=weight, **attributes)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("weighted", "ignored"), list(itertools.product([False, True], [-100, 2])))
def test_nll_loss(judge, draw, reduction, weighted, ignored):
    y = draw(3, 4, 5)
    target = np.random.default_rng(2).integers(0, 5, (3, 4)).astype(np.uint8).astype(np.int32)
    target[1, 1] = ignored
    weight = np.abs(draw(5)) if weighted else None
    tensor = judge.torch.tensor(weight) if weighted else None

    def theirs(y, t):
        attributes = {"ignore_index": ignored, "reduction": reduction}
        return judge.torch.nn.functional.nll_loss(y.movedim(-1, 1), t.long(), tensor, **attributes)

    judge.agree(ops.nll_loss, theirs, [y, target], weight=weight, ignore_index=ignored, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(judge, draw, reduction, weighted):
    functional = judge.torch.nn.functional
    y, t = (np.random.default_rng(seed).random((3, 4)) * 0.98 + 0.01 for seed in (1, 2))
    weight = np.abs(draw(3, 4)) if weighted else None
    tensor = judge.torch.tensor(weight) if weighted else None
    attributes = {"reduction": reduction}
    # PyTorch computes no gradient for these targets, so only the first one is compared.
    judge.agree(
        ops.binary_cross_entropy,
        lambda y, t: functional.binary_cross_entropy(y, t.detach(), tensor, **attributes),
        [y, t],
        gradients=1,
        weight=weight,
        **attributes,
    )
    positive = np.abs(draw(4))
    judge.agree(
        ops.binary_cross_entropy_with_logits,
        lambda y, t: functional.binary_cross_entropy_with_logits(
            y, t, tensor, pos_weight=judge.torch.tensor(positive), **attributes
        ),
        [draw(3, 4), t],
        weight=weight,
        pos_weight=positive,
        **attributes,
    )


def test_certain_probabilities(literally):
    """The logarithm of 0 is held at -100, as in PyTorch, and has no gradient there."""
    y, t = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    loss, pullback = ops.vjp(ops.binary_cross_entropy, y, t, reduction="none", backend="reference")
    np.testing.assert_array_equal(loss, [0, 100, 100, 0])
    assert np.isfinite(pullback(np.ones(4))[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits(dtype):
    z = np.array([-1e30, -1000, -100, 0, 100, 1000, 1e30], dtype)
    for target in (0.0, 1.0):
        loss, pullback = ops.vjp(
            ops.binary_cross_entropy_with_logits, z, np.full_like(z, target), reduction="none", backend="reference"
        )
        expected = np.maximum(z, 0) if target == 0 else np.maximum(-z, 0)
        expected[3] = np.log(2)
        np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-40)
        assert np.isfinite(pullback(np.ones_like(z))[0]).all()
    logits = np.array([[1e4, -1e4, 0], [3e4, 3e4, 3e4]], dtype)
    loss, pullback = ops.vjp(ops.cross_entropy, logits, np.array([0, 1]), reduction="none", backend="reference")
    np.testing.assert_allclose(loss, [0, np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(pullback(np.ones_like(loss))[0], [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3]], rtol=1e-6)


def test_small_losses_keep_their_digits(literally):
    """At z = 50 the usual form `softplus(z) - z` is the difference of two fifties."""
    loss = literally(ops.binary_cross_entropy_with_logits, np.array([50.0]), np.array([1.0]))
    np.testing.assert_allclose(loss, np.exp(-50), rtol=1e-14)


def test_integer_targets_have_no_gradient(draw):
    _, pullback = ops.vjp(ops.cross_entropy, draw(3, 4), np.array([0, 1, 3]), backend="reference")
    dy, dt = pullback(1.0)
    assert dt is None
    assert dy.shape == (3, 4)


def test_all_labels_ignored(draw):
    """A mean over nothing is no number, as in PyTorch; the sum is 0."""
    labels = np.full(3, -100)
    assert np.isnan(ops.cross_entropy(draw(3, 4), labels))
    assert ops.cross_entropy(draw(3, 4), labels, reduction="sum") == 0
