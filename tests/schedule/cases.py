"""Equations brought to loop nests for machines of every kind, and their results on small integers.

On small integers every sum is exact in float32 too, so that interpreter, compiled code and reference must agree to
the last bit, in whatever order they add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import Target, compile_program
from pellucid.language.extents import infer_extents, inputs, output_shape, scalars
from pellucid.language.gradient import derive
from pellucid.language.parse import parse
from pellucid.language.syntax import Formula, Reduce
from pellucid.reference import evaluate
from pellucid.schedule.bounds import prove
from pellucid.schedule.interpret import interpret
from pellucid.schedule.lower import Lowered, lower, lower_alone
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Program, Tensor
from pellucid.schedule.plan import Options

Array = NDArray[Any]

AVX512 = Machine("avx512", 64, 32, 2.0, 2.0, 4, 32 << 10, 1 << 20)
AVX2 = Machine("avx2", 32, 16, 2.0, 2.0, 4, 32 << 10, 512 << 10)
SSE2 = Machine("sse2", 16, 16, 2.0, 2.0, 4, 32 << 10, 256 << 10, has_fma=False)
NEON = Machine("neon", 16, 32, 2.0, 2.0, 4, 64 << 10, 512 << 10)
# Two lanes of float32 and six registers; caches so small that slabs, panels and blocks occur in small equations.
TOY = Machine("toy", 8, 6, 1.0, 1.0, 3, 512, 2048)
MACHINES = (AVX512, AVX2, SSE2, NEON, TOY)


def with_tiny_caches(machine: Machine) -> Machine:
    """The machine with caches of 512 and 2048 bytes."""
    return replace(machine, name=f"{machine.name}-tiny", l1=512, l2=2048)


def with_second_cache(machine: Machine, size: int) -> Machine:
    """So small a one that arrays are too large for it whose walk takes no time."""
    return replace(machine, l1=1024, l2=size)


@dataclass(frozen=True)
class Case:
    """A formula with everything that fixes its loop nest but the machine. `shapes` has every input, and the output of
    a gradient; `integers` are the inputs that stand in an index, with the number of values they may have."""

    formula: Formula
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, int | float] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    integers: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "float32"

    @cached_property
    def extents(self) -> dict[str, int]:
        """The extent of every axis."""
        return infer_extents(self.formula, self.constants, self.shapes, self.given)

    @cached_property
    def output(self) -> Tensor:
        """The tensor of the result."""
        winner = isinstance(self.formula.body, Reduce) and self.formula.body.op.startswith("arg")
        name = self.formula.output.tensor
        shape = self.shapes.get(name) or output_shape(self.formula, self.constants, self.extents)
        return Tensor(name, "int64" if winner else self.dtype, shape, "output")

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The caller's tensors, inputs first."""
        names = (*inputs(self.formula), *scalars(self.formula, self.constants))
        return (
            *(Tensor(n, "int64" if n in self.integers else self.dtype, self.shapes[n], "input") for n in names),
            self.output,
        )

    def lowered(self, machine: Machine, options: Options | None = None) -> Lowered:
        """What the scheduler makes of it."""
        known = {tensor.name: tensor for tensor in self.tensors}
        return lower(self.formula, self.constants, self.extents, known, machine, "nest", options)

    def program(self, machine: Machine, options: Options | None = None) -> Program:
        """The same as a program over the caller's tensors."""
        lowered = self.lowered(machine, options)
        return Program((*self.tensors, *lowered.tensors), lowered.nests)

    def program_alone(self, machine: Machine) -> Program:
        """The same as an equation that is called for itself becomes one."""
        known = {tensor.name: tensor for tensor in self.tensors}
        lowered = lower_alone(partial(self.lowered, machine), self.formula, known)
        return Program((*self.tensors, *lowered.tensors), lowered.nests)

    def arrays(self, seed: int = 0, low: int = -3, high: int = 4) -> dict[str, Array]:
        """Small integers for every input."""
        generator = np.random.default_rng(seed)
        return {
            tensor.name: generator.integers(0, self.integers[tensor.name], tensor.shape)
            if tensor.name in self.integers
            else generator.integers(low, high, tensor.shape).astype(tensor.dtype)
            for tensor in self.tensors[:-1]
        }

    def expected(self, arrays: Mapping[str, Array]) -> Array:
        """What the reference makes of the arrays."""
        return evaluate(self.formula, self.constants, self.extents, arrays)

    def gradient(self, wrt: str) -> Case:
        """The gradient towards an input, as a case of its own."""
        derived = derive(self.formula, wrt, "g", tuple(self.constants))
        shapes = {**self.shapes, "g": self.output.shape, derived.formula.output.tensor: self.shapes[wrt]}
        copied = {copy: self.extents[axis] for copy, axis in derived.copies.items()}
        return Case(derived.formula, shapes, self.constants, {**self.given, **copied}, self.integers, self.dtype)


