"""The programs of a model, each a graph from input to what is wanted of it, compiled for one batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pellucid.language.parse import parse
from pellucid.language.system import System
from pellucid.network import CompiledGraph, Graph, add_values, compile_graph, differentiate, zeros
from pellucid.network.rows import rows_independent
from pellucid.nn.assembly import Laid, lay_out
from pellucid.nn.blueprint import DRY_BATCH, Blueprint
from pellucid.nn.layer import Shape
from pellucid.nn.update import add_updates, clipped, finite, squared_norm

__all__ = [
    "Program",
    "StepGraph",
    "Target",
    "diagnosis",
    "gradients",
    "inference",
    "rows_stay_apart",
    "scoring",
    "step_graph",
    "training_step",
]

ONE = parse("one = 1")


@dataclass(frozen=True)
class Target:
    """The form of a target: its shape, batch first, and its dtype."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Program:
    """A compiled graph; `outputs` says under which name of the graph each wanted thing comes back."""

    compiled: CompiledGraph
    outputs: Mapping[str, str]
    laid: Laid | None = None


@dataclass(frozen=True)
class _Derived:
    """Forward and backward pass in a graph."""

    graph: Graph
    laid: Laid
    loss: str
    gradients: Mapping[str, str]


def inference(blueprint: Blueprint, batch: int) -> Program:
    """x -> `y`, as a trained network is used."""
    graph, laid = _forward(blueprint, batch, training=False)
    return _compile(blueprint, graph, {"y": laid.output}, laid)


def rows_stay_apart(blueprint: Blueprint) -> bool:
    """Whether predictions for some inputs do not depend on which others stand in the same batch."""
    graph, _ = _forward(blueprint, DRY_BATCH, training=False)
    return rows_independent(graph, "x")


def scoring(blueprint: Blueprint, prediction: Shape, target: Target) -> Program:
    """y, t -> `loss`, of predictions that are there already."""
    graph = Graph(blueprint.dtype)
    y = graph.input("y", prediction)
    return _compile(blueprint, graph, {"loss": _add_loss(blueprint, graph, y, target)})


def gradients(blueprint: Blueprint, batch: int, target: Target) -> Program:
    """x, t -> `loss`, and the gradient of every trained parameter under the parameter's name."""
    derived = _derive(blueprint, batch, target)
    return _compile(blueprint, derived.graph, {"loss": derived.loss, **derived.gradients}, derived.laid)


def diagnosis(blueprint: Blueprint, batch: int, target: Target) -> Program:
    """x, t -> `loss`, every layer's output as `output NAME`, every gradient as `gradient NAME`."""
    derived = _derive(blueprint, batch, target)
    outputs = {f"output {name}": value for name, value in derived.laid.outputs.items()}
    outputs |= {f"gradient {name}": value for name, value in derived.gradients.items()}
    return _compile(blueprint, derived.graph, {"loss": derived.loss, **outputs}, derived.laid)


def training_step(blueprint: Blueprint, batch: int, target: Target, *, norms: bool) -> Program:
    """x, t -> `loss`, with every parameter, moment and running statistic updated in place.

    With `norms`, or where gradients are clipped, the squared norm of all gradients comes back as `squares`; with
    `norms` also that of each under the parameter's name. Nothing changes where the loss or `squares` is not finite.
    """
    step = step_graph(blueprint, batch, target, norms=norms)
    return _compile(blueprint, step.graph, step.outputs, step.laid, step.updates)


@dataclass(frozen=True)
class StepGraph:
    """A training step before it is compiled: `updates` maps each input that changes to the value that replaces it."""

    graph: Graph
    laid: Laid
    outputs: Mapping[str, str]
    updates: Mapping[str, str]


def step_graph(blueprint: Blueprint, batch: int, target: Target, *, norms: bool) -> StepGraph:
    """The equations of `training_step`."""
    assert blueprint.optimizer is not None  # checked by the model before it asks for a step
    derived = _derive(blueprint, batch, target)
    graph = derived.graph
    flat = {name: graph.view(value, (graph.values[value].size,)) for name, value in derived.gradients.items()}
    outputs, total = {"loss": derived.loss}, None
    if norms or blueprint.clip_norm is not None:
        squares = {name: squared_norm(graph, value, name) for name, value in flat.items()}
        total = outputs["squares"] = add_values(graph, squares.values(), prefix="norm")
        outputs |= squares if norms else {}
        if blueprint.clip_norm is not None:
            flat = clipped(graph, flat, total, blueprint.clip_norm)
    allowed = finite(graph, derived.loss, total)
    updates = add_updates(graph, blueprint.optimizer, flat, derived.laid.running, allowed)
    return StepGraph(graph, derived.laid, outputs, updates)


def _forward(blueprint: Blueprint, batch: int, *, training: bool) -> tuple[Graph, Laid]:
    graph = Graph(blueprint.dtype, images=batch, accuracy=blueprint.accuracy)
    x = graph.input("x", (batch, *blueprint.input_shape), of_images=True)
    return graph, lay_out(graph, blueprint.topology, x, training=training)


def _derive(blueprint: Blueprint, batch: int, target: Target) -> _Derived:
    graph, laid = _forward(blueprint, batch, training=True)
    loss = _add_loss(blueprint, graph, laid.output, target)
    if blueprint.penalty is not None:
        loss = _add_penalties(graph, laid, blueprint.penalty.system(), loss)
    trained = [name for name, parameter in laid.parameters.items() if parameter.trained]
    found = differentiate(graph, loss, graph.formula(ONE, {}), trained)
    return _Derived(graph, laid, loss, {name: value or zeros(graph, name) for name, value in found.items()})


def _add_loss(blueprint: Blueprint, graph: Graph, prediction: str, target: Target) -> str:
    loss = blueprint.loss
    assert loss is not None  # checked by the model before it asks for a loss
    bindings = {"y": prediction, "t": graph.input("t", target.shape, target.dtype, of_images=True)}
    for local, array in loss.weights(blueprint.dtype).items():
        bindings[local] = graph.input(f"loss.{local}", array.shape)
    return graph.system(loss.system(graph.values[prediction].shape, target.shape), bindings, prefix="loss")


def _add_penalties(graph: Graph, laid: Laid, system: System, loss: str) -> str:
    terms = [
        graph.system(system, {"p": graph.view(name, (graph.values[name].size,))}, prefix=f"penalty.{name}")
        for name, parameter in laid.parameters.items()
        if parameter.decayed
    ]
    return add_values(graph, [loss, *terms], prefix="loss")


def _compile(
    blueprint: Blueprint,
    graph: Graph,
    outputs: Mapping[str, str],
    laid: Laid | None = None,
    updates: Mapping[str, str] | None = None,
) -> Program:
    compiled = compile_graph(
        graph,
        tuple(dict.fromkeys(outputs.values())),
        threads=blueprint.threads,
        backend=blueprint.backend,
        updates=updates,
    )
    return Program(compiled, outputs, laid)
