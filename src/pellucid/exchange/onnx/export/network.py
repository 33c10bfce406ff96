"""A network's layers as nodes: where axes stand, what is turned between layers, and which layers become functions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from re import fullmatch, sub

import numpy as np
import onnx

from pellucid.errors import PellucidError
from pellucid.exchange.onnx.export.functions import DOMAIN, as_function
from pellucid.exchange.onnx.export.nodes import Array, Nodes
from pellucid.exchange.onnx.export.proof import is_proved
from pellucid.exchange.onnx.export.standard import Parameters, Proposal, propose
from pellucid.exchange.onnx.export.standard.proposal import pattern
from pellucid.exchange.onnx.values import Order, channels_last, natural
from pellucid.exchange.onnx.writing import reshape_groups
from pellucid.language.parse import parse
from pellucid.language.syntax import Reduce
from pellucid.nn.blueprint import Blueprint, outline
from pellucid.nn.layer import Place, Shape
from pellucid.nn.topology import INPUT
from pellucid.nn.written import WrittenLayer, write_down

__all__ = ["Value", "Written", "write_network"]


# A layer that says no more is not written.
_IDENTITY = ("z[...] = x[...]",)


@dataclass(frozen=True)
class Value:
    """What stands in the file for a value of the network.

    `shape` is the network's, without the batch; `order` says where each of its axes stands in the file. Where `images`
    is given, the last axis is a flattened image of that shape, (height, width, channels), whose channels stand first in
    the file. `whole`: it holds positions, int64. `base` is the value whose memory this one is seen with another shape.
    """

    name: str
    shape: Shape
    order: Order
    images: Shape | None = None
    whole: bool = False
    base: Value | None = None


@dataclass
class Written:
    """The network as it is being written."""

    nodes: Nodes
    functions: dict[Hashable, onnx.FunctionProto] = field(default_factory=dict[Hashable, onnx.FunctionProto])
    proved: dict[Hashable, Proposal | None] = field(default_factory=dict[Hashable, "Proposal | None"])


def write_network(
    blueprint: Blueprint, parameters: Mapping[str, Array], nodes: Nodes, source: Value
) -> tuple[Value, Sequence[onnx.FunctionProto]]:
    """Adds the nodes of a network that reads `source`; its result, and the functions that the nodes call.

    Raises ArgumentError, with the layer in front, for a layer that neither standard operators nor a function can say.
    """
    places, laid = blueprint.topology.places, outline(blueprint)
    written = Written(nodes)
    values: dict[int, Value] = {INPUT: source}
    for number, place in enumerate(places):
        sources = [values[entry] for entry in place.inputs]
        layer = write_down(place, [value.shape for value in sources])
        shape = laid.graph.values[laid.laid.outputs[place.name]].shape[1:]
        nodes.place = place.name
        try:
            values[number] = _layer(written, place, layer, sources, shape, parameters)
        except PellucidError as error:
            raise type(error)(f"{place.title}: {error}") from None
    nodes.place = ""
    result = _in_rows(nodes, values[blueprint.topology.output])
    if len(result.shape) > 2:
        result = _arranged(nodes, result, channels_last(len(result.shape) + 1))
    return result, tuple(written.functions.values())


def input_order(blueprint: Blueprint, opset: int) -> Order:
    """How the axes of the network's input stand in the file: images with their channels first; of two axes, as the
    first layer that reads them has them."""
    rank = len(blueprint.input_shape) + 1
    if rank != 3:
        return channels_last(rank)
    for place in blueprint.topology.places:
        if place.inputs == (INPUT,):
            layer = write_down(place, [blueprint.input_shape])
            proposal = propose(layer, (natural(rank),), opset) if layer.inference.shape is None else None
            return natural(rank) if proposal is None else proposal.reads[0]
    return natural(rank)


def _layer(
    written: Written,
    place: Place,
    layer: WrittenLayer,
    sources: Sequence[Value],
    shape: Shape,
    parameters: Mapping[str, Array],
) -> Value:
    nodes = written.nodes
    if layer.inference.shape is not None:
        return _viewed(nodes, sources[0], layer.inference.shape)
    if len(sources) == 1 and pattern(layer.inference.equations) == _IDENTITY:
        return sources[0]
    permuted = _permuted(layer, sources[0]) if len(sources) == 1 and not layer.parameters else None
    if permuted is not None:
        return permuted
    names = {entry.local: f"{place.name}.{entry.name}" for entry in layer.parameters}
    own = Parameters({local: parameters[name] for local, name in names.items()}, names)
    proposal = None
    if not any(value.whole for value in sources):
        proposal = _proposal(written, layer, [value.order for value in sources])
    if proposal is None:
        return _called(written, layer, sources, shape, own)
    images = sources[0].images
    if images is not None and proposal.rows is not None and len(sources) == 1:
        rows = _channels_first(own[proposal.rows], images)
        own = replace(own, arrays={**own.arrays, proposal.rows: rows})
        images = None
    elif images is not None and not (proposal.cellwise and all(value.images == images for value in sources)):
        sources = [_in_rows(nodes, value) for value in sources]
        images = None
    elif images is None:
        sources = [_in_rows(nodes, value) for value in sources]
    arranged = [_arranged(nodes, value, order) for value, order in zip(sources, proposal.reads, strict=True)]
    name = proposal.write(nodes, [value.name for value in arranged], own)
    return Value(name, shape, proposal.gives, images)


def _proposal(written: Written, layer: WrittenLayer, orders: Sequence[Order]) -> Proposal | None:
    """Standard operators for the layer that are proved to say the same."""
    opset = written.nodes.opset
    key = (_form_key(layer), tuple(orders))
    if key not in written.proved:
        proposal = propose(layer, orders, opset)
        if proposal is not None and not is_proved(layer, proposal, opset):
            proposal = None
        written.proved[key] = proposal
    return written.proved[key]


def _form_key(layer: WrittenLayer) -> Hashable:
    """What two layers have in common that may be written as one."""
    form = layer.inference
    numbers = tuple(tuple(sorted(entry.items(), key=lambda pair: pair[0])) for entry in (form.constants, form.extents))
    parameters = tuple((entry.local, entry.name, entry.shape) for entry in layer.parameters)
    return form.equations, form.output, repr(numbers), layer.shapes, layer.sources, parameters


def _called(written: Written, layer: WrittenLayer, sources: Sequence[Value], shape: Shape, own: Parameters) -> Value:
    """A call of the function that the layer's equations are."""
    nodes = written.nodes
    whole = tuple(value.whole for value in sources)
    key = (_form_key(layer), whole)
    if key not in written.functions:
        taken = {function.name for function in written.functions.values()}
        stem = name = sub(r"\W+", "_", layer.kind).strip("_") or "Equations"
        while name in taken:
            name = f"{stem}_{len(taken)}"
        written.functions[key] = as_function(
            name,
            layer.inference,
            dict(zip(layer.sources, layer.shapes, strict=True)),
            {entry.local: entry.shape for entry in layer.parameters},
            opset=nodes.opset,
            dtype=nodes.dtype.name,
            integers=[local for local, is_whole in zip(layer.sources, whole, strict=True) if is_whole],
        )
    function = written.functions[key]
    given = [_arranged(nodes, _in_rows(nodes, value), natural(len(value.shape) + 1)) for value in sources]
    names = [*(value.name for value in given), *(own.write(nodes, local, own[local]) for local in own.names)]
    body = parse(layer.inference.equations[-1]).body
    positions = isinstance(body, Reduce) and body.op in ("argmax", "argmin")
    result = nodes.add(function.name, *names, domain=DOMAIN)
    return Value(result, shape, natural(len(shape) + 1), whole=positions)


