"""Elementwise functions against long double arithmetic, on two targets: with and without fused multiply-adds.

Bounds are in units of the last place of the right result; results below the smallest normal number count in units of
the smallest number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from emit.pointwise import function, pointwise
from pellucid.emit import target
from pellucid.emit.targets import missing_features
from pellucid.schedule.arithmetic import FUNCTIONS
from pellucid.schedule.nest import Apply, Constant, Value

LONG = np.longdouble
Wide = NDArray[np.longdouble]

TYPES = ("float32", "float64")
TARGETS = tuple(name for name in ("x86-64-v2", "native") if not missing_features(target(name)))


def erf_of(x: Wide) -> Wide:
    """math.erf is right to a unit of float64."""
    return np.array([math.erf(float(value)) for value in x], LONG)


# The right results, and the units by which ours may differ.
WANTED: dict[str, tuple[Callable[[Wide], Wide], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 2.5),
    "log": (np.log, 1.0),
    "log1p": (np.log1p, 1.0),
    "sin": (np.sin, 3.0),
    "cos": (np.cos, 3.0),
    "tanh": (np.tanh, 3.0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3.0),
    "softplus": (lambda x: np.where(x > 0, x, 0 * x) + np.log1p(np.exp(-np.abs(x))), 2.0),
    "erf": (erf_of, 2.0),
}


def arguments(dtype: str) -> NDArray[np.floating]:
    """All magnitudes of a type, and densely where functions bend."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype)
    signs = rng.choice([-1.0, 1.0], 2000)
    parts = (
        signs * np.exp2(rng.uniform(info.minexp - 20, info.maxexp - 1, 2000)),
        signs * np.exp2(rng.uniform(-30, 6, 2000)),
        rng.uniform(-4, 4, 2000),
        rng.uniform(0.5, 2, 2000),
        rng.uniform(-1.1, 1.1, 2000) * float(np.log(info.max)),
    )
    return np.concatenate(parts).astype(dtype)


def units_off(got: NDArray[np.floating], wanted: Wide, dtype: str) -> NDArray[np.floating]:
    """The distance in units of the last place; 0 where both are the same infinity or NaN, else infinite there."""
    rounded = wanted.astype(dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    finite = np.isfinite(got) & np.isfinite(rounded)
    unit = np.maximum(np.spacing(np.abs(rounded)), np.finfo(dtype).smallest_subnormal).astype(LONG)
    distance = np.abs(got.astype(LONG) - wanted) / unit
    return np.where(finite, distance, np.where(same, 0.0, np.inf)).astype(np.float64)


@pytest.mark.parametrize("width", [1, 8], ids=["scalars", "vectors"])
@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "peer"), [("max", np.maximum), ("min", np.minimum)])
def test_extremes(name: str, peer: np.ufunc, dtype: str, chosen: str, width: int) -> None:
    """In both orders a NaN comes out, and of zeros of both signs the negative one; from the interpreter, too."""
    special = np.array([-0.0, 0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, -math.nan], dtype)
    a, b = (np.ravel(one) for one in np.meshgrid(special, special))
    got = pointwise(function(name), a, b, target=target(chosen), width=width)
    wanted = peer(a, b)
    np.testing.assert_array_equal(got, wanted)
    numbers = ~np.isnan(wanted)
    signs = np.where((a == 0) & (b == 0), np.signbit(a) | np.signbit(b), np.signbit(wanted))
    np.testing.assert_array_equal(np.signbit(got)[numbers], signs[numbers])
    interpreted = np.array([FUNCTIONS[name](float(one), float(two)) for one, two in zip(a, b, strict=True)])
    np.testing.assert_array_equal(interpreted, got)
    np.testing.assert_array_equal(np.signbit(interpreted)[numbers], np.signbit(got)[numbers])


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(WANTED))
def test_error_in_units_of_the_last_place(name: str, dtype: str, chosen: str) -> None:
    right, bound = WANTED[name]
    x = arguments(dtype)
    got = pointwise(function(name), x, target=target(chosen))
    with np.errstate(all="ignore"):
        off = units_off(got, right(x.astype(LONG)), dtype)
    worst = int(np.argmax(off))
    assert off[worst] <= bound, f"{name}({x[worst]!r}) = {got[worst]!r} is {off[worst]:.2f} units off"


