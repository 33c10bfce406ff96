"""The programs of a model, each a graph from input to what is wanted of it, compiled for one batch size.

One that computes a loss also serves fewer rows than it was compiled for, where the network's equations allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pellucid.language.parse import parse
from pellucid.language.system import System
from pellucid.network import CompiledGraph, Graph, add_values, compile_graph, differentiate, zeros
from pellucid.network.images import images_stay_apart
from pellucid.network.short import add_live, serving_fewer
from pellucid.nn.assembly import Laid, lay_out
from pellucid.nn.blueprint import DRY_BATCH, Blueprint
from pellucid.nn.layer import Mask, Shape
from pellucid.nn.update import add_updates, clipped, finite, squared_norm, squared_norms_by_step

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


class Target(NamedTuple):
    """The form of a target: the shape of one row's, and the dtype."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Program:
    """A compiled graph; `outputs` says under which name of the graph each wanted thing comes back.

    `masks` are its inputs for dropout. It takes `rows` rows, and fewer where `serves` says so. What comes back is
    `read_at_once`: the next call may write over it.
    """

    compiled: CompiledGraph
    outputs: Mapping[str, str]
    rows: int
    masks: Mapping[str, Mask] = field(default_factory=dict[str, Mask])
    shared: _Shared | None = None
    read_at_once: bool = False

    def serves(self, rows: int) -> bool:
        """Whether it gives what a program for `rows` rows would give, told which rows are there.

        Raises what a layer says of a batch of so few.
        """
        return rows == self.rows or (rows < self.rows and self.shared is not None and self.shared.serves(rows))


@dataclass(frozen=True)
class _Shared:
    """The equations up to the loss for a whole batch, as `forward` gives them, and for fewer rows too."""

    forward: Callable[[int], Graph]
    whole: Graph
    fewer: Graph

    def serves(self, rows: int) -> bool:
        """Whether the equations for fewer rows are those for this number."""
        found = serving_fewer(self.whole, self.forward(rows))
        return found is not None and found.nodes == self.fewer.nodes


@dataclass(frozen=True)
class _Measured:
    """From the input to the loss, and to the new running statistics by the name of what they replace."""

    graph: Graph
    laid: Laid
    loss: str
    running: Mapping[str, str]


@dataclass(frozen=True)
class _Derived:
    """Forward and backward pass in a graph: the gradient of every trained parameter, and of every state."""

    graph: Graph
    measured: _Measured
    gradients: Mapping[str, str]
    states: Mapping[str, str]
    shared: _Shared | None


def inference(blueprint: Blueprint, batch: int) -> Program:
    """x -> `y`, as a trained network is used; what follows from parameters alone is kept until `refresh`."""
    graph, laid = _forward(blueprint, batch, training=False)
    outputs = {"y": laid.output}
    return Program(_compiled(blueprint, graph, outputs, kept=laid.parameters), outputs, batch)


def rows_stay_apart(blueprint: Blueprint) -> bool:
    """Whether predictions for some inputs do not depend on which others stand in the same batch."""
    graph, _ = _forward(blueprint, DRY_BATCH, training=False)
    return images_stay_apart(graph)


def scoring(blueprint: Blueprint, rows: int, prediction: Shape, target: Target) -> Program:
    """y, t -> `loss`, of predictions that are there already; `prediction` is the shape of one."""

    def scored(rows: int) -> tuple[Graph, str]:
        graph = Graph(blueprint.dtype, images=rows)
        add_live(graph)
        y = graph.input("y", (rows, *prediction), of_images=True)
        return graph, _add_loss(blueprint, graph, y, target)

    graph, loss = scored(rows)
    shared = _shared(graph, rows, lambda rows: scored(rows)[0])
    own = shared.fewer if shared is not None else graph
    compiled = _compiled(blueprint, own, {"loss": loss})
    return Program(compiled, {"loss": loss}, rows, shared=shared, read_at_once=True)


def gradients(blueprint: Blueprint, batch: int, target: Target) -> Program:
    """x, t -> `loss`, and the gradient of every trained parameter under the parameter's name."""
    derived = _derive(blueprint, batch, target)
    outputs = {"loss": derived.measured.loss, **derived.gradients}
    return _program(blueprint, batch, derived, outputs)


def diagnosis(blueprint: Blueprint, batch: int, target: Target) -> Program:
    """x, t -> `loss`, every layer's output as `output NAME`, every gradient as `gradient NAME`.

    For the whole batch alone: what a row that is not there gives is nobody's.
    """
    derived = _derive(blueprint, batch, target, shares=False)
    outputs = {f"output {name}": value for name, value in derived.measured.laid.outputs.items()}
    outputs |= {f"gradient {name}": value for name, value in derived.gradients.items()}
    return _program(blueprint, batch, derived, {"loss": derived.measured.loss, **outputs})


def training_step(blueprint: Blueprint, batch: int, target: Target, *, norms: bool) -> Program:
    """x, t -> `loss`, with every parameter, moment and running statistic updated in place.

    With `norms`, or where gradients are clipped, the squared norm of all gradients comes back as `squares`; with
    `norms` also that of each under the parameter's name, and those of each state's gradient, step by step, as `state
    NAME`. Nothing changes where the loss or `squares` is not finite.
    """
    step = step_graph(blueprint, batch, target, norms=norms)
    return replace(_program(blueprint, batch, step.derived, step.outputs, step.updates), read_at_once=True)


