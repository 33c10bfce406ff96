"""Graphs that run: `compile_graph` gives a callable from arrays to arrays.

Two backends do the same. `reference` evaluates node by node in float64, `compiled` runs the whole graph as one
program that every thread enters once per call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.allocation import empty
from pellucid.errors import ArgumentError, DtypeError, OutOfMemoryError, ShapeError
from pellucid.network.apart import Spans, spans
from pellucid.network.graph import Concatenation, Graph, Loop, Value, View
from pellucid.network.inplace import check_updates
from pellucid.network.lookup import check_lookups, check_positions, lookups_of_inputs
from pellucid.network.prune import prune
from pellucid.network.source import source_digest
from pellucid.reference import evaluate, evaluate_recurrence

__all__ = ["BACKENDS", "Array", "CompiledGraph", "compile_graph"]

Array: TypeAlias = NDArray[Any]

BACKENDS = ("compiled", "reference")


class Engine(Protocol):
    """What executes a graph: gets checked input arrays, fills the outputs and overwrites what is updated."""

    def bound(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array]) -> Engine:
        """An engine that has these inputs already, and keeps them; and writes these outputs at each call."""
        ...

    def refresh(self) -> None:
        """Told that the contents of bound arrays have changed that were to be kept."""
        ...

    def run(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """Fills `outputs` (C-contiguous arrays by value name, all of them) from `arrays`, the inputs not yet bound."""
        ...


class CompiledGraph:
    """A graph for given shapes, ready to run. Calls from several Python threads take turns inside."""

    def __init__(
        self,
        graph: Graph,
        outputs: Mapping[str, str],
        updates: Mapping[str, str],
        engine: Engine,
        fixed: Mapping[str, Array] | None = None,
        fixed_spans: Spans | None = None,
        own: Mapping[str, Array] | None = None,
    ) -> None:
        self.graph = graph
        self.engine = engine
        self._outputs = {wish: graph.values[name] for wish, name in outputs.items()}
        self._made = {value.name: value for value in self._outputs.values()}
        self._own = dict(own or {})
        self._fresh = [value for name, value in self._made.items() if name not in self._own]
        # Two outputs may have been found to be one value; each of them is an array of its own.
        self._first = {value.name: wish for wish, value in reversed(self._outputs.items())}
        self._all_as_made = all(wish == value.name for wish, value in self._outputs.items())
        self._updates = updates
        self._lookups = lookups_of_inputs(graph)
        self._fixed = dict(fixed or {})
        self._fixed_spans = fixed_spans or Spans()
        read = {source for node in graph.nodes for source in node.sources}
        read |= {*outputs.values(), *updates.values()}
        self.required = tuple(
            name for name in graph.inputs if (name in read or name in updates) and name not in self._fixed
        )
        self._needed = frozenset(self.required)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values of the graph that are given back."""
        return tuple(self._made)

    @property
    def updates(self) -> Mapping[str, str]:
        """The inputs that are updated in place, with the value that each of them becomes."""
        return self._updates

    def bind(self, arrays: Mapping[str, Array], *, reuse: bool = False) -> CompiledGraph:
        """The same graph with some inputs given once and for all: parameters, and what is updated in place.

        The arrays themselves are kept, so they must be C-contiguous and of the exact type. Names that the graph does
        not read are ignored. `reuse`: each call writes its outputs over those of the one before.
        Raises as the call does.
        """
        given = {name: self._take_exactly(name, arrays[name]) for name in self.required if name in arrays}
        apart = spans(given, self._updates, self._fixed_spans)
        own = self._own | ({value.name: _empty(value) for value in self._fresh} if reuse else {})
        wishes = {wish: value.name for wish, value in self._outputs.items()}
        engine = self.engine.bound(given, own)
        return CompiledGraph(self.graph, wishes, self._updates, engine, {**self._fixed, **given}, apart, own)

    def refresh(self) -> None:
        """To be called when the contents of arrays have changed that are bound to inputs `kept`."""
        self.engine.refresh()

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for these inputs; the arrays of updated inputs are written over.

        Floats are taken in the type of the input they are for (another floating type is converted), integer types
        become int64. Inputs that the graph does not read may be left out.
        Raises ArgumentError for a missing or unknown name and for an index array that reaches outside what it
        indexes, ShapeError and DtypeError for arrays of another shape or kind, and for an array to be updated that
        is not C-contiguous, of the exact type, writeable, and apart from all others.
        """
        return self.run(self._take(arrays))

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """As a call, of arrays that are known to fit: all that are `required`, C-contiguous, of the exact type, and
        apart from what is updated. Index arrays alone are checked."""
        if self._lookups:
            check_lookups(self._lookups, {**self._fixed, **arrays})
        made = self._own | {value.name: _empty(value) for value in self._fresh}
        self.engine.run(arrays, made)
        if self._all_as_made:
            return made
        return {
            wish: made[value.name] if self._first[value.name] == wish else made[value.name].copy()
            for wish, value in self._outputs.items()
        }

    def _take(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if self._needed ^ arrays.keys():
            self._check_names(arrays)
        given = {
            name: (self._take_exactly if name in self._updates else self._take_converted)(
                name, np.asarray(arrays[name])
            )
            for name in self.required
        }
        if not self._needed.isdisjoint(self._updates):
            spans(given, self._updates, self._fixed_spans)
        elif self._updates:
            self._fixed_spans.check(given)
        return given

    def _check_names(self, arrays: Mapping[str, Array]) -> None:
        unknown = [name for name in arrays if name not in self.graph.inputs]
        if unknown:
            raise ArgumentError(f"{', '.join(unknown)}: no input of the graph; it has {', '.join(self.graph.inputs)}")
        missing = [name for name in self.required if name not in arrays]
        if missing:
            raise ArgumentError(f"the graph's input {', '.join(missing)} is missing")

    def _take_converted(self, name: str, array: Array) -> Array:
        value = self.graph.values[name]
        if array.shape != value.shape:
            raise ShapeError(f"{name} has shape {array.shape}; the graph was made for {value.shape}")
        if array.dtype.kind not in ("f" if value.floating else "iu"):
            wanted = "a floating type" if value.floating else "an integer type"
            raise DtypeError(f"{name} has dtype {array.dtype}; {wanted} is needed ({value.dtype} inside)")
        return np.asarray(array, value.dtype, order="C")

    def _take_exactly(self, name: str, array: Array) -> Array:
        value = self.graph.values[name]
        if array.shape != value.shape:
            raise ShapeError(f"{name} has shape {array.shape}; the graph was made for {value.shape}")
        if array.dtype != value.dtype or not array.flags.c_contiguous:
            raise DtypeError(f"{name} is kept or updated in place: it must be a C-contiguous array of {value.dtype}")
        if name in self._updates and not array.flags.writeable:
            raise DtypeError(f"{name} is updated in place: it must be writeable")
        return array


def _empty(value: Value) -> Array:
    try:
        return empty(value.shape, value.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        raise OutOfMemoryError(f"{value.name} {value.shape} of {value.bytes:,} bytes cannot be allocated") from error


def compile_graph(
    graph: Graph,
    outputs: Sequence[str],
    *,
    threads: int = 1,
    backend: str = "compiled",
    updates: Mapping[str, str] | None = None,
    kept: Collection[str] = (),
) -> CompiledGraph:
    """Makes a graph executable: equal nodes merged, unneeded ones dropped, and with `compiled` machine code made.

    `outputs` names the values to give back; `updates` maps inputs to values that replace them in their own arrays,
    once everything that reads the old ones has run. `kept` are inputs that seldom change: once they are bound, what
    follows from them alone is computed by the next call and after a `refresh`, not by every call. `graph` itself is
    left as it is.
    Raises ArgumentError for an unknown backend, output or update, for `threads` below 1, and for positions found by the
    graph that may be outside what they index.
    """
    updates = dict(updates or {})
    if backend not in BACKENDS:
        raise ArgumentError(f"`backend` (={backend!r}) must be one of {', '.join(BACKENDS)}")
    if threads < 1:
        raise ArgumentError(f"`threads` (={threads}) must be at least 1")
    unknown = [name for name in (*outputs, *updates.values()) if name not in graph.values]
    if unknown:
        raise ArgumentError(f"{', '.join(unknown)}: no value of the graph")
    pruned = prune(graph, (*outputs, *updates.values()))
    wanted = {name: pruned.names[name] for name in outputs}
    new = {state: pruned.names[value] for state, value in updates.items()}
    check_updates(pruned.graph, new, wanted.values())
    check_positions(pruned.graph)
    if backend == "reference":
        engine: Engine = ReferenceEngine(pruned.graph, new)
    else:
        # llvmlite is loaded only when machine code is wanted.
        from pellucid.network.engine import compile_engine

        engine = compile_engine(
            pruned.graph, tuple(wanted.values()), new, threads, source_digest(), set(kept) - set(new)
        )
    return CompiledGraph(pruned.graph, wanted, new, engine)


class ReferenceEngine:
    """Evaluates node by node, literally and in float64."""

    def __init__(self, graph: Graph, updates: Mapping[str, str], fixed: Mapping[str, Array] | None = None) -> None:
        self._graph = graph
        self._updates = updates
        self._fixed = dict(fixed or {})

    def bound(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array]) -> ReferenceEngine:
        """See `Engine`; outputs are written where each call says."""
        del outputs
        return ReferenceEngine(self._graph, self._updates, {**self._fixed, **arrays})

    def refresh(self) -> None:
        """See `Engine`; everything is computed at every call."""

    def run(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """See `Engine`; outputs and updated arrays are rounded to their own type at the end."""
        given = {**self._fixed, **arrays}
        known: dict[str, Array] = dict(given)
        for node in self._graph.nodes:
            value = self._graph.values[node.output]
            if isinstance(node, View):
                known[node.output] = known[node.source].reshape(value.shape)
                continue
            if isinstance(node, Concatenation):
                known[node.output] = np.concatenate([known[source] for source in node.sources], node.axis)
                continue
            local = {name: known[source] for name, source in node.bindings.items()}
            if isinstance(node, Loop):
                shapes = {name: self._graph.values[made].shape for name, made in node.made.items()}
                found = evaluate_recurrence(node.recurrence, node.constants, node.extents, shapes, local)
                known |= {node.made[name]: array for name, array in found.items()}
            else:
                target = np.zeros(value.shape, "int64" if value.dtype == "int64" else "float64")
                known[node.output] = evaluate(node.formula, node.constants, node.extents, local, out=target)
        # What is too large for the value's own type becomes infinite, as it would have been from the start.
        with np.errstate(over="ignore"):
            for name, array in outputs.items():
                array[...] = known[name]
            for state, name in self._updates.items():
                given[state][...] = known[name].reshape(given[state].shape)
