"""The proof: what is right passes it, and every planted fault is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pellucid import nn
from pellucid.exchange.onnx.export import proof
from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.standard import Parameters, Proposal, propose
from pellucid.exchange.onnx.values import channels_last, natural
from pellucid.nn.layer import Place
from pellucid.nn.written import WrittenLayer, write_down


def written(layer, *shapes: tuple[int, ...]) -> WrittenLayer:
    return write_down(Place("0", layer, (-1,) * len(shapes)), shapes)


def proposed(layer: WrittenLayer) -> Proposal:
    found = propose(layer, [channels_last(len(shape) + 1) for shape in layer.shapes], 17)
    assert found is not None
    return found


def changed(proposal: Proposal, change: Callable[[Nodes], None]) -> Proposal:
    """The proposal with its nodes changed behind it."""

    def write(nodes, sources, parameters):
        name = proposal.write(nodes, sources, parameters)
        change(nodes)
        return name

    return replace(proposal, write=write)


def attribute(name: str, value) -> Callable[[Nodes], None]:
    def change(nodes: Nodes) -> None:
        (found,) = [entry for node in nodes.written for entry in node.attribute if entry.name == name]
        if isinstance(value, float):
            found.f = value
        elif isinstance(value, int):
            found.i = value
        else:
            found.ints[:] = value

    return change


def swapped(one: int, other: int) -> Callable[[Nodes], None]:
    """Two inputs of the node with most of them in each other's place."""

    def change(nodes: Nodes) -> None:
        names = max(nodes.written, key=lambda node: len(node.input)).input
        names[one], names[other] = names[other], names[one]

    return change


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Nodes], None]:
    def apply(nodes: Nodes) -> None:
        nodes.initialisers[name] = np.ascontiguousarray(change(nodes.initialisers[name]))

    return apply


CONV = written(nn.Conv2d(4, 3, stride=2, padding=1), (5, 5, 4))
NORM = written(nn.BatchNorm2d(), (5, 5, 4))
LSTM = written(nn.LSTM(4), (5, 4))
GRU = written(nn.GRU(4), (5, 4))

FAULTS = {
    "padding on the other side": (CONV, attribute("pads", [1, 1, 0, 0])),
    "another stride": (CONV, attribute("strides", [2, 1])),
    "a dilation": (CONV, attribute("dilations", [1, 2])),
    "rows for columns of the window": (CONV, array("weight", lambda w: w.swapaxes(2, 3))),
    "channels in for channels out": (CONV, array("weight", lambda w: w.swapaxes(0, 1))),
    "one weight": (CONV, array("weight", lambda w: w + 1e-3 * (np.arange(w.size).reshape(w.shape) == 7))),
    "no bias": (CONV, lambda nodes: nodes.written[0].input.pop()),
    "a little more epsilon": (NORM, attribute("epsilon", 1.01e-5)),
    "scale for bias": (NORM, swapped(1, 2)),
    "mean for variance": (NORM, swapped(3, 4)),
    "another slope": (written(nn.LeakyReLU(0.2), (5, 5, 4)), attribute("alpha", 0.2001)),
    "another axis": (written(nn.Softmax(), (4, 4, 4)), attribute("axis", 2)),
    "the reset before the product": (GRU, attribute("linear_before_reset", 0)),
    "gates of an LSTM": (LSTM, array("weight_ih_l0", lambda w: np.roll(w, 4, axis=1))),
    "state for input": (LSTM, swapped(1, 2)),
    "biases of a GRU": (GRU, array("bias_ih_l0", lambda b: np.roll(b, 4, axis=1))),
    "another difference": (
        written(nn.EquationLayer("z[n,c] = x[n,c] - y[n,c]"), (4,), (4,)), swapped(0, 1)
    ),
    "a pool of means that counts padding": (
        written(nn.AvgPool2d(3, padding=1, count_include_pad=False), (6, 6, 2)), attribute("count_include_pad", 1)
    ),
    "channels in another order": (
        written(nn.EquationLayer("z[n,i,j,c] = x[n,i,j,c]*w[c]", parameters={"w": "he_normal"}), (5, 5, 4)),
        array("w", lambda w: w[:, ::-1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen(name: str):
    layer, fault = FAULTS[name]
    proposal = proposed(layer)
    assert proof.is_proved(layer, proposal, 17)
    assert not proof.is_proved(layer, changed(proposal, fault), 17)


def test_axes_in_another_order_are_seen():
    layer = written(nn.Conv2d(4, 3, padding=1), (4, 4, 4))
    proposal = proposed(layer)
    assert proof.is_proved(layer, proposal, 17)
    assert not proof.is_proved(layer, replace(proposal, gives=natural(4)), 17)
    assert not proof.is_proved(layer, replace(proposal, reads=(natural(4),)), 17)


def test_nodes_that_are_no_valid_onnx_prove_nothing():
    def write(nodes: Nodes, sources, parameters: Parameters) -> str:
        return nodes.add("NoSuchOperator", *sources)

    layer = written(nn.ReLU(), (4,))
    assert not proof.is_proved(layer, replace(proposed(layer), write=write), 17)


@pytest.mark.parametrize(
    ("layer", "shape", "by_text"),
    [
        (nn.Conv2d(4, 3, padding="same", groups=2), (5, 5, 4), True),
        (nn.Conv2d(4, 3, flip=True), (5, 5, 4), False),
        (nn.ConvTranspose2d(4, 3, stride=2), (5, 5, 4), True),
        (nn.MaxPool2d(2), (6, 6, 2), True),
        (nn.AvgPool2d(2), (6, 6, 2), True),
        (nn.BatchNorm2d(), (5, 5, 4), True),
        (nn.Linear(5), (4,), True),
        (nn.LayerNorm(), (5, 4), True),
        (nn.ReLU(), (5, 5, 4), True),
        (nn.Softmax(), (4,), True),
        (nn.GELU(), (4,), False),
    ],
)
def test_usual_layers_are_proved_by_their_texts(layer, shape, by_text: bool, monkeypatch: pytest.MonkeyPatch):
    """Where reading gives the same equations nothing has to be evaluated."""
    monkeypatch.setattr(proof, "_agree", lambda *_: False)
    found = written(layer, shape)
    assert proof.is_proved(found, proposed(found), 17) == by_text
