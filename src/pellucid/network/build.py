"""A graph compiled, from its equations to an object: what happens when the cache does not hold it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pellucid.emit.compile import generate
from pellucid.emit.target import Target
from pellucid.network.built import Built
from pellucid.network.fast import with_fewer_multiplications
from pellucid.network.fold import folded
from pellucid.network.fuse import fuse
from pellucid.network.graph import Graph
from pellucid.network.inplace import place_updates
from pellucid.network.prepare import in_two
from pellucid.network.program import Assembled, assemble

__all__ = ["assembled_program", "build"]


def build(
    graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], kept: Collection[str], chosen: Target
) -> Built:
    """Compiles a graph that gives `outputs` and replaces inputs by values of `updates`; `graph` is left as it is.

    What follows from the inputs `kept` alone becomes a program of its own, `before` the other. Everything that rewrites
    a graph before it is lowered belongs here, behind the cache: its key is the graph given.
    """
    own = _rewritten(folded(graph, kept, outputs) if kept else graph, outputs, updates, chosen)
    parts = in_two(own, kept, outputs) if kept else None
    if parts is None:
        return _built(_assembled(own, outputs, updates, chosen), chosen)
    before = _built(_assembled(parts.first, parts.between, {}, chosen), chosen)
    return replace(_built(_assembled(parts.then, outputs, updates, chosen), chosen), before=before)


def assembled_program(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target) -> Assembled:
    """The program of a graph of which nothing is kept, as it is compiled."""
    return _assembled(_rewritten(graph, outputs, updates, chosen), outputs, updates, chosen)


def _rewritten(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target) -> Graph:
    return with_fewer_multiplications(fuse(graph, outputs, updates), graph.accuracy, chosen.machine)


def _assembled(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target) -> Assembled:
    homes = place_updates(graph, updates, outputs)
    return assemble(graph, outputs, homes, chosen.machine)


def _built(assembled: Assembled, chosen: Target) -> Built:
    code = generate(assembled.program, chosen)
    tensors = tuple(replace(tensor, values=()) for tensor in assembled.program.tensors)
    plans = {name: [str(plan) for plan in plans] for name, plans in assembled.plans.items()}
    return Built(tensors, assembled.arena, assembled.tensors, json.dumps(plans).encode(), code)
