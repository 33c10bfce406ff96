"""A network as text: shapes, parameters, multiply-adds and the equation of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import prod
from textwrap import wrap

from pellucid.language.extents import determined
from pellucid.language.render import to_text
from pellucid.language.syntax import Access, Binary, Expr, Reduce, walk
from pellucid.language.system import System
from pellucid.network import Equation, Graph, Loop
from pellucid.nn.blueprint import DRY_BATCH, Outline
from pellucid.nn.layer import Place, Reshape, Stage
from pellucid.nn.topology import INPUT, Topology

__all__ = ["multiply_adds", "summary_text"]


# Columns of the text about kernels.
WIDTH = 120


def summary_text(
    topology: Topology,
    outline: Outline,
    plans: Mapping[str, Sequence[str]],
    *,
    rows: int = DRY_BATCH,
    training: bool = True,
) -> str:
    """The table, and below it the equations, those of `training` or of inference; under each layer's its `plans`, which
    have for each compiled equation notes on how it runs, one a line, and the plans of its nests. `outline` has so many
    `rows`."""
    table = [("layer", "", "reads", "output", "parameters", "multiply-adds")]
    total_parameters = total_work = 0
    for place in topology.places:
        stage, value = outline.laid.stages[place.name], outline.graph.values[outline.laid.outputs[place.name]]
        parameters = sum(prod(parameter.shape) for parameter in stage.parameters if parameter.trained)
        work = sum(multiply_adds(node) for node in _nodes(outline.graph, place.name)) // rows
        total_parameters += parameters
        total_work += work
        shape = " x ".join(str(extent) for extent in value.shape[1:])
        table.append((place.name, place.kind, _reads(topology, place), shape, f"{parameters:,}", f"{work:,}"))
    table.append(("total", "", "", "", f"{total_parameters:,}", f"{total_work:,}"))
    lines = _table(table)
    owners = _owners(plans, [place.name for place in topology.places])
    for place in topology.places:
        lines += ["", f"{place.name} {place.kind}"]
        lines += [f"  {text}" for text in _equations(outline.laid.stages[place.name], training=training)]
        lines += _kernels(plans, owners, place.name)
    if plans:
        lines += ["", "beside the layers", *_kernels(plans, owners, ""), "", *_passes(plans)]
    return "\n".join(lines)


def _owners(plans: Mapping[str, Sequence[str]], layers: Sequence[str]) -> dict[str, str]:
    """For each compiled equation the layer whose value, gradient or update it makes; "" where that is none."""
    owners: dict[str, str] = {}
    for name in plans:
        own = name.removeprefix("d.").removeprefix("update.")
        owners[name] = max((layer for layer in layers if own.startswith(f"{layer}.")), key=len, default="")
    return owners


def _kernels(plans: Mapping[str, Sequence[str]], owners: Mapping[str, str], layer: str) -> list[str]:
    """How the equations of a layer run."""
    lines: list[str] = []
    names = [name for name, owner in owners.items() if owner == layer]
    if layer and plans and all(_kind(name) != "forward" for name in names):
        lines.append("  forward: inside the equations that read it")
    for name in names:
        notes, *nests = plans[name]
        lines += _wrapped(f"  {_kind(name)} {name}: {'; '.join(notes.splitlines())}", 4)
        for plan, equal in groupby(nests):
            times = len(list(equal))
            described = [*plan.splitlines(), *([f"and {times - 1} more like it"] if times > 1 else [])]
            lines += [part for line in described for part in _wrapped(f"    {line}", 12)]
    return lines


def _kind(name: str) -> str:
    return {"d": "backward", "update": "update"}.get(name.partition(".")[0], "forward")


def _passes(plans: Mapping[str, Sequence[str]]) -> list[str]:
    """What each pass over the images makes."""
    passes: dict[str, list[str]] = {}
    for name, (notes, *_) in plans.items():
        for note in notes.splitlines():
            if note.startswith("pass "):
                passes.setdefault(note, []).append(name)
    return [
        line for note, names in passes.items() for line in _wrapped(f"{note} over the images: {', '.join(names)}", 2)
    ]


def _wrapped(text: str, indent: int) -> list[str]:
    return wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False)


def multiply_adds(node: Equation | Loop) -> int:
    """Products under sums: the nominal number, borders counted as if they were inside."""
    return sum(
        prod(node.extents[axis] for axis in {*formula.free_axes, *part.axes}) // determined(part, node.extents)
        for formula in (node.recurrence.formulas if isinstance(node, Loop) else (node.formula,))
        for part in walk(formula.body)
        if isinstance(part, Reduce) and part.op == "sum" and _multiplies(part.body)
    )


def _multiplies(body: Expr) -> bool:
    """Whether it is a product in which two arrays stand, whatever else does."""
    return isinstance(body, Binary) and body.op == "*" and sum(isinstance(part, Access) for part in walk(body)) >= 2


def _nodes(graph: Graph, name: str) -> list[Equation | Loop]:
    return [
        node for node in graph.nodes if isinstance(node, Equation | Loop) and node.output.rpartition(".")[0] == name
    ]


def _reads(topology: Topology, place: Place) -> str:
    return ", ".join(_name(topology, number) for number in place.inputs)


def _name(topology: Topology, number: int) -> str:
    """What a place reads: a place, or the network's input (its second: "input 2")."""
    if number >= 0:
        return topology.places[number].name
    return "input" if number == INPUT else f"input {-number}"


def _equations(stage: Stage, *, training: bool) -> list[str]:
    step = stage.in_training().system if training else stage.system
    system: System = step.system if isinstance(step, Reshape) else step
    constants = ", ".join(f"{name} = {value:g}" for name, value in system.constants.items())
    texts = [to_text(formula) for formula in system.equations]
    return [*texts, f"with {constants}"] if constants else texts


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = {len(widths) - 1, len(widths) - 2}
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
