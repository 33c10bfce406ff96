"""One equation put into another: the producer's body in the place of what the consumer reads of it.

    before   z[n,k] = sum(c) x[n,c]*w[c,k] + b[k];   a[n,c] = max(x[n,c], 0)  with x bound to z
    after    a[n,c] = max(sum(c1) x1[n,c1]*w[c1,c] + b[c], 0)

Names of the producer that the consumer has already are numbered; operands that both read get one name, so that
what was equal stays equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from pellucid.language.binding import names_of, numbered, tensors_of
from pellucid.language.extents import axes, interval
from pellucid.language.syntax import Access, Expr, Formula, Name, Node, Reduce, children, map_children, substitute, walk
from pellucid.network.graph import Equation, Value

__all__ = ["accesses_of", "is_elementwise", "merged", "reads_inside", "reshaped", "with_body", "writes_whole"]

Values: TypeAlias = Mapping[str, Value]


def writes_whole(values: Values, node: Equation) -> bool:
    """Whether the output's indices are bare axes, each over a whole dimension."""
    indices, shape = node.formula.output.indices, values[node.output].shape
    names = [index.name for index in indices if isinstance(index, Name)]
    whole = len(set(names)) == len(indices) == len(shape)
    return whole and all(node.extents[name] == extent for name, extent in zip(names, shape, strict=True))


def is_elementwise(values: Values, node: Equation) -> bool:
    """Whether every cell of the output is made without a reduction, from cells that are inside their arrays."""
    parts = list(walk(node.formula.body))
    return (
        writes_whole(values, node)
        and not any(isinstance(part, Reduce) for part in parts)
        and all(reads_inside(values, node, part) for part in parts if isinstance(part, Access))
    )


def reads_inside(values: Values, node: Equation, access: Access) -> bool:
    """Whether the access is made without a look-up and never leaves its array."""
    for index, extent in zip(access.indices, values[node.bindings[access.tensor]].shape, strict=True):
        span = interval(index, node.constants, node.extents)
        looked_up = any(isinstance(part, Access) for part in walk(index))
        if looked_up or span is None or span[0] < 0 or span[1] >= extent:
            return False
    return True


def accesses_of(node: Equation, value: str) -> list[Access | Name] | None:
    """Where an equation reads a value, as a number or as an array; None where it is read as an index."""
    own = {local for local, bound in node.bindings.items() if bound == value}
    found: list[Access | Name] = []

    def visit(part: Node, bound: frozenset[str]) -> bool:
        if isinstance(part, Access):
            if any(
                isinstance(inner, Access) and inner.tensor in own for index in part.indices for inner in walk(index)
            ):
                return False
            if part.tensor in own:
                found.append(part)
            return True
        if isinstance(part, Name) and part.name in own and part.name not in bound:
            found.append(part)
        inner = bound | frozenset(part.axes) if isinstance(part, Reduce) else bound
        return all(visit(child, inner) for child in children(part))

    return found if visit(node.formula.body, names_of(node.formula.output.indices)) else None


