"""Loops under construction, and the addresses that walk through them.

A pointer is made of a tensor's base and terms `coefficient * loop variable`. It is kept where its innermost
variable is bound: as a phi that the loop advances by a constant number of bytes, started outside the loop from the
pointer without that term. So a load in an inner loop costs one register and a displacement, and no multiplication
stands inside any loop. Integers (for guards, bounds and positions) are hoisted to the start of the same loop.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import gcd

from pellucid.emit.ir import Block, Code, Register
from pellucid.emit.meeting import PAIR
from pellucid.errors import CompileError
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, For

__all__ = ["Loop", "Loops", "Terms", "ceil_divide", "floor_divide"]

Terms = tuple[tuple[str, int], ...]


@dataclass
class Carried:
    """A phi of a loop's header: its register, its start, and what the loop's end feeds back."""

    register: Register
    start: Register
    back: Register | None = None
    bytes_a_step: int = 0  # of a pointer, which the end advances itself


@dataclass
class Loop:
    """A loop between its opening and its closing."""

    variable: str
    low: Register
    high: Register
    step: int
    unit: int  # divides every value of the variable
    may_be_empty: bool
    before: Block  # not ended until the loop is closed: what is hoisted out of the loop is written at its end
    header: Block
    counter: Carried
    values: list[Carried]
    known_before: dict[str, Register]
    pointers: dict[tuple[str, Terms], Carried] = field(default_factory=dict[tuple[str, Terms], Carried])
    integers: dict[Terms, Register] = field(default_factory=dict[Terms, Register])


@dataclass(frozen=True)
class Piece:
    """The range of a piece of a loop; when none is left, how many steps this thread did of how many there are."""

    low: Register
    high: Register
    done: Register
    steps: Register


class Loops:
    """The loops around the code being written, outermost first."""

    def __init__(self, code: Code, thread: Register, threads: Register) -> None:
        self.code = code
        self.thread = thread
        self.threads = threads
        self.bases: dict[str, Register] = {}  # of each tensor the pointer to its first element
        self.element_bytes: dict[str, int] = {}
        self.open_loops: list[Loop] = []
        self.depth: dict[str, int] = {}
        self.fixed: dict[str, int] = {}  # variables of loops that run once

    # Opening and closing

    @contextmanager
    def pieces(self, loop: For, taken: Sequence[Register]) -> Generator[Piece]:
        """What is written inside is done for one piece of a loop's range after another, as long as this thread gets
        some of `take`, whose first arguments are `taken`."""
        code, (low, high) = self.code, self._range(loop)
        # Of an empty loop there is one step, too, outside of its range: so that somebody says that all are done.
        steps = code.intrinsic("smax", [self._steps(low, high, loop.step), code.number(1, "i64")])
        before, known = code.block, dict(code.known)
        again, take, after = code.new_block("again"), code.new_block("take"), code.new_block("after")
        code.branch(again)
        code.enter(again)
        done = Register(code.name(), "i64")
        arguments = [*taken, self.thread, self.threads, steps, done]
        taken_steps = Register(code.name(), PAIR)
        code.line(f"{taken_steps.text} = call {PAIR} @take({', '.join(a.typed for a in arguments)})")
        first, count = (code.instruction("i64", 1, f"extractvalue {taken_steps.typed}, {place}") for place in range(2))
        code.branch_if(code.compare("icmp ne", count, code.number(0, "i64")), take, after)
        code.enter(take)
        code.forget()
        end = code.binary("add", first, count)
        yield Piece(*self._between(low, high, loop.step, first, end), done, steps)
        following = code.instruction("i64", 1, f"add i64 {done.text}, {count.text}")
        again.phis.append(_phi(done, (code.number(0, "i64"), before), (following, code.block)))
        code.branch(again)
        code.enter(after)
        code.known = known
        code.forget()

    def open(self, loop: For, carried: Sequence[Register], piece: Piece | None = None) -> list[Register]:
        """Begin a loop, or a piece of one, that hands `carried` from step to step; gives their registers inside."""
        low, high = (piece.low, piece.high) if piece else self._range(loop)
        if loop.parallel and piece is None:
            steps = self._steps(low, high, loop.step)
            low, high = self._part(low, high, loop.step, steps, self.thread, self.threads)
        code, before = self.code, self.code.block
        static = (loop.low.static, loop.high.static)
        nonempty = not loop.parallel and static[0] is not None and static[1] is not None and static[0] < static[1]
        known = dict(code.known)
        code.forget()
        header = code.enter(code.new_block("loop"))
        values = [Carried(Register(code.name(), value.kind, value.lanes), value) for value in carried]
        counter = Carried(Register(code.name(), "i64"), low)
        unit = 1 if static[0] is None else gcd(static[0], loop.step)
        opened = Loop(loop.variable, low, high, loop.step, unit, not nonempty, before, header, counter, values, known)
        if loop.variable in self.depth or loop.variable in self.fixed:
            raise CompileError(f"loop variable `{loop.variable}` is bound twice")
        self.depth[loop.variable] = len(self.open_loops)
        self.open_loops.append(opened)
        return [value.register for value in values]

    def close(self, finals: Sequence[Register]) -> list[Register]:
        """End the innermost loop, whose carried values end a step as `finals`; gives their registers after it."""
        code, loop = self.code, self.open_loops.pop()
        del self.depth[loop.variable]
        latch, after = code.block, code.new_block("after")
        step = code.number(loop.step, "i64")
        loop.counter.back = code.instruction("i64", 1, f"add i64 {loop.counter.register.text}, {step.text}")
        for pointer in loop.pointers.values():
            pointer.back = self._moved(pointer.register, pointer.bytes_a_step)
        for value, final in zip(loop.values, finals, strict=True):
            value.back = final
        again = code.instruction("i1", 1, f"icmp slt i64 {loop.counter.back.text}, {loop.high.text}")
        code.branch_if(again, loop.header, after)
        for phi in (loop.counter, *loop.values, *loop.pointers.values()):
            assert phi.back is not None
            loop.header.phis.append(_phi(phi.register, (phi.start, loop.before), (phi.back, latch)))
        code.block = loop.before
        if loop.may_be_empty:
            runs = code.instruction("i1", 1, f"icmp slt i64 {loop.low.text}, {loop.high.text}")
            code.branch_if(runs, loop.header, after)
        else:
            code.branch(loop.header)
        code.enter(after)
        code.known = loop.known_before
        code.forget()
        if not loop.may_be_empty:
            return list(finals)
        results: list[Register] = []
        for value, final in zip(loop.values, finals, strict=True):
            result = Register(code.name(), final.kind, final.lanes)
            after.phis.append(_phi(result, (value.start, loop.before), (final, latch)))
            results.append(result)
        return results

    def _range(self, loop: For) -> tuple[Register, Register]:
        """The half-open range of a loop's variable."""
        return self.bound(loop.low, "smax"), self.bound(loop.high, "smin")

    def _steps(self, low: Register, high: Register, step: int) -> Register:
        """How many steps a range has."""
        code = self.code
        if low.is_literal and high.is_literal:
            return code.number(max(0, -((int(low.text) - int(high.text)) // step)), "i64")
        steps = ceil_divide(code, code.binary("sub", high, low), step)
        return code.intrinsic("smax", [steps, code.number(0, "i64")])

    def _part(
        self, low: Register, high: Register, step: int, steps: Register, part: Register, parts: Register
    ) -> tuple[Register, Register]:
        """One of equal parts of a range: the steps from `steps * part / parts` on."""
        code = self.code
        if parts == code.number(1, "i64"):
            return low, high
        first, end = (
            code.binary("udiv", code.binary("mul", steps, number), parts)
            for number in (part, code.binary("add", part, code.number(1, "i64")))
        )
        return self._between(low, high, step, first, end)

    def _between(
        self, low: Register, high: Register, step: int, first: Register, end: Register
    ) -> tuple[Register, Register]:
        """The range of the steps `first` to `end` of a range."""
        code = self.code
        edges = [
            code.binary("add", low, code.binary("mul", number, code.number(step, "i64"))) for number in (first, end)
        ]
        # The last step may reach over the end of the whole range only in its own stride.
        return edges[0], code.intrinsic("smin", [edges[1], high])

    # Values of affine forms

    def unit(self, variable: str) -> int:
        """What divides every value of an open loop's variable."""
        return self.open_loops[self.depth[variable]].unit

    def split(self, form: Affine) -> tuple[int, Terms]:
        """Constant and terms over open loops of a form without points and lanes."""
        const, terms = form.const, form.terms
        if self.fixed and any(name in self.fixed for name, _ in terms):
            const += sum(value * self.fixed[name] for name, value in terms if name in self.fixed)
            terms = tuple(term for term in terms if term[0] not in self.fixed)
        for name, _ in terms:
            if name not in self.depth:
                raise CompileError(f"an index uses `{name}`, which no loop, point or lane around it binds")
        return const, terms

    def pointer(self, tensor: str, terms: Terms) -> Register:
        """The address of the element of `tensor` numbered by the terms' sum."""
        if not terms:
            return self.bases[tensor]
        loop, (coefficient, rest) = self._innermost(terms)
        found = loop.pointers.get((tensor, terms))
        if found is None:
            outer = self.pointer(tensor, rest)
            scale = coefficient * self.element_bytes[tensor]
            with self.code.at(loop.before.lines):
                start = self._moved(outer, scale, loop.low)
            found = Carried(Register(self.code.name(), "ptr"), start, bytes_a_step=scale * loop.step)
            loop.pointers[(tensor, terms)] = found
        return found.register

    def integer(self, form: Affine) -> Register:
        """The value of a form as i64."""
        const, terms = self.split(form)
        return self.integer_of(terms, const)

    def integer_of(self, terms: Terms, const: int) -> Register:
        """The value of terms over open loops, and a constant, as i64."""
        if not terms:
            return self.code.number(const, "i64")
        sum_of_terms = self._hoisted(terms)
        return self.code.binary("add", sum_of_terms, self.code.number(const, "i64")) if const else sum_of_terms

    def bound(self, bound: Bound, combine: str) -> Register:
        """The value of a loop's bound; `combine` is smax of a low one, smin of a high one."""
        values = [ceil_divide(self.code, self.integer(form), divisor) for form, divisor in bound.terms]
        result = values[0]
        for value in values[1:]:
            result = self.code.intrinsic(combine, [result, value])
        return result

    def _hoisted(self, terms: Terms) -> Register:
        loop, (coefficient, rest) = self._innermost(terms)
        found = loop.integers.get(terms)
        if found is None:
            outer = self._hoisted(rest) if rest else None
            with self.code.at(loop.header.top):
                found = loop.counter.register
                if coefficient != 1:
                    found = self.code.binary("mul", found, self.code.number(coefficient, "i64"))
                if outer is not None:
                    found = self.code.binary("add", found, outer)
            loop.integers[terms] = found
        return found

    def _innermost(self, terms: Terms) -> tuple[Loop, tuple[int, Terms]]:
        """The innermost loop that the terms walk, its coefficient and the other terms."""
        loop = self.open_loops[max(self.depth[name] for name, _ in terms)]
        rest = tuple(term for term in terms if term[0] != loop.variable)
        coefficient = next(value for name, value in terms if name == loop.variable)
        return loop, (coefficient, rest)

    def _moved(self, pointer: Register, scale: int, by: Register | None = None) -> Register:
        """A pointer moved by `scale` bytes, `by` times."""
        code = self.code
        if by is None:
            offset = code.number(scale, "i64")
        elif by.is_literal:
            offset = code.number(scale * int(by.text), "i64")
        else:
            offset = code.instruction("i64", 1, f"mul i64 {by.text}, {scale}")
        if offset.text == "0":
            return pointer
        return code.instruction("ptr", 1, f"getelementptr i8, ptr {pointer.text}, i64 {offset.text}")


def floor_divide(code: Code, value: Register, divisor: int) -> Register:
    """`value / divisor` rounded towards minus infinity, lane by lane, for a positive number."""
    if divisor == 1:
        return value
    if value.is_literal and value.lanes == 1:
        return code.number(int(value.text) // divisor, value.kind)
    if divisor & (divisor - 1) == 0:
        return code.binary("ashr", value, code.number(divisor.bit_length() - 1, value.kind, value.lanes))
    number = code.number(divisor, value.kind, value.lanes)
    quotient = code.binary("sdiv", value, number)
    rest = code.binary("sub", value, code.binary("mul", quotient, number))
    negative = code.compare("icmp slt", rest, code.number(0, value.kind, value.lanes))
    return code.binary("add", quotient, code.cast("sext", negative, value.kind))


def ceil_divide(code: Code, value: Register, divisor: int) -> Register:
    """`value / divisor` rounded towards plus infinity, for a positive number."""
    if divisor == 1:
        return value
    if value.is_literal:
        return code.number(-(-int(value.text) // divisor), value.kind)
    return floor_divide(code, code.binary("add", value, code.number(divisor - 1, value.kind)), divisor)


def _phi(register: Register, *sources: tuple[Register, Block]) -> str:
    parts = ", ".join(f"[ {value.text}, %{block.label} ]" for value, block in sources)
    return f"  {register.text} = phi {register.type} {parts}"
