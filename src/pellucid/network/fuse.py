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

from pellucid.language.syntax import Access, walk
from pellucid.network.graph import Equation, Graph, Value, View, fresh
from pellucid.network.graph import Node as GraphNode
from pellucid.network.merge import accesses_of, is_elementwise, merged, reshaped, writes_whole
from pellucid.network.results import by_results
from pellucid.network.traffic import gain, takes_epilogue

__all__ = ["fuse"]

# Formulas stay of a size that can be printed, and that compiles in the time of the equations that they are made of.
LARGEST_BODY = 160


def fuse(graph: Graph, wanted: Collection[str], updates: Mapping[str, str] | None = None) -> Graph:
    """The graph with equations joined; `wanted` are values that must be made, under their names.

    `updates` (input -> value that takes its place) are wanted too; an epilogue that makes one stands behind what reads
    the old value, so that it can be written in its place.
    """
    work = _Work(by_results(graph), wanted, updates or {})
    while work.recompute(single=True) or work.add_epilogues() or work.recompute(single=False):
        pass
    return work.graph.replace_nodes(tuple(work.ordered()), work.values)


class _Work:
    """A graph that is being changed: nodes by output, who reads each, and the place in the order that each would have
    by itself."""

    def __init__(self, graph: Graph, wanted: Collection[str], updates: Mapping[str, str]) -> None:
        self.graph = graph
        self.wanted = {*wanted, *updates.values()}
        self.state_of = {value: state for state, value in updates.items()}
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: dict[str, GraphNode] = {node.output: node for node in graph.nodes}
        # By which of its values a node with several is called.
        self.called = {name: node.output for node in graph.nodes for name in node.outputs}
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
        if node is None or any(made in self.wanted or self.readers.get(made) for made in node.outputs):
            return
        del self.nodes[name]
        for source in node.sources:
            self.readers[source].pop(node.output, None)
            self._drop_unread(self.called.get(source, source))

    def _replace(self, old: str, node: GraphNode) -> None:
        """Puts `node` where the node of `old` was."""
        before = self.nodes.pop(old)
        for source in before.sources:
            self.readers[source].pop(old, None)
        self._add(node, self.places[old])
        for source in before.sources:
            self._drop_unread(self.called.get(source, source))

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
                self._put(node, found)
                node, changed = self.nodes[found.equation.output], True
        return changed

    def _epilogue(self, node: Equation) -> _Epilogue | None:
        if not (takes_epilogue(node) and writes_whole(self.values, node)):
            return None
        last = node.output
        while True:
            readers = self.readers.get(last, {})
            if last in self.wanted or len(readers) != 1:
                return None
            reader = self.nodes[next(iter(readers))]
            if isinstance(reader, Equation):
                break
            if not isinstance(reader, View):
                return None
            last = reader.output
        shape = self.values[node.output].shape
        if not is_elementwise(self.values, reader):
            return None
        result = self.values[reader.output].shape
        if prod(result) != prod(shape):
            return None
        if result != shape:
            return self._reshaped(node, reader, last)
        consumer = replace(reader, bindings={a: node.output if b == last else b for a, b in reader.bindings.items()})
        return self._checked(node, _Epilogue(reader.output, consumer))

    def _reshaped(self, node: Equation, reader: Equation, last: str) -> _Epilogue | None:
        """The epilogue over the reduction's own axes, its other operands and its result seen with other shapes."""
        shape = self.values[node.output].shape
        output = fresh(f"{reader.output}.whole", self.values)
        consumer = reshaped(reader, output, node.formula.free_axes, node.extents)
        if consumer is None:
            return None
        views, bindings, taken = list[View](), dict[str, str](), set(self.values)
        for local, bound in consumer.bindings.items():
            value = self.values[bound]
            if bound == last:
                bindings[local] = node.output
            elif not value.shape or value.shape == shape:
                bindings[local] = bound
            else:
                views.append(View(fresh(f"{bound}.view", taken), bound))
                bindings[local] = views[-1].output
                taken.add(bindings[local])
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
        state = self.state_of.get(found.replaces)
        old_read = [] if state is None else [self.places[name] for name in self._reading(state) - {found.replaces}]
        new = found.equation
        if new.output == found.replaces:
            self._replace(found.replaces, new)
        else:
            self.values[new.output] = Value(new.output, shape, self.values[found.replaces].dtype)
            self._add(new, place)
            self._replace(found.replaces, View(found.replaces, new.output))
        self.places[new.output] = max([place, *old_read])

    def _reading(self, name: str) -> set[str]:
        """The equations that read a value or a view of it."""
        readers = list(self.readers.get(name, ()))
        views = [reader for reader in readers if isinstance(self.nodes[reader], View)]
        return set(readers).difference(views).union(*(self._reading(view) for view in views))

    def ordered(self) -> Iterator[GraphNode]:
        """The nodes by their places, each behind what it reads."""
        done = set(self.graph.inputs)
        for first in sorted(self.nodes, key=lambda name: self.places[name]):
            waiting = [(first, False)]
            while waiting:
                name, ready = waiting.pop()
                if name in done:
                    continue
                if ready:
                    done.add(name)
                    yield self.nodes[name]
                else:
                    waiting.append((name, True))
                    sources = self.nodes[name].sources
                    waiting += [(self.called.get(before, before), False) for before in sources]


@dataclass(frozen=True)
class _Epilogue:
    """An equation that takes the place of the value `replaces` (or is what that becomes a view of), and views of its
    operands that it needs."""

    replaces: str
    equation: Equation
    views: tuple[View, ...] = ()


def _size(node: Equation) -> int:
    return sum(1 for _ in walk(node.formula.body))
