"""A graph and what stands in its inputs -> places with equations, as `nn` has them.

Nodes are taken in order. One that reads nothing of the program is computed with NumPy at once; of those whose arrays
each call may bring anew (integers, booleans) the computation is kept and done before each call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from pellucid.errors import ArgumentError, DataError, OutOfMemoryError, PellucidError
from pellucid.exchange.onnx.graph import Array, OnnxGraph, OnnxNode
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators import HOST_OPERATORS, OPERATORS
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.schema import check_form
from pellucid.exchange.onnx.values import Host, Order, Tensor, Value, declared, is_floating, natural
from pellucid.nn.layer import Place, Shape, Stage
from pellucid.nn.topology import INPUT

__all__ = ["Fed", "Fixed", "Kept", "Open", "Traced", "compute_on_host", "trace"]


@dataclass(frozen=True)
class Open:
    """An input of the graph that is given to the program: its shape, and the order of its axes there."""

    shape: Shape
    dtype: np.dtype[Any]
    order: Order


@dataclass(frozen=True)
class Fed:
    """An input of the program: the value of the graph called `name`, with its axes in `order`.

    Where `extent` is given, they are positions on an axis so long, and a negative one counts from its end.
    """

    name: str
    shape: Shape
    order: Order
    positions: bool
    extent: int | None = None

    @property
    def title(self) -> str:
        """What the program calls it: `input x`, or `positions x` where it is read as indices."""
        if not self.positions:
            return f"input {self.name}"
        return f"positions {self.name}" if self.extent is None else f"positions {self.name} of {self.extent}"

    @property
    def memory(self) -> Shape:
        """Extents as they stand in memory."""
        return tuple(self.shape[axis] for axis in self.order)


@dataclass(frozen=True)
class Kept:
    """A parameter of the program: an array of the file, with its axes in `order`."""

    host: Host
    order: Order


@dataclass(frozen=True)
class Fixed:
    """The layer of a place: equations that were made for these shapes and no others; `written` says of what node."""

    kind: str
    made: Stage
    written: str = ""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return self.made


@dataclass(frozen=True)
class Traced:
    """A graph as equations.

    `parameters` are the arrays that the places read, by the names of parameters in a model; `outputs` are the graph's.
    `before` are the nodes that are computed before each call, from `varying` inputs, with NumPy.
    """

    places: tuple[Place, ...]
    inputs: tuple[Fed, ...]
    parameters: Mapping[str, Kept]
    outputs: tuple[Value, ...]
    before: tuple[Node, ...]
    known: Mapping[str, Host]


def trace(
    graph: OnnxGraph,
    given: Mapping[str, Open | Host],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    training: bool = False,
    free_batch: int | None = None,
    output_order: Callable[[Tensor], Order] = declared,
) -> Traced:
    """The equations of a graph whose inputs have these shapes, or are these arrays.

    `training` writes dropout out; `free_batch` is the batch that the file was written for, where inputs have another.
    `output_order` says in which order the axes of an output stand in memory: as the file declares it, unless given.

    Raises ArgumentError for what is not supported, DataError for what is no valid ONNX, ShapeError where shapes do not
    fit, OutOfMemoryError where an array would be beyond the limits; each names the node.
    """
    return _Tracing(graph, limits, training, free_batch).run(given, output_order)


def compute_on_host(node: Node, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
    """What NumPy makes of a node whose inputs are these arrays."""
    try:
        with np.errstate(all="ignore"):
            found = HOST_OPERATORS[node.op](node, arrays)
    except PellucidError:
        raise
    except MemoryError:
        raise OutOfMemoryError(f"{node.spec.title}: no memory for its result") from None
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{node.spec.title}: cannot be computed: {error}") from None
    return tuple(np.asarray(array) for array in ((found,) if isinstance(found, np.ndarray | np.generic) else found))


class _Tracing:
    """The state of `trace`; what a `Node` knows as its builder."""

    def __init__(self, graph: OnnxGraph, limits: Limits, training: bool, free_batch: int | None) -> None:
        self.graph = graph
        self.limits = limits
        self._training = training
        self._free_batch = free_batch
        self.values: dict[str, Value] = {name: Host(array, name=name) for name, array in graph.initialisers.items()}
        self.places: list[Place] = []
        self.inputs: list[Fed] = []
        self.parameters: dict[str, Kept] = {}
        self.before: list[Node] = []
        self._names: set[str] = set()
        self._taken = 0
        self._fed: dict[tuple[int, bool, int | None], Tensor] = {}
        self._read = {name for node in graph.nodes for name in node.inputs} | {port.name for port in graph.outputs}

    @property
    def training(self) -> bool:
        """See `Builder`."""
        return self._training

    @property
    def free_batch(self) -> int | None:
        """See `Builder`."""
        return self._free_batch

    def run(self, given: Mapping[str, Open | Host], output_order: Callable[[Tensor], Order]) -> Traced:
        """Takes the nodes one after the other."""
        for port in self.graph.inputs:
            entry = given[port.name]
            self.values[port.name] = entry if isinstance(entry, Host) else self._open(port.name, entry)
        for spec in self.graph.nodes:
            inputs = [self.values[name] if name else None for name in spec.inputs]
            node = Node(spec, inputs, self)
            try:
                self._take(node)
            except PellucidError as error:
                raise _named(error, spec) from None
        outputs = [self._output(port.name, output_order) for port in self.graph.outputs]
        known = {name: value for name, value in self.values.items() if isinstance(value, Host)}
        return Traced(
            tuple(self.places), tuple(self.inputs), self.parameters, tuple(outputs), tuple(self.before), known
        )

    def add(
        self, node: Node, part: str, sources: Sequence[Tensor], parameters: Mapping[str, Tensor], stage: Stage
    ) -> int:
        """See `Builder`."""
        base = node.spec.name.strip("/").replace("/", ".")
        name = self._unique(f"{base}.{part}" if part else base)
        kind = f"{node.op} ({part})" if part else node.op
        numbers = tuple(source.place for source in sources)
        if not sources and self._training:
            # A layer has an input, by whose batch it is written down.
            stage, numbers = replace(stage, sources=("unread",)), (INPUT,)
        self.places.append(Place(name, Fixed(kind, stage, _written(node.spec)), numbers))
        for local, x in parameters.items():
            assert x.host is not None
            self.parameters[f"{name}.{local}"] = Kept(x.host, x.order)
        return len(self.places) - 1

    def fed(self, value: Host, *, positions: bool, extent: int | None = None) -> Tensor:
        """See `Builder`."""
        key = (id(value), positions, extent)
        if key not in self._fed:
            name = next(name for name, other in self.values.items() if other is value)
            self._fed[key] = self._input(name, value.shape, natural(value.array.ndim), value.dtype, positions, extent)
        return self._fed[key]

    def table(self, node: Node, part: str, indices: Array) -> Tensor:
        """See `Builder`."""
        name, number = f"{node.spec.name}.{part}", 1
        while name in self.values:
            number += 1
            name = f"{node.spec.name}.{part}.{number}"
        host = Host(indices, name=name)
        self.values[name] = host
        return self.fed(host, positions=True)

    def is_read(self, name: str) -> bool:
        """See `Builder`."""
        return name in self._read

    def check_size(self, shape: Shape) -> None:
        """See `Builder`."""
        if any(extent < 0 for extent in shape):
            raise DataError(f"a result of shape {tuple(shape)} has a negative extent")
        size = 4 * prod(shape)
        if size > self.limits.memory:
            raise OutOfMemoryError(
                f"a result of shape {tuple(shape)} has {size:,} bytes; at most {self.limits.memory:,} are allowed"
            )

    def _open(self, name: str, entry: Open) -> Tensor:
        self.check_size(entry.shape)
        return self._input(name, entry.shape, entry.order, entry.dtype, False)

    def _input(
        self,
        name: str,
        shape: Shape,
        order: Order,
        dtype: np.dtype[Any],
        positions: bool,
        extent: int | None = None,
    ) -> Tensor:
        self.inputs.append(Fed(name, shape, order, positions, extent))
        return Tensor(shape, order, dtype, place=-len(self.inputs), positions=positions)

    def _take(self, node: Node) -> None:
        check_form(node.spec, [None if value is None else value.dtype for value in node.inputs])
        if node.op in HOST_OPERATORS and _is_beside(node, training=self._training):
            results: Sequence[Value | None] = self._computed(node)
        elif node.op in OPERATORS:
            made = OPERATORS[node.op].meaning(node)
            results = (made,) if isinstance(made, Host | Tensor) else tuple(made)
        else:
            raise ArgumentError(f"{node.spec.title} is supported on integers and known arrays alone")
        for name, value in zip(node.spec.outputs, results, strict=False):
            if name and value is not None:
                self.values[name] = value
            elif name and name in self._read:
                raise ArgumentError(f"its output {name!r} is not supported")
        for name in node.spec.outputs[len(results) :]:
            if name:
                raise DataError(f"it has no output for the name {name!r}")

    def _computed(self, node: Node) -> list[Value | None]:
        """What NumPy makes of the node. Where it is floating and varies, it is given to the program."""
        hosts = [value if isinstance(value, Host) else None for value in node.inputs]
        arrays = compute_on_host(node, [None if host is None else host.array for host in hosts])
        self._take_memory(arrays, [host.array for host in hosts if host is not None])
        varies = any(host is not None and host.varies for host in hosts)
        if varies:
            self.before.append(node)
        results: list[Value | None] = []
        for name, array in zip(node.spec.outputs, arrays, strict=False):
            self.check_size(array.shape)
            if varies and is_floating(array.dtype):
                results.append(self._input(name, array.shape, natural(array.ndim), array.dtype, False))
            else:
                results.append(Host(array, varies))
        return results

    def _take_memory(self, made: Sequence[Array], read: Sequence[Array]) -> None:
        """Counts what known arrays take together; all of them stay until the program is made."""
        for array in made:
            owner = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            if not any(np.may_share_memory(array, other) for other in read):
                self._taken += owner.nbytes
        if self._taken > self.limits.memory:
            raise OutOfMemoryError(
                f"arrays that are known have {self._taken:,} bytes; at most {self.limits.memory:,} are allowed"
            )

    def _output(self, name: str, output_order: Callable[[Tensor], Order]) -> Value:
        value = self.values[name]
        if isinstance(value, Host) or value.place < 0 or value.host is not None:
            return value
        last = OnnxNode(f"{name}.output", "Output", "", self.graph.opset, (name,), (name,))
        return replace(Node(last, (value,), self).arranged(value, output_order(value)), finish=value.finish)

    def _unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken, or where a parameter's name could be taken for it."""
        chosen, number = name or "node", 1
        while chosen in self._names:
            number += 1
            chosen = f"{name}.{number}"
        self._names.add(chosen)
        return chosen


def _is_beside(node: Node, *, training: bool) -> bool:
    """Whether NumPy computes the node: it reads nothing of the program, and picks no rows of known numbers by integers
    that vary, which is an embedding; nor does it give known numbers to each image of a batch in training."""
    present = [value for value in node.inputs if value is not None]
    hosts = [value for value in present if isinstance(value, Host)]
    of_rows = node.op in OPERATORS and bool(OPERATORS[node.op].lookups)
    embeds = of_rows and bool(hosts) and is_floating(hosts[0].dtype) and any(host.varies for host in hosts[1:])
    spreads = training and node.op == "Expand" and bool(hosts) and is_floating(hosts[0].dtype)
    return len(hosts) == len(present) and not embeds and not spreads


def _written(spec: OnnxNode) -> str:
    """`Conv(kernel_shape=(3, 3), pads=(1, 1, 1, 1))`."""
    shown = {name: value for name, value in spec.attributes.items() if isinstance(value, int | float | str | tuple)}
    return f"{spec.op}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _named(error: PellucidError, spec: OnnxNode) -> PellucidError:
    """The error with the node in front of it."""
    message = str(error)
    return error if message.startswith(spec.title) else type(error)(f"{spec.title}: {message}")