def merged(consumer: Equation, producer: Equation) -> Equation:
    """The consumer with the producer's body wherever it reads the producer's output.

    The producer's output has bare indices; reads of it stand in no index.
    """
    own = {local for local, bound in consumer.bindings.items() if bound == producer.output}
    shared = {bound: local for local, bound in consumer.bindings.items() if local not in own}
    formula = consumer.formula
    everything = (formula.output, formula.body)
    taken = set(names_of(everything) | tensors_of(everything) | set(consumer.bindings) | set(consumer.constants))
    constants, extents, bindings = dict(consumer.constants), dict(consumer.extents), dict(consumer.bindings)
    tensors, names = dict[str, str](), dict[str, str]()

    def fresh(name: str) -> str:
        new = numbered(name, taken)
        taken.add(new)
        return new

    every = axes(producer.formula)
    free = producer.formula.free_axes
    for local, bound in producer.bindings.items():
        new = shared.get(bound) or fresh(local)
        bindings[new] = bound
        tensors[local] = new
        if local not in every:
            names[local] = new
    for name, value in producer.constants.items():
        if name in every:
            continue
        same = name in constants and constants[name] == value and type(constants[name]) is type(value)
        names[name] = name if same else fresh(name)
        constants[names[name]] = value
    for axis in every:
        # What replaces an output axis is known at each place; until then it has a name that nothing else can have.
        names[axis] = f"%{axis}" if axis in free else fresh(axis)
        extents[names[axis]] = producer.extents[axis]
    body = _renamed(producer.formula.body, tensors, names)

    def put(part: Node, bound: frozenset[str]) -> Node:
        if isinstance(part, Access) and part.tensor in own:
            return substitute(body, {names[axis]: index for axis, index in zip(free, part.indices, strict=True)})
        if isinstance(part, Name) and part.name in own and part.name not in bound:
            return body
        inner = bound | frozenset(part.axes) if isinstance(part, Reduce) else bound
        return map_children(part, lambda child: put(child, inner))

    new_body = put(formula.body, names_of(formula.output.indices))
    return _tidy(replace(consumer, formula=Formula(formula.output, new_body)), constants, extents, bindings)  # type: ignore[arg-type]


def reshaped(node: Equation, output: str, indices: tuple[str, ...], extents: Mapping[str, int]) -> Equation | None:
    """An equation that treats every cell alike, over other axes with as many cells; None where it does not.

    before: v[i] = m*u[i] + g[i]      after: v[s,t] = m*u[s,t] + g[s,t]

    Its operands and its output must be seen with the new shape.
    """
    old = node.formula.output.indices
    taken = set(node.bindings) | set(node.constants)
    new = tuple(Name(numbered(name, taken)) for name in indices)

    def visit(part: Node) -> Node | None:
        if isinstance(part, Reduce) or (isinstance(part, Name) and part.name in node.formula.free_axes):
            return None
        if isinstance(part, Access):
            return replace(part, indices=new) if part.indices == old else None
        parts = [visit(child) for child in children(part)]
        if any(child is None for child in parts):
            return None
        following = iter(parts)
        return map_children(part, lambda _: next(following))  # type: ignore[arg-type, return-value]

    body = visit(node.formula.body)
    if body is None or len({name.name for name in new}) != len(indices):
        return None
    formula = Formula(Access(node.formula.output.tensor, new), body)  # type: ignore[arg-type]
    sizes = {name.name: extents[axis] for name, axis in zip(new, indices, strict=True)}
    return replace(node, output=output, formula=formula, extents=MappingProxyType(sizes))


def _renamed(node: Node, tensors: Mapping[str, str], names: Mapping[str, str]) -> Node:
    """The tree with other names; a tensor and an axis may have the same one."""
    node = map_children(node, lambda child: _renamed(child, tensors, names))
    match node:
        case Access(tensor):
            return replace(node, tensor=tensors[tensor], span=None)
        case Name(name):
            return Name(names.get(name, name))
        case Reduce():
            return replace(node, axes=tuple(names[axis] for axis in node.axes), span=None)
        case _:
            return replace(node, span=None)


def _tidy(
    node: Equation, constants: Mapping[str, int | float], extents: Mapping[str, int], bindings: Mapping[str, str]
) -> Equation:
    """The equation with those constants, extents and bindings that its formula names."""
    parts = [*walk(node.formula.output), *walk(node.formula.body)]
    names = {part.name for part in parts if isinstance(part, Name)}
    tensors = {part.tensor for part in parts if isinstance(part, Access)}
    every = axes(node.formula, constants)
    return replace(
        node,
        constants=MappingProxyType({name: value for name, value in constants.items() if name in names}),
        extents=MappingProxyType({axis: extents[axis] for axis in every}),
        bindings=MappingProxyType(
            {local: bound for local, bound in bindings.items() if local in tensors or (local in names - set(every))}
        ),
    )


def with_body(node: Equation, body: Expr, bindings: Mapping[str, str]) -> Equation:
    """The equation with another body, which reads `bindings` besides what it read."""
    changed = replace(node, formula=Formula(node.formula.output, body))
    return _tidy(changed, node.constants, node.extents, {**node.bindings, **bindings})
