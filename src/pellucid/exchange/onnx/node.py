"""A node as its operator sees it: attributes that were checked, inputs in the order of axes that it wants, and `emit`,
which adds equations to the program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import isfinite, isinf
from re import findall
from typing import Any, NoReturn, Protocol

import numpy as np

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.onnx.graph import Array, OnnxNode
from pellucid.exchange.onnx.values import Host, Order, Tensor, Value, is_narrow, natural
from pellucid.exchange.onnx.writing import access, axis_names, broadcast_shape, cell, order_of_largest, reshaped
from pellucid.language.system import System
from pellucid.nn.equations.notation import system
from pellucid.nn.initialisers import Constant
from pellucid.nn.layer import Parameter, Reshape, Shape, Stage, Training

__all__ = ["Builder", "Node"]

# Extents and sizes in attributes beyond this are refused as nonsense before any arithmetic on arrays.
MOST = 2**40
LONGEST_MESSAGE = 600


class Builder(Protocol):
    """What `Node` asks of the program that is being made."""

    @property
    def training(self) -> bool:
        """Whether the program is one that is trained."""
        ...

    @property
    def free_batch(self) -> int | None:
        """The batch for which the file was written, where another is asked for."""
        ...

    def add(
        self, node: Node, part: str, sources: Sequence[Tensor], parameters: Mapping[str, Tensor], stage: Stage
    ) -> int:
        """Adds a place with this stage, reading these tensors in the order of `stage.sources`; its number.

        `parameters` are known arrays by the names of the stage's parameters.
        """
        ...

    def fed(self, value: Host, *, positions: bool, extent: int | None = None) -> Tensor:
        """The input of the program that an array becomes which each call brings anew; with `extent` negative positions
        count from the end of an axis so long."""
        ...

    def table(self, node: Node, part: str, indices: Array) -> Tensor:
        """Known indices as a value of the program."""
        ...

    def is_read(self, name: str) -> bool:
        """Whether a node or the caller reads the value of this name."""
        ...

    def check_size(self, shape: Shape) -> None:
        """Refuses what is larger than the limits on memory allow."""
        ...


class Node:
    """One node while it is turned into equations."""

    def __init__(self, spec: OnnxNode, inputs: Sequence[Value | None], program: Builder) -> None:
        self.spec = spec
        self.inputs = tuple(inputs)
        self.program = program

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.spec.op

    @property
    def version(self) -> int:
        """Of the set of operators that the node belongs to."""
        return self.spec.version

    def wants(self, output: int) -> bool:
        """Whether the output of this number is there, and anyone reads it."""
        name = self.spec.outputs[output] if output < len(self.spec.outputs) else ""
        return bool(name) and self.program.is_read(name)

    def refuse(self, message: str) -> NoReturn:
        """Raises ArgumentError with the node in front: valid ONNX that this package does not do."""
        raise ArgumentError(f"{self.spec.title}: {_short(message)}")

    def damaged(self, message: str) -> NoReturn:
        """Raises DataError with the node in front: no valid ONNX."""
        raise DataError(f"{self.spec.title}: {_short(message)}")

    # Attributes.

    def integer(self, name: str, default: int | None = None, *, least: int = -MOST, most: int = MOST) -> int:
        """An attribute that is a whole number from `least` to `most`; without `default` it must be there."""
        value = self._attribute(name, default, int)
        if not least <= value <= most:
            self.damaged(f"attribute `{name}` (={value}) must be from {least} to {most}")
        return value

    def truth(self, name: str, default: bool = False) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.integer(name, int(default), least=0, most=1))

    def integers(
        self,
        name: str,
        default: Sequence[int] | None = None,
        *,
        length: int | None = None,
        least: int = -MOST,
        most: int = MOST,
    ) -> tuple[int, ...]:
        """An attribute that is a list of so many whole numbers."""
        values = self._attribute(name, None if default is None else tuple(default), tuple)
        if any(type(value) is not int for value in values):
            self.damaged(f"attribute `{name}` (={values}) must be whole numbers")
        if length is not None and len(values) != length:
            self.damaged(f"attribute `{name}` (={values}) must have {length} numbers, has {len(values)}")
        wrong = next((value for value in values if not least <= value <= most), None)
        if wrong is not None:
            self.damaged(f"attribute `{name}` (={values}) must have numbers from {least} to {most}")
        return values

    def number(self, name: str, default: float | None = None, *, infinite: bool = False) -> float:
        """An attribute that is a finite number, or with `infinite` also an infinity."""
        value = self._attribute(name, default, float)
        if not isfinite(value) and not (infinite and isinf(value)):
            self.damaged(f"attribute `{name}` (={value}) must be finite")
        return value

    def numbers(self, name: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
        """An attribute that is a list of finite numbers."""
        values = self._attribute(name, None if default is None else tuple(default), tuple)
        if any(not isinstance(value, float | int) or not isfinite(value) for value in values):
            self.damaged(f"attribute `{name}` (={values}) must be finite numbers")
        return tuple(float(value) for value in values)

    def text(self, name: str, default: str | None = None, *, choices: Collection[str] = ()) -> str:
        """An attribute that is a text, one of `choices` where they are given."""
        value = self._attribute(name, default, str)
        if choices and value not in choices:
            self.damaged(f"attribute `{name}` (={value!r}) must be one of {', '.join(sorted(choices))}")
        return value

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self.spec.attributes

    def axis(self, rank: int, default: int | None = None, name: str = "axis") -> int:
        """An attribute that is an axis of a tensor of this rank, counted from the end where it is negative; from 0."""
        return self.checked_axis(self.integer(name, default), rank, name)

    def checked_axis(self, axis: int, rank: int, name: str = "axis") -> int:
        """An axis counted from 0; DataError where a tensor of this rank has none such."""
        if not -rank <= axis < rank:
            self.damaged(f"`{name}` (={axis}) must be from {-rank} to {rank - 1}")
        return axis % rank

    def checked_axes(self, axes: Sequence[int], rank: int, name: str = "axes") -> tuple[int, ...]:
        """Axes counted from 0, each once."""
        found = tuple(self.checked_axis(axis, rank, name) for axis in axes)
        if len(set(found)) != len(found):
            self.damaged(f"`{name}` (={tuple(axes)}) names an axis twice")
        return found

    def _attribute(self, name: str, default: Any, kind: type) -> Any:
        value: Any = self.spec.attributes.get(name, default)
        if value is None:
            self.damaged(f"attribute `{name}` is missing")
        if kind is float and type(value) is int and name not in self.spec.attributes:
            return float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.damaged(f"attribute `{name}` (={value!r}) must be of type {kind.__name__}")
        return value

    # Inputs.

    def given(self, number: int) -> bool:
        """Whether the input of this number is there."""
        return number < len(self.inputs) and self.inputs[number] is not None

    def value(self, number: int) -> Value:
        """The input of this number, as it is."""
        found = self.inputs[number] if number < len(self.inputs) else None
        if found is None:
            self.damaged(f"input {number} is missing")
        return found

    def tensor(self, number: int, order: Order | None = None) -> Tensor:
        """An input as a value of the program, its axes in `order` in memory; as they stand where none is given."""
        x = self.as_tensor(self.value(number))
        if order is not None and len(order) != x.rank:
            self.damaged(f"input {number} must have {len(order)} axes, has shape {x.shape}")
        return self.arranged(x, order)

    def optional(self, number: int, order: Order | None = None) -> Tensor | None:
        """The same where the input is there."""
        return self.tensor(number, order) if self.given(number) else None

    def lookup(self, number: int, extent: int | None = None) -> Tensor:
        """An input of integers that are used as indices: int64 in the program, in ONNX's order of axes.

        With `extent` they are positions on an axis so long; negative ones count from its end, and one that is known and
        outside is refused.
        """
        value = self.value(number)
        if value.dtype.kind not in "iu":
            self.damaged(f"input {number} must be integers, is {value.dtype}")
        if isinstance(value, Host):
            if value.varies or extent is None:
                return self.program.fed(value, positions=True, extent=extent)
            return self.program.table(self, f"indices{number}", self.checked_indices(value.array, extent, number))
        if not value.positions:
            self.refuse(f"input {number} is integers computed from floats; as indices they are not supported")
        self._check_open(value)
        return self.arranged(value, natural(value.rank))

    def _check_open(self, value: Tensor) -> None:
        if value.finish is not None:
            self.refuse("numbers of cells in a whole array are made where they leave the network, not inside it")

    def checked_indices(self, indices: Array, extent: int, number: int) -> Array:
        """Known positions on an axis of `extent`, counted from 0; `number` is that of the input that they are."""
        wide = indices.astype(np.int64)
        outside = (wide < -extent) | (wide >= extent)
        if outside.any():
            first = int(wide[outside][0])
            self.damaged(
                f"input {number} has the index {first}; indices of {extent} are from {-extent} to {extent - 1}"
            )
        return np.where(wide < 0, wide + extent, wide)

    def table(self, part: str, indices: Array) -> Tensor:
        """Known indices, from 0, as a value of the program; `part` tells several of one node apart."""
        return self.program.table(self, part, indices.astype(np.int64))

    def as_tensor(self, value: Value) -> Tensor:
        """The value in the program: a known array becomes a parameter of whoever reads it."""
        if isinstance(value, Tensor):
            if is_narrow(value.dtype):
                self.refuse(f"numbers are rounded to {value.dtype} where they leave the network, not inside it")
            self._check_open(value)
            return value
        if value.dtype.kind not in "fiubV":
            self.refuse(f"arrays of {value.dtype} are not computed with")
        if not value.array.size:
            self.refuse(f"an array of shape {value.shape} has no elements to compute with")
        if value.varies:
            return self.program.fed(value, positions=False)
        return Tensor(value.shape, natural(value.array.ndim), value.dtype, host=value)

    def arranged(self, x: Tensor, order: Order | None) -> Tensor:
        """The tensor with its axes in this order in memory; copied by an equation where they stand otherwise."""
        if order is None or x.order == order:
            return x
        if x.host is not None:
            return replace(x, order=order)
        same = tuple(axis for axis in order if x.shape[axis] != 1) == tuple(a for a in x.order if x.shape[a] != 1)
        if same:
            return self.view(x, x.shape, order, part="arranged")
        names = axis_names(x.rank, x.order if order == natural(x.rank) else order)
        text = f"{cell('z', names, order)} = {cell('x', names, x.order)}"
        return self.emit(system(text), {"x": x}, x.shape, order, x.dtype, part="arranged")

    def known(self, number: int) -> Array:
        """An input whose values are known; ArgumentError where the network computes it."""
        value = self.value(number)
        if isinstance(value, Tensor) and value.host is not None:
            return value.host.array
        if isinstance(value, Tensor) or value.varies:
            self.refuse(f"input {number} follows from the values of what the network computes; it must be known before")
        return value.array

    def known_integers(self, number: int) -> tuple[int, ...]:
        """An input that is a list of known whole numbers (or one of them)."""
        array = self.known(number)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            self.damaged(f"input {number} must be a list of integers, is {array.dtype} {array.shape}")
        return tuple(int(value) for value in array.reshape(-1).tolist())

    def scalar(self, number: int) -> float | None:
        """The one number that an input is, where it is known, does not vary and is no more than one."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if isinstance(value, Host) and not value.varies and value.array.size == 1 and value.dtype.kind in "fiubV":
            return float(value.array.reshape(-1)[0])
        return None

    # Results.

    def emit(
        self,
        step: System,
        sources: Mapping[str, Tensor],
        shape: Shape,
        order: Order | None = None,
        dtype: np.dtype[Any] | None = None,
        *,
        part: str = "",
        weights: Mapping[str, str] | None = None,
        kept: Collection[str] = (),
        training: Callable[[], Training] | None = None,
        positions: bool = False,
    ) -> Tensor:
        """Adds equations, and gives their result: of `shape` in ONNX's order of axes, in memory in `order` (as ONNX
        orders them, where none is given).

        `sources` are the tensors by their names in the equations. `weights` says under which name ("weight") a known
        array is a parameter that is trained, unless it is in `kept`; others that are known are parameters that are
        not. `part` tells several results of one node apart. `training` is what takes the place of `step` in training.
        The result has the type of the first source, unless `dtype` is given; with `positions` the program holds int64.
        """
        names = weights or {}
        computed = {local: x for local, x in sources.items() if x.host is None}
        known = {local: x for local, x in sources.items() if x.host is not None}
        parameters = tuple(
            Parameter(
                names.get(local, local),
                local,
                x.memory,
                Constant(0.0),
                trained=local in names and local not in kept,
                decayed=names.get(local) == "weight" and x.rank > 1,
            )
            for local, x in known.items()
        )
        stage = Stage(step, parameters, tuple(computed), training)
        first = next(iter(sources.values()), None)
        kind = dtype if dtype is not None else first.dtype if first is not None else np.dtype(np.float32)
        return self._made(
            part,
            tuple(computed.values()),
            {names.get(local, local): x for local, x in known.items()},
            stage,
            Tensor(tuple(shape), natural(len(shape)) if order is None else order, kind, positions=positions),
        )

    def view(self, x: Tensor, shape: Shape, order: Order | None = None, *, part: str = "") -> Tensor:
        """The memory of `x` seen as a tensor of this shape, whose axes stand in memory in `order`."""
        order = natural(len(shape)) if order is None else order
        if x.host is not None:
            array = x.host.array.transpose(x.order).reshape([shape[axis] for axis in order])
            back = tuple(int(place) for place in np.argsort(order))
            # Another name, because it is another array.
            name = f"{x.host.name} {x.order} as {tuple(shape)} {order}" if x.host.name else ""
            host = replace(x.host, array=array.transpose(back), name=name)
            return replace(x, shape=tuple(shape), order=order, host=host)
        made = replace(x, shape=tuple(shape), order=order)
        if made.memory == x.memory:
            return made
        stage = Stage(Reshape(made.memory, reshaped(x.memory, made.memory)), (), ("x",))
        return self._made(part, (x,), {}, stage, made)

    def passed(self, x: Tensor, training: Callable[[], Training]) -> Tensor:
        """A place that gives `x` as it is, but in training what `training` makes of it."""
        stage = Stage(Reshape(x.memory, reshaped(x.memory, x.memory)), (), ("x",), training)
        return self._made("", (x,), {}, stage, x)

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Host:
        """A result without elements: there is nothing to compute."""
        return Host(np.empty(shape, dtype))

    def _made(
        self, part: str, sources: Sequence[Tensor], parameters: Mapping[str, Tensor], stage: Stage, made: Tensor
    ) -> Tensor:
        self.program.check_size(made.shape)
        place = self.program.add(self, part, sources, parameters, stage)
        return replace(made, place=place, host=None)

    def elementwise(
        self,
        template: str,
        operands: Mapping[str, Value],
        *,
        constants: Mapping[str, float] | None = None,
        dtype: np.dtype[Any] | None = None,
        weights: Mapping[str, str] | None = None,
        part: str = "",
    ) -> Value:
        """The value of `template` ("{x} + {y}") for each cell of the operands, broadcast to each other.

        One known number is written as a constant; the result stands in memory as its largest operand does.
        """
        numbers = dict(constants or {})
        written: dict[str, str] = {}
        tensors: dict[str, Tensor] = {}
        shape = broadcast_shape([value.shape for value in operands.values()])
        kind = dtype if dtype is not None else next(iter(operands.values())).dtype
        if 0 in shape:
            return self.empty(shape, kind)
        for local, value in operands.items():
            if isinstance(value, Host) and not value.varies and value.array.size == 1 and local not in (weights or {}):
                numbers[local.upper()] = float(value.array.reshape(-1)[0])
                written[local] = local.upper()
            else:
                tensors[local] = self.as_tensor(value)
        order = order_of_largest(tuple(tensors.values()), shape)
        names = axis_names(len(shape), order)
        written |= {local: access(local, x, shape, names) for local, x in tensors.items()}
        text = f"{cell('z', names, order)} = {template.format(**written)}"
        read = " ".join(written[local] for local in tensors)
        extents = {name: extent for name, extent in zip(names, shape, strict=True) if name not in _indices(read)}
        step = system(text, constants=numbers, extents=extents)
        return self.emit(step, tensors, shape, order, kind, weights=weights, part=part)


def _short(message: str) -> str:
    """A message that does not grow with what a file has in it."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}..."


def _indices(text: str) -> set[str]:
    """The bare indices in accesses like `x[n,0,c]`."""
    return set(findall(r"[\[,](\w+)(?=[,\]])", text))
