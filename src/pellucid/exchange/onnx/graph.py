"""A file that was read: nodes in running order, the arrays that it holds, and what it takes and gives.

Nothing here is protobuf, and nothing is left to be checked of the file's form: names are unique, every name that is
read is there, functions are written out, and arrays have the sizes that they claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "AttributeValue", "OnnxGraph", "OnnxNode", "Port", "Unread"]

Array: TypeAlias = NDArray[Any]
AttributeValue: TypeAlias = "int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array | Unread"


@dataclass(frozen=True)
class Unread:
    """The value of an attribute that is not read, since no operator that has one is supported; `kind` is "a graph", "a
    list of graphs", "a type", "a list of types", "a list of tensors" or "a list of sparse tensors"."""

    kind: str


@dataclass(frozen=True)
class Port:
    """An input or output of a file: `shape` has a number, the name of an open extent, or None for each axis; it is
    None where the file does not say the number of axes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    @property
    def form(self) -> str:
        """`(batch, 3, ?, ?)`: the shape with a question mark for what the file leaves open without a name."""
        if self.shape is None:
            return "(?)"
        return f"({', '.join('?' if extent is None else str(extent) for extent in self.shape)})"


@dataclass(frozen=True)
class OnnxNode:
    """One application of an operator.

    `name` is the file's, or made of operator and number; unique. `version` is that of the operator's domain
    ("" for ONNX's own). An input or output that was left out is "".
    """

    name: str
    op: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])

    @property
    def title(self) -> str:
        """`node 'conv1' (Conv)`."""
        return f"node {self.name!r} ({self.op})"


@dataclass(frozen=True)
class OnnxGraph:
    """A file's graph. `inputs` are those without an initialiser; `opset` is the version of ONNX's own operators, 0
    where only functions use them; `source` is the path, for messages."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[OnnxNode, ...]
    initialisers: Mapping[str, Array]
    opset: int
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    source: str = "the model"
