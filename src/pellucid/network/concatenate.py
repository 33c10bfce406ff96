"""Arrays one behind the other that are written where they are read, and copied nowhere.

    before   z[n,i,j,c] = sum(c0 : c0 == c) a[n,i,j,c0] + sum(c1 : c1 + A == c) b[n,i,j,c1]
    after    a is written to the first A channels of z, b behind it

1. Equations that say nothing else become nodes of a kind of their own (`with_concatenations`), before equations are
   joined: what is computed of `a` alone stands with `a` then, not in the copy.
2. When all else has been decided, a source that cannot lie in the whole is copied to one that can (`with_copies`):
   views of it, or others that own its memory, forbid it, and a second place. All others have their places (`parts_in`).

A whole may lie in another one: those of a dense block all lie in the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pellucid.language.affine import Affine
from pellucid.language.index_forms import read
from pellucid.language.syntax import Access, Binary, Compare, Expr, Formula, Name, Number, Reduce, substitute
from pellucid.network.graph import Concatenation, Equation, Graph, Node, Value, fresh
from pellucid.network.merge import writes_whole

__all__ = ["Place", "parts_in", "with_concatenations", "with_copies"]


@dataclass(frozen=True)
class Place:
    """Where a value lies: its cell `i` is cell `i + offsets` of the value `whole`."""

    whole: str
    offsets: tuple[int, ...]


def with_concatenations(graph: Graph) -> Graph:
    """The graph with nodes that say so in the place of equations that only put arrays one behind the other."""
    nodes = (_concatenation(graph, node) or node if isinstance(node, Equation) else node for node in graph.nodes)
    return graph.replace_nodes(tuple(nodes))


def with_copies(graph: Graph, wanted: Collection[str]) -> Graph:
    """The graph in which every source of a concatenation can lie in it, copied where it has to be; `wanted` are values
    that need memory of their own."""
    made = {node.output: node for node in graph.nodes}
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for source in node.sources:
            readers.setdefault(source, []).append(node)
    nodes, values, placed = list[Node](), dict[str, Value](), set[str]()
    for node in graph.nodes:
        if isinstance(node, Concatenation):
            sources = list[str]()
            for source in node.sources:
                own = source
                fits = source not in wanted and _can_lie_elsewhere(graph, made.get(source), readers[source])
                if not fits or source in placed:
                    own = fresh(f"{node.output}.{source}", {*graph.values, *values})
                    values[own] = replace(graph.values[source], name=own)
                    nodes.append(_copy(source, own, graph.values[source].shape))
                placed.add(own)
                sources.append(own)
            nodes.append(replace(node, sources=tuple(sources)))
        else:
            nodes.append(node)
    return graph.replace_nodes(tuple(nodes), values)


def parts_in(graph: Graph) -> dict[str, Place]:
    """The place of every source of a concatenation, in the outermost one where they lie in each other."""
    found = dict[str, Place]()
    for node in reversed(graph.nodes):
        if not isinstance(node, Concatenation):
            continue
        shape = graph.values[node.output].shape
        outer = found.get(node.output, Place(node.output, (0,) * len(shape)))
        before = 0
        for source in node.sources:
            offsets = list(outer.offsets)
            offsets[node.axis] += before
            found[source] = Place(outer.whole, tuple(offsets))
            before += graph.values[source].shape[node.axis]
    return found


def _can_lie_elsewhere(graph: Graph, node: Node | None, readers: Collection[Node]) -> bool:
    """Whether a value can be written to a part of an array: it is made, as a whole, by an equation or by another
    concatenation, and no view of it is asked for."""
    is_whole = isinstance(node, Concatenation) or (isinstance(node, Equation) and writes_whole(graph.values, node))
    return is_whole and all(isinstance(reader, Equation | Concatenation) for reader in readers)


def _copy(source: str, output: str, shape: tuple[int, ...]) -> Equation:
    axes = tuple(f"i{number}" for number in range(len(shape)))
    cell = tuple(Name(axis) for axis in axes)
    extents = MappingProxyType(dict(zip(axes, shape, strict=True)))
    formula = Formula(Access("copy", cell), Access("x", cell))
    return Equation(output, formula, MappingProxyType({}), extents, MappingProxyType({"x": source}))


# ---------------------------------------------------------------- which equations are concatenations
def _concatenation(graph: Graph, node: Equation) -> Concatenation | None:
    """The equation as a concatenation: a sum of sums of one term, each an array at another part of one axis."""
    terms = list(_terms(node.formula.body))
    if len(terms) < 2 or not writes_whole(graph.values, node):
        return None
    dimension, before, sources = None, 0, list[str]()
    for term in terms:
        found = _part(graph, node, term)
        if found is None or found[1] != before or (dimension is not None and found[0] != dimension):
            return None
        dimension = found[0]
        source = node.bindings[term.body.tensor]  # type: ignore[union-attr]
        sources.append(source)
        before += graph.values[source].shape[dimension]
    if dimension is None or before != graph.values[node.output].shape[dimension]:
        return None
    return Concatenation(node.output, tuple(sources), dimension)


def _terms(body: Expr) -> Iterator[Reduce]:
    """The sums that a body is the sum of; nothing where it is something else."""
    open_ = [body]
    found = list[Reduce]()
    while open_:
        part = open_.pop()
        if isinstance(part, Binary) and part.op == "+":
            open_ += [part.right, part.left]
        elif isinstance(part, Reduce):
            found.append(part)
        else:
            return
    yield from found


def _part(graph: Graph, node: Equation, term: Reduce) -> tuple[int, int] | None:
    """The dimension that a term is a part of, and where the part begins; None where it is no part."""
    if term.op != "sum" or len(term.axes) != 1 or len(term.conditions) != 1 or not isinstance(term.body, Access):
        return None
    (axis,), (condition,), cell = term.axes, term.conditions, node.formula.output.indices
    if not (isinstance(condition, Compare) and condition.op == "==") or len(term.body.indices) != len(cell):
        return None
    changed = [number for number, index in enumerate(term.body.indices) if index != cell[number]]
    if len(changed) != 1 or term.body.indices[changed[0]] != Name(axis):
        return None
    value, bound = cell[changed[0]], graph.values[node.bindings[term.body.tensor]]
    if node.extents[axis] != bound.shape[changed[0]] or bound.dtype != graph.values[node.output].dtype:
        return None
    sides = [read(_with_numbers(side, node.constants), node.extents) for side in (condition.left, condition.right)]
    if sides[0] is None or sides[1] is None or not isinstance(value, Name):
        return None
    apart = Affine.name(value.name) - Affine.name(axis)
    totals = (sides[0] - sides[1] + apart, sides[1] - sides[0] + apart)
    return next(((changed[0], total.const) for total in totals if not total.terms), None)


def _with_numbers(part: Expr, constants: Mapping[str, int | float]) -> Expr:
    return substitute(part, {name: Number(value) for name, value in constants.items()})  # type: ignore[return-value]
