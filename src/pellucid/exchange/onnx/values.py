"""What a node of a file reads and gives: arrays known outside the program, and values in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.nn.layer import Shape

__all__ = [
    "Host",
    "Order",
    "Tensor",
    "Value",
    "channels_last",
    "declared",
    "is_floating",
    "is_narrow",
    "natural",
    "pictures_last",
    "standing",
]

Order: TypeAlias = tuple[int, ...]
"""For each place in memory, from the slowest to the fastest, the axis of ONNX that stands there."""


@dataclass(frozen=True, eq=False)
class Host:
    """An array that the program does not compute.

    One that `varies` may be another in each call: it follows from an input of integers or booleans. `name` is that of
    the initialiser or input that it is.
    """

    array: Array
    varies: bool = False
    name: str = ""

    @property
    def shape(self) -> Shape:
        """Extents, as ONNX orders the axes."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the file has it."""
        return self.array.dtype


@dataclass(frozen=True)
class Tensor:
    """A value of the program, or an array given to it.

    `place` is the number of the place that makes it; below 0 for an input of the program (-1 for the first). Where
    `host` is given it is an array that becomes a parameter of the place that reads it, in any order. `dtype` is the
    type that ONNX gives it: in the program all are floats, or positions (int64) where `positions` says so.

    Where `finish` is given, ONNX's value is what it makes of the program's, axes in ONNX's order, with NumPy; then
    nothing in the program can read it.
    """

    shape: Shape
    order: Order
    dtype: np.dtype[Any]
    place: int = 0
    host: Host | None = None
    positions: bool = False
    finish: Callable[[Array], Array] | None = None

    @property
    def memory(self) -> Shape:
        """Extents as they stand in memory."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def renamed(self, axes: Order) -> Tensor:
        """The same memory with its axes in another order to ONNX: axis `number` of the result is `axes[number]`."""
        new = {old: number for number, old in enumerate(axes)}
        shape, order = tuple(self.shape[axis] for axis in axes), tuple(new[axis] for axis in self.order)
        if self.host is None:
            return replace(self, shape=shape, order=order)
        # Another name, because it is another array.
        name = f"{self.host.name} {axes}" if self.host.name else ""
        host = replace(self.host, array=self.host.array.transpose(axes), name=name)
        return replace(self, shape=shape, order=order, host=host)


Value: TypeAlias = Host | Tensor


def natural(rank: int) -> Order:
    """The axes stand in memory as ONNX orders them."""
    return tuple(range(rank))


def declared(x: Tensor) -> Order:
    """The order in which the file declares the axes."""
    return natural(x.rank)


def standing(x: Tensor) -> Order:
    """The order in which the axes stand already."""
    return x.order


def pictures_last(x: Tensor) -> Order:
    """Channels last for pictures and volumes, as `nn` has them; else as the file declares them."""
    return channels_last(x.rank) if x.rank > 3 else natural(x.rank)


def channels_last(rank: int) -> Order:
    """Axis 1 stands last: (batch, spatial ..., channels)."""
    return (0, *range(2, rank), 1) if rank > 2 else natural(rank)


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this type are computed by the program: those of IEEE 754, and bfloat16."""
    return dtype.kind == "f" or dtype == np.dtype(ml_dtypes.bfloat16)


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether it is one of the types of 8 bits and fewer that NumPy itself has not."""
    return dtype.kind == "V" and dtype != np.dtype(ml_dtypes.bfloat16)