def case(
    text: str,
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, int | float] | None = None,
    extents: Mapping[str, int] | None = None,
    integers: Mapping[str, int] | None = None,
    dtype: str = "float32",
) -> Case:
    """The case of an equation's text."""
    return Case(parse(text), shapes, constants or {}, extents or {}, integers or {}, dtype)


def interpreted(program: Program, arrays: Mapping[str, Array], threads: int = 1) -> Array:
    """The output of a program by the interpreter; what nobody wrote is NaN or a number outside every array."""
    output = next(tensor for tensor in program.tensors if tensor.role == "output")
    result = np.full(output.size, -(2**62) if output.dtype == "int64" else np.nan, output.dtype)
    interpret(program, {**{name: array.ravel() for name, array in arrays.items()}, output.name: result}, threads)
    return result.reshape(output.shape)


def compiled(program: Program, arrays: Mapping[str, Array], target: Target | None = None, threads: int = 1) -> Array:
    """The output of a program by compiled code, proved first."""
    output = next(tensor for tensor in program.tensors if tensor.role == "output")
    result = np.full(output.shape, -(2**62) if output.dtype == "int64" else np.nan, output.dtype)
    compile_program(program, target).call({**arrays, output.name: result}, threads)
    return result


def check_nest(given: Case, machine: Machine, threads: int = 1, options: Options | None = None, seed: int = 0) -> None:
    """Lower, prove, interpret; the result equals the reference exactly. The program of an equation for itself, too."""
    programs = [given.program(machine, options)]
    alone = given.program_alone(machine)
    programs += [] if options or alone == programs[0] else [alone]
    arrays = given.arrays(seed)
    expected = given.expected(arrays)
    for program in programs:
        prove(program)
        np.testing.assert_array_equal(interpreted(program, arrays, threads), expected, strict=False)


def check_code(given: Case, target: Target, threads: int = 1, options: Options | None = None, seed: int = 0) -> None:
    """Lower, compile, run; the result equals the reference exactly."""
    program = given.program(target.machine, options)
    arrays = given.arrays(seed)
    np.testing.assert_array_equal(compiled(program, arrays, target, threads), given.expected(arrays), strict=False)


