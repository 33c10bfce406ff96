"""`pellucid.Equation`: one equation of a user, with all that can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.emit.allocation import empty
from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.language.backward import Backward
from pellucid.language.circles import parts_of
from pellucid.language.explain import Explanation, explain
from pellucid.language.gradient import derive
from pellucid.language.latex import to_latex
from pellucid.language.parse import parse_equation
from pellucid.language.parts import Extents, axes_of, extents_of, formulas_of, inputs_of
from pellucid.language.recurrence import Part, Recurrence
from pellucid.language.render import to_text
from pellucid.language.solve import solve
from pellucid.language.syntax import Access, Formula, Reduce, walk
from pellucid.reference import evaluate_parts
from pellucid.schedule.fetching import with_fetches
from pellucid.schedule.lower import Lowered, lower, lower_alone
from pellucid.schedule.machine import Machine
from pellucid.schedule.merging import with_merged_loops
from pellucid.schedule.nest import Nest, Program, Tensor
from pellucid.schedule.plan import Options, Plan
from pellucid.schedule.recurrent import lower_recurrence, recurrence_options
from pellucid.schedule.show import show
from pellucid.schedule.streamed import with_streamed

__all__ = ["Equation", "Kernel", "LoopNest"]

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class LoopNest:
    """What the scheduler made of an equation for given extents; `str()` prints it."""

    program: Program
    plans: tuple[Plan, ...]

    def __str__(self) -> str:
        return show(self.program)


class Kernel:
    """An equation compiled for given shapes and element type."""

    def __init__(self, formula: Formula, loop_nest: LoopNest, shape: tuple[int, ...], dtype: str) -> None:
        from pellucid.emit import compile_program

        self.loop_nest, self.shape, self.dtype = loop_nest, shape, dtype
        self._output = formula.output.tensor
        self.executable = compile_program(loop_nest.program)

    def __call__(self, arrays: Arrays, threads: int = 1) -> Array:
        """The output for checked arrays of exactly the compiled shapes and types."""
        result = empty(self.shape, self.dtype)
        self.executable.call({**arrays, self._output: result}, threads)
        return result


class Equation:
    """One equation in index notation: `Equation("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]")`.

    `source` is the text (grammar: docs/language.md). It may have several lines: equations that read what others make
    (a recurrence is one that reads itself one step before), the last of which gives the result, and the states before
    a recurrence's first step. Keyword arguments bind names to integers (strides, paddings) or floats (slopes); names
    left free in value position are scalar inputs. EquationError where the text is not in the language.
    """

    def __init__(self, source: str | Formula | tuple[Formula, ...], **constants: float) -> None:
        if not isinstance(source, str | Formula | tuple):  # pyright: ignore[reportUnnecessaryIsInstance] - a user may
            raise ArgumentError(f"`source` (={source!r}) must be the text of an equation")
        formulas = (source,) if isinstance(source, Formula) else source
        self.parts: tuple[Part, ...] = parts_of(parse_equation(formulas) if isinstance(formulas, str) else formulas)
        last = self.parts[-1]
        # The formula of the result.
        self.formula = last.formulas[-1] if isinstance(last, Recurrence) else last
        self.constants = {name: _plain_number(name, value) for name, value in constants.items()}
        # Of a gradient: which array's shape its output has, and which axes are copies of axes of the first equation.
        self._shape_sources: dict[str, str] = {}
        self._copies: dict[str, str] = {}
        self._upstream: str | None = None
        self._forward_axes: frozenset[str] = frozenset()
        self._kernels: dict[object, Kernel] = {}
        self._check_constants()

    def _check_constants(self) -> None:
        bodies = (formula.body for formula in formulas_of(self.parts))
        tensors = {node.tensor for body in bodies for node in walk(body) if isinstance(node, Access)}
        own = axes_of(self.parts, self.constants)
        for name, value in self.constants.items():
            if name in own or name in tensors:
                raise ArgumentError(f"constant `{name}` (={value!r}) is the name of an index or array of the equation")

    # ------------------------------------------------------------ what it says
    def __str__(self) -> str:
        return "\n".join(map(to_text, formulas_of(self.parts)))

    def __repr__(self) -> str:
        bound = "".join(f", {name}={value}" for name, value in self.constants.items())
        return f"Equation({str(self)!r}{bound})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Equation):
            return NotImplemented
        return (self.parts, self.constants) == (other.parts, other.constants)

    def __hash__(self) -> int:
        return hash((self.parts, tuple(sorted(self.constants.items()))))

    def latex(self) -> str:
        """The equation as LaTeX; of several lines, one behind the other with `\\\\` between."""
        return " \\\\\n".join(map(to_latex, formulas_of(self.parts)))

    @property
    def is_single(self) -> bool:
        """Whether it is one formula, neither a recurrence nor with equations before it."""
        return self.parts == (self.formula,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The arrays and scalars that the equation reads, in order of appearance."""
        return inputs_of(self.parts, self.constants)

    # ------------------------------------------------------------ what follows from it
    def gradient(self, wrt: str, upstream: str = "g") -> Equation:
        """The gradient of a loss with respect to input `wrt`, as an equation in the gradient `upstream` with respect
        to this equation's output. When it is evaluated, `wrt` may be given for its shape alone.

        The gradient of a recurrence is a recurrence that runs the other way, and the equation of `wrt` behind it: all
        of it is printed, computed and explained.

        ArgumentError where `wrt` is not an input, `upstream` is the name of one, or the equation has several parts.
        """
        if wrt not in self.inputs:
            raise ArgumentError(f"`wrt` (={wrt!r}) must be one of the equation's inputs: {', '.join(self.inputs)}")
        if upstream in self.inputs:
            raise ArgumentError(f"`upstream` (={upstream!r}) is the name of one of the equation's inputs")
        if not self.is_single:
            return self._gradient_of_recurrence(wrt, upstream)
        derived = derive(self.formula, wrt, upstream, tuple(self.constants))
        result = Equation(derived.formula, **self.constants)
        result._shape_sources = {wrt: derived.formula.output.tensor}
        result._copies = dict(derived.copies)
        result._upstream = derived.upstream
        result._forward_axes = self._forward_axes | axes_of(self.parts, self.constants)
        return result

    def _gradient_of_recurrence(self, wrt: str, upstream: str) -> Equation:
        recurrence = self.parts[-1]
        if len(self.parts) > 1 or not isinstance(recurrence, Recurrence):
            raise ArgumentError(f"the gradient of {len(self.parts)} equations in order is derived one by one, not here")
        derived = Backward(recurrence, {self.formula.output.tensor: upstream}, tuple(self.constants))
        towards = derived.towards(wrt)
        if towards is None:
            raise ArgumentError(f"`wrt` (={wrt!r}) has no influence that has a derivative")
        result = Equation((*formulas_of((recurrence, derived.recurrence)), towards), **self.constants)
        result._copies = dict(derived.copies)
        result._upstream = upstream
        result._forward_axes = axes_of(self.parts, self.constants)
        return result

    def solved(self, extents: Mapping[str, int] | None = None, **arrays: ArrayLike) -> tuple[Equation, ...]:
        """The equation with its conditions solved for these arrays' shapes (a gradient, per residue of the stride):
        equations that write disjoint cells, every index affine, all constants bound."""
        if not self.is_single:
            raise ArgumentError("a recurrence, or several equations, are not solved: only a single equation is")
        _, found = self._extents(extents, arrays)
        return tuple(Equation(piece.formula) for piece in solve(self.formula, self.constants, found.last))

    def explain(
        self, index: tuple[int, ...], base: int = 0, extents: Mapping[str, int] | None = None, **arrays: ArrayLike
    ) -> Explanation:
        """Where the output's value at `index` comes from: its terms, their factors and values, their sum.

        With `base` 1 indices are counted from 1, in `index` and in what is printed.
        """
        given, found = self._extents(extents, arrays)
        formula, last = self.formula, self.parts[-1]
        if isinstance(last, Recurrence):
            place = last.tensors[formula.output.tensor]
            step = index[place] - base if len(index) > place else -1
            formula = last.at_step(formula, step, found.last[last.axis])
        if not self.is_single:
            given = {**given, **evaluate_parts(self.parts, self.constants, found, given)}
        return explain(formula, index, self.constants, found.last, given, base, upstream=self._upstream)

    # ------------------------------------------------------------ evaluation
    def reference(self, extents: Mapping[str, int] | None = None, **arrays: ArrayLike) -> Array:
        """The literal meaning in float64 (int64 for argmax), without scheduler or compiler."""
        given, found = self._extents(extents, arrays)
        return evaluate_parts(self.parts, self.constants, found, given)[self.formula.output.tensor]

    def __call__(self, extents: Mapping[str, int] | None = None, **arrays: ArrayLike) -> Array:
        """The output, by compiled code, in the element type of the arrays (float32 or float64).

        Extents are inferred from the arrays; `extents` gives those that they leave open. Arrays that are not
        contiguous are copied. ShapeError, DtypeError, ArgumentError where arrays do not fit.
        """
        kernel, given = self._kernel(extents, arrays)
        return kernel(given)

    def compile(self, extents: Mapping[str, int] | None = None, **arrays: ArrayLike) -> Kernel:
        """The kernel for arrays of these shapes and types; calling the equation uses the same one."""
        return self._kernel(extents, arrays)[0]

    def loop_nest(
        self, extents: Mapping[str, int] | None = None, options: Options | None = None, **arrays: ArrayLike
    ) -> LoopNest:
        """What the scheduler makes of the equation for arrays of these shapes and types on this processor."""
        given, found = self._extents(extents, arrays)
        return self._schedule(given, found, options)

    # ------------------------------------------------------------ inside
    def _kernel(self, extents: Mapping[str, int] | None, arrays: Mapping[str, ArrayLike]) -> tuple[Kernel, Arrays]:
        given, found = self._extents(extents, arrays)
        given = {name: given[name] for name in self.inputs}
        shapes = tuple((name, array.shape, array.dtype.str) for name, array in given.items())
        key = (shapes, tuple(tuple(own.items()) for own in found.parts))
        if key not in self._kernels:
            nest = self._schedule(given, found, None)
            output = nest.program.tensor(self.formula.output.tensor)
            self._kernels[key] = Kernel(self.formula, nest, output.shape, output.dtype)
        return self._kernels[key], given

    def _schedule(self, given: Arrays, found: Extents, options: Options | None) -> LoopNest:
        from pellucid.emit import target

        # Integers alone give float64: float32 holds them only up to 2**24.
        every = "float64" if given else "float32"
        dtype = next((str(array.dtype) for array in given.values() if array.dtype.kind == "f"), every)
        tensors = {name: Tensor(name, str(given[name].dtype), given[name].shape, "input") for name in self.inputs}
        made = {
            formula.output.tensor: Tensor(
                formula.output.tensor,
                "int64" if isinstance(formula.body, Reduce) and formula.body.op.startswith("arg") else dtype,
                found.shapes[formula.output.tensor],
                "output" if formula.output.tensor == self.formula.output.tensor else "temporary",
            )
            for formula in formulas_of(self.parts)
        }
        known = {**tensors, **made}
        machine = target().machine
        nests, new, plans = list[Nest](), list[Tensor](), list[Plan]()
        for number, (part, own) in enumerate(zip(self.parts, found.parts, strict=True)):
            lowered = self._lowered(part, own, known, f"equation{number or ''}", machine, options)
            nests += lowered.nests
            new += lowered.tensors
            plans += lowered.plans
        streamed = with_streamed((*known.values(), *new), nests)
        return LoopNest(Program(streamed, with_fetches(map(with_merged_loops, nests), streamed, machine)), tuple(plans))

    def _lowered(
        self,
        part: Part,
        extents: Mapping[str, int],
        tensors: Mapping[str, Tensor],
        name: str,
        machine: Machine,
        options: Options | None,
    ) -> Lowered:
        if isinstance(part, Recurrence):
            own = options or recurrence_options(part, extents)
            return lower_recurrence(part, self.constants, extents, tensors, machine, name, own)
        run = partial(lower, part, self.constants, extents, tensors, machine, name)
        return lower_alone(run, part, tensors) if options is None else run(options)

    def _extents(self, extents: Mapping[str, int] | None, arrays: Mapping[str, ArrayLike]) -> tuple[Arrays, Extents]:
        """The arrays, checked and of one floating type, and the extents of every part."""
        accepted = {*self.inputs, *self._shape_sources}
        for name in arrays:
            if name not in accepted:
                raise ArgumentError(f"`{name}` is not an input of the equation; it has {', '.join(self.inputs)}")
        missing = [name for name in self.inputs if name not in arrays]
        if missing:
            raise ArgumentError(f"the equation needs {', '.join(missing)}")
        given = _uniform({name: np.asarray(value) for name, value in arrays.items()}, self._indexing())
        shapes = {name: array.shape for name, array in given.items()}
        for source, target in self._shape_sources.items():
            if source in shapes:
                shapes[target] = shapes[source]
        wanted = dict(extents or {})
        # A gradient takes what its forward equation takes, though it may have lost some of those indices.
        known = self._forward_axes | axes_of(self.parts, self.constants)
        for name in wanted:
            if name not in known:
                raise ArgumentError(f"`extents` names `{name}`, which is no index of the equation {self}")
        wanted |= {copy: wanted[axis] for copy, axis in self._copies.items() if axis in wanted}
        return given, extents_of(self.parts, self.constants, shapes, wanted)

    def _indexing(self) -> set[str]:
        """The arrays that stand inside an index of another."""
        return {
            inner.tensor
            for formula in formulas_of(self.parts)
            for node in walk(formula.body)
            if isinstance(node, Access)
            for index in node.indices
            for inner in walk(index)
            if isinstance(inner, Access)
        }


