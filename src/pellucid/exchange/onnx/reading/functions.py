"""A file's local functions, read when they are called; and what writing them out will take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from onnx import FunctionProto

from pellucid.exchange.onnx.reading.attributes import Attribute, read_attributes
from pellucid.exchange.onnx.reading.imports import domain_of, read_imports
from pellucid.exchange.onnx.reading.origin import Origin, amount, shown
from pellucid.exchange.onnx.reading.written import FunctionKey, WrittenNode, read_nodes

__all__ = ["Function", "called_functions", "read_function"]

_MANY = 1 << 63  # counts end here: a chain of functions that double would give numbers of a million digits


@dataclass(frozen=True)
class Function:
    """A local function. `attributes` are those that a call may give, with the value where it does not; `imports` the
    versions of operators in it."""

    title: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute | None]
    nodes: tuple[WrittenNode, ...]
    imports: Mapping[str, int]


@dataclass(frozen=True)
class _Extent:
    """What a call is when it is written out: nodes and calls, links, and calls inside each other."""

    nodes: int
    links: int
    depth: int


def called_functions(
    protos: Iterable[FunctionProto], nodes: Iterable[WrittenNode], origin: Origin
) -> dict[FunctionKey, Function]:
    """The functions that `nodes` call, and those that these call.

    Raises DataError where a function calls itself, is damaged, or where they grow beyond the limits when they are
    written out; nothing is written out for that.
    """
    nodes = list(nodes)
    written: dict[FunctionKey, FunctionProto] = {}
    for proto in protos:
        key = (
            domain_of(origin.label(proto.domain, "the domain of a function")),
            origin.label(proto.name, "the name of a function"),
            origin.label(proto.overload, "the overload of a function"),
        )
        if not key[1]:
            raise origin.damaged("a function has no name")
        if key in written:
            raise origin.damaged(f"{_title(key)} is there twice")
        written[key] = proto
    functions: dict[FunctionKey, Function] = {}

    def read(key: FunctionKey) -> Function:
        if key not in functions:
            functions[key] = read_function(written[key], _title(key), origin)
        return functions[key]

    extents = _measured([node.callee for node in nodes if node.callee in written], written.keys(), read, origin)
    whole = _joined(nodes, extents)
    limits = origin.limits
    for found, most, what in (
        (whole.nodes, limits.nodes, "nodes and calls"),
        (whole.links, limits.links, "inputs, outputs and attributes of nodes"),
        (whole.depth, limits.call_depth, "calls inside each other"),
    ):
        if found > most:
            raise origin.damaged(
                f"has {amount(found)} {what} when functions are written out; at most {most:,} are read"
            )
    return functions


def _title(key: FunctionKey) -> str:
    domain, name, overload = key
    return f"function {shown('.'.join(filter(None, (domain, name))))}" + (f" ({shown(overload)})" if overload else "")


def _measured(
    roots: list[FunctionKey],
    known: Iterable[FunctionKey],
    read: Callable[[FunctionKey], Function],
    origin: Origin,
) -> dict[FunctionKey, _Extent]:
    """The extent of each function that `roots` lead to, callees first."""
    known = set(known)
    done: dict[FunctionKey, _Extent] = {}
    # The calls that lead to where the walk is, each with those of its callees that are left to visit.
    path: dict[FunctionKey, list[FunctionKey]] = {}
    for root in roots:
        waiting = [root]
        while waiting or path:
            if waiting:
                key = waiting.pop()
                if key in path:
                    names = [_title(entry) for entry in path]
                    ring = names[names.index(_title(key)) :]
                    raise origin.damaged(f"functions must not call themselves: {' -> '.join([*ring[:8], _title(key)])}")
                if key not in done:
                    callees = dict.fromkeys(node.callee for node in read(key).nodes if node.callee in known)
                    path[key] = waiting
                    waiting = list(callees)
                continue
            key, waiting = path.popitem()
            done[key] = _joined(read(key).nodes, done)
    return done


def _joined(nodes: Iterable[WrittenNode], extents: Mapping[FunctionKey, _Extent]) -> _Extent:
    """Of nodes in a row, calls written out."""
    count = links = depth = 0
    for node in nodes:
        count += 1
        links += node.links
        inner = extents.get(node.callee)
        if inner is not None:
            count += inner.nodes
            links += inner.links
            depth = max(depth, 1 + inner.depth)
    return _Extent(min(count, _MANY), min(links, _MANY), depth)


def read_function(proto: FunctionProto, title: str, origin: Origin) -> Function:
    inputs = tuple(origin.label(name, f"{title}: the name of an input") for name in proto.input)
    outputs = tuple(origin.label(name, f"{title}: the name of an output") for name in proto.output)
    attributes: dict[str, Attribute | None] = {}
    for name in proto.attribute:
        attributes[origin.label(name, f"{title}: the name of an attribute")] = None
    for name, value in read_attributes(proto.attribute_proto, title, False, origin).items():
        assert isinstance(value, Attribute)
        attributes[name] = value
    if len(attributes) != len(proto.attribute) + len(proto.attribute_proto):
        raise origin.damaged(f"{title}: declares an attribute twice")
    nodes = tuple(read_nodes(proto.node, f"{title}: ", True, origin))
    _check_body(inputs, outputs, nodes, title, origin)
    return Function(title, inputs, outputs, attributes, nodes, read_imports(proto.opset_import, f"{title}: ", origin))


def _check_body(
    inputs: tuple[str, ...], outputs: tuple[str, ...], nodes: Iterable[WrittenNode], title: str, origin: Origin
) -> None:
    """A body reads only its inputs and what its own nodes make; cycles are found when it is written out."""
    made: set[str] = set()
    for name in inputs:
        if name in made or not name:
            raise origin.damaged(f"{title}: has the input {shown(name)} twice, or without a name")
        made.add(name)
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in made:
                raise origin.damaged(f"{title}: {node.title} makes {shown(name)}, which is there already")
            made.add(name)
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in made:
                raise origin.damaged(f"{title}: {node.title} reads {shown(name)}, which nothing makes")
    for name in outputs:
        if name not in made:
            raise origin.damaged(f"{title}: nothing makes its output {shown(name)}")
