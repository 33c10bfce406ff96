"""A program as one LLVM module: constants, a function for each statement, the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.emit.checked import CHECKED_FUNCTIONS
from pellucid.emit.entry import ENTRY
from pellucid.emit.ir import BYTES, Code
from pellucid.emit.kinds import storage_kind
from pellucid.emit.nests import Emitter, Function
from pellucid.emit.target import Target
from pellucid.emit.workers import LOOPS
from pellucid.errors import CompileError, DtypeError
from pellucid.schedule.nest import Program, Tensor

__all__ = ["Module", "emit_module"]

# Threads meet here: the last to arrive opens the gate for the others, which spin for a while and then give their
# processor away at every turn, since there may be more threads than processors. Layout of the record, 64 bytes
# apart: arrived (0), gate (64), the address of sched_yield (128), and from 192 on the counters of `take`, which the
# last to arrive clears. The gate only counts up: a thread that still looks at it when the others have gone on, even to
# another program, sees it open.
_BARRIER = """
define internal void @barrier(ptr %record, i64 %threads, i64 %loops) noinline {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %meet
meet:
  %gate = getelementptr i8, ptr %record, i64 64
  %before = load atomic i64, ptr %gate acquire, align 8
  %last = sub i64 %threads, 1
  %arrived = atomicrmw add ptr %record, i64 1 acq_rel
  %complete = icmp eq i64 %arrived, %last
  br i1 %complete, label %open, label %spin
open:
  store atomic i64 0, ptr %record monotonic, align 8
  %counters = getelementptr i8, ptr %record, i64 192
  %words = mul i64 %loops, %threads
  %none = icmp eq i64 %words, 0
  br i1 %none, label %let, label %clear
clear:
  %word = phi i64 [ 0, %open ], [ %word.next, %clear ]
  %counter = getelementptr i64, ptr %counters, i64 %word
  store i64 0, ptr %counter, align 8
  %word.next = add i64 %word, 1
  %cleared = icmp eq i64 %word.next, %words
  br i1 %cleared, label %let, label %clear
let:
  %following = add i64 %before, 1
  store atomic i64 %following, ptr %gate release, align 8
  br label %done
spin:
  %turns = phi i64 [ 0, %meet ], [ %more, %wait ]
  %now = load atomic i64, ptr %gate acquire, align 8
  %closed = icmp eq i64 %now, %before
  br i1 %closed, label %wait_or_yield, label %done
wait_or_yield:
  %patient = icmp ult i64 %turns, SPINS
  br i1 %patient, label %wait, label %give
give:
  %slot = getelementptr i8, ptr %record, i64 128
  %yield = load ptr, ptr %slot, align 8
  %ignored = call i32 %yield()
  br label %wait
wait:
  PAUSE
  %more = add i64 %turns, 1
  br label %spin
done:
  ret void
}
"""
# Threads take pieces of a loop until none is left. Each begins with its own equal share, whose results it finds in its
# own cache at the next loop; whoever is done helps the others. `next` counts for every thread the pieces taken of its
# share, `before` is the piece that this thread did last. Which thread does a piece changes no result.
_TAKE = """
define internal i64 @take(ptr %next, i64 %thread, i64 %threads, i64 %pieces, i64 %before) noinline {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %in_order, label %ask
in_order:
  %following = add i64 %before, 1
  %exists = icmp slt i64 %following, %pieces
  %own = select i1 %exists, i64 %following, i64 -1
  ret i64 %own
ask:
  %asked = phi i64 [ 0, %entry ], [ %more, %refused ]
  %place = add i64 %thread, %asked
  %owner = urem i64 %place, %threads
  %scaled_low = mul i64 %pieces, %owner
  %low = udiv i64 %scaled_low, %threads
  %scaled_high = add i64 %scaled_low, %pieces
  %high = udiv i64 %scaled_high, %threads
  %counter = getelementptr i64, ptr %next, i64 %owner
  %taken = atomicrmw add ptr %counter, i64 1 monotonic
  %piece = add i64 %low, %taken
  %left = icmp slt i64 %piece, %high
  br i1 %left, label %got, label %refused
got:
  ret i64 %piece
refused:
  %more = add i64 %asked, 1
  %others = icmp ult i64 %more, %threads
  br i1 %others, label %ask, label %none
none:
  ret i64 -1
}
"""
# Some 30 microseconds: longer than threads of one program are apart, shorter than a time slice. Yielding at once would
# give a whole slice away to whatever else spins, another framework's idle workers for one.
_SPINS = 1000


@dataclass(frozen=True)
class Module:
    """The LLVM assembly of a program, whose entry is called `ENTRY`.

    The entry is `void program(ptr args, i64 thread, i64 threads, ptr barrier, ptr errors)`; `args` has one pointer
    for every tensor of the program that is no table.
    """

    text: str
    floating: str


def emit_module(program: Program, target: Target, *, checked: bool = False) -> Module:
    """The module of a program. DtypeError where it mixes float32 and float64."""
    floating = floating_kind(program)
    for tensor in program.tensors:
        if tensor.size < 1:
            raise CompileError(f"tensor {tensor.name} {tensor.shape} has no elements")
    emitter = Emitter(program, floating, target, checked)
    phases = [emitter.nest(number) for number in range(len(program.nests))]
    names: dict[str, str] = {}
    for functions, nest in zip(phases, program.nests, strict=True):
        for function in functions:
            names.setdefault(function.text, f"nest{len(names)}.{_printable(nest.name)}")
    tables = [
        f"@table{place} = private unnamed_addr constant {_table(tensor, floating)}, align 64"
        for place, tensor in enumerate(program.tensors)
        if tensor.role == "table"
    ]
    pause = 'call void asm sideeffect "pause", ""()' if target.triple.startswith("x86") else ""
    parts = [
        *sorted(
            {declaration for functions in phases for function in functions for declaration in function.declarations}
        ),
        *tables,
        _BARRIER.replace("SPINS", str(_SPINS)).replace("PAUSE", pause),
        _TAKE,
        *([CHECKED_FUNCTIONS] if checked else []),
        *(f'define internal void @"{name}"{text}' for text, name in names.items()),
        _entry(program, phases, names, floating),
        "attributes #0 = { nounwind }",
    ]
    return Module("\n".join(parts) + "\n", floating)


def floating_kind(program: Program) -> str:
    """`float` or `double`: what the program's floating tensors are made of, tables and single numbers aside."""
    arrays = {tensor.dtype: tensor.name for tensor in program.tensors if tensor.role != "table" and tensor.size > 1}
    numbers = {tensor.dtype: tensor.name for tensor in program.tensors if tensor.role != "table"}
    if "float32" in arrays and "float64" in arrays:
        raise DtypeError(
            f"a program has one floating type, but {arrays['float32']} is float32 and {arrays['float64']} is float64"
        )
    for found in (arrays, numbers):
        if "float32" in found or "float64" in found:
            return "float" if "float32" in found else "double"
    return "double"


