"""Verification before any timing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import VerificationError

__all__ = ["largest_error"]


def largest_error(
    what: str,
    found: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
    tolerance: float,
    least: float = 0.0,
) -> float:
    """The largest difference of arrays from the expected ones, each relative to the largest value of its array, or to
    `least` where that is more.

    VerificationError, which names the worst array, where it is above `tolerance`, or where something is not finite.
    """
    errors = {name: _error(found[name], expected[name], least) for name in expected}
    worst = max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else np.inf)
    if not errors[worst] <= tolerance:
        raise VerificationError(
            f"{what} is wrong: {worst} differs by {errors[worst]:.2g} of its largest value; "
            f"at most {tolerance:.2g} is allowed"
        )
    return errors[worst]


def _error(found: NDArray[Any], expected: NDArray[Any], least: float) -> float:
    if found.shape != expected.shape:
        return float("nan")
    largest = max(least, float(np.abs(expected).max()))
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference / largest if largest else difference
