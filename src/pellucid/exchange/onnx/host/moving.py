"""What moves elements, and computes nothing: shapes, parts, and what stands beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.host.types import inputs
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import on_host
from pellucid.exchange.onnx.writing import broadcast_shape

__all__: list[str] = []


def _integers(array: Array) -> tuple[int, ...]:
    return tuple(int(value) for value in array.reshape(-1).tolist())


def _axes(node: Node, arrays: Sequence[Array | None]) -> tuple[int, ...] | None:
    """`axes` as an attribute before opset 13, then as an input; None where they are left out."""
    if node.version < 13:
        return node.integers("axes") if node.has("axes") else None
    array = arrays[1] if len(arrays) > 1 else None
    return None if array is None else _integers(array)


@on_host("Identity")
def identity(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The input."""
    return inputs(arrays, node, 1)[0]


@on_host("Reshape")
def reshape(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The same elements in another shape: 0 keeps an extent (unless `allowzero`), one -1 is what is left."""
    x, shape = inputs(arrays, node, 2)
    extents = list(_integers(shape))
    if not node.truth("allowzero"):
        if any(extent == 0 for extent in extents[x.ndim :]):
            node.damaged(f"shape {tuple(extents)} keeps an axis that the input {x.shape} has not")
        extents = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(extents)]
    if extents.count(-1) > 1 or min(extents, default=0) < -1:
        node.damaged(f"shape {tuple(extents)} must have one -1 at most, and no other negative extent")
    if -1 in extents:
        others = prod(extent for extent in extents if extent != -1)
        extents[extents.index(-1)] = x.size // others if others else 0
    if prod(extents) != x.size:
        node.damaged(f"an array of shape {x.shape} cannot have shape {tuple(_integers(shape))}")
    return x.reshape(extents)


@on_host("Flatten")
def flatten(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Two axes: those before `axis` together, and those from it on."""
    x = inputs(arrays, node, 1)[0]
    axis = node.integer("axis", 1)
    axis = x.ndim if axis == x.ndim else node.checked_axis(axis, max(x.ndim, 1))
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


@on_host("Transpose")
def transpose(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Axes in another order; reversed where none is given."""
    x = inputs(arrays, node, 1)[0]
    order = node.integers("perm", tuple(reversed(range(x.ndim))), length=x.ndim)
    return x.transpose(node.checked_axes(order, x.ndim, "perm"))


@on_host("Squeeze")
def squeeze(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Without axes of extent 1: those that are named, or all."""
    x = inputs(arrays, node, 1)[0]
    axes = _axes(node, arrays)
    if axes is None:
        return np.squeeze(x)
    axes = node.checked_axes(axes, x.ndim)
    wrong = next((axis for axis in axes if x.shape[axis] != 1), None)
    if wrong is not None:
        node.damaged(f"axis {wrong} of shape {x.shape} has not the extent 1")
    return np.squeeze(x, axes)


@on_host("Unsqueeze")
def unsqueeze(node: Node, arrays: Sequence[Array | None]) -> Array:
    """With axes of extent 1 at these places of the result."""
    x = inputs(arrays, node, 1)[0]
    axes = _axes(node, arrays)
    if axes is None:
        node.damaged("`axes` are missing")
    return np.expand_dims(x, node.checked_axes(axes, x.ndim + len(axes)))


@on_host("Concat")
def concat(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Arrays side by side along an axis."""
    found = inputs(arrays, node, 1)
    axis = node.axis(found[0].ndim)
    rest = [array.shape[:axis] + array.shape[axis + 1 :] for array in found]
    if any(array.ndim != found[0].ndim for array in found) or any(shape != rest[0] for shape in rest):
        node.damaged(f"shapes {', '.join(str(array.shape) for array in found)} do not fit along axis {axis}")
    total = sum(array.shape[axis] for array in found)
    node.program.check_size((*found[0].shape[:axis], total, *found[0].shape[axis + 1 :]))
    return np.concatenate(found, axis)


@on_host("Split")
def split(node: Node, arrays: Sequence[Array | None]) -> Sequence[Array]:
    """Parts along an axis, of the extents that are given, or as equal as they can be."""
    x = inputs(arrays, node, 1)[0]
    axis = node.axis(x.ndim, 0)
    extent, parts = x.shape[axis], len(node.spec.outputs)
    given = arrays[1] if node.version >= 13 and len(arrays) > 1 else None
    if node.version < 13 and node.has("split"):
        sizes = node.integers("split", least=0)
    elif given is not None:
        sizes = _integers(given)
    else:
        parts = node.integer("num_outputs", parts, least=1, most=len(node.spec.outputs))
        part = -(-extent // parts)
        sizes = tuple(max(0, min(part, extent - number * part)) for number in range(parts))
    if len(sizes) != len(node.spec.outputs) or min(sizes) < 0 or sum(sizes) != extent:
        node.damaged(f"parts of {sizes} do not make up axis {axis} of shape {x.shape} in {parts} outputs")
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), axis)


@on_host("Slice")
def slices(node: Node, arrays: Sequence[Array | None]) -> Array:
    """From a start up to an end, in steps, along axes; beyond the ends there is nothing."""
    x = inputs(arrays, node, 1)[0]
    if node.version < 10:
        starts = node.integers("starts", least=-(2**63), most=2**63 - 1)
        ends = node.integers("ends", least=-(2**63), most=2**63 - 1)
        axes, steps = node.integers("axes", range(len(starts))), (1,) * len(starts)
    else:
        lists = [None if array is None else _integers(array) for array in (*arrays[1:], None, None, None, None)][:4]
        starts, ends = lists[0], lists[1]
        if starts is None or ends is None:
            node.damaged("starts and ends must be given")
        axes = tuple(range(len(starts))) if lists[2] is None else lists[2]
        steps = (1,) * len(starts) if lists[3] is None else lists[3]
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.damaged(f"starts {starts}, ends {ends}, axes {tuple(axes)} and steps {steps} must be as many")
    if 0 in steps:
        node.damaged(f"steps {steps} must not be 0")
    chosen = [slice(None)] * x.ndim
    for axis, start, end, step in zip(node.checked_axes(axes, x.ndim), starts, ends, steps, strict=True):
        chosen[axis] = slice(start, None if end < -x.shape[axis] and step < 0 else end, step)
    return x[tuple(chosen)]


@on_host("Expand")
def expand(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Broadcast to a shape, in which 1 keeps the input's extent."""
    x, target = inputs(arrays, node, 2)
    shape = broadcast_shape((x.shape, _integers(target)))
    node.program.check_size(shape)
    return np.broadcast_to(x, shape)


@on_host("Tile")
def tile(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Repeated so many times along each axis."""
    x, counts = inputs(arrays, node, 2)
    repeats = _integers(counts)
    if len(repeats) != x.ndim or min(repeats, default=0) < 0:
        node.damaged(f"repeats {repeats} must be a number from 0 for each axis of shape {x.shape}")
    node.program.check_size(tuple(extent * times for extent, times in zip(x.shape, repeats, strict=True)))
    return np.tile(x, repeats)


_MODES: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "constant": "constant",
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}


@on_host("Pad")
def pad(node: Node, arrays: Sequence[Array | None]) -> Array:
    """With so many elements more at the ends of axes, fewer where the number is negative."""
    x = inputs(arrays, node, 1)[0]
    mode = _MODES[node.text("mode", "constant", choices=tuple(_MODES))]
    value = np.zeros((), x.dtype)
    if node.version < 11:
        pads = node.integers("pads")
        value = np.asarray(node.number("value", 0.0)).astype(x.dtype)
        axes: tuple[int, ...] = tuple(range(x.ndim))
    else:
        _, widths = inputs(arrays, node, 2)[:2]
        pads = _integers(widths)
        if len(arrays) > 2 and arrays[2] is not None:
            value = arrays[2].reshape(())
        chosen = arrays[3] if len(arrays) > 3 else None
        axes = tuple(range(x.ndim)) if chosen is None else node.checked_axes(_integers(chosen), x.ndim)
    if len(pads) != 2 * len(axes):
        node.damaged(f"`pads` {pads} must be two for each of {len(axes)} axes")
    before, after = [0] * x.ndim, [0] * x.ndim
    for number, axis in enumerate(axes):
        before[axis], after[axis] = pads[number], pads[len(axes) + number]
    shape = tuple(b + e + a for b, e, a in zip(before, x.shape, after, strict=True))
    node.program.check_size(shape)
    x = x[tuple(slice(max(0, -b), e - max(0, -a)) for b, e, a in zip(before, x.shape, after, strict=True))]
    widths = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    if mode == "constant":
        return np.pad(x, widths, mode, constant_values=value)
    return np.pad(x, widths, mode)


@on_host("DepthToSpace")
def depth_to_space(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Blocks of channels become squares."""
    x = inputs(arrays, node, 1)[0]
    b = node.integer("blocksize", least=1)
    if x.ndim != 4 or x.shape[1] % (b * b):
        node.damaged(f"shape {x.shape} has no channels in blocks of {b * b}")
    n, c, h, w = x.shape
    if node.text("mode", "DCR", choices=("DCR", "CRD")) == "DCR":
        parts = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // (b * b), h * b, w * b)


@on_host("SpaceToDepth")
def space_to_depth(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Squares become blocks of channels."""
    x = inputs(arrays, node, 1)[0]
    b = node.integer("blocksize", least=1)
    if x.ndim != 4 or x.shape[2] % b or x.shape[3] % b:
        node.damaged(f"shape {x.shape} has no squares of {b} by {b}")
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * b * b, h // b, w // b)
