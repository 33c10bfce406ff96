"""Batch, layer and local response normalisation and dropout against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import ops
from pellucid.errors import ArgumentError

SMOOTH = 1e-10


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 4), (2, 3, 5, 4), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_training(torch, draw, shape, affine):
    x = 3 + 2 * draw(*shape)
    w, b = (draw(4), draw(4)) if affine else (None, None)
    mean, variance = draw(4), np.abs(draw(4))
    state = torch.tensor(mean), torch.tensor(variance)
    y, pullback = ops.vjp(
        ops.batch_norm, x, mean, variance, w, b, training=True, momentum=0.3, eps=1e-3, backend="reference"
    )
    tensors = [None if array is None else torch.tensor(array, requires_grad=True) for array in (x, w, b)]
    channels_first = tensors[0].movedim(-1, 1)
    expected = torch.nn.functional.batch_norm(
        channels_first, *state, *tensors[1:], training=True, momentum=0.3, eps=1e-3
    ).movedim(1, -1)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean, state[0].numpy(), rtol=1e-13)
    np.testing.assert_allclose(variance, state[1].numpy(), rtol=1e-13)
    g = draw(*shape)
    expected.backward(torch.tensor(g))
    dx, dmean, dvariance, dw, db = pullback(g)
    assert dmean is None
    assert dvariance is None
    for mine, tensor in zip((dx, dw, db), tensors, strict=True):
        if tensor is None:
            assert mine is None
        else:
            np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=0, atol=SMOOTH)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_with_running_statistics(judge, draw, affine):
    def theirs(x, mean, variance, *affine):
        # PyTorch gives the statistics no gradient; the formula written out does.
        y = (x - mean) / (variance + 1e-3).sqrt()
        return y * affine[0] + affine[1] if affine else y

    arrays = [draw(2, 3, 4, 5), draw(5), np.abs(draw(5)), *((draw(5), draw(5)) if affine else ())]
    judge.agree(ops.batch_norm, theirs, arrays, apart=SMOOTH, eps=1e-3)


def test_batch_norm_with_running_statistics_is_that_of_torch(torch, literally, draw):
    x, mean, variance = draw(2, 5, 3, 4), draw(5), np.abs(draw(5))
    expected = torch.nn.functional.batch_norm(*(torch.tensor(array) for array in (x, mean, variance)))
    y = literally(ops.batch_norm, x, mean, variance, layout="NCHW")
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12)


def test_batch_norm_of_channels_first(judge, draw):
    def theirs(x, *state):
        return judge.torch.nn.functional.batch_norm(x, *state, training=True)

    arrays = [draw(3, 4, 5, 2), None, None]
    judge.agree(ops.batch_norm, theirs, arrays, apart=SMOOTH, training=True, layout="NCHW")


def test_a_large_mean_costs_no_digits(literally):
    """Variance by `mean(x**2) - mean(x)**2` would have lost them all."""
    x = (np.array([1.0, 2.0, 3.0, 4.0]) + 1e8).reshape(4, 1)
    y = literally(ops.batch_norm, x, None, None, training=True, eps=0)
    np.testing.assert_allclose(y.ravel(), np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25), rtol=1e-12)


def test_read_only_running_statistics(draw):
    mean, variance = np.zeros(3), np.ones(3)
    mean.flags.writeable = False
    with pytest.raises(ArgumentError, match=r"^`running_mean` is read-only; in training it is updated in place$"):
        ops.batch_norm(draw(4, 3), mean, variance, training=True)


@pytest.mark.parametrize(
    ("shape", "normalized"), [((4, 6), 6), ((2, 3, 4, 5), (5,)), ((2, 3, 4, 5), (4, 5)), ((7,), 7)]
)
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(judge, draw, shape, normalized, affine):
    last = (normalized,) if isinstance(normalized, int) else normalized
    arrays = [2 + draw(*shape), *((draw(*last), draw(*last)) if affine else ())]

    def theirs(x, *affine):
        return judge.torch.nn.functional.layer_norm(x, last, *affine)

    judge.agree(ops.layer_norm, theirs, arrays, apart=SMOOTH, normalized_shape=normalized)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_local_response_norm(judge, draw, size):
    attributes = {"size": size, "alpha": 0.3, "beta": 0.6, "k": 1.5}

    def theirs(x):
        return judge.torch.nn.functional.local_response_norm(x.movedim(-1, 1), **attributes).movedim(1, -1)

    judge.agree(ops.local_response_norm, theirs, [draw(2, 3, 4, 6)], apart=SMOOTH, **attributes)


def test_dropout_with_a_mask(judge, draw):
    mask = np.random.default_rng(0).random((4, 5)) < 0.7
    judge.agree(ops.dropout, lambda x: x * judge.torch.tensor(mask) / 0.7, [draw(4, 5)], p=0.3, mask=mask)
    judge.agree(ops.dropout, lambda x: x * 1, [draw(4, 5)], p=0.3, training=False)
    judge.agree(ops.dropout, lambda x: x * 0, [draw(4, 5)], p=1.0)


def test_dropout_draws_its_mask_from_the_generator(literally):
    x = np.ones((200, 300))
    y = literally(ops.dropout, x, 0.25, generator=np.random.default_rng(4))
    again = literally(ops.dropout, x, 0.25, generator=np.random.default_rng(4))
    np.testing.assert_array_equal(y, again)
    assert set(np.unique(y)) == {0, 1 / 0.75}
    # 60,000 draws: four standard deviations are 0.007.
    assert abs(np.mean(y == 0) - 0.25) < 0.007
