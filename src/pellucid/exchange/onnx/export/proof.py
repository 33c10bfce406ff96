"""Whether nodes say what a layer says: they are read back as any file is, and the two compared.

Where reading gives the layer's own equations, with the same numbers and the layer's parameters in the same places,
that is shown. Where it gives others (a kernel turned round, gates in another order), both are evaluated on random
inputs and parameters, in float64. Attributes of ONNX are float32, so numbers count as equal within that rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose, prod

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pellucid.errors import PellucidError
from pellucid.exchange.onnx.export.nodes import Array, Nodes
from pellucid.exchange.onnx.export.standard import Parameters, Proposal
from pellucid.exchange.onnx.program import laid_out
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, Traced, trace
from pellucid.exchange.onnx.values import Tensor, standing
from pellucid.language.binding import by_place
from pellucid.language.syntax import Access, Formula, Node, map_children
from pellucid.network import Equation, Graph, Loop, View, compile_graph
from pellucid.network.graph import Node as GraphNode
from pellucid.nn.assembly import Laid, lay_out
from pellucid.nn.layer import Place, Reshape
from pellucid.nn.topology import INPUT, Topology
from pellucid.nn.written import WrittenLayer

__all__ = ["is_proved", "onnx_shape"]

_BATCH = 2
# Attributes are rounded to 24 bits; a few of them may meet in one number.
_ROUNDED, _TOLERANCE = 2e-7, 5e-7
# So many points of all equations together are evaluated literally; more by compiled code in float64.
_LITERAL_POINTS = 2**21
_SEED = 20230811


def is_proved(layer: WrittenLayer, proposal: Proposal, opset: int) -> bool:
    """Whether reading the proposed nodes gives what the layer computes."""
    parameters = _random_parameters(layer)
    try:
        traced = _read_back(layer, proposal, opset, parameters)
        own, laid = _own(layer)
        other, other_laid = laid_out(traced, "float64", "direct")
    except (PellucidError, ValueError):
        # Shapes do not fit, or nothing reads such nodes: no proof.
        return False
    result = traced.outputs[0]
    if not isinstance(result, Tensor) or result.place < 0:
        return False
    output = other_laid.outputs[traced.places[result.place].name]
    arrays = {name: kept.host.array.transpose(kept.order) for name, kept in traced.parameters.items()}
    inputs = {fed.name: fed.title for fed in traced.inputs}
    matched = {f"input {number}": inputs.pop(f"x{number}", "") for number in range(len(layer.sources))}
    # What is left are tables of indices.
    arrays |= {title: traced.known[name].array for name, title in inputs.items()}
    same_order = result.order == proposal.gives
    if same_order:
        same = _same(own, other, laid.output, output, matched, parameters, arrays)
        if same is not None:
            return same
    back = [result.order.index(axis) for axis in proposal.gives]
    return _agree(layer, own, other, laid.output, output, matched, parameters, arrays, back)


def onnx_shape(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The extents of a layer's axes (the batch among them) in ONNX's order."""
    found = [0] * len(shape)
    for extent, axis in zip(shape, order, strict=True):
        found[axis] = extent
    return tuple(found)


def _random_parameters(layer: WrittenLayer) -> dict[str, Array]:
    """By local names; above 0, as variances are, and exact in float32."""
    random = np.random.default_rng(_SEED)
    return {entry.local: random.random(entry.shape, np.float32) + np.float32(0.5) for entry in layer.parameters}


def _read_back(layer: WrittenLayer, proposal: Proposal, opset: int, parameters: Mapping[str, Array]) -> Traced:
    nodes = Nodes(opset, "float32")
    sources = [f"x{number}" for number in range(len(layer.sources))]
    nodes.reserve(*sources)
    names = {entry.local: entry.name for entry in layer.parameters}
    output = proposal.write(nodes, sources, Parameters(parameters, names))
    shapes = [onnx_shape((_BATCH, *shape), order) for shape, order in zip(layer.shapes, proposal.reads, strict=True)]
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip(sources, shapes, strict=True)
    ]
    outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)]
    initialisers = [numpy_helper.from_array(array, name) for name, array in nodes.initialisers.items()]
    graph = helper.make_graph(nodes.written, "layer", inputs, outputs, initialisers)
    graph = read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))
    given = {
        name: Open(shape, np.dtype(np.float32), order)
        for name, shape, order in zip(sources, shapes, proposal.reads, strict=True)
    }
    return trace(graph, given, output_order=standing)


