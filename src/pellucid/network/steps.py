"""The formulas of a loop joined, so that fewer values of a step go through memory.

    before   a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k];   h[n,t,k] = tanh(a[n,t,k])        a read by nobody else
    after    h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])

A value goes into the one formula that reads it, cell by cell in the same step: an elementwise one where it is under no
sum, a sum where that formula has none. What nobody reads is not made.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from pellucid.language.binding import names_of, reads
from pellucid.language.parts import inputs_of
from pellucid.language.recurrence import Recurrence
from pellucid.language.syntax import Access, Formula, Name, Node, Reduce, map_children, walk
from pellucid.network.graph import Graph, Loop

__all__ = ["with_joined_steps"]


def with_joined_steps(graph: Graph, wanted: Collection[str]) -> Graph:
    """The graph with the formulas of its loops joined; `wanted` are values that must be made."""
    read = {source for node in graph.nodes for source in node.sources}.union(wanted)
    return graph.replace_nodes(tuple(_joined(node, read) if isinstance(node, Loop) else node for node in graph.nodes))


def _joined(loop: Loop, read: Collection[str]) -> Loop:
    recurrence = loop.recurrence
    inner = [tensor for tensor in recurrence.tensors if loop.made[tensor] not in read]
    for tensor in inner:
        recurrence = _without(recurrence, tensor)
    kept = inputs_of((recurrence,), loop.constants)
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
    """Whether a formula's body may stand in its reader's in the place of its tensor."""
    tensor, cell = formula.output.tensor, formula.output.indices
    if not all(isinstance(index, Name) for index in cell) or reads(formula.body, tensor):
        return False
    own_sums, sums = ([part for part in walk(entry.body) if isinstance(part, Reduce)] for entry in (formula, reader))
    if any(reads(part, tensor) for part in sums) or (sums and own_sums):
        return False
    # An axis that the one sums over may be one of the other's output.
    if not names_of(reader.output.indices).isdisjoint(axis for part in own_sums for axis in part.axes):
        return False
    found = (part for part in walk(reader.body) if isinstance(part, Access) and part.tensor == tensor)
    return all(part.indices == cell for part in found)


def _put(node: Node, formula: Formula) -> Node:
    if isinstance(node, Access) and node.tensor == formula.output.tensor:
        return formula.body
    return map_children(node, lambda child: _put(child, formula))
