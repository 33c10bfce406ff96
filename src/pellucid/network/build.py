"""A graph compiled, from its equations to an object: what happens when the cache does not hold it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pellucid.emit.compile import generate
from pellucid.emit.targets import Target
from pellucid.network.again import compute_again
from pellucid.network.built import Built
from pellucid.network.concatenate import with_concatenations, with_copies
from pellucid.network.fast import with_fewer_multiplications
from pellucid.network.fold import folded
from pellucid.network.fuse import fuse
from pellucid.network.graph import Graph
from pellucid.network.inplace import place_updates
from pellucid.network.prepare import in_two
from pellucid.network.program import Ahead, Assembled, assemble
from pellucid.network.rounds import beside_loops
from pellucid.network.steps import with_joined_steps
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

    foldable = folded(graph, kept, outputs) if kept else graph
    own = rewritten(foldable, outputs, updates, chosen.machine, forms, kept)
    parts = in_two(own, kept, outputs)
    seldom = {*kept, *parts.between}
    then = _assembled(parts.then, outputs, updates, chosen.machine, tuned, seldom=seldom)
    built = _built(then, chosen, forms)
    read = {tensor.name for tensor in then.program.tensors} | {then.tensors[name] for name in outputs}
    between = [name for name in parts.between if then.tensors[name] in read]
    if not between and not then.ahead.nests:
        return built
    first = _assembled(parts.first, between, {}, chosen.machine, tuned, ahead=then.ahead)
    return replace(built, before=_built(first, chosen, forms))


def program_of(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], machine: Machine) -> Assembled:
    """The program of a graph of which nothing is kept, as it is compiled: nests with a place for every temporary."""
    return _assembled(rewritten(graph, outputs, updates, machine), outputs, updates, machine)


def rewritten(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    reasons: dict[str, str] | None = None,
    kept: Collection[str] = (),
) -> Graph:
    """The graph with equations joined, those of a recurrence's steps too, and fewer multiplications in convolutions.
    `reasons` gets the grounds for the form of each sum of products; what follows from the inputs `kept` is made before.

    Everything that rewrites a graph before it is lowered belongs here, behind the cache: its key is the graph given.
    """
    parts = with_concatenations(graph)
    fused = beside_loops(with_joined_steps(fuse(parts, outputs, updates), (*outputs, *updates.values())))
    return with_fewer_multiplications(fused, graph.accuracy, machine, reasons, kept)


def _assembled(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    machine: Machine,
    tuned: Tuned | None = None,
    *,
    seldom: Collection[str] = (),
    ahead: Ahead = Ahead(),  # noqa: B008 - frozen
) -> Assembled:
    wanted = {*outputs, *updates.values()}
    own = with_copies(compute_again(graph, wanted), wanted)
    homes = place_updates(own, updates, outputs)
    return assemble(own, outputs, homes, machine, tuned, seldom=seldom, ahead=ahead)


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
    text = json.dumps(plans).encode()
    return Built(tensors, assembled.arena, assembled.scratch, assembled.tensors, assembled.cycles_a_nest, text, code)
