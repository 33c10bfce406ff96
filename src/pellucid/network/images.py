"""Which values of a graph belong to images, each of them to its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pellucid.language.syntax import Access, Name, walk
from pellucid.network.graph import Concatenation, Equation, Graph, Loop, View

__all__ = ["batch_axis", "image_values", "images_stay_apart", "loop_axis"]


def image_values(graph: Graph) -> Mapping[str, int]:
    """The values that have an axis of images, and which of their axes it is: each image is made from the same image of
    such values. It is the first one of what networks read and give; in transformed images the points come before it."""
    found = dict.fromkeys(graph.image_inputs, 0)
    for node in graph.nodes:
        places = [found.get(source) for source in node.sources]
        if isinstance(node, View):
            if places == [0] and graph.values[node.output].shape[:1] == (graph.images,):
                found[node.output] = 0
        elif isinstance(node, Concatenation):
            if len(set(places)) == 1 and places[0] not in (None, node.axis):
                found[node.output] = places[0]
        elif isinstance(node, Loop):
            if {*places} <= {None, 0} and loop_axis(node, graph, found) is not None:
                found |= dict.fromkeys(node.outputs, 0)
        elif (axis := batch_axis(node, graph, found)) and Name(axis) in node.formula.output.indices:
            found[node.output] = node.formula.output.indices.index(Name(axis))
    return found


def images_stay_apart(graph: Graph) -> bool:
    """Whether all that depends on images has them as its first axis: more or fewer of them then change no other. The
    answer may be no for a graph that keeps them apart in another way."""
    of_images = image_values(graph)
    made = (name for node in graph.nodes if not of_images.keys().isdisjoint(node.sources) for name in node.outputs)
    return all(of_images.get(name) == 0 for name in made)


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


def batch_axis(node: Equation, graph: Graph, of_images: Mapping[str, int]) -> str | None:
    """The axis that, bare, counts the images of every value of images that is read."""
    axes = set[str | None]()
    for part in walk(node.formula.body):
        if isinstance(part, Access) and node.bindings[part.tensor] in of_images:
            index = part.indices[of_images[node.bindings[part.tensor]]]
            axes.add(index.name if isinstance(index, Name) else None)
    if len(axes) != 1:
        return None
    (axis,) = axes
    return axis if axis is not None and node.extents.get(axis) == graph.images else None
