"""Substitution and traversal: index names replaced, operands mapped, tensors renamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    Apply,
    For,
    Guard,
    Load,
    Lookup,
    Operand,
    Position,
    Statement,
    Store,
    Tile,
    Update,
    Value,
)

__all__ = ["bind_operand", "bind_value", "map_operands", "names_of", "renamed"]

Bindings = Mapping[str, "Affine | int"]


def bind_guard(guard: Guard, bindings: Bindings) -> Guard:
    """The guard with index names replaced."""
    return Guard(guard.index.substitute(bindings), guard.low, guard.high)


def bind_operand(operand: Operand, bindings: Bindings) -> Operand:
    """The operand with index names replaced, in its guards and lookups too."""
    return Operand(
        operand.tensor,
        operand.shape,
        tuple(index.substitute(bindings) for index in operand.index),
        tuple(bind_guard(guard, bindings) for guard in operand.guards),
        tuple(
            Lookup(lookup.dimension, bind_operand(lookup.operand, bindings), lookup.stride)
            for lookup in operand.lookups
        ),
        operand.outside,
    )


def bind_value(value: Value, bindings: Bindings) -> Value:
    """The value with index names replaced."""
    if isinstance(value, Position):
        return Position(value.index.substitute(bindings))
    if isinstance(value, Load):
        return Load(bind_operand(value.operand, bindings))
    if isinstance(value, Apply):
        return Apply(value.function, tuple(bind_value(argument, bindings) for argument in value.arguments))
    return value


def map_operands(value: Value, function: Callable[[Operand], Operand]) -> Value:
    """The value with `function` applied to every operand that it loads (lookups are the operand's own affair)."""
    if isinstance(value, Load):
        return Load(function(value.operand))
    if isinstance(value, Apply):
        return Apply(value.function, tuple(map_operands(argument, function) for argument in value.arguments))
    return value


def names_of(operand: Operand) -> set[str]:
    """The index names that an operand's cell depends on."""
    names = {name for index in operand.index for name in index.names}
    for lookup in operand.lookups:
        names |= names_of(lookup.operand)
    return names


def renamed(statement: Statement, names: Mapping[str, str]) -> Statement:
    """The statement with every tensor's name replaced."""
    known: dict[int, Operand] = {}  # one object stays one object

    def operand(old: Operand) -> Operand:
        new = known.get(id(old))
        if new is None:
            lookups = tuple(Lookup(lookup.dimension, operand(lookup.operand), lookup.stride) for lookup in old.lookups)
            new = Operand(names[old.tensor], old.shape, old.index, old.guards, lookups, old.outside)
            known[id(old)] = new
        return new

    def store(old: Store) -> Store:
        return Store(operand(old.operand), map_operands(old.value, operand), old.add)

    def visit(old: Statement) -> Statement:
        match old:
            case For():
                return For(
                    old.variable, old.low, old.high, old.step, tuple(visit(entry) for entry in old.body), old.parallel
                )
            case Tile():
                body = tuple(visit(entry) for entry in old.body)
                return replace(old, body=body, stores=tuple(store(entry) for entry in old.stores))
            case Update():
                return Update(old.active, map_operands(old.value, operand), old.position, old.chain, old.fence)

    return visit(statement)
