"""The elementwise functions that processors do not have, as vector code.

Each reduces its argument exactly or in two parts, and evaluates a polynomial. The polynomials interpolate at
Chebyshev points with errors below 2^-55 (double) and 2^-26 (float) of the result; what is printed here are their
rounded coefficients. Errors of the whole are a few units of rounding; tests hold them against mpmath.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, nan

from pellucid.emit.arithmetic import Arithmetic, split_exponent
from pellucid.emit.ir import Code, Register
from pellucid.emit.powers import power
from pellucid.emit.trigonometry import cosine, sine
from pellucid.errors import CompileError

__all__ = ["Maths"]

_H = float.fromhex

# (exp(r) - 1 - r) / r^2 on [-log(2)/2, log(2)/2].
_EXP = {
    "float": (0.5, 0.166665770256, 0.0416665546621, 0.00836317307451, 0.00139261761199),
    "double": (
        _H("0x1.0000000000001p-1"), _H("0x1.5555555555556p-3"), _H("0x1.5555555553d68p-5"), _H("0x1.11111111109b5p-7"),
        _H("0x1.6c16c17889ef1p-10"), _H("0x1.a01a01a7c2efep-13"), _H("0x1.a019b9149a41cp-16"),
        _H("0x1.71de0db2f6b19p-19"), _H("0x1.28917c89a43a7p-22"), _H("0x1.af389ecfc4b9cp-26"),
    ),
}  # fmt: skip

# log(2) in two parts; the first has so few bits that its products with exponents are exact.
_LOG2 = {
    "float": (0.693359375, -2.12194440054690583e-4),
    "double": (_H("0x1.62e42feep-1"), _H("0x1.a39ef35793c76p-33")),
}

# (2*artanh(s) - 2*s) / s^3 in z = s^2, for s up to (sqrt(2) - 1) / (sqrt(2) + 1).
_LOG = {
    "float": (0.666666850396, 0.39988780566, 0.29579949392),
    "double": (
        _H("0x1.5555555555558p-1"), _H("0x1.99999999952e2p-2"), _H("0x1.2492492df148dp-2"), _H("0x1.c71c62e5800a1p-3"),
        _H("0x1.7462b4ab2ef6bp-3"), _H("0x1.39fe606542ddep-3"), _H("0x1.2b584aae78a57p-3"),
    ),
}  # fmt: skip

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

# Arguments of exp beyond which the result is 0 or infinite, those at which exp - 1, tanh and erf have reached -1 or 1.
_EXP_RANGE = {"float": (-104.5, 89.0), "double": (-746.0, 710.0)}
_EXPM1_LOW = {"float": -20.0, "double": -40.0}
_TANH_ONE = {"float": 10.0, "double": 20.0}
_ERF_ONE = {"float": 4.0, "double": 6.0}


class Maths:
    """The elementwise functions over registers of the program's floating type."""

    def __init__(self, code: Code, has_fma: bool) -> None:
        self.do = Arithmetic(code, has_fma)

    def function(self, name: str, arguments: Sequence[Register]) -> Register:
        """The function called `name` in `VALUE_FUNCTIONS`."""
        first = arguments[0]
        match name:
            case "exp":
                return self.exp(first)
            case "expm1":
                return self.expm1(first)
            case "log":
                return self.log(first)
            case "log1p":
                return self.log1p(first)
            case "tanh":
                return self.tanh(first)
            case "sigmoid":
                return self.sigmoid(first)
            case "softplus":
                return self.softplus(first)
            case "erf":
                return self.erf(first)
            case "sin":
                return sine(self.do, first)
            case "cos":
                return cosine(self.do, first)
            case "pow":
                return power(self.do, self.exp, self.log, first, arguments[1])
            case _:
                raise CompileError(f"there is no code for the function {name}")

    # Exponentials

    def exp(self, x: Register) -> Register:
        """e^x = 2^n * e^r."""
        do = self.do
        low, high = _EXP_RANGE[x.kind]
        r, _, held = self._reduced(do.at_most(do.at_least(x, low), high))
        return do.scaled(do.add(self._exp_minus_one_near_0(r), 1.0), held)

    def expm1(self, x: Register) -> Register:
        """e^x - 1 = 2^n * ((e^r - 1) + (1 - 2^-n)): what cancels near 0 is not there for n = 0."""
        do, form = self.do, self.do.format(x)
        r, n, held = self._reduced(do.at_most(do.at_least(x, _EXPM1_LOW[x.kind]), _EXP_RANGE[x.kind][1]))
        # 2^-n in two factors, since 2^-1024 is no normal number.
        half, _ = do.rounded(n, -0.5)
        rest = do.sub(do.negative(n), half)
        inverse = do.mul(do.power_of_two(do.add(half, form.magic)), do.power_of_two(do.add(rest, form.magic)))
        total = do.add(self._exp_minus_one_near_0(r), do.sub(1.0, inverse))
        # A zero keeps its sign.
        return do.select(do.compare("oeq", x, 0.0), x, do.scaled(total, held))

    def tanh(self, x: Register) -> Register:
        """tanh(x) = t / (t + 2) with t = e^(2|x|) - 1."""
        do, form = self.do, self.do.format(x)
        bounded = do.at_most(do.magnitude(x), _TANH_ONE[x.kind])
        r, n, held = self._reduced(do.add(bounded, bounded))
        inverse = do.power_of_two(do.add(do.negative(n), form.magic))
        t = do.mul(do.add(self._exp_minus_one_near_0(r), do.sub(1.0, inverse)), do.power_of_two(held))
        return do.with_sign(do.div(t, do.add(t, 2.0)), x)

    def sigmoid(self, x: Register) -> Register:
        """1 / (1 + e^-x), or e^x / (1 + e^x) for negative x: nothing overflows and small results are exact."""
        do = self.do
        small = self.exp(do.negative(do.magnitude(x)))
        above = do.select(do.compare("oge", x, 0.0), 1.0, small)
        return do.div(above, do.add(small, 1.0))

    def softplus(self, x: Register) -> Register:
        """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
        do = self.do
        small = self.exp(do.negative(do.magnitude(x)))
        return do.add(do.at_least(x, 0.0), self.log1p(small))

    def _reduced(self, x: Register) -> tuple[Register, Register, Register]:
        """r and the floating integer n with x = n*log(2) + r, |r| <= log(2)/2; and what holds n in its low bits."""
        do = self.do
        n, held = do.rounded(x, 1.0 / log(2.0))
        first, second = _LOG2[x.kind]
        return do.fma(n, -second, do.fma(n, -first, x)), n, held

    def _exp_minus_one_near_0(self, r: Register) -> Register:
        do = self.do
        return do.fma(do.mul(r, r), do.polynomial(r, _EXP[r.kind]), r)

    # Logarithms

    def log(self, x: Register) -> Register:
        """log(x), for subnormal x after scaling."""
        do, form = self.do, self.do.format(x)
        tiny = do.compare("olt", x, 2.0 ** (1 - form.bias))
        steps = form.mantissa + 2
        normal = do.select(tiny, do.mul(x, 2.0**steps), x)
        extra = do.select(tiny, do.number(-steps, x), 0.0)
        result = self._log_of_normal(normal, extra, None)
        result = do.select(do.compare("olt", x, inf), result, x)
        result = do.select(do.compare("oeq", x, 0.0), -inf, result)
        return do.select(do.compare("olt", x, 0.0), nan, result)

    def log1p(self, x: Register) -> Register:
        """log(1 + x) = log(u) + (x - (u - 1)) / u, with u the rounded 1 + x."""
        do = self.do
        u = do.add(x, 1.0)
        correction = do.div(do.sub(x, do.sub(u, 1.0)), u)
        result = self._log_of_normal(u, None, correction)
        result = do.select(do.compare("olt", x, inf), result, x)
        result = do.select(do.compare("oeq", x, 0.0), x, result)
        result = do.select(do.compare("oeq", x, -1.0), -inf, result)
        return do.select(do.compare("olt", x, -1.0), nan, result)

    def _log_of_normal(self, u: Register, extra: Register | None, correction: Register | None) -> Register:
        """log(u) + extra*log(2) + correction for a positive normal number; rubbish for others.

        With u = 2^k * (1 + f), s = f/(2 + f): log(1 + f) = f - f^2/2 + s*(f^2/2 + R(s^2)).
        """
        do = self.do
        k, f = split_exponent(do, u)
        if extra is not None:
            k = do.add(k, extra)
        s = do.div(f, do.add(f, 2.0))
        z = do.mul(s, s)
        half_square = do.mul(do.mul(f, 0.5), f)
        r = do.mul(z, do.polynomial(z, _LOG[u.kind]))
        first, second = _LOG2[u.kind]
        low = do.mul(k, second) if correction is None else do.fma(k, second, correction)
        inner = do.fma(s, do.add(half_square, r), low)
        return do.fma(k, first, do.sub(f, do.sub(half_square, inner)))

    # The error function

    def erf(self, x: Register) -> Register:
        """erf|x| with the sign of x: float32 by one formula, float64 by two that are shorter together."""
        do = self.do
        a = do.at_most(do.magnitude(x), _ERF_ONE[x.kind])
        return do.with_sign(self._erf_by_logarithm(do.negative(a)) if x.kind == "float" else self._erf_by_parts(a), x)

    def _erf_by_logarithm(self, b: Register) -> Register:
        """erf(-b) = 1 - e^y with y = log(erfc(-b)), for b from -4 to 0; y = n*log(2) + r and e^r = 1 + t make that
        (1 - 2^n) - 2^n*t. Nothing cancels near 0, where n is 0; and log(2) needs no second part, since what n takes
        from r is multiplied by 2^n."""
        do = self.do
        y = do.fma(b, do.polynomial(b, _LOG_ERFC), b)
        n, held = do.rounded(y, 1.0 / log(2.0))
        t = self._exp_minus_one_near_0(do.fma(n, -log(2.0), y))
        scale = do.power_of_two(held)
        return do.fma(do.negative(scale), t, do.sub(1.0, scale))

    def _erf_by_parts(self, a: Register) -> Register:
        """By a polynomial below 1, and by 1 - erfc(a) above."""
        do = self.do
        square = do.mul(a, a)
        near = do.fma(a, do.polynomial(square, _ERF), a)
        t = do.div(1.0, do.add(a, 2.0))
        far = do.sub(1.0, do.mul(self.exp(do.negative(square)), do.polynomial(t, _ERFC)))
        return do.select(do.compare("olt", a, 1.0), near, far)
