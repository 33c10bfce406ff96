"""A network's layers, each as its equations, to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pellucid import nn
from pellucid.errors import ArgumentError, DataError, PellucidError
from pellucid.exchange.json_values import JsonValue
from pellucid.language.parse import parse
from pellucid.nn.blueprint import Blueprint, outline
from pellucid.nn.initialisers import Constant
from pellucid.nn.layer import Parameter, Place, Shape
from pellucid.nn.topology import INPUT, Topology
from pellucid.nn.written import Form, Growing, Value, WrittenLayer, write_down

__all__ = ["layers_as_data", "topology_from", "with_head"]

_INPUT = "input"


def layers_as_data(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Every layer: its name, kind, what it reads, parameters and equations.

    Raises ArgumentError where a layer's equations depend on the batch in a way that cannot be written down.
    """
    places, laid = blueprint.topology.places, outline(blueprint)
    shapes = {place.name: laid.graph.values[laid.laid.outputs[place.name]].shape[1:] for place in places}
    found: list[dict[str, Any]] = []
    for place in places:
        sources = [_INPUT if number == INPUT else places[number].name for number in place.inputs]
        layer = write_down(place, [blueprint.input_shape if name == _INPUT else shapes[name] for name in sources])
        found.append({"name": place.name, "kind": layer.kind, "reads": sources, **_layer_data(layer)})
    return found


def topology_from(layers: JsonValue, output: JsonValue) -> Topology:
    """The network that `layers_as_data` described; DataError where it is damaged."""
    places: list[Place] = []
    numbers = {_INPUT: INPUT}
    for entry in layers.items():
        name = entry["name"].text()
        if name in numbers:
            raise DataError(f"{entry.place}: a second layer is called {name!r}")
        reads = tuple(_number(source, numbers) for source in entry["reads"].items())
        places.append(Place(name, _layer(entry), reads))
        numbers[name] = len(places) - 1
    return Topology(tuple(places), _number(output, numbers))


def with_head(topology: Topology, classes: int) -> Topology:
    """The network with another last layer, fully connected, for so many classes.

    Raises ArgumentError where the network does not end with a fully connected layer.
    """
    last = topology.places[topology.output]
    if last.kind != "Linear" or topology.output != len(topology.places) - 1:
        raise ArgumentError(f"the head cannot be replaced: the network ends with {last.title}, not with a Linear layer")
    head = Place(last.name, nn.Linear(classes), last.inputs)
    return Topology((*topology.places[:-1], head), topology.output)


def _layer_data(layer: WrittenLayer) -> dict[str, Any]:
    data: dict[str, Any] = {
        "written_as": layer.attributes,
        "input_shapes": [list(shape) for shape in layer.shapes],
        "input_names": list(layer.sources),
        "parameters": [
            {
                "name": parameter.name,
                "local": parameter.local,
                "shape": list(parameter.shape),
                "trained": parameter.trained,
                "decayed": parameter.decayed,
            }
            for parameter in layer.parameters
        ],
        "inference": _form_data(layer.inference),
    }
    if layer.training is not None:
        data["training"] = _form_data(layer.training)
    if layer.running:
        data["running"] = {name: _form_data(form) for name, form in layer.running.items()}
    if layer.mask is not None:
        local, shape, rate = layer.mask
        data["mask"] = {"local": local, "shape": list(shape), "rate": rate}
    if layer.states:
        data["states"] = dict(layer.states)
    return data


def _form_data(form: Form) -> dict[str, Any]:
    data: dict[str, Any] = {"equations": list(form.equations), "output": form.output}
    for name, values in (("constants", form.constants), ("extents", form.extents)):
        if values:
            data[name] = {key: _value_data(value) for key, value in values.items()}
    if form.shape is not None:
        data["same_memory_as_shape"] = list(form.shape)
    return data


def _value_data(value: Value) -> Any:
    return {"fixed": value.fixed, "for_each_of_the_batch": value.each} if isinstance(value, Growing) else value


def _number(source: JsonValue, numbers: Mapping[str, int]) -> int:
    name = source.text()
    if name not in numbers:
        raise DataError(f"{source.place} (={name!r}) is no layer before it")
    return numbers[name]


def _layer(entry: JsonValue) -> WrittenLayer:
    mask = entry.get("mask")
    training, running, states = (entry.get(key) for key in ("training", "running", "states"))
    return WrittenLayer(
        kind=entry["kind"].text(),
        attributes=entry["written_as"].text(),
        shapes=tuple(_shape(shape) for shape in entry["input_shapes"].items()),
        sources=entry["input_names"].texts(),
        parameters=tuple(_parameter(parameter) for parameter in entry["parameters"].items()),
        inference=_form(entry["inference"]),
        training=None if training is None else _form(training),
        running={} if running is None else {name: _form(form) for name, form in running.entries().items()},
        mask=None if mask is None else (mask["local"].text(), _shape(mask["shape"]), float(mask["rate"].number())),
        states={} if states is None else {name: value.text() for name, value in states.entries().items()},
    )


def _parameter(entry: JsonValue) -> Parameter:
    return Parameter(
        entry["name"].text(),
        entry["local"].text(),
        _shape(entry["shape"]),
        Constant(0.0),
        trained=entry["trained"].truth(),
        decayed=entry["decayed"].truth(),
    )


def _form(entry: JsonValue) -> Form:
    texts = entry["equations"]
    for text in texts.items():
        try:
            parse(text.text())
        except PellucidError as error:
            raise DataError(f"{text.place}: {error}") from error
    constants, extents, shape = (entry.get(key) for key in ("constants", "extents", "same_memory_as_shape"))
    return Form(
        texts.texts(),
        entry["output"].text(),
        {} if constants is None else {name: _value(value) for name, value in constants.entries().items()},
        {} if extents is None else {name: _value(value) for name, value in extents.entries().items()},
        None if shape is None else _shape(shape),
    )


def _value(entry: JsonValue) -> Value:
    if not isinstance(entry.value, dict):
        return entry.number()
    fixed, each = entry["fixed"], entry["for_each_of_the_batch"]
    return Growing(int(fixed.number()), int(each.number()))


def _shape(entry: JsonValue) -> Shape:
    return entry.wholes(1)
