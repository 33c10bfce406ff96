"""Pooling against PyTorch, windows that overlap or hang over, ties, and the definitions where PyTorch differs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pellucid import ops

EXTENTS = (7, 6, 5)


def pool_of_torch(torch, name, *positional, **attributes):
    function = getattr(torch.nn.functional, name)
    return lambda x: function(x.movedim(-1, 1), *positional, **attributes).movedim(1, -1)


WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 4},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel_size": 1},
]


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max(judge, draw, rank, attributes):
    x = draw(2, *EXTENTS[:rank], 3)
    theirs = pool_of_torch(judge.torch, f"max_pool{rank}d", **attributes)
    judge.agree(getattr(ops, f"max_pool{rank}d"), theirs, [x], **attributes)


@pytest.mark.parametrize("attributes", [{"dilation": 2}, {"dilation": (3, 1), "stride": 1, "padding": 1}], ids=str)
def test_dilated_max(judge, draw, attributes):
    theirs = pool_of_torch(judge.torch, "max_pool2d", 2, **attributes)
    judge.agree(ops.max_pool2d, theirs, [draw(1, 8, 7, 2)], kernel_size=2, **attributes)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_average(judge, draw, rank, attributes, counted):
    x = draw(2, *EXTENTS[:rank], 3)
    theirs = pool_of_torch(judge.torch, f"avg_pool{rank}d", **attributes, count_include_pad=counted)
    judge.agree(getattr(ops, f"avg_pool{rank}d"), theirs, [x], **attributes, count_include_pad=counted)


def test_average_with_a_given_divisor(judge, draw):
    theirs = pool_of_torch(judge.torch, "avg_pool2d", 2, divisor_override=7)
    judge.agree(ops.avg_pool2d, theirs, [draw(1, 4, 5, 2)], kernel_size=2, divisor_override=7)


@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d"])
def test_channels_first(judge, draw, operation):
    theirs = getattr(judge.torch.nn.functional, operation)
    attributes = {"kernel_size": 3, "stride": 2, "padding": 1}
    arrays = [draw(2, 3, 7, 6)]
    judge.agree(getattr(ops, operation), lambda x: theirs(x, **attributes), arrays, layout="NCHW", **attributes)


@pytest.mark.parametrize("power", [2, 4, 2.0])
@pytest.mark.parametrize("rank", [1, 2])
def test_even_powers(judge, draw, rank, power):
    attributes = {"norm_type": power, "kernel_size": 3, "stride": 2}
    theirs = pool_of_torch(judge.torch, f"lp_pool{rank}d", **attributes)
    judge.agree(getattr(ops, f"lp_pool{rank}d"), theirs, [draw(2, *EXTENTS[:rank], 3)], **attributes)


@pytest.mark.parametrize("power", [1, 1.5, 3])
def test_other_powers_of_positive_numbers(judge, draw, power):
    attributes = {"norm_type": power, "kernel_size": 2}
    theirs = pool_of_torch(judge.torch, "lp_pool2d", **attributes)
    judge.agree(ops.lp_pool2d, theirs, [np.abs(draw(2, 6, 4, 3)) + 0.1], **attributes)


def test_odd_powers_are_of_the_absolute_value(literally):
    """The definition: a norm. PyTorch's sum of `x**3` would be -27 + 27 here."""
    x = np.array([-3.0, 3.0]).reshape(1, 2, 1)
    np.testing.assert_allclose(literally(ops.lp_pool1d, x, 3, 2), [[[54 ** (1 / 3)]]], rtol=1e-15)


def test_windows_over_the_end_are_their_sum(literally):
    x = np.array([3.0, 4.0, 5.0]).reshape(1, 3, 1)
    y = literally(ops.lp_pool1d, x, 2, 2, ceil_mode=True)
    np.testing.assert_allclose(y.ravel(), [5, 5], rtol=1e-15)


