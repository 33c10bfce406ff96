"""Index arrays: `logp[n, t[n]]` reads wherever `t` says, so `t` is checked before anything runs.

An input by its numbers, at every call; positions of a maximum that the graph finds itself by how many there are, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError
from pellucid.language.syntax import Access, Reduce, walk
from pellucid.network.graph import Concatenation, Equation, Graph, Loop, Node, View

__all__ = ["Lookup", "check_lookups", "check_positions", "lookups_of_inputs"]


@dataclass(frozen=True)
class Lookup:
    """The input `indices` is an index of dimension `dimension`, `extent` long, of `tensor`."""

    indices: str
    tensor: str
    dimension: int
    extent: int


def lookups_of_inputs(graph: Graph) -> tuple[Lookup, ...]:
    """Every use of an integer input as an index as it stands. One inside a larger index expression is not listed:
    reading outside has the meaning that the language gives it there."""
    found = (lookup for node in graph.nodes for lookup in _of_node(graph, node))
    return tuple(dict.fromkeys(lookup for lookup in found if lookup.indices in graph.inputs))


def check_lookups(lookups: Sequence[Lookup], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises ArgumentError naming the first number that is outside the range it indexes."""
    for lookup in lookups:
        numbers = arrays[lookup.indices]
        outside = (numbers < 0) | (numbers >= lookup.extent)
        if outside.any():
            place = np.unravel_index(int(outside.argmax()), outside.shape)
            where = ", ".join(str(int(part)) for part in place)
            raise ArgumentError(
                f"{lookup.indices}[{where}] = {numbers[place]} is outside 0 .. {lookup.extent - 1}, "
                f"the range of index {lookup.dimension} of {lookup.tensor}"
            )


def check_positions(graph: Graph) -> None:
    """Raises ArgumentError where positions that the graph finds (argmax, argmin) may be outside what they index."""
    last = dict[str, int]()
    for node in graph.nodes:
        if isinstance(node, View):
            if node.source in last:
                last[node.output] = last[node.source]
            continue
        if (
            isinstance(node, Equation)
            and isinstance(node.formula.body, Reduce)
            and node.formula.body.op in ("argmax", "argmin")
        ):
            last[node.output] = prod(node.extents[axis] for axis in node.formula.body.axes) - 1
        for lookup in _of_node(graph, node):
            if last.get(lookup.indices, 0) >= lookup.extent:
                raise ArgumentError(
                    f"{lookup.indices} holds positions 0 .. {last[lookup.indices]}, but the range of index "
                    f"{lookup.dimension} of {lookup.tensor} is 0 .. {lookup.extent - 1}"
                )


def _of_node(graph: Graph, node: Node) -> Iterator[Lookup]:
    if isinstance(node, View | Concatenation):
        return
    formulas = node.recurrence.formulas if isinstance(node, Loop) else (node.formula,)
    bound = {**node.bindings, **node.made} if isinstance(node, Loop) else node.bindings
    for access in (part for formula in formulas for part in walk(formula.body)):
        if not isinstance(access, Access):
            continue
        for dimension, index in enumerate(access.indices):
            if isinstance(index, Access):
                extent = graph.values[bound[access.tensor]].shape[dimension]
                yield Lookup(bound[index.tensor], access.tensor, dimension, extent)
