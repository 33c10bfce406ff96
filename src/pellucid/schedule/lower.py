"""The whole of the room: a formula, its extents and a machine -> loop nests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pellucid.language.syntax import Formula
from pellucid.schedule.axes import map_contraction
from pellucid.schedule.build import build
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.decide import decide
from pellucid.schedule.machine import Machine
from pellucid.schedule.maps import build_map, find_map
from pellucid.schedule.nest import ELEMENT_BYTES, Nest, Operand, Tensor
from pellucid.schedule.normal import normalise
from pellucid.schedule.parts import in_rounds, in_steps
from pellucid.schedule.passes import form_passes
from pellucid.schedule.plan import Level, Options, Plan
from pellucid.schedule.traits import is_product

__all__ = ["Lowered", "Part", "lower", "lower_alone"]


@dataclass(frozen=True)
class Part:
    """Where a tensor lies that has no memory of its own: its cell `i` is cell `i + offsets` of `whole`."""

    whole: Tensor
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Lowered:
    """Nests to run in order; the temporaries, scratch panels and tables that they need beside the caller's tensors;
    the plan of each contraction."""

    nests: tuple[Nest, ...]
    tensors: tuple[Tensor, ...]
    plans: tuple[Plan, ...]


def lower(
    formula: Formula,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    machine: Machine,
    name: str,
    options: Options | None = None,
    parts: Mapping[str, Part] = MappingProxyType({}),
) -> Lowered:
    """Loop nests for one formula.

    `extents` gives every axis; `tensors` maps the formula's tensor and scalar names, its output among them, to
    tensors of the program; `name` prefixes the names of all that is new. `parts` has the tensors, by their own names,
    that are parts of others.
    """
    contractions, new = normalise(formula, constants, extents, tensors, name)
    nests, plans = list[Nest](), list[Plan]()
    known = {tensor.name: tensor for tensor in (*tensors.values(), *new)}
    if parts:
        contractions = [map_contraction(nest, lambda operand: _in_whole(operand, parts)) for nest in contractions]
        known |= {part.whole.name: part.whole for part in parts.values()}
    if options is not None and options.outer is not None:
        contractions, between = _in_rounds(contractions, options, known, name)
        new += between
        known |= {tensor.name: tensor for tensor in between}
    if options is not None and options.steps is not None:
        contractions = [in_steps(nest, options.steps) for nest in contractions]
    for number, nest in enumerate(contractions):
        dtype = _element_type(nest, known)
        own = name if len(contractions) == 1 else f"{name}.{number}"
        if (found := find_map(nest, known)) is not None:
            mapped, plan = build_map(found, machine, ELEMENT_BYTES[dtype], own, options)
            nests.append(mapped)
            plans.append(plan)
            continue
        plan = decide(nest, machine, ELEMENT_BYTES[dtype], options.of(number) if options else None)
        built, needed = build(plan, machine, own, dtype, options.group if options else 1)
        nests += built
        new += needed
        plans.append(plan)
    return Lowered(tuple(nests), tuple(new), tuple(plans))


def _in_whole(operand: Operand, parts: Mapping[str, Part]) -> Operand:
    part = parts.get(operand.tensor)
    if part is None:
        return operand
    index = tuple(form + offset for form, offset in zip(operand.index, part.offsets, strict=True))
    return replace(operand, tensor=part.whole.name, shape=part.whole.shape, index=index)


def lower_alone(
    lowered: Callable[[Options | None], Lowered], formula: Formula, tensors: Mapping[str, Tensor]
) -> Lowered:
    """The loop nests of a formula that is a program of its own; `lowered` is `lower` for it, but for the options.

    One that becomes several contractions walks the first axis of its output (the batch) once for all of them, where
    memory bounds them or they walk it outermost anyway. The gradient of a 3x3 pool of stride 2 finds the winners of an
    image, and then fills the four residues of its rows and columns: one after the other for the whole batch they moved
    141 MB where 84 are enough.
    """
    found = lowered(None)
    if len(found.plans) == 1 or not formula.free_axes:
        return found
    (first, *_) = formula.free_axes
    if any(is_product(plan.contraction) and plan.levels[:1] != (Level(first, "loop", 1),) for plan in found.plans):
        return found
    found = lowered(Options(outer=first))
    table = {tensor.name: tensor for tensor in (*tensors.values(), *found.tensors)}
    nests, scratch = form_passes(found.nests, table)
    table |= {tensor.name: tensor for tensor in scratch}
    return Lowered(tuple(nests), tuple(table[tensor.name] for tensor in found.tensors), found.plans)


def _in_rounds(
    contractions: list[Contraction], options: Options, known: Mapping[str, Tensor], name: str
) -> tuple[list[Contraction], list[Tensor]]:
    """Every contraction with the axis `options.outer` cut into rounds of it."""
    result, tensors = list[Contraction](), list[Tensor]()
    for number, nest in enumerate(contractions):
        assert options.outer is not None
        dtype = _element_type(nest, known)
        found, between = in_rounds(nest, options.outer, options.group, options.parts, f"{name}.{number}", dtype)
        result += found
        tensors += between
    return result, tensors


def _element_type(nest: Contraction, known: Mapping[str, Tensor]) -> str:
    """The floating type that a contraction computes in."""
    return next(
        (known[o.tensor].dtype for o in (*nest.loads, *nest.late_loads) if known[o.tensor].dtype != "int64"),
        known[nest.output.tensor].dtype,
    )
