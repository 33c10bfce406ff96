"""What follows from some inputs alone, computed when they change and not at every call: one graph becomes two.

    before   U = G w G^T;   s[c] = g[c] / sqrt(v[c] + E);   y = (... x ... U ...)*s[c] + b[c]
    first    U = G w G^T;   s[c] = g[c] / sqrt(v[c] + E)
    then     y = (... x ... U ...)*s[c] + b[c]

For predictions: parameters change in training, images with every call.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pellucid.network.graph import Graph, View
from pellucid.network.graph import Node as GraphNode

__all__ = ["InTwo", "follows_from", "in_two"]


@dataclass(frozen=True)
class InTwo:
    """`first` makes the values `between`, which are inputs of `then`."""

    first: Graph
    then: Graph
    between: tuple[str, ...]


def follows_from(graph: Graph, kept: Collection[str]) -> set[str]:
    """The inputs `kept`, and the values that follow from them and from tables alone."""
    early = {*kept, *graph.tables}
    for node in graph.nodes:
        if early.issuperset(node.sources):
            early.update(node.outputs)
    return early


def in_two(graph: Graph, kept: Collection[str], outputs: Collection[str]) -> InTwo:
    """The graph in two parts, of which the first reads inputs of `kept` alone."""
    early = follows_from(graph, kept)
    made = [node for node in graph.nodes if node.output in early]
    # A view costs nothing: the second part sees what it needs by itself.
    needed, then = set(outputs), list[GraphNode]()
    for node in reversed(graph.nodes):
        if node.output not in early or (isinstance(node, View) and node.output in needed):
            then.append(node)
            needed.update(node.sources)
    between = tuple(name for node in made if not isinstance(node, View) for name in node.outputs if name in needed)
    second = graph.replace_nodes(tuple(reversed(then)))
    for name in between:
        second.input(name, graph.values[name].shape, graph.values[name].dtype)
    return InTwo(graph.replace_nodes(tuple(made)), second, between)
