"""A network of a file as a network of `nn`: layers written as equations, which train, are saved and are exported.

The graph is traced for three sizes of the batch; what differs between them must grow with the batch. Pictures stand
channels last, (batch, height, width, channels), as everywhere in `nn`; whatever has fewer axes is as the file has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from pellucid.errors import ArgumentError, DataError, PellucidError, ShapeError
from pellucid.exchange.onnx.demand import demanded
from pellucid.exchange.onnx.graph import Array, OnnxGraph, OnnxNode, Port
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.trace import Fixed, Open, Traced, trace
from pellucid.exchange.onnx.values import Order, Tensor, channels_last, is_floating, natural, pictures_last
from pellucid.network import Graph
from pellucid.nn.assembly import lay_out
from pellucid.nn.layer import Place, Shape
from pellucid.nn.topology import INPUT, Topology
from pellucid.nn.written import WRITTEN_BATCHES, write_stages

__all__ = ["Network", "as_network", "without_softmax"]


@dataclass(frozen=True)
class Network:
    """Layers that are their equations, the shape of an input without the batch, and the parameters by name."""

    topology: Topology
    input_shape: Shape
    parameters: Mapping[str, Array]


def as_network(
    graph: OnnxGraph,
    input_shape: Shape | None = None,
    *,
    output: str | None = None,
    flat: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Network:
    """The part of a graph that leads from its one input to `output`, its only one if none is named.

    `input_shape`, (height, width, channels) for images, is needed where the file leaves extents open. With `flat` a
    result that is a picture of one pixel is (batch, channels).
    Raises ArgumentError where the graph has several inputs or outputs, where an output is no float, where one array is
    a parameter of several layers, and where layers do not keep the images of a batch apart in a way that can be written
    down; ShapeError for an `input_shape` that is not the file's.
    """
    port, goal = _only_input(graph), _output(graph, output)
    shape = _image_shape(port, input_shape)
    own = replace(graph, outputs=(goal,))
    declared = port.shape[0] if port.shape else None
    free = declared if isinstance(declared, int) else None
    if flat and _is_pixel(_traced(own, port, WRITTEN_BATCHES[0], shape, free, limits)):
        own = _flattened(own)
    traces = [_traced(own, port, batch, shape, free, limits) for batch in WRITTEN_BATCHES]
    first = _pruned(traces[0])
    layers = [_pruned(one).places for one in traces]
    if any([(p.name, p.inputs) for p in other] != [(p.name, p.inputs) for p in layers[0]] for other in layers[1:]):
        raise ArgumentError(f"{graph.source}: another batch makes another network of it: it cannot be trained")
    places = _written(layers, _memory(port, shape, WRITTEN_BATCHES[0]))
    parameters = {
        name: np.asarray(kept.host.array.transpose(kept.order), np.float32, order="C")
        for name, kept in traces[0].parameters.items()
        if name.rpartition(".")[0] in {place.name for place in places}
    }
    _check_shared(traces[0], places, parameters)
    return Network(Topology(tuple(places), first.output), _memory(port, shape, 1)[1:], parameters)


def _is_pixel(traced: Traced) -> bool:
    result = traced.outputs[0]
    return len(result.shape) > 2 and all(extent == 1 for extent in result.shape[2:])


def _flattened(graph: OnnxGraph) -> OnnxGraph:
    """The graph with its output as rows."""
    port = graph.outputs[0]
    name = f"{port.name}.rows"
    node = OnnxNode(name, "Flatten", "", graph.opset, (port.name,), (name,), {"axis": 1})
    return replace(graph, nodes=(*graph.nodes, node), outputs=(Port(name, port.dtype, None),))


def without_softmax(graph: OnnxGraph) -> OnnxGraph:
    """The graph without a softmax at its end: a loss that takes logits has it in itself."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    outputs: list[Port] = []
    for port in graph.outputs:
        name = port.name
        while name in made and made[name].op in ("Softmax", "Identity"):
            name = made[name].inputs[0]
        outputs.append(port if name == port.name else replace(port, name=name, shape=None))
    return replace(graph, outputs=tuple(outputs))


def _only_input(graph: OnnxGraph) -> Port:
    if len(graph.inputs) != 1 or not is_floating(graph.inputs[0].dtype):
        told = ", ".join(f"{port.name} ({port.dtype})" for port in graph.inputs) or "none"
        raise ArgumentError(f"{graph.source}: a network to be trained has 1 input of floats; this one has {told}")
    if demanded(graph):
        raise ArgumentError(f"{graph.source}: the values of its input {graph.inputs[0].name!r} decide shapes")
    return graph.inputs[0]


def _output(graph: OnnxGraph, name: str | None) -> Port:
    names = [port.name for port in graph.outputs]
    if name is None and len(names) > 1:
        raise ArgumentError(f"{graph.source}: it has the outputs {', '.join(names)}: say which one, `output`")
    if name is not None and name not in names:
        raise ArgumentError(f"`output` (={name!r}) must be one of {', '.join(names)}")
    return graph.outputs[0 if name is None else names.index(name)]


