"""Equations written for tensors in any order of axes: indices, broadcasting, another shape for the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.values import Order, Tensor, natural
from pellucid.language.system import System
from pellucid.nn.equations.notation import elementwise_axes, system
from pellucid.nn.layer import Shape

__all__ = ["access", "axis_names", "broadcast_shape", "cell", "order_of_largest", "reshape_groups", "reshaped"]


def axis_names(rank: int, order: Order | None = None) -> list[str]:
    """A name for each axis of ONNX, so that in memory they are called `n, i, j, c` from first to last."""
    if not rank:
        return []
    names = [""] * rank
    for name, axis in zip(elementwise_axes(rank), natural(rank) if order is None else order, strict=True):
        names[axis] = name
    return names


def cell(tensor: str, indices: Sequence[str], order: Order | None = None) -> str:
    """`x[n,i,j,c]`, from an index for each axis of ONNX; `x` where there is none."""
    chosen = indices if order is None else [indices[axis] for axis in order]
    return f"{tensor}[{','.join(chosen)}]" if chosen else tensor


def access(local: str, x: Tensor, shape: Shape, names: Sequence[str]) -> str:
    """The element of `x`, broadcast to `shape`, at the axes called `names`."""
    skipped = len(shape) - x.rank
    indices = [
        "0" if extent == 1 and shape[skipped + axis] != 1 else names[skipped + axis]
        for axis, extent in enumerate(x.shape)
    ]
    return cell(local, indices, x.order)


def broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape of what is computed cell by cell from arrays of these shapes; ShapeError where they do not fit."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[int] = []
    for axis in range(rank):
        extents = {shape[axis - rank] for shape in shapes if axis >= rank - len(shape)} - {1}
        if len(extents) > 1:
            raise ShapeError(f"shapes {', '.join(str(shape) for shape in shapes)} do not broadcast to one")
        result.append(extents.pop() if extents else 1)
    return tuple(result)


def order_of_largest(tensors: Sequence[Tensor], shape: Shape) -> Order:
    """The order of axes of the largest tensor that has as many as `shape`, computed ones first."""
    full = [x for x in tensors if x.rank == len(shape)]
    if not full:
        return natural(len(shape))
    return max(full, key=lambda x: (x.host is None, x.size)).order


def reshape_groups(before: Shape, after: Shape) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The axes of `before` and those of `after` that hold the same elements, in the smallest groups."""
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        if i < len(before) and j < len(after) and before[i] == after[j]:
            groups.append(((i,), (j,)))
            i, j = i + 1, j + 1
            continue
        if i < len(before) and before[i] == 1:
            groups.append(((i,), ()))
            i += 1
            continue
        if j < len(after) and after[j] == 1:
            groups.append(((), (j,)))
            j += 1
            continue
        start, other = i, j
        one, two = before[i], after[j]
        i, j = i + 1, j + 1
        while one != two:
            if one < two:
                one, i = one * before[i], i + 1
            else:
                two, j = two * after[j], j + 1
        groups.append((tuple(range(start, i)), tuple(range(other, j))))
    return groups


def reshaped(before: Shape, after: Shape) -> System:
    """The elements of an array `x` of the shape `before`, in row-major order, with the shape `after`."""
    assert prod(before) == prod(after)
    names = axis_names(len(after))
    constants: dict[str, int] = {}
    read = ["0"] * len(before)
    for old, new in reshape_groups(before, after):
        if len(old) == len(new) == 1:
            read[old[0]] = names[new[0]]
        elif old and new:
            row = _row_major(names, new, after, constants, "M")
            for place, axis in enumerate(old):
                inner = old[place + 1 :]
                index = row
                if inner:
                    constants[f"Q{axis}"] = prod(before[below] for below in inner)
                    index = f"({row})//Q{axis}"
                if place:
                    constants[f"D{axis}"] = before[axis]
                    index = f"({index})%D{axis}"
                read[axis] = index
    bare = {*read}
    extents = {name: extent for name, extent in zip(names, after, strict=True) if name not in bare}
    return system(f"{cell('z', names)} = {cell('x', read)}", constants=constants, extents=extents)


def _row_major(names: Sequence[str], axes: Sequence[int], shape: Shape, constants: dict[str, int], prefix: str) -> str:
    """The number of a cell over some axes, counted in row-major order."""
    row = names[axes[0]]
    for axis in axes[1:]:
        constants[f"{prefix}{axis}"] = shape[axis]
        row = f"({row})*{prefix}{axis} + {names[axis]}" if "+" in row else f"{row}*{prefix}{axis} + {names[axis]}"
    return row
