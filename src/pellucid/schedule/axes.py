"""Rewrites of a contraction's axes that change no cell: binding, splitting of mixed-radix dimensions, fusing.

Each documents before -> after and checks its own legality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pellucid.language.affine import Affine
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.nest import Apply, Guard, Operand, Position, Value
from pellucid.schedule.rewrite import Bindings, bind_operand, bind_value, map_operands, names_of

__all__ = ["bind_contraction", "fuse_axes", "map_contraction", "split_dimensions"]


def bind_contraction(nest: Contraction, bindings: Bindings) -> Contraction:
    """The contraction with axis names replaced in every index; the axis lists are the caller's affair."""
    if not bindings:
        return nest
    return replace(
        nest,
        output=bind_operand(nest.output, bindings),
        value=None if nest.value is None else bind_value(nest.value, bindings),
        position=None if nest.position is None else nest.position.substitute(bindings),
        result=bind_value(nest.result, bindings),
        guards=tuple(Guard(g.index.substitute(bindings), g.low, g.high) for g in nest.guards),
    )


def map_contraction(nest: Contraction, function: Callable[[Operand], Operand]) -> Contraction:
    """The contraction with `function` applied to its output and to every operand."""
    return replace(
        nest,
        output=function(nest.output),
        value=None if nest.value is None else map_operands(nest.value, function),
        result=map_operands(nest.result, function),
    )


def split_dimensions(nest: Contraction) -> Contraction:
    """Dimensions indexed by a whole mixed-radix number are seen as several.

    before: x[.., 4*u + c] of extent 12, with u < 3, c < 4      after: x[.., u, c] of extents 3, 4
    """
    extents = nest.extents

    def split(operand: Operand) -> Operand:
        if operand.lookups:
            return operand
        shape, index = list[int](), list[Affine]()
        for extent, form in zip(operand.shape, operand.index, strict=True):
            parts = _radix(form, extent, extents)
            shape += [size for size, _ in parts]
            index += [part for _, part in parts]
        return replace(operand, shape=tuple(shape), index=tuple(index))

    return map_contraction(nest, split)


def _radix(form: Affine, extent: int, extents: dict[str, int]) -> list[tuple[int, Affine]]:
    if form.const or len(form.terms) < 2:
        return [(extent, form)]
    step, parts = 1, list[tuple[int, Affine]]()
    for name, coefficient in sorted(form.terms, key=lambda term: term[1]):
        if coefficient != step:
            return [(extent, form)]
        parts.append((extents[name], Affine.name(name)))
        step *= extents[name]
    return parts[::-1] if step == extent else [(extent, form)]


def fuse_axes(nest: Contraction) -> tuple[Contraction, tuple[tuple[str, str], ...]]:
    """Neighbouring axes that every operand walks as one become one; gives the pairs that were fused.

    before: for a: for b: T[.., a, b, ..]      after: for b' < A*B: T[.., b', ..]

    Legal where neither axis stands in a guard or in the winner's position, and every operand either uses neither
    or holds both bare in neighbouring dimensions, the second of the axis' full extent.
    """
    fused = list[tuple[str, str]]()
    while (pair := _fusible_pair(nest)) is not None:
        nest = _fuse(nest, *pair)
        fused.append(pair)
    return nest, tuple(fused)


def _fusible_pair(nest: Contraction) -> tuple[str, str] | None:
    if nest.position is not None:
        reductions: tuple[tuple[str, int], ...] = ()
    else:
        reductions = nest.reduced
    barred = {name for guard in nest.guards for name in guard.index.names}
    every = (nest.output, *nest.loads, *nest.late_loads)
    barred |= {name for operand in every for guard in operand.guards for name in guard.index.names}
    barred |= {name for operand in every for lookup in operand.lookups for name in names_of(lookup.operand)}
    barred |= _position_names(nest)
    for axes in (nest.free, reductions):
        for first, _ in axes:
            for second, extent in axes:
                apart = first == second or {first, second} & barred
                if not apart and all(_walks_as_one(operand, first, second, extent) for operand in every):
                    return first, second
    return None


def _position_names(nest: Contraction) -> set[str]:
    names = set[str]()

    def visit(value: Value | None) -> None:
        if isinstance(value, Position):
            names.update(value.index.names)
        elif isinstance(value, Apply):
            for argument in value.arguments:
                visit(argument)

    visit(nest.value)
    visit(nest.result)
    return names


def _dimension_of(operand: Operand, axis: str) -> int | None:
    """The one dimension whose index is the bare axis; -1 where the axis does not occur; None otherwise."""
    uses = [d for d, index in enumerate(operand.index) if index.coefficient(axis)]
    if not uses:
        return -1
    return uses[0] if len(uses) == 1 and operand.index[uses[0]] == Affine.name(axis) else None


def _walks_as_one(operand: Operand, first: str, second: str, extent: int) -> bool:
    a, b = _dimension_of(operand, first), _dimension_of(operand, second)
    if a is None or b is None:
        return False
    if a == b == -1:
        return True
    looked_up = {lookup.dimension for lookup in operand.lookups}
    return a >= 0 and b == a + 1 and operand.shape[b] == extent and not {a, b} & looked_up


def _fuse(nest: Contraction, first: str, second: str) -> Contraction:
    extents = nest.extents

    def merge(operand: Operand) -> Operand:
        d = _dimension_of(operand, first)
        if d is None or d < 0:
            return operand
        shape, index = operand.shape, operand.index
        return replace(
            operand,
            shape=(*shape[:d], shape[d] * shape[d + 1], *shape[d + 2 :]),
            index=(*index[:d], index[d + 1], *index[d + 2 :]),
            lookups=tuple(
                replace(lookup, dimension=lookup.dimension - (lookup.dimension > d)) for lookup in operand.lookups
            ),
        )

    def join(axes: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        grown = ((a, extents[first] * n if a == second else n) for a, n in axes)
        return tuple((a, n) for a, n in grown if a != first)

    merged = map_contraction(nest, merge)
    return replace(merged, free=join(nest.free), reduced=join(nest.reduced))
