"""A network of a file that runs: for arrays of every size a program of its own, made when they first come, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from math import prod
from os import PathLike
from threading import Lock
from typing import Any, Self, cast

import numpy as np

from pellucid.errors import ArgumentError, DtypeError, OutOfMemoryError, ShapeError
from pellucid.exchange.onnx.demand import demanded
from pellucid.exchange.onnx.graph import Array, OnnxGraph, Port
from pellucid.exchange.onnx.head import with_head
from pellucid.exchange.onnx.program import Program, laid_out
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.support import supported
from pellucid.exchange.onnx.trace import Kept, Open, trace
from pellucid.exchange.onnx.trainable import as_network, without_softmax
from pellucid.exchange.onnx.values import Host, Order, is_floating, natural
from pellucid.network import Equation, Loop
from pellucid.nn import CrossEntropyLoss, Model
from pellucid.nn.blueprint import Blueprint, Outline
from pellucid.nn.losses import Loss
from pellucid.nn.summary import multiply_adds, summary_text
from pellucid.nn.topology import Topology
from pellucid.optim import Optimizer, Penalty

__all__ = ["OnnxModel"]

# So many sizes of input keep their programs; the one unused for longest goes first.
KEPT_PROGRAMS = 16


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
        self.graph = graph = supported(graph, limits)
        self.threads = threads
        self.accuracy = accuracy
        self.backend = backend
        self.limits = limits
        self._demanded = demanded(graph)
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
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
        found = self.run(self.by_name(arrays, named))
        return found[0] if len(found) == 1 else found

    def run(self, arrays: Mapping[str, Array]) -> tuple[Array, ...]:
        """All outputs, for the inputs by name."""
        given = {port.name: self._take(port, arrays[port.name]) for port in self.inputs}
        return self._program(given).run(given)

    def summary(self, shapes: Mapping[str, tuple[int, ...]] | None = None) -> str:
        """Every node as its equations in inference, with output shapes, parameters and multiply-adds an input.

        `shapes` are those of inputs that the file leaves open, by name; an open batch is 1.
        Raises ArgumentError where an extent is open that is not given.
        """
        topology, outline = self._outline(shapes or {})
        return summary_text(topology, outline, {}, rows=outline.graph.images or 1, training=False)

    def multiply_adds(self, shapes: Mapping[str, tuple[int, ...]] | None = None) -> int:
        """Products under sums of one call, the nominal number; `shapes` as for `summary`."""
        _, outline = self._outline(shapes or {})
        return sum(multiply_adds(node) for node in outline.graph.nodes if isinstance(node, Equation | Loop))

    def trainable(
        self,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        head: int | None = None,
        output: str | None = None,
        input_shape: tuple[int, ...] | None = None,
        seed: int = 0,
        threads: int | None = None,
        regularizer: Penalty | None = None,
        clip_norm: float | None = None,
        freeze: Sequence[str] = (),
    ) -> Model:
        """The network as one of `nn`, with the file's parameters: every node a layer that is its equations.

        It takes and gives images channels last, (batch, height, width, channels), whatever the file does, for batches
        of any size.

        Args:
            loss, optimizer, regularizer, clip_norm, seed, freeze: see `nn.Sequential.build`.
            head: exchanges the last layer that has weights for a new one, for so many classes.
            output: which output of the file is trained, where it has several.
            input_shape: (height, width, channels), where the file leaves extents open.
            threads: those of this model, unless given.

        Where the loss takes logits (`CrossEntropyLoss`), a softmax at the end is left out, and a result that is a
        picture of one pixel becomes a row.

        Raises:
            ArgumentError: the graph cannot be trained: several inputs, no row for each input, shared parameters, no
                head to exchange.
            ShapeError: `input_shape` is not what the file takes.
        """
        graph = self.graph
        of_classes = isinstance(loss, CrossEntropyLoss)
        if of_classes:
            graph = without_softmax(graph)
        if head is not None:
            graph = with_head(graph, head, seed=seed)
        network = as_network(graph, input_shape, output=output, flat=of_classes, limits=self.limits)
        blueprint = Blueprint(
            topology=network.topology,
            input_shape=network.input_shape,
            loss=loss,
            optimizer=optimizer,
            penalty=regularizer,
            clip_norm=clip_norm,
            seed=seed,
            threads=self.threads if threads is None else threads,
            backend=self.backend,
            accuracy=self.accuracy,
            freeze=tuple(freeze),
        )
        model = Model(blueprint)
        model.load_parameters(network.parameters)
        return model

    def export(
        self,
        path: str | PathLike[str],
        /,
        *,
        opset: int | None = None,
        class_names: Sequence[str] = (),
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        """Writes the network as an ONNX file again, from its equations: for another opset, or with names of classes.

        The batch is open in it. See `nn.Model.export`, and `trainable` for what can be written and for `input_shape`.
        """
        with self.trainable(input_shape=input_shape) as network:
            network.export(path, opset=opset, class_names=class_names)

    def by_name(self, arrays: Sequence[Array], named: Mapping[str, Array]) -> dict[str, Array]:
        """An array for each input by its name, some given in their order; ArgumentError where one is missing."""
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

    def _program(self, given: Mapping[str, Array]) -> Program:
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
        if is_floating(array.dtype):
            return Open(array.shape, array.dtype, natural(array.ndim))
        return Host(array, varies=True, name=name)

    def _outline(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Topology, Outline]:
        """The equations for inputs of these shapes, which are not compiled."""
        entries = {port.name: self._shown(port, shapes) for port in self.inputs}
        traced = trace(self.graph, entries, limits=self.limits)
        return Topology(traced.places, len(traced.places) - 1), Outline(*laid_out(traced, self.dtype, self.accuracy))

    def _shown(self, port: Port, shapes: Mapping[str, tuple[int, ...]]) -> Open | Host:
        """What stands for an input where the network is shown and not run."""
        shape = shapes.get(port.name) or _usual_shape(port)
        _check_shape(port, shape)
        if is_floating(port.dtype) and port.name not in self._demanded:
            return Open(shape, port.dtype, natural(len(shape)))
        size = prod(shape) * port.dtype.itemsize
        if size > self.limits.memory:
            raise OutOfMemoryError(
                f"input {port.name!r} of shape {shape} has {size:,} bytes; at most {self.limits.memory:,} are allowed"
            )
        return self._entry(port.name, np.zeros(shape, port.dtype))

    def _made(self, entries: Mapping[str, Open | Host]) -> Program:
        try:
            return Program(
                trace(self.graph, entries, limits=self.limits),
                self.outputs,
                self._arranged,
                dtype=self.dtype,
                accuracy=self.accuracy,
                threads=self.threads,
                backend=self.backend,
            )
        except OutOfMemoryError:
            raise
        except MemoryError as error:
            raise OutOfMemoryError(f"{self.graph.source}: there is no memory to compile it in") from error

    def _arranged(self, kept: Kept) -> Array:
        """A known array as the program reads it; one copy for all programs where it is the file's own."""
        key = (kept.host.name, kept.order)
        if kept.host.name and key in self._turned:
            return self._turned[key]
        array = np.asarray(kept.host.array.transpose(kept.order), self.dtype, order="C")
        if kept.host.name:
            self._turned[key] = array
        return array


def _check_shape(port: Port, shape: tuple[int, ...]) -> None:
    if port.shape is None:
        return
    fits = len(shape) == len(port.shape) and all(
        extent == own for extent, own in zip(port.shape, shape, strict=True) if isinstance(extent, int)
    )
    if not fits:
        raise ShapeError(f"input {port.name!r} has shape {shape}; the network takes {port.form}")


def _usual_shape(port: Port) -> tuple[int, ...]:
    """The shape of an input that the file says, with a batch of 1 where that is open."""
    own = port.shape
    if own is None or any(not isinstance(extent, int) for extent in own[1:]):
        raise ArgumentError(
            f"input {port.name!r} leaves its shape open {port.form}: give it, `shapes={{{port.name!r}: (...)}}`"
        )
    batch = () if not own else (own[0] if isinstance(own[0], int) else 1,)
    return (*batch, *cast("tuple[int, ...]", own[1:]))
