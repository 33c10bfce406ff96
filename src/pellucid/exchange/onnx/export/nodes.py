"""A list of nodes that is being written: names, constants, and nodes that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["Array", "Attributes", "Nodes"]

Array: TypeAlias = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]


class Nodes:
    """Nodes in running order, of a graph, or of a function (`is_function`), where constants are nodes themselves.

    A node or constant that is asked for a second time is the one that is there.
    """

    def __init__(self, opset: int, dtype: str, *, is_function: bool = False) -> None:
        self.opset = opset
        self.dtype = np.dtype(dtype)
        self.is_function = is_function
        self.written: list[onnx.NodeProto] = []
        self.initialisers: dict[str, Array] = {}
        self.place = ""
        self._known: dict[Any, tuple[str, ...]] = {}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def reserve(self, *names: str) -> None:
        """Names that no node may give to its outputs."""
        self._taken.update(names)

    def add(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """The first output of a node."""
        return self.add_all(op, inputs, attributes, domain=domain, outputs=outputs)[0]

    def add_all(
        self, op: str, inputs: Sequence[str], attributes: Attributes, *, domain: str = "", outputs: int = 1
    ) -> tuple[str, ...]:
        """All outputs of a node; `attributes` as ONNX has them."""
        key = (op, domain, tuple(inputs), outputs, repr(sorted(attributes.items())))
        if key not in self._known:
            name = self.fresh(f"{self.place}/{op}" if self.place else op.lower())
            names = tuple(name if not number else f"{name}.{number}" for number in range(outputs))
            label = "" if self.is_function else name
            self.written.append(helper.make_node(op, inputs, names, name=label, domain=domain, **attributes))
            self._known[key] = names
        return self._known[key]

    def constant(self, array: Array) -> str:
        """A constant: integers and truths as they are, floats in the type of the network."""
        array = np.asarray(array, order="C")
        return self.exactly(array.astype(self.dtype) if array.dtype.kind == "f" else array)

    def integers(self, *values: int) -> str:
        """A list of whole numbers as a constant: axes, a shape."""
        return self.constant(np.asarray(values, np.int64))

    def number(self, value: float) -> str:
        """One number of the network's type."""
        return self.constant(np.asarray(value, self.dtype))

    def exactly(self, array: Array) -> str:
        """A constant of the array's own type, whatever the network's is: the scales of a Resize."""
        key = ("", array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = (self._new_constant(array),)
        return self._known[key][0]

    def initialiser(self, name: str, array: Array) -> str:
        """A parameter of the network, under its own name."""
        name = self.fresh(name)
        self.initialisers[name] = np.asarray(array, self.dtype, order="C")
        return name

    def fresh(self, wish: str) -> str:
        """The name, with a number behind it where it is taken."""
        name = wish
        while name in self._taken:
            self._numbers[wish] = self._numbers.get(wish, 0) + 1
            name = f"{wish}_{self._numbers[wish]}"
        self._taken.add(name)
        return name

    def prune(self, *results: str) -> None:
        """Takes away what the results do not need."""
        needed, kept = set(results), list[onnx.NodeProto]()
        for node in reversed(self.written):
            if not needed.isdisjoint(node.output):
                kept.append(node)
                needed.update(node.input)
        self.written = kept[::-1]
        self.initialisers = {name: array for name, array in self.initialisers.items() if name in needed}

    def _new_constant(self, array: Array) -> str:
        name = self.fresh("constant" if self.is_function else f"{self.place or 'graph'}/constant")
        if self.is_function:
            tensor = numpy_helper.from_array(array, name)
            self.written.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initialisers[name] = array
        return name

    # Forms that changed between sets of operators.

    def unsqueeze(self, x: str, axes: Sequence[int]) -> str:
        """New axes of extent 1 at these places of the result."""
        return self.add("Unsqueeze", x, self.integers(*axes)) if axes else x

    def reduce(self, op: str, x: str, axes: Sequence[int]) -> str:
        """ReduceSum, ReduceMax or ReduceMin over these axes, which go."""
        if not axes:
            return x
        if op == "ReduceSum" or self.opset >= 18:
            return self.add(op, x, self.integers(*axes), keepdims=0)
        return self.add(op, x, axes=list(axes), keepdims=0)

    def transpose(self, x: str, order: Sequence[int]) -> str:
        """The axes in another order."""
        return x if list(order) == sorted(order) else self.add("Transpose", x, perm=list(order))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Another shape; 0 is the extent that stands there, -1 what is left."""
        return self.add("Reshape", x, self.integers(*shape))
