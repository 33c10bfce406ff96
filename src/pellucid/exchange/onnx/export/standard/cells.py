"""Cell by cell: activations, sums of two layers, and what stands along one axis (softmax, slopes of a channel)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, pattern, single, texts_of
from pellucid.exchange.onnx.values import channels_last
from pellucid.nn.equations import activation, shape

__all__ = ["propose"]

# Nodes for a value `x` and the constants of its equation.
Cells: TypeAlias = Callable[[Nodes, str, Mapping[str, int | float]], str]

_SAMPLE = (2, 4)


def propose(layer: Described) -> Proposal | None:
    """Nodes for a layer that computes cell by cell, or along one axis."""
    return _function(layer) or _sum(layer) or _along_axis(layer) or _slopes(layer)


def _function(layer: Described) -> Proposal | None:
    found = _functions().get(pattern(layer.texts))
    if found is None or len(layer.orders) != 1 or layer.layer.parameters:
        return None
    cells, least = found
    if isinstance(cells, dict):
        cells = cells[max(version for version in cells if version <= layer.opset)]
    if layer.opset < least:
        return None

    def write(nodes: Nodes, sources: Sequence[str], _: Parameters) -> str:
        return cells(nodes, sources[0], layer.constants)

    order = layer.orders[0]
    return Proposal((order,), order, write, cellwise=True)


def _sum(layer: Described) -> Proposal | None:
    if pattern(layer.texts) != pattern(texts_of(shape.add(_SAMPLE, _SAMPLE))) or len(layer.orders) != 2:
        return None
    order = layer.orders[0]
    return Proposal((order, order), order, single("Add"), cellwise=True)


def _along_axis(layer: Described) -> Proposal | None:
    """Softmax, and its logarithm."""
    if len(layer.orders) != 1 or layer.layer.parameters:
        return None
    for op, equations in (("Softmax", activation.softmax), ("LogSoftmax", activation.log_softmax)):
        for dim in range(layer.rank):
            if layer.texts == texts_of(equations((2, *layer.shape), dim=dim)):
                order = layer.orders[0]
                return Proposal((order,), order, single(op, axis=order[dim]))
    return None


def _slopes(layer: Described) -> Proposal | None:
    slopes = layer.parameter("a")
    if slopes is None or len(slopes) != 1 or len(layer.orders) != 1:
        return None
    if layer.texts != texts_of(activation.prelu((2, *layer.shape), slopes)):
        return None
    order = channels_last(layer.rank)

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        array = parameters["a"].reshape(-1, *(1 for _ in range(layer.rank - 2)))
        return nodes.add("PRelu", sources[0], parameters.write(nodes, "a", array))

    return Proposal((order,), order, write)


def _op(name: str, **attributes: str | float) -> Cells:
    """One operator; an attribute is a number, or the name of a constant of the equation."""

    def cells(nodes: Nodes, x: str, constants: Mapping[str, int | float]) -> str:
        numbers: dict[str, Any] = {
            key: float(constants[value] if isinstance(value, str) else value) for key, value in attributes.items()
        }
        return nodes.add(name, x, **numbers)

    return cells


def _clip(low: str | float, high: str | float) -> Cells:
    def cells(nodes: Nodes, x: str, constants: Mapping[str, int | float]) -> str:
        ends = (constants[end] if isinstance(end, str) else end for end in (low, high))
        return nodes.add("Clip", x, *(nodes.number(float(end)) for end in ends))

    return cells


def _times(name: str) -> Cells:
    """`x * f(x)`."""
    return lambda nodes, x, _: nodes.add("Mul", x, nodes.add(name, x))


def _mish(nodes: Nodes, x: str, _: Mapping[str, int | float]) -> str:
    return nodes.add("Mul", x, nodes.add("Tanh", nodes.add("Softplus", x)))


def _logsigmoid(nodes: Nodes, x: str, _: Mapping[str, int | float]) -> str:
    return nodes.add("Neg", nodes.add("Softplus", nodes.add("Neg", x)))


def _softplus(nodes: Nodes, x: str, constants: Mapping[str, int | float]) -> str:
    if constants["B"] == 1:
        return nodes.add("Softplus", x)
    scale = nodes.number(float(constants["B"]))
    return nodes.add("Div", nodes.add("Softplus", nodes.add("Mul", x, scale)), scale)


def _gelu_op(approximate: str) -> Cells:
    return lambda nodes, x, _: nodes.add("Gelu", x, approximate=approximate)


def _gelu(nodes: Nodes, x: str, constants: Mapping[str, int | float]) -> str:
    inner = nodes.add("Erf", nodes.add("Mul", x, nodes.number(float(constants["R"]))))
    return _half_of(nodes, x, inner)


def _gelu_tanh(nodes: Nodes, x: str, constants: Mapping[str, int | float]) -> str:
    cube = nodes.add("Mul", nodes.add("Mul", nodes.add("Mul", x, x), x), nodes.number(0.044715))
    inner = nodes.add("Mul", nodes.add("Add", x, cube), nodes.number(float(constants["Q"])))
    return _half_of(nodes, x, nodes.add("Tanh", inner))


def _half_of(nodes: Nodes, x: str, inner: str) -> str:
    """`0.5 * x * (1 + inner)`."""
    return nodes.add("Mul", nodes.add("Mul", x, nodes.number(0.5)), nodes.add("Add", inner, nodes.number(1)))


@cache
def _functions() -> Mapping[tuple[str, ...], tuple[Cells | dict[int, Cells], int]]:
    """For the pattern of a function's equation: its nodes, by the set of operators they begin with where that tells,
    and the first set that has them."""
    x = _SAMPLE
    entries: list[tuple[object, Cells | dict[int, Cells], int]] = [
        (activation.sigmoid(x), _op("Sigmoid"), 0),
        (activation.logsigmoid(x), _logsigmoid, 0),
        (activation.tanh(x), _op("Tanh"), 0),
        (activation.relu(x), _op("Relu"), 0),
        (activation.relu6(x), _clip(0, 6), 0),
        (activation.leaky_relu(x), _op("LeakyRelu", alpha="A"), 0),
        (activation.elu(x), _op("Elu", alpha="A"), 0),
        (
            activation.selu(x),
            lambda nodes, x, c: nodes.add("Selu", x, gamma=float(c["L"]), alpha=float(c["LA"] / c["L"])),
            0,
        ),
        (activation.softplus(x), _softplus, 0),
        (activation.softsign(x), _op("Softsign"), 0),
        (activation.silu(x), _times("Sigmoid"), 0),
        (activation.gelu(x), {0: _gelu, 20: _gelu_op("none")}, 0),
        (activation.gelu(x, approximate="tanh"), {0: _gelu_tanh, 20: _gelu_op("tanh")}, 0),
        (activation.hardsigmoid(x), _op("HardSigmoid", alpha=1 / 6, beta=0.5), 0),
        (activation.hardswish(x), _op("HardSwish"), 14),
        (activation.mish(x), {0: _mish, 18: _op("Mish")}, 0),
        (activation.hardtanh(x), _clip("LO", "HI"), 0),
    ]
    return {pattern(texts_of(system)): (cells, least) for system, cells, least in entries}  # type: ignore[arg-type]
