"""Values computed again rather than kept: what the backward pass reads once more and is cheap to make.

    before   a = relu(norm(z));  z2 = conv(a, w);  ..  dw = sum a * dz2          a lives from the first line to the last
    after    a = relu(norm(z));  z2 = conv(a, w);  ..  a' = relu(norm(z));  dw = sum a' * dz2

Both copies then live for a moment, in the scratch of a pass as a rule: nothing of them goes through memory.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise

from pellucid.network.graph import Equation, Graph, Node, Value, rename_sources
from pellucid.network.images import image_values
from pellucid.network.merge import is_elementwise

__all__ = ["compute_again"]

# Equations that lie between two readers of a value before it is worth making it again for the later ones.
LONG = 12


def compute_again(graph: Graph, wanted: Collection[str]) -> Graph:
    """The graph with elementwise values of images made again where a long time passes before they are read once more,
    and where all that they are made of is there then anyway, as it was or made again."""
    of_images = image_values(graph)
    readers: dict[str, list[int]] = {}
    for place, node in enumerate(graph.nodes):
        for source in node.sources:
            readers.setdefault(source, []).append(place)
    copies: dict[int, list[Node]] = {}
    renamed: dict[int, dict[str, str]] = {}
    new: dict[str, Value] = {}
    # From the last to the first: a copy is one more reader of its sources, which may then be made again for it.
    for place, node in reversed(list(enumerate(graph.nodes))):
        name = node.output
        if not isinstance(node, Equation) or name in wanted or name not in of_images:
            continue
        late = _late(place, readers.get(name, [])) if is_elementwise(graph.values, node) else []
        if not late or not _is_there(node, late[0], of_images, graph, readers):
            continue
        again = f"{name}.again"
        new[again] = replace(graph.values[name], name=again)
        copies.setdefault(late[0], []).append(replace(node, output=again))
        for reader in late:
            renamed.setdefault(reader, {})[name] = again
        for source in node.sources:
            insort(readers[source], late[0])
    nodes = list[Node]()
    for place, node in enumerate(graph.nodes):
        here = (*reversed(copies.get(place, [])), node)
        nodes += [rename_sources(entry, renamed.get(place, {})) for entry in here]
    return graph.replace_nodes(tuple(nodes), new)


def _late(place: int, readers: list[int]) -> list[int]:
    """The readers behind the longest time in which nobody reads the value; none where that is short, or comes first."""
    gaps = [(after - before, after) for before, after in pairwise([place, *readers])]
    length, start = max(gaps, default=(0, 0))
    return [reader for reader in readers if reader >= start] if length >= LONG and start != readers[0] else []


def _is_there(
    node: Equation, place: int, of_images: Collection[str], graph: Graph, readers: Mapping[str, list[int]]
) -> bool:
    """Whether every source of images that the node reads is read at `place` or later by others too, or is an input."""
    return all(
        source not in of_images or source in graph.inputs or readers[source][-1] >= place for source in node.sources
    )
