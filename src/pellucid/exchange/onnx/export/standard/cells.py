"""Cell by cell: activations, arithmetic, and what stands along one axis (softmax, slopes of a channel)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from pellucid.exchange.onnx.export.nodes import Array, Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, pattern, single, texts_of
from pellucid.exchange.onnx.values import Order, channels_last
from pellucid.language.syntax import Access, Binary, Expr, Name, Number
from pellucid.nn.equations import activation
from pellucid.nn.equations.notation import formula

__all__ = ["propose"]

# Nodes for a value `x` and the constants of its equation.
Cells: TypeAlias = Callable[[Nodes, str, Mapping[str, int | float]], str]

_SAMPLE = (2, 4)


def propose(layer: Described) -> Proposal | None:
    """Nodes for a layer that computes cell by cell, or along one axis."""
    return _function(layer) or _arithmetic(layer) or _along_axis(layer) or _slopes(layer)


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


def _arithmetic(layer: Described) -> Proposal | None:
    """A sum, difference, product or quotient of two: layers, numbers, or parameters that are broadcast."""
    if len(layer.texts) != 1 or not layer.orders:
        return None
    equation = formula(layer.texts[0])
    names = [index.name for index in equation.output.indices if isinstance(index, Name)]
    operands = _operands(equation.body)
    if operands is None or len(names) != layer.rank or len(equation.output.indices) != layer.rank:
        return None
    op, parts = operands
    places = [_place(layer, part, names) for part in parts]
    if any(place is None for place in places) or sorted(filter(None, places)) != sorted(layer.layer.sources):
        return None
    order = layer.orders[0]

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        found: list[str] = []
        for part, place in zip(parts, places, strict=True):
            if place:
                found.append(sources[layer.layer.sources.index(place)])
            elif isinstance(part, Access):
                found.append(parameters.write(nodes, part.tensor, _broadcast(part, parameters, names, order)))
            else:
                assert isinstance(part, Name | Number)
                number = layer.constants[part.name] if isinstance(part, Name) else part.value
                found.append(nodes.number(float(number)))
        return nodes.add(op, *found)

    return Proposal((order,) * len(layer.orders), order, write, cellwise=not layer.layer.parameters)


_OPERATORS = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}


def _operands(body: Expr) -> tuple[str, list[Expr]] | None:
    """The operator and what stands beside it; sums of more than two are one operator too."""
    if not (isinstance(body, Binary) and body.op in _OPERATORS):
        return None
    parts: list[Expr] = [body.left, body.right]
    if body.op == "+":
        while isinstance(parts[0], Binary) and parts[0].op == "+":
            parts[:1] = [parts[0].left, parts[0].right]
        if len(parts) > 2:
            return "Sum", parts
    return _OPERATORS[body.op], parts


def _place(layer: Described, part: Expr, names: Sequence[str]) -> str | None:
    """The source that an operand is, "" for a number or a parameter that is read at axes of the result; else None."""
    if isinstance(part, Number) or (isinstance(part, Name) and part.name in layer.constants):
        return ""
    if not isinstance(part, Access):
        return None
    indices = [index.name for index in part.indices if isinstance(index, Name)]
    if part.tensor in layer.layer.sources:
        return part.tensor if indices == list(names) and len(part.indices) == len(names) else None
    plain = all((isinstance(index, Name) and index.name in names) or index == Number(0) for index in part.indices)
    return "" if plain and len(set(indices)) == len(indices) else None


def _broadcast(part: Access, parameters: Parameters, names: Sequence[str], order: Order) -> Array:
    """A parameter with an axis for each of the result, in the file's order."""
    array = parameters[part.tensor]
    kept = [place for place, index in enumerate(part.indices) if isinstance(index, Name)]
    array = array.reshape([array.shape[place] for place in kept])
    axes = [order[names.index(index.name)] for index in part.indices if isinstance(index, Name)]
    array = array.transpose(sorted(range(len(axes)), key=axes.__getitem__))
    shape = [1] * len(names)
    for extent, axis in zip(array.shape, sorted(axes), strict=True):
        shape[axis] = extent
    return array.reshape(shape)


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
