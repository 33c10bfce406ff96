"""Substitution and traversal: index names replaced, operands mapped, tensors renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    Apply,
    Bound,
    Fetch,
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

__all__ = [
    "bind_operand",
    "bind_statements",
    "bind_stores",
    "bind_value",
    "map_operands",
    "map_stores",
    "names_of",
    "renamed",
]

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
        operand.prefetch,
    )


def bind_value(value: Value, bindings: Bindings) -> Value:
    """The value with index names replaced."""
    return _sharing(_binding(bindings))(value)


def map_operands(value: Value, function: Callable[[Operand], Operand]) -> Value:
    """The value with `function` applied to every operand that it loads (lookups are the operand's own affair)."""
    return _sharing(_mapping(function))(value)


def bind_stores(stores: Iterable[Store], bindings: Bindings) -> tuple[Store, ...]:
    """Stores with index names replaced; parts that their values share stay shared."""
    value = _sharing(_binding(bindings))
    return tuple(
        Store(
            bind_operand(store.operand, bindings),
            value(store.value),
            None if store.add is None else store.add.substitute(bindings),
        )
        for store in stores
    )


def bind_statements(body: Iterable[Statement], bindings: Bindings) -> list[Statement]:
    """Statements with names of loops around them replaced; whatever was parallel inside is so no more."""

    def bound(limit: Bound) -> Bound:
        return Bound(tuple((form.substitute(bindings), divisor) for form, divisor in limit.terms))

    def visit(statement: Statement) -> Statement:
        match statement:
            case For():
                inside = tuple(visit(entry) for entry in statement.body)
                low, high = bound(statement.low), bound(statement.high)
                return replace(statement, low=low, high=high, body=inside, parallel=False)
            case Tile():
                stores = bind_stores(statement.stores, bindings)
                return replace(statement, body=tuple(visit(entry) for entry in statement.body), stores=stores)
            case Update():
                position = None if statement.position is None else statement.position.substitute(bindings)
                return replace(statement, value=bind_value(statement.value, bindings), position=position)
            case Fetch():
                raise AssertionError("what is fetched is found in passes")

    return [visit(statement) for statement in body]


def map_stores(stores: Iterable[Store], function: Callable[[Operand], Operand]) -> tuple[Store, ...]:
    """Stores with `function` applied to every operand; parts that their values share stay shared."""
    value = _sharing(_mapping(function))
    return tuple(Store(function(store.operand), value(store.value), store.add) for store in stores)


def _binding(bindings: Bindings) -> Callable[[Value], Value]:
    def leaf(value: Value) -> Value:
        if isinstance(value, Position):
            return Position(value.index.substitute(bindings))
        return Load(bind_operand(value.operand, bindings)) if isinstance(value, Load) else value

    return leaf


def _mapping(function: Callable[[Operand], Operand]) -> Callable[[Value], Value]:
    return lambda value: Load(function(value.operand)) if isinstance(value, Load) else value


def _sharing(leaf: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """Values with `leaf` applied to all that are no `Apply`. What was one object is one afterwards: straight-line code
    is a graph of shared parts, which as a tree would be many times as large."""
    known: dict[int, tuple[Value, Value]] = {}  # with the old value, so that no other gets its id

    def visit(old: Value) -> Value:
        found = known.get(id(old))
        if found is None:
            new = leaf(old) if not isinstance(old, Apply) else Apply(old.function, tuple(map(visit, old.arguments)))
            found = known[id(old)] = old, new
        return found[1]

    return visit


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
            tensor = names[old.tensor]
            new = Operand(tensor, old.shape, old.index, old.guards, lookups, old.outside, old.prefetch)
            known[id(old)] = new
        return new

    def visit(old: Statement) -> Statement:
        match old:
            case For():
                return For(
                    old.variable, old.low, old.high, old.step, tuple(visit(entry) for entry in old.body), old.parallel
                )
            case Tile():
                body = tuple(visit(entry) for entry in old.body)
                return replace(old, body=body, stores=map_stores(old.stores, operand))
            case Update():
                return Update(old.active, map_operands(old.value, operand), old.position, old.chain, old.fence)
            case Fetch():
                return Fetch(operand(old.operand), old.lines)

    return visit(statement)
