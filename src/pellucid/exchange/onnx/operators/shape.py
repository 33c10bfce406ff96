"""Other shapes and orders of axes for the same elements; what passes its input on.

Nothing is computed where the axes that are joined stand together in memory: the result is a view of its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Tensor, Value
from pellucid.exchange.onnx.writing import reshape_groups
from pellucid.nn.equations.normalization import dropout
from pellucid.nn.layer import Mask, Shape, Training

__all__ = ["axes_of", "reshaped"]


@operator("Reshape", static={1})
def reshape(node: Node) -> Tensor:
    """The elements in ONNX's order with another shape."""
    x = node.tensor(0)
    return reshaped(node, x, _target(node, x.shape, node.known_integers(1)))


@operator("Flatten")
def flatten(node: Node) -> Tensor:
    """The axes before `axis` as one, and those from it on."""
    x = node.tensor(0)
    axis = node.integer("axis", 1, least=-x.rank, most=x.rank)
    axis = axis + x.rank if axis < 0 else axis
    return reshaped(node, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@operator("Squeeze", static={1})
def squeeze(node: Node) -> Tensor:
    """Without these axes, which have the extent 1; without all such where none are named."""
    x = node.tensor(0)
    given = axes_of(node)
    if given is None:
        return reshaped(node, x, tuple(extent for extent in x.shape if extent != 1))
    axes = node.checked_axes(given, x.rank)
    wrong = next((axis for axis in axes if x.shape[axis] != 1), None)
    if wrong is not None:
        raise ShapeError(f"axis {wrong} of input 0 {x.shape} must have the extent 1")
    return reshaped(node, x, tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes))


@operator("Unsqueeze", static={1})
def unsqueeze(node: Node) -> Tensor:
    """With axes of extent 1 that have these numbers in the result."""
    x = node.tensor(0)
    given = axes_of(node)
    if given is None:
        node.damaged("its axes are missing")
    rank = x.rank + len(given)
    axes = node.checked_axes(given, rank)
    extents = iter(x.shape)
    return reshaped(node, x, tuple(1 if axis in axes else next(extents) for axis in range(rank)))


@operator("Transpose")
def transpose(node: Node) -> Tensor:
    """The same memory, its axes named in another order."""
    x = node.tensor(0)
    axes = node.integers("perm", tuple(reversed(range(x.rank))))
    if sorted(axes) != list(range(x.rank)):
        node.damaged(f"attribute `perm` (={axes}) must have each number from 0 to {x.rank - 1} once")
    return x.renamed(axes)


@operator("Identity")
def identity(node: Node) -> Value:
    """Its input."""
    return node.value(0)


@operator("Dropout", static={1, 2})
def drop(node: Node) -> tuple[Value, Host | None]:
    """Its input; in a program that is trained, `nn.Dropout`."""
    x = node.tensor(0)
    ratio = _ratio(node)
    draws = node.version >= 12 and node.given(2) and bool(node.known(2).reshape(-1).any())
    if not node.program.training:
        if draws and ratio:
            node.refuse(f"with `training_mode` it draws at random (ratio {ratio}); it is supported in training alone")
        return x, Host(np.ones(x.shape, bool)) if node.wants(1) else None
    if not ratio:
        return x, Host(np.ones(x.shape, bool)) if node.wants(1) else None
    x = node.arranged(x, (0, *(axis for axis in x.order if axis)))
    shape = x.memory
    made = node.passed(x, lambda: Training(dropout(shape, shape, p=ratio), mask=Mask("m", shape, ratio)))
    return made, None


def reshaped(node: Node, x: Tensor, shape: Shape) -> Tensor:
    """The elements of `x` in ONNX's order with another shape.

    A view where the axes of `x` that become others stand in memory together and in order; else they are copied so
    that they do, the other axes where they are.
    """
    if shape == x.shape:
        return x
    node.program.check_size(shape)
    groups = reshape_groups(x.shape, shape)
    place = {axis: number for number, axis in enumerate(x.order)}
    groups_in_memory = sorted((pair for pair in groups if pair[0]), key=lambda pair: _place(x, pair[0], place))
    before = tuple(axis for old, _ in groups_in_memory for axis in old)
    order = [axis for _, new in groups_in_memory for axis in new]
    for added in sorted((new[0] for old, new in groups if not old), reverse=True):
        order.insert(order.index(added + 1) if added + 1 in order else len(order), added)
    wide = tuple(axis for axis in x.order if x.shape[axis] != 1)
    x = x if wide == tuple(axis for axis in before if x.shape[axis] != 1) else node.arranged(x, before)
    return node.view(x, shape, tuple(order))


def axes_of(node: Node, number: int = 1) -> tuple[int, ...] | None:
    """The axes that an attribute names, since version 13 an input."""
    if node.version >= 13:
        return node.known_integers(number) if node.given(number) else None
    return node.integers("axes") if node.has("axes") else None


def _place(x: Tensor, axes: Sequence[int], place: dict[int, int]) -> int:
    """Where a group of axes stands: at the place of its first axis that has more than one element."""
    return next((place[axis] for axis in axes if x.shape[axis] != 1), place[axes[0]])


def _target(node: Node, shape: Shape, given: tuple[int, ...]) -> Shape:
    """The shape that `given` means: 0 is the input's extent, -1 what is left."""
    target = list(given)
    keep_zeros = node.version >= 14 and node.truth("allowzero")
    if target and target[0] == node.program.free_batch and shape and shape[0] != target[0]:
        target[0] = shape[0]
    for axis, extent in enumerate(target):
        if extent == 0 and not keep_zeros:
            if axis >= len(shape):
                node.damaged(f"its shape {given} keeps axis {axis}, which input 0 {shape} lacks")
            target[axis] = shape[axis]
        elif extent < -1:
            node.damaged(f"its shape {given} has the extent {extent}")
    if target.count(-1) > 1 or (keep_zeros and -1 in target and 0 in target):
        node.damaged(f"its shape {given} leaves more than one extent open")
    size = prod(shape)
    if -1 in target:
        known = prod(extent for extent in target if extent != -1)
        target[target.index(-1)] = size // known if known else 0
    if prod(target) != size:
        raise ShapeError(f"input 0 {shape} has {size} elements, its new shape {given} has not")
    return tuple(target)


def _ratio(node: Node) -> float:
    """The fraction that is set to 0 in training."""
    if node.version < 12:
        ratio = node.number("ratio", 0.5)
    else:
        known = node.known(1).reshape(-1) if node.given(1) else np.array([0.5])
        ratio = float(known[0]) if known.size == 1 else -1.0
    if not 0 <= ratio < 1:
        node.damaged(f"`ratio` (={ratio}) must be at least 0 and below 1")
    return ratio
