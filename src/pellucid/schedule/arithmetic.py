"""`VALUE_FUNCTIONS` on Python numbers, with IEEE results where Python would raise: the interpreter's arithmetic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from pellucid.schedule.nest import VALUE_FUNCTIONS

__all__ = ["FUNCTIONS", "largest", "smallest"]

Scalar: TypeAlias = int | float | bool


def largest(a: Scalar, b: Scalar) -> Scalar:
    """The larger; a NaN where either is one, and of two zeros the negative one."""
    if math.isnan(a):
        return a
    return b if b > a or math.isnan(b) or _zeros(a, b) else a


def smallest(a: Scalar, b: Scalar) -> Scalar:
    """The smaller; a NaN where either is one, and of two zeros the negative one."""
    if math.isnan(a):
        return a
    return b if b < a or math.isnan(b) or _zeros(a, b) else a


def _zeros(a: Scalar, b: Scalar) -> bool:
    """Whether both are zero, and the second the negative one."""
    return a == 0 == b and math.copysign(1.0, b) < 0


def _quotient(a: Scalar, b: Scalar) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _power(a: Scalar, b: Scalar) -> float:
    try:
        return math.pow(a, b)
    except OverflowError:
        odd = float(b).is_integer() and b % 2 == 1
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:
        # 0 to a negative power is infinite, with the sign of 0 for an odd one; a negative number's root is none.
        if a != 0:
            return math.nan
        odd = float(b).is_integer() and b % 2 == 1
        return math.copysign(math.inf, a) if odd else math.inf


def _logarithm(a: Scalar) -> float:
    return math.log(a) if a > 0 or math.isnan(a) else (-math.inf if a == 0 else math.nan)


def _logarithm_of_one_plus(a: Scalar) -> float:
    return math.log1p(a) if a > -1 or math.isnan(a) else (-math.inf if a == -1 else math.nan)


def _exponential(a: Scalar) -> float:
    # The largest float64 is about exp(709.78).
    return math.exp(a) if a < 709.7 or math.isnan(a) else _beyond(math.exp, a)


def _exponential_minus_one(a: Scalar) -> float:
    return math.expm1(a) if a < 709.7 or math.isnan(a) else _beyond(math.expm1, a)


def _beyond(function: Callable[[float], float], a: Scalar) -> float:
    try:
        return function(a)
    except OverflowError:
        return math.inf


def _sigmoid(a: Scalar) -> float:
    small = math.exp(-abs(a))
    return (1.0 if a >= 0 else small) / (1.0 + small)


def _softplus(a: Scalar) -> float:
    return max(a, 0.0) + math.log1p(math.exp(-abs(a))) if not math.isnan(a) else a


def _root(a: Scalar) -> float:
    return math.sqrt(a) if a >= 0 or math.isnan(a) else math.nan


def _sign(a: Scalar) -> Scalar:
    return (a > 0) - (a < 0) if not math.isnan(a) else a


def _floor(a: Scalar) -> Scalar:
    return float(math.floor(a)) if math.isfinite(a) else a


def _finite(function: Callable[[float], float]) -> Callable[[Scalar], float]:
    """A function with no value at infinity."""
    return lambda a: function(a) if math.isfinite(a) else math.nan


def _where(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return a if condition else b


def _multiply_add(a: Scalar, b: Scalar, c: Scalar) -> Scalar:
    return a * b + c


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _quotient, "neg": operator.neg,
        "abs": abs, "max": largest, "min": smallest, "sqrt": _root, "sign": _sign, "floor": _floor,
        "floordiv": operator.floordiv, "mod": operator.mod, "fma": _multiply_add,
        "exp": _exponential, "expm1": _exponential_minus_one, "log": _logarithm, "log1p": _logarithm_of_one_plus,
        "sin": _finite(math.sin), "cos": _finite(math.cos), "tanh": math.tanh, "sigmoid": _sigmoid,
        "softplus": _softplus, "erf": math.erf, "pow": _power,
        "where": _where, "and": operator.and_, "or": operator.or_, "not": operator.not_,
        "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
        "ge": operator.ge,
    }
)  # fmt: skip

assert set(FUNCTIONS) == set(VALUE_FUNCTIONS), "every function of the representation, and no other"