# One equation of each kind, on shapes with borders, tails and extents of 1; exact on small integers.
EQUATIONS: dict[str, Case] = {
    "conv": case(
        "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k] + b[k]",
        {"x": (2, 5, 6, 3), "w": (3, 3, 3, 5), "b": (5,)}, {"S": 1, "P": 1},
    ),
    "conv stride 2": case(
        "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k]",
        {"x": (1, 8, 7, 4), "w": (3, 2, 4, 6)}, {"S": 2, "P": 1},
    ),
    "conv dilated": case(
        "z[n,i,j,k] = sum(s,t,c) x[n, i+s*2-2, j+t*2-2, c] * w[s,t,c,k]",
        {"x": (1, 6, 7, 3), "w": (3, 3, 3, 9)},
    ),
    "conv turned": case(
        "z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[2-s,2-t,c,k]", {"x": (1, 5, 6, 2), "w": (3, 3, 2, 7)}
    ),
    "conv 1x1": case("z[n,i,j,k] = sum(c) x[n,i,j,c] * w[c,k]", {"x": (2, 3, 4, 7), "w": (7, 10)}),
    "conv grouped": case(
        "z[n,i,j,u*2+k] = sum(s,t,c) x[n,i+s-1,j+t-1,u*3+c] * w[s,t,c,u*2+k]",
        {"x": (1, 5, 4, 9), "w": (3, 3, 3, 6)}, {}, {"u": 3, "k": 2, "i": 5, "j": 4},
    ),
    "conv depthwise": case(
        "z[n,i,j,u] = sum(s,t) x[n,i+s-1,j+t-1,u] * w[s,t,u]", {"x": (2, 5, 4, 11), "w": (3, 3, 11)}
    ),
    "conv 1-D": case("z[n,i,k] = sum(s,c) x[n,i+s-1,c] * w[s,c,k]", {"x": (2, 9, 5), "w": (3, 5, 7)}),
    "conv 3-D": case(
        "z[n,h,i,j,k] = sum(r,s,t,c) x[n,h+r,i+s,j+t,c] * w[r,s,t,c,k]", {"x": (1, 4, 4, 5, 2), "w": (2, 3, 2, 2, 5)}
    ),
    "conv NCHW": case(
        "z[n,k,i,j] = sum(c,s,t) x[n,c,i+s-1,j+t-1] * w[k,c,s,t]", {"x": (2, 3, 5, 8), "w": (4, 3, 3, 3)}
    ),
    "conv transposed": case(
        "y[n,p,q,k] = sum(i,j,s,t,c : i*2+s-1 == p, j*2+t-1 == q) x[n,i,j,c] * w[s,t,k,c]",
        {"x": (1, 3, 4, 3), "w": (3, 3, 5, 3)}, {}, {"p": 5, "q": 7},
    ),
    "locally connected": case(
        "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[i,j,s,t,c,k]", {"x": (3, 5, 4, 3), "w": (4, 3, 2, 2, 3, 5)}
    ),
    "dense": case("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]", {"x": (7, 13), "w": (13, 9), "b": (9,)}),
    "products along rows": case("q[a,b] = sum(d) x[a,d] * y[b,d]", {"x": (7, 12), "y": (11, 12)}),
    "products along columns": case("q[a,b] = sum(d) x[d,a] * y[d,b]", {"x": (12, 7), "y": (12, 11)}),
    "every second row": case(
        "q[a,b] = sum(d) x[2*a+1,d] * y[d,3*b]", {"x": (10, 9), "y": (9, 22)}, {}, {"a": 5, "b": 8}
    ),
    "three factors": case("z[a,b] = sum(d) x[a,d] * y[d,b] * v[d]", {"x": (4, 9), "y": (9, 6), "v": (9,)}),
    "outer product": case("z[a,b] = x[a] * y[b]", {"x": (5,), "y": (13,)}),
    "dot product": case("s = sum(a,b) x[a,b] * y[a,b]", {"x": (5, 17), "y": (5, 17)}),
    "max pool": case("p[n,i,j,c] = max(s,t) x[n,2*i+s,2*j+t,c]", {"x": (2, 4, 6, 5)}, {}, {"s": 2, "t": 2}),
    "max pool overlapping": case(
        "p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]", {"x": (1, 7, 6, 9)}, {}, {"s": 3, "t": 3}
    ),
    "max pool, winners": case(
        "p[n,i,j,c] = argmax(s,t) x[n,2*i+s-1,2*j+t-1,c]", {"x": (1, 7, 6, 9)}, {}, {"s": 3, "t": 3}
    ),
    "max pool NCHW": case("p[n,c,i,j] = max(s,t) x[n,c,i+s-1,j+t-1]", {"x": (1, 3, 5, 9)}, {}, {"s": 3, "t": 3}),
    "min": case("m[n] = min(i,c) x[n,i,c]", {"x": (3, 4, 11)}),
    "average pool": case(
        "p[n,i,j,c] = sum(s,t) x[n,2*i+s-1,2*j+t-1,c] / 4", {"x": (2, 6, 6, 7)}, {}, {"s": 2, "t": 2}
    ),
    "adaptive pool": case(
        "p[n,i,c] = sum(y : (i*N)//M <= y, y < ((i+1)*N+M-1)//M) x[n,y,c]",
        {"x": (2, 7, 5)}, {"N": 7, "M": 3}, {"i": 3, "y": 7},
    ),
    "mean": case("m[c] = sum(n,i,j) x[n,i,j,c] / 32", {"x": (2, 4, 4, 11)}),
    "mean of rows": case("m[n] = sum(i,c) x[n,i,c] / 64", {"x": (3, 4, 16)}),
    "variance": case("v[c] = sum(n,i) (x[n,i,c]-m[c])**2", {"x": (2, 5, 13), "m": (13,)}),
    "normalised": case(
        "y[n,i,c] = (x[n,i,c]-m[c]) * a[c] + b[c]", {"x": (2, 3, 9), "m": (9,), "a": (9,), "b": (9,)}
    ),
    "staged": case("y[n,k] = x[n,k] - max(j) x[n,j] + sum(j) x[n,j] * 2", {"x": (4, 11)}),
    "centred": case("s = sum(n,i) (x[n,i] - max(j) x[n,j])**2", {"x": (3, 7)}),
    "relu with slope": case("y[n,k] = where(x[n,k] > 0, x[n,k], a*x[n,k])", {"x": (5, 9), "a": ()}),
    "neighbours": case("y[i] = x[i-1] + 2*x[i+1]", {"x": (23,)}, {}, {"i": 23}),
    "maxout": case("y[n,c] = max(k) x[n,c*4+k]", {"x": (5, 24)}, {}, {"c": 6, "k": 4}),
    "gather": case("e[n,c] = v[t[n],c]", {"v": (6, 5), "t": (9,)}, {}, {}, {"t": 6}),
    "picked": case("l[n] = 0 - x[n,t[n]]", {"x": (6, 5), "t": (6,)}, {}, {}, {"t": 5}),
    "upsampled": case("y[n,i,j,c] = x[n,i//2,j//2,c]", {"x": (1, 3, 4, 5)}),
    "depth to space": case(
        "y[n,i,j,c] = x[n,i//2,j//2,(i%2*2+j%2)*3+c]", {"x": (1, 3, 4, 12)}, {}, {"c": 3, "i": 6, "j": 8}
    ),
    "transposed": case("y[j,i] = x[i,j]", {"x": (19, 22)}),
    "permuted": case("y[n,c,i,j] = x[n,i,j,c]", {"x": (2, 3, 4, 9)}),
    "one cell": case("y[i,j] = x[i,j] * 3", {"x": (1, 1)}),
    "positions": case("y[i,j] = x[i,j] * (2*i + j) + [i == j]", {"x": (5, 9)}),
    "triangle": case("y[i,k] = sum(j : j <= i) a[i,j] * b[j,k]", {"a": (6, 6), "b": (6, 9)}),
    "local response": case("y[n,c] = sum(d) x[n,c+d-2]**2", {"x": (3, 9)}, {}, {"d": 5, "c": 9}),
    "every axis of extent 1": case(
        "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]", {"x": (1, 1, 1, 1), "w": (1, 1, 1, 1)}
    ),
    "kernel larger than input": case(
        "z[n,i,j,k] = sum(s,t,c) x[n,i+s-2,j+t-2,c] * w[s,t,c,k]", {"x": (2, 2, 1, 3), "w": (5, 5, 3, 4)}
    ),
    "stride larger than kernel": case(
        "z[n,i,j,k] = sum(s,t,c) x[n,3*i+s,3*j+t,c] * w[s,t,c,k]", {"x": (1, 8, 7, 2), "w": (2, 1, 2, 5)}
    ),
}  # fmt: skip


def gradients(given: Case) -> dict[str, Case]:
    """The gradients towards every floating input."""
    if given.output.dtype == "int64":
        return {}
    return {f"d{name}": given.gradient(name) for name in given.shapes if name not in given.integers}
