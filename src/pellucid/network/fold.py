"""What scales and shifts the channels of a product, taken into its weights.

    before   a[n,k] = max(((sum(c) x[n,c]*w[c,k]) - mean[k])*scale[k] + b[k], 0)
    after    w1[c,k] = w[c,k]*scale[k];   b1[k] = (0 - mean[k])*scale[k] + b[k]
             a[n,k] = max((sum(c) x[n,c]*w1[c,k]) + b1[k], 0)

For predictions, where weights, statistics and biases are inputs that are kept: `w1` and `b1` are made once
(`prepare.py`). Results are equal to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from types import MappingProxyType

from pellucid.language.binding import names_of, numbered, tensors_of
from pellucid.language.simplify import simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Expr,
    Formula,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    map_children,
    walk,
)
from pellucid.network.graph import Equation, Graph, Value
from pellucid.network.graph import Node as GraphNode
from pellucid.network.merge import accesses_of, is_elementwise, merged, with_body, writes_whole

__all__ = ["folded"]


def folded(graph: Graph, kept: Collection[str], wanted: Collection[str]) -> Graph:
    """The graph with scales and shifts folded that follow from inputs of `kept` alone, as the weights must too.

    They stand in the equation of the sum or in the elementwise one that alone reads it; `wanted` are values that must
    be made.
    """
    early, values = {*kept, *graph.tables}, dict(graph.values)
    readers = Counter(source for node in graph.nodes for source in node.sources)
    nodes: dict[str, GraphNode] = {}
    for node in graph.nodes:
        nodes[node.output] = node
        if all(source in early for source in node.sources):
            early.update(node.outputs)
            continue
        for source in node.sources:
            if readers[source] > 1 or source in wanted:
                continue
            found = _taken_in(graph, node, nodes.get(source), early)
            if found is not None:
                del nodes[source], nodes[node.output]
                nodes |= {made.output: made for made in found}
                for made in found[:-1]:
                    names = [index.name for index in made.formula.output.indices if isinstance(index, Name)]
                    values[made.output] = Value(made.output, tuple(made.extents[name] for name in names), graph.dtype)
                break
    return graph.replace_nodes(tuple(nodes.values()), values)


def _taken_in(
    graph: Graph, node: GraphNode, before: GraphNode | None, early: Collection[str]
) -> tuple[Equation, ...] | None:
    """Equations in the place of a sum, `before`, and of what scales and shifts it cell by cell, `node`."""
    if not (isinstance(node, Equation) and isinstance(before, Equation)):
        return None
    if not (is_elementwise(graph.values, node) and writes_whole(graph.values, before)):
        return None
    reads = accesses_of(node, before.output)
    cell = node.formula.output.indices
    if reads is None or any(not isinstance(read, Access) or read.indices != cell for read in reads):
        return None
    if graph.values[node.output].shape != graph.values[before.output].shape:
        return None
    return _folded(merged(node, before), graph, early)


def _folded(node: Equation, graph: Graph, early: Collection[str]) -> tuple[Equation, Equation, Equation] | None:
    """The equations of the weights, of the shift, and of the sum that reads them; None where it is no such sum."""
    sums = [part for part in walk(node.formula.body) if isinstance(part, Reduce)]
    if len(sums) != 1 or sums[0].op != "sum":
        return None
    line = _line(node.formula.body, sums[0])
    channel = _channel(node, line, early) if line is not None else None
    weights = _weights(node, sums[0], channel, early) if channel is not None else None
    if line is None or channel is None or weights is None:
        return None
    slope, shift = (simplify(part) for part in line)
    if slope == Number(1):
        return None
    taken = {*node.bindings, *node.constants, *node.extents, node.formula.output.tensor}
    axes = [channel if index == Name(channel) else None for index in weights.indices]
    axes = [name or numbered(f"a{number}", taken) for number, name in enumerate(axes)]
    shape = graph.values[node.bindings[weights.tensor]].shape
    scaled, shifted = numbered("weights", taken), numbered("shift", taken)
    cell = tuple(Name(axis) for axis in axes)
    first = Formula(Access(scaled, cell), Binary("*", Access(weights.tensor, cell), slope))
    second = Formula(Access(shifted, (Name(channel),)), shift)
    made = (
        _equation(node, f"{node.output}.weights", first, dict(zip(axes, shape, strict=True))),
        _equation(node, f"{node.output}.shift", second, {channel: node.extents[channel]}),
    )

    def visit(part: Node) -> Node:
        return Access(scaled, weights.indices) if part == weights else map_children(part, visit)

    body = Binary("+", visit(sums[0]), Access(shifted, (Name(channel),)))  # type: ignore[arg-type]
    return *made, with_body(node, body, {scaled: made[0].output, shifted: made[1].output})


def _line(part: Expr, total: Reduce) -> tuple[Expr, Expr] | None:
    """Slope and shift of a part that is a line in the sum."""
    if part == total:
        return Number(1), Number(0)
    if not _contains(part, total):
        return Number(0), part
    if isinstance(part, Negative):
        inner = _line(part.operand, total)
        return inner and (Negative(inner[0]), Negative(inner[1]))
    if not isinstance(part, Binary):
        return None
    left, right = _line(part.left, total), _line(part.right, total)
    if left is None or right is None:
        return None
    if part.op in ("+", "-"):
        return Binary(part.op, left[0], right[0]), Binary(part.op, left[1], right[1])
    if part.op in ("*", "/") and not _contains(part.right, total):
        return Binary(part.op, left[0], part.right), Binary(part.op, left[1], part.right)
    if part.op == "*" and not _contains(part.left, total):
        return Binary("*", part.left, right[0]), Binary("*", part.left, right[1])
    return None


def _contains(part: Node, total: Reduce) -> bool:
    return any(below == total for below in walk(part))


def _channel(node: Equation, line: tuple[Expr, Expr], early: Collection[str]) -> str | None:
    """The one axis that slope and shift have, where all that they read is early and read at it alone."""
    names = names_of(line)
    axes = names & node.extents.keys()
    reads = tensors_of(line) | (names - axes - node.constants.keys())
    if len(axes) != 1 or any(node.bindings[local] not in early for local in reads):
        return None
    (channel,) = axes
    indices = [part.indices for side in line for part in walk(side) if isinstance(part, Access)]
    return channel if all(index == (Name(channel),) for index in indices) else None


def _weights(node: Equation, total: Reduce, channel: str, early: Collection[str]) -> Access | None:
    """The one early factor of the product, if the channel is a bare index of it, once."""
    if total.conditions or not (isinstance(total.body, Binary) and total.body.op == "*"):
        return None
    factors = (total.body.left, total.body.right)
    found = [part for part in factors if isinstance(part, Access) and node.bindings[part.tensor] in early]
    if len(found) != 1 or sum(channel in names_of((index,)) for index in found[0].indices) != 1:
        return None
    others = [part for part in walk(node.formula.body) if isinstance(part, Access) and part.tensor == found[0].tensor]
    return found[0] if Name(channel) in found[0].indices and len(others) == 1 else None


def _equation(node: Equation, output: str, formula: Formula, extents: Mapping[str, int]) -> Equation:
    read = names_of((formula.body,)) | tensors_of((formula.body,))
    return Equation(
        output,
        formula,
        MappingProxyType({name: value for name, value in node.constants.items() if name in read}),
        MappingProxyType(dict(extents)),
        MappingProxyType({name: value for name, value in node.bindings.items() if name in read}),
    )
