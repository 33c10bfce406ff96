"""Operators that choose: by known positions, by integers that come with each call, by largest values, by conditions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Order, Tensor, Value, natural
from pellucid.exchange.onnx.writing import axis_names, cell
from pellucid.nn.equations.notation import system

__all__: list[str] = []

# A row's ranks are found by comparing each element with each: so many at most, 4096 * 4096 comparisons a row.
MOST_RANKED = 4096
# So many updates may meet in one cell: each is a line of the equation.
MOST_MEETING = 16
# What becomes of a cell's value and an update that meets it.
MERGED = {"none": "{1}", "add": "({0} + {1})", "mul": "({0}*{1})", "max": "max({0}, {1})", "min": "min({0}, {1})"}


@operator("Gather", lookups=(1,))
def gather(node: Node) -> Value:
    """`z[n,i,j,c] = x[n, at[i,j], c]`: along one axis the cells that the indices name."""
    x = node.tensor(0)
    if not x.rank:
        node.damaged("input 0 must have an axis, is a scalar")
    axis = node.axis(x.rank, 0)
    shape = node.value(1).shape
    result = (*x.shape[:axis], *shape, *x.shape[axis + 1 :])
    if not prod(result):
        return node.empty(result, x.dtype)
    order = _opened(x.order, axis, len(shape))
    names = axis_names(len(result), order)
    own = names[axis : axis + len(shape)]
    indices = node.value(1)
    constants: dict[str, int] = {}
    sources = {"x": x}
    if indices.dtype.kind not in "iu":
        node.damaged(f"input 1 must be integers, is {indices.dtype}")
    known = indices if isinstance(indices, Host) and not indices.varies else None
    if known is not None and not shape:
        index = "K"
        constants = {"K": int(node.checked_indices(known.array, x.shape[axis], 1))}
    elif known is not None and node.program.training:
        # A product with a matrix of ones and zeros: its gradient is another one, and it needs no indices.
        places = node.checked_indices(known.array, x.shape[axis], 1)
        node.program.check_size((places.size, x.shape[axis]))
        matrix = np.zeros((places.size, x.shape[axis]), x.dtype)
        matrix[np.arange(places.size), places.reshape(-1)] = 1
        sources["a"] = node.as_tensor(Host(matrix.reshape(*places.shape, x.shape[axis])))
        read = [*names[:axis], "k", *names[axis + len(shape) :]]
        body = f"sum(k) {cell('a', [*own, 'k'])}*{cell('x', read, x.order)}"
        return node.emit(system(f"{cell('z', names, order)} = {body}"), sources, result, order)
    else:
        p = node.lookup(1, x.shape[axis])
        sources["at"] = p if shape else node.view(p, (1,), part="index")
        index = cell("at", own) if shape else "at[0]"
    read = [*names[:axis], index, *names[axis + len(shape) :]]
    step = system(f"{cell('z', names, order)} = {cell('x', read, x.order)}", constants=constants)
    return node.emit(step, sources, result, order, weights={"x": "weight"} if "at" in sources else None)


def _opened(order: Order, axis: int, count: int) -> Order:
    """The order of axes when `count` axes stand in the place of one."""
    found: list[int] = []
    for old in order:
        found += range(axis, axis + count) if old == axis else [old if old < axis else old + count - 1]
    return tuple(found)


@operator("GatherElements", lookups=(1,))
def gather_elements(node: Node) -> Value:
    """`z[i,j] = x[at[i,j], j]`."""
    x = node.tensor(0)
    shape = node.value(1).shape
    axis = node.axis(x.rank, 0)
    beyond = any(extent > x.shape[a] for a, extent in enumerate(shape) if a != axis) if len(shape) == x.rank else True
    if beyond:
        node.damaged(f"indices of shape {shape} do not fit an input of shape {x.shape}")
    if not prod(shape):
        return node.empty(shape, x.dtype)
    names = axis_names(x.rank)
    read = [cell("at", names) if a == axis else name for a, name in enumerate(names)]
    x = _cut(node, x, tuple(x.shape[a] if a == axis else extent for a, extent in enumerate(shape)))
    step = system(f"{cell('z', names)} = {cell('x', read, x.order)}")
    return node.emit(step, {"x": x, "at": node.lookup(1, x.shape[axis])}, shape)


def _cut(node: Node, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first cells along each axis."""
    if x.shape == shape:
        return x
    names = axis_names(x.rank, x.order)
    read = [name if a == b else f"{name} + 0" for name, a, b in zip(names, shape, x.shape, strict=True)]
    extents = {name: a for name, a, b in zip(names, shape, x.shape, strict=True) if a != b}
    step = system(f"{cell('z', names, x.order)} = {cell('x', read, x.order)}", extents=extents)
    return node.emit(step, {"x": x}, shape, x.order, part="cut")


