"""sin and cos: the argument less multiples of pi/2, exactly enough, then a polynomial; in double for both types."""

from __future__ import annotations

from math import pi

from pellucid.emit.arithmetic import Arithmetic
from pellucid.emit.ir import Register

__all__ = ["cosine", "sine"]

_H = float.fromhex

# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2/2) / r^4 in r^2, for r up to pi/4.
_SIN = (
    _H("-0x1.5555555555555p-3"), _H("0x1.1111111110bb2p-7"), _H("-0x1.a01a019e83aaep-13"), _H("0x1.71de37968a100p-19"),
    _H("-0x1.ae600b02b6262p-26"), _H("0x1.5e0b19f8b1451p-33"),
)  # fmt: skip
_COS = (
    _H("0x1.5555555555555p-5"), _H("-0x1.6c16c16c16967p-10"), _H("0x1.a01a019f4eb01p-16"), _H("-0x1.27e4fa17da09ep-22"),
    _H("0x1.1eeb68e93b64cp-29"), _H("-0x1.907da367a37cbp-37"),
)  # fmt: skip

# pi/2 in parts; the first two have 33 bits, so that their products with numbers of quarters below 2^20 are exact.
_HALF_PI = (_H("0x1.921fb54400000p+0"), _H("0x1.0b4611a600000p-34"), _H("0x1.3198a2e037073p-69"))
_FAR = 2.0**20

# The first 1280 bits of 2/pi.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea09d1921cfe1deb1cb129a73e"
    "e88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b7"
    "4f463f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d",
    16,
)

# A large x is M * 2^E with 53 bits of M. Of the bits of 2/pi only 256 matter: those above make multiples of 4
# quarters, those below less than 2^-130. They are loaded at a whole byte, so 7 of them may be lost at the top.
# The product has 192 bits behind the point; shifted up by 62, its two top bits number the quarter, and the rest,
# rounded to nearest, is the signed fraction of one.
_REDUCE = """
define internal {{ double, i64 }} @reduce_far(double %x) noinline {{
entry:
  %bits = bitcast double %x to i64
  %exponent.up = lshr i64 %bits, 52
  %exponent = and i64 %exponent.up, 2047
  %fraction = and i64 %bits, 4503599627370495
  %m = or i64 %fraction, 4503599627370496
  %shift = sub i64 2163, %exponent
  %byte = lshr i64 %shift, 3
  %in = and i64 %shift, 7
  %at = getelementptr i8, ptr @two_over_pi, i64 %byte
  %loaded = load i256, ptr %at, align 1
  %in.wide = zext i64 %in to i256
  %window = lshr i256 %loaded, %in.wide
  %m.wide = zext i64 %m to i256
  %product = mul i256 %window, %m.wide
  %turned = shl i256 %product, 62
  %nearest = add i256 %turned, {half}
  %quarter.wide = lshr i256 %nearest, 254
  %quarter = trunc i256 %quarter.wide to i64
  %signed = shl i256 %turned, 2
  %below = icmp slt i256 %signed, 0
  %minus = sub i256 0, %signed
  %size = select i1 %below, i256 %minus, i256 %signed
  %zeros.wide = call i256 @llvm.ctlz.i256(i256 %size, i1 false)
  %up = shl i256 %size, %zeros.wide
  %top.wide = lshr i256 %up, 192
  %top = trunc i256 %top.wide to i64
  %zeros = trunc i256 %zeros.wide to i64
  %value = uitofp i64 %top to double
  %power = sub i64 959, %zeros
  %power.bits = shl i64 %power, 52
  %scale = bitcast i64 %power.bits to double
  %part = fmul double %value, %scale
  %angle = fmul double %part, {half_pi}
  %minus.angle = fneg double %angle
  %negative = icmp slt i64 %bits, 0
  %flip = xor i1 %below, %negative
  %r = select i1 %flip, double %minus.angle, double %angle
  %minus.quarter = sub i64 0, %quarter
  %n = select i1 %negative, i64 %minus.quarter, i64 %quarter
  %first = insertvalue {{ double, i64 }} poison, double %r, 0
  %both = insertvalue {{ double, i64 }} %first, i64 %n, 1
  ret {{ double, i64 }} %both
}}
"""


