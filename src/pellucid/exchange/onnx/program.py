"""A graph for one size of its inputs: compiled, and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pellucid.exchange.onnx.graph import Array, Port
from pellucid.exchange.onnx.trace import Fed, Kept, Traced, compute_on_host
from pellucid.exchange.onnx.values import Host, Tensor, Value
from pellucid.network import CompiledGraph, Graph, compile_graph
from pellucid.nn.assembly import Laid, lay_out
from pellucid.nn.topology import Topology

__all__ = ["Program", "laid_out"]


def laid_out(traced: Traced, dtype: str, accuracy: str) -> tuple[Graph, Laid]:
    """The equations of a traced graph, with an input for each of its inputs and parameters."""
    # The first extent of the first input that has several axes; what does not belong to images is found out later.
    batch = next((fed.shape[0] for fed in traced.inputs if len(fed.shape) > 1), None)
    graph = Graph(dtype, images=batch, accuracy=accuracy)
    names: list[str] = []
    for fed in traced.inputs:
        of_images = len(fed.shape) > 1 and fed.order[0] == 0 and fed.shape[0] == batch
        kind = "int64" if fed.positions else None
        names.append(graph.input(fed.title, fed.memory, kind, of_images=of_images))
    return graph, lay_out(graph, Topology(traced.places, len(traced.places) - 1), names, training=False)


class Program:
    """A traced graph that runs; `arranged` gives the array of a parameter as it is read."""

    def __init__(
        self,
        traced: Traced,
        ports: tuple[Port, ...],
        arranged: Callable[[Kept], Array],
        *,
        dtype: str,
        accuracy: str,
        threads: int,
        backend: str,
    ) -> None:
        self._traced = traced
        self._dtype = np.dtype(dtype)
        self._ports = ports
        # Index tables are given once, all else in each call.
        tables = {fed.title: traced.known[fed.name].array for fed in traced.inputs if _is_table(traced, fed)}
        self._inputs = {fed.title: fed for fed in traced.inputs if fed.title not in tables}
        # For each output the value of the compiled graph that it is, where it is one.
        self._names: tuple[str | None, ...] = (None,) * len(ports)
        self._compiled: CompiledGraph | None = None
        if not any(_is_made(value) for value in traced.outputs):
            return
        graph, laid = laid_out(traced, dtype, accuracy)
        self._names = tuple(
            laid.outputs[traced.places[value.place].name] if isinstance(value, Tensor) and _is_made(value) else None
            for value in traced.outputs
        )
        compiled = compile_graph(
            graph,
            tuple(dict.fromkeys(name for name in self._names if name is not None)),
            threads=threads,
            backend=backend,
            kept=frozenset(laid.parameters),
        )
        known = {name: arranged(kept) for name, kept in traced.parameters.items()}
        known |= {name: np.ascontiguousarray(table, np.int64) for name, table in tables.items()}
        self._compiled = compiled.bind(known)

    def run(self, given: Mapping[str, Array]) -> tuple[Array, ...]:
        """The graph's outputs for its inputs by name, in the types that the file declares."""
        values = self._beside(given)
        found: Mapping[str, Array] = {}
        if self._compiled is not None:
            required = set(self._compiled.required)
            found = self._compiled(
                {
                    name: _as_input(values[fed.name], fed, self._dtype)
                    for name, fed in self._inputs.items()
                    if name in required
                }
            )
        return tuple(
            self._output(port, value, found[name] if name is not None else None, values)
            for port, value, name in zip(self._ports, self._traced.outputs, self._names, strict=True)
        )

    def _beside(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs, what is known, and what NumPy computes of both, by name."""
        values: dict[str, Array] = {name: host.array for name, host in self._traced.known.items()}
        values.update(given)
        for node in self._traced.before:
            found = compute_on_host(node, [values[name] if name else None for name in node.spec.inputs])
            values.update(zip(node.spec.outputs, found, strict=False))
        return values

    def _output(self, port: Port, value: Value, made: Array | None, values: Mapping[str, Array]) -> Array:
        if made is None:
            if isinstance(value, Host):
                made = values[port.name] if value.varies else value.array
            elif value.host is not None:
                made = value.host.array
            else:
                fed = self._traced.inputs[-1 - value.place]
                made = values[fed.name].transpose(fed.order).reshape(value.memory).transpose(np.argsort(value.order))
        array = _as_type(made, value.dtype).reshape(value.shape)
        return array if isinstance(value, Host) or value.finish is None else value.finish(array)


def _is_made(value: Value) -> bool:
    return isinstance(value, Tensor) and value.place >= 0 and value.host is None


def _is_table(traced: Traced, fed: Fed) -> bool:
    """Whether an input is indices that are the same in each call."""
    return fed.positions and fed.name in traced.known and not traced.known[fed.name].varies


def _as_input(array: Array, fed: Fed, dtype: np.dtype[Any]) -> Array:
    """An array as the program takes it: integers for positions, counted from the start, floats for all else.

    What has another type in the file becomes floats of the program's `dtype`.
    """
    turned = array.transpose(fed.order)
    if not fed.positions:
        return turned if turned.dtype.kind == "f" else turned.astype(dtype)
    return turned if fed.extent is None else np.where(turned < 0, turned + np.int64(fed.extent), turned)


def _as_type(array: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers of the program as the type that ONNX gives them; integers that do not fit lose their upper bits."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "b":
        return array != 0
    with np.errstate(invalid="ignore", over="ignore"):
        return (array.astype(np.int64) if dtype.kind in "iu" else array).astype(dtype)