@operator("GatherND", lookups=(1,))
def gather_nd(node: Node) -> Value:
    """`z[b,i,c] = x[b, at[b,i,0], at[b,i,1], c]`; the first `batch_dims` axes are walked together."""
    x = node.tensor(0)
    shape = node.value(1).shape
    if not shape:
        node.damaged("input 1 must have an axis, is a scalar")
    batch = node.integer("batch_dims", 0, least=0) if node.version >= 12 else 0
    width = shape[-1]
    if batch >= min(len(shape), x.rank) or not 1 <= width <= x.rank - batch or shape[:batch] != x.shape[:batch]:
        node.damaged(f"indices of shape {shape} with `batch_dims` (={batch}) do not fit an input of shape {x.shape}")
    outer, rest = len(shape) - 1, x.shape[batch + width :]
    result = (*shape[:-1], *rest)
    if not prod(result):
        return node.empty(result, x.dtype)
    names = axis_names(len(result))
    tables = _components(node, 1, x.shape[batch : batch + width])
    read = [*names[:batch], *(text.format(",".join(names[:outer])) for _, text in tables), *names[outer:]]
    step = system(f"{cell('z', names)} = {cell('x', read, x.order)}")
    return node.emit(step, {"x": x} | {name: table for (name, table), _ in tables}, result)


def _components(node: Node, number: int, extents: Sequence[int]) -> list[tuple[tuple[str, Tensor], str]]:
    """The tables of the positions along each axis, with how one is read; `{}` stands for the outer indices."""
    value = node.value(number)
    if isinstance(value, Host) and not value.varies and value.dtype.kind in "iu":
        found: list[tuple[tuple[str, Tensor], str]] = []
        for place, extent in enumerate(extents):
            indices = node.checked_indices(value.array[..., place], extent, number)
            # A scalar has no index; it is a row of one.
            outer = indices.ndim
            table = node.table(f"indices{place}", indices if outer else indices.reshape(1))
            found.append(((f"p{place}", table), f"p{place}[{{}}]" if outer else f"p{place}[0]"))
        return found
    table = node.lookup(number)
    return [
        (("at", table), "at[{}," + f"{place}]" if table.rank > 1 else f"at[{place}]") for place in range(len(extents))
    ]


@operator("ArgMax", "ArgMin")
def arg_extreme(node: Node) -> Value:
    """The position of the largest or smallest element along an axis: the first, or the last with `select_last_index`.

    They are int64 in the program, and can be used as indices.
    """
    x = node.tensor(0)
    axis = node.axis(x.rank, 0) if x.rank else 0
    last = node.truth("select_last_index") if node.version >= 12 else False
    keeps = node.truth("keepdims", True)
    shape = tuple(1 if a == axis else extent for a, extent in enumerate(x.shape) if keeps or a != axis)
    order = x.order if keeps else tuple(a if a < axis else a - 1 for a in x.order if a != axis)
    if not x.rank:
        return Host(np.zeros((), np.int64))
    kind = np.dtype(np.int64)
    names = axis_names(x.rank, x.order)
    constants = {"L": x.shape[axis] - 1}
    read = [f"L - {name}" if last and a == axis else name for a, name in enumerate(names)]
    write = [name for a, name in enumerate(names) if a != axis]
    inner = tuple(a if a < axis else a - 1 for a in x.order if a != axis)
    body = f"{node.op.lower()}({names[axis]}) {cell('x', read, x.order)}"
    reduced = tuple(extent for a, extent in enumerate(x.shape) if a != axis)
    extents = {names[axis]: x.shape[axis]} if last else {}
    step = system(f"{cell('z', write, inner)} = {body}", constants=constants if last else {}, extents=extents)
    found = node.emit(step, {"x": x}, reduced, inner, kind, positions=True, part="turned" if last else "")
    if last:
        # Counted from the end; no longer positions of the program.
        text = f"{cell('z', write, inner)} = L - {cell('at', write, inner)}"
        found = node.emit(system(text, constants=constants), {"at": found}, reduced, inner, kind)
    return node.view(found, shape, order) if keeps else found


