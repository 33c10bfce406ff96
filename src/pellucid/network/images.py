"""Which values of a graph belong to images, each of them to its own."""

from __future__ import annotations

from collections.abc import Collection

from pellucid.language.syntax import Access, Name, walk
from pellucid.network.graph import Concatenation, Equation, Graph, Loop, View

__all__ = ["batch_axis", "image_values", "images_stay_apart", "loop_axis"]


def image_values(graph: Graph) -> frozenset[str]:
    """The values whose first axis is the batch: each of their images is made from the same image of such values."""
    found = set(graph.image_inputs)
    for node in graph.nodes:
        if isinstance(node, View):
            if node.source in found and graph.values[node.output].shape[:1] == (graph.images,):
                found.add(node.output)
        elif isinstance(node, Concatenation):
            if node.axis and found.issuperset(node.sources):
                found.add(node.output)
        elif isinstance(node, Loop):
            if loop_axis(node, graph, found) is not None:
                found.update(node.outputs)
        elif (axis := batch_axis(node, graph, found)) and node.formula.output.indices[:1] == (Name(axis),):
            found.add(node.output)
    return frozenset(found)


def images_stay_apart(graph: Graph) -> bool:
    """Whether all that depends on images belongs to images: more or fewer of them then change no other. The answer may
    be no for a graph that keeps them apart in another way."""
    of_images = image_values(graph)
    return all(of_images.issuperset(node.outputs) for node in graph.nodes if of_images.intersection(node.sources))


def loop_axis(node: Loop, graph: Graph, of_images: Collection[str]) -> str | None:
    """The axis that is the batch of all that a loop makes and of all values of images that it reads; None where cells
    of one image depend on another."""
    recurrence, values = node.recurrence, {**node.bindings, **node.made}
    rows = {*of_images, *node.outputs}
    axis = next((name for name in recurrence.apart() if node.extents[name] == graph.images), None)
    for formula in (*recurrence.formulas, *recurrence.initial):
        for part in (formula.output, *walk(formula.body)):
            if isinstance(part, Access) and values[part.tensor] in rows:
                index = part.indices[0] if part.indices else None
                if axis is None or index != Name(axis):
                    return None
    return axis


def batch_axis(node: Equation, graph: Graph, of_images: Collection[str]) -> str | None:
    """The axis that is the bare first index of every access to a value of images."""
    axes = set[str | None]()
    for part in walk(node.formula.body):
        if isinstance(part, Access) and node.bindings[part.tensor] in of_images:
            index = part.indices[0] if part.indices else None
            axes.add(index.name if isinstance(index, Name) else None)
    if len(axes) != 1:
        return None
    (axis,) = axes
    return axis if axis is not None and node.extents.get(axis) == graph.images else None
