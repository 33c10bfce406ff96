"""How an operation runs: its arrays are checked, its equations compiled for their shapes, the code kept and called.

    arguments --operation's function--> Applied(system, operands) --compiled, once per signature--> result

Every function of `pellucid.ops` is an `@operation`: written as a function from arrays and attributes to an
`Applied`, and called as one to the result.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DtypeError
from pellucid.language.system import System
from pellucid.network.graph import Graph
from pellucid.network.reverse import differentiate
from pellucid.network.run import CompiledGraph, compile_graph
from pellucid.nn.equations.notation import system, text_of

__all__ = [
    "Applied",
    "Array",
    "Operation",
    "check_array",
    "check_values",
    "floats",
    "integers",
    "labels",
    "operation",
    "run",
    "run_gradients",
    "shape_of",
]

Array: TypeAlias = NDArray[Any]
Parameters = ParamSpec("Parameters")

FLOATING = ("float32", "float64")
UPSTREAM = "upstream"
CACHED_PROGRAMS = 512


@dataclass(frozen=True)
class Applied:
    """An operation with its arrays: the equations, and which array each free tensor of theirs is.

    `operands` stand in the order of the operation's array parameters; one that is None was not given. `unused`
    are parameters that the equations do not read. `updates` are arrays that a call writes over, with the
    operations that say by what (running statistics).
    """

    system: System
    operands: Mapping[str, Array | None]
    unused: frozenset[str] = frozenset()
    updates: tuple[tuple[Array, Applied], ...] = ()

    @property
    def arrays(self) -> dict[str, Array]:
        """The operands that the equations read, by their local names."""
        return {name: array for name, array in self.operands.items() if array is not None and name not in self.unused}


@dataclass(frozen=True)
class Operation:
    """What `vjp` finds on a function of `pellucid.ops`: the function from its arguments to an `Applied`.

    `arrays` are those of its parameters that are arrays, in order; the operands of the `Applied` are theirs.
    """

    name: str
    apply: Callable[..., Applied]
    arrays: tuple[str, ...]


def operation(function: Callable[Parameters, Applied]) -> Callable[Parameters, Array]:
    """The function that runs what `function` describes; it carries the `Operation` as its attribute `operation`."""

    @functools.wraps(function)
    def call(*arguments: Parameters.args, **attributes: Parameters.kwargs) -> Array:
        return run(function(*arguments, **attributes))

    signature = inspect.signature(function)
    arrays = tuple(
        name for name, parameter in signature.parameters.items() if str(parameter.annotation).startswith("Array")
    )
    call.__signature__ = signature.replace(return_annotation="Array")  # type: ignore[attr-defined]
    call.operation = Operation(function.__name__, function, arrays)  # type: ignore[attr-defined]
    return call


def check_array(name: str, array: object) -> None:
    """Refuse what is no NumPy array."""
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"`{name}` must be a NumPy array, is a {type(array).__name__}")


def floats(**arrays: Array | None) -> None:
    """Refuse arrays that are not all of one floating type: float32 or float64."""
    first: tuple[str, Array] | None = None
    for name, array in arrays.items():
        if array is None:
            continue
        check_array(name, array)
        if array.dtype.name not in FLOATING or not array.dtype.isnative:
            raise DtypeError(f"`{name}` has dtype {array.dtype}; float32 or float64 is needed")
        if first is None:
            first = name, array
        elif array.dtype != first[1].dtype:
            raise DtypeError(f"`{name}` has dtype {array.dtype} and `{first[0]}` {first[1].dtype}; one type is needed")


def labels(name: str, array: Array, classes: int, ignored: int | None) -> None:
    """Refuse an array of labels that holds anything but integers from 0 to `classes` - 1 and the ignored one."""
    integers("label", name, array, 0, classes - 1, ignored)


def integers(what: str, name: str, array: Array, least: int, most: int, ignored: int | None = None) -> None:
    """Refuse an array that holds anything but integers from `least` to `most` and the ignored one; `what` each is."""
    check_array(name, array)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"`{name}` has dtype {array.dtype}; an integer type is needed for {what}s")
    outside = (array < least) | (array > most)
    if ignored is not None:
        outside &= array != ignored
    if np.any(outside):
        position = _first_position(outside)
        where = position[0] if len(position) == 1 else position
        raise ArgumentError(f"{what} {array[position]} at position {where} is outside {least} .. {most}")


def check_values(name: str, array: Array, allowed: Array, rule: str) -> None:
    """Refuse an array with a value that is not `allowed`: it must be what `rule` says."""
    if not np.all(allowed):
        position = _first_position(~allowed)
        raise ArgumentError(f"`{name}` must be {rule}, is {array[position]} at {position}")


def _first_position(found: Array) -> tuple[int, ...]:
    """The indices of the first true value."""
    return tuple(int(place) for place in np.argwhere(found)[0])


def shape_of(array: Array | None) -> tuple[int, ...] | None:
    """The shape of an array that may be missing."""
    return None if array is None else array.shape


def run(applied: Applied, backend: str = "compiled") -> Array:
    """The result of an operation, in the floating type of its arrays; `updates` are written."""
    result = _Program.of(applied, backend, ()).call(applied.arrays)["result"]
    for target, update in applied.updates:
        target[...] = run(update, backend)
    return result


def run_gradients(applied: Applied, upstream: Array, wanted: tuple[str, ...], backend: str) -> dict[str, Array]:
    """The gradient towards each wanted operand, where `upstream` is the gradient that arrives at the result.

    An operand that does not influence the result is left out.
    """
    return _Program.of(applied, backend, wanted).call({**applied.arrays, UPSTREAM: upstream})


@dataclass(frozen=True)
class _Signature:
    """All that the code of a call depends on; the equations stand here by their text."""

    texts: tuple[str, ...]
    constants: tuple[tuple[str, int | float], ...]
    extents: tuple[tuple[str, int], ...]
    operands: tuple[tuple[str, tuple[int, ...], str], ...]
    wanted: tuple[str, ...]
    backend: str


@dataclass(frozen=True)
class _Program:
    """A compiled graph, the result or the gradients by operand, and the lock that one call at a time holds."""

    compiled: CompiledGraph
    names: Mapping[str, str]
    lock: Lock = field(default_factory=Lock)

    @staticmethod
    def of(applied: Applied, backend: str, wanted: tuple[str, ...]) -> _Program:
        signature = _Signature(
            tuple(text_of(equation) for equation in applied.system.equations),
            tuple(applied.system.constants.items()),
            tuple(applied.system.extents.items()),
            tuple((name, array.shape, array.dtype.name) for name, array in applied.arrays.items()),
            wanted,
            backend,
        )
        return _programs(signature)

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        needed = {name: arrays[name] for name in self.compiled.required}
        with self.lock:
            results = self.compiled(needed)
        return {wish: results[name] for wish, name in self.names.items()}


@functools.lru_cache(CACHED_PROGRAMS)
def _programs(signature: _Signature) -> _Program:
    """The program of a signature, made on its first call; the least recently used go when there are too many."""
    dtypes = {dtype for _, _, dtype in signature.operands if dtype.startswith("float")}
    graph = Graph(dtypes.pop())
    equations = system(*signature.texts, constants=dict(signature.constants), extents=dict(signature.extents))
    for name, shape, dtype in signature.operands:
        graph.input(name, shape, dtype if dtype.startswith("float") else "int64")
    output = graph.system(equations, {name: name for name, _, _ in signature.operands})
    if not signature.wanted:
        names = {"result": output}
    else:
        upstream = graph.input(UPSTREAM, graph.values[output].shape)
        found = differentiate(graph, output, upstream, signature.wanted)
        names = {name: value for name, value in found.items() if value is not None}
    wanted = tuple(dict.fromkeys(names.values()))
    return _Program(compile_graph(graph, wanted, backend=signature.backend), names)