def _plain_number(name: str, value: object) -> int | float:
    """A constant as Python's own number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"constant `{name}` (={value!r}) must be an integer or a float")
    return int(value) if isinstance(value, int | np.integer) else float(value)


def _uniform(arrays: Mapping[str, Array], indexing: set[str]) -> dict[str, Array]:
    """Contiguous arrays: index arrays int64, all others of the one floating type among them."""
    floating = {
        name: array.dtype
        for name, array in arrays.items()
        if array.dtype.kind == "f" and array.ndim and name not in indexing
    }
    for name, dtype in floating.items():
        if dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise DtypeError(f"`{name}` has dtype {dtype}; float32 or float64 is needed")
    if len(set(floating.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in floating.items())
        raise DtypeError(f"the arrays have different floating types: {listed}")
    common = next(iter(floating.values()), np.dtype("float32" if not arrays else "float64"))
    result = dict[str, Array]()
    for name, array in arrays.items():
        if name in indexing and array.dtype.kind not in "iu":
            raise DtypeError(f"`{name}` has dtype {array.dtype}; an array used as an index must be of integers")
        if array.dtype.kind not in "fiub":
            raise DtypeError(f"`{name}` has dtype {array.dtype}; numbers are needed")
        if 0 in array.shape:
            raise ShapeError(f"`{name}` is empty: its shape is {array.shape}")
        integral = array.dtype.kind in "iu" and (name in indexing or array.ndim > 0)
        result[name] = np.ascontiguousarray(array, "int64" if integral else common).reshape(array.shape)
    return result
