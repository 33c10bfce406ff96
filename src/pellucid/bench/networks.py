"""The networks that are measured, laid out for those who build a peer's network of the same layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid import nn
from pellucid.errors import ArgumentError
from pellucid.network import Equation, Loop
from pellucid.network import Graph as Equations
from pellucid.nn.assembly import lay_out
from pellucid.nn.equations.window import Window, convolution_windows, per_axis, pooling_windows
from pellucid.nn.layer import Block, Layer, Place, Shape
from pellucid.nn.summary import multiply_adds
from pellucid.nn.symbolic import Symbol
from pellucid.nn.topology import INPUT, Topology

__all__ = ["NETWORKS", "Named", "Step", "batch_for", "peer_array", "steps_of", "windows_of", "work_of"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Named:
    """A network with the shape of its inputs, images or sequences, and the number of its classes."""

    make: Callable[[], nn.Sequential | nn.Graph]
    shape: Shape
    classes: int = 10

    def topology(self) -> Topology:
        """The layers in order of running."""
        places = list[Place]()
        output = self.make().place_into(places, (INPUT,), "")
        return Topology(tuple(places), output)


@dataclass(frozen=True)
class Step:
    """A layer in order of running: the steps it reads (-1 is the input), and shapes without the batch axis."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    input_shape: Shape
    shape: Shape


def plain(stages: tuple[tuple[int, int], ...], classes: int) -> nn.Sequential:
    """3x3 convolutions with batch norm and ReLU: for each stage (convolutions, channels) and a pool; then a Linear."""
    blocks = list[Block]()
    for count, channels in stages:
        for _ in range(count):
            blocks += [nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU()]
        blocks.append(nn.MaxPool2d(2))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(classes))


def resnet50(classes: int = 1000, width: int = 64) -> nn.Graph:
    """The residual network of 50 layers (arXiv:1512.03385) for images of about 224x224, with the stride of a stage in
    the 3x3 convolution of its first block."""
    x = nn.Input()
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(width, 7, stride=2, padding=3, bias=False)(x)))
    h = nn.MaxPool2d(3, stride=2, padding=1)(h)
    for number, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            h = _bottleneck(h, width * 2**number, 2 if number and not block else 1, projected=not block)
    return nn.Graph(x, nn.Linear(classes)(nn.GlobalAvgPool()(h)))


def _bottleneck(x: Symbol, channels: int, stride: int, *, projected: bool) -> Symbol:
    """1x1, 3x3 and 1x1 convolutions, the last to four times the channels, beside a shortcut."""
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(channels, 1, bias=False)(x)))
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(channels, 3, stride=stride, padding=1, bias=False)(h)))
    h = nn.BatchNorm2d()(nn.Conv2d(4 * channels, 1, bias=False)(h))
    shortcut = nn.BatchNorm2d()(nn.Conv2d(4 * channels, 1, stride=stride, bias=False)(x)) if projected else x
    return nn.ReLU()(h + shortcut)


NETWORKS: Mapping[str, Named] = MappingProxyType(
    {
        "lenet5": Named(nn.lenet5, (28, 28, 1)),
        "conv6": Named(lambda: plain(((2, 32), (2, 64), (2, 128)), 10), (32, 32, 3)),
        "resnet18": Named(nn.resnet, (32, 32, 3)),
        "vgg16": Named(lambda: plain(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 10), (32, 32, 3)),
        "resnet50": Named(resnet50, (224, 224, 3), 1000),
        # 28 rows of 28 pixels, as the digits have them.
        "rnn128": Named(lambda: nn.Sequential(nn.RNN(128, output="last"), nn.Linear(10)), (28, 28)),
        "lstm128": Named(lambda: nn.Sequential(nn.LSTM(128, output="last"), nn.Linear(10)), (28, 28)),
        "gru128": Named(lambda: nn.Sequential(nn.GRU(128, output="last"), nn.Linear(10)), (28, 28)),
    }
)


def batch_for(named: Named, batch: int) -> tuple[Array, Array]:
    """Gaussian inputs and random labels, the same in every run."""
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, *named.shape), dtype=np.float32)
    return images, random.integers(0, named.classes, batch)


def steps_of(named: Named) -> list[Step]:
    """The layers with their shapes."""
    topology = named.topology()
    steps, shapes = list[Step](), dict[int, Shape]({INPUT: named.shape})
    graph = Equations()
    laid = lay_out(graph, topology, (graph.input("x", (2, *named.shape)),), training=True)
    for number, place in enumerate(topology.places):
        shapes[number] = graph.values[laid.outputs[place.name]].shape[1:]
        steps.append(Step(place.name, place.layer, place.inputs, shapes[place.inputs[0]], shapes[number]))
    return steps


def work_of(named: Named, *, training: bool) -> int:
    """Nominal operations for an image: two for each multiply-add of a product; three products a layer in training,
    two for the layer that reads the images."""
    topology, graph = named.topology(), Equations()
    lay_out(graph, topology, (graph.input("x", (1, *named.shape)),), training=False)
    nodes = [node for node in graph.nodes if isinstance(node, Equation | Loop)]
    work = {node.output: multiply_adds(node) for node in nodes}
    if not training:
        return 2 * sum(work.values())
    first = sum(work[node.output] for node in nodes if "x" in node.sources)
    return 2 * (3 * sum(work.values()) - first)


def windows_of(step: Step) -> tuple[Window, ...]:
    """The windows of a convolution or a pool: kernel, stride, padding for each axis."""
    layer = step.layer
    if isinstance(layer, nn.Conv2d):
        kernel = per_axis("kernel_size", layer.kernel_size, 2, 1)
        return convolution_windows(step.input_shape[:2], kernel, layer.stride, layer.padding, layer.dilation)
    if isinstance(layer, nn.MaxPool2d):
        kernel = per_axis("kernel_size", layer.kernel_size, 2, 1)
        stride = kernel if layer.stride is None else layer.stride
        return pooling_windows(step.input_shape[:2], kernel, stride, layer.padding, layer.dilation, layer.ceil_mode)
    raise ArgumentError(f"layer {step.name} ({type(layer).__name__}) has no windows")


def peer_array(steps: list[Step], name: str, array: Array) -> Array:
    """A parameter of ours, or its gradient, in the layout of those with channels before rows and columns:
    kernels [out, in, rows, columns], dense weights [out, in], their inputs in that order where maps are flattened,
    recurrent weights [gates * out, in]."""
    layer_name, _, parameter = name.rpartition(".")
    number = next(number for number, step in enumerate(steps) if step.name == layer_name)
    step = steps[number]
    if isinstance(step.layer, nn.RNN | nn.LSTM | nn.GRU):
        whole = array.reshape(len(array), -1).T if parameter.startswith("weight") else array.ravel()
        return np.ascontiguousarray(whole)
    if parameter != "weight" or isinstance(step.layer, nn.BatchNorm2d):
        return array
    if isinstance(step.layer, nn.Conv2d):
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
    before = steps[step.inputs[0]]
    if isinstance(before.layer, nn.Flatten) and len(before.input_shape) == 3:
        array = array.reshape(*before.input_shape, -1).transpose(2, 0, 1, 3).reshape(prod(before.input_shape), -1)
    return np.ascontiguousarray(array.T)
