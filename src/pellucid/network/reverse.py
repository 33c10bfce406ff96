"""Reverse mode through a graph: gradient equations are added behind the equations they belong to.

Each equation is differentiated by rule (`language.gradient`) towards each of its operands that matters; the
contributions of a value that is used more than once are added by an equation of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.backward import Backward
from pellucid.language.gradient import Gradient, derive
from pellucid.language.remembered import remembered
from pellucid.language.syntax import Access, Binary, Expr, Formula, Name, Number, Reduce
from pellucid.network.graph import Concatenation, Equation, Graph, Loop, View

__all__ = ["add_values", "differentiate", "zeros"]


def differentiate(graph: Graph, output: str, upstream: str, wrt: Sequence[str]) -> dict[str, str | None]:
    """Adds the gradient of a scalar with respect to each value of `wrt`, where `upstream` is the gradient
    of that scalar with respect to `output`; gives the name of each gradient.

    None stands for a value that has no influence on `output` through floating arithmetic (integer arrays among
    them); `zeros` makes an array of one where it is wanted. `upstream` has the shape of `output`.
    Raises ArgumentError for a name that is no value of the graph, ShapeError for an upstream of another shape.
    """
    for name in (output, upstream, *wrt):
        if name not in graph.values:
            raise ArgumentError(f"{name!r} is no value of the graph")
    if graph.values[upstream].shape != graph.values[output].shape:
        raise ShapeError(
            f"`upstream` {upstream} has shape {graph.values[upstream].shape}, "
            f"but {output} has shape {graph.values[output].shape}"
        )
    relevant = _between(graph, wrt, output)
    arrived: dict[str, list[str]] = {output: [upstream]}
    for node in reversed(graph.nodes):
        if isinstance(node, Loop):
            _through_loop(graph, node, arrived, relevant)
            continue
        if node.output not in relevant or node.output not in arrived:
            continue
        total = arrived[node.output] = [_total(graph, node.output, arrived[node.output])]
        for source, contribution in _contributions(graph, node, total[0], relevant):
            arrived.setdefault(source, []).append(contribution)
    return {name: _total(graph, name, arrived[name]) if name in arrived else None for name in wrt}


def zeros(graph: Graph, like: str) -> str:
    """Adds a value of zeros with the shape of `like`."""
    shape = graph.values[like].shape
    indices, extents = _indices(shape)
    formula = Formula(Access("zero", indices), Number(0))
    return graph.formula(formula, {}, extents=extents, output_extents=shape, prefix=f"d.{like}")


def add_values(graph: Graph, values: Iterable[str], prefix: str) -> str:
    """Adds the elementwise sum of values of one shape; the value itself where there is only one."""
    names = list(values)
    if len(names) == 1:
        return names[0]
    formula = _sum_of(len(names), len(graph.values[names[0]].shape))
    return graph.formula(formula, {f"a{number}": name for number, name in enumerate(names)}, prefix=prefix)


@cache
def _sum_of(count: int, rank: int) -> Formula:
    """`total[i0,...] = a0[i0,...] + a1[i0,...] + ...`."""
    indices = tuple(Name(f"i{number}") for number in range(rank))
    locals_ = [f"a{number}" for number in range(count)]
    terms: list[Expr] = [Access(local, indices) if indices else Name(local) for local in locals_]
    while len(terms) > 1:  # pairs, so that no tree becomes deep
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [Binary("+", left, right) for left, right in pairs] + terms[len(terms) // 2 * 2 :]
    return Formula(Access("total", indices), terms[0])


def _indices(shape: Sequence[int]) -> tuple[tuple[Name, ...], Mapping[str, int]]:
    names = [f"i{number}" for number in range(len(shape))]
    return tuple(Name(name) for name in names), dict(zip(names, shape, strict=True))


def _between(graph: Graph, wrt: Sequence[str], output: str) -> set[str]:
    """The floating values that depend on one of `wrt` and that `output` depends on (both ends included)."""
    depends = {name for name in wrt if graph.values[name].floating}
    for node in graph.nodes:
        if graph.values[node.output].floating and any(source in depends for source in node.sources):
            depends.update(node.outputs)
    needed = {output}
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update((*node.outputs, *node.sources))
    return depends & needed


def _total(graph: Graph, value: str, contributions: list[str]) -> str:
    return add_values(graph, contributions, prefix=f"d.{value}")


def _through_loop(graph: Graph, node: Loop, arrived: dict[str, list[str]], relevant: set[str]) -> None:
    """Adds the recurrence of a loop's gradient, and what arrives by it at every relevant source."""
    reached = {local: value for local, value in node.made.items() if value in arrived}
    sources = {local: source for local, source in node.bindings.items() if source in relevant}
    if not reached or relevant.isdisjoint(node.outputs):
        return
    totals = {value: _total(graph, value, arrived[value]) for value in reached.values()}
    arriving = {local: f"g.{local}" for local in reached}
    shapes = {local: graph.values[value].shape for local, value in node.made.items()}
    derived = Backward(node.recurrence, arriving, tuple(node.constants), shapes)
    towards = {local: derived.towards(local) for local in sources}
    extents = derived.extents(node.extents)
    known = {**node.bindings, **node.made, **{arriving[local]: totals[value] for local, value in reached.items()}}
    known |= graph.recurrence(
        derived.recurrence,
        known,
        constants=node.constants,
        extents=extents,
        prefix=f"d.{node.output}",
    )
    arrived.update({value: [known[derived.names[local]]] for local, value in node.made.items()})
    for local, source in sources.items():
        formula = towards[local]
        if formula is None:
            continue
        if isinstance(formula.body, Access) and formula.body.indices == formula.output.indices:
            contribution = known[formula.body.tensor]
        else:
            contribution = graph.formula(
                formula,
                known,
                constants=node.constants,
                extents=extents,
                output_extents=graph.values[source].shape,
                prefix=f"d.{source}",
            )
        arrived.setdefault(source, []).append(contribution)


def _contributions(
    graph: Graph, node: Equation | View | Concatenation, upstream: str, relevant: set[str]
) -> list[tuple[str, str]]:
    """(source, name of the gradient's contribution) for every relevant source of a node."""
    if isinstance(node, View):
        if node.source not in relevant:
            return []
        return [(node.source, graph.view(upstream, graph.values[node.source].shape, prefix=f"d.{node.source}"))]
    assert isinstance(node, Equation)  # concatenations are found when a graph is compiled, after this
    found: list[tuple[str, str]] = []
    for local, source in node.bindings.items():
        if source in relevant:
            contribution = _equation_gradient(graph, node, local, upstream)
            if contribution is not None:
                found.append((source, contribution))
    return found


def _equation_gradient(graph: Graph, node: Equation, local: str, upstream: str) -> str | None:
    """Adds the gradient of one equation towards one operand; None where the rule says that it is 0."""
    source = node.bindings[local]
    derived = _derived(node.formula, local, tuple(node.constants))
    if _vanishes(derived.formula.body):
        return None
    copies = {copy: node.extents[axis] for copy, axis in derived.copies.items()}
    return graph.formula(
        derived.formula,
        {**node.bindings, derived.upstream: upstream},
        constants=node.constants,
        extents={**node.extents, **copies},
        output_extents=graph.values[source].shape,
        prefix=f"d.{source}",
    )


@remembered
def _derived(formula: Formula, wrt: str, constants: tuple[str, ...]) -> Gradient:
    return derive(formula, wrt, constants=constants)


def _vanishes(body: Expr) -> bool:
    while isinstance(body, Reduce) and body.op == "sum":
        body = body.body
    return isinstance(body, Number) and body.value == 0
