"""Nodes as they are written in a graph or a function: nothing is renamed, called or ordered yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from onnx import NodeProto

from pellucid.exchange.onnx.reading.attributes import Attributes, read_attributes
from pellucid.exchange.onnx.reading.imports import domain_of
from pellucid.exchange.onnx.reading.origin import Origin, plain, shown

__all__ = ["FunctionKey", "WrittenNode", "read_nodes"]

FunctionKey = tuple[str, str, str]


@dataclass(frozen=True)
class WrittenNode:
    """`name` may be empty or stand twice. `place` is its number in the file's list."""

    name: str
    op: str
    domain: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    place: int

    @property
    def title(self) -> str:
        """`node 'conv1' (Conv)`, or `node number 3 (Conv)` where it has no name."""
        return _title(self.name, self.op, self.place)

    @property
    def callee(self) -> FunctionKey:
        """The function that it calls, where there is one of this domain, name and overload."""
        return self.domain, self.op, self.overload

    @property
    def links(self) -> int:
        """Inputs, outputs and attributes."""
        return len(self.inputs) + len(self.outputs) + len(self.attributes)


def read_nodes(nodes: Collection[NodeProto], where: str, inside_function: bool, origin: Origin) -> list[WrittenNode]:
    """The nodes of a graph or a function; `where` begins messages ("function 'f': ")."""
    if len(nodes) > origin.limits.nodes:
        raise origin.damaged(f"{where}has {len(nodes):,} nodes, at most {origin.limits.nodes:,} are read")
    return [_read(node, place, where, inside_function, origin) for place, node in enumerate(nodes)]


def _title(name: str, op: str, place: int) -> str:
    return f"node {shown(name)} ({plain(op)})" if name else f"node number {place} ({plain(op)})"


def _read(node: NodeProto, place: int, where: str, inside_function: bool, origin: Origin) -> WrittenNode:
    name = origin.label(node.name, f"{where}the name of node number {place}")
    op = origin.label(node.op_type, f"{where}the operator of node number {place}")
    title = where + _title(name, op, place)
    if not op:
        raise origin.damaged(f"{where}node number {place} has no operator")
    if not op.isprintable():  # it stands in messages, which may be shown by a terminal
        raise origin.damaged(f"{title}: the name of the operator has signs that cannot be printed")
    return WrittenNode(
        name,
        op,
        domain_of(origin.label(node.domain, f"{title}: the domain")),
        origin.label(node.overload, f"{title}: the overload"),
        tuple(origin.label(value, f"{title}: the name of an input") for value in node.input),
        tuple(origin.label(value, f"{title}: the name of an output") for value in node.output),
        read_attributes(node.attribute, title, inside_function, origin),
        place,
    )