@operator("TopK", static=(1,))
def top_k(node: Node) -> Sequence[Value | None]:
    """The `k` largest or smallest along an axis, in order, and where they stand; of equal ones the first.

    An element's rank is how many stand before it: that compares each with each.
    """
    x = node.tensor(0)
    if not x.rank:
        node.damaged("input 0 must have an axis, is a scalar")
    axis = node.axis(x.rank, -1)
    k = node.integer("k", least=0) if node.version < 10 else _one(node, 1)
    largest = node.truth("largest", True) if node.version >= 11 else True
    if node.version >= 11:
        node.truth("sorted", True)
    extent = x.shape[axis]
    if not 0 <= k <= extent:
        node.damaged(f"`k` (={k}) must be from 0 to {extent}, the extent of axis {axis}")
    shape = tuple(k if a == axis else size for a, size in enumerate(x.shape))
    if not prod(shape):
        return node.empty(shape, x.dtype), node.empty(shape, np.dtype(np.int64))
    if extent > MOST_RANKED and k > 1:
        node.refuse(f"`k` (={k}) of {extent:,} elements is not supported; of at most {MOST_RANKED:,} it is")
    places = _ranked(node, x, axis, k, largest, shape)
    names = axis_names(x.rank, x.order)
    read = [cell("at", names, x.order) if a == axis else name for a, name in enumerate(names)]
    step = system(f"{cell('z', names, x.order)} = {cell('x', read, x.order)}")
    return node.emit(step, {"x": x, "at": places}, shape, x.order), places


def _one(node: Node, number: int) -> int:
    values = node.known_integers(number)
    if len(values) != 1:
        node.damaged(f"input {number} must be one number, has {len(values)}")
    return values[0]


def _ranked(node: Node, x: Tensor, axis: int, k: int, largest: bool, shape: tuple[int, ...]) -> Tensor:
    """The positions of the elements of rank 0 to k - 1."""
    names = axis_names(x.rank, x.order)
    own = names[axis]
    kind = np.dtype(np.int64)
    inner = [name for a, name in enumerate(names) if a != axis]
    if k == 1:
        written = cell("z", inner, tuple(a if a < axis else a - 1 for a in x.order if a != axis))
        step = system(f"{written} = {'argmax' if largest else 'argmin'}({own}) {cell('x', names, x.order)}")
        reduced = tuple(size for a, size in enumerate(x.shape) if a != axis)
        order = tuple(a if a < axis else a - 1 for a in x.order if a != axis)
        found = node.emit(step, {"x": x}, reduced, order, kind, part="first", positions=True)
        return node.view(found, shape, x.order, part="places")
    other = [f"{own}1" if a == axis else name for a, name in enumerate(names)]
    mine, theirs = cell("x", names, x.order), cell("x", other, x.order)
    sign = ">" if largest else "<"
    before = f"{theirs} {sign} {mine} or ({theirs} == {mine} and {own}1 < {own})"
    ranks = system(f"{cell('z', names, x.order)} = sum({own}1) [{before}]")
    ranked = node.emit(ranks, {"x": x}, x.shape, x.order, np.dtype(np.float32), part="ranks")
    chosen = [f"{own}1" if a == axis else name for a, name in enumerate(names)]
    text = f"{cell('z', names, x.order)} = argmax({own}1) [{cell('rank', chosen, x.order)} == {own}]"
    step = system(text, extents={own: k})
    return node.emit(step, {"rank": ranked}, shape, x.order, kind, part="places", positions=True)


@operator("Where")
def where(node: Node) -> Value:
    """`x` where the condition holds, else `y`, broadcast to each other."""
    condition, x, y = node.value(0), node.value(1), node.value(2)
    return node.elementwise("where({d} != 0, {x}, {y})", {"d": condition, "x": x, "y": y}, dtype=x.dtype)


@operator("OneHot", static=(1,), lookups=(0,))
def one_hot(node: Node) -> Value:
    """A new axis of `depth` cells, one of which holds the second of `values` and the others the first."""
    indices = node.value(0)
    depth = _depth(node)
    values = node.tensor(2)
    if values.shape != (2,):
        node.damaged(f"input 2 must have shape (2,), has {values.shape}")
    axis = node.axis(len(indices.shape) + 1, -1)
    result = (*indices.shape[:axis], depth, *indices.shape[axis:])
    if not prod(result):
        return node.empty(result, values.dtype)
    integers = isinstance(indices, Host) and indices.dtype.kind in "iu"
    p = node.arranged(node.lookup(0) if integers else node.as_tensor(indices), natural(len(indices.shape)))
    names = axis_names(len(result))
    read = cell("at", [name for a, name in enumerate(names) if a != axis])
    own = names[axis]
    body = f"where({read} == {own} or {read} + D == {own}, v[1], v[0])"
    step = system(f"{cell('z', names)} = {body}", constants={"D": depth}, extents={own: depth})
    return node.emit(step, {"v": values, "at": p}, result, dtype=values.dtype)


def _depth(node: Node) -> int:
    array = node.known(1)
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        node.damaged(f"input 1 must be one number, is {array.dtype} {array.shape}")
    depth = int(array.reshape(-1)[0])
    if depth < 0:
        node.damaged(f"`depth` (={depth}) must be at least 0")
    return depth


