"""Convolutions and pools: operators with windows, over images with their channels first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, single, texts_of
from pellucid.exchange.onnx.values import channels_last, natural
from pellucid.nn.equations import convolution, pooling
from pellucid.nn.equations.notation import OUTPUT_AXES, SUFFIXES, WINDOW_AXES

__all__ = ["propose"]

# Where the result of a transposed convolution stands.
_RESULTS = {1: ("p",), 2: ("p", "q"), 3: ("o", "p", "q")}


@dataclass(frozen=True)
class _Form:
    """What the text of a convolution says."""

    transposed: bool
    rank: int
    grouped: bool
    flipped: bool


def propose(layer: Described) -> Proposal | None:
    """Nodes for a convolution or a pool."""
    if len(layer.orders) != 1 or layer.rank - 2 not in SUFFIXES:
        return None
    form = _convolutions().get(layer.texts)
    if form is not None:
        return _convolution(layer, form)
    return None if layer.layer.parameters else _pool(layer)


@cache
def _convolutions() -> Mapping[tuple[str, ...], _Form]:
    found: dict[tuple[str, ...], _Form] = {}
    plain = (convolution.conv1d, convolution.conv2d, convolution.conv3d)
    transposed = (convolution.conv_transpose1d, convolution.conv_transpose2d, convolution.conv_transpose3d)
    for rank in SUFFIXES:
        x = (2, *(4,) * rank, 4)
        for groups in (1, 2):
            for bias in (None, (4,)):
                for flip in (False, True):
                    w = (*(2,) * rank, 4 // groups, 4)
                    for functions, is_transposed in ((plain, False), (transposed, True)):
                        system = functions[rank - 1](x, w, bias, groups=groups, flip=flip)
                        found[texts_of(system)] = _Form(is_transposed, rank, groups > 1, flip)
    return found


def _convolution(layer: Described, form: _Form) -> Proposal | None:
    w = layer.parameter("w")
    if w is None:
        return None
    suffixes = SUFFIXES[form.rank]
    strides, dilations, before = ([layer.integer(f"{letter}{a}") for a in suffixes] for letter in "SDP")
    groups = layer.extents["u"] if form.grouped else 1
    kernel = w[: form.rank]
    attributes: dict[str, Any] = {
        "kernel_shape": list(kernel), "strides": strides, "dilations": dilations, "group": groups
    }  # fmt: skip
    sizes = [layer.extents[axis] for axis in (_RESULTS if form.transposed else OUTPUT_AXES)[form.rank]]
    if form.transposed:
        sides = _transposed_sides(layer.shape, sizes, kernel, strides, dilations, before)
        attributes["output_padding"] = [extra for _, extra in sides]
        after = [side for side, _ in sides]
    else:
        after = _after(layer.shape, sizes, kernel, strides, dilations, before)
    attributes["pads"] = [*before, *after]

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        array = parameters["w"]
        if form.flipped:
            array = np.flip(array, axis=tuple(range(form.rank)))
        # (window ..., c, k) -> (k, c, window ...)
        array = array.transpose(form.rank + 1, form.rank, *range(form.rank))
        names = [parameters.write(nodes, "w", array)]
        if "b" in parameters:
            names.append(parameters.write(nodes, "b", parameters["b"]))
        return nodes.add("ConvTranspose" if form.transposed else "Conv", sources[0], *names, **attributes)

    order = channels_last(layer.rank)
    return Proposal((order,), order, write)


def _after(
    extents: Sequence[int],
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    before: Sequence[int],
) -> list[int]:
    """The cells of padding behind each axis that so many windows need."""
    axes = zip(extents[:-1], sizes, kernel, strides, dilations, before, strict=True)
    return [max(0, (size - 1) * s + (f - 1) * d + 1 - extent - p) for extent, size, f, s, d, p in axes]


def _transposed_sides(
    extents: Sequence[int],
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    before: Sequence[int],
) -> list[tuple[int, int]]:
    """For each axis what is cut off behind it, and what is added there."""
    axes = zip(extents[:-1], sizes, kernel, strides, dilations, before, strict=True)
    rest = [(extent - 1) * s + (f - 1) * d + 1 - p - size for extent, size, f, s, d, p in axes]
    return [(max(0, cut), max(0, -cut)) for cut in rest]


def _pool(layer: Described) -> Proposal | None:
    rank = layer.rank - 2
    x = (2, *layer.shape)
    if layer.texts in (texts_of(pooling.global_avg_pool(x)), texts_of(pooling.global_max_pool(x))):
        return _global(layer)
    windows = {axis: layer.extents.get(axis) for axis in (*OUTPUT_AXES[rank], *WINDOW_AXES[rank])}
    if None in windows.values():
        return None
    kernel = [layer.extents[axis] for axis in WINDOW_AXES[rank]]
    sizes = [layer.extents[axis] for axis in OUTPUT_AXES[rank]]
    found = _pool_operator(layer, rank, kernel)
    if found is None:
        return None
    op, attributes = found
    strides, before = ([layer.constants.get(f"{letter}{a}") for a in SUFFIXES[rank]] for letter in "SP")
    if None in strides or None in before:
        return None
    steps, first = [int(value or 0) for value in strides], [int(value or 0) for value in before]
    dilations = [int(layer.constants.get(f"D{a}", 1)) for a in SUFFIXES[rank]]
    attributes |= {"kernel_shape": kernel, "strides": steps}
    attributes["pads"] = [*first, *_after(layer.shape, sizes, kernel, steps, dilations, first)]
    if op == "MaxPool" and set(dilations) != {1}:
        attributes["dilations"] = dilations
    order = channels_last(layer.rank)
    return Proposal((order,), order, single(op, **attributes))


def _pool_operator(layer: Described, rank: int, kernel: Sequence[int]) -> tuple[str, dict[str, Any]] | None:
    texts = _pools(rank)
    kind = texts.get(layer.texts)
    if kind is None:
        return None
    if kind == "mean":
        return ("AveragePool", {"count_include_pad": 1}) if layer.integer("M") == prod(kernel) else None
    if kind == "counted":
        return "AveragePool", {"count_include_pad": int(any(layer.integer(f"LO{a}") < 0 for a in SUFFIXES[rank]))}
    if kind == "norm":
        power = layer.constants.get("Q", 2)
        return ("LpPool", {"p": int(power)}) if power == int(power) else None
    return "MaxPool", {}


@cache
def _pools(rank: int) -> Mapping[tuple[str, ...], str]:
    """What the texts of pools over so many axes say."""
    x = (2, *(6,) * rank, 3)
    counted = pooling.avg_pool(x, kernel_size=3, padding=1, count_include_pad=False)
    return {
        texts_of(pooling.max_pool(x, kernel_size=2)): "largest",
        texts_of(pooling.avg_pool(x, kernel_size=2)): "mean",
        texts_of(counted): "counted",
        texts_of(pooling.lp_pool(x, norm_type=2, kernel_size=2)): "norm",
        texts_of(pooling.lp_pool(x, norm_type=3, kernel_size=2)): "norm",
    }


def _global(layer: Described) -> Proposal | None:
    op = "GlobalMaxPool" if "max" in layer.texts[0] else "GlobalAveragePool"
    if op == "GlobalAveragePool" and layer.constants.get("M") != prod(layer.shape[:-1]):
        return None

    def write(nodes: Nodes, sources: Sequence[str], _: Parameters) -> str:
        return nodes.add("Flatten", nodes.add(op, sources[0]), axis=1)

    return Proposal((channels_last(layer.rank),), natural(2), write)
