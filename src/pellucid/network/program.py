"""A graph as one program: the nests of all its equations in order, and a place in memory for every temporary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from pellucid.network.concatenate import Place, parts_in
from pellucid.network.graph import Concatenation, Equation, Graph, Loop, View
from pellucid.network.images import image_values
from pellucid.network.inplace import roots
from pellucid.network.lowering import Lowerer
from pellucid.network.memory import Arena, plan_arena, scratch_lifetimes, temporary_lifetimes
from pellucid.network.phases import join_independent
from pellucid.network.rounds import by_image
from pellucid.network.tuned import Tuned
from pellucid.schedule.bounds import prove
from pellucid.schedule.fetching import with_fetches
from pellucid.schedule.lower import Part
from pellucid.schedule.machine import Machine
from pellucid.schedule.merging import with_merged_loops
from pellucid.schedule.nest import ELEMENT_BYTES, Nest, Program, Tensor
from pellucid.schedule.passes import form_passes
from pellucid.schedule.plan import Options, Plan
from pellucid.schedule.recurrent import lower_recurrence, recurrence_options
from pellucid.schedule.streamed import with_streamed
from pellucid.schedule.touched import loaded, stored, touched

__all__ = ["Assembled", "assemble", "equation_options"]


@dataclass(frozen=True)
class Assembled:
    """`program`, the arena of its temporaries and that of each thread's scratch, the tensor that each value of the
    graph lies in, and for each equation's output the plans of its nests, and notes on how it runs in the program; how
    many cycles one of its nests takes at least, on the average."""

    program: Program
    arena: Arena
    scratch: Arena
    tensors: Mapping[str, str]
    plans: Mapping[str, Sequence[Plan]]
    notes: Mapping[str, Sequence[str]]
    cycles_a_nest: float
    ahead: Ahead


@dataclass(frozen=True)
class Ahead:
    """Nests that read nothing but what seldom changes, to be run before a program, and the tensors that they make."""

    nests: tuple[Nest, ...] = ()
    tensors: tuple[Tensor, ...] = ()


def assemble(
    graph: Graph,
    outputs: Collection[str],
    homes: Mapping[str, str],
    machine: Machine,
    tuned: Tuned | None = None,
    *,
    seldom: Collection[str] = (),
    ahead: Ahead = Ahead(),
) -> Assembled:
    """Lowers every equation, joins the nests to passes, and proves what comes out in bounds (OutOfBoundsError).

    `outputs` are values that the caller reads; `homes` maps values to the inputs whose memory they take over; `tuned`
    are decisions found by measurement. What copies inputs that `seldom` change is left out, and stands `ahead` of the
    result; `ahead` is what was left out of another program, and gives outputs of this one.
    """
    inside = parts_in(graph)
    places = _places(graph, homes, inside)
    table = _tensor_table(graph, places, {places[name] for name in outputs} | set(homes.values()))
    table |= {tensor.name: replace(tensor, role="output") for tensor in ahead.tensors}
    waiting, made = list(ahead.nests), set(graph.inputs)
    fixed = {places[name] for name in seldom}
    lowerer, of_images = Lowerer(machine), image_values(graph)
    nests = _ready(waiting, made)
    plans: dict[str, Sequence[Plan]] = {}
    notes: dict[str, list[str]] = {}
    for number, node in enumerate(graph.nodes):
        if isinstance(node, View):
            continue
        if isinstance(node, Concatenation):
            made.add(places[node.output])
            continue
        written = node.made if isinstance(node, Loop) else {node.formula.output.tensor: node.output}
        bound = {**node.bindings, **written}
        local = {name: _tensor_of(value, graph, table, places, inside) for name, value in bound.items()}
        parts = {value: _part(inside[value], table, places) for value in bound.values() if value in inside}
        own = f"n{number}.{node.output}"
        if isinstance(node, Loop):
            # It takes all that it does not make for what seldom changes.
            options = recurrence_options(node.recurrence, node.extents)
            notes[node.output] = [f"{node.extents[node.recurrence.axis]} steps, in groups of {options.group}"]
            lowered = lower_recurrence(node.recurrence, node.constants, node.extents, local, machine, own, options)
        else:
            found = by_image(node, graph, of_images, machine)
            decided = _options(node, found)
            options = decided if tuned is None else tuned.options(node, graph, decided)
            copied = frozenset(name for name, tensor in local.items() if tensor.name in fixed)
            notes[node.output] = _notes(node, graph, of_images, found)
            notes[node.output].append("tuned" if options is not decided else "not tuned")
            if copied:
                options = replace(options or Options(), seldom=copied)
            lowered = lowerer.lower(node, local, own, options, parts)
        made.update(places[value] for value in node.outputs if value not in inside)
        nests += (*lowered.nests, *_ready(waiting, made))
        plans[node.output] = lowered.plans
        table |= {tensor.name: tensor for tensor in lowered.tensors}
    # Panels alone: what makes a value, a part of one among them, has its place in the order of the values.
    copies = [nest for nest in nests if stored(nest.body).isdisjoint(places.values())]
    early = [nest for nest in copies if fixed and loaded(nest.body) and loaded(nest.body) <= fixed]
    panels = {name: table[name] for nest in early for name in sorted(stored(nest.body))}
    table |= {name: replace(tensor, role="input") for name, tensor in panels.items()}
    formed, scratch = form_passes((nest for nest in nests if nest not in early), table)
    nests = [with_merged_loops(nest) for nest in formed]
    for number, names in enumerate(_made_in_passes(nests, places, inside, list(plans))):
        for name in names:
            notes[name].append(f"pass {number + 1}")
    table |= {tensor.name: tensor for tensor in scratch}
    program = _program(nests, table, graph.inputs, machine)
    places |= {tensor.name: tensor.name for tensor in ahead.tensors}
    left_out = Ahead(tuple(early), tuple(panels.values()))
    return Assembled(
        program, *_arenas(program, nests), places, plans, notes, _cycles_a_nest(graph, program, machine), left_out
    )


def _program(nests: Sequence[Nest], table: Mapping[str, Tensor], inputs: Collection[str], machine: Machine) -> Program:
    """The program of nests, proved to stay in bounds; `inputs` are the caller's memory."""
    tensors = with_streamed(_used(table, nests), nests, inputs)
    program = Program(tensors, join_independent(with_fetches(nests, tensors, machine)))
    prove(program)
    return program


