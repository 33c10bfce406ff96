"""Where the time of a training step goes: every equation of the program compiled alone, on the step's own values.

    python bench/profile.py [lenet5 | conv6 | resnet18] [--batch 32] [--rounds 15] [--top 30] [--unfused]

The equations run one after the other in the order of the step, each on the arrays that the ones before it filled, so
that caches hold what they hold in a step, except that updates are not written in place and that every value has memory
of its own. A figure is the median of the thread's own time over the rounds. The sum is larger than a step by a call
for each equation; the last line has the step itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import nn, optim
from pellucid.language.render import to_text
from pellucid.network import Equation, Graph, View, compile_graph
from pellucid.network import run as network_run


def conv6() -> nn.Sequential:
    """Six 3x3 convolutions with batch norm and ReLU, a pool behind each pair."""
    blocks: list[Any] = []
    for number, channels in enumerate((32, 32, 64, 64, 128, 128)):
        blocks += [nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU()]
        blocks += [nn.MaxPool2d(2)] if number % 2 else []
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(10))


NETWORKS: Mapping[str, tuple[Callable[[], Any], tuple[int, int, int]]] = {
    "lenet5": (nn.lenet5, (28, 28, 1)),
    "conv6": (conv6, (32, 32, 3)),
    "resnet18": (nn.resnet, (32, 32, 3)),
}


def build(name: str, batch: int) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """A model with cross-entropy and SGD with momentum, and a batch for it."""
    make, shape = NETWORKS[name]
    model = make().build(shape, loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.01, momentum=0.9))
    random = np.random.default_rng(0)
    return model, random.normal(size=(batch, *shape)).astype("float32"), random.integers(0, 10, batch)


def unfused(graph: Graph, wanted: object, updates: object = None) -> Graph:
    """In the place of `fuse`: the graph as it is."""
    return graph


def step_graph(model: Any, x: NDArray[Any], t: NDArray[Any]) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """The graph of a training step as it is lowered, and the arrays of its inputs."""
    seen: list[Graph] = []
    assemble = network_run.place_updates

    def place_updates(graph: Graph, *arguments: Any) -> dict[str, str]:
        homes = assemble(graph, *arguments)
        seen.append(graph)
        return homes

    network_run.place_updates = place_updates
    model.train_step(x, t)
    network_run.place_updates = assemble
    graph = seen[-1]
    inputs = {"x": x, "t": t, **model._state.arrays, **model._constants}
    for name in graph.inputs:
        inputs.setdefault(name, np.full(graph.values[name].shape, 0.01, graph.values[name].dtype))
    return graph, {name: np.ascontiguousarray(inputs[name]) for name in graph.inputs}


def alone(graph: Graph, node: Equation, values: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
    """A call of the one equation, which reads and writes `values`."""
    part = Graph(graph.dtype)
    for name in node.sources:
        part.input(name, graph.values[name].shape, graph.values[name].dtype)
    part = part.replace_nodes((node,), {node.output: graph.values[node.output]})
    engine = compile_graph(part, [node.output]).engine.bound({name: values[name] for name in node.sources})
    made = {node.output: values[node.output]}
    return lambda: engine.run({}, made)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="lenet5", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--unfused", action="store_true", help="the equations as they were derived")
    given = parser.parse_args()
    if given.unfused:
        network_run.fuse = unfused
    model, x, t = build(given.network, given.batch)
    graph, values = step_graph(model, x, t)
    calls: list[tuple[Equation, Callable[[], None]]] = []
    for node in graph.nodes:
        value = graph.values[node.output]
        if isinstance(node, View):
            values[node.output] = values[node.source].reshape(value.shape)
        else:
            values[node.output] = np.empty(value.shape, value.dtype)
            calls.append((node, alone(graph, node, values)))
    times: dict[str, list[float]] = {node.output: [] for node, _ in calls}
    steps: list[float] = []
    for _ in range(given.rounds + 2):
        for node, call in calls:
            start = time.thread_time()
            call()
            times[node.output].append(time.thread_time() - start)
        start = time.thread_time()
        model.train_step(x, t)
        steps.append(time.thread_time() - start)
    medians = {name: statistics.median(found[2:]) * 1e6 for name, found in times.items()}
    total = sum(medians.values())
    ranked = sorted(calls, key=lambda call: -medians[call[0].output])
    for node, _ in ranked[: given.top]:
        took = medians[node.output]
        shape = "x".join(map(str, graph.values[node.output].shape))
        print(f"{took:9.1f} us {100 * took / total:5.1f} %  {node.output} {shape}  {to_text(node.formula)}")
    rest = sum(medians[node.output] for node, _ in ranked[given.top :])
    print(f"{rest:9.1f} us {100 * rest / total:5.1f} %  the other {max(0, len(ranked) - given.top)} equations")
    print(f"{total:9.1f} us all {len(ranked)} equations, one by one")
    print(f"{statistics.median(steps[2:]) * 1e6:9.1f} us a step as one program")


if __name__ == "__main__":
    main()
