"""Loop nests: what the scheduler makes of an equation, and all that the emitter knows.

    Program  = (tensors, nests)                      nests run in order, with a barrier between two of them
    Nest     = (name, body)                          body: Statements
    Statement = For(variable, low, high, step, body, parallel)     low = max, high = min of ceil(affine / divisor)
              | Tile(points, lane, groups, reduction, body, stores)
              | Update(active, value, position, chain, fence)      only inside a Tile
              | Fetch(operand, lines)
    Value    = Constant(number) | Position(affine) | Load(operand) | Accumulated(which) | Apply(function, arguments)
    Operand  = (tensor, shape, index, guards, lookups, outside)    a cell for every point and lane

Every index is affine in loop variables, point names and the lane name:

- a *loop variable* is bound by a `For` around the statement and counts in its own steps;
- a *point name* is bound by the `Tile`: `points` lists (name, count); the tile has one accumulator vector for
  every point (the row-major product of the counts) and lane group;
- the *lane name* runs over the vector lanes: a group at `offset` of `width` lanes stands for the lane values
  `offset .. offset + width - 1`, of which the first `valid` exist.

A tile's accumulators live in registers from its start (the identity of its reduction) through its body to its
stores. The emitter decides nothing: every tile size, order, border and fence stands in the nest.

Types. A Load gives the element type of its tensor; `Position` is an integer. Functions of `VALUE_FUNCTIONS` take
and give floating values, except: comparisons take two of a kind and give a condition; `where(condition, a, b)`;
`and or not` of conditions. Integers meeting floating values are converted. `floordiv` and `mod` round towards
minus infinity and take integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import TypeAlias

from pellucid.language.affine import Affine

__all__ = [
    "COMPARISONS",
    "COMPUTED_FUNCTIONS",
    "ELEMENT_BYTES",
    "IDENTITY",
    "VALUE_FUNCTIONS",
    "Accumulated",
    "Apply",
    "Bound",
    "Constant",
    "Fetch",
    "For",
    "Group",
    "Guard",
    "Load",
    "Lookup",
    "Nest",
    "Operand",
    "Position",
    "Prefetch",
    "Program",
    "Statement",
    "Store",
    "Tensor",
    "Tile",
    "Update",
    "Value",
    "operands",
    "statements",
    "values_in",
]

ELEMENT_BYTES = {"float32": 4, "float64": 8, "int64": 8}

IDENTITY = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

# To within a few units of rounding, by a polynomial: some 20 instructions and more, each waiting for the one before.
COMPUTED_FUNCTIONS = ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "softplus", "erf", "pow")

VALUE_FUNCTIONS = (
    # exact, one rounding
    "add", "sub", "mul", "div", "neg", "abs", "max", "min", "sqrt", "sign", "floor", "floordiv", "mod",
    "fma",  # a * b + c, rounded once where the processor can
    *COMPUTED_FUNCTIONS,
    # choice
    "where", "and", "or", "not", *COMPARISONS,
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A buffer of `prod(shape)` elements, C-contiguous.

    `role` is one of
    - `input`, `output`: arrays of the caller, never overlapping;
    - `temporary`: written by one nest and read by later ones; the program's owner gives it memory;
    - `scratch`: memory of each thread alone, meaningful only inside one nest;
    - `table`: constant numbers known when the program is made (`values`, row-major).

    One that is `streamed` is written past the caches and begins at a multiple of a cache line.
    """

    name: str
    dtype: str  # float32 | float64 | int64
    shape: tuple[int, ...]
    role: str
    values: tuple[int | float | Fraction, ...] = ()
    streamed: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """The bytes of all elements."""
        return self.size * ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True)
class Guard:
    """The condition `low <= index < high`."""

    index: Affine
    low: int
    high: int


@dataclass(frozen=True)
class Lookup:
    """`stride * (the integer that operand loads)`, added to dimension `dimension` of another operand's index."""

    dimension: int
    operand: Operand
    stride: int = 1


@dataclass(frozen=True)
class Prefetch:
    """With the cells of some `points` of a tile those `distance` elements further are brought into the first or second
    `cache`, for later: of lanes every vector that begins a line, of one cell for all lanes that one; of points that
    read one cell only one does. They may lie beyond the tensor."""

    distance: int
    points: tuple[int, ...]
    cache: int