def _cycles_a_nest(graph: Graph, program: Program, machine: Machine) -> float:
    """What a nest takes at least, on the average: its terms at the peak, or what it touches at the rate of the caches
    that hold so much."""
    total = 0.0
    for node in graph.nodes:
        if isinstance(node, Equation | Loop):
            terms = prod(node.extents.values()) / machine.lanes(ELEMENT_BYTES[graph.dtype]) / machine.fma_rate
            size = sum(graph.values[name].bytes for name in {*node.sources, *node.outputs})
            total += max(terms, size / machine.bandwidth(size))
    return total / max(1, len(program.nests))


def _arenas(program: Program, nests: Iterable[Nest]) -> tuple[Arena, Arena]:
    """Where temporaries lie, and scratch. `nests` are those of the program before they were joined for fewer barriers;
    each thread still runs one after the other."""
    temporary = temporary_lifetimes(program.nests, program.tensors)
    return plan_arena(temporary), plan_arena(scratch_lifetimes(nests, program.tensors))


def _ready(waiting: list[Nest], made: Collection[str]) -> list[Nest]:
    """The nests that find all that they read, which wait no longer."""
    ready = [nest for nest in waiting if loaded(nest.body) <= set(made)]
    waiting[:] = [nest for nest in waiting if nest not in ready]
    return ready


def equation_options(node: Equation, graph: Graph, of_images: Mapping[str, int], machine: Machine) -> Options | None:
    """What the network decides about an equation."""
    return _options(node, by_image(node, graph, of_images, machine))


def _options(node: Equation, found: Options | str) -> Options | None:
    options = None if isinstance(found, str) else found
    return replace(options or Options(), chain=node.chain) if node.chain else options


def _notes(node: Equation, graph: Graph, of_images: Collection[str], found: Options | str) -> list[str]:
    """Whether an equation of images is lowered image by image, and why not; `found` as `by_image` gives it."""
    if graph.images is None or not set(of_images) & {node.output, *node.sources}:
        return []
    if isinstance(found, str):
        return [f"whole: {found}"]
    return [f"image by image, its sum in {found.parts} parts" if found.parts > 1 else "image by image"]


def _made_in_passes(
    nests: Iterable[Nest], places: Mapping[str, str], inside: Mapping[str, Place], outputs: Sequence[str]
) -> list[list[str]]:
    """For each pass of several equations the outputs that are made in it, parts of sums among them."""
    # A whole is made of parts in one pass or in several: which of them in which its name does not tell.
    made_as = {places[name]: name for name in outputs if name not in inside}
    passes = list[list[str]]()
    for nest in nests:
        found = dict[str, None]()
        for tensor in sorted(stored(nest.body)) if nest.rounds else ():
            own = tensor.partition(".")[2] if tensor.endswith(".parts") else ""
            name = made_as.get(tensor) or next((name for name in outputs if own.startswith(f"{name}.")), None)
            found |= {name: None} if name is not None else {}
        if len(found) > 1:
            passes.append(sorted(found, key=outputs.index))
    return passes


def _places(graph: Graph, homes: Mapping[str, str], inside: Mapping[str, Place]) -> dict[str, str]:
    """The tensor in whose memory each value lies: views share their source's, updates their input's, parts that of the
    whole."""
    own = {name: homes.get(source, source) for name, source in roots(graph).items()}
    return {name: own[inside[name].whole] if name in inside else place for name, place in own.items()}


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


def _tensor_of(
    value: str, graph: Graph, table: Mapping[str, Tensor], places: Mapping[str, str], inside: Mapping[str, Place]
) -> Tensor:
    """The tensor that an equation reads or writes as a value; a part of another one goes by its own name."""
    shape, tensor = graph.values[value].shape, table[places[value]]
    return replace(tensor, name=value, shape=shape) if value in inside else _seen_as(tensor, shape)


def _part(place: Place, table: Mapping[str, Tensor], places: Mapping[str, str]) -> Part:
    return Part(table[places[place.whole]], place.offsets)


def _seen_as(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor if tensor.shape == shape else replace(tensor, shape=shape)


def _used(table: Mapping[str, Tensor], nests: Sequence[Nest]) -> tuple[Tensor, ...]:
    """The tensors of a table that nests touch, in the order in which they first do."""
    used = dict.fromkeys(operand.tensor for nest in nests for operand in touched(nest.body))
    return tuple(table[name] for name in used)
