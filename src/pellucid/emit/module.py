"""A program as one LLVM module: constants, a function for each statement, the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from pellucid.emit.checked import CHECKED_FUNCTIONS
from pellucid.emit.entry import ENTRY
from pellucid.emit.ir import Code
from pellucid.emit.kinds import storage_kind
from pellucid.emit.meeting import PAIR, meeting
from pellucid.emit.nests import Emitter, Function
from pellucid.emit.targets import Target
from pellucid.errors import CompileError, DtypeError
from pellucid.schedule.nest import Program, Tensor

__all__ = ["Module", "emit_module"]

# Bytes: what callers align the stack to.
STACK_ALIGNMENT = 16


@dataclass(frozen=True)
class Module:
    """The LLVM assembly of a program, whose entry is called `ENTRY`.

    The entry is `void program(ptr args, i64 thread, i64 threads, ptr record, ptr errors)`; `args` has one pointer for
    every tensor of the program that is no table, of scratch to that of thread 0, and behind them the bytes from one
    thread's scratch to the next one's.
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
    parts = [
        *sorted(
            {declaration for functions in phases for function in functions for declaration in function.declarations}
        ),
        *tables,
        meeting(target),
        *([CHECKED_FUNCTIONS] if checked else []),
        *(f"define internal {text.replace('NAME', name, 1)}" for text, name in names.items()),
        _entry(program, phases, names, floating),
        "attributes #0 = { nounwind }",
        *_stack(target.machine.vector_bytes),
    ]
    return Module("\n".join(parts) + "\n", floating)


def _stack(vector_bytes: int) -> list[str]:
    """The stack's alignment: a register that is spilled would cross a cache line otherwise, unless the stack happens to
    begin at one. The entry sees to it, so that no function gives up a register for a frame of its own."""
    # `!0` is that of streamed stores.
    flag = f'!1 = !{{i32 1, !"override-stack-alignment", i32 {vector_bytes}}}'
    aligned = ["!llvm.module.flags = !{!1}", flag] if vector_bytes > STACK_ALIGNMENT else []
    return ['attributes #1 = { nounwind "stackrealign" }', *aligned]


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
    """Each thread fetches pointers and calls the functions of the nests in order."""
    most = max((sum(function.free for function in functions) for functions in phases), default=0)
    lines = [
        f"define void @{ENTRY}(ptr %args, i64 %thread, i64 %threads, ptr %record, ptr %errors) #1 {{",
        "entry:",
        f"  call void @has_loops(ptr %record, i64 %threads, i64 {1 + most})",
    ]
    slots = {
        tensor.name: slot for slot, tensor in enumerate(tensor for tensor in program.tensors if tensor.role != "table")
    }
    scratch = {tensor.name for tensor in program.tensors if tensor.role == "scratch"}
    if scratch:
        lines += [
            f"  %stride.slot = getelementptr ptr, ptr %args, i64 {len(slots)}",
            "  %stride = load i64, ptr %stride.slot",
            "  %own = mul i64 %thread, %stride",
        ]
    for number, functions in enumerate(phases, start=1):
        used = {name for function in functions for name in function.tensors}
        # Each nest fetches its own pointers: held from the start of a step to its end, they would need registers.
        fetched, pointers = list[str](), dict[str, str]()
        for place, tensor in enumerate(program.tensors):
            if tensor.name in used and tensor.role == "table":
                pointers[tensor.name] = f"@table{place}"
            elif tensor.name in used:
                pointers[tensor.name] = f"%p{number}.{place}"
                fetched += _fetched(tensor, pointers[tensor.name], slots[tensor.name])
        lines += _phase(number, functions, names, pointers, fetched, scratch)
    return "\n".join([*lines, "  ret void", "}"])


