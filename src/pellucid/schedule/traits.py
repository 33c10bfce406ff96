"""What a contraction is like: strides, reuse, footprints. The facts that decisions rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd, prod

from pellucid.language.affine import Affine
from pellucid.schedule.contraction import Axes, Contraction
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import COMPUTED_FUNCTIONS, Apply, Guard, Load, Operand, Value, values_in
from pellucid.schedule.rewrite import names_of

__all__ = [
    "bare_dimension",
    "computes",
    "footprint",
    "guarded_names",
    "is_product",
    "lead_operand",
    "lines",
    "near_capacity",
    "never_holds",
    "reads_parts_of_lines",
    "reuse",
    "sliding_axis",
    "stride",
]

# Bytes between two rows from which steps that take a part of each take a part of another line each time, and leave most
# of what lies between to other tiles. Rows nearer together share lines, or are soon read whole.
LEAST_ROW = 4 * CACHE_LINE


def stride(operand: Operand, axis: str | None) -> int:
    """How many elements apart neighbours along `axis` lie; 0 where the operand does not depend on it."""
    if axis is None:
        return 0
    if any(axis in names_of(lookup.operand) for lookup in operand.lookups):
        return 1 << 40
    return operand.address.coefficient(axis)


def is_product(nest: Contraction) -> bool:
    """Whether what is summed is a product of two or more loads whose cells serve many outputs. A load that depends on
    every output axis, as in a depthwise convolution, serves those of one window: memory bounds that, like pooling.
    """

    def factors(value: Value) -> bool:
        if isinstance(value, Apply):
            return value.function == "mul" and all(factors(argument) for argument in value.arguments)
        return isinstance(value, Load)

    value = nest.value
    is_sum_of_products = nest.reduction == "sum" and isinstance(value, Apply) and factors(value) and len(nest.loads) > 1
    return is_sum_of_products and bool(nest.reduced) and sliding_axis(nest) is None


def sliding_axis(nest: Contraction) -> tuple[str, int] | None:
    """The outermost output axis along which a short window slides over an operand that depends on every output axis,
    and its step; None where windows do not overlap."""
    whole = {axis for axis, extent in nest.free if extent > 1}
    reduced = dict(nest.reduced)
    for operand in nest.loads:
        if not whole <= names_of(operand):
            continue
        for index in operand.index:
            window = max((reduced[name] * abs(step) for name, step in index.terms if name in reduced), default=0)
            for axis, step in index.terms:
                if axis in whole and abs(step) < window < abs(step) * nest.extents[axis]:
                    return axis, abs(step)
    return None


def guarded_names(nest: Contraction) -> set[str]:
    """Axes that stand in a guard or a lookup."""
    every = (*nest.loads, *nest.late_loads)
    names = {name for operand in every for guard in operand.guards for name in guard.index.names}
    return names | {name for guard in nest.guards for name in guard.index.names}


def never_holds(guard: Guard, extents: Mapping[str, int]) -> bool:
    """Whether a guard fails for all values of its axes."""
    low, high = guard.index.span(extents)
    return high < guard.low or low >= guard.high


def reuse(nest: Contraction, operand: Operand, vector: str | None) -> int:
    """How many times the nest walks the operand's cells with other values of the remaining output axes."""
    used = names_of(operand)
    return prod(extent for axis, extent in nest.free if axis not in used and axis != vector)


def computes(nest: Contraction) -> bool:
    """Whether a result takes a function that is computed by many operations, one after the other."""
    return any(isinstance(part, Apply) and part.function in COMPUTED_FUNCTIONS for part in values_in(nest.result))


def lead_operand(nest: Contraction, vector: str | None) -> Operand:
    """The operand whose cells the innermost loops should walk in order: the one that is broadcast, else the first."""
    loads = nest.loads or nest.late_loads or (nest.output,)
    return next((operand for operand in loads if stride(operand, vector) == 0 and operand.index), loads[0])


def footprint(operand: Operand, names: Iterable[str], extents: dict[str, int], element_bytes: int) -> int:
    """Bytes that the operand's cells span while `names` run and all else stands still."""
    inside, total = set(names), element_bytes
    for size, index in zip(operand.shape, operand.index, strict=True):
        low, high = Affine.of(0, {name: c for name, c in index.terms if name in inside}).span(extents)
        total *= min(size, high - low + 1)
    return total


def lines(operand: Operand, names: Iterable[str], extents: dict[str, int], element_bytes: int) -> int:
    """Bytes of the cache lines that the operand's cells lie in while `names` run."""
    inside = set(names)
    total, width = element_bytes, 1
    for number, (size, index) in enumerate(zip(operand.shape, operand.index, strict=True)):
        low, high = Affine.of(0, {name: c for name, c in index.terms if name in inside}).span(extents)
        width = min(size, high - low + 1)
        if number == len(operand.shape) - 1:
            width = max(width, min(size, CACHE_LINE // element_bytes))
        total *= width
    return total


def near_capacity(step: int, width: int, cache: int) -> int:
    """Bytes of a `cache` of so many that rows of `width` bytes, `step` apart, can fill: rows a power of two apart meet
    in few of its sets (eight ways assumed)."""
    way = cache // 8
    return min(cache, way // gcd(step, way) * width * 8) if step else cache


def reads_parts_of_lines(nest: Contraction, operand: Operand, points: Axes, l1: int, element_bytes: int) -> bool:
    """Whether the points of a tile lie side by side in an operand and its rows lines apart: each step reads a part of
    another line, of which a first cache of `l1` bytes loses some before other tiles read the rest."""
    if not nest.reduced:
        return False
    beside = any(stride(operand, axis) == 1 and size < nest.extents[axis] for axis, size in points)
    row = abs(stride(operand, nest.reduced[-1][0])) * element_bytes
    steps = prod(extent for _, extent in nest.reduced)
    return beside and row >= LEAST_ROW and steps * CACHE_LINE > l1


def bare_dimension(operand: Operand, axis: str) -> int | None:
    """The dimension whose index is the bare axis, where the axis occurs nowhere else and no guard concerns it."""
    uses = [d for d, index in enumerate(operand.index) if index.coefficient(axis)]
    guarded = any(axis in guard.index.names for guard in operand.guards)
    return uses[0] if len(uses) == 1 and operand.index[uses[0]] == Affine.name(axis) and not guarded else None
