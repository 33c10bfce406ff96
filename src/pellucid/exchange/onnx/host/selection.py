"""What picks elements: by index, by condition, by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.host.arithmetic import together
from pellucid.exchange.onnx.host.types import inputs
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import on_host

__all__: list[str] = []


def _indices(node: Node, indices: Array, extent: int) -> Array:
    """Indices counted from 0; DataError where one is outside."""
    if indices.dtype.kind not in "iu":
        node.damaged(f"indices must be integers, are {indices.dtype}")
    if indices.size and (int(indices.min()) < -extent or int(indices.max()) >= extent):
        node.damaged(f"indices from {indices.min()} to {indices.max()} must be from {-extent} to {extent - 1}")
    return np.where(indices < 0, indices + extent, indices)


@on_host("Gather")
def gather(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The parts at these indices of one axis, whose place the axes of the indices take."""
    x, indices = inputs(arrays, node, 2)
    axis = node.axis(x.ndim, 0)
    node.program.check_size((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    return np.take(x, _indices(node, indices, x.shape[axis]), axis)


@on_host("GatherElements")
def gather_elements(node: Node, arrays: Sequence[Array | None]) -> Array:
    """For each element its own index along an axis."""
    x, indices = inputs(arrays, node, 2)
    axis = node.axis(x.ndim, 0)
    return x[_places(node, x, indices, axis)]


def _places(node: Node, x: Array, indices: Array, axis: int) -> tuple[Array, ...]:
    """The index that each element of `indices` means, for all axes."""
    if indices.ndim != x.ndim or any(
        i > e for number, (i, e) in enumerate(zip(indices.shape, x.shape, strict=True)) if number != axis
    ):
        node.damaged(f"indices of shape {indices.shape} do not fit shape {x.shape}")
    grid = list(np.ogrid[tuple(slice(extent) for extent in indices.shape)])
    grid[axis] = _indices(node, indices, x.shape[axis])
    return tuple(grid)


def _rows(node: Node, x: Array, indices: Array, batch: int = 0) -> tuple[Array, ...]:
    """The last axis of `indices` is an index for as many axes of `x`, behind `batch` that they share."""
    count = indices.shape[-1] if indices.ndim else 0
    if not indices.ndim or not 1 <= count <= x.ndim - batch or x.shape[:batch] != indices.shape[:batch]:
        node.damaged(f"indices of shape {indices.shape} do not fit shape {x.shape}")
    found = [_indices(node, indices[..., number], x.shape[batch + number]) for number in range(count)]
    shared = np.ogrid[tuple(slice(extent) for extent in x.shape[:batch])] if batch else []
    wide = indices.ndim - 1 - batch
    return (*(part.reshape(part.shape + (1,) * wide) for part in shared), *found)


@on_host("GatherND")
def gather_nd(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Parts at indices of several axes."""
    x, indices = inputs(arrays, node, 2)
    batch = node.integer("batch_dims", 0, least=0, most=min(x.ndim, indices.ndim - 1))
    rows = _rows(node, x, indices, batch)
    node.program.check_size((*indices.shape[:-1], *x.shape[len(rows) :]))
    return x[rows]


@on_host("ScatterElements", "Scatter")
def scatter_elements(node: Node, arrays: Sequence[Array | None]) -> Array:
    """A copy in which each update stands at its own index along an axis, or is added to what stands there."""
    x, indices, updates = inputs(arrays, node, 3)
    axis = node.axis(x.ndim, 0)
    if updates.shape != indices.shape:
        node.damaged(f"updates of shape {updates.shape} must have the shape of the indices {indices.shape}")
    return _scattered(node, x, _places(node, x, indices, axis), updates)


@on_host("ScatterND")
def scatter_nd(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The same, with indices of several axes."""
    x, indices, updates = inputs(arrays, node, 3)
    return _scattered(node, x, _rows(node, x, indices), updates)


def _scattered(node: Node, x: Array, places: tuple[Array, ...], updates: Array) -> Array:
    functions = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    mode = node.text("reduction", "none", choices=("none", *functions))
    made = x.copy()
    if mode == "none":
        made[places] = updates
    else:
        functions[mode].at(made, places, updates)
    return made


@on_host("Where")
def where(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The second operand where the first is true, else the third."""
    condition, x, y = together(node, arrays, 3)
    return np.where(condition, x, y)


@on_host("NonZero")
def non_zero(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The indices of all elements that are not 0, an axis in each row."""
    x = inputs(arrays, node, 1)[0]
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


@on_host("Compress")
def compress(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The parts along an axis, or of all elements in a row, for which the condition is true."""
    x, condition = inputs(arrays, node, 2)
    if condition.ndim != 1:
        node.damaged(f"the condition must have one axis, has shape {condition.shape}")
    axis = node.axis(x.ndim) if node.has("axis") else None
    x = x if axis is not None else x.reshape(-1)
    places = np.flatnonzero(condition)
    return np.take(x, _indices(node, places, x.shape[axis or 0]), axis or 0)


@on_host("Unique")
def unique(node: Node, arrays: Sequence[Array | None]) -> Sequence[Array]:
    """Each value once, sorted or as they come; first places, where each value went, and how often it is there."""
    x = inputs(arrays, node, 1)[0]
    axis = node.axis(x.ndim) if node.has("axis") else None
    values, first, inverse, counts = np.unique(x, True, True, True, axis)
    inverse = inverse.reshape(-1)
    if not node.truth("sorted", True):
        order = np.argsort(first)
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@on_host("ArgMax", "ArgMin")
def extreme_index(node: Node, arrays: Sequence[Array | None]) -> Array:
    """Where the largest or smallest stands along an axis: the first place, or the last."""
    x = inputs(arrays, node, 1)[0]
    axis = node.axis(x.ndim, 0)
    if not x.shape[axis]:
        node.damaged(f"axis {axis} of shape {x.shape} has no elements")
    find = np.argmax if node.op == "ArgMax" else np.argmin
    last = node.truth("select_last_index")
    found = find(np.flip(x, axis) if last else x, axis)
    found = x.shape[axis] - 1 - found if last else found
    found = np.asarray(found, np.int64)
    return np.expand_dims(found, axis) if node.truth("keepdims", True) else found


@on_host("TopK")
def top_k(node: Node, arrays: Sequence[Array | None]) -> Sequence[Array]:
    """The largest or smallest along an axis in order, and where they stand; of equal ones the first."""
    x = inputs(arrays, node, 1)[0]
    count = node.integer("k") if node.version < 10 else int(inputs(arrays, node, 2)[1].reshape(()))
    axis = node.axis(x.ndim, -1)
    if not 0 <= count <= x.shape[axis]:
        node.damaged(f"k (={count}) must be from 0 to {x.shape[axis]}")
    if node.truth("largest", True):
        # Behind each other in reverse, so that of equal ones the first stays first.
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    places = np.take(order, np.arange(count), axis).astype(np.int64)
    return np.take_along_axis(x, places, axis), places


@on_host("OneHot")
def one_hot(node: Node, arrays: Sequence[Array | None]) -> Array:
    """A new axis, in which the second value stands at the index, and the first elsewhere."""
    indices, depth, values = inputs(arrays, node, 3)
    extent = int(depth.reshape(()))
    axis = node.checked_axis(node.integer("axis", -1), indices.ndim + 1)
    node.program.check_size((*indices.shape[:axis], extent, *indices.shape[axis:]))
    if values.shape != (2,):
        node.damaged(f"values must be two, have shape {values.shape}")
    places = np.expand_dims(np.where(indices < 0, indices + extent, indices), axis)
    steps = np.arange(extent).reshape((extent,) + (1,) * (indices.ndim - axis))
    return np.where(places == steps, values[1], values[0])


@on_host("Trilu")
def trilu(node: Node, arrays: Sequence[Array | None]) -> Array:
    """What stands on or above the diagonal `k` of the last two axes, or below."""
    x = inputs(arrays, node, 1)[0]
    if x.ndim < 2:
        node.damaged(f"input 0 must have 2 axes or more, has shape {x.shape}")
    shift = arrays[1] if len(arrays) > 1 else None
    k = 0 if shift is None else int(shift.reshape(()))
    k = max(-x.shape[-2] - 1, min(x.shape[-1] + 1, k))
    return np.triu(x, k) if node.truth("upper", True) else np.tril(x, k)


@on_host("ReverseSequence")
def reverse_sequence(node: Node, arrays: Sequence[Array | None]) -> Array:
    """The first so many steps of each sequence in reverse."""
    x, lengths = inputs(arrays, node, 2)
    batch, time = node.integer("batch_axis", 1, least=0, most=1), node.integer("time_axis", 0, least=0, most=1)
    if batch == time or x.ndim < 2 or lengths.shape != (x.shape[batch],):
        node.damaged(f"lengths of shape {lengths.shape} do not fit shape {x.shape}")
    if lengths.size and not 0 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[time]:
        node.damaged(f"lengths {lengths.tolist()} must be from 0 to {x.shape[time]}")
    steps = np.arange(x.shape[time])
    places = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    places = places if batch == 0 else places.T
    return np.take_along_axis(x, places.reshape(places.shape + (1,) * (x.ndim - 2)), time)
