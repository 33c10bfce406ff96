"""Equations of `nn` over windows that are given: dilated, with padding longer than half of a window."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.nn.equations.convolution import conv_transpose_over
from pellucid.nn.equations.normalization import local_response_norm
from pellucid.nn.equations.pooling import avg_pool_over, lp_pool_over, max_pool_over
from pellucid.nn.equations.window import Window
from pellucid.ops.operation import Applied, run

HEIGHT, WIDTH = 6, 7
# name, extent, kernel, stride, dilation, before, after, output
OVER = [
    (Window("height", HEIGHT, 3, 2, 1, 2, 1, 4), Window("width", WIDTH, 2, 1, 1, 0, 1, 7)),
    (Window("height", HEIGHT, 2, 1, 3, 3, 2, 8), Window("width", WIDTH, 3, 3, 2, 4, 0, 3)),
    (Window("height", HEIGHT, 3, 2, 1, 0, 0, 3), Window("width", WIDTH, 2, 3, 1, 1, 1, 3)),
]


def cells(windows, i, j):
    """The cells of the padded input that a window reads: (row, column), inside of it or not."""
    high, wide = windows
    for s in range(high.kernel):
        for t in range(wide.kernel):
            yield i * high.stride + s * high.dilation - high.before, j * wide.stride + t * wide.dilation - wide.before


def inside(row, column):
    return 0 <= row < HEIGHT and 0 <= column < WIDTH


def pooled(x, windows, function):
    """By plain loops."""
    high, wide = windows
    z = np.empty((len(x), high.output, wide.output, x.shape[-1]))
    for i in range(high.output):
        for j in range(wide.output):
            z[:, i, j] = function(
                [(cell, x[:, cell[0], cell[1]]) for cell in cells(windows, i, j) if inside(*cell)], i, j
            )
    return z


@pytest.mark.parametrize("windows", OVER)
def test_maximum(windows, draw):
    x = draw(2, HEIGHT, WIDTH, 3)
    expected = pooled(x, windows, lambda found, i, j: np.max([value for _, value in found], axis=0))
    np.testing.assert_array_equal(run(Applied(max_pool_over(windows), {"x": x})), expected)


@pytest.mark.parametrize("windows", OVER)
@pytest.mark.parametrize("counted", [True, False])
def test_mean(windows, counted, draw):
    high, wide = windows

    def mean(found, i, j):
        padded = [
            (row, column)
            for row, column in cells(windows, i, j)
            if -high.before <= row < HEIGHT + high.after and -wide.before <= column < WIDTH + wide.after
        ]
        return np.sum([value for _, value in found], axis=0) / (len(padded) if counted else len(found))

    x = draw(2, HEIGHT, WIDTH, 3)
    found = run(Applied(avg_pool_over(windows, count_include_pad=counted), {"x": x}))
    np.testing.assert_allclose(found, pooled(x, windows, mean), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("windows", OVER)
@pytest.mark.parametrize("power", [2, 3])
def test_norm(windows, power, draw):
    x = draw(2, HEIGHT, WIDTH, 3)
    expected = pooled(
        x, windows, lambda found, i, j: np.sum([abs(value) ** power for _, value in found], axis=0) ** (1 / power)
    )
    found = run(Applied(lp_pool_over(windows, norm_type=power), {"x": x}))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_transposed_convolution_reaches_no_further_than_its_windows(draw):
    x, w, b = draw(1, 2, 3, 4), draw(2, 2, 3, 4), draw(3)
    windows = (Window("height", 6, 2, 3, 1, 0, 0, 2), Window("width", 9, 2, 2, 2, 1, 0, 3))
    expected = np.zeros((1, 6, 9, 3)) + b
    for i in range(2):
        for j in range(3):
            for s in range(2):
                for t in range(2):
                    row, column = i * 3 + s, j * 2 + t * 2 - 1
                    if 0 <= row < 6 and 0 <= column < 9:
                        expected[:, row, column] += x[:, i, j] @ w[s, t].T
    found = run(Applied(conv_transpose_over(windows, x.shape, w.shape, b.shape), {"x": x, "w": w, "b": b}))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("size", "before"), [(4, 1), (4, 2), (3, 0), (2, 0)])
def test_neighbours_on_either_side(size, before, draw):
    x = draw(2, 3, 3, 5)
    step = local_response_norm(x.shape, size=size, alpha=0.5, beta=0.6, k=2.0, before=before)
    near = [slice(max(0, c - before), c - before + size) for c in range(5)]
    squares = np.stack([(x[..., one] ** 2).sum(-1) for one in near], -1)
    np.testing.assert_allclose(run(Applied(step, {"x": x})), x / (2 + 0.5 / size * squares) ** 0.6, rtol=1e-12)