@dataclass(frozen=True)
class StepGraph:
    """A training step before it is compiled: `updates` maps each input that changes to the value that replaces it."""

    graph: Graph
    derived: _Derived
    outputs: Mapping[str, str]
    updates: Mapping[str, str]


def step_graph(blueprint: Blueprint, batch: int, target: Target, *, norms: bool) -> StepGraph:
    """The equations of `training_step`."""
    assert blueprint.optimizer is not None  # checked by the model before it asks for a step
    derived = _derive(blueprint, batch, target)
    graph, loss = derived.graph, derived.measured.loss
    flat = {name: graph.view(value, (graph.values[value].size,)) for name, value in derived.gradients.items()}
    outputs, total = {"loss": loss}, None
    if norms or blueprint.clip_norm is not None:
        squares = {name: squared_norm(graph, value, name) for name, value in flat.items()}
        total = outputs["squares"] = add_values(graph, squares.values(), prefix="norm")
        if norms:
            outputs |= squares
            outputs |= {
                f"state {name}": squared_norms_by_step(graph, value, name) for name, value in derived.states.items()
            }
        if blueprint.clip_norm is not None:
            flat = clipped(graph, flat, total, blueprint.clip_norm)
    allowed = finite(graph, loss, total)
    updates = add_updates(graph, blueprint.optimizer, flat, derived.measured.running, allowed)
    return StepGraph(graph, derived, outputs, updates)


def _forward(blueprint: Blueprint, batch: int, *, training: bool) -> tuple[Graph, Laid]:
    graph = Graph(blueprint.dtype, images=batch, accuracy=blueprint.accuracy)
    x = graph.input("x", (batch, *blueprint.input_shape), of_images=True)
    return graph, lay_out(graph, blueprint.topology, (x,), training=training, frozen=blueprint.frozen)


def _measure(blueprint: Blueprint, batch: int, target: Target) -> _Measured:
    graph, laid = _forward(blueprint, batch, training=True)
    add_live(graph)
    loss = _add_loss(blueprint, graph, laid.output, target)
    if blueprint.penalty is not None:
        loss = _add_penalties(graph, laid, blueprint.penalty.system(), loss)
    running = {
        name: graph.system(system, bindings, prefix=f"update.{name}")
        for name, (system, bindings) in laid.running.items()
    }
    return _Measured(graph, laid, loss, running)


def _derive(blueprint: Blueprint, batch: int, target: Target, *, shares: bool = True) -> _Derived:
    measured = _measure(blueprint, batch, target)
    shared = None
    if shares:
        shared = _shared(measured.graph, batch, lambda rows: _measure(blueprint, rows, target).graph)
    # A copy: what is added from here on is no part of what fewer rows are compared with.
    forward = shared.fewer if shared is not None else measured.graph
    graph = forward.replace_nodes(forward.nodes)
    trained = [name for name, parameter in measured.laid.parameters.items() if parameter.trained]
    states = measured.laid.states
    found = differentiate(graph, measured.loss, graph.formula(ONE, {}), (*trained, *states.values()))
    gradients = {name: found[name] or zeros(graph, name) for name in trained}
    watched = {name: found[value] or zeros(graph, value) for name, value in states.items()}
    return _Derived(graph, measured, gradients, watched, shared)


def _shared(graph: Graph, batch: int, forward: Callable[[int], Graph]) -> _Shared | None:
    """The equations as they serve fewer rows; None where there are none, or where the equations do not allow it."""
    fewer = serving_fewer(graph, forward(batch + 1)) if batch > 1 else None
    return None if fewer is None else _Shared(forward, graph, fewer)


def _add_loss(blueprint: Blueprint, graph: Graph, prediction: str, target: Target) -> str:
    loss = blueprint.loss
    assert loss is not None  # checked by the model before it asks for a loss
    shape = graph.values[prediction].shape
    targets = (shape[0], *target.shape)
    bindings = {"y": prediction, "t": graph.input("t", targets, target.dtype, of_images=True)}
    for local, array in loss.weights(blueprint.dtype).items():
        bindings[local] = graph.input(f"loss.{local}", array.shape)
    return graph.system(loss.system(shape, targets), bindings, prefix="loss")


def _add_penalties(graph: Graph, laid: Laid, system: System, loss: str) -> str:
    terms = [
        graph.system(system, {"p": graph.view(name, (graph.values[name].size,))}, prefix=f"penalty.{name}")
        for name, parameter in laid.parameters.items()
        if parameter.decayed and parameter.trained
    ]
    return add_values(graph, [loss, *terms], prefix="loss")


def _program(
    blueprint: Blueprint,
    batch: int,
    derived: _Derived,
    outputs: Mapping[str, str],
    updates: Mapping[str, str] | None = None,
) -> Program:
    compiled = _compiled(blueprint, derived.graph, outputs, updates)
    return Program(compiled, outputs, batch, derived.measured.laid.masks, derived.shared)


def _compiled(
    blueprint: Blueprint,
    graph: Graph,
    outputs: Mapping[str, str],
    updates: Mapping[str, str] | None = None,
    kept: Collection[str] = (),
) -> CompiledGraph:
    return compile_graph(
        graph,
        tuple(dict.fromkeys(outputs.values())),
        threads=blueprint.threads,
        backend=blueprint.backend,
        updates=updates,
        kept=frozenset(kept),
    )
