"""Runs a graph as machine code: one program, one arena, one call."""

from __future__ import annotations

import gc
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from pellucid.emit.allocation import check_begin, cleared, give_back_freed
from pellucid.emit.cache import ObjectCache, cache_folder
from pellucid.emit.entry import Arguments, Entry, LoadedCode, llvm_version, load_object
from pellucid.emit.targets import check_runnable, target
from pellucid.network.apart import address
from pellucid.network.built import Built, build_key, from_bytes, to_bytes
from pellucid.network.graph import Graph
from pellucid.network.tuned import load_tuned
from pellucid.schedule.machine import whole_lines
from pellucid.schedule.nest import Tensor

__all__ = ["CompiledEngine", "EngineInTwo", "compile_engine"]

# Cycles of a nest, on the average, from which on threads that meet at its end save time. One image through 17 networks
# of three kinds (Zen 5, quiet): with 600 to 2,300 cycles two threads took 1.07 to 1.12 of the time of one, with 3,600
# as long, with 5,700 0.91 to 0.93, with 9,500 0.78. Who saves nothing leaves the other processor to others.
MEETING = 5000


def compile_engine(
    graph: Graph,
    outputs: Sequence[str],
    updates: Mapping[str, str],
    threads: int,
    source: str,
    kept: Collection[str] = (),
) -> CompiledEngine | EngineInTwo:
    """Machine code for a graph that gives `outputs` and replaces inputs by values of `updates`.

    What follows from the inputs `kept` alone is computed when they change. `source` is the digest of the compiler's
    own source. CompileError where the target is another processor's.
    """
    parts = _load(graph, outputs, updates, kept, source)
    if len(parts) == 1:
        return _engine(*parts[0], outputs, graph.inputs, threads)
    (first, first_code), (then, then_code) = parts
    order = {tensor.name: place for place, tensor in enumerate(then.tensors)}  # in which it reads them
    made = [tensor for tensor in first.tensors if tensor.role == "output"]
    between = {tensor.name: tensor for tensor in sorted(made, key=lambda tensor: order.get(tensor.name, 0))}
    one = _engine(first, first_code, list(between), graph.inputs, threads)
    two = _engine(then, then_code, outputs, (*graph.inputs, *between), threads)
    return EngineInTwo(one, two, list(between.values()))


def _engine(
    built: Built, code: LoadedCode, outputs: Sequence[str], inputs: Collection[str], threads: int
) -> CompiledEngine:
    copied: dict[str, str] = {}
    written: dict[str, str] = {}
    for name in dict.fromkeys(outputs):
        tensor = built.places[name]
        if tensor in inputs:
            copied[name] = tensor
        elif written.setdefault(tensor, name) != name:
            copied[name] = written[tensor]
    own = threads if built.cycles_a_nest >= MEETING else 1
    return CompiledEngine(built, Entry(code), Memory(built, own), written, copied, own)


# What this process has loaded already, by key: a folder that cannot be used must not make a model compile twice.
_LOADED: dict[str, tuple[tuple[Built, LoadedCode], ...]] = {}


def _load(
    graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], kept: Collection[str], source: str
) -> tuple[tuple[Built, LoadedCode], ...]:
    """The programs of a graph in the order in which they run: from memory, else from the cache, else made."""
    chosen = target()
    check_runnable(chosen)
    tuned = load_tuned(repr(chosen), source)
    key = build_key(graph, outputs, updates, kept, source, repr(chosen), llvm_version(), tuned.digest)
    if key not in _LOADED:
        cache = ObjectCache(cache_folder())
        content = cache.load(key)
        if content is None:
            # The scheduler and the emitter are loaded only when something must be compiled.
            with _collecting_nothing():
                from pellucid.network.build import build

                built = build(graph, outputs, updates, kept, chosen, tuned)
            cache.store(key, to_bytes(built))
            give_back_freed()
        else:
            built = from_bytes(content)
        parts = (built,) if built.before is None else (built.before, built)
        _LOADED[key] = tuple((part, load_object(part.code, chosen)) for part in parts)
    return _LOADED[key]