def _image_shape(port: Port, given: Shape | None) -> Shape:
    """The extents of one input in ONNX's order."""
    if port.shape is None or len(port.shape) < 2:
        if given is None:
            raise ArgumentError(f"input {port.name!r} has no shape in the file: give `input_shape`")
        return _as_file(given)
    own = port.shape[1:]
    if given is None:
        open_ = [str(extent) for extent in own if not isinstance(extent, int)]
        if open_:
            raise ArgumentError(f"input {port.name!r} leaves {', '.join(open_)} open in the file: give `input_shape`")
        return tuple(cast("tuple[int, ...]", own))
    wanted = _as_file(given)
    if len(wanted) != len(own) or any(isinstance(a, int) and a != b for a, b in zip(own, wanted, strict=True)):
        extents = (*own[1:], own[0]) if len(own) > 2 else own
        shown = ", ".join("?" if extent is None else str(extent) for extent in extents)
        raise ShapeError(f"`input_shape` (={given}) must be ({shown}){', channels last' if len(own) > 2 else ''}")
    return wanted


def _as_file(shape: Shape) -> Shape:
    """Extents of one input in ONNX's order: of pictures and volumes the channels stand first there."""
    return (shape[-1], *shape[:-1]) if len(shape) > 2 else tuple(shape)


def _order(rank: int) -> Order:
    return channels_last(rank) if rank > 3 else natural(rank)


def _memory(port: Port, shape: Shape, batch: int) -> Shape:
    full = (batch, *shape)
    return tuple(full[axis] for axis in _order(len(full)))


def _traced(graph: OnnxGraph, port: Port, batch: int, shape: Shape, free: int | None, limits: Limits) -> Traced:
    full = (batch, *shape)
    given = {port.name: Open(full, port.dtype, _order(len(full)))}
    free = free if free != batch else None
    try:
        found = trace(graph, given, limits=limits, training=True, free_batch=free, output_order=pictures_last)
    except (ShapeError, DataError) as error:
        if free is None:
            raise
        raise type(error)(f"the file is for batches of {free} alone; with {batch}: {error}") from error
    if len(found.inputs) != 1:
        raise ArgumentError(f"{graph.source}: what follows from integers beside the input cannot be trained")
    result = found.outputs[0]
    if not isinstance(result, Tensor) or result.place < 0 or result.positions:
        raise ArgumentError(f"{graph.source}: its output {graph.outputs[0].name!r} is not computed from its input")
    if result.shape[:1] != (batch,):
        raise ArgumentError(
            f"{graph.source}: its output has shape {result.shape} for a batch of {batch}: it has no row for each input"
        )
    return found


def _pruned(traced: Traced) -> Topology:
    """The places that the output needs, numbered anew."""
    result = traced.outputs[0]
    assert isinstance(result, Tensor)
    needed, waiting = set[int](), [result.place]
    while waiting:
        number = waiting.pop()
        if number >= 0 and number not in needed:
            needed.add(number)
            waiting += traced.places[number].inputs
    order = sorted(needed)
    new = {INPUT: INPUT} | {old: number for number, old in enumerate(order)}
    places = [traced.places[old] for old in order]
    return Topology(
        tuple(Place(place.name, place.layer, tuple(new[one] for one in place.inputs)) for place in places),
        new[result.place],
    )


def _written(layers: list[tuple[Place, ...]], x: Shape) -> list[Place]:
    graph = Graph()
    laid = lay_out(graph, Topology(layers[0], len(layers[0]) - 1), (graph.input("x", x),), training=False)
    shapes = {INPUT: x[1:]}
    places: list[Place] = []
    for number, versions in enumerate(zip(*layers, strict=True)):
        place = versions[0]
        shape = graph.values[laid.outputs[place.name]].shape
        if not place.inputs or shape[:1] != x[:1]:
            raise ArgumentError(f"{place.title} has no row for each image of a batch; it cannot be trained")
        shapes[number] = shape[1:]
        layer = cast("Fixed", place.layer)
        stages = [cast("Fixed", version.layer).made for version in versions]
        try:
            written = write_stages(place, layer.written, [shapes[one] for one in place.inputs], stages)
        except PellucidError as error:
            raise ArgumentError(str(error)) from error
        places.append(Place(place.name, written, place.inputs))
    return places


def _check_shared(traced: Traced, places: list[Place], parameters: Mapping[str, Any]) -> None:
    """Refuses an array of the file that is trained in several places: each would go its own way.

    Where all of its numbers are one (the ones of norms, the zeros of biases), it is a beginning that those who write
    files store once, and each goes its own way rightly.
    """
    trained = {
        f"{place.name}.{parameter.name}"
        for place in places
        for parameter in cast("Any", place.layer).parameters
        if parameter.trained
    }
    hosts = [traced.parameters[name].host for name in sorted(trained & parameters.keys())]
    owners = Counter(host.name for host in hosts if np.ptp(host.array))
    twice = next((name for name, count in owners.items() if name and count > 1), None)
    if twice is not None:
        raise ArgumentError(
            f"array {twice!r} of the file is a parameter of {owners[twice]} layers; it cannot be trained"
        )
