"""Verification before any timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import VerificationError

__all__ = ["largest_error"]

Array: TypeAlias = NDArray[Any]
# One wrong value among many is seen by the first, an array that is a little wrong everywhere by the second.
_SIZES: Mapping[str, Callable[[Array], float]] = MappingProxyType(
    {
        "largest value": lambda array: float(np.abs(array).max()),
        "root mean square": lambda array: float(np.sqrt(np.mean(np.square(array)))),
    }
)


def largest_error(
    what: str,
    found: Mapping[str, Array],
    expected: Mapping[str, Array],
    tolerance: float,
    beside: Mapping[str, Array] = MappingProxyType({}),
) -> float:
    """The largest difference of arrays from the expected ones, each relative to the largest value of its array.

    VerificationError, which names the worst array, where that is above `tolerance`, where the root mean square of an
    array's differences is above that part of the root mean square of its values, or where something is not finite.
    An array whose values cancel is measured by those of its name in `beside`, where these are larger.
    """
    largest = dict[str, float]()
    for words, size in _SIZES.items():
        errors = {name: _error(found[name], array, beside.get(name, array), size) for name, array in expected.items()}
        worst = max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else np.inf)
        if not errors[worst] <= tolerance:
            raise VerificationError(
                f"{what} is wrong: {worst} differs by {errors[worst]:.2g} of its {words}; "
                f"at most {tolerance:.2g} is allowed"
            )
        largest[words] = errors[worst]
    return largest["largest value"]


def _error(found: Array, expected: Array, beside: Array, size: Callable[[Array], float]) -> float:
    if found.shape != expected.shape:
        return float("nan")
    whole = max(size(expected), size(beside))
    difference = size(found.astype(np.float64) - expected)
    return difference / whole if whole else difference
