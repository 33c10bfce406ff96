"""Index arrays: `logp[n, t[n]]` reads wherever `t` says, so `t` is checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError
from pellucid.language.syntax import Access, walk
from pellucid.network.graph import Equation, Graph

__all__ = ["Lookup", "check_lookups", "lookups_of_inputs"]


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
    found = (lookup for node in graph.nodes if isinstance(node, Equation) for lookup in _of_equation(graph, node))
    return tuple(dict.fromkeys(found))


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


def _of_equation(graph: Graph, node: Equation) -> Iterator[Lookup]:
    for access in walk(node.formula.body):
        if not isinstance(access, Access):
            continue
        for dimension, index in enumerate(access.indices):
            if isinstance(index, Access) and node.bindings[index.tensor] in graph.inputs:
                extent = graph.values[node.bindings[access.tensor]].shape[dimension]
                yield Lookup(node.bindings[index.tensor], access.tensor, dimension, extent)