def _viewed(nodes: Nodes, value: Value, shape: Shape) -> Value:
    """The same memory with another shape. A flattened image stays as it stands: what reads it knows."""
    base = value.base or value
    if shape == base.shape:
        return base
    value = _in_rows(nodes, base)
    rank = len(value.shape) + 1
    if _is_same_memory(value):
        value = replace(value, order=natural(rank))
    elif len(shape) == 1 and _is_image(value):
        return Value(nodes.add("Flatten", value.name, axis=1), shape, natural(2), images=value.shape, base=base)
    groups = reshape_groups(value.shape, shape)
    if len(shape) > 2:
        # Axes that are split or joined by themselves can stay where they are in the file.
        groups.sort(key=lambda group: min((value.order[axis + 1] for axis in group[0]), default=rank))
    old = [axis for group, _ in groups for axis in group]
    new = [axis for _, group in groups for axis in group]
    value = _arranged(nodes, value, (0, *(1 + old.index(axis) for axis in range(len(old)))))
    flat = len(shape) == 1
    extents = [shape[axis] for axis in new]
    name = nodes.add("Flatten", value.name, axis=1) if flat else nodes.reshape(value.name, (-1, *extents))
    order = (0, *(1 + new.index(axis) for axis in range(len(new))))
    return Value(name, shape, order, whole=value.whole, base=base)


def _permuted(layer: WrittenLayer, value: Value) -> Value | None:
    """The value with its axes in another order, where a layer says no more; in the file they stay where they are."""
    found = fullmatch(r"z\[n,([\w,]+)\] = x\[n,([\w,]+)\]", "\n".join(layer.inference.equations))
    if found is None:
        return None
    given, read = (text.split(",") for text in found.groups())
    if sorted(given) != sorted(read) or len(set(given)) != len(given) or layer.inference.extents or value.images:
        return None
    axes = [read.index(name) for name in given]
    shape = tuple(value.shape[axis] for axis in axes)
    return replace(value, shape=shape, order=(0, *(value.order[axis + 1] for axis in axes)), base=None)


def _is_image(value: Value) -> bool:
    return value.order == channels_last(len(value.order))


def _is_same_memory(value: Value) -> bool:
    """Whether the axes that are longer than 1 stand in the file in the order that they have in the network."""
    places = [place for extent, place in zip(value.shape, value.order[1:], strict=True) if extent > 1]
    return places == sorted(places)


def _in_rows(nodes: Nodes, value: Value) -> Value:
    """A flattened image in the order of the network: channels last."""
    if value.images is None:
        return value
    *spatial, channels = value.images
    rank = len(value.images) + 1
    name = nodes.reshape(value.name, (-1, channels, *spatial))
    name = nodes.transpose(name, (0, *range(2, rank), 1))
    return replace(value, name=nodes.add("Flatten", name, axis=1), images=None)


def _channels_first(array: Array, images: Shape) -> Array:
    """Rows for the cells of an image, (height, width, channels), as those of one with its channels first."""
    rest = array.shape[1:]
    last = len(images) - 1
    rows = array.reshape(*images, *rest).transpose(last, *range(last), *range(last + 1, last + 1 + len(rest)))
    return np.ascontiguousarray(rows).reshape(prod(images), *rest)


def _arranged(nodes: Nodes, value: Value, order: Order) -> Value:
    """The value with its axes in another order in the file."""
    if value.order == order:
        return value
    new = [0] * len(order)
    for old, place in zip(value.order, order, strict=True):
        new[place] = old
    return replace(value, name=nodes.transpose(value.name, new), order=order)
