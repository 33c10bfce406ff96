"""LLVM assembly text: registers, blocks and one function under construction.

Code is written in static single assignment form from the start, so that no pass pipeline has to run. Text is
made here rather than through a tree of instruction objects because a training step has a hundred thousand of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["BYTES", "Block", "Code", "Register", "literal_value", "mangled", "type_text"]

BYTES = {"float": 4, "double": 8, "i64": 8, "i32": 4}


def type_text(kind: str, lanes: int) -> str:
    """The LLVM type of `lanes` elements of `kind`; one element is a scalar."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


class Register(NamedTuple):
    """An SSA value or a literal: its text, its element kind (float, double, i64, i32, i1, ptr), its lanes."""

    text: str
    kind: str
    lanes: int = 1

    @property
    def type(self) -> str:
        """The LLVM type."""
        return type_text(self.kind, self.lanes)

    @property
    def typed(self) -> str:
        """Type and text, as an argument is written."""
        return f"{self.type} {self.text}"

    @property
    def is_literal(self) -> bool:
        """Whether the text is a number rather than a name."""
        return self.text[0] not in "%@"


@dataclass
class Block:
    """A basic block: phis, then what loops inside it hoisted to its start, then straight-line code."""

    label: str
    phis: list[str] = field(default_factory=list[str])
    top: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    end: str = ""

    def text(self) -> str:
        """The block as LLVM assembly."""
        return "\n".join([f"{self.label}:", *self.phis, *self.top, *self.lines, self.end])


