"""The compiled operations: against PyTorch, against rounding bounds, and bit for bit on small integers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import ops


def conv_of_torch(torch, **attributes):
    def call(x, w, b=None):
        kernel = w.movedim(-1, 0).movedim(-1, 1)
        return torch.nn.functional.conv2d(x.movedim(-1, 1), kernel, b, **attributes).movedim(1, -1)

    return call


CONVOLUTIONS = [
    ((2, 6, 7, 4), (3, 2, 4, 6), {"stride": (3, 1), "padding": (0, 2), "dilation": (2, 1)}),
    ((2, 7, 8, 4), (3, 3, 2, 6), {"stride": 2, "padding": 1, "groups": 2}),
    ((1, 5, 5, 6), (3, 3, 1, 6), {"padding": 1, "groups": 6}),
    ((2, 9, 9, 17), (3, 3, 17, 19), {"padding": 1}),
    ((1, 2, 3, 1), (5, 4, 1, 1), {"padding": (2, 1)}),
    ((1, 8, 9, 2), (2, 2, 2, 2), {"stride": 5}),
    ((3, 1, 1, 20), (1, 1, 20, 5), {}),
]


@pytest.mark.parametrize(("image", "kernel", "attributes"), CONVOLUTIONS, ids=str)
def test_convolutions(judge, draw, image, kernel, attributes):
    arrays = draw(*image), draw(*kernel), draw(kernel[-1])
    judge.agree(ops.conv2d, conv_of_torch(judge.torch, **attributes), arrays, backend="compiled", **attributes)


def convolved_in_float64(torch, x, w, g, **attributes):
    """The result and both gradients."""
    tensors = [torch.tensor(array.astype(np.float64), requires_grad=True) for array in (x, w)]
    y = conv_of_torch(torch, **attributes)(*tensors)
    y.backward(torch.tensor(g.astype(np.float64)))
    return [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


EPSILON = np.finfo(np.float32).eps


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    ("image", "kernel", "attributes"),
    [
        ((2, 14, 14, 32), (3, 3, 32, 48), {"padding": 1}),
        ((4, 9, 9, 16), (3, 3, 16, 20), {"stride": 2, "padding": 1}),
        ((8, 28, 28, 1), (5, 5, 1, 6), {"padding": 2}),
    ],
    ids=str,
)
def test_float32_stays_within_its_rounding(torch, draw, image, kernel, attributes, positive):
    """Forward and dx within 16 units of rounding of the sum of absolute values, dw within 32."""
    x, w = (draw(*shape).astype(np.float32) for shape in (image, kernel))
    if positive:
        x, w = np.abs(x), np.abs(w)
    y, pullback = ops.vjp(ops.conv2d, x, w, **attributes)
    g = np.abs(draw(*y.shape)) if positive else draw(*y.shape)
    g = g.astype(np.float32)
    dx, dw = pullback(g)
    exact, exact_dx, exact_dw = convolved_in_float64(torch, x, w, g, **attributes)
    sums, sums_dx, sums_dw = convolved_in_float64(torch, np.abs(x), np.abs(w), np.abs(g), **attributes)
    assert np.all(np.abs(y - exact) <= 16 * EPSILON * sums)
    assert np.all(np.abs(dx - exact_dx) <= 16 * EPSILON * sums_dx)
    assert np.all(np.abs(dw - exact_dw) <= 32 * EPSILON * sums_dw)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("operation", "shapes", "attributes"),
    [
        (ops.conv2d, [(2, 7, 8, 5), (3, 2, 5, 17), (17,)], {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}),
        (ops.conv2d, [(1, 6, 6, 4), (3, 3, 2, 6)], {"groups": 2, "flip": True}),
        (ops.conv_transpose2d, [(1, 4, 5, 3), (3, 3, 2, 3)], {"stride": 2}),
        (ops.linear, [(5, 30), (30, 9), (9,)], {}),
        (ops.max_pool2d, [(2, 7, 7, 9)], {"kernel_size": 3, "stride": 2, "padding": 1}),
        (ops.avg_pool2d, [(2, 8, 8, 3)], {"kernel_size": 2}),
        (ops.relu, [(3, 50)], {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_small_integers_match_the_reference_to_the_bit(operation, shapes, attributes, dtype):
    assert_bits_match(operation, shapes, attributes, dtype)


def assert_bits_match(operation, shapes, attributes, dtype):
    generator = np.random.default_rng(11)
    arrays = [generator.integers(-4, 5, shape).astype(dtype) for shape in shapes]
    y, pullback = ops.vjp(operation, *arrays, **attributes)
    expected, expected_pullback = ops.vjp(operation, *arrays, backend="reference", **attributes)
    g = generator.integers(-4, 5, y.shape).astype(dtype)
    np.testing.assert_array_equal(y, expected)
    for mine, reference in zip(pullback(g), expected_pullback(g), strict=True):
        np.testing.assert_array_equal(mine, reference)


@st.composite
def drawn_calls(draw):
    """A convolution or a pooling with its arrays' shapes; float32, integers small enough to be exact."""
    spatial = draw(st.lists(st.integers(1, 9), min_size=2, max_size=2))
    kernel = [draw(st.integers(1, min(4, extent))) for extent in spatial]
    stride = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=2)))
    groups, c, k = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3, 8, 17]))
    image = (draw(st.integers(1, 3)), *spatial, groups * c)
    if draw(st.booleans()):
        pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in kernel)
        shapes = [image, (*kernel, c, groups * k), (groups * k,)]
        return ops.conv2d, shapes, {"stride": stride, "padding": pads, "groups": groups, "flip": draw(st.booleans())}
    padding = tuple(draw(st.integers(0, extent // 2)) for extent in kernel)
    attributes = {"kernel_size": tuple(kernel), "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return ops.max_pool2d, [image], attributes


@settings(max_examples=15, deadline=None, derandomize=True)
@given(drawn_calls())
def test_drawn_calls_match_the_reference_to_the_bit(drawn):
    operation, shapes, attributes = drawn
    assert_bits_match(operation, shapes, attributes, np.float32)


def test_arrays_that_are_not_contiguous_or_read_only_are_taken(draw):
    x, w = draw(2, 8, 3, 9), draw(3, 3, 4, 3)
    strided, turned = x.transpose(0, 1, 3, 2)[:, ::2], w.transpose(0, 1, 3, 2)[::-1]
    turned.flags.writeable = False
    expected = ops.conv2d(np.ascontiguousarray(strided), np.ascontiguousarray(turned))
    np.testing.assert_array_equal(ops.conv2d(strided, turned), expected)


def test_results_of_two_calls_are_apart(draw):
    x = draw(3, 5)
    first = ops.relu(x)
    kept = first.copy()
    second = ops.relu(-x)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)


def test_threads_may_call_one_operation_at_once(draw):
    arrays = [draw(2, 9, 9, 4) for _ in range(16)]
    w = draw(3, 3, 4, 8)
    expected = [ops.conv2d(x, w) for x in arrays]
    with ThreadPoolExecutor(4) as pool:
        for mine, one in zip(pool.map(lambda x: ops.conv2d(x, w), arrays), expected, strict=True):
            np.testing.assert_array_equal(mine, one)
