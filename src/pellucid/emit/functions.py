"""The elementwise functions that processors do not have, as vector code.

Each reduces its argument exactly or in two parts, and evaluates a polynomial. The polynomials interpolate at
Chebyshev points with errors below 2^-55 (double) and 2^-26 (float) of the result; what is printed here are their
rounded coefficients. Errors of the whole are a few units of rounding; tests hold them against mpmath.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, nan

from pellucid.emit.arithmetic import Arithmetic, split_exponent
from pellucid.emit.error_function import erf
from pellucid.emit.ir import Code, Register
from pellucid.emit.powers import power
from pellucid.emit.targets import Target
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

# Arguments of exp beyond which the result is 0 or infinite, those at which exp - 1 and tanh have reached -1 or 1.
_EXP_RANGE = {"float": (-104.5, 89.0), "double": (-746.0, 710.0)}
_EXPM1_LOW = {"float": -20.0, "double": -40.0}
_TANH_ONE = {"float": 10.0, "double": 20.0}


class Maths:
    """The elementwise functions over registers of the program's floating type."""

    def __init__(self, code: Code, target: Target) -> None:
        self.do = Arithmetic(code, target.machine.has_fma, target.looks_up)

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
                return erf(self.do, self.exp, self._exp_minus_one_near_0, first)
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
