"""Fits the coefficients of erf in float32 that `pellucid/emit/error_function.py` looks up, and prints them.

    python tools/erf_table.py

Each of 16 intervals of 17/64 around the multiples of that has a polynomial of degree 5 in the distance from its middle;
around 0 it is what erf(x) is more than x. The coefficients are found one after the other, lowest power first: the rest
is fitted by the largest error in units of the last place (least squares, with weights that grow where the error is
large), its lowest coefficient is rounded to float32 and held. For the two lowest, neighbours in float32 are tried, too.
What counts is the largest error of the polynomial as it is computed, by fused multiply-adds; no result may exceed 1.
"""

from __future__ import annotations

from math import erf

import numpy as np
from numpy.typing import NDArray

STEP, DEGREE, ENTRIES = 17 / 64, 5, 16
Vector = NDArray[np.float64]
Single = NDArray[np.float32]


def fitted(basis: Vector, values: Vector, weights: Vector) -> Vector:
    """The combination of the columns of `basis` whose largest weighted error is smallest (Lawson's iteration)."""
    importance, best, least = np.ones(len(values)), np.zeros(basis.shape[1]), np.inf
    for _ in range(60):
        scale = weights * np.sqrt(importance)
        found = np.linalg.lstsq(basis * scale[:, None], values * scale, rcond=None)[0]
        errors = np.abs(basis @ found - values) * weights
        if errors.max() < least:
            best, least = found, float(errors.max())
        importance *= errors / errors.max() + 1e-9
        importance /= importance.max()
    return best


def completed(held: list[float], is_odd: bool, h: Vector, values: Vector, weights: Vector) -> list[float]:
    """The coefficients `held` and those of the higher powers, of an odd function those of odd powers."""
    held = list(held)
    while len(held) <= DEGREE:
        powers = [power for power in range(len(held), DEGREE + 1) if power % 2 or not is_odd]
        if powers[0] > len(held):
            held.append(0.0)
            continue
        rest = values - sum(value * h**power for power, value in enumerate(held))
        scaled = np.stack([(2 * h / STEP) ** power for power in powers], 1)
        held.append(float(np.float32(fitted(scaled, rest, weights)[0] / (STEP / 2) ** powers[0])))
    return held


def computed(coefficients: list[float], h: Single, first: Single | float) -> Single:
    """The polynomial by fused multiply-adds, with another lowest coefficient."""
    result = np.full(len(h), coefficients[-1], np.float32)
    for value in (*reversed(coefficients[1:-1]), first):
        exact = result.astype(np.float64) * h.astype(np.float64) + np.asarray(value, np.float64)
        result = exact.astype(np.float32)
    return result


def interval(number: int) -> tuple[float, list[float]]:
    """The largest error in units of the last place around a multiple of the step, and the coefficients."""
    middle, is_first = number * STEP, number == 0
    x = np.linspace(max(1e-4, middle - STEP / 2), middle + STEP / 2, 60_001).astype(np.float32)
    if is_first:
        x = np.concatenate([x, np.geomspace(1e-30, 1e-4, 20_000).astype(np.float32)])
    exact = np.array([erf(float(value)) for value in x])
    units = np.spacing(exact.astype(np.float32)).astype(np.float64)
    h = x.astype(np.float64) - middle
    values, some = exact - h if is_first else exact, slice(None, None, 60)

    def complete(*held: float) -> list[float]:
        return completed(list(held), is_first, h[some], values[some], 1 / units[some])

    best, least = list[float](), np.inf
    nearest = np.float32(erf(middle))
    lowest = [nearest, np.nextafter(nearest, np.float32(0)), min(np.float32(1), np.nextafter(nearest, np.float32(2)))]
    for first in [0.0] if is_first else sorted({float(value) for value in lowest}):
        second = np.float32(complete(first)[1])
        for steps in range(-2, 3):
            coefficients = complete(first, float(second + steps * np.spacing(second)))
            single = h.astype(np.float32)
            found = computed(coefficients, single, single if is_first else first)
            worst = float((np.abs(found - exact) / units).max())
            is_right = found.max() <= 1 and not (number == ENTRIES - 1 and (found[x >= 3.95] != 1).any())
            if is_right and worst < least:
                best, least = coefficients, worst
    return least, best


def main() -> None:
    """Prints the table, a row for each power, and the errors."""
    found = [interval(number) for number in range(ENTRIES)]
    for row in zip(*(coefficients for _, coefficients in found), strict=True):
        print(", ".join(f"{value:.9g}" for value in row))
    print("largest errors in units of the last place:", ", ".join(f"{error:.2f}" for error, _ in found))


if __name__ == "__main__":
    main()
