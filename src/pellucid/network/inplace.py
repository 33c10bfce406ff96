"""New values of state, written where the old ones stand.

A training step ends with `w1[i] = w[i] - lr*dw[i]`, and `w1` is the next step's `w`. Where it is legal, the
equation that makes the new value writes straight into the old one's memory; elsewhere a copy is added at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.syntax import Access, Formula, Name, Reduce, walk
from pellucid.network.graph import Equation, Graph, View

__all__ = ["check_updates", "place_updates", "roots"]


def roots(graph: Graph) -> dict[str, str]:
    """For every value the one that it is a view of, however many views lie between; itself where it is none."""
    found = {name: name for name in graph.values}
    for node in graph.nodes:
        if isinstance(node, View):
            found[node.output] = found[node.source]
    return found


def place_updates(graph: Graph, updates: Mapping[str, str], kept: Collection[str]) -> dict[str, str]:
    """For every update (input -> new value) the equation that writes the input's memory: output -> input.

    `kept` are values whose memory the caller reads afterwards; none of them becomes an input's. Adds copies to
    `graph`. The updates are those that `check_updates` lets pass.
    """
    origin = roots(graph)
    last_read = {origin[source]: place for place, node in enumerate(graph.nodes) for source in node.sources}
    made = {node.output: place for place, node in enumerate(graph.nodes)}
    taken = {origin[name] for name in kept}
    homes: dict[str, str] = {}
    for state, value in updates.items():
        source = origin[value]
        legal = source in made and source not in taken and last_read.get(state, -1) <= made[source]
        if not (legal and _cell_by_cell(graph, made[source], state, origin)):
            source = _copy(graph, value, state)
        taken.add(source)
        homes[source] = state
    return homes


def check_updates(graph: Graph, updates: Mapping[str, str], kept: Collection[str]) -> None:
    """Refuses updates that have no one meaning.

    Raises ArgumentError for an update of what is no input, to another input's old value, or of an input that is
    among `kept`, the outputs; ShapeError where the numbers of elements or the types differ.
    """
    origin = roots(graph)
    for state, value in updates.items():
        if state not in graph.inputs:
            raise ArgumentError(f"`updates` names {state!r}, which is no input of the graph")
        if origin[value] in updates:
            raise ArgumentError(
                f"`updates` gives {state!r} the old value of {origin[value]!r}, which is itself updated"
            )
        old, new = graph.values[state], graph.values[value]
        if old.size != new.size or old.dtype != new.dtype:
            raise ShapeError(f"{state} {old.shape} {old.dtype} cannot be updated by {value} {new.shape} {new.dtype}")
    for name in kept:
        if origin[name] in updates:
            raise ArgumentError(f"{name!r} cannot be an output: {origin[name]!r} is written over by `updates`")


def _cell_by_cell(graph: Graph, place: int, state: str, origin: Mapping[str, str]) -> bool:
    """Whether the equation at `place` reads no cell of `state` but the one in whose place it writes."""
    node = graph.nodes[place]
    if not isinstance(node, Equation):
        return False
    own = {local for local, name in node.bindings.items() if origin[name] == state}
    shape = graph.values[node.output].shape
    if any(graph.values[node.bindings[local]].shape != shape for local in own):
        return False
    return all(isinstance(index, Name) for index in node.formula.output.indices) and not any(
        (isinstance(part, Access) and part.tensor in own and part.indices != node.formula.output.indices)
        or (isinstance(part, Reduce) and any(isinstance(x, Access) and x.tensor in own for x in walk(part)))
        for part in walk(node.formula.body)
    )


def _copy(graph: Graph, value: str, state: str) -> str:
    size = (graph.values[value].size,)
    index = (Name("i"),)
    formula = Formula(Access("copy", index), Access("source", index))
    return graph.formula(formula, {"source": graph.view(value, size)}, prefix=f"update.{state}")