def sine(do: Arithmetic, x: Register) -> Register:
    """sin(x); NaN for infinite x."""
    return _in_double(do, x, 0)


def cosine(do: Arithmetic, x: Register) -> Register:
    """cos(x); NaN for infinite x."""
    return _in_double(do, x, 1)


def _in_double(do: Arithmetic, x: Register, quarters_more: int) -> Register:
    wide = do.code.cast("fpext", x, "double") if x.kind == "float" else x
    result = _sine_of_more(do, wide, quarters_more)
    return do.code.cast("fptrunc", result, "float") if x.kind == "float" else result


def _sine_of_more(do: Arithmetic, x: Register, quarters_more: int) -> Register:
    """sin(x + quarters_more * pi/2)."""
    r, quarter = _reduced(do, x)
    if quarters_more:
        quarter = do.integer("add", quarter, quarters_more)
    z = do.mul(r, r)
    of_sine = do.fma(do.mul(r, z), do.polynomial(z, _SIN), r)
    of_cosine = do.fma(do.mul(z, z), do.polynomial(z, _COS), do.fma(z, -0.5, 1.0))
    odd = do.code.compare("icmp ne", do.integer("and", quarter, 1), do.number(0, quarter))
    turned = do.select(odd, of_cosine, of_sine)
    sign = do.integer("shl", do.integer("and", quarter, 2), 62)
    result = do.floating(do.integer("xor", do.bits(turned), sign))
    # A zero keeps its sign.
    return result if quarters_more else do.select(do.compare("oeq", x, 0.0), x, result)


def _reduced(do: Arithmetic, x: Register) -> tuple[Register, Register]:
    """r with |r| <= pi/4 and, in the low bits, n with x = n*pi/2 + r."""
    n, held = do.rounded(x, 2.0 / pi)
    r = x
    for part in _HALF_PI:
        r = do.fma(n, -part, r)
    size = do.magnitude(x)
    far = do.compare("oge", size, _FAR)
    any_far = far if x.lanes == 1 else do.code.intrinsic("vector.reduce.or", [far], ("i1", 1))
    near = [r, do.bits(held)]
    r, quarter = do.code.replaced_where(any_far, near, lambda: _reduced_far(do, x, far, near))
    return do.select(do.compare("olt", size, float("inf")), r, do.sub(x, x)), quarter


def _reduced_far(do: Arithmetic, x: Register, far: Register, near: list[Register]) -> list[Register]:
    """As `_reduced`, lane by lane, where x is far."""
    code = do.code
    table = ", ".join(f"i8 {byte}" for byte in _TWO_OVER_PI.to_bytes(192, "little"))
    code.define(f"@two_over_pi = private unnamed_addr constant [192 x i8] [{table}]")
    half_pi = code.number(pi / 2, "double").text
    code.define("declare i256 @llvm.ctlz.i256(i256, i1)")
    code.define(_REDUCE.format(half=1 << 253, half_pi=half_pi))
    remainders, quarters = near
    for lane in range(x.lanes):
        argument = code.extract(x, lane).typed
        both = code.pure("{ double, i64 }", 1, f"call {{ double, i64 }} @reduce_far({argument})")
        r = code.pure("double", 1, f"extractvalue {both.typed}, 0")
        n = code.pure("i64", 1, f"extractvalue {both.typed}, 1")
        remainders = r if x.lanes == 1 else code.insert(remainders, r, lane)
        quarters = n if x.lanes == 1 else code.insert(quarters, n, lane)
    return [code.select(far, remainders, near[0]), code.select(far, quarters, near[1])]
