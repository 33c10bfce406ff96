"""Where the time of a training step goes: every equation of the program compiled alone, on the step's own values.

The equations run one after the other in the order of the step, each on the arrays that the ones before it filled, so
that caches hold what they hold in a step, except that updates are not written in place and that every value has memory
of its own. A figure is the median of the thread's own time over the rounds. The sum is larger than a step by a call
for each equation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid import nn, optim
from pellucid.bench.equations import graph_call
from pellucid.bench.networks import NETWORKS, Named, batch_for
from pellucid.bench.step import RATE, built
from pellucid.emit import target
from pellucid.emit.allocation import empty
from pellucid.language.render import to_text
from pellucid.network import Concatenation, Equation, Graph, Loop, View
from pellucid.network.build import rewritten
from pellucid.network.fast import with_fewer_multiplications
from pellucid.network.images import image_values
from pellucid.network.prune import prune
from pellucid.network.short import LIVE, ROWS
from pellucid.nn.blueprint import Blueprint
from pellucid.nn.programs import Target, step_graph

__all__ = ["Profile", "Share", "lines", "profile"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Share:
    """An equation of a step: the value that it makes, its shape, its text, and median seconds."""

    output: str
    shape: tuple[int, ...]
    text: str
    seconds: float


@dataclass(frozen=True)
class Profile:
    """Every equation, the slowest first, and the seconds of the step as one program."""

    shares: tuple[Share, ...]
    step: float


def profile(network: str, batch: int, rounds: int, accuracy: str = "standard", *, fused: bool = True) -> Profile:
    """Measures a network of `networks.py`; without `fused` the equations as they were derived, before any is joined."""
    named = NETWORKS[network]
    model = built(named, 1, accuracy)
    x, t = batch_for(named, batch)
    graph = _step_graph(named, batch, accuracy, fused=fused)
    of_images = image_values(graph)
    values = _values(graph, model.parameters, x, t)
    calls: list[tuple[Equation | Loop, Callable[[], None]]] = []
    for node in graph.nodes:
        made = [graph.values[name] for name in node.outputs]
        if isinstance(node, View):
            values[node.output] = values[node.source].reshape(made[0].shape)
        elif isinstance(node, Concatenation):
            values[node.output] = np.concatenate([values[name] for name in node.sources], node.axis)
        else:
            values |= {value.name: empty(value.shape, value.dtype) for value in made}
            calls.append((node, _alone(graph, node, of_images, values)))
    times: dict[str, list[float]] = {node.output: [] for node, _ in calls}
    steps = list[float]()
    for _ in range(rounds + 2):
        for node, call in calls:
            times[node.output].append(_timed(call))
        steps.append(_timed(lambda: model.train_step(x, t)))
    # Two rounds to fill the caches.
    shares = [
        Share(node.output, graph.values[node.output].shape, _text(node), statistics.median(found[2:]))
        for (node, _), found in zip(calls, times.values(), strict=True)
    ]
    return Profile(tuple(sorted(shares, key=lambda share: -share.seconds)), statistics.median(steps[2:]))


def lines(found: Profile, top: int) -> Iterator[str]:
    """The table: the `top` slowest equations, the others together, all together, the step."""
    total = sum(share.seconds for share in found.shares)
    for share in found.shares[:top]:
        shape = "x".join(map(str, share.shape))
        yield f"{_cell(share.seconds, total)}  {share.output} {shape}  {share.text}"
    rest = found.shares[top:]
    if rest:
        yield f"{_cell(sum(share.seconds for share in rest), total)}  the other {len(rest)} equations"
    yield f"{_cell(total, total)}  all {len(found.shares)} equations, one by one"
    yield f"{found.step * 1e6:9.1f} us          a step as one program"


def _text(node: Equation | Loop) -> str:
    formulas = node.recurrence.formulas if isinstance(node, Loop) else (node.formula,)
    return "; ".join(map(to_text, formulas))


def _cell(seconds: float, total: float) -> str:
    return f"{seconds * 1e6:9.1f} us {100 * seconds / total:5.1f} %"


def _step_graph(named: Named, batch: int, accuracy: str, *, fused: bool) -> Graph:
    """The graph of a training step as it is lowered."""
    blueprint = Blueprint(
        topology=named.topology(),
        input_shape=named.shape,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(RATE),
        accuracy=accuracy,
    )
    step = step_graph(blueprint, batch, Target((), "int64"), norms=False)
    pruned = prune(step.graph, (*step.outputs.values(), *step.updates.values()))
    outputs = [pruned.names[name] for name in step.outputs.values()]
    updates = {state: pruned.names[name] for state, name in step.updates.items()}
    machine = target().machine
    if fused:
        return rewritten(pruned.graph, outputs, updates, machine)
    return with_fewer_multiplications(pruned.graph, accuracy, machine)


def _values(graph: Graph, parameters: Mapping[str, Array], x: Array, t: Array) -> dict[str, Array]:
    """The arrays of the graph's inputs: the batch, the parameters, and the rate for what else it takes."""
    given = {"x": x, "t": t, LIVE: np.ones(len(x)), ROWS: np.asarray(len(x)), **parameters}
    found = dict[str, Array]()
    for name in graph.inputs:
        value = graph.values[name]
        array = given.get(name, np.full(value.shape, RATE))
        found[name] = np.ascontiguousarray(array, value.dtype).reshape(value.shape)
    return found


def _alone(
    graph: Graph, node: Equation | Loop, of_images: Mapping[str, int], values: Mapping[str, Array]
) -> Callable[[], None]:
    """A call of the one equation or recurrence, which reads and writes `values`. Of an input only its first axis can
    count images: products in Winograd's form run as a whole here."""
    part = Graph(graph.dtype, graph.images)
    tables = {name: graph.tables[name] for name in node.sources if name in graph.tables}
    for name in node.sources:
        if name not in tables:
            part.input(name, graph.values[name].shape, graph.values[name].dtype, of_images=of_images.get(name) == 0)
    new = {name: graph.values[name] for name in (*node.outputs, *tables)}
    return graph_call(part.replace_nodes((node,), new, tables), list(node.outputs), values)


def _timed(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start
