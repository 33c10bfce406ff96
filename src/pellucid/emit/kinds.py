"""Element kinds: what tensors hold, and conversions between kinds in registers."""

from __future__ import annotations

from pellucid.emit.ir import Code, Register, mangled, type_text
from pellucid.schedule.nest import Tensor

__all__ = ["KINDS", "converted", "storage_kind"]

KINDS = {"float32": "float", "float64": "double", "int64": "i64"}


def storage_kind(tensor: Tensor, floating: str) -> str:
    """The element kind in memory; tables of floating numbers are made in the program's type."""
    if tensor.role == "table" and tensor.dtype != "int64":
        return floating
    return KINDS[tensor.dtype]


def converted(code: Code, value: Register, kind: str) -> Register:
    """The value as another kind of element; a floating value becomes an integer by truncation, NaN 0."""
    if value.kind == kind:
        return value
    if value.kind == "i1":
        return code.cast("zext" if kind == "i64" else "uitofp", value, kind)
    if value.kind in ("i64", "i32"):
        if value.is_literal and value.lanes == 1 and kind in ("float", "double"):
            return code.number(int(value.text), kind)
        return code.cast("sext" if kind == "i64" else "sitofp", value, kind)
    if kind == "i64":
        name = f"@llvm.fptosi.sat.{mangled('i64', value.lanes)}.{mangled(value.kind, value.lanes)}"
        result = type_text("i64", value.lanes)
        code.declare(f"{result} {name}({value.type})")
        return code.pure("i64", value.lanes, f"call {result} {name}({value.typed})")
    return code.cast("fpext" if kind == "double" else "fptrunc", value, kind)