@pytest.mark.skipif(not target().looks_up, reason="this processor has no table of erf")
def test_erf_by_a_table() -> None:
    """The same numbers in scalars and in vectors of any width; no more than 1.5 units off, and never beyond 1."""
    middles = np.arange(17, dtype="float32") * np.float32(17 / 64)
    borders = middles[:-1] + np.float32(17 / 128)
    x = np.concatenate([np.nextafter(borders, 0), borders, middles, np.linspace(0, 4.5, 100_000)]).astype("float32")
    found = [pointwise(function("erf"), x, width=width) for width in (1, 3, 8, 16, 48, 64)]
    assert {array.tobytes() for array in found} == {found[0].tobytes()}
    assert units_off(found[0], erf_of(x.astype(LONG)), "float32").max() <= 1.5
    assert np.all(found[0] <= 1)
    assert np.all(found[0][x >= 3.95] == 1)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("exp", 0.0, math.inf),
        ("expm1", -1.0, math.inf),
        ("log", math.nan, math.inf),
        ("log1p", math.nan, math.inf),
        ("sin", math.nan, math.nan),
        ("cos", math.nan, math.nan),
        ("tanh", -1.0, 1.0),
        ("sigmoid", 0.0, 1.0),
        ("softplus", 0.0, math.inf),
        ("erf", -1.0, 1.0),
    ],
)
def test_at_infinity_and_nan(name: str, at_minus_infinity: float, at_infinity: float, dtype: str) -> None:
    x = np.array([-math.inf, math.inf, math.nan], dtype)
    np.testing.assert_array_equal(pointwise(function(name), x), np.array([at_minus_infinity, at_infinity, math.nan]))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tanh", "erf"])
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: str) -> None:
    x = np.array([0.0, -0.0], dtype)
    assert np.signbit(pointwise(function(name), x)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tanh"])
def test_tiny_arguments_are_their_own_values(name: str, dtype: str) -> None:
    info = np.finfo(dtype)
    x = np.array([info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal], dtype)
    np.testing.assert_array_equal(pointwise(function(name), x), x)


@pytest.mark.parametrize("dtype", TYPES)
def test_logarithms_at_their_edges(dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    logs = pointwise(function("log"), np.array([0.0, -0.0, 1.0, -tiny], dtype))
    np.testing.assert_array_equal(logs, np.array([-math.inf, -math.inf, 0.0, math.nan]))
    np.testing.assert_array_equal(
        pointwise(function("log1p"), np.array([-1.0, -2.0], dtype)), np.array([-math.inf, math.nan])
    )


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("dtype", TYPES)
def test_powers(dtype: str, chosen: str) -> None:
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    x = np.concatenate(
        [np.exp2(rng.uniform(-3, 3, 4000)), np.exp2(rng.uniform(info.minexp - 5, info.maxexp - 1, 4000))]
    )
    y = np.concatenate([rng.uniform(-300, 300, 4000), rng.uniform(-1, 1, 4000)])
    x, y = x.astype(dtype), y.astype(dtype)
    with np.errstate(all="ignore"):
        off = units_off(
            pointwise(function("pow"), x, y, target=target(chosen)), np.power(x.astype(LONG), y.astype(LONG)), dtype
        )
    worst = int(np.argmax(off))
    assert off[worst] <= 2.0, f"{x[worst]!r} ** {y[worst]!r} is {off[worst]:.2f} units off"


@pytest.mark.parametrize("dtype", TYPES)
def test_special_powers(dtype: str) -> None:
    """Every pair of special numbers, against the C library's pow."""
    special = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 2.5, 1e30, math.inf, -math.inf, math.nan]
    x, y = (part.ravel().astype(dtype) for part in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    got = pointwise(function("pow"), x, y)
    np.testing.assert_allclose(got, wanted, rtol=2 * float(np.finfo(dtype).eps), atol=0)
    numbers = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(wanted[numbers]))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, -1, -2, 0.5])
def test_known_powers_are_multiplications(exponent: float) -> None:
    def value(load: Value) -> Value:
        return Apply("pow", (load, Constant(exponent)))

    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 16.0, math.inf], "float64")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(pointwise(value, x), x**exponent)


QUARTERS = [0.25, 0.5, 0.75, -0.25, -0.5, -0.75]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("exponent", QUARTERS)
def test_powers_by_square_roots(exponent: float, dtype: str) -> None:
    info = np.finfo(dtype)
    x = np.exp2(np.random.default_rng(4).uniform(info.minexp - 20, info.maxexp, 20000)).astype(dtype)
    got = pointwise(lambda load: Apply("pow", (load, Constant(exponent))), x)
    off = units_off(got, np.power(x.astype(LONG), LONG(exponent)), dtype)
    # Roundings: two of halves, one of the product, one of 1 over it.
    assert off.max() <= {0.25: 1.5, 0.5: 0.5, 0.75: 3.5, -0.25: 2.5, -0.5: 1.5, -0.75: 4.5}[exponent]


@pytest.mark.parametrize("exponent", QUARTERS)
def test_special_powers_by_square_roots(exponent: float) -> None:
    x = np.array([-math.inf, -0.0, 0.0, -1.0, 1.0, math.inf, math.nan])
    got = pointwise(lambda load: Apply("pow", (load, Constant(exponent))), x)
    wanted = [math.pow(value, exponent) if value > 0 or not math.isfinite(value) else math.nan for value in x]
    wanted[1] = wanted[2] = 0.0 if exponent > 0 else math.inf
    np.testing.assert_array_equal(got, wanted)
    assert not np.signbit(got[~np.isnan(got)]).any()
