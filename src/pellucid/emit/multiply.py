"""Products added to sums: fused where the processor can, and without disturbing the registers of a tile."""

from __future__ import annotations

from pellucid.emit.ir import BYTES, Code, Register
from pellucid.emit.targets import Target

__all__ = ["accumulate", "multiply_add"]


def multiply_add(code: Code, a: Register, b: Register, c: Register, has_fma: bool) -> Register:
    """`a*b + c` in one rounding where the processor has it; in two elsewhere (the library call would be slow)."""
    if has_fma:
        return code.intrinsic("fma", [a, b, c])
    return code.binary("fadd", code.binary("fmul", a, b), c)


def accumulate(code: Code, factor: Register, other: Register, total: Register, target: Target) -> Register:
    """`total + factor*other`, where `factor` is used up here and the sum is wanted in the register of `total`.

    AVX2's instruction exists in three forms, which overwrite one operand or another. LLVM, for a factor that is not
    used again, overwrites the factor. Then the sums of a tile wander through the registers, and where they fill
    almost all 16 of them they are spilled to get home again. So the form is written out there. AVX-512 has room, and
    would lose the broadcast that its instructions can make of an operand in memory.
    """
    size = BYTES[total.kind] * total.lanes
    if not _wanders(target) or size not in (16, 32):
        return multiply_add(code, factor, other, total, target.machine.has_fma)
    form = "vfmadd231ps" if total.kind == "float" else "vfmadd231pd"
    arguments = f"({total.typed}, {factor.typed}, {other.typed})"
    return code.instruction(
        total.kind, total.lanes, f'call {total.type} asm "{form} $3, $2, $0", "=x,0,x,x"{arguments}'
    )


def _wanders(target: Target) -> bool:
    machine = target.machine
    return target.is_x86 and machine.has_fma and machine.registers == 16
