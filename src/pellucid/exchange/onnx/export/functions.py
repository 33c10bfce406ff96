"""Any system of equations as a function of the file: standard operators, with the equations as its documentation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx import helper

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.accesses import Stored
from pellucid.exchange.onnx.export.expressions import Expressions, Steps, Tensor, stacked
from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.terms import Computed, Known, Scope
from pellucid.language.circles import parts_of
from pellucid.language.extents import axes as axes_of
from pellucid.language.parts import extents_of
from pellucid.language.recurrence import Part, Recurrence
from pellucid.language.syntax import Access, Formula, Name, Number, Reduce, substitute, walk
from pellucid.nn.equations.notation import formula
from pellucid.nn.layer import Reshape, Shape
from pellucid.nn.written import Form

__all__ = ["DOMAIN", "MOST_NODES", "as_function"]

DOMAIN = "pellucid.equations"

# A recurrence is written step by step.
MOST_NODES = 50_000

# Batches whose extents are compared: what grows with them is the batch.
_BATCHES = (2, 3, 5)

Extents = Mapping[str, int | None]


def as_function(
    name: str,
    form: Form,
    sources: Mapping[str, Shape],
    parameters: Mapping[str, Shape],
    *,
    opset: int,
    dtype: str,
    integers: Collection[str] = (),
) -> onnx.FunctionProto:
    """The equations as a function of the inputs `sources` (shapes without the batch) and `parameters`, in this order;
    those called in `integers` are int64.

    Raises ArgumentError where they would need more nodes, or larger intermediate results, than the limits allow, or
    compare the images of a batch with each other.
    """
    nodes = Nodes(opset, dtype, is_function=True)
    names = (*sources, *parameters)
    nodes.reserve(*names)
    batch = next(iter(sources))
    parts = parts_of(tuple(formula(text) for text in form.equations))
    found = _extents(form, parts, sources, parameters)
    tensors: dict[str, Tensor] = {
        local: Stored(local, (None, *shape), "i" if local in integers else "f") for local, shape in sources.items()
    }
    tensors |= {local: Stored(local, shape, "i" if local in integers else "f") for local, shape in parameters.items()}
    for part, extents in zip(parts, found, strict=True):
        if isinstance(part, Recurrence):
            tensors |= _unrolled(nodes, batch, part, form, extents, tensors)
        else:
            scope = _scope(nodes, batch, part, form, extents)
            tensors[part.output.tensor] = _made(scope, part, form, tensors)
        if len(nodes.written) > MOST_NODES:
            raise ArgumentError(f"the equations become more than {MOST_NODES:,} nodes")
    output = tensors[form.output]
    scope = Scope(nodes, {}, (), batch)
    result = stacked(scope, output) if isinstance(output, Steps) else output
    last = result.name if result.array is None else nodes.constant(result.array.astype(np.float64))
    if result.kind == "i":
        last = scope.computed(Computed(last, (), "i"), "f").name if _floating(form) else last
    out = nodes.fresh("output")
    nodes.written.append(helper.make_node("Identity", [last], [out]))
    nodes.prune(out)
    text = "\n".join(form.equations)
    return helper.make_function(
        DOMAIN, name, list(names), [out], nodes.written, [helper.make_opsetid("", opset)], doc_string=text
    )


def _floating(form: Form) -> bool:
    """Whether a result of whole numbers is one of floats in the language: all but positions are."""
    body = formula(form.equations[-1]).body
    return not (isinstance(body, Reduce) and body.op in ("argmax", "argmin"))


def _scope(nodes: Nodes, batch: str, part: Formula, form: Form, extents: Extents) -> Scope:
    return Scope(nodes, extents, axes_of(part, form.constants), batch)


def _extents(
    form: Form, parts: Sequence[Part], sources: Mapping[str, Shape], parameters: Mapping[str, Shape]
) -> list[Extents]:
    """The extents of each part's axes; None for those that are as long as the batch."""
    tables: list[Sequence[Mapping[str, int]]] = []
    for size in _BATCHES:
        made = form.at(size)
        system = made.system if isinstance(made, Reshape) else made
        shapes = {local: (size, *shape) for local, shape in sources.items()} | dict(parameters)
        tables.append(extents_of(parts, system.constants, shapes, system.extents).parts)
    found: list[Extents] = []
    for owns in zip(*tables, strict=True):
        extents: dict[str, int | None] = {}
        for axis, extent in owns[0].items():
            sizes = tuple(own[axis] for own in owns)
            if sizes == _BATCHES:
                extents[axis] = None
            elif set(sizes) == {extent}:
                extents[axis] = extent
            else:
                raise ArgumentError(f"the extent of the axis {axis} grows with the batch and is another")
        found.append(extents)
    return found


