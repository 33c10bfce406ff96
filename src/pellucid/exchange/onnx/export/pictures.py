"""What stands around a network of pictures: from bytes to its input, and from its output to probabilities.

A picture is resized as training resizes it, by the triangle filter of Pillow's BILINEAR: for each axis a matrix of
weights, which the file computes for the size that comes, and rounding to bytes after each of the two products. The
result is within one step of a byte of Pillow's, which takes rows first or columns, and averages whole pixels before
where a picture shrinks more than six times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from pellucid import nn
from pellucid.errors import ArgumentError
from pellucid.exchange.model_files import Preprocessing
from pellucid.exchange.onnx.export.network import Value
from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.values import channels_last
from pellucid.nn.layer import Shape

__all__ = ["write_preprocessing", "write_probabilities"]

_DOUBLE = onnx.TensorProto.DOUBLE
# ITU-R BT.601, as Pillow has it: thousandths of red, green and blue.
_GRAY = (0.299, 0.587, 0.114)


def write_preprocessing(nodes: Nodes, preprocessing: Preprocessing, shape: Shape) -> Value:
    """From `input`, red, green and blue bytes (batch, height, width, 3) of any size, to the network's input.

    Raises ArgumentError where the network takes no pictures, or the way of resizing is not known.
    """
    channels = {"gray": 1, "rgb": 3}.get(preprocessing.color)
    if len(shape) != 3 or shape[2] != channels or len(preprocessing.mean) != channels:
        raise ArgumentError(f"`preprocessing` ({preprocessing.color}) makes no inputs of shape {shape}")
    nodes.place = "preprocessing"
    kind = {"float32": onnx.TensorProto.FLOAT, "float64": _DOUBLE}[nodes.dtype.name]
    x = nodes.add("Cast", "input", to=kind)
    if channels == 1:
        x = _rounded(nodes, nodes.add("MatMul", x, nodes.constant(np.asarray(_GRAY, np.float64).reshape(3, 1))))
    x = nodes.transpose(x, (0, 3, 1, 2))
    height, width = _resizings(nodes, preprocessing.resize, shape)
    across = nodes.transpose(_weights(nodes, width, kind), (1, 0))
    x = _rounded(nodes, nodes.add("MatMul", x, across))
    x = _rounded(nodes, nodes.add("MatMul", _weights(nodes, height, kind), x))
    x = nodes.add("Div", x, nodes.number(255))
    mean, deviation = (
        nodes.constant(np.asarray(numbers, np.float64).reshape(-1, 1, 1))
        for numbers in (preprocessing.mean, preprocessing.deviation)
    )
    x = nodes.add("Div", nodes.add("Sub", x, mean), deviation)
    nodes.place = ""
    return Value(x, shape, channels_last(4))


def write_probabilities(nodes: Nodes, result: Value, loss: nn.Loss | None) -> Value:
    """The network's output as probabilities of the classes, as its loss understands it.

    Raises ArgumentError for a model without a loss.
    """
    if loss is None:
        raise ArgumentError("`probabilities` follow from the model's loss, and it was built without one")
    if isinstance(loss, nn.CrossEntropyLoss):
        name = nodes.add("Softmax", result.name, axis=result.order[-1])
    elif isinstance(loss, nn.NLLLoss):
        name = nodes.add("Exp", result.name)
    elif isinstance(loss, nn.BCEWithLogitsLoss):
        name = nodes.add("Sigmoid", result.name)
    else:
        name = result.name
    return Value(name, result.shape, result.order)


@dataclass(frozen=True)
class _Resizing:
    """How an axis of `pixels` (a number in the file) becomes one of `count`: cell `i - first` of `inner` cells lies at
    `start + (i - first + 0.5)*step`; others are black."""

    pixels: str
    count: int
    start: str
    step: str
    first: str
    inner: str


def _resizings(nodes: Nodes, resize: str, shape: Shape) -> tuple[_Resizing, _Resizing]:
    """Those of height and width."""
    if resize not in ("crop", "pad", "stretch"):
        raise ArgumentError(f"`preprocessing` resizes by {resize!r}, which is not known; known: crop, pad, stretch")
    size = nodes.add("Shape", "input")
    pixels = [
        nodes.add("Cast", nodes.add("Gather", size, nodes.constant(np.asarray(axis, np.int64))), to=_DOUBLE)
        for axis in (1, 2)
    ]
    counts = shape[:2]
    wanted = [_double(nodes, count) for count in counts]
    none = _double(nodes, 0)
    if resize == "stretch":
        return tuple(  # type: ignore[return-value]
            _Resizing(n, count, none, nodes.add("Div", n, goal), none, goal)
            for n, count, goal in zip(pixels, counts, wanted, strict=True)
        )
    if resize == "crop":
        ratio = nodes.add("Min", *(nodes.add("Div", n, goal) for n, goal in zip(pixels, wanted, strict=True)))
        made: list[_Resizing] = []
        for n, count, goal in zip(pixels, counts, wanted, strict=True):
            rest = nodes.add("Sub", n, nodes.add("Mul", goal, ratio))
            start = nodes.add("Max", nodes.add("Mul", rest, _double(nodes, 0.5)), none)
            inside = nodes.add("Sub", n, nodes.add("Mul", start, _double(nodes, 2)))
            made.append(_Resizing(n, count, start, nodes.add("Div", inside, goal), none, goal))
        return made[0], made[1]
    ratio = nodes.add("Min", *(nodes.add("Div", goal, n) for n, goal in zip(pixels, wanted, strict=True)))
    made = []
    for n, count, goal in zip(pixels, counts, wanted, strict=True):
        inner = nodes.add("Round", nodes.add("Mul", n, ratio))
        inner = nodes.add("Min", goal, nodes.add("Max", inner, _double(nodes, 1)))
        bars = nodes.add("Mul", nodes.add("Sub", goal, inner), _double(nodes, 0.5))
        made.append(_Resizing(n, count, none, nodes.add("Div", n, inner), nodes.add("Floor", bars), inner))
    return made[0], made[1]


def _weights(nodes: Nodes, axis: _Resizing, kind: int) -> str:
    """The weights of all pixels in each cell, (count, pixels): a triangle as wide as two cells, or as two pixels where
    the picture grows; their sum is 1."""
    zero, half, one = (_double(nodes, value) for value in (0, 0.5, 1))
    cells = nodes.add("Sub", _doubles(nodes, np.arange(axis.count)), axis.first)
    centres = nodes.add("Add", nodes.add("Mul", nodes.add("Add", cells, half), axis.step), axis.start)
    pixels = nodes.add("Add", nodes.add("Range", zero, axis.pixels, one), half)
    apart = nodes.add("Abs", nodes.add("Sub", nodes.unsqueeze(centres, [1]), pixels))
    width = nodes.add("Max", axis.step, one)
    weights = nodes.add("Max", nodes.add("Sub", one, nodes.add("Div", apart, width)), zero)
    total = nodes.add("ReduceSum", weights, nodes.integers(1), keepdims=1)
    inside = nodes.add(
        "And", nodes.add("GreaterOrEqual", cells, zero), nodes.add("Less", cells, axis.inner)
    )  # fmt: skip
    weights = nodes.add("Div", weights, nodes.add("Max", total, _double(nodes, 1e-12)))
    weights = nodes.add("Where", nodes.unsqueeze(inside, [1]), weights, zero)
    return nodes.add("Cast", weights, to=kind)


def _rounded(nodes: Nodes, x: str) -> str:
    """To the nearest byte, a half upwards, as Pillow rounds."""
    whole = nodes.add("Floor", nodes.add("Add", x, nodes.number(0.5)))
    return nodes.add("Clip", whole, nodes.number(0), nodes.number(255))


def _double(nodes: Nodes, value: float) -> str:
    return _doubles(nodes, np.asarray(value))


def _doubles(nodes: Nodes, array: np.ndarray) -> str:
    """Positions in a picture are computed in float64, whatever the network computes in."""
    return nodes.exactly(array.astype(np.float64))
