"""One program for a whole batch and for shorter ones: rows that are not there count for nothing.

The equations of a batch of N images become equations that also hold for its first M rows. Two inputs say which those
are: `live[n]` is 1 for a row that is there and 0 for any other, `rows` is how many there are.

    before   z = (sum(n) loss[n]) / N                 with N = 32
    after    N = rows*1;  z = (sum(n) live[n]*loss[n]) / N

A sum over the batch is weighed by `live`, a constant that counts over the batch is computed from `rows`; an equation
that makes row n from rows n stays as it is. Derived from these equations, the gradient of a row that is not there is 0.
What is done is decided by comparing the graph with that of another batch: what the batch changes is what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType

from pellucid.language.binding import numbered
from pellucid.language.parse import parse
from pellucid.language.syntax import (
    Access,
    Call,
    Compare,
    Expr,
    Formula,
    Name,
    Node,
    Number,
    Reduce,
    map_children,
    walk,
)
from pellucid.network.graph import Equation, Graph, Loop, Value, View
from pellucid.network.graph import Node as GraphNode
from pellucid.network.images import loop_axis

__all__ = ["LIVE", "ROWS", "add_live", "serving_fewer"]

LIVE, ROWS = "live", "rows"
COUNT = parse("count = rows*K")


def add_live(graph: Graph) -> None:
    """Adds the inputs `live` and `rows` to a graph with a batch."""
    assert graph.images is not None, "there is a batch"
    graph.input(LIVE, (graph.images,), of_images=True)
    graph.input(ROWS, ())


def serving_fewer(graph: Graph, other: Graph) -> Graph | None:
    """The graph as one that also serves fewer rows; None where its equations mix rows in another way than by sums.

    `other` is the graph of the same network for another batch; both have the inputs of `add_live`. Applied to it, the
    answer is the same, and it is for each number of rows of which `other` may be the graph.
    """
    work = _Work(graph, other)
    if graph.inputs != other.inputs or not all(work.same_shape(name) for name in graph.inputs):
        return None
    nodes = list[GraphNode]()
    for mine, theirs in zip_longest(graph.nodes, other.nodes):
        if mine is None or theirs is None or mine.output != theirs.output or not work.same_shape(mine.output):
            return None
        if isinstance(mine, View) or isinstance(theirs, View):
            if mine != theirs:
                return None
            nodes.append(mine)
            continue
        if isinstance(mine, Loop) or isinstance(theirs, Loop):
            if not (isinstance(mine, Loop) and isinstance(theirs, Loop) and work.keeps_rows_apart(mine, theirs)):
                return None
            nodes.append(mine)
            continue
        if not (isinstance(mine, Equation) and isinstance(theirs, Equation)):
            return None
        found = work.rewritten(mine, theirs)
        if found is None:
            return None
        nodes += found
    return graph.replace_nodes(tuple(nodes), work.new)


class _Work:
    """Two graphs that are compared, and what is new in the one that is made."""

    def __init__(self, graph: Graph, other: Graph) -> None:
        self.graph = graph
        self.other = other
        self.batches = (graph.images or 0, other.images or 0)
        self.new: dict[str, Value] = {}
        # The values whose first axis is the batch.
        self.of_rows = set[str]()

    def same_shape(self, name: str) -> bool:
        """Whether a value has one shape in both, or one shape but for the batch, which is the first axis."""
        one, two = (graph.values[name].shape for graph in (self.graph, self.other))
        if one == two:
            return True
        if (one[:1], two[:1]) != ((self.batches[0],), (self.batches[1],)) or one[1:] != two[1:]:
            return False
        self.of_rows.add(name)
        return True

    def keeps_rows_apart(self, mine: Loop, theirs: Loop) -> bool:
        """Whether two loops differ in nothing but how many rows they make, each from rows of the same number."""
        same = replace(theirs, extents=mine.extents) == mine and all(self.same_shape(name) for name in mine.outputs)
        return same and self._differing(mine.extents, theirs.extents) == {loop_axis(mine, self.graph, self.of_rows)}

    def rewritten(self, mine: Equation, theirs: Equation) -> list[Equation] | None:
        """The equation for fewer rows, behind those of the counts that it reads; None where it is not known."""
        if mine.formula != theirs.formula or mine.bindings != theirs.bindings:
            return None
        axes = self._differing(mine.extents, theirs.extents)
        counted = self._differing(mine.constants, theirs.constants)
        if axes is None or counted is None or any(mine.extents[axis] != self.batches[0] for axis in axes):
            return None
        if not self._keeps_rows(mine, axes) or not counted.isdisjoint(_in_indices(mine.formula)):
            return None
        counts = [self._count(mine.constants[name]) for name in sorted(counted)]
        bindings = dict(mine.bindings) | {name: node.output for name, node in zip(sorted(counted), counts, strict=True)}
        constants = {name: value for name, value in mine.constants.items() if name not in counted}
        local = numbered(LIVE, {*bindings, *constants, *mine.extents, mine.formula.output.tensor})
        body = _weighed(mine.formula.body, axes, local)
        if body is None:
            return None
        if body != mine.formula.body:
            bindings[local] = LIVE
        formula = replace(mine.formula, body=body)
        made = replace(
            mine, formula=formula, constants=MappingProxyType(constants), bindings=MappingProxyType(bindings)
        )
        return [node for node in counts if self._is_new(node)] + [made]

    def _differing(self, mine: Mapping[str, float], theirs: Mapping[str, float]) -> set[str] | None:
        """The names of numbers that grow with the batch; None where one differs in another way."""
        if mine.keys() != theirs.keys():
            return None
        names = {name for name, number in mine.items() if number != theirs[name]}
        grow = (mine[name] * self.batches[1] == theirs[name] * self.batches[0] for name in names)
        return names if all(grow) else None

    def _keeps_rows(self, node: Equation, axes: set[str]) -> bool:
        """Whether rows are read at axes of the batch alone, and written at one."""
        indices = [
            part.indices[:1]
            for part in walk(node.formula.body)
            if isinstance(part, Access) and node.bindings[part.tensor] in self.of_rows
        ]
        if node.output in self.of_rows:
            indices.append(node.formula.output.indices[:1])
        free = [name for index in node.formula.output.indices[1:] for name in _names(index)]
        return axes.isdisjoint(free) and all(
            len(first) == 1 and isinstance(first[0], Name) and first[0].name in axes for first in indices
        )

    def _count(self, number: float) -> Equation:
        """The equation of a count that is `number` for the whole batch."""
        each = number / self.batches[0]
        constants = {"K": int(each) if each == int(each) else each}
        name = f"{ROWS}.{constants['K']}"
        return Equation(name, COUNT, MappingProxyType(constants), MappingProxyType({}), MappingProxyType({ROWS: ROWS}))

    def _is_new(self, count: Equation) -> bool:
        if count.output in self.new:
            return False
        self.new[count.output] = Value(count.output, (), self.graph.dtype)
        return True


def _weighed(body: Expr, axes: set[str], live: str) -> Expr | None:
    """The body with every sum over an axis of the batch weighed; None for another reduction over one."""
    refused = False

    def visit(part: Node) -> Node:
        nonlocal refused
        part = map_children(part, visit)
        over = axes.intersection(part.axes) if isinstance(part, Reduce) else ()
        if not isinstance(part, Reduce) or not over:
            return part
        if part.op != "sum":
            refused = True
        term = part.body
        for axis in sorted(over):
            there = Compare(">", Access(live, (Name(axis),)), Number(0))
            term = Call("where", (there, term, Number(0)))
        return replace(part, body=term)

    found = visit(body)
    return None if refused else found  # type: ignore[return-value]


def _in_indices(formula: Formula) -> set[str]:
    """The names that say where something is read or written, or over which axes a sum goes."""
    parts = list(walk(formula.output)) + [
        below
        for part in walk(formula.body)
        for inner in (part.indices if isinstance(part, Access) else part.conditions if isinstance(part, Reduce) else ())
        for below in walk(inner)
    ]
    return {part.name for part in parts if isinstance(part, Name)}


def _names(node: Node) -> Iterator[str]:
    return (part.name for part in walk(node) if isinstance(part, Name))