def _unrolled(
    nodes: Nodes, batch: str, recurrence: Recurrence, form: Form, extents: Extents, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Every tensor of a recurrence, step after step."""
    count = extents[recurrence.axis]
    names = [entry.output.tensor for entry in recurrence.formulas]
    if count is None or len(set(names)) != len(names):
        raise ArgumentError("a recurrence along the batch, or one that is written in several parts, cannot be written")
    made: dict[str, Tensor] = {name: Steps(place, [None] * count) for name, place in recurrence.tensors.items()}
    inner = {axis: extent for axis, extent in extents.items() if axis != recurrence.axis}
    for step in range(count) if recurrence.step > 0 else range(count - 1, -1, -1):
        before = len(nodes.written)
        for entry in recurrence.formulas:
            own = recurrence.at_step(entry, step, count)
            at_step = {recurrence.axis: Number(step)}
            place = recurrence.tensors[own.output.tensor]
            indices = tuple(index for number, index in enumerate(own.output.indices) if number != place)
            output = replace(own.output, indices=indices)
            body = substitute(own.body, at_step)  # type: ignore[arg-type]
            one = replace(own, output=output, body=body)  # type: ignore[arg-type]
            scope = _scope(nodes, batch, one, form, inner)
            steps = made[own.output.tensor]
            assert isinstance(steps, Steps)
            steps.made[step] = _made(scope, one, form, {**tensors, **made})
        # The last step is like all others.
        if before + (len(nodes.written) - before) * (count - 1) > MOST_NODES:
            raise ArgumentError(
                f"a recurrence of {count:,} steps becomes more than {MOST_NODES:,} nodes: they are written one by one"
            )
    return made


def _made(scope: Scope, equation: Formula, form: Form, tensors: Mapping[str, Tensor]) -> Stored:
    """The tensor that a formula makes."""
    output = equation.output
    constants = {name: value for name, value in form.constants.items() if name not in scope.extents}
    names = Expressions(scope, constants, tensors)
    value = names.value(equation.body)
    axes = tuple(
        dict.fromkeys(
            node.name
            for index in output.indices
            for node in walk(index)
            if isinstance(node, Name) and node.name in scope.extents
        )
    )
    bare = all(isinstance(index, Name) and index.name in scope.extents for index in output.indices)
    static = all(scope.extents[axis] is not None for axis in axes)
    scope.check(axes)
    if bare and static and isinstance(value, Known):
        array = scope.aligned(value, axes)
        assert isinstance(array, Known)
        shape = [scope.extents[axis] or 0 for axis in axes]
        return Stored("", tuple(shape), value.kind, np.broadcast_to(array.array, shape))
    whole = scope.expanded(scope.computed(value, "f" if value.kind == "b" else value.kind), axes)
    if bare:
        order = [index.name for index in output.indices if isinstance(index, Name)]
        return Stored(scope.arranged(whole, order), tuple(scope.extents[axis] for axis in order), whole.kind)
    return _placed(scope, names, output, whole)


def _placed(scope: Scope, names: Expressions, output: Access, value: Computed) -> Stored:
    """A tensor of which each point of the axes writes the cell that the output's indices name; others are 0."""
    bare = [index.name for index in output.indices if isinstance(index, Name) and index.name in scope.extents]
    places = [n for n, index in enumerate(output.indices) if not (isinstance(index, Name) and index.name in bare)]
    others = [axis for axis in value.axes if axis not in bare]
    sizes: list[int] = []
    cells = np.zeros([scope.extents[axis] or 0 for axis in others], np.int64)
    found = [
        scope.aligned(Expressions(scope, names.constants, {}, "sum", True).value(output.indices[n]), others)
        for n in places
    ]
    for place in found:
        if not isinstance(place, Known) or any(scope.extents[axis] is None for axis in others):
            raise ArgumentError("an equation that writes the images of a batch in another order cannot be written")
        sizes.append(int(place.array.max()) + 1)
        cells = cells * sizes[-1] + place.array
    points, total = cells.size, prod(sizes)
    table = np.full(total, points, np.int64)
    table[cells.reshape(-1)] = np.arange(points)
    name = scope.arranged(value, [*bare, *others])
    name = scope.reshaped(name, [*([axis] for axis in bare), others])
    if points in table:
        pads = [0] * (2 * len(bare) + 1) + [1]
        name = scope.nodes.add("Pad", name, scope.nodes.integers(*pads), scope.nodes.number(0))
    name = scope.nodes.add("Gather", name, scope.nodes.constant(table.reshape(sizes)), axis=len(bare))
    # Behind the bare axes stand the other dimensions, in order.
    order: list[int] = []
    for number, index in enumerate(output.indices):
        is_place = number in places
        order.append(len(bare) + places.index(number) if is_place else bare.index(index.name))  # type: ignore[union-attr]
    shape = [
        sizes[places.index(n)] if n in places else scope.extents[output.indices[n].name]  # type: ignore[union-attr]
        for n in range(len(output.indices))
    ]
    return Stored(scope.nodes.transpose(name, order), tuple(shape), value.kind)
