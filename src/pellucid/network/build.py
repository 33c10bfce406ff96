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

__all__ = ["assembled_program", "build"]


def build(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target) -> Built:
    """Compiles a graph that gives `outputs` and replaces inputs by values of `updates`; `graph` is left as it is."""
    assembled = assembled_program(graph, outputs, updates, chosen)
    code = generate(assembled.program, chosen)
    tensors = tuple(replace(tensor, values=()) for tensor in assembled.program.tensors)
    plans = {name: [str(plan) for plan in plans] for name, plans in assembled.plans.items()}
    return Built(tensors, assembled.arena, assembled.tensors, json.dumps(plans).encode(), code)


def assembled_program(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], chosen: Target) -> Assembled:
    """The program of a graph, as it is compiled. Everything that rewrites a graph before it is lowered belongs here,
    behind the cache: its key is the graph given."""
    own = fuse(graph, outputs, updates)
    own = with_fewer_multiplications(own, graph.accuracy, chosen.machine)
    own = compute_again(own, {*outputs, *updates.values()})
    homes = place_updates(own, updates, outputs)
    return assemble(own, outputs, homes, chosen.machine)
