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
from pellucid.errors import CompileError, DtypeError
from pellucid.schedule.nest import Program, Tensor

__all__ = ["Module", "emit_module"]

# Threads meet here: the last to arrive opens the gate for the others, which spin for a while and then give their
# processor away at every turn, since there may be more threads than processors. Layout of the record, 64 bytes
# apart: arrived (0), gate (64), the address of sched_yield (128). The gate only counts up: a thread that still looks at
# it when the others have gone on, even to another program, sees it open.
_BARRIER = """
define internal void @barrier(ptr %record, i64 %threads) noinline {
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
# Some 30 microseconds: longer than threads of one program are apart, shorter than a time slice. Yielding at once would
# give a whole slice away to whatever else spins, another framework's idle workers for one.
_SPINS = 1000


@dataclass(frozen=True)
class Module:
    """The LLVM assembly of a program, whose entry is called `ENTRY`.

    The entry is `void program(ptr args, i64 thread, i64 threads, ptr barrier, ptr errors)`; `args` has one pointer
    for every tensor of the program, those of tables ignored.
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
    used = sorted({places[name] for functions in phases for function in functions for name in function.tensors})
    lines = [
        f"define void @{ENTRY}(ptr %args, i64 %thread, i64 %threads, ptr %barrier, ptr %errors) #0 {{",
    ]
    for place in used:
        lines += _argument(program.tensors[place], place, floating)
    for number, functions in enumerate(phases):
        if number:
            lines.append("  call void @barrier(ptr %barrier, i64 %threads)")
        for function in functions:
            pointers = [_argument_name(program.tensors[places[name]], places[name]) for name in function.tensors]
            arguments = ", ".join(["i64 %thread", "i64 %threads", "ptr %errors", *(f"ptr {name}" for name in pointers)])
            lines.append(f'  call void @"{names[function.text]}"({arguments})')
    lines.append("  call void @barrier(ptr %barrier, i64 %threads)")
    return "\n".join([*lines, "  ret void", "}"])


def _argument_name(tensor: Tensor, place: int) -> str:
    return f"@table{place}" if tensor.role == "table" else f"%p{place}"


def _argument(tensor: Tensor, place: int, floating: str) -> list[str]:
    if tensor.role == "table":
        return []
    loaded = f"%p{place}" if tensor.role != "scratch" else f"%all{place}"
    lines = [f"  %slot{place} = getelementptr ptr, ptr %args, i64 {place}", f"  {loaded} = load ptr, ptr %slot{place}"]
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
