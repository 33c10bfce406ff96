"""Convolutions with fewer multiplications: equations of a graph replaced by Winograd's form where that pays.

    before:  z = conv(x, w)
    after:   z.V = transform(x);  z.U = transform(w);  z.M = products(z.V, z.U);  z = inverse transform(z.M)

Forward pass, dx and dw are all equations, so each is replaced, or left, for itself. One that is left, and would leave
most lanes of its vectors empty, gets neighbouring outputs side by side in them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.binding import names_of
from pellucid.language.correlation import Correlation, Pair, recognise
from pellucid.language.extents import output_shape
from pellucid.language.interpolation import default_points, largest, residues
from pellucid.language.neighbours import find_neighbours, side_by_side
from pellucid.language.solve import Solved, solve
from pellucid.language.syntax import Access, Name, Reduce, walk
from pellucid.language.tiles import smaller_tiles
from pellucid.language.winograd import Rewritten, Tile, rewrite
from pellucid.network.graph import Equation, Graph, Node, Value
from pellucid.network.images import batch_axis, image_values
from pellucid.network.prepare import follows_from
from pellucid.network.rounds import MOST_PARTS, group_of, parts_fit
from pellucid.schedule.machine import FAR, Machine
from pellucid.schedule.maps import LARGEST_MAP

__all__ = ["with_fewer_multiplications", "with_tiles"]

# The products of the form run near the peak, and each number between two steps costs this many vector operations.
PRODUCTS_OF_PEAK, PASS_COST = 0.85, 6.0
# Bytes a cycle of weights that are read once a call, for predictions, where the last cache does not hold those of all
# layers; the form has more of them than the kernel, by so much at most.
WEIGHT_BYTES, MORE_WEIGHTS = 8.0, 4
# What the form must save: its estimate leaves out what does not show in operations.
WORTHWHILE = 0.8
# Neighbours that may stand side by side, at most, and what reducing across lanes costs beside products.
_MOST_NEIGHBOURS, _ACROSS = 8, 1.25
# Products of one chain where tiles are asked for.
_CHAIN = 32
# Transformed weights stand in rows of so many: 256 bytes, as a tile of the products reads them. One behind the other
# they come from memory twice as fast as 256 bytes of each row of 512.
_ROW = 64


def with_fewer_multiplications(
    graph: Graph,
    accuracy: str,
    machine: Machine,
    reasons: dict[str, str] | None = None,
    kept: Collection[str] = (),
) -> Graph:
    """The graph with every equation replaced that is a correlation, in float32, where it saves time.

    `accuracy` is "standard", "fast" or "direct": which tiles may be used; with "direct" nothing is replaced. `reasons`
    gets, by the output of each sum of products, its form and why. Weights that follow from the inputs `kept` alone are
    transformed when these change, and only read each time.
    """
    reasons = {} if reasons is None else reasons
    if accuracy == "direct" or graph.dtype != "float32":
        return graph
    weights = sum(graph.values[name].bytes for name in kept)
    near = MORE_WEIGHTS * weights <= FAR * machine.l2
    early = _Early(follows_from(graph, kept) if kept else set(), machine.l3_bandwidth if near else WEIGHT_BYTES)
    return _replaced(graph, lambda node, images: _rewritten(node, accuracy, machine, images, early), reasons)


def with_tiles(graph: Graph, tiles: Mapping[str, Tile]) -> Graph:
    """The graph with every equation in the form with those tiles, by output axis, whether that saves time or not.

    ArgumentError where `rewrite` does not apply.
    """

    def rewritten(node: Equation, images: str | None) -> _Found:
        (solved,) = solve(node.formula, node.constants, node.extents)
        return _Found(rewrite(solved, tiles, _row_of(solved, images)), _CHAIN, "asked for")

    return _replaced(graph, rewritten, {})


def _replaced(
    graph: Graph,
    rewritten: Callable[[Equation, str | None], _Found | str | None],
    reasons: dict[str, str],
) -> Graph:
    """The graph with the steps that `rewritten` gives for an equation and the axis of its images, if any, or the reason
    why there are none."""
    of_images = image_values(graph)
    nodes, made, tables = list[Node](), dict[str, Value](), dict[str, tuple[float, ...]]()
    for node in graph.nodes:
        found = rewritten(node, batch_axis(node, graph, of_images)) if isinstance(node, Equation) else None
        if not isinstance(found, _Found):
            nodes.append(node)
            if found is not None:
                reasons[node.output] = f"direct: {found}"
            continue
        assert isinstance(node, Equation)
        reasons[node.output] = found.reason
        group = group_of(node, graph, of_images) if graph.images else 0
        steps = _steps(node, found.form, group, found.chain)
        nodes += steps.nodes
        made |= {value.name: value for value in steps.values}
        tables |= steps.tables
    return graph.replace_nodes(tuple(nodes), made, tables)


def _sums_products(node: Equation) -> bool:
    """Whether a sum reads two arrays: only then can it be a correlation."""
    sums = (part for part in walk(node.formula.body) if isinstance(part, Reduce) and part.op == "sum")
    return any(sum(isinstance(part, Access) for part in walk(found.body)) > 1 for found in sums)


@dataclass(frozen=True)
class _Early:
    """What is made before, by name, and the bytes of it that are read in a cycle."""

    values: Collection[str]
    bandwidth: float


@dataclass(frozen=True)
class _Found:
    """The steps, the products that are summed one after the other in them at most, and why."""

    form: Rewritten
    chain: int
    reason: str


def _rewritten(
    node: Equation, accuracy: str, machine: Machine, images: str | None, early: _Early
) -> _Found | str | None:
    """The steps for one equation; the reason where it is no such correlation, or where they cost more; None where it
    is no product."""
    if not _sums_products(node):
        return None
    pieces = solve(node.formula, node.constants, node.extents)
    if len(pieces) != 1:
        return f"{len(pieces)} residues have formulas of their own"
    (solved,) = pieces
    correlation = recognise(solved)
    if isinstance(correlation, str):
        return correlation
    found = _with_tiles(node, solved, correlation, accuracy, machine, images, early)
    return found if isinstance(found, _Found) else _beside(solved, correlation, machine.lanes(4)) or found


def _with_tiles(
    node: Equation, solved: Solved, correlation: Correlation, accuracy: str, machine: Machine, images: str | None,
    early: _Early,
) -> _Found | str:  # fmt: skip
    """Winograd's form, or why not."""
    # Vectors run along the last index of all that is transformed: no axis of a pair may stand there.
    last = {access.indices[-1] for access in (solved.formula.output, correlation.data, correlation.taps)}
    moving = {name for pair in correlation.pairs for name in (pair.output, pair.tap)}
    if any(not isinstance(index, Name) or index.name in moving for index in last):
        return "vectors would run along an axis of the windows"
    made_early = correlation.taps.tensor if node.bindings[correlation.taps.tensor] in early.values else None
    candidates = smaller_tiles(solved, correlation, accuracy, LARGEST_MAP)
    ways = [
        (_cost(found, machine, images, made_early, early.bandwidth), tiles, found, chain)
        for tiles, chain in (candidates if made_early else [next(candidates)])
        if tiles
        for found in (rewrite(solved, tiles, _row_of(solved, images)),)
    ]
    if not ways:
        return f"no tile of {LARGEST_MAP} points or fewer saves products"
    cycles, tiles, found, chain = min(ways, key=lambda way: way[0])
    cost = cycles / _direct_cost(solved, machine, correlation.taps if made_early else None, early.bandwidth)
    pairs = {pair.output: pair for pair in correlation.pairs}
    described = ", ".join(_described(pairs[axis], tile) for axis, tile in tiles.items())
    if cost >= WORTHWHILE:
        return f"Winograd's form would take {cost:.2f} of the cycles ({described})"
    return _Found(found, chain, f"Winograd's form, {described}: {cost:.2f} of the cycles")


