"""Values read where they would be computed a second time.

A gradient equation is derived from one formula and reads that formula's operands. What it computes of them is often
there already, and where it is, the operand need not be kept:

    before   a[n,c] = max(z[n,c], 0);    dz[n,c] = g[n,c] * [z[n,c] > 0]
    after    a[n,c] = max(z[n,c], 0);    dz[n,c] = g[n,c] * [a[n,c] > 0]

Two grounds: a part of a later formula is the whole of an earlier one (`tanh(z)`, `exp(y - largest)`, a sum), or a
rule of `CONDITIONS` says how a comparison of the operand is told from the result. Both keep every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from pellucid.language.binding import names_of, numbered
from pellucid.language.parse import parse_expression
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    map_children,
    walk,
)
from pellucid.network.graph import Equation, Graph
from pellucid.network.graph import Node as GraphNode
from pellucid.network.merge import with_body, writes_whole
from pellucid.network.traffic import DEAR

__all__ = ["CONDITIONS", "ConditionRule", "by_results"]


@dataclass(frozen=True)
class ConditionRule:
    """Where `a = result` for an operand `z` and numbers `L`, `H` that satisfy `holds`, the conditions on `z` (keys)
    are those on `a` (values), infinities and NaN included."""

    result: str
    conditions: Mapping[str, str]
    holds: Callable[[Mapping[str, float]], bool] = field(default=lambda numbers: True)


CONDITIONS = (
    ConditionRule("max(z, L)", {"z > L": "a > L"}),
    ConditionRule("min(z, H)", {"z < H": "a < H"}),
    ConditionRule(
        "min(max(z, L), H)", {"z > L": "a > L", "max(z, L) < H": "a < H"}, lambda numbers: numbers["L"] < numbers["H"]
    ),
    ConditionRule("where(z > 0, z, L*z)", {"z > 0": "a > 0"}, lambda numbers: numbers["L"] >= 0),
)


@dataclass(frozen=True)
class _Result:
    """An equation whose output is worth reading: for all of its body (`dear`), or for conditions on `operand`."""

    node: Equation
    dear: bool
    rule: ConditionRule | None = None
    operand: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])


def by_results(graph: Graph) -> Graph:
    """The graph whose equations read what others compute instead of computing it again; nodes in an order that runs."""
    nodes = {node.output: _factored(node) if isinstance(node, Equation) else node for node in graph.nodes}
    results: dict[str, list[_Result]] = {}  # by the first value that each reads
    for node in nodes.values():
        result = _result(graph, node) if isinstance(node, Equation) else None
        if result is not None:
            results.setdefault(result.node.sources[0], []).append(result)
    done: dict[str, GraphNode | None] = dict.fromkeys(graph.inputs)
    for output, node in nodes.items():
        if output in done:
            continue
        changed = node
        for source in node.sources:
            for result in results.get(source, ()):
                # One that comes later may be made now, if what it reads is there.
                made = result.node.output
                known = made in done or all(name in done for name in result.node.sources)
                if not isinstance(changed, Equation) or made == output or not known:
                    continue
                before, changed = changed, _reading(graph, changed, result)
                if changed is not before:
                    done.setdefault(made, result.node)
        done[output] = changed
        done |= dict.fromkeys(name for name in node.outputs if name != output)
    return graph.replace_nodes(tuple(node for node in done.values() if node is not None))


def _result(graph: Graph, node: Equation) -> _Result | None:
    if not (node.sources and writes_whole(graph.values, node) and graph.values[node.output].floating):
        return None
    dear = any(
        isinstance(part, Reduce) or (isinstance(part, Call) and part.function in DEAR)
        for part in walk(node.formula.body)
    )
    for rule in CONDITIONS:
        found = dict[str, Expr]()
        if not _matches(_expression(rule.result), node.formula.body, found):
            continue
        operand = found.pop("z")
        numbers = {name: number for name in found if (number := _number(node, found[name])) is not None}
        whole = isinstance(operand, Access) and operand.indices == node.formula.output.indices
        if isinstance(operand, Access) and whole and len(numbers) == len(found) and rule.holds(numbers):
            return _Result(node, dear, rule, node.bindings[operand.tensor], numbers)
    return _Result(node, dear) if dear else None


def _reading(graph: Graph, node: Equation, result: _Result) -> Equation:
    """The equation, reading the result where that serves."""
    if not set(result.node.sources) <= set(node.sources):
        return node
    output = result.node.output
    local = next((name for name, bound in node.bindings.items() if bound == output), None)
    local = local or numbered(result.node.formula.output.tensor, {*node.bindings, *node.constants, *node.extents})
    body = node.formula.body
    if result.rule is not None:
        body = _with_conditions(graph, node, result.rule, result, local)
    if result.dear:
        body = _with_parts(node, result.node, body, local)
    return node if body is node.formula.body else with_body(node, body, {local: output})


def _factored(node: Equation) -> Equation:
    """Factors that a sum does not run over, outside of it.

    before   dm[c] = sum(n) g[n,c]*scale[c]      after   dm[c] = scale[c] * sum(n) g[n,c]
    """

    def visit(part: Node) -> Node:
        part = map_children(part, visit)
        if isinstance(part, Reduce) and part.op == "sum" and not isinstance(part.body, Number):
            inside, outside = list[Expr](), list[Expr]()
            for factor in _factors(part.body):
                (inside if names_of((factor,)) & set(part.axes) else outside).append(factor)
            if inside and outside:
                return simplify(_product([*outside, Reduce("sum", part.axes, part.conditions, _product(inside))]))
        return part

    body = visit(node.formula.body)
    return node if body is node.formula.body else with_body(node, body, {})  # type: ignore[arg-type]


def _factors(body: Expr) -> Iterator[Expr]:
    match body:
        case Binary("*", left, right):
            yield from _factors(left)
            yield from _factors(right)
        case Negative(operand):
            yield Number(-1)
            yield from _factors(operand)
        case Binary("/", left, Number() | Name() as right):
            yield from _factors(left)
            yield Binary("/", Number(1), right)
        case _:
            yield body


def _product(factors: Sequence[Expr]) -> Expr:
    result = factors[0]
    for factor in factors[1:]:
        result = Binary("*", result, factor)
    return result


# ------------------------------------------------------------ parts that are known


def _with_parts(node: Equation, producer: Equation, body: Expr, local: str) -> Expr:
    """The body with every part that equals the producer's body replaced by a read of its output."""
    scopes = set(node.extents)

    def visit(part: Node) -> Node:
        if type(part) is type(producer.formula.body):
            found = dict[str, str]()
            if _equal(producer, producer.formula.body, node, part, found):
                axes = producer.formula.free_axes
                if all(axis in found and found[axis] in scopes for axis in axes):
                    return _read(local, tuple(found[axis] for axis in axes))
        return map_children(part, visit)

    return visit(body)  # type: ignore[return-value]


