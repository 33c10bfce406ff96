"""Calls of local functions, written out: the nodes of a body in the place of the node that calls it.

    y = f<size: 3>(x)   where   f<size>(a) -> b:  t = Conv<kernel_shape: @size>(a, ...);  b = Relu(t)

becomes

    f/t = Conv<kernel_shape: 3>(x, ...);  y = Relu(f/t)

Names of values and nodes that a body makes begin with the call's, and are made unique.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pellucid.exchange.onnx.graph import AttributeValue, OnnxNode
from pellucid.exchange.onnx.reading.attributes import Attribute
from pellucid.exchange.onnx.reading.functions import Function
from pellucid.exchange.onnx.reading.imports import titled
from pellucid.exchange.onnx.reading.origin import Origin, shown
from pellucid.exchange.onnx.reading.written import FunctionKey, WrittenNode

__all__ = ["Names", "write_out"]


class Names:
    """Names that are taken, and new ones that are not."""

    def __init__(self, taken: Iterable[str], origin: Origin) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}
        self._characters = 0
        self._origin = origin

    def fresh(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2` ... where that is taken."""
        name = wish
        while name in self._taken:
            number = self._numbers[wish] = self._numbers.get(wish, 0) + 1
            name = f"{wish}_{number}"
        limits = self._origin.limits
        if len(name) > limits.name_length:
            raise self._origin.damaged(
                f"nodes and functions written out give the name {shown(name)}; "
                f"at most {limits.name_length:,} characters are read"
            )
        self._characters += len(name)
        if self._characters > limits.name_characters:
            raise self._origin.damaged(
                f"nodes and functions written out give more than {limits.name_characters:,} characters of names"
            )
        self._taken.add(name)
        return name


@dataclass
class _Scope:
    """A body while it is written out: the nodes that are left, and what its names stand for outside."""

    nodes: Iterator[WrittenNode]
    imports: Mapping[str, int]
    where: str
    prefix: str
    attributes: Mapping[str, Attribute]
    values: dict[str, str] | None  # None: the graph itself, whose names are the file's

    def value(self, name: str) -> str:
        return name if self.values is None or not name else self.values[name]


def write_out(
    nodes: Iterable[WrittenNode],
    imports: Mapping[str, int],
    functions: Mapping[FunctionKey, Function],
    values: Names,
    origin: Origin,
) -> list[OnnxNode]:
    """The nodes of a graph with the functions that they call written out, each with the version of its operator.

    `values` are the names of all values of the graph. The order is that of the file; the limits are checked before.
    """
    nodes = list(nodes)
    names = Names((), origin)
    # The first node of a name keeps it, whatever others would be called.
    firsts = {node.name: node.place for node in reversed(nodes) if node.name}
    keeping_first = sorted(nodes, key=lambda node: firsts.get(node.name) != node.place)
    own = {node.place: names.fresh(_wish(node)) for node in keeping_first}
    found: list[OnnxNode] = []
    stack = [_Scope(iter(nodes), imports, "", "", {}, None)]
    while stack:
        scope = stack[-1]
        node = next(scope.nodes, None)
        if node is None:
            stack.pop()
            continue
        if node.domain not in scope.imports:
            raise origin.damaged(f"{scope.where}{node.title}: {titled(node.domain)} is not imported")
        function = functions.get(node.callee)
        name = own[node.place] if scope.values is None else names.fresh(scope.prefix + _wish(node))
        inputs = tuple(scope.value(value) for value in node.inputs)
        outputs = tuple(scope.value(value) for value in node.outputs)
        attributes = _resolved(node, scope, origin)
        if function is None:
            read: dict[str, AttributeValue] = {key: entry.value for key, entry in attributes.items()}
            found.append(OnnxNode(name, node.op, node.domain, scope.imports[node.domain], inputs, outputs, read))
            continue
        title = f"{scope.where}{node.title}"
        given = _given(attributes, function, title, origin)
        bound, copies = _bound(function, inputs, outputs, title, origin)
        for source, target in copies:
            version = function.imports.get("", imports.get("", 1))
            found.append(OnnxNode(names.fresh(f"{name}/Identity"), "Identity", "", version, (source,), (target,)))
        for inner in function.nodes:
            for value in filter(None, inner.outputs):
                if value not in bound:
                    bound[value] = values.fresh(f"{name}/{value}")
        stack.append(_Scope(iter(function.nodes), function.imports, f"{function.title}: ", f"{name}/", given, bound))
    return found


def _wish(node: WrittenNode) -> str:
    return node.name or f"{node.op}_{node.place}"


def _resolved(node: WrittenNode, scope: _Scope, origin: Origin) -> dict[str, Attribute]:
    """A node's attributes, references replaced by values; one whose value was not given is left out."""
    found: dict[str, Attribute] = {}
    for key, entry in node.attributes.items():
        value = entry if isinstance(entry, Attribute) else scope.attributes.get(entry.name)
        if value is None:
            continue
        if value.kind != entry.kind:
            raise origin.damaged(
                f"{scope.where}{node.title}, attribute {shown(key)}: must be {entry.kind}, "
                f"and the call gives {value.kind}"
            )
        found[key] = value
    return found


def _given(attributes: Mapping[str, Attribute], function: Function, title: str, origin: Origin) -> dict[str, Attribute]:
    """The attributes of a call, with the function's own values for those that it leaves out."""
    for key in attributes:
        if key not in function.attributes:
            raise origin.damaged(f"{title}: gives the attribute {shown(key)}, which {function.title} does not have")
    return {key: value for key, value in function.attributes.items() if value is not None} | dict(attributes)


def _bound(
    function: Function, inputs: tuple[str, ...], outputs: tuple[str, ...], title: str, origin: Origin
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What the names of a function stand for in a call, and the values that are to be copied: those that it gives as it
    takes them, and those that it gives twice."""
    for what, names, own in (("inputs", inputs, function.inputs), ("outputs", outputs, function.outputs)):
        if len(names) > len(own):
            raise origin.damaged(f"{title}: has {len(names):,} {what}, {function.title} has {len(own):,}")
    bound = dict.fromkeys(function.inputs, "") | dict(zip(function.inputs, inputs, strict=False))
    copies: list[tuple[str, str]] = []
    for inner, outer in zip(function.outputs, outputs, strict=False):
        if not outer:
            continue
        if inner not in bound:
            bound[inner] = outer
        elif bound[inner]:
            copies.append((bound[inner], outer))
        else:
            raise origin.damaged(f"{title}: takes the output {shown(inner)}, an input that it leaves out")
    return bound, copies
