"""Operators that the standard defines by others, written out as these: the bodies that come with the package onnx.

Bodies that depend on the types of what a node reads are not taken: types are known when values are, later.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import onnx.defs
from onnx import AttributeProto, FunctionProto

from pellucid.exchange.onnx.graph import OnnxGraph, OnnxNode
from pellucid.exchange.onnx.reading.attributes import Attribute, read_attributes
from pellucid.exchange.onnx.reading.functions import Function, read_function
from pellucid.exchange.onnx.reading.inlining import Names, write_out
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.reading.origin import Origin
from pellucid.exchange.onnx.reading.written import WrittenNode

__all__ = ["with_standard_functions"]

# Bodies in bodies. Those of the standard are not deeper than two.
DEPTH = 4


def with_standard_functions(graph: OnnxGraph, known: Collection[str], limits: Limits) -> OnnxGraph:
    """The graph with ONNX's operators that are not `known`, but are functions of those that are, written out.

    Names of nodes and values that a body brings begin with the node's. Raises DataError where a node does not fit the
    function, and where the graph grows beyond the limits.
    """
    origin = Origin(graph.source, None, limits)
    for _ in range(DEPTH):
        found: dict[int, Function] = {}
        for number, node in enumerate(graph.nodes):
            body = None if node.domain else _body(node.op, node.version, known, origin)
            if body is not None:
                found[number] = body
        if not found:
            break
        graph = _written_out(graph, found, origin)
    return graph


def _body(op: str, version: int, known: Collection[str], origin: Origin, depth: int = DEPTH) -> Function | None:
    """The function that an operator is in a version, if all that is called in it can be had."""
    if op in known or not depth:
        return None
    try:
        schema = _schema(op, version)
    except onnx.defs.SchemaError:
        return None
    versions = [one for one in schema.function_opset_versions if one <= version]
    if not versions:
        return None
    proto = FunctionProto()
    proto.ParseFromString(schema.get_function_with_opset_version(max(versions)))
    title = f"function '{op}'"
    body = read_function(proto, title, origin)
    for node in body.nodes:
        inner = body.imports.get(node.domain, 0)
        if node.domain or (node.op not in known and _body(node.op, inner, known, origin, depth - 1) is None):
            return None
    defaults: list[AttributeProto] = [
        attribute.default_value for attribute in schema.attributes.values() if attribute.default_value.type
    ]
    given = read_attributes(defaults, title, False, origin)
    attributes = {name: entry for name, entry in given.items() if isinstance(entry, Attribute)}
    return replace(body, attributes={name: attributes.get(name) for name in schema.attributes})


def _schema(op: str, version: int) -> Any:
    """The standard's description of an operator; onnx does not say its type in full."""
    return onnx.defs.get_schema(op, version, "")


def _written_out(graph: OnnxGraph, bodies: dict[int, Function], origin: Origin) -> OnnxGraph:
    names = {node.name for number, node in enumerate(graph.nodes) if number not in bodies}
    made = {name for node in graph.nodes for name in node.outputs}
    values = Names({port.name for port in graph.inputs} | graph.initialisers.keys() | made, origin)
    nodes: list[OnnxNode] = []
    for number, node in enumerate(graph.nodes):
        if number not in bodies:
            nodes.append(node)
            continue
        for inner in _called(node, bodies[number], values, origin):
            name, count = inner.name, 1
            while name in names:
                count += 1
                name = f"{inner.name}_{count}"
            names.add(name)
            nodes.append(replace(inner, name=name))
        if len(nodes) > origin.limits.nodes:
            raise origin.damaged(f"has more than {origin.limits.nodes:,} nodes, functions of the standard written out")
    return replace(graph, nodes=tuple(nodes))


def _called(node: OnnxNode, function: Function, values: Names, origin: Origin) -> list[OnnxNode]:
    schema = _schema(node.op, node.version)
    attributes = {
        name: Attribute(schema.attributes[name].type.name if name in schema.attributes else "", value)
        for name, value in node.attributes.items()
    }
    call = WrittenNode(node.name, node.op, "", "", node.inputs, node.outputs, attributes, 0)
    return write_out([call], {"": node.version}, {call.callee: function}, values, origin)
