"""x^y. Small whole powers by multiplication, quarters below 1 by square roots; others through the logarithm, in twice
the precision of the result."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

from pellucid.emit.arithmetic import Arithmetic, split_exponent
from pellucid.emit.ir import Register, literal_value

__all__ = ["power"]

_H = float.fromhex

# (2*artanh(s) - 2*s - 2*s^3/3) / s^5 in z = s^2, for s up to (sqrt(2) - 1) / (sqrt(2) + 1).
_TAIL = (
    _H("0x1.999999999999ap-2"), _H("0x1.2492492492521p-2"), _H("0x1.c71c71c6eaa8dp-3"), _H("0x1.745d177a8f200p-3"),
    _H("0x1.3b1395d4f9e5fp-3"), _H("0x1.1118c74823a2ep-3"), _H("0x1.df7ce9a6bcccbp-4"), _H("0x1.e02d197c00c78p-4"),
)  # fmt: skip
_TWO_THIRDS = (2.0 / 3.0, _H("0x1.5555555555555p-55"))
_LOG2 = (_H("0x1.62e42feep-1"), _H("0x1.a39ef35793c76p-33"))

_MOST_MULTIPLIED = 8
# A power of a number other than 1 overflows or vanishes long before its exponent reaches this.
_MOST_EXPONENT = 2.0**70

Function = Callable[[Register], Register]
Pair = tuple[Register, Register]


def power(do: Arithmetic, exp_of: Function, log_of: Function, x: Register, y: Register) -> Register:
    """x^y with the special values of IEEE 754's pow."""
    exponent = literal_value(y)
    if exponent is not None:
        if exponent == int(exponent) and abs(exponent) <= _MOST_MULTIPLIED:
            return _multiplied(do, x, int(exponent))
        if abs(exponent) in (0.25, 0.5, 0.75):
            root = _root(do, x, int(abs(exponent) * 4))
            return do.div(1.0, root) if exponent < 0 else root
    if x.kind == "float":
        wide, wide_y = (do.code.cast("fpext", value, "double") for value in (x, y))
        size = exp_of(do.mul(_bounded(do, wide_y), log_of(do.magnitude(wide))))
        return do.code.cast("fptrunc", _with_specials(do, wide, wide_y, size), "float")
    return _with_specials(do, x, y, _exp_of_pair(do, exp_of, _log_times(do, do.magnitude(x), _bounded(do, y))))


def _multiplied(do: Arithmetic, x: Register, exponent: int) -> Register:
    """x^exponent by repeated squaring."""
    result, square, rest = None, x, abs(exponent)
    while rest:
        if rest & 1:
            result = square if result is None else do.mul(result, square)
        rest >>= 1
        if rest:
            square = do.mul(square, square)
    if result is None:
        return do.number(1.0, x)
    return do.div(1.0, result) if exponent < 0 else result


def _root(do: Arithmetic, x: Register, quarters: int) -> Register:
    """x^(quarters / 4) for 1, 2 or 3 of them: within 3.5 units in the last place, 4.5 for 1 over it."""
    # Unlike the square root, these powers of -0 are 0 and those of -infinity are infinite.
    half = do.code.intrinsic("sqrt", [do.add(x, 0.0)])
    root = half
    if quarters != 2:
        root = do.code.intrinsic("sqrt", [half])
    if quarters == 3:
        root = do.mul(half, root)
    return do.select(do.compare("oeq", x, -inf), inf, root)


def _bounded(do: Arithmetic, y: Register) -> Register:
    return do.at_most(do.at_least(y, -_MOST_EXPONENT), _MOST_EXPONENT)


