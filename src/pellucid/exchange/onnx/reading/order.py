"""Nodes in running order: every value is made once, and before it is read; what leads to no output is left out."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

from pellucid.exchange.onnx.graph import OnnxNode
from pellucid.exchange.onnx.reading.origin import Origin, plain, shown

__all__ = ["in_order", "leading_to"]

_NAMED = 8  # nodes of a cycle in a message


def in_order(nodes: Sequence[OnnxNode], given: Collection[str], origin: Origin) -> list[OnnxNode]:
    """The nodes so that each stands after those whose values it reads, otherwise as in the file.

    `given` are the names of inputs and initialisers. Raises DataError where a value is made twice or by nothing, and
    where nodes wait for each other.
    """
    makers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in given:
                raise origin.damaged(f"{_title(node)} makes {shown(name)}, which is an input or initialiser")
            if name in makers:
                raise origin.damaged(f"{_title(node)} makes {shown(name)}, which {_title(nodes[makers[name]])} makes")
            makers[name] = number
    readers: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    for number, node in enumerate(nodes):
        for name in filter(None, node.inputs):
            if name in makers:
                readers[makers[name]].append(number)
                waiting[number] += 1
            elif name not in given:
                raise origin.damaged(f"{_title(node)} reads {shown(name)}, which nothing makes")
    ready = [number for number, count in enumerate(waiting) if not count]  # ascending, so a heap
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers[number]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        ring = _cycle(nodes, makers, waiting)
        names = [_title(node) for node in ring[:_NAMED]] + (["..."] if len(ring) > _NAMED else []) + [_title(ring[0])]
        raise origin.damaged(f"nodes must not wait for each other: {' -> '.join(names)}")
    return [nodes[number] for number in order]


def leading_to(outputs: Collection[str], nodes: Sequence[OnnxNode]) -> tuple[list[OnnxNode], set[str]]:
    """Of nodes in order, those that lead to the outputs; and the names that these read, and of the outputs."""
    wanted = set(outputs)
    kept: list[OnnxNode] = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(filter(None, node.outputs)):
            kept.append(node)
            wanted.update(filter(None, node.inputs))
    return kept[::-1], wanted


def _title(node: OnnxNode) -> str:
    return f"node {shown(node.name)} ({plain(node.op)})"


def _cycle(nodes: Sequence[OnnxNode], makers: Mapping[str, int], waiting: Sequence[int]) -> list[OnnxNode]:
    """Nodes of which each reads the one before: backwards from a node that waits, to one that was met before."""
    number = next(number for number, count in enumerate(waiting) if count)
    met: dict[int, None] = {}
    while number not in met:
        met[number] = None
        number = next(makers[name] for name in nodes[number].inputs if name in makers and waiting[makers[name]])
    path = list(met)
    return [nodes[entry] for entry in reversed(path[path.index(number) :])]
