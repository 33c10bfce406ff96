"""Equations joined, so that fewer activations go through memory: a graph into a graph of the same values.

1. Derivatives and sums are told from results that are there already (`results.py`).
2. *Epilogue*: an elementwise equation that alone reads a reduction, cell by cell, takes the reduction into its body.

       before   z[n,k] = sum(c) x[n,c]*w[c,k] + b[k];   a[n,k] = max(z[n,k], 0)
       after    a[n,k] = max(sum(c) x[n,c]*w[c,k] + b[k], 0)

3. *Recomputation*: an elementwise equation goes into all equations that read it, where this saves more memory traffic
   than it costs in arithmetic (`gain`); never into the terms of a product, which is bound by arithmetic.

Every node stays an ordinary equation. Wanted values, and the values of inputs, keep their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Name,
    Negative,
    Node,
    Reduce,
    children,
    walk,
)
from pellucid.network.graph import Equation, Graph, Value, View
from pellucid.network.graph import Node as GraphNode
from pellucid.network.merge import accesses_of, is_elementwise, merged, reads_inside, reshaped, writes_whole
from pellucid.network.results import DEAR, by_results

__all__ = ["fuse", "gain"]

# Operations that vectors of floats do in the time in which a byte comes from beyond the near caches and goes there:
# some 16 operations a cycle, some 8 bytes a cycle.
OPERATIONS_PER_BYTE = 2.0
# What a division and a function of `DEAR` (a polynomial and more) cost, in additions.
DIVISION, FUNCTION = 6.0, 20.0
# Formulas stay of a size that can be printed, and that compiles in the time of the equations that they are made of.
LARGEST_BODY = 160


def fuse(graph: Graph, wanted: Collection[str], updates: Mapping[str, str] | None = None) -> Graph:
    """The graph with equations joined; `wanted` are values that must be made, under their names.

    `updates` (input -> value that takes its place) are wanted too; an equation that makes one stands behind all
    that read the old value.
    """
    updates = dict(updates or {})
    work = _Work(by_results(graph), {*wanted, *updates.values()})
    while work.recompute(single=True) or work.add_epilogues() or work.recompute(single=False):
        pass
    return work.graph.replace_nodes(tuple(_ordered(work, updates)), work.values)


class _Work:
    """A graph that is being changed: nodes by output, who reads each, and the place in the order that each would have
    by itself."""

    def __init__(self, graph: Graph, wanted: Collection[str]) -> None:
        self.graph = graph
        self.wanted = wanted
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: dict[str, GraphNode] = {node.output: node for node in graph.nodes}
        self.places = {node.output: place for place, node in enumerate(graph.nodes)}
        self.readers: dict[str, dict[str, None]] = {}
        for node in graph.nodes:
            self._read(node)
        for name in reversed(list(self.nodes)):
            self._drop_unread(name)

    def _read(self, node: GraphNode) -> None:
        for source in node.sources:
            self.readers.setdefault(source, {})[node.output] = None

    def _drop_unread(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is None or name in self.wanted or self.readers.get(name):
            return
        del self.nodes[name]
        for source in node.sources:
            self.readers[source].pop(node.output, None)
            self._drop_unread(source)

    def _replace(self, old: str, node: GraphNode) -> None:
        """Puts `node` where the node of `old` was."""
        before = self.nodes.pop(old)
        for source in before.sources:
            self.readers[source].pop(old, None)
        self._add(node, self.places[old])
        for source in before.sources:
            self._drop_unread(source)

    def _add(self, node: GraphNode, place: int) -> None:
        self.nodes[node.output] = node
        self.places[node.output] = place
        self._read(node)

    # ------------------------------------------------------------ elementwise equations into their readers
    def recompute(self, *, single: bool) -> bool:
        """Puts elementwise equations into those that read them; `single`: only those with one reader."""
        changed = False
        for name in list(self.nodes):
            node = self.nodes.get(name)
            if not isinstance(node, Equation) or name in self.wanted or not self.values[name].floating:
                continue
            readers = [self.nodes[reader] for reader in self.readers.get(name, ())]
            consumers = [reader for reader in readers if isinstance(reader, Equation)]
            if len(consumers) < len(readers) or not readers or (single and len(readers) > 1):
                continue
            if not is_elementwise(self.values, node) or gain(self.values, node, consumers) <= 0:
                continue
            joined = [merged(consumer, node) for consumer in consumers]
            if any(_size(consumer) > LARGEST_BODY for consumer in joined):
                continue
            for consumer in joined:
                self._replace(consumer.output, consumer)
            changed = True
        return changed

    # ------------------------------------------------------------ reductions into elementwise equations
    def add_epilogues(self) -> bool:
        """Puts reductions into the elementwise equation that alone reads them, views between them or not."""
        changed = False
        for name in reversed(list(self.nodes)):
            node = self.nodes.get(name)
            while isinstance(node, Equation) and (found := self._epilogue(node)) is not None:
                place = self.places[node.output]
                self._put(node, found)
                self.places[found.equation.output] = place
                node, changed = self.nodes[found.equation.output], True
        return changed

    def _epilogue(self, node: Equation) -> _Epilogue | None:
        if not (_is_reduction(node) and writes_whole(self.values, node)):
            return None
        last = node.output
        while True:
            readers = self.readers.get(last, {})
            if last in self.wanted or len(readers) != 1:
                return None
            reader = self.nodes[next(iter(readers))]
            if isinstance(reader, Equation):
                break
            last = reader.output
        shape = self.values[node.output].shape
        if not is_elementwise(self.values, reader):
            return None
        if self.values[reader.output].shape != shape:
            return self._reshaped(node, reader, last)
        consumer = replace(reader, bindings={a: node.output if b == last else b for a, b in reader.bindings.items()})
        return self._checked(node, _Epilogue(reader.output, consumer))

    def _reshaped(self, node: Equation, reader: Equation, last: str) -> _Epilogue | None:
        """The epilogue over the reduction's own axes, its other operands and its result seen with other shapes."""
        shape = self.values[node.output].shape
        output = _fresh(f"{reader.output}.whole", self.values)
        consumer = reshaped(reader, output, node.formula.free_axes, node.extents)
        if consumer is None:
            return None
        views, bindings = list[View](), dict[str, str]()
        for local, bound in consumer.bindings.items():
            value = self.values[bound]
            if bound == last:
                bindings[local] = node.output
            elif not value.shape or value.shape == shape:
                bindings[local] = bound
            else:
                views.append(View(_fresh(f"{bound}.view", {**self.values, **dict.fromkeys(v.output for v in views)}), bound))
                bindings[local] = views[-1].output
        return self._checked(node, _Epilogue(reader.output, replace(consumer, bindings=bindings), tuple(views)))

    def _checked(self, node: Equation, found: _Epilogue) -> _Epilogue | None:
        """The epilogue, if it reads nothing of the reduction but the cell in whose place it writes."""
        reads = accesses_of(found.equation, node.output)
        cell = found.equation.formula.output.indices
        if reads is None or any((read.indices if isinstance(read, Access) else ()) != cell for read in reads):
            return None
        joined = merged(found.equation, node)
        return replace(found, equation=joined) if _size(joined) <= LARGEST_BODY else None

    def _put(self, node: Equation, found: _Epilogue) -> None:
        place, shape = self.places[node.output], self.values[node.output].shape
        for view in found.views:
            self.values[view.output] = Value(view.output, shape, self.values[view.source].dtype)
            self._add(view, place)
        new = found.equation
        if new.output == found.replaces:
            self._replace(found.replaces, new)
            return
        self.values[new.output] = Value(new.output, shape, self.values[found.replaces].dtype)
        self._add(new, place)
        self._replace(found.replaces, View(found.replaces, new.output))