@dataclass(frozen=True)
class Operand:
    """A cell of `tensor`, seen as an array of `shape` (a view: same number of elements, C order).

    Where a guard fails the cell is not touched and the value is `outside`. Lookup values are checked to be
    in range by the caller of the program before it runs.
    """

    tensor: str
    shape: tuple[int, ...]
    index: tuple[Affine, ...]
    guards: tuple[Guard, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    outside: float = 0.0
    prefetch: Prefetch | None = None

    @cached_property
    def address(self) -> Affine:
        """The flat element number, without lookups."""
        const, terms, stride = 0, dict[str, int](), 1
        for extent, index in zip(reversed(self.shape), reversed(self.index), strict=True):
            const += index.const * stride
            for name, value in index.terms:
                terms[name] = terms.get(name, 0) + value * stride
            stride *= extent
        return Affine.of(const, terms)


@dataclass(frozen=True)
class Constant:
    """A number (a Python float is rounded to the program's floating type)."""

    number: int | float


@dataclass(frozen=True)
class Position:
    """The integer value of an affine form of loop variables, points and lanes."""

    index: Affine


@dataclass(frozen=True)
class Load:
    """The element that an operand names."""

    operand: Operand


@dataclass(frozen=True)
class Accumulated:
    """The tile's finished result: its `value`, or with argmax and argmin the winner's `position` (an integer)."""

    which: str = "value"


@dataclass(frozen=True)
class Apply:
    """A function of `VALUE_FUNCTIONS`."""

    function: str
    arguments: tuple[Value, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept: values share parts, and hashing each as a tree would walk the parts again and again."""
        return hash((self.function, self.arguments))


Value: TypeAlias = Constant | Position | Load | Accumulated | Apply


@dataclass(frozen=True)
class Bound:
    """The largest (of a low bound) or smallest (of a high one) of `ceil(affine / divisor)` over its terms."""

    terms: tuple[tuple[Affine, int], ...]

    @staticmethod
    def of(value: int | Affine) -> Bound:
        """The bound that is one number or affine form."""
        return Bound(((Affine(value) if isinstance(value, int) else value, 1),))

    @property
    def static(self) -> int | None:
        """The bound's value where it is one known number, else None."""
        (form, divisor), *others = self.terms
        return form.const if not others and not form.terms and divisor == 1 else None


@dataclass(frozen=True)
class For:
    """`for variable in low .. high step step`; may run no times. `parallel`: threads divide its (static) range."""

    variable: str
    low: Bound
    high: Bound
    step: int
    body: tuple[Statement, ...]
    parallel: bool = False


@dataclass(frozen=True)
class Group:
    """A vector of `width` lanes at lane value `offset`, of which the first `valid` exist. It may be several registers
    wide: what is done to it is then done to each of them in turn."""

    offset: int
    width: int
    valid: int


@dataclass(frozen=True)
class Update:
    """`accumulator[p, q, chain] = reduction(accumulator, value)` for every active point p and every group q.

    `active` numbers points of the tile. With argmax and argmin, `position` is the number recorded where the
    value wins (strictly; or is the first NaN). A sum of a product becomes a fused multiply-add. `fence` forgets
    loaded values before this step, so that they are not kept in registers that the accumulators need.
    """

    active: tuple[int, ...]
    value: Value
    position: Affine | None = None
    chain: int = 0
    fence: bool = False


@dataclass(frozen=True)
class Store:
    """`operand = value`, for every point and existing lane.

    `add`: None, or an affine form; where it is above 0 the old content of the cell is added to the value
    (later slabs of a reduction that is cut). With guards in the operand, only cells whose guards hold are written.
    """

    operand: Operand
    value: Value
    add: Affine | None = None


@dataclass(frozen=True)
class Tile:
    """`points x groups` accumulators, initialised, updated by the body, stored.

    `reduction` is one of sum, max, min, argmax, argmin, or None for a tile without accumulators (an
    elementwise equation: all work is in the stores). `chains` partial accumulators per point and group hide
    latency; they are combined at the end in a fixed order. `across`: the lanes are part of the reduction: lanes
    that do not exist count as the identity, all lanes and groups are combined at the end in a fixed order, and
    stores are scalar, with the lane name 0.
    """

    points: tuple[tuple[str, int], ...]
    lane: str
    groups: tuple[Group, ...]
    reduction: str | None
    body: tuple[Statement, ...]
    stores: tuple[Store, ...]
    chains: int = 1
    across: bool = False

    @property
    def point_count(self) -> int:
        """The number of points: the product of the counts."""
        return prod(count for _, count in self.points)

    def point(self, number: int) -> dict[str, int]:
        """The value of every point name at point `number` of the row-major order."""
        result: dict[str, int] = {}
        for name, count in reversed(self.points):
            number, result[name] = divmod(number, count)
        return result


@dataclass(frozen=True)
class Fetch:
    """So many cache `lines` from the operand's cell on are brought into the second cache, for later, where its guards
    hold. They may lie beyond the tensor; no result depends on it.

    It stands for itself, for what lies in one piece; a `Prefetch` goes with each load, for what is read in pieces."""

    operand: Operand
    lines: int


Statement: TypeAlias = For | Tile | Update | Fetch


@dataclass(frozen=True)
class Nest:
    """One function: its statements run in order, by every thread, without a barrier inside.

    `rounds` names the variables of its outermost loops, one inside the other around everything else, where those are
    the images of a batch, or groups of `group` images: such nests may share a pass.
    """

    name: str
    body: tuple[Statement, ...]
    rounds: tuple[str, ...] = ()
    group: int = 1


@dataclass(frozen=True)
class Program:
    """Nests that run in order over one table of tensors."""

    tensors: tuple[Tensor, ...]
    nests: tuple[Nest, ...]

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`."""
        return next(tensor for tensor in self.tensors if tensor.name == name)


def statements(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement of a body, outer ones first."""
    for statement in body:
        yield statement
        if isinstance(statement, For | Tile):
            yield from statements(statement.body)


def values_in(*values: Value) -> Iterator[Value]:
    """Values and all that they are made of, outer ones first; what is one object comes once."""
    seen = set[int]()
    open_ = list(reversed(values))
    while open_:
        value = open_.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, Apply):
            open_ += reversed(value.arguments)


def operands(*values: Value) -> Iterator[Operand]:
    """Every operand that values load, lookups included."""
    for value in values_in(*values):
        if isinstance(value, Load):
            yield value.operand
            for lookup in value.operand.lookups:
                yield from operands(Load(lookup.operand))