def _read(local: str, axes: tuple[str, ...]) -> Expr:
    return Access(local, tuple(Name(axis) for axis in axes)) if axes else Name(local)


def _equal(producer: Equation, mine: Node, node: Equation, other: Node, axes: dict[str, str]) -> bool:
    """Whether two parts of two equations are one; `axes` collects which axis is which, with equal extents."""
    if type(mine) is not type(other):
        return False
    if isinstance(mine, Name) and isinstance(other, Name):
        return _equal_names(producer, mine.name, node, other.name, axes)
    if isinstance(mine, Access) and isinstance(other, Access):
        if producer.bindings[mine.tensor] != node.bindings[other.tensor]:
            return False
    elif isinstance(mine, Reduce) and isinstance(other, Reduce):
        if mine.op != other.op or len(mine.axes) != len(other.axes):
            return False
        pairs = zip(mine.axes, other.axes, strict=True)
        if not all(_equal_names(producer, one, node, two, axes) for one, two in pairs):
            return False
    elif _own_text(mine) != _own_text(other):
        return False
    inner, others = tuple(children(mine)), tuple(children(other))
    return len(inner) == len(others) and all(
        _equal(producer, one, node, two, axes) for one, two in zip(inner, others, strict=True)
    )


def _own_text(node: Node) -> object:
    """What a node says besides its sub-nodes."""
    if isinstance(node, Number):
        return (type(node.value), node.value)
    return getattr(node, "op", None) or getattr(node, "function", None)


def _equal_names(producer: Equation, mine: str, node: Equation, other: str, axes: dict[str, str]) -> bool:
    if mine in producer.extents:
        if other not in node.extents or producer.extents[mine] != node.extents[other]:
            return False
        return axes.setdefault(mine, other) == other and sum(name == other for name in axes.values()) == 1
    if other in node.extents:
        return False
    if mine in producer.constants:
        return producer.constants[mine] == node.constants.get(other)
    return producer.bindings[mine] == node.bindings.get(other)


# ------------------------------------------------------------ conditions told from the result


def _with_conditions(graph: Graph, node: Equation, rule: ConditionRule, result: _Result, local: str) -> Expr:
    """The body with conditions on the result's operand replaced, where it then reads the operand no more."""
    own = {name for name, bound in node.bindings.items() if bound == result.operand}
    shape = graph.values[result.operand].shape
    rules = [(_condition(old), _condition(new)) for old, new in rule.conditions.items()]

    def visit(part: Node) -> Node:
        if isinstance(part, Compare):
            for old, new in rules:
                found = dict[str, Expr]()
                access = found.pop("z") if _matches(old, part, found) else None
                if not (isinstance(access, Access) and access.tensor in own):
                    continue
                sizes = tuple(node.extents.get(index.name, 0) for index in access.indices if isinstance(index, Name))
                if sizes == shape and all(_number(node, found[name]) == result.numbers[name] for name in found):
                    numbers = {name: Number(value) for name, value in result.numbers.items()}
                    return _filled(new, {**numbers, **found, "a": Access(local, access.indices)})
        return map_children(part, visit)

    body = visit(node.formula.body)
    left = any(isinstance(part, Access) and part.tensor in own for part in walk(body))
    return node.formula.body if left else body  # type: ignore[return-value]


def _matches(pattern: Node, node: Node, found: dict[str, Expr]) -> bool:
    """Whether the node is the pattern with expressions for its names, which `found` collects."""
    if isinstance(pattern, Name):
        return found.setdefault(pattern.name, node) == node  # type: ignore[arg-type]
    if type(pattern) is not type(node) or _own_text(pattern) != _own_text(node):
        return False
    inner, others = tuple(children(pattern)), tuple(children(node))
    return len(inner) == len(others) and all(_matches(a, b, found) for a, b in zip(inner, others, strict=True))


def _condition(text: str) -> Condition:
    bracket = _expression(f"[{text}]")
    assert isinstance(bracket, Bracket)
    return bracket.condition


@cache
def _expression(text: str) -> Expr:
    return parse_expression(text)


def _filled(pattern: Node, values: Mapping[str, Expr]) -> Node:
    if isinstance(pattern, Name):
        return values[pattern.name]
    return map_children(pattern, lambda child: _filled(child, values))


def _number(node: Equation, expression: Expr) -> float | None:
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return node.constants.get(expression.name)
    return None
