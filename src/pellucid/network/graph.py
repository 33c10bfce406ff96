"""A network as a graph of equations: named values, and the nodes that make them.

    Node = Equation(output, formula, constants, extents, bindings)     one formula applied to values
         | View(output, source)                                        the same memory with another shape
         | Loop(recurrence, constants, extents, bindings, made)        a recurrence applied to values
         | Concatenation(output, sources, axis)                        memory in which the sources lie

A formula speaks of its tensors by *local* names (`x`, `w`, `z`); `bindings` says which value of the graph each of
them is. Nodes stand in an order in which they can run. The graph knows no array: it is what `reverse.py`
differentiates and what `run.py` executes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.language.circles import parts_of
from pellucid.language.extents import axes, infer_extents, inputs, output_shape, scalars
from pellucid.language.parts import inputs_of, recurrence_extents
from pellucid.language.recurrence import Recurrence
from pellucid.language.remembered import exactly, remembered
from pellucid.language.syntax import Formula, Name, Reduce, walk
from pellucid.language.system import System
from pellucid.language.waiting import without_waiting
from pellucid.schedule.nest import ELEMENT_BYTES

__all__ = [
    "ACCURACIES",
    "Concatenation",
    "Equation",
    "Graph",
    "Loop",
    "Node",
    "Value",
    "View",
    "fresh",
    "rename_sources",
]

FLOATING = ("float32", "float64")
DTYPES = (*FLOATING, "int64")
ACCURACIES = ("standard", "fast", "direct")

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """An array that the graph takes or makes; `dtype` is float32, float64 or int64."""

    name: str
    shape: Shape
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """The bytes of all elements."""
        return self.size * ELEMENT_BYTES[self.dtype]

    @property
    def floating(self) -> bool:
        """Whether the value can have a gradient."""
        return self.dtype in FLOATING


@dataclass(frozen=True)
class Equation:
    """The value `output` is `formula` of the values that `bindings` gives for its local tensor names."""

    output: str
    formula: Formula
    constants: Mapping[str, int | float]
    extents: Mapping[str, int]
    bindings: Mapping[str, str]
    # The most products that are added up one after the other, and the images that run together; 0: by the usual rules.
    chain: int = 0
    group: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """The values that are read, each once."""
        return tuple(dict.fromkeys(self.bindings.values()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one value that is made."""
        return (self.output,)


@dataclass(frozen=True)
class View:
    """The value `output` is `source` seen with another shape of as many elements, in C order; nothing is copied."""

    output: str
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The value that is seen."""
        return (self.source,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one value that is made."""
        return (self.output,)


@dataclass(frozen=True)
class Loop:
    """The values `made`, by local tensor name, are what a recurrence makes of the values that `bindings` gives."""

    recurrence: Recurrence
    constants: Mapping[str, int | float]
    extents: Mapping[str, int]
    bindings: Mapping[str, str]
    made: Mapping[str, str]

    @property
    def output(self) -> str:
        """The value by which the loop is called: that of its last formula."""
        return self.made[self.recurrence.formulas[-1].output.tensor]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every value that is made."""
        return tuple(self.made.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """The values that are read, each once; not those that are made here."""
        return tuple(dict.fromkeys(self.bindings.values()))


@dataclass(frozen=True)
class Concatenation:
    """The value `output` is its `sources` one behind the other along dimension `axis`; they lie in its memory. A graph
    has none before it is compiled (`concatenate.py`)."""

    output: str
    sources: tuple[str, ...]
    axis: int

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one value that is made."""
        return (self.output,)


Node: TypeAlias = Equation | View | Loop | Concatenation


