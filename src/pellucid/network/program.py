"""A graph as one program: the nests of all its equations in order, and a place in memory for every temporary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pellucid.network.graph import Equation, Graph
from pellucid.network.images import by_image, image_values
from pellucid.network.inplace import roots
from pellucid.network.lowering import Lowerer
from pellucid.network.memory import Arena, Lifetime, element_bytes, plan_arena
from pellucid.network.phases import join_independent, reads_and_writes
from pellucid.network.tuned import Tuned
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Nest, Program, Tensor
from pellucid.schedule.passes import form_passes
from pellucid.schedule.plan import Options, Plan

__all__ = ["Assembled", "assemble", "equation_options", "lifetimes"]


@dataclass(frozen=True)
class Assembled:
    """`program`, the arena of its temporaries, the tensor that each value of the graph lies in, and for each
    equation's output the plans of its nests."""

    program: Program
    arena: Arena
    tensors: Mapping[str, str]
    plans: Mapping[str, Sequence[Plan]]


def assemble(
    graph: Graph, outputs: Collection[str], homes: Mapping[str, str], machine: Machine, tuned: Tuned | None = None
) -> Assembled:
    """Lowers every equation, proves its nests in bounds, and lays the results side by side.

    `outputs` are values that the caller reads; `homes` maps values to the inputs whose memory they take over; `tuned`
    are decisions found by measurement.
    """
    places = _places(graph, homes)
    table = _tensor_table(graph, places, {places[name] for name in outputs} | set(homes.values()))
    lowerer, of_images = Lowerer(machine), image_values(graph)
    nests: list[Nest] = []
    plans: dict[str, Sequence[Plan]] = {}
    for number, node in enumerate(graph.nodes):
        if not isinstance(node, Equation):
            continue
        bound = {**node.bindings, node.formula.output.tensor: node.output}
        local = {name: _seen_as(table[places[value]], graph.values[value].shape) for name, value in bound.items()}
        options = equation_options(node, graph, of_images, machine)
        if tuned is not None:
            options = tuned.options(node, graph, options)
        lowered = lowerer.lower(node, local, f"n{number}.{node.output}", options)
        nests += lowered.nests
        plans[node.output] = lowered.plans
        table |= {tensor.name: tensor for tensor in lowered.tensors}
    nests, scratch = form_passes(nests, table)
    table |= {tensor.name: tensor for tensor in scratch}
    program = Program(_touched(table, nests), join_independent(nests))
    return Assembled(program, plan_arena(lifetimes(program)), places, plans)


def equation_options(node: Equation, graph: Graph, of_images: Collection[str], machine: Machine) -> Options | None:
    """What the network decides about an equation."""
    found = by_image(node, graph, of_images, machine)
    return replace(found or Options(), chain=node.chain) if node.chain else found


def lifetimes(program: Program) -> list[Lifetime]:
    """From when to when each temporary of a program is in use, counted in nests."""
    sizes = {
        tensor.name: tensor.size * element_bytes(tensor.dtype)
        for tensor in program.tensors
        if tensor.role == "temporary"
    }
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, nest in enumerate(program.nests):
        for name in _touched_by(nest):
            if name in sizes:
                first.setdefault(name, number)
                last[name] = number
    return [Lifetime(name, sizes[name], first[name], last[name]) for name in first]


def _touched_by(nest: Nest) -> set[str]:
    reads, writes = reads_and_writes(nest)
    return reads | writes


def _places(graph: Graph, homes: Mapping[str, str]) -> dict[str, str]:
    """The tensor in whose memory each value lies: views share their source's, updates their input's."""
    return {name: homes.get(source, source) for name, source in roots(graph).items()}


def _tensor_table(graph: Graph, places: Mapping[str, str], written: Collection[str]) -> dict[str, Tensor]:
    table: dict[str, Tensor] = {}
    for name in dict.fromkeys(places.values()):
        value = graph.values[name]
        if name in graph.tables:
            table[name] = Tensor(name, value.dtype, value.shape, "table", graph.tables[name])
            continue
        role = "output" if name in written else "input" if name in graph.inputs else "temporary"
        table[name] = Tensor(name, value.dtype, value.shape, role)
    return table


def _seen_as(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor if tensor.shape == shape else replace(tensor, shape=shape)


def _touched(table: Mapping[str, Tensor], nests: Sequence[Nest]) -> tuple[Tensor, ...]:
    used = {name for nest in nests for name in _touched_by(nest)}
    return tuple(tensor for name, tensor in table.items() if name in used)
