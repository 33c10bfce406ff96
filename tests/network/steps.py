"""Training steps of real networks as graphs and programs, without machine code."""

from __future__ import annotations

from pellucid import nn, optim
from pellucid.emit import target
from pellucid.network import prune
from pellucid.network.build import program_of
from pellucid.network.graph import Graph
from pellucid.network.program import Assembled
from pellucid.nn import programs
from pellucid.nn.blueprint import Blueprint
from pellucid.nn.programs import Target


def six_convolutions(width: int = 8) -> nn.Sequential:
    """Six 3x3 convolutions with batch norm, a pool behind each second one."""
    blocks: list[nn.Layer] = []
    for channels in (width, width, 2 * width, 2 * width, 4 * width, 4 * width):
        blocks += [nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU()]
        if len(blocks) % 6 == 0:
            blocks.append(nn.MaxPool2d(2))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(10))


NETWORKS = {
    "lenet5": (nn.lenet5, (28, 28, 1)),
    "six convolutions": (six_convolutions, (16, 16, 3)),
    "resnet": (lambda: nn.resnet(depth=10, width=8), (16, 16, 3)),
}


def step_of(name: str, batch: int, accuracy: str = "standard", dtype: str = "float32") -> tuple[Graph, list[str], dict]:
    """The pruned graph of a training step, its outputs and its updates."""
    make, shape = NETWORKS[name]
    found = []

    def capture(graph, outputs, *, updates, **_):
        pruned = prune.prune(graph, (*outputs, *updates.values()))
        wanted = list(dict.fromkeys(pruned.names[name] for name in outputs))
        found.append((pruned.graph, wanted, {state: pruned.names[value] for state, value in updates.items()}))
        raise InterruptedError

    model = make().build(
        shape,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(0.1, momentum=0.9),
        accuracy=accuracy,
        dtype=dtype,
        clip_norm=1.0,
    )
    blueprint: Blueprint = model._blueprint
    kept, programs.compile_graph = programs.compile_graph, capture
    try:
        programs.training_step(blueprint, batch, Target((), "int64"), norms=False)
    except InterruptedError:
        pass
    finally:
        programs.compile_graph = kept
    (step,) = found
    return step


def assembled_step(name: str, batch: int, accuracy: str = "standard") -> Assembled:
    """The program of a training step for this processor."""
    graph, outputs, updates = step_of(name, batch, accuracy)
    return program_of(graph, outputs, updates, target().machine)
