"""Exact functions, choices, integers and conversions, against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from emit.pointwise import function, pointwise
from pellucid.emit import compile_program
from pellucid.errors import CompileError, DtypeError
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Accumulated, Apply, Constant, Position, Program, Tensor, Value

SPECIAL = np.array([0.0, -0.0, 1.5, -1.5, 2.0, math.inf, -math.inf, math.nan])
PAIRS = tuple(part.ravel() for part in np.meshgrid(SPECIAL, SPECIAL))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "wanted"),
    [("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide), ("max", np.maximum),
     ("min", np.minimum)],
)  # fmt: skip
def test_functions_of_two(name: str, wanted: Callable[..., object], dtype: str) -> None:
    x, y = (part.astype(dtype) for part in PAIRS)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(pointwise(function(name), x, y), wanted(x, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "wanted"),
    [("neg", np.negative), ("abs", np.abs), ("sqrt", np.sqrt), ("sign", np.sign), ("floor", np.floor)],
)
def test_functions_of_one(name: str, wanted: Callable[..., object], dtype: str) -> None:
    x = SPECIAL.astype(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(pointwise(function(name), x), wanted(x))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
     ("ge", np.greater_equal)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_comparisons_choose(name: str, wanted: Callable[..., object], dtype: str) -> None:
    x, y = PAIRS
    if dtype == "int64":
        x, y = (np.nan_to_num(part, nan=7, posinf=9, neginf=-9).astype(dtype) for part in (x, y))
    else:
        x, y = x.astype(dtype), y.astype(dtype)

    def value(a: Value, b: Value) -> Value:
        return Apply("where", (Apply(name, (a, b)), Constant(1.0), Constant(0.0)))

    np.testing.assert_array_equal(pointwise(value, x, y, result="float32"), np.asarray(wanted(x, y)).astype("float32"))


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_extremes_with_a_number_spread_nan(bound: float) -> None:
    x = SPECIAL.astype("float32")
    for value in (lambda a: Apply("max", (a, Constant(bound))), lambda a: Apply("max", (Constant(bound), a))):
        np.testing.assert_array_equal(pointwise(value, x), np.maximum(x, np.float32(bound)))


def test_logic() -> None:
    x = np.array([-2.0, -0.5, 0.5, 2.0], "float32")

    def value(a: Value) -> Value:
        inside = Apply("and", (Apply("gt", (a, Constant(-1.0))), Apply("lt", (a, Constant(1.0)))))
        return Apply("where", (Apply("or", (Apply("not", (inside,)), Apply("gt", (a, Constant(0.0))))), a, Constant(9)))

    assert pointwise(value, x).tolist() == [-2.0, 9.0, 0.5, 2.0]


@pytest.mark.parametrize("name", ["floordiv", "mod"])
def test_division_of_integers_rounds_down(name: str) -> None:
    x = np.arange(-9, 10, dtype="int64")
    wanted = np.floor_divide if name == "floordiv" else np.mod
    for divisor in (1, 2, 3, 7, 8):
        got = pointwise(lambda a, by=divisor: Apply(name, (a, Constant(by))), x)
        np.testing.assert_array_equal(got, wanted(x, divisor))
    divisors = np.where(x % 5 == 0, 3, x % 5) * np.where(x % 2 == 0, 1, -1)
    np.testing.assert_array_equal(pointwise(function(name), x, divisors), wanted(x, divisors))


@pytest.mark.parametrize(
    ("name", "wanted"), [("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("max", np.maximum)]
)
def test_integers_stay_integers(name: str, wanted: Callable[..., object]) -> None:
    x = np.array([2**62, -5, 3, 2**53 + 1], "int64")
    y = np.array([1, 2, -7, 1], "int64")
    np.testing.assert_array_equal(pointwise(function(name), x, y), wanted(x, y))


@pytest.mark.parametrize(("name", "wanted"), [("neg", np.negative), ("abs", np.abs), ("sign", np.sign)])
def test_integers_of_one(name: str, wanted: Callable[..., object]) -> None:
    x = np.array([2**62, -5, 0, 3], "int64")
    np.testing.assert_array_equal(pointwise(function(name), x), wanted(x))


def test_integers_meet_floating_numbers() -> None:
    x, t = np.array([0.5, 1.5], "float32"), np.array([3, -4], "int64")
    np.testing.assert_array_equal(pointwise(function("mul"), x, t), np.array([1.5, -6.0], "float32"))
    np.testing.assert_array_equal(pointwise(function("div"), t, t, result="float64"), [1.0, 1.0])


def test_positions_count_lanes_and_blocks() -> None:
    index = Affine.of(5, {"i": 2, "block": 16})
    got = pointwise(lambda a: Apply("add", (a, Position(index))), np.zeros(24, "float32"))
    np.testing.assert_array_equal(got, 5 + 2 * np.arange(24))


def test_numbers_become_integers_by_truncation() -> None:
    x = np.array([1.9, -1.9, math.nan, 1e30], "float64")
    got = pointwise(lambda a: a, x, result="int64")
    assert got.tolist() == [1, -1, 0, 2**63 - 1]


def test_two_floating_types_are_refused() -> None:
    program = Program(
        (Tensor("x", "float32", (8,), "input"), Tensor("z", "float64", (8,), "output")),
        (),
    )
    with pytest.raises(DtypeError) as caught:
        compile_program(program)
    assert str(caught.value) == "a program has one floating type, but x is float32 and z is float64"


def test_accumulated_needs_a_reduction() -> None:
    with pytest.raises(CompileError, match=r"^`Accumulated` stands in a tile without a reduction$"):
        pointwise(lambda a: Apply("add", (a, Accumulated())), np.zeros(8))
