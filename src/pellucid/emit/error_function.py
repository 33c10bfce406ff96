"""The error function: in float32 by a table where one instruction looks up 16 numbers, else by one formula; in float64
by two that are shorter together."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from pellucid.emit.arithmetic import Arithmetic
from pellucid.emit.ir import Register

__all__ = ["erf"]

_H = float.fromhex

# log(erfc(-x))/x - 1 in x, from 0 down to where erf(x) rounds to -1; weighted by what its error does to erf.
_LOG_ERFC = (
    0.128379171611, -0.636619381968, 0.102777830497, 0.0191530638706, -0.000160396117797, -0.00166702750824,
    -0.000632836879578, -0.000117641277965, -9.25626588836e-06,
)  # fmt: skip

# erf(x)/x - 1 in x^2, for x up to 1.
_ERF = (
    _H("0x1.06eba8214db69p-3"), _H("-0x1.812746b0379e6p-2"), _H("0x1.ce2f21a042b30p-4"),
    _H("-0x1.b82ce31284e00p-6"), _H("0x1.565bcd0dbaa38p-8"), _H("-0x1.c02db3dac435fp-11"),
    _H("0x1.f9a321d5b8e1ep-14"), _H("-0x1.f4d1e3183f7aep-17"), _H("0x1.b9df224ca4b97p-20"),
    _H("-0x1.5f1ecb6f0764cp-23"), _H("0x1.f7b4bf3b13964p-27"), _H("-0x1.389d4f2641625p-30"),
    _H("0x1.05ffd737fb32ep-34"),
)  # fmt: skip

# erfc(x) * exp(x^2) in t = 1/(x + 2), for x from 1 to where erf(x) rounds to 1.
_ERFC = (
    _H("0x1.5ccce7983ea5ap-23"), _H("0x1.20dbd3ad45fd5p-1"), _H("0x1.20fa627a1aef8p+0"), _H("0x1.f70cbc11fe46fp+0"),
    _H("0x1.7b872be925988p+1"), _H("0x1.1ce8cceee0799p+0"), _H("0x1.8f0441e18093fp+3"), _H("-0x1.581816b53d9a0p+6"),
    _H("0x1.640682e54e569p+8"), _H("-0x1.4637da8270982p+10"), _H("0x1.a837046bf6150p+11"),
    _H("-0x1.677beeb9077d4p+12"), _H("0x1.7fd3eb69b9152p+12"), _H("-0x1.db4a380864d43p+11"),
    _H("0x1.06de90fce20e3p+10"),
)  # fmt: skip

# erf(m + h) in h, for the multiples m of 17/64 from 0 to 15 times that; a row has the coefficients of one power. Of the
# first m, where h is x, what erf(x) is more than x. Each is fitted with those of lower powers already rounded, by the
# largest error in units of the last place: at most 1.5, 0.7 below 0.13 (`tools/erf_table.py`).
_STEP = 17 / 64
_TABLE = (
    (
        0.0, 0.292823225, 0.547528446, 0.740236998, 0.867058277, 0.939653337, 0.975797713, 0.99145031, 0.997345984,
        0.999277413, 0.999827683, 0.999964058, 0.999993443, 0.999998987, 0.999999881, 1.0,
    ),
    (
        0.128379166, 1.05150819, 0.850914061, 0.59796226, 0.364902854, 0.193373084, 0.088987723, 0.0355614386,
        0.0123408176, 0.00371898036, 0.00097323826, 0.000221171882, 4.36471782e-05, 7.47994e-06, 1.11315569e-06,
        1.44233141e-07,
    ),
    (
        0.0, -0.279296547, -0.452041745, -0.476503819, -0.387714177, -0.256820142, -0.14182353, -0.0661324337,
        -0.0262299441, -0.00889599323, -0.00258122431, -0.000645112304, -0.000137407158, -3.35131263e-05,
        -1.08824279e-05, -4.88004525e-06,
    ),
    (
        -0.376122773, -0.301006436, -0.12357334, 0.053826604, 0.152999088, 0.162941083, 0.121027313, 0.07011237,
        0.0330382101, 0.0129299192, 0.00425334973, 0.00118498539, 0.000281043584, 5.69508666e-05, 9.88707325e-06,
        -4.25754661e-06,
    ),
    (
        0.0, 0.131842092, 0.182320878, 0.137172267, 0.0484201498, -0.0223984774, -0.0489269495, -0.0424708016,
        -0.0260702446, -0.0122736357, -0.00502341148, -0.00158964074, -0.000494981185, 0.00029985173, 0.000325951434,
        0.000209994352,
    ),
    (
        0.112189218, 0.0742763802, -0.00018781262, -0.0597416423, -0.0662770197, -0.0369721875, -0.00515239267,
        0.0108581521, 0.0124269594, 0.00806767214, 0.00382896839, 0.00142962078, 0.000433820329, 0.000108939414,
        2.28910849e-05, 0.000404578255,
    ),
)  # fmt: skip

# Arguments at which erf has reached 1.
_ONE = {"float": 4.0, "double": 6.0}


def erf(
    do: Arithmetic,
    exp: Callable[[Register], Register],
    exp_minus_one_near_0: Callable[[Register], Register],
    x: Register,
) -> Register:
    """erf|x| with the sign of x. `exp_minus_one_near_0` is e^r - 1 for |r| <= log(2)/2."""
    a = do.at_most(do.magnitude(x), _ONE[x.kind])
    if x.kind == "double":
        return do.with_sign(_by_parts(do, exp, a), x)
    return do.with_sign(_by_table(do, a) if do.looks_up else _by_logarithm(do, exp_minus_one_near_0, a), x)


def _by_table(do: Arithmetic, a: Register) -> Register:
    """A polynomial around the nearest multiple of the step, for a from 0 to 4. Around 0 it adds to a itself: so small
    results are as exact as a."""
    n, held = do.rounded(a, 1.0 / _STEP)
    h = do.fma(n, -_STEP, a)
    first, *others = (do.looked_up(row, held) for row in _TABLE)
    *others, result = others
    for coefficient in reversed(others):
        result = do.fma(result, h, coefficient)
    return do.fma(result, h, do.select(do.compare("oeq", n, 0.0), h, first))


def _by_logarithm(do: Arithmetic, exp_minus_one_near_0: Callable[[Register], Register], a: Register) -> Register:
    """erf(-b) = 1 - e^y with y = log(erfc(-b)), for b from -4 to 0; y = n*log(2) + r and e^r = 1 + t make that
    (1 - 2^n) - 2^n*t. Nothing cancels near 0, where n is 0; and log(2) needs no second part, since what n takes
    from r is multiplied by 2^n."""
    b = do.negative(a)
    y = do.fma(b, do.polynomial(b, _LOG_ERFC), b)
    n, held = do.rounded(y, 1.0 / log(2.0))
    t = exp_minus_one_near_0(do.fma(n, -log(2.0), y))
    scale = do.power_of_two(held)
    return do.fma(do.negative(scale), t, do.sub(1.0, scale))


def _by_parts(do: Arithmetic, exp: Callable[[Register], Register], a: Register) -> Register:
    """By a polynomial below 1, and by 1 - erfc(a) above."""
    square = do.mul(a, a)
    near = do.fma(a, do.polynomial(square, _ERF), a)
    t = do.div(1.0, do.add(a, 2.0))
    far = do.sub(1.0, do.mul(exp(do.negative(square)), do.polynomial(t, _ERFC)))
    return do.select(do.compare("olt", a, 1.0), near, far)
