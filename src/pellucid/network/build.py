"""A graph compiled, from its equations to an object: what happens when the cache does not hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pellucid.emit.compile import generate
from pellucid.emit.target import Target
from pellucid.network.again import compute_again
from pellucid.network.built import Built
from pellucid.network.fast import with_fewer_multiplications
from pellucid.network.fuse import fuse
from pellucid.network.graph import Graph
from pellucid.network.inplace import place_updates
from pellucid.network.program import Assembled, assemble
from pellucid.network.tuned import Tuned
from pellucid.schedule.machine import Machine

__all__ = ["build", "program_of", "rewritten"]


def program_of(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    tuned: Tuned | None = None,
    reasons: dict[str, str] | None = None,
) -> Assembled:
    """The program of such a graph, as loop nests with a place for every temporary; `reasons` as in `rewritten`."""
    own = rewritten(graph, outputs, updates, machine, reasons)
    return assemble(own, outputs, place_updates(own, updates, outputs), machine, tuned)


def build(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target, tuned: Tuned) -> Built:
    """Compiles a graph that gives `outputs` and replaces inputs by values of `updates`; `graph` is left as it is."""
    forms: dict[str, str] = {}
    assembled = program_of(graph, outputs, updates, chosen.machine, tuned, forms)
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


def rewritten(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    reasons: dict[str, str] | None = None,
) -> Graph:
    """The graph as it is lowered: elementwise equations joined to others, fewer multiplications in convolutions, cheap
    values made again. `reasons` gets the grounds for the form of each sum of products.

    Everything that rewrites a graph before it is lowered belongs here, behind the cache: its key is the graph given.
    """
    own = with_fewer_multiplications(fuse(graph, outputs, updates), graph.accuracy, machine, reasons)
    return compute_again(own, {*outputs, *updates.values()})