def _row_of(solved: Solved, images: str | None) -> int | None:
    """The length of a row of the transformed taps. Those of images, which are summed over then, stay as they are."""
    return _ROW if images is None or images in names_of(solved.formula.output.indices) else None


def _beside(solved: Solved, correlation: Correlation, lanes: int) -> _Found | None:
    """Neighbours side by side in vectors of so many lanes, where they fill them better."""
    by = find_neighbours(solved, correlation)
    if isinstance(by, str):
        return None
    extents, taps = solved.extents, correlation.taps.indices
    own, other, (step, stride) = extents[by.lane], extents[by.other], by.steps
    cells, direct = extents[by.axis], float(-(-own // lanes))
    across = taps[-1]
    if correlation.data.indices[-1] == across and isinstance(across, Name) and across.name in correlation.sum.axes:
        terms = extents[across.name]
        direct = min(direct, _ACROSS * own * -(-terms // lanes) / terms)

    def cost(count: int) -> float:
        """Vectors of products for one output, beside those of the equation as it is."""
        read = step * (count - 1) + stride * (other - 1) + 1
        return read / other * -(-count * own // lanes) / count / direct

    counts = [count for count in range(2, min(_MOST_NEIGHBOURS, cells) + 1) if cells % count == 0]
    count = min(counts, key=cost, default=0)
    if not count or cost(count) >= WORTHWHILE:
        return None
    try:
        form = side_by_side(solved, correlation, by, count)
    except ArgumentError:
        return None
    return _Found(form, 0, f"{count} neighbours along {by.axis} in a vector: {cost(count):.2f} of the products")


def _described(pair: Pair, tile: Tile) -> str:
    parts = residues(tile.outputs, tile.taps, pair.steps)
    points = " ".join(map(str, default_points(largest(parts))))
    by = f" in {len(parts)} residues" if len(parts) > 1 else ""
    return f"{pair.output} {tile.outputs} outputs of {tile.taps} taps{by} at {points} inf"


def _direct_cost(solved: Solved, machine: Machine, weights: Access | None, bandwidth: float) -> float:
    """Cycles of the multiply-adds as written, and of reading `weights` that are made before."""
    read = 4 * prod(solved.extents[name] for name in names_of(weights.indices)) if weights is not None else 0
    return prod(solved.extents.values()) / machine.lanes(4) / machine.fma_rate + read / bandwidth


def _cost(found: Rewritten, machine: Machine, images: str | None, made_early: str | None, bandwidth: float) -> float:
    """Cycles of the products, and of the passes over what is between the steps; of what is made of weights that are
    `made_early`, those of reading it."""
    *between, products, _ = found.steps
    early = [step for step in between if made_early in _read(step)]
    made = [step for step in (*between, products) if step not in early]
    cycles = prod(products.extents.values()) / PRODUCTS_OF_PEAK + PASS_COST * sum(prod(_shape(step)) for step in made)
    read = sum(4 * prod(_shape(step)) for step in early)
    far = _far_bytes(made, products, machine, images)
    return cycles / machine.lanes(4) / machine.fma_rate + far / machine.memory_bandwidth + read / bandwidth


def _read(step: Solved) -> set[str]:
    return {part.tensor for part in walk(step.formula.body) if isinstance(part, Access)}


def _far_bytes(made: Sequence[Solved], products: Solved, machine: Machine, images: str | None) -> float:
    """Bytes of what is between the steps that go to memory and come back, beyond what the caches hold.

    What belongs to `images`, by the name of their axis, is used up image by image, unless it becomes a sum over them
    whose parts are too large for that.
    """
    by_image = _has_axis(products, images) or parts_fit(4 * prod(_shape(products)), MOST_PARTS)
    sizes = [4 * prod(_shape(step)) for step in made if not (by_image and _has_axis(step, images))]
    return 2 * sum(max(0, size - FAR * machine.l2) for size in sizes)


def _has_axis(step: Solved, axis: str | None) -> bool:
    return Name(axis) in step.formula.output.indices if axis else False


def _shape(step: Solved) -> tuple[int, ...]:
    """The shape of what a step before the last one makes."""
    return output_shape(step.formula, {}, step.extents)


@dataclass(frozen=True)
class _Steps:
    nodes: list[Node]
    values: list[Value]
    tables: dict[str, tuple[float, ...]]


def _steps(node: Equation, found: Rewritten, group: int, longest: int) -> _Steps:
    """The equations of the steps, the last of which makes the node's own value."""
    names = dict(node.bindings)
    tables = {f"{node.output}.{local}": matrix for local, matrix in found.tables.items()}
    values = [Value(name, (len(matrix), len(matrix[0])), "float32") for name, matrix in tables.items()]
    names |= {local: f"{node.output}.{local}" for local in found.tables}
    nodes = list[Node]()
    for number, step in enumerate(found.steps):
        is_last = number == len(found.steps) - 1
        local = step.formula.output.tensor
        output = node.output if is_last else f"{node.output}.{local}"
        read = {part.tensor for part in walk(step.formula.body) if isinstance(part, Access)}
        read |= {part.name for part in walk(step.formula.body) if isinstance(part, Name)} - step.extents.keys()
        bindings = MappingProxyType({name: value for name, value in names.items() if name in read})
        chain = longest if number == len(found.steps) - 2 else 0
        nodes.append(Equation(output, step.formula, MappingProxyType({}), step.extents, bindings, chain, group))
        names[local] = output
        if not is_last:
            values.append(Value(output, _shape(step), "float32"))
    flat = {name: tuple(float(number) for row in matrix for number in row) for name, matrix in tables.items()}
    return _Steps(nodes, values, flat)
