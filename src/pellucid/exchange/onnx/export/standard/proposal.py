"""What may stand in a file for a layer: standard operators, and the order of axes that they read and give.

A proposal is only that: it is written where reading it back gives the layer's equations (`proof.py`). So the tables
here may be generous; what they look at are equations and numbers, never the name of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from pellucid.exchange.onnx.export.nodes import Array, Nodes
from pellucid.exchange.onnx.values import Order
from pellucid.language.render import to_text
from pellucid.language.system import System
from pellucid.nn.layer import Shape
from pellucid.nn.written import Growing, WrittenLayer

__all__ = ["Described", "Parameters", "Proposal", "Writer", "pattern", "single", "texts_of"]


@dataclass(frozen=True)
class Parameters:
    """A layer's arrays by their local names, and the names that they get in the file."""

    arrays: Mapping[str, Array]
    names: Mapping[str, str]

    def __contains__(self, local: str) -> bool:
        return local in self.arrays

    def __getitem__(self, local: str) -> Array:
        return self.arrays[local]

    def write(self, nodes: Nodes, local: str, array: Array) -> str:
        """Writes the array, turned as the operator has it, under the parameter's own name."""
        return nodes.initialiser(self.names[local], array)


Writer: TypeAlias = Callable[[Nodes, Sequence[str], Parameters], str]


@dataclass(frozen=True)
class Proposal:
    """Nodes for a layer: `write` adds them, given the names of the sources, and gives the name of the result.

    `reads` and `gives` are orders of axes as `values.Order` has them: where each axis of the layer stands in ONNX.
    `cellwise`: the operator treats all cells alike, whatever their order. `rows` is the parameter whose first axis
    runs along the last axis of the first source.
    """

    reads: tuple[Order, ...]
    gives: Order
    write: Writer
    cellwise: bool = False
    rows: str | None = None


@dataclass(frozen=True)
class Described:
    """A layer as the tables see it: texts, numbers that do not depend on the batch, shapes without the batch."""

    layer: WrittenLayer
    orders: tuple[Order, ...]
    opset: int

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The equations."""
        return self.layer.inference.equations

    @cached_property
    def constants(self) -> Mapping[str, int | float]:
        """The numbers by name."""
        found = self.layer.inference.constants
        return {name: value for name, value in found.items() if not isinstance(value, Growing)}

    @cached_property
    def extents(self) -> Mapping[str, int]:
        """The extents that are given."""
        found = self.layer.inference.extents
        return {name: int(value) for name, value in found.items() if not isinstance(value, Growing)}

    def integer(self, name: str) -> int:
        """A constant that is a whole number."""
        return int(self.constants[name])

    @property
    def shape(self) -> Shape:
        """The shape of the first source."""
        return self.layer.shapes[0]

    @property
    def rank(self) -> int:
        """The axes of the first source, with the batch."""
        return len(self.shape) + 1

    def parameter(self, local: str) -> Shape | None:
        """The shape of a parameter; None where there is none of that name."""
        return next((entry.shape for entry in self.layer.parameters if entry.local == local), None)


def single(op: str, **attributes: Any) -> Writer:
    """One operator of the sources alone."""
    return lambda nodes, sources, _: nodes.add(op, *sources, **attributes)


def texts_of(system: System) -> tuple[str, ...]:
    """The equations as a saved layer has them."""
    return tuple(to_text(equation) for equation in system.equations)


def pattern(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts with `...` for the indices of the result, wherever all of them stand: the same for every rank."""
    output = texts[-1].partition(" = ")[0]
    cells = output[output.find("[") :] if "[" in output else ""
    return tuple(text.replace(cells, "[...]") for text in texts) if cells else tuple(texts)
