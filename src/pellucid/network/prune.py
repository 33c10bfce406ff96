"""Before anything runs: equal nodes become one, and nodes that nothing needs are dropped."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from pellucid.network.graph import Concatenation, Equation, Graph, Node, View, rename_sources

__all__ = ["Pruned", "prune"]


@dataclass(frozen=True)
class Pruned:
    """A graph without waste; `names` says which of its values each wanted value of the old graph is."""

    graph: Graph
    names: Mapping[str, str]


def prune(graph: Graph, wanted: Iterable[str]) -> Pruned:
    """Merges nodes of the same formula, constants, extents and operands, then keeps what `wanted` depends on.

    Before: two gradients each ask which unit won the pool.   After: it is asked once.
    """
    same: dict[str, str] = {}
    first: dict[Hashable, tuple[str, ...]] = {}
    kept: list[Node] = []
    for old in graph.nodes:
        node = rename_sources(old, same)
        key = _key(graph, node)
        if key in first:
            same |= dict(zip(node.outputs, first[key], strict=True))
        else:
            first[key] = node.outputs
            kept.append(node)
    names = {name: same.get(name, name) for name in wanted}
    needed = set(names.values())
    alive: list[Node] = []
    for node in reversed(kept):
        if not needed.isdisjoint(node.outputs):
            alive.append(node)
            needed.update(node.sources)
    return Pruned(graph.replace_nodes(tuple(reversed(alive))), names)


def _key(graph: Graph, node: Node) -> Hashable:
    if isinstance(node, View):
        return (node.source, graph.values[node.output].shape)
    if isinstance(node, Concatenation):
        return (node.sources, node.axis)
    return (
        node.formula if isinstance(node, Equation) else node.recurrence,
        tuple(sorted(node.constants.items())),
        tuple(sorted(node.extents.items())),
        tuple(sorted(node.bindings.items())),
    )