class Graph:
    """Values and nodes, added one after the other. `dtype` is the floating type of everything computed.

    `images` is the extent of the batch, where there is one: the first axis of every value that belongs to images, to
    begin with of the inputs that are added as such. `accuracy` says whether convolutions may be computed with fewer
    multiplications: "direct" not at all, "standard" where they lose no digits against a plain float32 sum, "fast" with
    up to four times its error.
    """

    def __init__(self, dtype: str = "float32", images: int | None = None, accuracy: str = "direct") -> None:
        if dtype not in FLOATING:
            raise DtypeError(f"`dtype` (={dtype!r}) must be one of {', '.join(FLOATING)}")
        self.dtype = dtype
        if accuracy not in ACCURACIES:
            raise ArgumentError(f"`accuracy` (={accuracy!r}) must be one of {', '.join(ACCURACIES)}")
        self.images = images
        self.accuracy = accuracy
        self._of_images: set[str] = set()
        self._tables: dict[str, tuple[float, ...]] = {}
        self._values: dict[str, Value] = {}
        self._inputs: list[str] = []
        self._nodes: list[Node] = []

    @property
    def values(self) -> Mapping[str, Value]:
        """Every value by name, in order of appearance."""
        return MappingProxyType(self._values)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the values that the caller gives."""
        return tuple(self._inputs)

    @property
    def image_inputs(self) -> frozenset[str]:
        """The inputs whose first axis is the batch."""
        return frozenset(self._of_images)

    @property
    def tables(self) -> Mapping[str, tuple[float, ...]]:
        """The values that are known numbers, row by row."""
        return MappingProxyType(self._tables)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in an order in which they can run."""
        return tuple(self._nodes)

    def input(self, name: str, shape: Shape, dtype: str | None = None, *, of_images: bool = False) -> str:
        """A value given by the caller, of the graph's floating type unless said otherwise; its name.

        `of_images`: its first axis is the batch.
        """
        if name in self._values:
            raise ArgumentError(f"`name` (={name!r}) is already a value of the graph")
        if dtype is not None and dtype not in DTYPES:
            raise DtypeError(f"`dtype` (={dtype!r}) of input {name!r} must be one of {', '.join(DTYPES)}")
        self._inputs.append(name)
        if of_images:
            self._of_images.add(name)
        return self._add_value(name, shape, dtype or self.dtype)

    def system(self, system: System, bindings: Mapping[str, str], prefix: str = "") -> str:
        """Adds every equation of a system; the name of the value that its `output` became.

        `bindings` gives a value for every local tensor (or scalar) that no equation of the system makes. Values
        are called `prefix.local`, with a number behind where that name is taken.
        Raises ShapeError where the shapes do not fit the equations, ArgumentError where a binding is missing.
        """
        return self.system_values(system, bindings, prefix)[system.output]

    def system_values(self, system: System, bindings: Mapping[str, str], prefix: str = "") -> dict[str, str]:
        """As `system`, but gives the value of every equation's output by its local name."""
        known = dict(bindings)
        for part in parts_of(system.equations):
            constants, extents = system.constants, system.extents
            if isinstance(part, Recurrence):
                known |= self.recurrence(part, known, constants=constants, extents=extents, prefix=prefix)
            else:
                local = part.output.tensor
                known[local] = self.formula(part, known, constants=constants, extents=extents, prefix=prefix)
        return {formula.output.tensor: known[formula.output.tensor] for formula in system.equations}

    def formula(
        self,
        formula: Formula,
        bindings: Mapping[str, str],
        *,
        constants: Mapping[str, int | float] | None = None,
        extents: Mapping[str, int] | None = None,
        output_extents: Shape | None = None,
        prefix: str = "",
    ) -> str:
        """Adds one formula and gives the name of its value.

        `extents` gives axes that no bound value determines, `output_extents` the output's shape where it is known
        beforehand (a gradient has the shape of its variable). Names in both mappings that the formula does not
        have are ignored.
        """
        # Only what the formula names: two equal formulas stay equal whatever else their systems hold.
        facts = _facts(formula)
        constants = {name: value for name, value in (constants or {}).items() if name in facts.names}
        bound = self._bind(formula, bindings, constants)
        shapes = {local: self._values[name].shape for local, name in bound.items() if local in facts.tensors}
        if output_extents is not None:
            shapes[formula.output.tensor] = output_extents
        given = {name: extent for name, extent in (extents or {}).items() if name in facts.axes}
        solved = _extents(formula, exactly(constants), tuple(shapes.items()), exactly(given))
        shape = output_shape(formula, constants, solved) if output_extents is None else output_extents
        positions = isinstance(formula.body, Reduce) and formula.body.op in ("argmax", "argmin")
        name = fresh(f"{prefix}.{formula.output.tensor}" if prefix else formula.output.tensor, self._values)
        self._add_value(name, shape, "int64" if positions else self.dtype)
        self._nodes.append(Equation(name, formula, MappingProxyType(constants), solved, bound))
        return name

    def recurrence(
        self,
        recurrence: Recurrence,
        bindings: Mapping[str, str],
        *,
        constants: Mapping[str, int | float] | None = None,
        extents: Mapping[str, int] | None = None,
        prefix: str = "",
    ) -> dict[str, str]:
        """Adds a recurrence, behind the formulas in it that wait for nothing; its values by local tensor name."""
        known = dict(bindings)
        numbers = constants or {}
        bound, found, made = self._solved(recurrence, known, numbers, extents or {})
        before, rest = without_waiting(recurrence)
        for formula in before:
            # How far their axes run the whole recurrence says, not a part of it.
            known[formula.output.tensor] = self.formula(formula, known, constants=numbers, extents=found, prefix=prefix)
        if before:
            bound, found, made = self._solved(rest, known, numbers, found)
        names = dict[str, str]()
        for local, shape in made.items():
            names[local] = fresh(f"{prefix}.{local}" if prefix else local, self._values)
            self._add_value(names[local], shape, self.dtype)
        own = {name: value for name, value in numbers.items() if name in rest.names}
        self._nodes.append(Loop(rest, MappingProxyType(own), MappingProxyType(found), bound, MappingProxyType(names)))
        return names

    def _solved(
        self,
        recurrence: Recurrence,
        bindings: Mapping[str, str],
        constants: Mapping[str, int | float],
        extents: Mapping[str, int],
    ) -> tuple[Mapping[str, str], dict[str, int], dict[str, Shape]]:
        """The bindings of what a recurrence reads, the extents of its axes and the shapes of what it makes."""
        bound = self._bound(inputs_of((recurrence,), constants), bindings, recurrence.formulas[-1].output.tensor)
        shapes = {local: self._values[name].shape for local, name in bound.items()}
        return bound, *recurrence_extents(recurrence, constants, shapes, extents)

    def view(self, value: str, shape: Shape, prefix: str = "") -> str:
        """The value seen with another shape of as many elements; its name. A view of its own shape is itself."""
        source = self._get(value)
        if prod(shape) != source.size:
            raise ShapeError(f"a view of {value} {source.shape} ({source.size} elements) cannot have shape {shape}")
        if shape == source.shape:
            return value
        name = fresh(f"{prefix or value}.view", self._values)
        self._add_value(name, shape, source.dtype)
        self._nodes.append(View(name, value))
        return name

    def replace_nodes(
        self,
        nodes: tuple[Node, ...],
        new: Mapping[str, Value] = MappingProxyType({}),
        tables: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
    ) -> Graph:
        """A graph of the same inputs with other nodes, whose outputs are values of this one, or `new`. So are the
        `tables`: values known now, element by element."""
        other = Graph(self.dtype, self.images, self.accuracy)
        other._tables = {**self._tables, **tables}
        made = {name for node in nodes for name in node.outputs} | set(self._inputs) | other._tables.keys()
        other._values = {name: value for name, value in {**self._values, **new}.items() if name in made}
        other._inputs = list(self._inputs)
        other._of_images = set(self._of_images)
        other._nodes = list(nodes)
        return other

    def _add_value(self, name: str, shape: Shape, dtype: str) -> str:
        if any(extent < 1 for extent in shape):
            raise ShapeError(f"{name} has shape {shape}: every extent must be at least 1")
        self._values[name] = Value(name, tuple(shape), dtype)
        return name

    def _get(self, name: str) -> Value:
        if name not in self._values:
            raise ArgumentError(f"{name!r} is no value of the graph")
        return self._values[name]

    def _bind(
        self, formula: Formula, bindings: Mapping[str, str], constants: Mapping[str, int | float]
    ) -> Mapping[str, str]:
        return self._bound(_read(formula, tuple(constants)), bindings, formula.output.tensor)

    def _bound(self, wanted: Sequence[str], bindings: Mapping[str, str], output: str) -> Mapping[str, str]:
        missing = [local for local in wanted if local not in bindings]
        if missing:
            raise ArgumentError(f"`bindings` lacks {', '.join(missing)}, read by the equation of {output}")
        for local in wanted:
            self._get(bindings[local])
        return MappingProxyType({local: bindings[local] for local in wanted})


