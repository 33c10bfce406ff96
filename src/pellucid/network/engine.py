"""Runs a graph as machine code: one program, one arena, one call."""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from pellucid.emit.cache import ObjectCache, cache_folder
from pellucid.emit.entry import Entry, LoadedCode, cleared, llvm_version, load_object
from pellucid.emit.target import check_runnable, target
from pellucid.network.apart import address
from pellucid.network.built import Built, build_key, from_bytes, to_bytes
from pellucid.network.graph import Graph
from pellucid.network.memory import element_bytes
from pellucid.network.tuned import load_tuned

__all__ = ["CompiledEngine", "compile_engine"]


def compile_engine(
    graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], threads: int, source: str
) -> CompiledEngine:
    """Machine code for a graph that gives `outputs` and replaces inputs by values of `updates`.

    `source` is the digest of the compiler's own source. CompileError where the target is another processor's.
    """
    built, code = _load(graph, outputs, updates, source)
    copied: dict[str, str] = {}
    written: dict[str, str] = {}
    for name in dict.fromkeys(outputs):
        tensor = built.places[name]
        if tensor in graph.inputs:
            copied[name] = tensor
        elif written.setdefault(tensor, name) != name:
            copied[name] = written[tensor]
    entry = Entry(code, [place for place, tensor in enumerate(built.tensors) if tensor.role != "table"])
    return CompiledEngine(built, entry, Memory(built, threads), copied, threads)


# What this process has loaded already, by key: a folder that cannot be used must not make a model compile twice.
_LOADED: dict[str, tuple[Built, LoadedCode]] = {}


def _load(graph: Graph, outputs: Sequence[str], updates: Mapping[str, str], source: str) -> tuple[Built, LoadedCode]:
    """The code of a graph: what is in memory already, else from the cache, else made."""
    chosen = target()
    check_runnable(chosen)
    tuned = load_tuned(repr(chosen), source)
    key = build_key(graph, outputs, updates, source, repr(chosen), llvm_version(), tuned.digest)
    if key not in _LOADED:
        cache = ObjectCache(cache_folder())
        content = cache.load(key)
        if content is None:
            # The scheduler and the emitter are loaded only when something must be compiled.
            with _collecting_nothing():
                from pellucid.network.build import build

                built = build(graph, outputs, updates, chosen, tuned)
            cache.store(key, to_bytes(built))
        else:
            built = from_bytes(content)
        _LOADED[key] = (built, load_object(built.code, chosen))
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
    """The arena of a program's temporaries and the scratch of its threads; `addresses` says where each begins.

    `arena` is the memory itself, of which nothing is promised between two runs.
    """

    def __init__(self, built: Built, threads: int) -> None:
        scratch = {
            tensor.name: tensor.size * element_bytes(tensor.dtype) * threads
            for tensor in built.tensors
            if tensor.role == "scratch"
        }
        self._kept = {name: cleared(size, f"scratch for {threads} threads") for name, size in scratch.items()}
        self.arena = cleared(built.arena.size, "memory for the temporaries of a program")
        base = address(self.arena)
        self.addresses = {name: base + offset for name, offset in built.arena.offsets.items()}
        self.addresses |= {name: address(array) for name, array in self._kept.items()}


class CompiledEngine:
    """The program of a graph, compiled, with the memory of its temporaries.

    `copied` names the outputs that no nest writes under their own name (inputs, values that took over an input's
    memory, second views of one output), each with the input or output that holds it.
    """

    def __init__(
        self,
        built: Built,
        entry: Entry,
        memory: Memory,
        copied: Mapping[str, str],
        threads: int,
        fixed: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.memory = memory
        self.built = built
        self._entry = entry
        self._copied = copied
        self._threads = threads
        self._fixed = dict(fixed or {})
        known = {**memory.addresses, **{name: address(array) for name, array in self._fixed.items()}}
        order = [tensor.name for tensor in built.tensors if tensor.role != "table"]
        self._pointers = [known.get(name, 0) for name in order]
        self._open = [(place, name) for place, name in enumerate(order) if name not in known]

    @property
    def plans(self) -> Mapping[str, Sequence[str]]:
        """Notes on each equation and the plans of its nests, printed, by the equation's output."""
        return self.built.plans

    def bound(self, arrays: Mapping[str, NDArray[Any]]) -> CompiledEngine:
        """See `Engine`."""
        fixed = {**self._fixed, **arrays}
        return CompiledEngine(self.built, self._entry, self.memory, self._copied, self._threads, fixed)

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """See `Engine`."""
        written = {self.built.places[name]: array for name, array in outputs.items() if name not in self._copied}
        given = {**written, **arrays}
        pointers = self._pointers.copy()
        for place, name in self._open:
            pointers[place] = address(given[name])
        self._entry.run(pointers, self._threads)
        for name, source in self._copied.items():
            array = next(held[source] for held in (outputs, arrays, self._fixed) if source in held)
            outputs[name][...] = array.reshape(outputs[name].shape)
