"""The formulas of a loop joined, so that fewer values of a step go through memory.

    before   a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k];   h[n,t,k] = tanh(a[n,t,k])        a read by nobody else
    after    h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])

A value goes into the one formula that reads it, cell by cell in the same step: an elementwise one where it is under no
sum, a sum where that formula has none. What nobody reads is not made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from pellucid.language import syntax
from pellucid.language.recurrence import Recurrence, reads
from pellucid.language.syntax import Access, Formula, Name, Reduce, map_children, walk
from pellucid.network.graph import Equation, Graph, Loop, Node
from pellucid.schedule.recurrent import recurrence_options

__all__ = ["with_joined_steps"]


def with_joined_steps(graph: Graph, wanted: Collection[str]) -> Graph:
    """The graph with the formulas of its loops joined; `wanted` are values that must be made."""
    read = {source for node in graph.nodes for source in node.sources}.union(wanted)
    nodes = tuple(_joined(node, read) if isinstance(node, Loop) else node for node in graph.nodes)
    groups = dict[str, int]()
    for node in nodes:
        if isinstance(node, Loop):
            group = recurrence_options(node.recurrence, node.extents).group
            groups |= dict.fromkeys((*node.sources, *node.outputs), group)
    return graph.replace_nodes(tuple(_beside(node, groups) for node in nodes))


def _beside(node: Node, groups: Mapping[str, int]) -> Node:
    """An equation that makes or reads what a loop touches, in the loop's groups of images, so that it may share a pass
    with it."""
    if not isinstance(node, Equation):
        return node
    found = [groups[name] for name in (node.output, *node.sources) if name in groups]
    return replace(node, group=found[0]) if found else node


def _joined(loop: Loop, read: Collection[str]) -> Loop:
    recurrence = loop.recurrence
    inner = [tensor for tensor in recurrence.tensors if loop.made[tensor] not in read]
    for tensor in inner:
        recurrence = _without(recurrence, tensor)
    kept = {*recurrence.inputs, *recurrence.scalars(loop.constants)}
    return replace(
        loop,
        recurrence=recurrence,
        bindings=MappingProxyType({local: value for local, value in loop.bindings.items() if local in kept}),
        made=MappingProxyType({tensor: loop.made[tensor] for tensor in recurrence.tensors}),
    )


def _without(recurrence: Recurrence, tensor: str) -> Recurrence:
    """The recurrence without a tensor that only it reads, where that can be."""
    own = [formula for formula in recurrence.formulas if formula.output.tensor == tensor]
    others = [formula for formula in recurrence.formulas if formula.output.tensor != tensor]
    readers = [formula for formula in others if reads(formula.body, tensor)]
    if not readers and others and not any(reads(formula.body, tensor) for formula in own):
        return replace(recurrence, formulas=tuple(others))
    if len(own) != 1 or len(readers) != 1 or not _goes_into(own[0], readers[0]):
        return recurrence
    joined = replace(readers[0], body=_put(readers[0].body, own[0]))
    return replace(recurrence, formulas=tuple(joined if formula is readers[0] else formula for formula in others))


def _goes_into(formula: Formula, reader: Formula) -> bool:
    if not all(isinstance(index, Name) for index in formula.output.indices) or reads(
        formula.body, formula.output.tensor
    ):
        return False
    sums = [part for part in walk(reader.body) if isinstance(part, Reduce)]
    own_sums = any(isinstance(part, Reduce) for part in walk(formula.body))
    if any(reads(part, formula.output.tensor) for part in sums) or (sums and own_sums):
        return False
    found = [part for part in walk(reader.body) if isinstance(part, Access) and part.tensor == formula.output.tensor]
    return all(part.indices == formula.output.indices for part in found)


def _put(node: syntax.Node, formula: Formula) -> syntax.Node:
    if isinstance(node, Access) and node.tensor == formula.output.tensor:
        return formula.body
    return map_children(node, lambda child: _put(child, formula))
