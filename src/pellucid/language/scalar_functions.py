"""The language's functions and operators on single Python numbers, with infinities and NaN where Python raises."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["COMPARISONS", "FUNCTIONS", "arithmetic", "finite_or_limit"]

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
)


def arithmetic(operation: str, a: float, b: float) -> float:
    """`a operation b` for + - * / // % **; integers stay integers where the result is one."""
    if operation == "+":
        return a + b
    if operation == "-":
        return a - b
    if operation == "*":
        return a * b
    if operation == "**":
        return _power(a, b)
    if b == 0:
        undefined = operation == "%" or a == 0 or math.isnan(a)
        return math.nan if undefined else math.copysign(math.inf, a) * math.copysign(1.0, b)
    return a / b if operation == "/" else a // b if operation == "//" else a % b


def finite_or_limit(function: Callable[..., float], *values: float) -> float:
    """The function's value; the infinity or NaN of IEEE arithmetic where Python raises an exception."""
    try:
        return function(*values)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _power(a: float, b: float) -> float:
    if isinstance(a, int) and isinstance(b, int) and b >= 0:
        return a**b
    if a == 0 and b < 0:
        return math.inf
    if a < 0 and b == math.floor(b) and abs(b) < math.inf:
        size = finite_or_limit(math.pow, -a, b)
        return -size if b % 2 == 1 else size
    return finite_or_limit(math.pow, a, b)


def _log(a: float) -> float:
    return -math.inf if a == 0 else math.log(a)


def _log1p(a: float) -> float:
    return -math.inf if a == -1 else math.log1p(a)


def _sigmoid(a: float) -> float:
    small = math.exp(-abs(a))
    return (1.0 if a >= 0 else small) / (1.0 + small)


def _softplus(a: float) -> float:
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def _sign(a: float) -> float:
    return a if a == 0 or math.isnan(a) else math.copysign(1.0, a)


def _floor(a: float) -> float:
    return math.floor(a) if math.isfinite(a) else a


def _max(a: float, b: float) -> float:
    return a if a > b or math.isnan(a) else b


def _min(a: float, b: float) -> float:
    return a if a < b or math.isnan(a) else b


def _stop(a: float) -> float:
    return a


FUNCTIONS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "exp": math.exp,
        "expm1": math.expm1,
        "log": _log,
        "log1p": _log1p,
        "sqrt": math.sqrt,
        "sin": math.sin,
        "cos": math.cos,
        "tanh": math.tanh,
        "sigmoid": _sigmoid,
        "softplus": _softplus,
        "erf": math.erf,
        "abs": math.fabs,
        "sign": _sign,
        "floor": _floor,
        "max": _max,
        "min": _min,
        "stop": _stop,
    }
)