@operator("Compress", static=(1,))
def compress(node: Node) -> Value:
    """The cells along an axis where a known condition holds; of all elements in a row where no axis is named."""
    x = node.tensor(0)
    condition: Array = node.known(1)
    if condition.ndim != 1 or condition.dtype != np.bool_:
        node.damaged(f"input 1 must be a list of truths, is {condition.dtype} {condition.shape}")
    if not node.has("axis"):
        x = node.view(node.arranged(x, natural(x.rank)), (x.size,), part="flat")
    axis = node.axis(x.rank) if node.has("axis") else 0
    if len(condition) > x.shape[axis]:
        node.damaged(f"input 1 has {len(condition)} truths; axis {axis} has {x.shape[axis]} cells")
    kept = np.flatnonzero(condition)
    result = tuple(len(kept) if a == axis else extent for a, extent in enumerate(x.shape))
    if not prod(result):
        return node.empty(result, x.dtype)
    names = axis_names(x.rank, x.order)
    read = [f"at[{name}]" if a == axis else name for a, name in enumerate(names)]
    step = system(f"{cell('z', names, x.order)} = {cell('x', read, x.order)}")
    return node.emit(step, {"x": x, "at": node.table("kept", kept)}, result, x.order)


@operator("ScatterND", "ScatterElements", "Scatter", static=(1,))
def scatter(node: Node) -> Value:
    """The input with known cells replaced, or changed: which updates meet in a cell is known before."""
    x, updates = node.tensor(0), node.tensor(2)
    reduction = node.text("reduction", "none", choices=_reductions(node)) if node.version >= 16 else "none"
    indices = node.known(1)
    if indices.dtype.kind not in "iu":
        node.damaged(f"input 1 must be integers, is {indices.dtype}")
    targets = _rows(node, x, updates, indices) if node.op == "ScatterND" else _cells(node, x, updates, indices)
    if not targets.size:
        return node.view(x, x.shape, x.order)
    sources = _meeting(node, x, targets, keeps_last=reduction == "none")
    names = axis_names(x.rank)
    flat = node.view(node.arranged(updates, natural(updates.rank)), (updates.size,), part="updates")
    value = cell("x", names, x.order)
    for number in range(sources.shape[-1]):
        update = f"u[q[{','.join([*names, str(number)])}]]"
        changed = MERGED[reduction].format(value, update)
        value = f"where(mask[{','.join([*names, str(number)])}] > 0, {changed}, {value})"
    tensors = {
        "x": x,
        "u": flat,
        "mask": node.as_tensor(Host((sources >= 0).astype(x.dtype))),
        "q": node.table("sources", np.maximum(sources, 0)),
    }
    return node.emit(system(f"{cell('z', names)} = {value}"), tensors, x.shape, dtype=x.dtype)


def _reductions(node: Node) -> tuple[str, ...]:
    return tuple(MERGED) if node.version >= 18 else ("none", "add", "mul")


def _rows(node: Node, x: Tensor, updates: Tensor, indices: Array) -> Array:
    """For each element of the updates of a ScatterND, in a row, the number of the cell where it goes."""
    width = indices.shape[-1] if indices.ndim else 0
    if not 1 <= width <= x.rank or updates.shape != (*indices.shape[:-1], *x.shape[width:]):
        node.damaged(f"indices {indices.shape} and updates {updates.shape} do not fit an input of shape {x.shape}")
    parts = tuple(node.checked_indices(indices[..., place], x.shape[place], 1) for place in range(width))
    return np.arange(x.size).reshape(x.shape)[parts].reshape(-1)


def _cells(node: Node, x: Tensor, updates: Tensor, indices: Array) -> Array:
    """The same for ScatterElements."""
    axis = node.axis(x.rank, 0)
    if updates.shape != indices.shape or indices.ndim != x.rank:
        node.damaged(f"indices {indices.shape} and updates {updates.shape} do not fit an input of shape {x.shape}")
    if any(a > b for place, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if place != axis):
        node.damaged(f"indices {indices.shape} reach beyond an input of shape {x.shape}")
    places: list[Array] = [np.asarray(part) for part in np.indices(indices.shape)]
    places[axis] = node.checked_indices(indices, x.shape[axis], 1)
    return np.ravel_multi_index(tuple(places), x.shape).reshape(-1)


def _meeting(node: Node, x: Tensor, targets: Array, *, keeps_last: bool) -> Array:
    """For each cell of `x`, in a last axis, the numbers of the updates that go there, and -1 where there is none."""
    order = np.argsort(targets, kind="stable")
    sorted_targets = targets[order]
    # How many of the same cell stand before each.
    rank = np.arange(len(order)) - np.searchsorted(sorted_targets, sorted_targets)
    if keeps_last:
        rank = rank * 0
    most = int(rank.max()) + 1
    if most > MOST_MEETING:
        node.refuse(f"{most} updates of one cell are not supported; up to {MOST_MEETING} are")
    found = np.full((x.size, most), -1, np.int64)
    found[sorted_targets, rank] = order
    return found.reshape(*x.shape, most)