@contextmanager
def _collecting_nothing() -> Generator[None]:
    """No search for cyclic garbage meanwhile: what a build makes is held to its end and points one way, and looking
    through it again and again takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Memory:
    """The arena of a program's temporaries and the scratch of its threads; `addresses` says where each begins, of
    scratch that of the first thread: each other's lies `stride` bytes behind that of the one before.

    `arena` is the memory itself, of which nothing is promised between two runs.
    """

    def __init__(self, built: Built, threads: int) -> None:
        self.stride = built.scratch.size
        # In one piece: large memory has few pages.
        self.arena = cleared(built.arena.size + threads * self.stride, "memory for the temporaries of a program")
        base = address(self.arena)
        self.addresses = {name: base + offset for name, offset in built.arena.offsets.items()}
        base += built.arena.size
        self.addresses |= {name: base + offset for name, offset in built.scratch.offsets.items()}


class CompiledEngine:
    """The program of a graph, compiled, with the memory of its temporaries.

    `written` has the outputs that nests write, by the tensor that they write. `copied` names the others (inputs, values
    that took over an input's memory, second views of one output), each with the input or output that holds it.
    """

    def __init__(
        self,
        built: Built,
        entry: Entry,
        memory: Memory,
        written: Mapping[str, str],
        copied: Mapping[str, str],
        threads: int,
        fixed: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.memory = memory
        self.built = built
        self._entry = entry
        self._written = written
        self._copied = copied
        self._threads = threads
        self._fixed = dict(fixed or {})
        known = {**memory.addresses, **{name: address(array) for name, array in self._fixed.items()}}
        order = [tensor.name for tensor in built.tensors if tensor.role != "table"]
        self._arguments = Arguments([known.get(name, 0) for name in order], memory.stride)
        open_ = [(place, name) for place, name in enumerate(order) if name not in known]
        self._given = [(place, name) for place, name in open_ if name not in written]
        self._made = [(place, written[name]) for place, name in open_ if name in written]
        streamed = {tensor.name for tensor in built.tensors if tensor.streamed} - memory.addresses.keys()
        for name in streamed & known.keys():
            check_begin(name, known[name])
        self._streamed = [(place, name) for place, name in open_ if name in streamed]

    @property
    def plans(self) -> Mapping[str, Sequence[str]]:
        """Notes on each equation and the plans of its nests, printed, by the equation's output."""
        return self.built.plans

    def bound(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> CompiledEngine:
        """See `Engine`."""
        written = {tensor: outputs[name] for tensor, name in self._written.items() if name in outputs}
        fixed = {**self._fixed, **arrays, **written}
        return CompiledEngine(self.built, self._entry, self.memory, self._written, self._copied, self._threads, fixed)

    @property
    def ready(self) -> bool:
        """Whether every argument is bound."""
        return not self._given and not self._made

    def refresh(self) -> None:
        """See `Engine`; everything is computed at every call."""

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """See `Engine`."""
        given = [(place, address(arrays[name])) for place, name in self._given]
        given += [(place, address(outputs[name])) for place, name in self._made]
        if self._streamed:
            addresses = dict(given)
            for place, name in self._streamed:
                check_begin(name, addresses[place])
        self._entry.run(self._arguments, given, self._threads)
        for name, source in self._copied.items():
            array = next(held[source] for held in (arrays, self._fixed, outputs) if source in held)
            outputs[name][...] = array.reshape(outputs[name].shape)


class EngineInTwo:
    """A program whose inputs are in part made by another one, `first`, which runs when what it reads has changed."""

    def __init__(self, first: CompiledEngine, then: CompiledEngine, between: Sequence[Tensor]) -> None:
        # In one piece, in the order of reading: what prefetches beyond the end of one brings the next.
        ends = list(accumulate((whole_lines(tensor.bytes) for tensor in between), initial=0))
        memory = cleared(ends[-1], "what follows from parameters alone")
        arrays = {
            tensor.name: memory[start : start + tensor.bytes].view(tensor.dtype).reshape(tensor.shape)
            for tensor, start in zip(between, ends[:-1], strict=True)
        }
        self._first, self._then, self._between = first.bound(arrays, {}), then.bound(arrays, {}), between
        self._stale = True

    @property
    def built(self) -> Built:
        """The program that runs at every call, with the one before it."""
        return self._then.built

    @property
    def plans(self) -> Mapping[str, Sequence[str]]:
        """The plans of the nests of each equation, printed, by the equation's output."""
        return self.built.plans

    def bound(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> EngineInTwo:
        """See `Engine`."""
        return EngineInTwo(self._first.bound(arrays, {}), self._then.bound(arrays, outputs), self._between)

    def refresh(self) -> None:
        """See `Engine`."""
        self._stale = True

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """See `Engine`."""
        if self._stale:
            self._first.run(arrays, {})
            # Inputs that come with each call may be others each time.
            self._stale = not self._first.ready
        self._then.run(arrays, outputs)