@dataclass(frozen=True)
class _Epilogue:
    """An equation that takes the place of the value `replaces` (or is what that becomes a view of), and views of its
    operands that it needs."""

    replaces: str
    equation: Equation
    views: tuple[View, ...] = ()


def _fresh(wish: str, taken: Collection[str]) -> str:
    name, number = wish, 0
    while name in taken:
        number += 1
        name = f"{wish}.{number}"
    return name


def _is_reduction(node: Equation) -> bool:
    """Whether the equation reduces to values (a winner's position is an integer and nothing is added to it)."""
    tops = list(_top_reductions(node.formula.body))
    return bool(tops) and not any(top.op.startswith("arg") for top in tops)


def _top_reductions(node: Node) -> Iterator[Reduce]:
    if isinstance(node, Reduce):
        yield node
    else:
        for child in children(node):
            yield from _top_reductions(child)


def _size(node: Equation) -> int:
    return sum(1 for _ in walk(node.formula.body))


# ------------------------------------------------------------ what recomputation costs


def gain(values: Mapping[str, Value], node: Equation, consumers: Collection[Equation]) -> float:
    """Bytes of memory traffic saved if `node` is computed inside all `consumers`, less its arithmetic in bytes.

    Saved: the node's own pass (what it reads, what it writes) and every read of its output. Paid: its operands, read
    where the consumer does not read them already, and its operations, as often as the consumers evaluate them more
    than once. 0 or less too where a consumer cannot take it: a product, a read past the border, a look-up.
    """
    width = {"float32": 4, "float64": 8, "int64": 8}
    size = {name: value.size * width[value.dtype] for name, value in values.items()}
    saved = float(size[node.output] + sum(size[source] for source in node.sources))
    evaluations = 0.0
    for consumer in consumers:
        reads = accesses_of(consumer, node.output)
        if reads is None or any(isinstance(read, Access) and not reads_inside(values, consumer, read) for read in reads):
            return 0.0
        count = 0
        for read, rounds, in_product in _evaluations(consumer, set(reads)):
            if in_product and isinstance(read, Access):
                return 0.0
            evaluations += rounds
            count += 1
        new = sum(size[source] for source in node.sources if source not in consumer.sources)
        saved += count * (size[node.output] - new)
    again = max(0.0, evaluations - values[node.output].size)
    return saved - again * _operations(node, node.formula.body) / OPERATIONS_PER_BYTE