def test_l2_of_zeros_has_gradient_zero():
    x = np.zeros((1, 4, 4, 1))
    x[0, 0, 0, 0], x[0, 0, 1, 0] = 3, -4
    y, pullback = ops.vjp(ops.lp_pool2d, x, norm_type=2, kernel_size=2, backend="reference")
    dx = pullback(np.ones_like(y))[0]
    np.testing.assert_allclose(y[0, :, :, 0], [[5, 0], [0, 0]], rtol=1e-15)
    expected = np.zeros((4, 4))
    expected[0, :2] = 0.6, -0.8
    np.testing.assert_allclose(dx[0, :, :, 0], expected, rtol=1e-15)


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, (3, None), (7, 4), (9, 2)], ids=str)
def test_adaptive(judge, draw, kind, size):
    name = f"adaptive_{kind}_pool2d"
    theirs = pool_of_torch(judge.torch, name, size)
    judge.agree(getattr(ops, name), theirs, [draw(2, 7, 6, 3)], output_size=size)


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("rank", [1, 3])
def test_adaptive_of_other_ranks(judge, draw, kind, rank):
    name = f"adaptive_{kind}_pool{rank}d"
    theirs = pool_of_torch(judge.torch, name, 3)
    judge.agree(getattr(ops, name), theirs, [draw(2, *EXTENTS[:rank], 2)], output_size=3)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global(judge, draw, rank):
    over = tuple(range(1, rank + 1))
    arrays = [draw(2, *EXTENTS[:rank], 3)]
    judge.agree(getattr(ops, f"global_avg_pool{rank}d"), lambda x: x.mean(over), arrays)
    judge.agree(getattr(ops, f"global_max_pool{rank}d"), lambda x: x.amax(over), arrays)


def test_the_first_of_equal_maxima_wins(judge):
    """Overlapping windows of equal values: each gives its gradient to its first cell in row-major order."""
    x = np.ones((1, 3, 4, 1))
    y, pullback = ops.vjp(ops.max_pool2d, x, kernel_size=2, stride=1, backend="reference")
    g = np.arange(1.0, 7.0).reshape(y.shape)
    np.testing.assert_array_equal(pullback(g)[0][0, :, :, 0], [[1, 2, 3, 0], [4, 5, 6, 0], [0, 0, 0, 0]])
    small = np.random.default_rng(2).integers(0, 3, (2, 6, 7, 3)).astype(float)
    theirs = pool_of_torch(judge.torch, "max_pool2d", 3, 2, 1)
    judge.agree(ops.max_pool2d, theirs, [small], kernel_size=3, stride=2, padding=1, apart=0)


def test_a_unit_that_wins_twice_receives_the_sum():
    x = np.zeros((1, 1, 3, 1))
    x[0, 0, 1, 0] = 1
    _, pullback = ops.vjp(ops.max_pool2d, x, kernel_size=(1, 2), stride=1, backend="reference")
    np.testing.assert_array_equal(pullback(np.array([2.0, 5.0]).reshape(1, 1, 2, 1))[0].ravel(), [0, 7, 0])


def test_padding_never_wins(literally):
    x = np.full((1, 2, 2, 1), -5.0)
    y = literally(ops.max_pool2d, x, 2, 1, 1)
    np.testing.assert_array_equal(y, np.full((1, 3, 3, 1), -5.0))


@st.composite
def pools(draw):
    axes = []
    for _ in range(2):
        kernel = draw(st.integers(1, 4))
        axes.append((draw(st.integers(1, 8)), kernel, draw(st.integers(1, 5)), draw(st.integers(0, kernel // 2))))
    return axes, draw(st.booleans()), draw(st.booleans())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pools())
def test_drawn_pools(judge, drawn):
    ((h, kh, sh, ph), (w, kw, sw, pw)), ceil_mode, counted = drawn
    assume(h + 2 * ph >= kh and w + 2 * pw >= kw)
    x = np.random.default_rng(5).standard_normal((2, h, w, 2))
    attributes = {"kernel_size": (kh, kw), "stride": (sh, sw), "padding": (ph, pw), "ceil_mode": ceil_mode}
    judge.agree(ops.max_pool2d, pool_of_torch(judge.torch, "max_pool2d", **attributes), [x], **attributes)
    attributes["count_include_pad"] = counted
    judge.agree(ops.avg_pool2d, pool_of_torch(judge.torch, "avg_pool2d", **attributes), [x], **attributes)