@dataclass(frozen=True)
class _Facts:
    """All names in a formula, those of tensors that it reads, and its axes."""

    names: frozenset[str]
    tensors: frozenset[str]
    axes: frozenset[str]


@remembered
def _facts(formula: Formula) -> _Facts:
    nodes = (node for root in (formula.output, formula.body) for node in walk(root))
    names = frozenset(node.name for node in nodes if isinstance(node, Name))
    return _Facts(names, frozenset(inputs(formula)), frozenset(axes(formula)))


@remembered
def _read(formula: Formula, constants: tuple[str, ...]) -> tuple[str, ...]:
    return (*inputs(formula), *scalars(formula, constants))


@remembered
def _extents(
    formula: Formula,
    constants: tuple[tuple[str, Any, type], ...],
    shapes: tuple[tuple[str, Shape], ...],
    given: tuple[tuple[str, Any, type], ...],
) -> Mapping[str, int]:
    numbers, known = ({name: value for name, value, _ in part} for part in (constants, given))
    return MappingProxyType(infer_extents(formula, numbers, dict(shapes), known))


def fresh(wish: str, taken: Collection[str]) -> str:
    """`wish` itself where it is free, else the first of `wish.1`, `wish.2` ... that is."""
    if wish not in taken:
        return wish
    return next(name for number in count(1) if (name := f"{wish}.{number}") not in taken)


def rename_sources(node: Node, names: Mapping[str, str]) -> Node:
    """The node reading `names[source]` wherever a source is a key there."""
    if isinstance(node, View):
        return replace(node, source=names.get(node.source, node.source))
    if isinstance(node, Concatenation):
        return replace(node, sources=tuple(names.get(name, name) for name in node.sources))
    # What a loop makes keeps its name.
    return replace(node, bindings={local: names.get(name, name) for local, name in node.bindings.items()})
