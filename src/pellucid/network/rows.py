"""Whether the rows of a batch go through a graph side by side, so that more or fewer of them change no other."""

from __future__ import annotations

from pellucid.language.syntax import Access, Name, Reduce, walk
from pellucid.network.graph import Equation, Graph

__all__ = ["rows_independent"]


def rows_independent(graph: Graph, source: str) -> bool:
    """Whether every value that depends on `source` has its row n made from rows n alone.

    The first axis is the row. An equation keeps rows apart where its output's first index is a bare axis that is the
    first index of every access to a value of rows; a view, where it keeps the first extent. The answer may be no
    for a graph that keeps rows apart in another way.
    """
    rows = {source}
    count = graph.values[source].shape[:1]
    for node in graph.nodes:
        if not rows.intersection(node.sources):
            continue
        apart = _keeps_apart(node, rows) if isinstance(node, Equation) else True
        if not apart or graph.values[node.output].shape[:1] != count:
            return False
        rows.add(node.output)
    return True


def _keeps_apart(node: Equation, rows: set[str]) -> bool:
    local = {name for name, value in node.bindings.items() if value in rows}
    first = node.formula.output.indices[:1]
    if not first or not isinstance(first[0], Name):
        return False
    for part in walk(node.formula.body):
        if isinstance(part, Reduce) and first[0].name in part.axes:
            return False
        if isinstance(part, Access) and part.tensor in local and part.indices[:1] != first:
            return False
        if isinstance(part, Name) and part.name in local:
            return False
    return True
