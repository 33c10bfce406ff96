"""What `pellucid explain` can be asked about: layers by name, with one channel, and equations as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from pellucid.errors import ArgumentError

__all__ = ["LAYERS", "Cell", "LayerOptions", "Subject", "layer_subject", "parse_cell", "parse_shape", "text_subject"]

LAYERS = {"conv1d": 1, "conv2d": 2, "conv3d": 3, "max_pool1d": 1, "max_pool2d": 2, "avg_pool1d": 1, "avg_pool2d": 2}

PADDINGS = ("valid", "same", "full")


@dataclass(frozen=True)
class Subject:
    """An equation's text, its constants, the shapes of its arrays, and extents that they leave open."""

    text: str
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, int | float] = field(default_factory=dict[str, "int | float"])
    extents: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Cell:
    """An array's name with the indices of one cell, or None for all of them."""

    tensor: str
    index: tuple[int, ...] | None


@dataclass(frozen=True)
class LayerOptions:
    """The attributes of a layer as they were typed; None where one was not."""

    input: str | None = None
    kernel: str | None = None
    stride: str | None = None
    padding: str | None = None
    dilation: str | None = None


def parse_shape(option: str, text: str) -> tuple[int, ...]:
    """The extents in `3x3`, `5` or `8x28x28x1`."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise ArgumentError(f"`{option}` (={text}) must be extents of at least 1, such as 5 or 3x3")
    return tuple(int(extent) for extent in text.split("x"))


def parse_cell(option: str, text: str) -> Cell:
    """The cell in `x[1,2]`, or every cell of the array in `x`."""
    match = re.fullmatch(r"(\w+)(?:\[\s*(\d+(?:\s*,\s*\d+)*)\s*\])?", text)
    if match is None:
        raise ArgumentError(f"`{option}` (={text}) must be an array with indices, such as x[1,1], or its name alone")
    name, indices = match.groups()
    return Cell(name, None if indices is None else tuple(int(index) for index in indices.split(",")))


def text_subject(text: str, shapes: Sequence[str], settings: Sequence[str]) -> Subject:
    """A typed equation with `x=3x3` shapes and `S=2` constants."""
    pairs = [_pair("--shape", shape) for shape in shapes]
    return Subject(
        text,
        {name: parse_shape("--shape", value) for name, value in pairs},
        {name: _number("--set", value) for name, value in (_pair("--set", setting) for setting in settings)},
    )


def layer_subject(layer: str, options: LayerOptions) -> Subject:
    """The equation of a layer with one image, one input channel and one kernel.

    Attributes of the value that means nothing (stride 1, padding 0, dilation 1) are left out of the text.
    """
    rank, pools = LAYERS[layer], "pool" in layer
    extents = _per_axis("--input", options.input or "x".join(["3"] * rank), rank)
    kernel = _per_axis("--kernel", options.kernel or "x".join(["2"] * rank), rank)
    stride = kernel if pools and options.stride is None else _per_axis("--stride", options.stride or "1", rank)
    dilation = _per_axis("--dilation", options.dilation or "1", rank)
    padding, given = _padding(options.padding or "0", extents, kernel, stride, dilation)
    outputs, windows = "ijk"[:rank], "stu"[:rank]
    constants = {
        **_constants("S", stride, 1),
        **_constants("D", dilation, 1),
        **_constants("P", padding, 0),
    }
    indices = ", ".join(
        _times(outputs[axis], "S", stride, axis, 1)
        + "+"
        + _times(windows[axis], "D", dilation, axis, 1)
        + (f"-{_constant('P', padding, axis)}" if padding[axis] else "")
        for axis in range(rank)
    )
    output, window = f"z[{','.join(outputs)}]", ",".join(windows)
    shapes = {"x": extents}
    extents_left_open = {outputs[axis]: extent for axis, extent in given.items()}
    if pools:
        extents_left_open |= dict(zip(windows, kernel, strict=True))
        body = (
            f"max({window}) x[{indices}]" if layer.startswith("max") else f"sum({window}) x[{indices}] / {prod(kernel)}"
        )
    else:
        shapes["w"] = kernel
        body = f"sum({window}) x[{indices}] * w[{window}]"
    return Subject(f"{output} = {body}", shapes, constants, extents_left_open)


def _padding(
    text: str, extents: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[int, int]]:
    """The padding before each axis, and for "same" the output extent of each axis: the odd cell stands at the end."""
    reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if text == "full":
        return tuple(reach), {}
    if text == "same":
        outputs = {axis: -(-extent // step) for axis, (extent, step) in enumerate(zip(extents, stride, strict=True))}
        totals = [
            max(0, (outputs[axis] - 1) * stride[axis] + reach[axis] + 1 - extents[axis]) for axis in range(len(extents))
        ]
        return tuple(total // 2 for total in totals), outputs
    if text == "valid":
        text = "0"
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise ArgumentError(f"`--padding` (={text}) must be a number such as 1 or 1x0, or one of {', '.join(PADDINGS)}")
    return _repeated("--padding", tuple(int(part) for part in text.split("x")), len(extents)), {}


def _per_axis(option: str, text: str, rank: int) -> tuple[int, ...]:
    return _repeated(option, parse_shape(option, text), rank)


def _repeated(option: str, values: tuple[int, ...], rank: int) -> tuple[int, ...]:
    if len(values) == 1:
        return values * rank
    if len(values) != rank:
        raise ArgumentError(f"`{option}` (={'x'.join(map(str, values))}) must have {rank} extents, or one for all")
    return values


def _constant(name: str, values: tuple[int, ...], axis: int) -> str:
    """The name of an attribute's constant: one for all axes where they agree."""
    return name if len(set(values)) == 1 else f"{name}{axis}"


def _constants(name: str, values: tuple[int, ...], neutral: int) -> dict[str, int]:
    return {_constant(name, values, axis): value for axis, value in enumerate(values) if value != neutral}


def _times(index: str, name: str, values: tuple[int, ...], axis: int, neutral: int) -> str:
    return index if values[axis] == neutral else f"{index}*{_constant(name, values, axis)}"


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ArgumentError(f"`{option}` (={text}) must be NAME=VALUE")
    return name, value


def _number(option: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ArgumentError(f"`{option}` (={text}) must be a number")
