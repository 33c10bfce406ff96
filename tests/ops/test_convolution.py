"""Convolutions, transposed convolutions and the dense layer against PyTorch, attributes crossed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import ops

FORWARD = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}
TRANSPOSED = {1: ops.conv_transpose1d, 2: ops.conv_transpose2d, 3: ops.conv_transpose3d}


def channels_first(tensor):
    """(n, ..., c) to (n, c, ...)."""
    return tensor.movedim(-1, 1)


def channels_last(tensor):
    return tensor.movedim(1, -1)


def kernel_first(tensor):
    """(window ..., c, k) to (k, c, window ...)."""
    return tensor.movedim(-1, 0).movedim(-1, 1)


def conv_of_torch(torch, rank, transposed=False, **attributes):
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"

    def call(x, w, b=None):
        return channels_last(getattr(torch.nn.functional, name)(channels_first(x), kernel_first(w), b, **attributes))

    return call


@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("padding", [0, 1, (0, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d(judge, draw, stride, padding, dilation, groups):
    arrays = draw(2, 6, 7, 4), draw(3, 2, 4 // groups, 6), draw(6)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    judge.agree(ops.conv2d, conv_of_torch(judge.torch, 2, **attributes), arrays, **attributes)


@pytest.mark.parametrize(
    ("image", "kernel", "attributes"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1), {}),
        ((1, 1, 1, 3), (3, 3, 3, 2), {"padding": 1}),
        ((2, 3, 2, 1), (5, 4, 1, 1), {"padding": (2, 1)}),
        ((1, 9, 9, 2), (2, 2, 2, 2), {"stride": 4}),
        ((1, 8, 9, 2), (2, 2, 2, 2), {"stride": (5, 3), "padding": 1}),
        ((3, 5, 5, 6), (3, 3, 1, 6), {"groups": 6, "padding": 1}),
        ((1, 5, 5, 3), (3, 3, 1, 6), {"groups": 3, "stride": 2}),
        ((1, 7, 7, 1), (3, 3, 1, 1), {"dilation": 3}),
    ],
    ids=str,
)
def test_extremes_of_conv2d(judge, draw, image, kernel, attributes):
    arrays = draw(*image), draw(*kernel)
    judge.agree(ops.conv2d, conv_of_torch(judge.torch, 2, **attributes), arrays, **attributes)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("attributes", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2, "padding": 2}])
def test_other_ranks(judge, draw, rank, attributes):
    groups = attributes.get("groups", 1)
    arrays = draw(2, *(5, 6, 4)[:rank], 4), draw(*(3, 2, 2)[:rank], 4 // groups, 2), draw(2)
    judge.agree(FORWARD[rank], conv_of_torch(judge.torch, rank, **attributes), arrays, **attributes)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": 3, "groups": 2},
        {"stride": 2, "padding": 2, "dilation": 2},
    ],
    ids=str,
)
def test_transposed(judge, draw, rank, attributes):
    groups = attributes.get("groups", 1)
    arrays = draw(2, *((4,), (4, 3), (2, 3, 2))[rank - 1], 4), draw(*(3, 3, 3)[:rank], 6 // groups, 4), draw(6)
    theirs = conv_of_torch(judge.torch, rank, transposed=True, **attributes)
    judge.agree(TRANSPOSED[rank], theirs, arrays, **attributes)


def test_transposed_is_the_gradient_of_the_convolution(literally, draw):
    x, w = draw(2, 7, 8, 3), draw(3, 2, 3, 4)
    for stride, padding, flip in itertools.product((1, 2), (0, 1), (False, True)):
        attributes = {"stride": stride, "padding": padding, "flip": flip}
        y, pullback = ops.vjp(ops.conv2d, x, w, backend="reference", **attributes)
        g = draw(*y.shape)
        back = literally(ops.conv_transpose2d, g, w, **attributes)
        # Cells that no window read, where the stride does not divide, are not in the transposed one's result.
        dx = pullback(g)[0][:, : back.shape[1], : back.shape[2]]
        np.testing.assert_allclose(back, dx, rtol=0, atol=1e-13)


@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
def test_flip_turns_the_kernel(judge, draw, stride):
    arrays = draw(2, 6, 5, 3), draw(3, 2, 3, 4), draw(4)

    def theirs(x, w, b):
        return conv_of_torch(judge.torch, 2, stride=stride, padding=1)(x, w.flip(0, 1), b)

    judge.agree(ops.conv2d, theirs, arrays, stride=stride, padding=1, flip=True)


@pytest.mark.parametrize("groups", [1, 3])
def test_channels_first(judge, draw, groups):
    arrays = draw(2, 6, 5, 7), draw(9, 6 // groups, 3, 2), draw(9)
    attributes = {"stride": 2, "padding": 1, "groups": groups}

    def theirs(x, w, b):
        return judge.torch.nn.functional.conv2d(x, w, b, **attributes)

    judge.agree(ops.conv2d, theirs, arrays, layout="NCHW", **attributes)


def test_transposed_channels_first_takes_the_kernel_of_torch(judge, draw):
    arrays = draw(2, 6, 4, 3), draw(6, 2, 3, 2), draw(4)
    attributes = {"stride": 2, "padding": 1, "groups": 2}

    def theirs(x, w, b):
        return judge.torch.nn.functional.conv_transpose2d(x, w, b, **attributes)

    judge.agree(ops.conv_transpose2d, theirs, arrays, layout="NCHW", **attributes)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("name", "kernel"), [("valid", 3), ("same", 3), ("same", 4), ("same", 1), ("full", 3)])
def test_padding_by_name(judge, draw, name, kernel, stride):
    """`same` puts the odd cell at the end, as half padding of ONNX's SAME_UPPER; `full` overlaps by one cell."""
    height, width = 7, 8
    pads = []
    for extent in (height, width):
        total = {"valid": 0, "full": 2 * (kernel - 1)}.get(name)
        if total is None:
            total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
        pads.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = pads
    arrays = draw(1, height, width, 2), draw(kernel, kernel, 2, 2)

    def theirs(x, w):
        padded = judge.torch.nn.functional.pad(x, (0, 0, left, right, top, bottom))
        return conv_of_torch(judge.torch, 2, stride=stride)(padded, w)

    judge.agree(ops.conv2d, theirs, arrays, padding=name, stride=stride)
    judge.agree(ops.conv2d, theirs, arrays, padding=((top, bottom), (left, right)), stride=stride)


