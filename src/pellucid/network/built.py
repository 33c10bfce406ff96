"""A graph compiled, as it is kept on disk beside other objects: what running and describing it needs, and no nests.

An entry is one line of JSON (tensors, arena, places, lengths), the plans as JSON, the entry of the program that runs
before it, if there is one, and the object. Its key is made of all that determines it: the graph before lowering, the
source of the rooms that compile it, the target, LLVM's version, and what was tuned.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pellucid.emit.cache import entry_key
from pellucid.network.graph import Equation, Graph, Loop
from pellucid.network.memory import Arena
from pellucid.schedule.nest import Tensor

__all__ = ["Built", "build_key", "from_bytes", "to_bytes"]


@dataclass(frozen=True)
class Built:
    """A compiled graph.

    `tensors` are the arguments of `code`, an object, in order (those of tables without their values, which the object
    holds); `arena` lays out the temporaries among them, `scratch` the memory of each thread, `places` says which tensor
    each value of the graph lies in, and `cycles_a_nest` how many a nest takes at least, on the average. `plan_text` is
    JSON: for each equation, by its output, notes on how it runs (its form and why, image by image or whole, tuned or
    not, its pass), one a line, and behind them the printed plans. `before` makes inputs of this one that do not change
    with every call: its outputs.
    """

    tensors: tuple[Tensor, ...]
    arena: Arena
    scratch: Arena
    places: Mapping[str, str]
    cycles_a_nest: float
    plan_text: bytes
    code: bytes
    before: Built | None = None

    @property
    def plans(self) -> Mapping[str, Sequence[str]]:
        """Notes on each equation and the plans of its nests, printed, by the equation's output."""
        own: Mapping[str, Sequence[str]] = json.loads(self.plan_text)
        return own if self.before is None else {**self.before.plans, **own}


def to_bytes(built: Built) -> bytes:
    """The content of a cache entry."""
    before = b"" if built.before is None else to_bytes(built.before)
    header = {
        "tensors": [
            (tensor.name, tensor.dtype, tensor.shape, tensor.role, tensor.streamed) for tensor in built.tensors
        ],
        "arenas": [(arena.size, arena.offsets) for arena in (built.arena, built.scratch)],
        "places": built.places,
        "cycles_a_nest": built.cycles_a_nest,
        "plans": len(built.plan_text),
        "before": len(before),
    }
    return b"".join([json.dumps(header).encode(), b"\n", built.plan_text, before, built.code])


def from_bytes(content: bytes) -> Built:
    """The compiled graph in a cache entry, whose content is what `to_bytes` made."""
    end = content.index(b"\n")
    header = json.loads(content[:end])
    tensors = tuple(
        Tensor(name, dtype, tuple(shape), role, streamed=streamed)
        for name, dtype, shape, role, streamed in header["tensors"]
    )
    arena, scratch = (Arena(offsets, size) for size, offsets in header["arenas"])
    plans = end + 1 + header["plans"]
    code = plans + header["before"]
    before = from_bytes(content[plans:code]) if header["before"] else None
    text, code_bytes = content[end + 1 : plans], content[code:]
    return Built(tensors, arena, scratch, header["places"], header["cycles_a_nest"], text, code_bytes, before)


def build_key(
    graph: Graph,
    outputs: Collection[str],
    updates: Mapping[str, str],
    kept: Collection[str],
    source: str,
    target: str,
    llvm: str,
    tuned: str,
) -> str:
    """The name under which a compiled graph is kept; `source` is the digest of the compiler's own source, `target` and
    `llvm` describe the processor and the version, `tuned` is the digest of the decisions found by measurement."""
    return entry_key("program", source, llvm, target, tuned, _spelled(graph, outputs, updates), repr(sorted(kept)))


def _spelled(graph: Graph, outputs: Collection[str], updates: Mapping[str, str]) -> str:
    """All of a graph as text: equal for equal graphs alone."""
    formulas: dict[int, str] = {}
    nodes: list[object] = []
    for node in graph.nodes:
        if isinstance(node, Equation):
            formula = formulas.get(id(node.formula))
            if formula is None:
                formula = formulas[id(node.formula)] = repr(node.formula)
            given = [list(part.items()) for part in (node.constants, node.extents, node.bindings)]
            nodes.append((node.output, formula, given))
        elif isinstance(node, Loop):
            given = [list(part.items()) for part in (node.constants, node.extents, node.bindings, node.made)]
            nodes.append((repr(node.recurrence), given))
        else:
            nodes.append((node.output, node.sources))
    values = [(value.name, value.shape, value.dtype) for value in graph.values.values()]
    batch = (graph.images, sorted(graph.image_inputs), graph.accuracy)
    return repr([graph.dtype, batch, graph.inputs, values, nodes, list(outputs), list(updates.items())])
