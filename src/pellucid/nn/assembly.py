"""A network's layers laid out as equations in a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from pellucid.errors import PellucidError
from pellucid.language.system import System
from pellucid.network import Graph
from pellucid.nn.layer import Mask, Parameter, Place, Reshape, Stage, Training
from pellucid.nn.topology import INPUT, Topology

__all__ = ["Laid", "lay_out", "parameter_name"]


@dataclass(frozen=True)
class Laid:
    """What a network became: names of graph values, by layer.

    `outputs` are the values behind each place, in order; `parameters` and `masks` are inputs of the graph, by their
    names in it; `running` gives for a parameter the value that replaces it after a training step; `states` are the
    values that are states of recurrent layers, by the layer's name and theirs.
    """

    output: str
    outputs: Mapping[str, str]
    stages: Mapping[str, Stage]
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    masks: Mapping[str, Mask] = field(default_factory=dict[str, Mask])
    running: Mapping[str, tuple[System, Mapping[str, str]]] = field(
        default_factory=dict[str, tuple[System, Mapping[str, str]]]
    )
    states: Mapping[str, str] = field(default_factory=dict[str, str])


def parameter_name(place: Place, parameter: Parameter) -> str:
    """`0.weight`."""
    return f"{place.name}.{parameter.name}"


def lay_out(
    graph: Graph, topology: Topology, inputs: Sequence[str], *, training: bool, frozen: Set[str] = frozenset()
) -> Laid:
    """Adds every layer's equations, and an input for each parameter and mask; `inputs` are those of the network.

    Parameters called in `frozen` are not trained; a layer all of whose parameters are is what it is in inference.

    Raises what a layer says of its input's shape, with the layer named in front.
    """
    values: list[str] = []
    stages: dict[str, Stage] = {}
    parameters: dict[str, Parameter] = {}
    masks: dict[str, Mask] = {}
    running: dict[str, tuple[System, Mapping[str, str]]] = {}
    states: dict[str, str] = {}
    for place in topology.places:
        sources = [inputs[INPUT - number] if number < 0 else values[number] for number in place.inputs]
        try:
            stage = place.layer.stage(*(graph.values[source].shape for source in sources))
            bindings = dict(zip(stage.sources, sources, strict=True))
            own = {parameter_name(place, parameter): parameter for parameter in stage.parameters}
            for name, parameter in own.items():
                bindings[parameter.local] = graph.input(name, parameter.shape)
                parameters[name] = replace(parameter, trained=False) if name in frozen else parameter
            is_frozen = bool(own) and own.keys() <= frozen
            form = stage.in_training() if training and not is_frozen else Training(stage.system)
            if form.mask is not None:
                bindings[form.mask.local] = graph.input(f"{place.name}.mask", form.mask.shape, of_images=True)
                masks[f"{place.name}.mask"] = form.mask
            output, made = _add_step(graph, form.system, bindings, sources, place.name)
        except PellucidError as error:
            raise type(error)(f"{place.title}: {error}") from None
        values.append(output)
        stages[place.name] = stage
        states |= {f"{place.name}.{name}": made[local] for name, local in stage.states.items()}
        for entry in form.running:
            name = f"{place.name}.{entry.parameter}"
            running[name] = (entry.system, {"x": sources[0], "running": name})
    outputs = {place.name: value for place, value in zip(topology.places, values, strict=True)}
    return Laid(values[topology.output] if values else inputs[0], outputs, stages, parameters, masks, running, states)


def _add_step(
    graph: Graph, step: System | Reshape, bindings: Mapping[str, str], sources: Sequence[str], name: str
) -> tuple[str, Mapping[str, str]]:
    """The value of a layer's output, and those of all its equations by their local names."""
    if isinstance(step, Reshape):
        return graph.view(sources[0], step.shape, prefix=name), {}
    made = graph.system_values(step, bindings, prefix=name)
    return made[step.output], made
