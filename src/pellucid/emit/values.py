"""Pointwise values: a tree of functions over operands becomes instructions.

What is equal in all lanes stays a scalar until it meets something that is not; so the broadcast factors of a
product are multiplied once, and spread once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pellucid.emit import functions
from pellucid.emit.access import Access
from pellucid.emit.extreme import extreme
from pellucid.emit.ir import Code, Register
from pellucid.emit.kinds import converted
from pellucid.emit.loops import floor_divide
from pellucid.emit.multiply import multiply_add
from pellucid.emit.places import Cell
from pellucid.emit.targets import Target
from pellucid.errors import CompileError
from pellucid.schedule.nest import COMPARISONS, Accumulated, Apply, Constant, Load, Position, Store, Value, operands

__all__ = ["Values", "product_factors"]

_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_INTEGER_COMPARE = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_EXACT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTEGER = {"add": "add", "sub": "sub", "mul": "mul"}
_NOT_REAL = ("div", "sqrt")

Results = Callable[[str, Cell], Register]


class Values:
    """Evaluates values of one nest."""

    def __init__(self, code: Code, access: Access, target: Target) -> None:
        self.code, self.access, self.target = code, access, target
        self.maths = functions.Maths(code, target)
        self._sharing = ""

    def begin_stores(self, number: int, stores: Sequence[Store]) -> None:
        """From here on, until the next tile's, the stores of tile `number` are evaluated: parts that several of them
        share are computed once, unless a store may have changed what they load."""
        written = {store.operand.tensor for store in stores}
        read = {operand.tensor for operand in operands(*(store.value for store in stores))}
        self._sharing = f"tile {number}" if len(stores) > 1 and not written & read else ""

    def evaluate(
        self, value: Value, cell: Cell, results: Results | None = None, *, every_point: bool = False
    ) -> Register:
        """The value in a cell: one lane a lane, or a scalar where all lanes are equal.

        `results` gives the finished result of the tile where the value may use it (in a store).
        """
        match value:
            case Constant(number):
                return self.code.number(number, "i64" if isinstance(number, int) else self.code.floating)
            case Load(operand):
                return self.access.load(operand, cell, every_point=every_point)
            case Position():
                return self.position(value, cell)
            case Accumulated(which):
                if results is None:
                    raise CompileError("`Accumulated` stands outside the stores of a tile with a reduction")
                return results(which, cell)
            case Apply(function, arguments):
                # Kept beside what is known of instructions, so that it is forgotten where they do not reach.
                shared = results is not None and self._sharing
                key = f"{self._sharing} {id(value)} {cell.point} {cell.group.offset}" if shared else ""
                if shared and (found := self.code.known.get(key)) is not None:
                    return found
                parts = [self.evaluate(part, cell, results, every_point=every_point) for part in arguments]
                found = self.apply(function, parts)
                if shared:
                    self.code.known[key] = found
                return found

    def position(self, value: Position, cell: Cell) -> Register:
        """The integer value of an affine form, in every lane where it depends on the lane."""
        frame = self.access.places.frame
        form = frame.form(value.index)
        index = self.access.places.loops.integer_of(form.terms, frame.const(form, cell))
        if form.lane == 0 or cell.group.width == 1:
            return index
        steps = self.code.vector([form.lane * lane for lane in range(cell.group.width)], "i64")
        return self.code.binary("add", self.code.splat(index, cell.group.width), steps)

    # Functions

    def apply(self, function: str, arguments: Sequence[Register]) -> Register:
        """A function of `VALUE_FUNCTIONS`."""
        if function in COMPARISONS:
            return self._compare(function, *self.alike(arguments))
        if function in ("and", "or", "not"):
            return self._logic(function, arguments)
        if function == "where":
            condition, *branches = arguments
            a, b = self.alike(branches, condition.lanes)
            return self.code.select(self.condition(condition), a, b)
        if all(argument.kind == "i64" for argument in arguments):
            found = self._integer(function, self.alike(arguments))
            if found is not None:
                return found
        return self._floating(function, self.alike([self.real(argument) for argument in arguments]))

    def _integer(self, function: str, arguments: Sequence[Register]) -> Register | None:
        """A function of integers that has an integer result; None where the result is a floating number."""
        code, first = self.code, arguments[0]
        zero = code.number(0, "i64", first.lanes)
        match function:
            case "add" | "sub" | "mul":
                return self._folded(_INTEGER[function], *arguments)
            case "neg":
                return code.binary("sub", zero, first)
            case "abs":
                return code.intrinsic("smax", [first, code.binary("sub", zero, first)])
            case "max" | "min":
                return code.intrinsic("s" + function, list(arguments))
            case "sign":
                positive = code.cast("zext", code.compare("icmp sgt", first, zero), "i64")
                negative = code.cast("sext", code.compare("icmp slt", first, zero), "i64")
                return code.binary("or", positive, negative)
            case "floor":
                return first
            case "floordiv" | "mod":
                return self._divided(function, *arguments)
            case _:
                return None

    def _folded(self, operation: str, a: Register, b: Register) -> Register:
        if a.is_literal and b.is_literal and a.lanes == 1:
            x, y = int(a.text), int(b.text)
            return self.code.number({"add": x + y, "sub": x - y, "mul": x * y}[operation], "i64")
        return self.code.binary(operation, a, b)

    def _divided(self, function: str, value: Register, divisor: Register) -> Register:
        """`floordiv` or `mod`, towards minus infinity."""
        code = self.code
        if divisor.is_literal and divisor.lanes == 1 and int(divisor.text) > 0:
            quotient = floor_divide(code, value, int(divisor.text))
        else:
            quotient = code.binary("sdiv", value, divisor)
            rest = code.binary("sub", value, code.binary("mul", quotient, divisor))
            zero = code.number(0, "i64", value.lanes)
            inexact = code.compare("icmp ne", rest, zero)
            opposite = code.compare("icmp slt", code.binary("xor", rest, divisor), zero)
            down = code.binary("and", inexact, opposite)
            quotient = code.binary("add", quotient, code.cast("sext", down, "i64"))
        return quotient if function == "floordiv" else code.binary("sub", value, code.binary("mul", quotient, divisor))

    def _floating(self, function: str, arguments: Sequence[Register]) -> Register:
        code, first = self.code, arguments[0]
        match function:
            case "add" | "sub" | "mul" | "div":
                return code.binary(_EXACT[function], *arguments)
            case "neg":
                return code.pure(first.kind, first.lanes, f"fneg {first.typed}")
            case "fma":
                a, b, c = arguments
                return multiply_add(code, a, b, c, self.target.machine.has_fma)
            case "abs":
                return code.intrinsic("fabs", arguments)
            case "sqrt" | "floor":
                return code.intrinsic(function, arguments)
            case "max" | "min":
                return self._extreme(function, *arguments)
            case "sign":
                return self._sign(first)
            case _:
                return self.maths.function(function, arguments)

    def _extreme(self, function: str, a: Register, b: Register) -> Register:
        """max or min; a NaN in either argument spreads."""
        code = self.code
        wins = "ogt" if function == "max" else "olt"
        if a.is_literal:
            a, b = b, a
        if b.is_literal:  # a number: the comparison fails for NaN, so that it stays; one instruction
            return code.select(code.compare(f"fcmp {wins}", b, a), b, a)
        return extreme(code, wins, a, b)

    def _sign(self, value: Register) -> Register:
        """-1, 0 or 1; a zero keeps its sign and NaN stays."""
        code = self.code
        zero, one, minus = (code.number(number, value.kind, value.lanes) for number in (0.0, 1.0, -1.0))
        below = code.select(code.compare("fcmp olt", value, zero), minus, value)
        return code.select(code.compare("fcmp ogt", value, zero), one, below)

    def _compare(self, function: str, a: Register, b: Register) -> Register:
        if a.kind == "i64":
            return self.code.compare(f"icmp {_INTEGER_COMPARE[function]}", a, b)
        if a.kind == "i1":
            return self.code.compare(f"icmp {_INTEGER_COMPARE[function].replace('s', 'u', 1)}", a, b)
        return self.code.compare(f"fcmp {_FLOAT_COMPARE[function]}", a, b)

    def _logic(self, function: str, arguments: Sequence[Register]) -> Register:
        conditions = [self.condition(argument) for argument in arguments]
        lanes = max(condition.lanes for condition in conditions)
        conditions = [self.code.splat(condition, lanes) for condition in conditions]
        if function == "not":
            return self.code.binary("xor", conditions[0], self.code.number(1, "i1", lanes))
        result = conditions[0]
        for condition in conditions[1:]:
            result = self.code.binary(function, result, condition)
        return result

    # Kinds and lanes

    def real(self, value: Register) -> Register:
        """The value as the program's floating type."""
        return converted(self.code, value, self.code.floating)

    def condition(self, value: Register) -> Register:
        """The value as a condition: a number is true where it is not 0."""
        if value.kind == "i1":
            return value
        operation = "icmp ne" if value.kind == "i64" else "fcmp une"
        return self.code.compare(operation, value, self.code.number(0, value.kind, value.lanes))

    def alike(self, values: Sequence[Register], lanes: int = 1) -> list[Register]:
        """The values in one kind and number of lanes: floating where any is."""
        lanes = max(lanes, *(value.lanes for value in values))
        if len({value.kind for value in values}) > 1:
            kind = self.code.floating if any(value.kind == self.code.floating for value in values) else "i64"
            values = [converted(self.code, value, kind) for value in values]
        return [self.code.splat(value, lanes) for value in values]


def product_factors(value: Value) -> list[Value]:
    """The factors of a product of products, in reading order."""
    if isinstance(value, Apply) and value.function == "mul":
        return [factor for argument in value.arguments for factor in product_factors(argument)]
    return [value]
