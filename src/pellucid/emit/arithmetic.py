"""Arithmetic on registers for the elementwise functions: one spelling for scalars, vectors, float and double."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from pellucid.emit.ir import Code, Register

__all__ = ["DOUBLE", "SINGLE", "Arithmetic", "Format", "split_exponent"]


@dataclass(frozen=True)
class Format:
    """An IEEE format: its kind in LLVM, the integer of its width, and its parts."""

    kind: str
    integer: str
    bits: int
    mantissa: int  # stored bits of the significand
    bias: int
    magic: float  # 1.5 * 2^mantissa: adding it rounds to an integer, which then stands in the low bits


SINGLE = Format("float", "i32", 32, 23, 127, 1.5 * 2.0**23)
DOUBLE = Format("double", "i64", 64, 52, 1023, 1.5 * 2.0**52)


class Arithmetic:
    """Operations on registers of equal type. Numbers are spread to the lanes of what they meet."""

    def __init__(self, code: Code, has_fma: bool, looks_up: bool = False) -> None:
        self.code = code
        self.has_fma = has_fma
        self.looks_up = looks_up

    @staticmethod
    def format(value: Register) -> Format:
        """The format of a register's elements."""
        return SINGLE if value.kind == "float" else DOUBLE

    def number(self, value: float, like: Register) -> Register:
        """A literal of the same type as `like`."""
        return self.code.number(value, like.kind, like.lanes)

    def _spread(self, value: Register | float, like: Register) -> Register:
        return value if isinstance(value, Register) else self.number(value, like)

    def add(self, a: Register, b: Register | float) -> Register:
        return self.code.binary("fadd", a, self._spread(b, a))

    def sub(self, a: Register | float, b: Register | float) -> Register:
        like = a if isinstance(a, Register) else b
        assert isinstance(like, Register)
        return self.code.binary("fsub", self._spread(a, like), self._spread(b, like))

    def mul(self, a: Register, b: Register | float) -> Register:
        return self.code.binary("fmul", a, self._spread(b, a))

    def div(self, a: Register | float, b: Register) -> Register:
        return self.code.binary("fdiv", self._spread(a, b), b)

    def fma(self, a: Register, b: Register | float, c: Register | float) -> Register:
        """`a*b + c`: in one rounding where the processor has that, else in two."""
        b, c = self._spread(b, a), self._spread(c, a)
        if self.has_fma:
            return self.code.intrinsic("fma", [a, b, c])
        return self.add(self.mul(a, b), c)

    def polynomial(self, x: Register, coefficients: Sequence[float]) -> Register:
        """`coefficients[0] + coefficients[1]*x + ...`, by Horner's rule."""
        result = self.number(coefficients[-1], x)
        for coefficient in reversed(coefficients[:-1]):
            result = self.fma(result, x, coefficient)
        return result

    def negative(self, a: Register) -> Register:
        return self.code.pure(a.kind, a.lanes, f"fneg {a.typed}")

    def magnitude(self, a: Register) -> Register:
        return self.code.intrinsic("fabs", [a])

    def with_sign(self, magnitude: Register, sign: Register) -> Register:
        return self.code.intrinsic("copysign", [magnitude, sign])

    def compare(self, relation: str, a: Register, b: Register | float) -> Register:
        """`fcmp` with one of LLVM's relations: olt, ogt, oeq, uno ..."""
        return self.code.compare(f"fcmp {relation}", a, self._spread(b, a))

    def select(self, condition: Register, a: Register | float, b: Register | float) -> Register:
        like = a if isinstance(a, Register) else b
        assert isinstance(like, Register)
        return self.code.select(condition, self._spread(a, like), self._spread(b, like))

    def at_least(self, a: Register, low: float) -> Register:
        """`max(a, low)`; NaN stays."""
        return self.select(self.compare("olt", a, low), low, a)

    def at_most(self, a: Register, high: float) -> Register:
        """`min(a, high)`; NaN stays."""
        return self.select(self.compare("ogt", a, high), high, a)

    # Bits

    def bits(self, a: Register) -> Register:
        """The bits of a floating register as integers."""
        return self.code.cast("bitcast", a, self.format(a).integer)

    def floating(self, bits: Register) -> Register:
        """The floating register of these bits."""
        return self.code.cast("bitcast", bits, "float" if bits.kind == "i32" else "double")

    def integer(self, operation: str, a: Register, b: Register | int) -> Register:
        """An LLVM operation on integer registers: add, sub, and, or, xor, shl, lshr."""
        return self.code.binary(operation, a, b if isinstance(b, Register) else self.number(b, a))

    def rounded(self, a: Register, factor: float = 1.0) -> tuple[Register, Register]:
        """The integer nearest to `a * factor`, as a floating register and as what holds it in its low bits (it plus
        `magic`).

        For magnitudes below 2^(mantissa - 1).
        """
        magic = self.format(a).magic
        held = self.add(a, magic) if factor == 1.0 else self.fma(a, factor, magic)
        return self.sub(held, magic), held

    def power_of_two(self, held: Register) -> Register:
        """2^n for an n held by `rounded`, in the range of exponents."""
        form = self.format(held)
        exponent = self.integer("add", self.bits(held), form.bias)
        return self.floating(self.integer("shl", exponent, form.mantissa))

    def scaled(self, a: Register, held: Register) -> Register:
        """`a * 2^n` for an n held by `rounded`, of up to twice the range of exponents, with one rounding at the end.

        The halves of n stand in the low bits of integers whose high bits the shift to the exponent drops.
        """
        whole = self.bits(held)
        half = self.integer("lshr", whole, 1)
        for part in (half, self.integer("sub", whole, half)):
            a = self.mul(a, self.power_of_two(self.floating(part)))
        return a

    def looked_up(self, table: Sequence[float], held: Register) -> Register:
        """`table[n]`, of 16 numbers in float32, for an n held by `rounded`; where the processor `looks_up`."""
        code, lanes = self.code, held.lanes
        # A scalar stands in two lanes, for there is no vector of one.
        entries, index = code.vector(table, "float"), code.splat(self.bits(held), max(2, lanes))
        name = "@llvm.x86.avx512.permvar.sf.512"
        code.declare(f"{entries.type} {name}({entries.type}, <{entries.lanes} x i32>)")
        found = list[Register]()
        for start in range(0, lanes, entries.lanes):
            part = code.shuffle(index, index, [min(start + lane, lanes - 1) for lane in range(entries.lanes)])
            found.append(
                code.pure("float", entries.lanes, f"call {entries.type} {name}({entries.typed}, {part.typed})")
            )
        joined, *others = found
        for part in others:
            size = joined.lanes
            widened = code.shuffle(part, part, [lane % part.lanes for lane in range(size)])
            joined = code.shuffle(joined, widened, range(size + part.lanes))
        return code.extract(joined, 0) if lanes == 1 else code.shuffle(joined, joined, range(lanes))

    # Pairs of numbers whose sum is meant

    def two_sum(self, a: Register, b: Register) -> tuple[Register, Register]:
        """Sum and its error, for |a| >= |b| or a = 0."""
        total = self.add(a, b)
        return total, self.sub(b, self.sub(total, a))

    def two_product(self, a: Register, b: Register) -> tuple[Register, Register]:
        """Product and its error."""
        product = self.mul(a, b)
        if self.has_fma:
            return product, self.fma(a, b, self.negative(product))
        # Veltkamp's splitting into halves whose products are exact.
        factor = 2.0 ** ((self.format(a).mantissa + 2) // 2) + 1.0
        parts: list[tuple[Register, Register]] = []
        for value in (a, b):
            shifted = self.mul(value, factor)
            high = self.sub(shifted, self.sub(shifted, value))
            parts.append((high, self.sub(value, high)))
        (a_high, a_low), (b_high, b_low) = parts
        error = self.sub(self.mul(a_high, b_high), product)
        error = self.add(error, self.mul(a_high, b_low))
        error = self.add(error, self.mul(a_low, b_high))
        return product, self.add(error, self.mul(a_low, b_low))


def split_exponent(do: Arithmetic, u: Register) -> tuple[Register, Register]:
    """k and f with u = 2^k * (1 + f), 1 + f from sqrt(1/2) to sqrt(2), for positive normal numbers.

    The exponent becomes a floating number by standing in the low bits of 2^mantissa: no processor below AVX-512
    converts 64-bit integers, or shifts them keeping their sign.
    """
    form = do.format(u)
    shift = (form.bias << form.mantissa) - _bits_of_root_half(form)
    biased = do.integer("lshr", do.integer("add", do.bits(u), shift), form.mantissa)
    base = (form.bias + form.mantissa) << form.mantissa
    k = do.sub(do.floating(do.integer("or", biased, base)), 2.0**form.mantissa + form.bias)
    down = do.integer("shl", do.integer("sub", biased, form.bias), form.mantissa)
    significand = do.floating(do.integer("sub", do.bits(u), down))
    return k, do.sub(significand, 1.0)


def _bits_of_root_half(form: Format) -> int:
    """The bits of sqrt(1/2), rounded down to 20 bits of the significand."""
    fraction = int((sqrt(0.5) * 2.0 - 1.0) * 2**20)
    return ((form.bias - 1) << form.mantissa) | (fraction << (form.mantissa - 20))
