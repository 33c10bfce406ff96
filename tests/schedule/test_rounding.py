"""Rounding of float32: forward and input gradient within 16 units of sum|x||w| for every cell, dw within 32.

Judged by the same formula in float64, on the values and on their absolutes; data of both signs, and all-positive.
"""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.emit import target
from schedule.cases import Case, case, compiled

UNIT = 2.0**-24
CHANNELS = (32, 128, 512)


def convolution(channels: int) -> Case:
    """Few cells, long sums: 3x3 over all channels, both ways."""
    shapes = {"x": (1, 4, 4, channels), "w": (3, 3, channels, 16 if channels > 128 else 32)}
    return case("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", shapes)


def turned(channels: int) -> Case:
    """Many output channels, so that the input gradient has the long sum."""
    shapes = {"x": (1, 4, 4, 16), "w": (3, 3, 16, channels)}
    return case("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", shapes)


def pixels(count: int) -> Case:
    """Many pixels, so that dw has the long sum."""
    return case("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", {"x": (count, 16, 16, 4), "w": (3, 3, 4, 8)})


def units(given: Case, positive: bool, seed: int) -> float:
    """The largest error of a cell in units of rounding of the sum of its terms' absolutes."""
    generator = np.random.default_rng(seed)
    draw = generator.random if positive else generator.standard_normal
    arrays = {tensor.name: draw(tensor.shape).astype("float32") for tensor in given.tensors[:-1]}
    result = compiled(given.program(target().machine), arrays)
    exact = given.expected(arrays)
    scale = given.expected({name: np.abs(array) for name, array in arrays.items()})
    return float(np.max(np.abs(result - exact) / (UNIT * scale)))


@pytest.mark.parametrize("positive", [False, True], ids=["both signs", "positive"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_forward(channels: int, positive: bool) -> None:
    assert units(convolution(channels), positive, channels) <= 16


@pytest.mark.parametrize("positive", [False, True], ids=["both signs", "positive"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_input_gradient(channels: int, positive: bool) -> None:
    assert units(turned(channels).gradient("x"), positive, channels) <= 16


@pytest.mark.parametrize("positive", [False, True], ids=["both signs", "positive"])
@pytest.mark.parametrize("count", [2, 32, 256])
def test_kernel_gradient(count: int, positive: bool) -> None:
    assert units(pixels(count).gradient("w"), positive, count) <= 32