def _phase(
    number: int,
    functions: Sequence[Function],
    names: dict[str, str],
    pointers: dict[str, str],
    fetched: Sequence[str],
    scratch: Set[str],
) -> list[str]:
    """The functions of a nest, called in order by who does not come too late; then the wait for all that they write.

    First those that are free. Of the others somebody does the part of each thread, all that belongs to a part in order:
    what one reads of another was written in the same part. What fills scratch goes before each one that reads it.
    """

    def call(function: Function, thread: str, *first: str) -> str:
        tensors = [f"ptr {pointers[name]}" for name in function.tensors]
        arguments = [*first, f"i64 {thread}", "i64 %threads", "ptr %errors", *tensors]
        return f'call {function.result} @"{names[function.text]}"({", ".join(arguments)})'

    def filled_for(readers: Sequence[Function]) -> list[Function]:
        used = {name for function in readers for name in function.tensors} & scratch
        fills = [function for function in functions if not function.shared and used.intersection(function.tensors)]
        return [function for function in functions if function in readers or function in fills]

    pieces_of = [function for function in functions if function.free]
    parts = [function for function in functions if function.shared and not function.free]
    loops = bool(parts) + len(pieces_of)
    lines = [
        f"  %over{number} = call i1 @is_over(ptr %record, i64 %threads, i64 {number})",
        f"  br i1 %over{number}, label %after{number}, label %phase{number}",
        f"phase{number}:",
        *fetched,
    ]
    place = 0
    for function in filled_for(pieces_of):
        if function.free:
            place += 1
            loop, did, done, steps = (f"%{name}{number}.{place}" for name in ("loop", "did", "done", "steps"))
            lines += [
                f"  {loop} = call ptr @loop(ptr %record, i64 {place})",
                f"  {did} = {call(function, '%thread', f'ptr {loop}', f'i64 {number}')}",
                f"  {done} = extractvalue {function.result} {did}, 0",
                f"  {steps} = extractvalue {function.result} {did}, 1",
                _count(number, loop, done, steps, loops),
            ]
        else:
            lines.append(f"  {call(function, '%thread')}")
    if parts:
        loop, taken, part, one, done, more, some = (
            f"%{name}{number}" for name in ("loop", "taken", "part", "one", "done", "more", "some")
        )
        take = f"@take(ptr {loop}, i64 {number}, i64 %thread, i64 %threads, i64 %threads, i64 {done})"
        lines += [
            f"  {loop} = call ptr @loop(ptr %record, i64 0)",
            f"  br label %parts{number}",
            f"parts{number}:",
            f"  {done} = phi i64 [ 0, %phase{number} ], [ {more}, %mine{number} ]",
            f"  {taken} = call {PAIR} {take}",
            f"  {part} = extractvalue {PAIR} {taken}, 0",
            f"  {one} = extractvalue {PAIR} {taken}, 1",
            f"  {some} = icmp ne i64 {one}, 0",
            f"  br i1 {some}, label %mine{number}, label %counted{number}",
            f"mine{number}:",
            *(f"  {call(function, part)}" for function in filled_for(parts)),
            f"  {more} = add i64 {done}, {one}",
            f"  br label %parts{number}",
            f"counted{number}:",
            _count(number, loop, done, "%threads", loops),
        ]
    if loops:
        lines.append(f"  call void @end_phase(ptr %record, i64 %threads, i64 {number})")
    return [*lines, f"  br label %after{number}", f"after{number}:"]


def _count(phase: int, loop: str, done: str, steps: str, loops: int) -> str:
    arguments = [f"ptr {loop}", "i64 %threads", f"i64 {done}", f"i64 {steps}", f"i64 {loops}", f"i64 {phase}"]
    return f"  call void @count(ptr %record, {', '.join(arguments)})"


def _fetched(tensor: Tensor, pointer: str, slot: int) -> list[str]:
    """A tensor's pointer; of scratch, to what belongs to this thread."""
    loaded = f"{pointer}.all" if tensor.role == "scratch" else pointer
    lines = [
        f"  {pointer}.slot = getelementptr ptr, ptr %args, i64 {slot}",
        f"  {loaded} = load ptr, ptr {pointer}.slot",
    ]
    if tensor.role == "scratch":
        lines.append(f"  {pointer} = getelementptr i8, ptr {loaded}, i64 %own")
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
