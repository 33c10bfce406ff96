"""Gradients held against central differences, in float64, along one random direction for each array.

The difference `(f(a + eps d) - f(a - eps d)) / 2 eps` is exact for a function that is at most quadratic along `d`
(everything bilinear is), for any eps: there eps = 1 leaves nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, ShapeError

__all__ = ["GradientCheck", "GradientReport", "check_gradient"]


@dataclass(frozen=True)
class GradientCheck:
    """One array's gradient along one direction.

    `numeric` and `analytic` are the directional derivative of `sum(upstream * function)` by differences and by the
    gradient. `relative_error` is their distance over the larger of `|numeric|` and the gradient's 2-norm, which is
    the root mean square of the directional derivative over random directions: a direction that happens to be
    almost perpendicular to the gradient does not make rounding look like an error. It is 0 where both are 0.
    """

    name: str
    numeric: float
    analytic: float
    relative_error: float


@dataclass(frozen=True)
class GradientReport:
    """The checks of all arrays."""

    checks: tuple[GradientCheck, ...]

    @property
    def worst(self) -> GradientCheck:
        """The check with the largest relative error; one that is not a number counts as the largest."""
        return max(self.checks, key=lambda check: np.inf if np.isnan(check.relative_error) else check.relative_error)

    @property
    def relative_error(self) -> float:
        """The largest relative error."""
        return self.worst.relative_error

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        return "\n".join(
            f"{check.name:<{width}}  by differences {check.numeric:.15g}  by gradient {check.analytic:.15g}"
            f"  relative error {check.relative_error:.1e}"
            for check in self.checks
        )


def check_gradient(
    function: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any] | float],
    arrays: Mapping[str, NDArray[Any]],
    gradients: Mapping[str, NDArray[Any] | float],
    upstream: NDArray[Any] | float = 1.0,
    *,
    eps: float = 1e-5,
    direction_seed: int = 0,
) -> GradientReport:
    """Compare `gradients` with central differences of `sum(upstream * function(arrays))`.

    `function` takes the mapping of arrays and returns an array of the shape of `upstream`. `gradients` has, for each
    array to be checked, its gradient, of the array's shape. Arrays without a gradient are passed on as they are;
    checked ones are passed as float64. Use `eps=1` for functions that are bilinear.

    Raises `ArgumentError` where a gradient has no array, none is given, or eps is not positive, and `ShapeError`
    where shapes differ.
    """
    if not gradients:
        raise ArgumentError("`gradients` is empty: there is nothing to check")
    if not (np.isfinite(eps) and eps > 0):
        raise ArgumentError(f"`eps` (={eps}) must be positive and finite")
    checks: list[GradientCheck] = []
    for name, given in gradients.items():
        if name not in arrays:
            raise ArgumentError(f"`gradients` has `{name}`, which is not among the arrays: {sorted(arrays)}")
        gradient = np.asarray(given, dtype=np.float64)
        point = np.asarray(arrays[name], dtype=np.float64)
        if gradient.shape != point.shape:
            raise ShapeError(f"the gradient of `{name}` has shape {gradient.shape}, the array has {point.shape}")
        # A generator for each array: its direction does not depend on which others are checked.
        direction = _direction(point.shape, np.random.default_rng([direction_seed, *name.encode()]))
        above = _weighed(function({**arrays, name: point + eps * direction}), upstream)
        below = _weighed(function({**arrays, name: point - eps * direction}), upstream)
        numeric = float(np.sum(above - below)) / (2.0 * eps)
        analytic = float(np.sum(gradient * direction))
        checks.append(GradientCheck(name, numeric, analytic, _relative_error(numeric, analytic, gradient)))
    return GradientReport(tuple(checks))


def _direction(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    """A random direction whose entries have a mean square of 1, so that none is short by chance."""
    direction = np.asarray(generator.standard_normal(shape))
    length = float(np.linalg.norm(direction))
    return direction * (np.sqrt(direction.size) / length) if length else direction


def _weighed(value: NDArray[Any] | float, upstream: NDArray[Any] | float) -> NDArray[np.float64]:
    """`value * upstream`, whose shapes must be equal (an upstream of one number goes with every shape)."""
    result, weight = np.asarray(value, dtype=np.float64), np.asarray(upstream, dtype=np.float64)
    if weight.ndim and weight.shape != result.shape:
        raise ShapeError(f"`upstream` has shape {weight.shape}, the function's value has {result.shape}")
    return result * weight


def _relative_error(numeric: float, analytic: float, gradient: NDArray[np.float64]) -> float:
    scale = max(abs(numeric), float(np.linalg.norm(gradient)))
    distance = abs(numeric - analytic)
    return distance / scale if scale else distance
