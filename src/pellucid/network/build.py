"""A graph compiled, from its equations to an object: what happens when the cache does not hold it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pellucid.emit.compile import generate
from pellucid.emit.target import Target
from pellucid.network.again import compute_again
from pellucid.network.built import Built
from pellucid.network.fast import with_fewer_multiplications
from pellucid.network.fold import folded
from pellucid.network.fuse import fuse
from pellucid.network.graph import Graph
from pellucid.network.inplace import place_updates
from pellucid.network.prepare import in_two
from pellucid.network.program import Assembled, assemble
from pellucid.network.tuned import Tuned
from pellucid.schedule.machine import Machine

__all__ = ["build", "program_of", "rewritten"]


def build(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    kept: Collection[str],
    chosen: Target,
    tuned: Tuned | None = None,
) -> Built:
    """Compiles a graph that gives `outputs` and replaces inputs by values of `updates`; `graph` is left as it is.

    What follows from the inputs `kept` alone becomes a program of its own, `before` the other.
    """
    forms: dict[str, str] = {}

    def built(part: Graph, wanted: Sequence[str], replaced: Mapping[str, str]) -> Built:
        return _built(_assembled(part, wanted, replaced, chosen.machine, tuned), chosen, forms)

    own = rewritten(folded(graph, kept, outputs) if kept else graph, outputs, updates, chosen.machine, forms)
    parts = in_two(own, kept, outputs) if kept else None
    if parts is None:
        return built(own, outputs, updates)
    return replace(built(parts.then, outputs, updates), before=built(parts.first, parts.between, {}))


def program_of(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], machine: Machine) -> Assembled:
    """The program of a graph of which nothing is kept, as it is compiled: nests with a place for every temporary."""
    return _assembled(rewritten(graph, outputs, updates, machine), outputs, updates, machine)


def rewritten(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    reasons: dict[str, str] | None = None,
) -> Graph:
    """The graph with elementwise equations joined to others, and fewer multiplications in convolutions. `reasons` gets
    the grounds for the form of each sum of products.

    Everything that rewrites a graph before it is lowered belongs here, behind the cache: its key is the graph given.
    """
    return with_fewer_multiplications(fuse(graph, outputs, updates), graph.accuracy, machine, reasons)


def _assembled(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    tuned: Tuned | None = None,
) -> Assembled:
    own = compute_again(graph, {*outputs, *updates.values()})
    return assemble(own, outputs, place_updates(own, updates, outputs), machine, tuned)


def _built(assembled: Assembled, chosen: Target, forms: Mapping[str, str]) -> Built:
    code = generate(assembled.program, chosen)
    tensors = tuple(replace(tensor, values=()) for tensor in assembled.program.tensors)
    plans = {
        name: [
            "\n".join(([forms[name]] if name in forms else []) + list(assembled.notes[name])),
            *(str(plan) for plan in plans),
        ]
        for name, plans in assembled.plans.items()
    }
    return Built(tensors, assembled.arena, assembled.tensors, json.dumps(plans).encode(), code)
