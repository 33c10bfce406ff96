"""One file, from its bytes to its graph."""

from __future__ import annotations

import os

from onnx import GraphProto, ModelProto

from pellucid.errors import OutOfMemoryError
from pellucid.exchange.onnx.graph import Array, OnnxGraph, Port
from pellucid.exchange.onnx.reading.functions import called_functions
from pellucid.exchange.onnx.reading.imports import check_ir_version, read_imports
from pellucid.exchange.onnx.reading.inlining import Names, write_out
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.reading.order import in_order, leading_to
from pellucid.exchange.onnx.reading.origin import Origin, shown
from pellucid.exchange.onnx.reading.ports import read_port
from pellucid.exchange.onnx.reading.source import Source, open_source
from pellucid.exchange.onnx.reading.tensors import read_sparse, read_tensor
from pellucid.exchange.onnx.reading.written import read_nodes

__all__ = ["read"]


def read(source: Source, *, limits: Limits | None = None) -> OnnxGraph:
    """The graph of an ONNX file: opsets 7 to the newest of the installed onnx, the file hostile until shown otherwise.

    `source` is a path, the bytes of a file, or a parsed model, which is not changed. Weights in other files are read
    only from inside the model's folder, so not for bytes and parsed models. Nodes come in running order, with local
    functions written out, unique names, and without those that lead to no output; initialisers that nothing reads are
    left out, too. Arrays are read-only. Operators are not judged here; what a file has for training is not read.

    Raises:
        DataError: the file cannot be read, is damaged, breaks a rule of the format, or exceeds `limits`.
        ArgumentError: `source` is of no such type, or the file is valid and has what is not supported: inputs or
            outputs that are no tensors, versions that are older or newer.
        OutOfMemoryError: the machine does not give the memory that `limits` allow.
    """
    limits = Limits() if limits is None else limits
    try:
        model, origin = open_source(source, limits)
        return _read(model, origin)
    except MemoryError as error:
        if isinstance(error, OutOfMemoryError):
            raise
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
        raise OutOfMemoryError(f"{name}: no memory to read it") from error


def _read(model: ModelProto, origin: Origin) -> OnnxGraph:
    check_ir_version(model.ir_version, origin)
    imports = read_imports(model.opset_import, "", origin)
    if not model.HasField("graph"):
        raise origin.damaged("has no graph")
    graph = model.graph
    nodes = read_nodes(graph.node, "", False, origin)
    functions = called_functions(model.functions, nodes, origin)
    initialisers = _initialisers(graph, origin)
    inputs = _ports(graph, "input", origin)
    outputs = _ports(graph, "output", origin)
    if not outputs:
        raise origin.damaged("the graph has no outputs")
    given = initialisers.keys() | {port.name for port in inputs}
    values = Names(given | {name for node in nodes for name in node.outputs}, origin)
    ordered = in_order(write_out(nodes, imports, functions, values, origin), given, origin)
    made = {name for node in ordered for name in node.outputs}
    for port in outputs:
        if port.name not in given and port.name not in made:
            raise origin.damaged(f"nothing makes the output {shown(port.name)}")
    kept, wanted = leading_to([port.name for port in outputs], ordered)
    return OnnxGraph(
        tuple(port for port in inputs if port.name not in initialisers),
        outputs,
        tuple(kept),
        {name: array for name, array in initialisers.items() if name in wanted},
        imports.get("", 0),
        origin.text(graph.name, "the name of the graph"),
        _metadata(model, origin),
        origin.name,
    )


def _initialisers(graph: GraphProto, origin: Origin) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        name = origin.label(tensor.name, "the name of an initialiser")
        if not name:
            raise origin.damaged("an initialiser has no name")
        if name in found:
            raise origin.damaged(f"the initialiser {shown(name)} is there twice")
        where = f"initialiser {shown(name)}"
        number = len(found) - len(graph.initializer)
        found[name] = (
            read_tensor(tensor, where, origin)
            if number < 0
            else read_sparse(graph.sparse_initializer[number], where, origin)
        )
    return found


def _ports(graph: GraphProto, what: str, origin: Origin) -> tuple[Port, ...]:
    ports = tuple(read_port(port, what, origin) for port in getattr(graph, what))
    names: set[str] = set()
    for port in ports:
        if port.name in names:
            raise origin.damaged(f"the {what} {shown(port.name)} is there twice")
        names.add(port.name)
    return ports


def _metadata(model: ModelProto, origin: Origin) -> dict[str, str]:
    return {
        origin.text(entry.key, "a key of the metadata"): origin.text(entry.value, "a value of the metadata")
        for entry in model.metadata_props
    }
