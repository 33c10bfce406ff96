"""The elementwise functions of the language on float64 arrays, written for range and rounding, not for speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMPARISONS", "FUNCTIONS", "OPERATORS"]

# float64 where a value is meant, int64 where an index is meant, bool where a condition is meant.
Numbers: TypeAlias = NDArray[np.float64] | NDArray[np.int64]
Truths: TypeAlias = NDArray[np.bool_]


def _sigmoid(z: Numbers) -> Numbers:
    """`1/(1 + exp(-z))` with the exponential of a number that is not positive only, so that none overflows."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def _softplus(z: Numbers) -> Numbers:
    """`log(1 + exp z)`, which is `z` and a small rest where z is large."""
    return np.logaddexp(0.0, z)


_erf = np.frompyfunc(math.erf, 1, 1)


def _erf_of(z: Numbers) -> Numbers:
    return np.asarray(_erf(z), dtype=np.float64)


def _largest(*values: Numbers) -> Numbers:
    return reduce(np.maximum, values)


def _smallest(*values: Numbers) -> Numbers:
    return reduce(np.minimum, values)


def _stop(z: Numbers) -> Numbers:
    return z


FUNCTIONS: Mapping[str, Callable[..., Numbers]] = MappingProxyType(
    {
        "abs": np.abs,
        "cos": np.cos,
        "erf": _erf_of,
        "exp": np.exp,
        "expm1": np.expm1,
        "floor": np.floor,
        "log": np.log,
        "log1p": np.log1p,
        "max": _largest,
        "min": _smallest,
        "sigmoid": _sigmoid,
        "sign": np.sign,
        "sin": np.sin,
        "softplus": _softplus,
        "sqrt": np.sqrt,
        "stop": _stop,
        "tanh": np.tanh,
    }
)

# `//` and `%` of NumPy round towards minus infinity, as the language does.
OPERATORS: Mapping[str, Callable[[Numbers, Numbers], Numbers]] = MappingProxyType(
    {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.true_divide,
        "//": np.floor_divide,
        "%": np.mod,
        "**": np.power,
    }
)

COMPARISONS: Mapping[str, Callable[[Numbers, Numbers], Truths]] = MappingProxyType(
    {
        "==": np.equal,
        "!=": np.not_equal,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
    }
)