def test_sizes_of_named_paddings(literally, draw):
    x = draw(1, 7, 8, 1)
    assert literally(ops.conv2d, x, draw(3, 3, 1, 1), padding="same").shape == (1, 7, 8, 1)
    assert literally(ops.conv2d, x, draw(4, 2, 1, 1), padding="same", stride=2).shape == (1, 4, 4, 1)
    assert literally(ops.conv2d, x, draw(3, 2, 1, 1), padding="full").shape == (1, 9, 9, 1)
    assert literally(ops.conv2d, x, draw(3, 3, 1, 1), padding="full", dilation=2).shape == (1, 11, 12, 1)
    assert literally(ops.conv_transpose2d, x, draw(3, 3, 1, 1), padding="same", stride=2).shape == (1, 14, 16, 1)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 1)])
def test_both_readings_of_dx(literally, draw, stride, padding):
    """The derived gradient is the full convolution of g with the turned kernel, g spread with S - 1 zeros before."""
    x, w = draw(2, 7, 8, 2), draw(3, 3, 2, 4)
    y, pullback = ops.vjp(ops.conv2d, x, w, stride=stride, padding=padding, backend="reference")
    g = draw(*y.shape)
    spread = np.zeros((2, (y.shape[1] - 1) * stride + 1, (y.shape[2] - 1) * stride + 1, 4))
    spread[:, ::stride, ::stride] = g
    turned_and_exchanged = np.ascontiguousarray(w.swapaxes(2, 3))
    full = literally(ops.conv2d, spread, turned_and_exchanged, padding="full", flip=True)
    expected = np.zeros((2, x.shape[1] + 2 * padding, x.shape[2] + 2 * padding, 2))
    expected[:, : full.shape[1], : full.shape[2]] = full
    inner = expected[:, padding : padding + x.shape[1], padding : padding + x.shape[2]]
    np.testing.assert_allclose(pullback(g)[0], inner, rtol=0, atol=1e-13)


def test_cells_never_read_have_gradient_zero(draw):
    x, w = draw(1, 6, 6, 1), draw(3, 3, 1, 1)
    y, pullback = ops.vjp(ops.conv2d, x, w, stride=2, backend="reference")
    dx = pullback(np.ones_like(y))[0]
    assert y.shape == (1, 2, 2, 1)
    assert not dx[:, 5].any()
    assert not dx[:, :, 5].any()
    assert dx[:, :5, :5].all()


def test_linear(judge, draw):
    def theirs(x, w, b=None):
        return judge.torch.nn.functional.linear(x, w.T, b)

    judge.agree(ops.linear, theirs, (draw(5, 7), draw(7, 3), draw(3)))
    judge.agree(ops.linear, theirs, (draw(7), draw(7, 3)))
    judge.agree(ops.linear, theirs, (draw(2, 3, 4, 7), draw(7, 1), draw(1)))


@st.composite
def convolutions(draw):
    axes = []
    for _ in range(2):
        kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        reach = dilation * (kernel - 1) + 1
        extent = draw(st.integers(max(1, reach - sum(padding)), max(1, reach - sum(padding)) + 5))
        axes.append((extent, kernel, draw(st.integers(1, 4)), padding, dilation))
    groups = draw(st.integers(1, 3))
    return axes, groups, groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(convolutions())
def test_drawn_convolutions(judge, drawn):
    axes, groups, c, k = drawn
    (h, kh, sh, ph, dh), (w, kw, sw, pw, dw) = axes
    generator = np.random.default_rng(3)
    arrays = [generator.standard_normal(s) for s in ((2, h, w, c), (kh, kw, c // groups, k), (k,))]

    def theirs(x, kernel, b):
        padded = judge.torch.nn.functional.pad(x, (0, 0, *pw, *ph))
        call = conv_of_torch(judge.torch, 2, stride=(sh, sw), dilation=(dh, dw), groups=groups)
        return call(padded, kernel, b)

    attributes = {"stride": (sh, sw), "padding": (ph, pw), "dilation": (dh, dw), "groups": groups}
    judge.agree(ops.conv2d, theirs, arrays, **attributes)
