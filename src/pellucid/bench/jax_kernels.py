"""JAX's convolutions and dense layers, jitted, on arrays in our layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.contender import Contenders
from pellucid.bench.peers import load

if TYPE_CHECKING:
    from pellucid.bench.kernels import Convolution, Dense

__all__ = ["contenders"]


def contenders(case: Convolution | Dense, which: str, arrays: Mapping[str, NDArray[Any]]) -> Contenders:
    """A pass of a layer on `x`, `w` and the output's gradient `g`; backward ones by JAX's own derivatives."""
    jax = load("jax")
    forward = _forward(case)
    given = [arrays[name] for name in ("xw" if which == "forward" else "xwg")]

    def backward(x: Any, w: Any, g: Any) -> Any:
        return jax.vjp(forward, x, w)[1](g)[0 if which == "dx" else 1]

    jitted: Callable[..., Any] = jax.jit(forward if which == "forward" else backward)

    def exact() -> NDArray[Any]:
        with jax.enable_x64(True):
            return np.asarray(jitted(*(jax.numpy.asarray(array, "float64") for array in given)))

    held = [jax.numpy.asarray(array) for array in given]
    return Contenders(exact, {"jitted": lambda: jitted(*held).block_until_ready()})


def _forward(case: Any) -> Callable[[Any, Any], Any]:
    jax = load("jax")
    if not hasattr(case, "stride"):
        return lambda x, w: x @ w
    sides = [(case.padding, case.padding)] * 2
    form = ("NHWC", "HWIO", "NHWC")
    strides, dilations = (case.stride,) * 2, (case.dilation,) * 2
    return lambda x, w: jax.lax.conv_general_dilated(
        x, w, strides, sides, rhs_dilation=dilations, dimension_numbers=form
    )