def _own(layer: WrittenLayer) -> tuple[Graph, Laid]:
    """The layer alone in a graph, its numbers as float32 has them."""
    form = replace(
        layer.inference,
        constants={name: _rounded(value) for name, value in layer.inference.constants.items()},
    )
    made = form.at(_BATCH)
    graph = Graph("float64", images=_BATCH, accuracy="direct")
    names = [graph.input(f"input {n}", (_BATCH, *shape), of_images=True) for n, shape in enumerate(layer.shapes)]
    assert not isinstance(made, Reshape)  # written by the network itself
    place = Place("layer", replace(layer, inference=form), tuple(INPUT - n for n in range(len(names))))
    return graph, lay_out(graph, Topology((place,), 0), names, training=False)


def _rounded(value: object) -> object:
    return float(np.float32(value)) if isinstance(value, float) else value


# ---------------------------------------------------------------- the same equations
def _same(
    own: Graph,
    other: Graph,
    output: str,
    other_output: str,
    inputs: Mapping[str, str],
    parameters: Mapping[str, Array],
    arrays: Mapping[str, Array],
) -> bool | None:
    """Whether two graphs are the same nodes of the same values; None where their equations are others, which may
    still say the same. The same equations with other numbers do not."""
    if len(own.nodes) != len(other.nodes):
        return None
    # The values of the other graph by those of this one.
    pairs = dict(inputs)
    named = {f"layer.{name}": array for name, array in _by_name(own, parameters).items()}
    for name, array in named.items():
        found = [key for key, value in arrays.items() if value.shape == array.shape and np.array_equal(value, array)]
        if len(found) == 1:
            pairs[name] = found[0]
    for node, twin in zip(own.nodes, other.nodes, strict=True):
        same = _same_node(node, twin, pairs)
        if not same:
            return same
        pairs |= dict(zip(node.outputs, twin.outputs, strict=True))
    return True if pairs.get(output) == other_output else None


def _by_name(own: Graph, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The layer's arrays by the names that they have in the graph behind "layer."."""
    found: dict[str, Array] = {}
    for node in own.nodes:
        if isinstance(node, Equation | Loop):
            for local, name in node.bindings.items():
                if local in parameters:
                    found[name.removeprefix("layer.")] = parameters[local]
    return found


def _same_node(node: GraphNode, twin: GraphNode, pairs: Mapping[str, str]) -> bool | None:
    if isinstance(node, View) and isinstance(twin, View):
        return True if pairs.get(node.source) == twin.source else None
    if not (isinstance(node, Equation) and isinstance(twin, Equation)):
        return None
    names = {local: pairs.get(name, "") for local, name in node.bindings.items()}
    if _named_by_value(node.formula, names) != _named_by_value(twin.formula, twin.bindings):
        return None
    return (
        node.extents == twin.extents
        and node.constants.keys() == twin.constants.keys()
        and all(isclose(value, twin.constants[name], rel_tol=_ROUNDED) for name, value in node.constants.items())
    )


def _named_by_value(formula: Formula, names: Mapping[str, str]) -> tuple[tuple[object, ...], Node]:
    """The output's indices, and the body with each tensor called as the value that it is."""

    def renamed(node: Node) -> Node:
        if isinstance(node, Access):
            node = replace(node, tensor=names[node.tensor])
        return map_children(node, renamed)

    return formula.output.indices, by_place(renamed(formula.body))


# ---------------------------------------------------------------- the same numbers
def _agree(
    layer: WrittenLayer,
    own: Graph,
    other: Graph,
    output: str,
    other_output: str,
    inputs: Mapping[str, str],
    parameters: Mapping[str, Array],
    arrays: Mapping[str, Array],
    back: Sequence[int],
) -> bool:
    """Whether two graphs give the same numbers for random inputs; `back` turns the other's axes."""
    random = np.random.default_rng(_SEED + 1)
    given = {
        f"input {number}": random.standard_normal((_BATCH, *shape)) * 2 for number, shape in enumerate(layer.shapes)
    }
    named = {f"layer.{name}": array.astype(np.float64) for name, array in _by_name(own, parameters).items()}
    backend = "reference" if _points(own) + _points(other) <= _LITERAL_POINTS else "compiled"
    try:
        mine = compile_graph(own, (output,), backend=backend)({**given, **named})[output]
        fed = {inputs[name]: array for name, array in given.items()} | {
            name: _exactly(array) for name, array in arrays.items()
        }
        theirs = compile_graph(other, (other_output,), backend=backend)(fed)[other_output].transpose(back)
    except PellucidError:
        return False
    scale = max(1.0, float(np.abs(mine).max(initial=0)))
    return mine.shape == theirs.shape and bool(np.abs(mine - theirs).max(initial=0) <= _TOLERANCE * scale)


def _exactly(array: Array) -> Array:
    return np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iu" else np.float64)


def _points(graph: Graph) -> int:
    return sum(prod(node.extents.values()) for node in graph.nodes if isinstance(node, Equation | Loop))
