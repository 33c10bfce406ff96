"""A network of a file that runs: for arrays of every size a program of its own, made when they first come, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import numpy as np

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.exchange.onnx.demand import demanded
from pellucid.exchange.onnx.graph import Array, OnnxGraph, Port
from pellucid.exchange.onnx.limits import Limits
from pellucid.exchange.onnx.trace import Fed, Kept, Open, Traced, compute_on_host, trace
from pellucid.exchange.onnx.values import Host, Order, Tensor, natural
from pellucid.network import CompiledGraph, Graph, compile_graph
from pellucid.nn.assembly import lay_out
from pellucid.nn.topology import Topology

__all__ = ["OnnxModel"]

# So many sizes of input keep their programs; the one unused for longest goes first.
KEPT_PROGRAMS = 16


@dataclass(frozen=True)
class _Program:
    """A graph for one size of inputs; `compiled` is None where nothing is left to compute."""

    traced: Traced
    compiled: CompiledGraph | None
    names: tuple[str, ...]
    outputs: tuple[str | None, ...]


class OnnxModel:
    """A network of an ONNX file; made by `load`.

    A program is compiled for each size of inputs that is met, and kept. `close`, or the end of a `with` block,
    releases programs and threads.
    """

    def __init__(
        self,
        graph: OnnxGraph,
        *,
        threads: int = 1,
        accuracy: str = "standard",
        backend: str = "compiled",
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.graph = graph
        self.threads = threads
        self.accuracy = accuracy
        self.backend = backend
        self.limits = limits
        self._demanded = demanded(graph)
        self._programs: OrderedDict[Hashable, _Program] = OrderedDict()
        self._turned: dict[tuple[str, Order], Array] = {}
        self._lock = Lock()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the file takes: names, types and shapes, a name or None for an extent that is open."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What the file gives."""
        return self.graph.outputs

    @property
    def dtype(self) -> str:
        """The floating type of the arithmetic: float64 where an array of the file or an input is, else float32."""
        arrays = (*self.graph.initialisers.values(), *self.graph.inputs)
        return "float64" if any(entry.dtype == np.float64 for entry in arrays) else "float32"

    def close(self) -> None:
        """Releases programs, their memory and their threads; a later call makes them again."""
        with self._lock:
            self._programs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def predict(self, *arrays: Array, **named: Array) -> Any:
        """The file's outputs for these inputs, in the file's order or by name: an array, or a tuple of several.

        Shapes, order of axes and types are those that the file declares; a program is compiled for each size.
        Raises ArgumentError, ShapeError or DtypeError for inputs that do not fit.
        """
        found = self.run(self._by_name(arrays, named))
        return found[0] if len(found) == 1 else found

    def run(self, arrays: Mapping[str, Array]) -> tuple[Array, ...]:
        """All outputs, for the inputs by name."""
        given = {port.name: self._take(port, arrays[port.name]) for port in self.inputs}
        program = self._program(given)
        return self._outputs(program, self._computed(program, given), given)

    def _by_name(self, arrays: Sequence[Array], named: Mapping[str, Array]) -> dict[str, Array]:
        names = [port.name for port in self.inputs]
        if len(arrays) > len(names):
            raise ArgumentError(f"{len(arrays)} arrays were given; the network takes {len(names)}: {', '.join(names)}")
        found = dict(zip(names, arrays, strict=False))
        for name, array in named.items():
            if name not in names:
                raise ArgumentError(f"the network has no input {name!r}; it takes {', '.join(names)}")
            if name in found:
                raise ArgumentError(f"input {name!r} was given twice")
            found[name] = array
        missing = [name for name in names if name not in found]
        if missing:
            raise ArgumentError(f"the network's input {', '.join(missing)} is missing")
        return found

    def _take(self, port: Port, array: Array) -> Array:
        array = np.asarray(array)
        _check_shape(port, array.shape)
        if array.dtype == port.dtype:
            return array
        kinds = (array.dtype.kind, port.dtype.kind)
        if kinds == ("f", "f") or (kinds[0] in "iu" and kinds[1] in "iu" and np.can_cast(array.dtype, port.dtype)):
            return array.astype(port.dtype)
        raise DtypeError(f"input {port.name!r} has dtype {array.dtype}; the network takes {port.dtype}")

    def _program(self, given: Mapping[str, Array]) -> _Program:
        key = tuple(self._form(name, array) for name, array in given.items())
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            program = self._made({name: self._entry(name, array) for name, array in given.items()})
            self._programs[key] = program
            if len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
            return program

    def _form(self, name: str, array: Array) -> Hashable:
        """What of an input decides the program."""
        known = array.tobytes() if self._is_known(name, array) else None
        return array.shape, array.dtype, known

    def _is_known(self, name: str, array: Array) -> bool:
        return name in self._demanded or array.size == 0

    def _entry(self, name: str, array: Array) -> Open | Host:
        if self._is_known(name, array):
            return Host(array, name=name)
        if array.dtype.kind == "f":
            return Open(array.shape, array.dtype, natural(array.ndim))
        return Host(array, varies=True, name=name)

    def _made(self, entries: Mapping[str, Open | Host]) -> _Program:
        traced = trace(self.graph, entries, limits=self.limits)
        wanted = [value.place if isinstance(value, Tensor) and value.place >= 0 else None for value in traced.outputs]
        names = tuple(f"input {fed.name}" for fed in traced.inputs)
        if all(place is None for place in wanted):
            return _Program(traced, None, names, (None,) * len(wanted))
        batch = next((fed.shape[0] for fed in traced.inputs if len(fed.shape) > 1), None)
        graph = Graph(self.dtype, images=batch, accuracy=self.accuracy)
        for name, fed in zip(names, traced.inputs, strict=True):
            of_images = len(fed.shape) > 1 and fed.order[0] == 0 and fed.shape[0] == batch
            graph.input(name, fed.memory, "int64" if fed.positions else None, of_images=of_images)
        laid = lay_out(graph, Topology(traced.places, len(traced.places) - 1), names, training=False)
        outputs = tuple(None if place is None else laid.outputs[traced.places[place].name] for place in wanted)
        compiled = compile_graph(
            graph,
            tuple(dict.fromkeys(name for name in outputs if name is not None)),
            threads=self.threads,
            backend=self.backend,
            kept=frozenset(laid.parameters),
        )
        arrays = {name: self._arranged(name, kept) for name, kept in traced.parameters.items()}
        return _Program(traced, compiled.bind(arrays), names, outputs)

    def _arranged(self, name: str, kept: Kept) -> Array:
        """A known array as the program reads it; one copy for all programs where it is the file's own."""
        key = (kept.host.name, kept.order)
        if kept.host.name and key in self._turned:
            return self._turned[key]
        array = np.ascontiguousarray(kept.host.array.transpose(kept.order), self.dtype)
        if kept.host.name:
            self._turned[key] = array
        return array

    def _computed(self, program: _Program, given: Mapping[str, Array]) -> dict[str, Array]:
        """What each call brings anew and NumPy computes of it, by name."""
        values: dict[str, Array] = {name: host.array for name, host in program.traced.known.items()}
        values.update(given)
        for node in program.traced.before:
            found = compute_on_host(node, [values[name] if name else None for name in node.spec.inputs])
            values.update(zip(node.spec.outputs, found, strict=False))
        return values

    def _as_input(self, array: Array, entry: Fed) -> Array:
        turned = array.transpose(entry.order)
        return turned if entry.positions or array.dtype.kind == "f" else turned.astype(self.dtype)

    def _outputs(self, program: _Program, values: Mapping[str, Array], given: Mapping[str, Array]) -> tuple[Array, ...]:
        found: Mapping[str, Array] = {}
        if program.compiled is not None:
            fed = {
                name: self._as_input(values[entry.name], entry)
                for name, entry in zip(program.names, program.traced.inputs, strict=True)
                if name in program.compiled.required
            }
            found = program.compiled(fed)
        results: list[Array] = []
        for port, value, name in zip(self.outputs, program.traced.outputs, program.outputs, strict=True):
            if isinstance(value, Host):
                array = values[port.name] if value.varies else value.array
            elif name is not None:
                array = found[name]
            elif value.host is not None:
                array = value.host.array
            else:
                entry = program.traced.inputs[-1 - value.place]
                array = values[entry.name].transpose(entry.order).reshape(value.memory)
                array = array.transpose(np.argsort(value.order))
            results.append(_as_type(array, value.dtype).reshape(value.shape))
        return tuple(results)


def _as_type(array: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers of the program as the type that ONNX gives them."""
    return array if array.dtype == dtype else (array != 0) if dtype == bool else array.astype(dtype)


def _check_shape(port: Port, shape: tuple[int, ...]) -> None:
    if port.shape is None:
        return
    wanted = ", ".join("?" if extent is None else str(extent) for extent in port.shape)
    fits = len(shape) == len(port.shape) and all(
        extent == own for extent, own in zip(port.shape, shape, strict=True) if isinstance(extent, int)
    )
    if not fits:
        raise ShapeError(f"input {port.name!r} has shape {shape}; the network takes ({wanted})")