def _evaluations(node: Equation, reads: Collection[Access | Name]) -> Iterator[tuple[Access | Name, float, bool]]:
    """For every read (equal ones of one reduction once): how often it is made, and whether as a factor of a product."""
    seen = set[tuple[Node, Reduce | None]]()
    output = {part.name for index in node.formula.output.indices for part in walk(index) if isinstance(part, Name)}

    def visit(part: Node, scope: frozenset[str], inner: Reduce | None) -> Iterator[tuple[Access | Name, float, bool]]:
        if part in reads and (part, inner) not in seen:
            seen.add((part, inner))
            assert isinstance(part, Access | Name)
            rounds = prod(node.extents[axis] for axis in scope if axis in node.extents)
            fixed = _fixed_axes(inner) & scope - set(inner.axes) if inner else set[str]()
            yield part, rounds / prod(node.extents[axis] for axis in fixed), inner is not None and _is_product(inner)
        if isinstance(part, Reduce):
            names = {below.name for below in walk(part) if isinstance(below, Name)}
            scope, inner = frozenset(scope & names) | frozenset(part.axes), part
        for child in children(part):
            yield from visit(child, scope, inner)

    yield from visit(node.formula.body, frozenset(output), None)


def _fixed_axes(reduce: Reduce) -> set[str]:
    """Names that stand alone on a side of an equation among the conditions: others determine them."""
    equations = (part for part in reduce.conditions if isinstance(part, Compare) and part.op == "==")
    return {side.name for part in equations for side in (part.left, part.right) if isinstance(side, Name)}


def _is_product(reduce: Reduce) -> bool:
    """Whether what is summed is a product of arrays alone: such sums are bound by arithmetic."""

    def factors(part: Node) -> int:
        if isinstance(part, Access):
            return 1
        if isinstance(part, Binary) and part.op == "*":
            left, right = factors(part.left), factors(part.right)
            return left + right if left and right else 0
        return 0

    body = reduce.body.operand if isinstance(reduce.body, Negative) else reduce.body
    return reduce.op == "sum" and factors(body) > 1


def _operations(node: Equation, part: Node) -> float:
    """Operations for one cell, in additions; what is made of constants alone is computed once."""
    if not any(isinstance(below, Access) or (isinstance(below, Name) and below.name in node.bindings) for below in walk(part)):
        return 0.0
    inside = sum(_operations(node, child) for child in children(part) if not isinstance(part, Access))
    match part:
        case Binary("/"):
            return inside + DIVISION
        case Binary("**"):
            return inside + (FUNCTION if not _small_power(part) else 1.0)
        case Call(function) if function in DEAR:
            return inside + FUNCTION
        case Binary() | Call() | Compare() | Bracket() | Negative():
            return inside + 1.0
        case _:
            return inside


def _small_power(part: Binary) -> bool:
    return getattr(part.right, "value", None) in (1, 2, 3)


# ------------------------------------------------------------ order


def _ordered(work: _Work, updates: Mapping[str, str]) -> Iterator[GraphNode]:
    """The nodes by their places, each behind what it reads, and what updates an input behind what reads the old value."""
    nodes = work.nodes
    ordered = {name: nodes[name] for name in sorted(nodes, key=lambda name: work.places[name])}

    def origin(name: str) -> str:
        node = nodes.get(name)
        return origin(node.source) if isinstance(node, View) else name

    behind: dict[str, list[str]] = {}
    for state, value in updates.items():
        old = [name for name, node in ordered.items() if state in {origin(source) for source in node.sources}]
        behind.setdefault(origin(value), []).extend(old)
    done = set(work.graph.inputs)
    for first in ordered:
        waiting = [(first, False)]
        open_ = set[str]()
        while waiting:
            name, ready = waiting.pop()
            if name in done:
                continue
            if ready:
                done.add(name)
                yield nodes[name]
            elif name not in open_:
                open_.add(name)
                waiting.append((name, True))
                waiting += [(before, False) for before in (*behind.get(name, ()), *nodes[name].sources)]