def _entry(program: Program, phases: Sequence[Sequence[Function]], names: dict[str, str], floating: str) -> str:
    """Fetch the pointers, then call the functions of the nests in order; no thread leaves before all are done."""
    places = {tensor.name: place for place, tensor in enumerate(program.tensors)}
    used = {places[name] for functions in phases for function in functions for name in function.tensors}
    lines = [
        f"define void @{ENTRY}(ptr %args, i64 %thread, i64 %threads, ptr %barrier, ptr %errors) #0 {{",
    ]
    slots = [place for place, tensor in enumerate(program.tensors) if tensor.role != "table"]
    for slot, place in enumerate(slots):
        if place in used:
            lines += _argument(program.tensors[place], place, slot, floating)
    lines += ["  %counters = getelementptr i8, ptr %barrier, i64 192", "  %apart = mul i64 %threads, 8"]
    for number, functions in enumerate(phases):
        for place, function in enumerate(functions):
            pointers = [_argument_name(program.tensors[places[name]], places[name]) for name in function.tensors]
            next_ = f"%next{number}.{place}"
            lines += [
                f"  {next_}.offset = mul i64 %apart, {place}",
                f"  {next_} = getelementptr i8, ptr %counters, i64 {next_}.offset",
            ]
            arguments = ", ".join(
                ["i64 %thread", "i64 %threads", f"ptr {next_}", "ptr %errors", *(f"ptr {name}" for name in pointers)]
            )
            lines.append(f'  call void @"{names[function.text]}"({arguments})')
        lines.append(f"  call void @barrier(ptr %barrier, i64 %threads, i64 {min(len(functions), LOOPS)})")
    return "\n".join([*lines, "  ret void", "}"])


def _argument_name(tensor: Tensor, place: int) -> str:
    return f"@table{place}" if tensor.role == "table" else f"%p{place}"


def _argument(tensor: Tensor, place: int, slot: int, floating: str) -> list[str]:
    loaded = f"%p{place}" if tensor.role != "scratch" else f"%all{place}"
    lines = [f"  %slot{place} = getelementptr ptr, ptr %args, i64 {slot}", f"  {loaded} = load ptr, ptr %slot{place}"]
    if tensor.role == "scratch":
        size = tensor.size * BYTES[storage_kind(tensor, floating)]
        lines += [
            f"  %skip{place} = mul i64 %thread, {size}",
            f"  %p{place} = getelementptr i8, ptr %all{place}, i64 %skip{place}",
        ]
    return lines


def _table(tensor: Tensor, floating: str) -> str:
    kind = storage_kind(tensor, floating)
    if len(tensor.values) != tensor.size:
        raise CompileError(f"table {tensor.name} has {len(tensor.values)} values for {tensor.size} elements")
    code = Code(floating)
    numbers = (value if isinstance(value, int) else float(value) for value in tensor.values)
    values = ", ".join(code.number(number, kind).typed for number in numbers)
    return f"[{tensor.size} x {kind}] [{values}]"


def _printable(name: str) -> str:
    """A nest's name as part of a symbol, for profiles and assembly listings."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)[:40]
