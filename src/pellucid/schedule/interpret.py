"""The meaning of loop nests, executed: one cell at a time, in plain Python, with every access tested.

This is the second of the three definitions that are held against each other (the reference evaluates formulas,
the emitter compiles nests), and the checked mode of the package. It knows no vectors: lanes are one more loop.
Arithmetic is float64; a store rounds as the buffer does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pellucid.errors import ArgumentError, OutOfBoundsError
from pellucid.language.affine import Affine
from pellucid.schedule.arithmetic import FUNCTIONS, largest, smallest
from pellucid.schedule.nest import (
    IDENTITY,
    Accumulated,
    Apply,
    Bound,
    Constant,
    Fetch,
    For,
    Load,
    Nest,
    Operand,
    Position,
    Program,
    Statement,
    Store,
    Tensor,
    Tile,
    Update,
    Value,
)

__all__ = ["Buffer", "DataRaceError", "interpret"]

Scalar: TypeAlias = int | float


@runtime_checkable
class Buffer(Protocol):
    """Flat memory: a list, a one-dimensional array, anything that is read and written by element number."""

    def __getitem__(self, element: int, /) -> Any: ...
    def __setitem__(self, element: int, value: Any, /) -> None: ...
    def __len__(self) -> int: ...


class DataRaceError(RuntimeError):
    """Two threads meet in one cell within a nest: a fault of the scheduler, never of a user."""


def interpret(program: Program, arrays: Mapping[str, Buffer], threads: int = 1) -> None:
    """Execute `program` on flat buffers, each of its tensor's `size`.

    `arrays` has a buffer for every input and output; a temporary may be given too (its contents are then seen
    afterwards), else it starts as NaN, as scratch does at the start of every nest. Threads run one after the other,
    each its share of the parallel loops.

    Raises `OutOfBoundsError` for an access outside its tensor in any dimension, `DataRaceError` where a thread depends
    on a cell that another one writes in the same nest, `ArgumentError` for buffers that are missing or of another size.
    """
    if threads < 1:
        raise ArgumentError(f"`threads` (={threads}) must be at least 1")
    tensors = {tensor.name: tensor for tensor in program.tensors}
    memory = {tensor.name: _buffer(tensor, arrays) for tensor in program.tensors if tensor.role != "scratch"}
    for nest in program.nests:
        owners: dict[tuple[str, int], _Cell] = {}
        for thread in range(threads):
            scratch = {tensor.name: _undefined(tensor) for tensor in program.tensors if tensor.role == "scratch"}
            run = _Thread(nest, tensors, {**memory, **scratch}, thread, threads, owners)
            for statement in nest.body:
                run.statement(statement)


def _buffer(tensor: Tensor, arrays: Mapping[str, Buffer]) -> Buffer:
    if tensor.role == "table":
        return list(tensor.values)
    if tensor.name not in arrays:
        if tensor.role != "temporary":
            raise ArgumentError(f"`{tensor.name}` is an {tensor.role} of the program, but no buffer was given for it")
        return _undefined(tensor)
    buffer = arrays[tensor.name]
    if len(buffer) != tensor.size:
        raise ArgumentError(
            f"`{tensor.name}` {tensor.shape} needs a flat buffer of {tensor.size}, not of {len(buffer)}"
        )
    return buffer


def _undefined(tensor: Tensor) -> Buffer:
    """Memory whose contents nobody may rely on: NaN, or an integer that is outside every array."""
    return [-(2**62) if tensor.dtype == "int64" else float("nan")] * tensor.size


def _same(before: Any, after: Any) -> bool:
    """Whether a write left a cell as it was; NaN is NaN."""
    return bool(before == after) or (math.isnan(before) and math.isnan(after))


@dataclass
class _Cell:
    """Who touched a shared cell in this nest: its last writer, and a thread that read what stood there before."""

    writer: int | None = None
    reader: int | None = None


@dataclass
class _Accumulator:
    """One partial result: its value and, with argmax and argmin, the number of its winner."""

    value: float
    position: int = 0


@dataclass
class _Thread:
    """One thread's walk through a nest. `names` holds the values of loop variables, points and the lane."""

    nest: Nest
    tensors: Mapping[str, Tensor]
    memory: Mapping[str, Buffer]
    thread: int
    threads: int
    owners: dict[tuple[str, int], _Cell]
    names: dict[str, int] = field(default_factory=dict[str, int])
    inside_parallel: bool = False

    # ------------------------------------------------------------ statements
    def statement(self, statement: Statement) -> None:
        """Run a statement that stands outside of tiles."""
        match statement:
            case For():
                for _ in self.iterations(statement):
                    for inner in statement.body:
                        self.statement(inner)
            case Tile():
                _TileRun(self, statement).run()
            case Update():
                raise AssertionError(f"nest {self.nest.name}: an Update stands outside of every Tile")
            case Fetch():
                pass

    def iterations(self, loop: For) -> Iterator[None]:
        """Bind the loop's variable to each of its values that is this thread's."""
        low, high = self.bound(loop.low, max), self.bound(loop.high, min)
        count = max(0, -((low - high) // loop.step))
        first, last = 0, count
        if loop.parallel:
            assert not self.inside_parallel, f"nest {self.nest.name}: a parallel loop inside a parallel loop"
            first, last = count * self.thread // self.threads, count * (self.thread + 1) // self.threads
        outer = self.inside_parallel
        self.inside_parallel = outer or loop.parallel
        for number in range(first, last):
            self.names[loop.variable] = low + number * loop.step
            yield
        self.inside_parallel = outer

    def bound(self, bound: Bound, choose: Any) -> int:
        """The largest or smallest of the bound's terms, each rounded up."""
        return choose(-(-self.number(form) // divisor) for form, divisor in bound.terms)

    def number(self, form: Affine) -> int:
        """The value of an affine form here."""
        total = form.const
        for name, coefficient in form.terms:
            total += coefficient * self.names[name]
        return total

    # ------------------------------------------------------------ values
    def value(self, value: Value, accumulated: _Accumulator | None = None) -> Scalar:
        """The value of an expression here. All arguments are evaluated: a choice hides no access."""
        match value:
            case Constant(number):
                return number
            case Position(index):
                return self.number(index)
            case Load(operand):
                return self.load(operand)
            case Apply(function, arguments):
                return FUNCTIONS[function](*[self.value(argument, accumulated) for argument in arguments])
            case Accumulated(which):
                assert accumulated is not None, f"nest {self.nest.name}: Accumulated stands outside of a store"
                return accumulated.position if which == "position" else accumulated.value

    def load(self, operand: Operand) -> Scalar:
        """The cell that an operand names, or its `outside` where a guard fails."""
        if not self.guarded(operand):
            return operand.outside
        element = self.element(operand)
        tensor = self.tensors[operand.tensor]
        self.note_read(tensor, element)
        content = self.memory[operand.tensor][element]
        return int(content) if tensor.dtype == "int64" else float(content)

    def store(self, store: Store, value: Scalar) -> None:
        """Write a cell, or add to it."""
        operand = store.operand
        if not self.guarded(operand):
            return
        element = self.element(operand)
        tensor = self.tensors[operand.tensor]
        buffer = self.memory[operand.tensor]
        if store.add is not None and self.number(store.add) > 0:
            self.note_read(tensor, element)
            value = float(buffer[element]) + value
        before = buffer[element]
        buffer[element] = int(value) if tensor.dtype == "int64" else float(value)
        self.note_write(tensor, element, _same(before, buffer[element]))

    def guarded(self, operand: Operand) -> bool:
        """Whether all guards of an operand hold."""
        return all(guard.low <= self.number(guard.index) < guard.high for guard in operand.guards)

    def element(self, operand: Operand) -> int:
        """The flat element number of an operand's cell, every dimension tested."""
        index = [self.number(form) for form in operand.index]
        for lookup in operand.lookups:
            index[lookup.dimension] += lookup.stride * int(self.load(lookup.operand))
        element = 0
        for dimension, (number, extent) in enumerate(zip(index, operand.shape, strict=True)):
            if not 0 <= number < extent:
                cell = ", ".join(map(str, index))
                raise OutOfBoundsError(
                    f"nest {self.nest.name}: {operand.tensor}[{cell}] is outside of shape {operand.shape} "
                    f"in dimension {dimension}"
                )
            element = element * extent + number
        return element

    # ------------------------------------------------------------ threads
    def note_read(self, tensor: Tensor, element: int) -> None:
        """Remember a read of shared memory; what another thread wrote in this nest may not be read."""
        if self.threads == 1 or tensor.role not in ("output", "temporary"):
            return
        cell = self.owners.setdefault((tensor.name, element), _Cell())
        if cell.writer is not None and cell.writer != self.thread:
            self.race(tensor, element, cell.writer)
        if cell.writer is None:
            cell.reader = self.thread

    def note_write(self, tensor: Tensor, element: int, unchanged: bool) -> None:
        """Remember a write of shared memory. Threads may write the same value, as code outside parallel loops does."""
        if self.threads == 1 or tensor.role not in ("output", "temporary"):
            return
        cell = self.owners.setdefault((tensor.name, element), _Cell())
        if cell.reader is not None and cell.reader != self.thread:
            self.race(tensor, element, cell.reader)
        if cell.writer is not None and cell.writer != self.thread and not unchanged:
            self.race(tensor, element, cell.writer)
        cell.writer = self.thread

    def race(self, tensor: Tensor, element: int, other: int) -> None:
        raise DataRaceError(
            f"nest {self.nest.name}: threads {other} and {self.thread} meet in element {element} of {tensor.name}"
        )


class _TileRun:
    """One execution of a tile: its accumulators, from the identity to the stores."""

    def __init__(self, thread: _Thread, tile: Tile) -> None:
        self.thread, self.tile = thread, tile
        self.points = [tile.point(number) for number in range(tile.point_count)]
        self.lanes = [group.offset + lane for group in tile.groups for lane in range(group.valid)]
        self.lower = tile.reduction in ("min", "argmin")
        self.winners = tile.reduction in ("argmax", "argmin")
        kind = (tile.reduction or "sum").removeprefix("arg")
        self.identity = IDENTITY[kind]
        self.cells: dict[tuple[int, int, int], _Accumulator] = {
            (point, lane, chain): _Accumulator(self.identity)
            for point in range(len(self.points) if tile.reduction is not None else 0)
            for lane in range(len(self.lanes))
            for chain in range(tile.chains)
        }

    def run(self) -> None:
        """Body, then stores."""
        for statement in self.tile.body:
            self.statement(statement)
        for store in self.tile.stores:
            self.stores(store)

    def statement(self, statement: Statement) -> None:
        """Run a statement of the tile's body."""
        match statement:
            case For():
                for _ in self.thread.iterations(statement):
                    for inner in statement.body:
                        self.statement(inner)
            case Update():
                self.update(statement)
            case Tile():
                raise AssertionError(f"nest {self.thread.nest.name}: a Tile stands inside a Tile")
            case Fetch():
                pass

    def update(self, update: Update) -> None:
        """One term of the reduction into the accumulators of every active point and every lane."""
        names = self.thread.names
        for point in update.active:
            names.update(self.points[point])
            for number, lane in enumerate(self.lanes):
                names[self.tile.lane] = lane
                value = self.thread.value(update.value)
                position = 0 if update.position is None else self.thread.number(update.position)
                self.combine(self.cells[point, number, update.chain], float(value), position, later=True)

    def combine(self, into: _Accumulator, value: float, position: int, later: bool) -> None:
        """Reduce one more value into an accumulator. A later equal value never wins; among partial results, which
        stand in no order, the smaller number does."""
        if self.tile.reduction == "sum":
            into.value += value
        elif not self.winners:
            into.value = float((smallest if self.lower else largest)(into.value, value))
        elif self.beats(value, into.value) or (
            not later and not self.beats(into.value, value) and position < into.position
        ):
            into.value, into.position = value, position

    def beats(self, value: float, best: float) -> bool:
        """Whether a value wins over the best so far: strictly, or as the first NaN."""
        if math.isnan(best):
            return False
        return math.isnan(value) or (value < best if self.lower else value > best)

    def stores(self, store: Store) -> None:
        """One store for every point and lane, or for every point where the lanes were reduced too."""
        names = self.thread.names
        for point, values in enumerate(self.points):
            names.update(values)
            if self.tile.across:
                names[self.tile.lane] = 0
                self.thread.store(store, self.thread.value(store.value, self.result(point, range(len(self.lanes)))))
                continue
            for number, lane in enumerate(self.lanes):
                names[self.tile.lane] = lane
                self.thread.store(store, self.thread.value(store.value, self.result(point, range(number, number + 1))))

    def result(self, point: int, lanes: range) -> _Accumulator | None:
        """The chains of a point's lanes combined."""
        if self.tile.reduction is None:
            return None
        total = _Accumulator(self.identity)
        first = True
        for lane in lanes:
            for chain in range(self.tile.chains):
                cell = self.cells[point, lane, chain]
                if first:
                    total = _Accumulator(cell.value, cell.position)
                    first = False
                else:
                    self.combine(total, cell.value, cell.position, later=False)
        return total