class Code:
    """One function being written. Equal pure instructions in reach of each other become one register."""

    def __init__(self, floating: str, convention: str = "ccc", vector_bytes: int = 64) -> None:
        self.floating = floating  # float | double: the program's floating type
        self.convention = convention  # how functions of the module that hand each other vectors are called
        self.vector_bytes = vector_bytes  # of a register
        self.blocks: list[Block] = []
        self.declarations: set[str] = set()
        self.known: dict[str, Register] = {}
        self.streams = False  # whether something is stored past the caches
        self.memory: dict[str, tuple[str, Register]] = {}  # loaded values, with the tensor they come from
        self.count = 0
        self.block = self.enter(self.new_block("entry"))

    # Blocks

    def new_block(self, hint: str) -> Block:
        """A block that is not yet part of the function."""
        self.count += 1
        return Block(f"{hint}{self.count}")

    def enter(self, block: Block) -> Block:
        """Place the block after all others and go on writing in it."""
        self.blocks.append(block)
        self.block = block
        return block

    @contextmanager
    def at(self, lines: list[str]) -> Generator[None]:
        """Write into `lines` (an earlier place that dominates this one); nothing is shared with the code here."""
        block, known = self.block, self.known
        self.block, self.known = Block("", lines=lines), {}
        try:
            yield
        finally:
            self.block, self.known = block, known

    def branch(self, target: Block) -> None:
        """End the block with a jump."""
        self.block.end = f"  br label %{target.label}"

    def branch_if(self, condition: Register, then: Block, otherwise: Block) -> None:
        """End the block with a conditional jump."""
        self.block.end = f"  br i1 {condition.text}, label %{then.label}, label %{otherwise.label}"

    @contextmanager
    def when(self, condition: Register) -> Generator[None]:
        """Run what is written inside only where a scalar condition holds."""
        then, after = self.new_block("then"), self.new_block("after")
        self.branch_if(condition, then, after)
        known, memory = dict(self.known), dict(self.memory)
        self.enter(then)
        yield
        self.branch(after)
        self.enter(after)
        # What was stored inside is unknown after it; what was computed inside does not reach there.
        self.known = known
        self.memory = {text: found for text, found in memory.items() if self.memory.get(text) == found}

    def replaced_where(
        self, condition: Register, values: Sequence[Register], compute: Callable[[], Sequence[Register]]
    ) -> list[Register]:
        """The values, replaced by what `compute` writes where a scalar condition holds."""
        before, then, after = self.block, self.new_block("then"), self.new_block("after")
        self.branch_if(condition, then, after)
        known, memory = dict(self.known), dict(self.memory)
        self.enter(then)
        others = compute()
        last = self.block
        self.branch(after)
        self.enter(after)
        self.known, self.memory = known, memory
        results: list[Register] = []
        for value, other in zip(values, others, strict=True):
            result = Register(self.name(), value.kind, value.lanes)
            sources = f"[ {value.text}, %{before.label} ], [ {other.text}, %{last.label} ]"
            after.phis.append(f"  {result.text} = phi {result.type} {sources}")
            results.append(result)
        return results

    # Memory

    def load(self, tensor: str, result: tuple[str, int], text: str) -> Register:
        """A load; equal ones in reach of each other, with no store to the tensor between, are one."""
        found = self.memory.get(text)
        if found is None:
            found = self.memory[text] = (tensor, self.instruction(*result, text))
        return found[1]

    def forget(self, tensor: str | None = None) -> None:
        """Loaded values of one tensor (or of all) may have changed, or shall be loaded again."""
        if tensor is None:
            self.memory = {}
        else:
            self.memory = {text: found for text, found in self.memory.items() if found[0] != tensor}

    # Instructions

    def name(self) -> str:
        """A fresh SSA name."""
        self.count += 1
        return f"%v{self.count}"

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self.block.lines.append("  " + text)

    def instruction(self, kind: str, lanes: int, text: str) -> Register:
        """An instruction with a result that is never shared."""
        self.count += 1
        name = f"%v{self.count}"
        self.block.lines.append(f"  {name} = {text}")
        return Register(name, kind, lanes)

    def pure(self, kind: str, lanes: int, text: str) -> Register:
        """An instruction whose result depends on its operands alone."""
        found = self.known.get(text)
        if found is None:
            found = self.known[text] = self.instruction(kind, lanes, text)
        return found

    def further(self, pointer: Register, distance: int) -> Register:
        """A pointer so many bytes further."""
        if distance == 0:
            return pointer
        return self.pure("ptr", 1, f"getelementptr i8, ptr {pointer.text}, i64 {distance}")

    def prefetch(self, pointer: Register, cache: int) -> None:
        """Have a line brought into the first or second cache; nobody waits for it, and it need not exist."""
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0({pointer.typed}, i32 0, i32 {4 - cache}, i32 1)")

    def declare(self, text: str) -> None:
        """Declare an external or intrinsic function in the module."""
        self.declarations.add(f"declare {text}")

    def define(self, text: str) -> None:
        """Put a definition into the module, once however often it is asked for."""
        self.declarations.add(text)

    def intrinsic(self, name: str, arguments: Sequence[Register], result: tuple[str, int] | None = None) -> Register:
        """`llvm.name` overloaded on its first argument's type; the result has that type unless `result` differs."""
        first = arguments[0]
        kind, lanes = result or (first.kind, first.lanes)
        full = f"@llvm.{name}.{mangled(first.kind, first.lanes)}"
        self.declare(f"{type_text(kind, lanes)} {full}({', '.join(argument.type for argument in arguments)})")
        return self.pure(
            kind, lanes, f"call {type_text(kind, lanes)} {full}({', '.join(argument.typed for argument in arguments)})"
        )

    def binary(self, operation: str, a: Register, b: Register) -> Register:
        """`operation` of two registers of one type."""
        return self.pure(a.kind, a.lanes, f"{operation} {a.type} {a.text}, {b.text}")

    def compare(self, operation: str, a: Register, b: Register) -> Register:
        """`icmp ...` or `fcmp ...`: a condition for every lane."""
        return self.pure("i1", a.lanes, f"{operation} {a.type} {a.text}, {b.text}")

    def select(self, condition: Register, a: Register, b: Register) -> Register:
        """`a` where the condition holds, else `b`."""
        return self.pure(a.kind, a.lanes, f"select {condition.typed}, {a.typed}, {b.typed}")

    def cast(self, operation: str, a: Register, kind: str) -> Register:
        """A conversion lane by lane."""
        return self.pure(kind, a.lanes, f"{operation} {a.typed} to {type_text(kind, a.lanes)}")

    # Literals and lanes

    def number(self, value: float, kind: str = "", lanes: int = 1) -> Register:
        """A literal in every lane; floating literals are rounded to their kind and written bit by bit."""
        kind = kind or self.floating
        text = _literal(value, kind)
        return Register(text if lanes == 1 else f"splat ({kind} {text})", kind, lanes)

    def vector(self, values: Sequence[float], kind: str) -> Register:
        """A literal with one number a lane."""
        if len(values) == 1:
            return self.number(values[0], kind)
        parts = ", ".join(f"{kind} {_literal(value, kind)}" for value in values)
        return Register(f"<{parts}>", kind, len(values))

    def splat(self, value: Register, lanes: int) -> Register:
        """A scalar in every lane."""
        if value.lanes == lanes:
            return value
        if value.is_literal:
            return Register(f"splat ({value.typed})", value.kind, lanes)
        kind = type_text(value.kind, lanes)
        first = self.pure(value.kind, lanes, f"insertelement {kind} poison, {value.typed}, i64 0")
        return self.shuffle(first, first, [0] * lanes)

    def shuffle(self, a: Register, b: Register, lanes: Sequence[int]) -> Register:
        """The chosen lanes of `a` followed by `b`."""
        mask = f"<{', '.join(f'i32 {lane}' for lane in lanes)}>" if any(lanes) else "zeroinitializer"
        return self.pure(a.kind, len(lanes), f"shufflevector {a.typed}, {b.typed}, <{len(lanes)} x i32> {mask}")

    def extract(self, vector: Register, lane: int) -> Register:
        """One lane; a scalar is its own lane."""
        if vector.lanes == 1:
            return vector
        return self.pure(vector.kind, 1, f"extractelement {vector.typed}, i64 {lane}")

    def insert(self, vector: Register, value: Register, lane: int) -> Register:
        """The vector with one lane replaced."""
        return self.pure(vector.kind, vector.lanes, f"insertelement {vector.typed}, {value.typed}, i64 {lane}")


def mangled(kind: str, lanes: int) -> str:
    """The suffix of an overloaded intrinsic."""
    scalar = {"float": "f32", "double": "f64"}.get(kind, kind)
    return scalar if lanes == 1 else f"v{lanes}{scalar}"


def _literal(value: float, kind: str) -> str:
    if kind == "i1":
        return "true" if value else "false"
    if kind not in ("float", "double"):
        return str(int(value))
    if kind == "float":
        value = _to_single(value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _to_single(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def literal_value(register: Register) -> float | None:
    """The number that a floating literal stands for in every lane; None for anything else."""
    text = register.text.removeprefix(f"splat ({register.kind} ").removesuffix(")")
    if register.kind not in ("float", "double") or not text.startswith("0x"):
        return None
    return struct.unpack("<d", struct.pack("<Q", int(text, 16)))[0]
