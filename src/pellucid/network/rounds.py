"""Which equations of a graph run image by image, so that they may share a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from pellucid.language.syntax import Name, Reduce, walk
from pellucid.network.graph import Equation, Graph, Loop, Node
from pellucid.network.images import batch_axis, image_values
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import ELEMENT_BYTES
from pellucid.schedule.plan import Options
from pellucid.schedule.recurrent import recurrence_options

__all__ = ["MOST_PARTS", "beside_loops", "by_image", "group_of", "parts_fit", "parts_of"]

# Parts of a sum over the batch, at most: what many threads can share, and few enough that adding them up is cheap.
MOST_PARTS = 4
# Bytes of a sum's parts beside those of the sum itself are worth no more than this.
LARGEST_PARTS = 1 << 23
# Positions of a map that a round should have, and rounds that there should be.
POSITIONS, LEAST_ROUNDS = 256, 4


def parts_of(rounds: int) -> int:
    """The parts into which a sum over `rounds` is cut: the largest divisor up to `MOST_PARTS`."""
    return _largest_divisor(rounds, MOST_PARTS)


def parts_fit(size: int, parts: int) -> bool:
    """Whether a sum of `size` bytes may be made in so many parts beside it."""
    return size * parts <= LARGEST_PARTS


def group_of(node: Equation, graph: Graph, of_images: Mapping[str, int]) -> int:
    """How many images make a round: so many that small maps fill the loops as a large one does, and that `LEAST_ROUNDS`
    are left for threads to share."""
    assert graph.images is not None
    own = {name: graph.values[name].shape for name in (*node.sources, node.output) if name in of_images}
    maps = [(*shape[: of_images[name]], *shape[of_images[name] + 1 :]) for name, shape in own.items()]
    positions = max((prod(shape[:-1]) for shape in maps), default=1)
    return _largest_divisor(graph.images, max(1, min(POSITIONS // positions, graph.images // LEAST_ROUNDS)))


def beside_loops(graph: Graph) -> Graph:
    """The graph in which equations that make or read images of a loop run in its groups, so that they may share its
    pass."""
    of_images, groups = image_values(graph), dict[str, int]()
    for node in graph.nodes:
        if isinstance(node, Loop):
            group = recurrence_options(node.recurrence, node.extents).group
            groups |= dict.fromkeys(of_images.keys() & {*node.sources, *node.outputs}, group)

    def grouped(node: Node) -> Node:
        found = [groups[name] for name in (node.output, *node.sources) if name in groups]
        return replace(node, group=found[0]) if found and isinstance(node, Equation) else node

    return graph.replace_nodes(tuple(map(grouped, graph.nodes))) if groups else graph


def _largest_divisor(number: int, most: int) -> int:
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)


def by_image(node: Equation, graph: Graph, of_images: Mapping[str, int], machine: Machine) -> Options | str:
    """How to lower an equation image by image; where it is better, or only, lowered as a whole, the reason.

    It runs image by image where its output has the batch axis, or where it is a reduction over that axis. What it reads
    beside the images (weights), or adds to in every round (a weight's gradient), then comes through the caches once a
    round: that must cost less than what it reads and makes of images costs on its way out of the caches and back.
    `of_images` as `image_values` gives them.
    """
    axis = batch_axis(node, graph, of_images)
    if graph.images is None or graph.images < 2 or axis is None:
        return "no axis counts the images of all that it reads of them"
    shape = graph.values[node.output].shape
    again = sum(graph.values[value].size for value in node.sources if value not in of_images)
    parts, group = 1, node.group or group_of(node, graph, of_images)
    element = ELEMENT_BYTES[graph.dtype]
    if Name(axis) not in node.formula.output.indices:
        reductions = [part for part in walk(node.formula.body) if isinstance(part, Reduce) and axis in part.axes]
        other = next((part.op for part in reductions if part.op != "sum"), None)
        if other is not None:
            return f"its {other} over the images is no sum of parts"
        parts = parts_of(graph.images // group)
        if parts < 2 or not parts_fit(prod(shape) * element, parts):
            return f"{parts} parts of its sum over the images are {prod(shape) * parts:,} numbers"
        again += 2 * prod(shape)
    size = again * element
    # What a whole nest reads and makes of images is gone from the caches when the next one comes to it.
    own = sum(graph.values[name].bytes for name in (*node.sources, node.output) if name in of_images)
    cost, spared = size / machine.bandwidth(size), 2 * own / machine.bandwidth(own) / (graph.images // group)
    if size > machine.l1 and cost > spared:
        return f"{size / 1024:,.0f} KiB would be read again each round, {cost:,.0f} cycles to spare {spared:,.0f}"
    return Options(outer=axis, group=group, parts=parts)