def _log_times(do: Arithmetic, x: Register, y: Register) -> Pair:
    """y * log(x) as a pair, for x > 0 of any size; rubbish for other x."""
    tiny = do.compare("olt", x, 2.0**-1022)
    k, f = split_exponent(do, do.select(tiny, do.mul(x, 2.0**54), x))
    k = do.add(k, do.select(tiny, do.number(-54.0, x), 0.0))
    # s = f / (2 + f) with its rest: 2 + f as a pair, the remainder of the division divided again.
    divisor, divisor_low = do.two_sum(do.number(2.0, x), f)
    s = do.div(f, divisor)
    product, product_low = do.two_product(s, divisor)
    rest = do.sub(do.sub(do.sub(f, product), product_low), do.mul(s, divisor_low))
    s_low = do.div(rest, divisor)
    # log(1 + f) = 2*s + s^3 * (2/3 + z * tail(z)).
    z, z_low = do.two_product(s, s)
    z_low = do.fma(do.add(s, s), s_low, z_low)
    factor = do.two_sum(do.number(_TWO_THIRDS[0], x), do.mul(z, do.polynomial(z, _TAIL)))
    factor = (factor[0], do.add(factor[1], _TWO_THIRDS[1]))
    cube = _product(do, (s, s_low), (z, z_low))
    high, low = _sum(do, (do.add(s, s), do.add(s_low, s_low)), _product(do, cube, factor))
    # k * log(2): the first product is exact.
    high, low = _ordered_sum(do, do.mul(k, _LOG2[0]), high, do.fma(k, _LOG2[1], low))
    return _product(do, (high, low), (y, do.number(0.0, y)))


def _product(do: Arithmetic, a: Pair, b: Pair) -> Pair:
    high, low = do.two_product(a[0], b[0])
    low = do.add(low, do.add(do.mul(a[0], b[1]), do.mul(a[1], b[0])))
    return do.two_sum(high, low)


def _sum(do: Arithmetic, a: Pair, b: Pair) -> Pair:
    high, low = do.two_sum(a[0], b[0])
    return do.two_sum(high, do.add(low, do.add(a[1], b[1])))


def _ordered_sum(do: Arithmetic, a: Register, b: Register, low: Register) -> Pair:
    """a + b + low where a is 0 or the larger by far (a multiple of log(2) beside a logarithm below log(2)/2)."""
    high, error = do.two_sum(a, b)
    return do.two_sum(high, do.add(error, low))


def _exp_of_pair(do: Arithmetic, exp_of: Function, total: Pair) -> Register:
    """e^(a + b) = e^a * (1 + b) for a tiny b."""
    a, b = total
    value = exp_of(a)
    # Where e^a is 0 or infinite the rest may be anything, and 0 * infinity would be NaN.
    finite = do.compare("olt", value, inf)
    return do.select(finite, do.fma(value, do.select(finite, b, 0.0), value), value)


def _with_specials(do: Arithmetic, x: Register, y: Register, size: Register) -> Register:
    """The power from |x|^y: signs, zeros, infinities and ones. In double, for both types."""
    code = do.code
    size_of_x, size_of_y = do.magnitude(x), do.magnitude(y)
    whole = do.compare("oeq", code.intrinsic("floor", [y]), y)
    half = do.mul(y, 0.5)
    odd = code.binary("and", whole, do.compare("une", code.intrinsic("floor", [half]), half))
    # 0 and infinity, and infinite exponents: the result grows where exactly one of these holds.
    grows_with_x = do.compare("ogt", size_of_x, 1.0)
    grows_with_y = do.compare("ogt", y, 0.0)
    grows = code.compare("icmp eq", grows_with_x, grows_with_y)
    limit = do.select(grows, do.number(inf, x), 0.0)
    at_limit = code.binary("or", do.compare("oeq", size_of_x, 0.0), do.compare("oeq", size_of_x, inf))
    at_limit = code.binary("or", at_limit, do.compare("oeq", size_of_y, inf))
    result = do.select(at_limit, limit, size)
    # Negative numbers have whole powers only; odd ones are negative.
    negative = do.compare("olt", x, 0.0)
    no_power = code.binary("and", negative, do.compare("une", code.intrinsic("floor", [y]), y))
    no_power = code.binary("and", no_power, do.compare("ogt", x, -inf))
    result = do.select(no_power, nan, result)
    result = do.select(odd, do.with_sign(result, x), result)
    unordered = code.compare("fcmp uno", x, y)
    result = do.select(unordered, nan, result)
    minus_one = code.binary("and", do.compare("oeq", x, -1.0), do.compare("oeq", size_of_y, inf))
    one = code.binary("or", do.compare("oeq", x, 1.0), do.compare("oeq", y, 0.0))
    return do.select(code.binary("or", one, minus_one), 1.0, result)
