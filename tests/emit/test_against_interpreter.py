"""What the scheduler makes of equations, compiled and interpreted: whole numbers, so that both must agree exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid.emit import compile_program, target
from pellucid.emit.targets import missing_features
from pellucid.language import infer_extents, output_shape, parse
from pellucid.language.syntax import Reduce
from pellucid.schedule.interpret import interpret
from pellucid.schedule.lower import lower
from pellucid.schedule.nest import Program, Tensor

TARGETS = tuple(
    name for name in ("native", "x86-64-v2", "x86-64-v3", "x86-64-v4") if not missing_features(target(name))
)

CONVOLUTION = "z[n,i,j,k] = max(sum(s,t,c) x[n, i*S+s*D-P, j*S+t*D-P, c] * w[s,t,c,k] + b[k], 0)"
CASES: dict[str, tuple[str, dict[str, int], dict[str, tuple[int, ...]], dict[str, int]]] = {
    "padded": (CONVOLUTION, {"S": 1, "P": 1, "D": 1}, {"x": (2, 6, 7, 3), "w": (3, 3, 3, 10), "b": (10,)}, {}),
    "strided": (CONVOLUTION, {"S": 2, "P": 2, "D": 1}, {"x": (1, 7, 8, 5), "w": (3, 3, 5, 4), "b": (4,)}, {}),
    "dilated": (CONVOLUTION, {"S": 1, "P": 2, "D": 2}, {"x": (1, 6, 5, 2), "w": (3, 2, 2, 17), "b": (17,)}, {}),
    "channels first": (
        "z[n,k,i,j] = sum(c,s,t) x[n,c,i+s-1,j+t-1] * w[k,c,s,t]", {}, {"x": (1, 3, 6, 9), "w": (5, 3, 3, 3)}, {},
    ),
    "depthwise": ("z[n,i,j,c] = sum(s,t) x[n,i+s-1,j+t-1,c] * w[s,t,c]", {}, {"x": (1, 5, 6, 11), "w": (3, 3, 11)}, {}),
    "weights": (
        "z[s,t,c,k] = sum(n,i,j) g[n,i,j,k] * x[n,i+s-1,j+t-1,c]", {}, {"g": (2, 5, 6, 9), "x": (2, 5, 6, 4)},
        {"s": 3, "t": 3},
    ),
    "largest": ("z[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]", {}, {"x": (1, 7, 8, 9)}, {"s": 3, "t": 3}),
    "winner": ("z[n,i,j,c] = argmax(s,t) x[n,2*i+s,2*j+t,c]", {}, {"x": (1, 6, 8, 5)}, {"s": 2, "t": 2}),
    "dense": ("z[n,o] = sum(q) x[n,q] * w[o,q]", {}, {"x": (7, 30), "w": (13, 30)}, {}),
    "transposed": ("z[a,c,b] = x[b,a,c]", {}, {"x": (9, 3, 10)}, {}),
    "statistics": ("z[c] = sum(n,i,j) x[n,i,j,c]", {}, {"x": (2, 5, 4, 9)}, {}),
    "pointwise": (
        "z[n,c] = where(x[n,c] > 0, x[n,c] * a[c], x[n,c] + r[n])", {}, {"x": (4, 19), "a": (19,), "r": (4,)}, {},
    ),
}  # fmt: skip


def lowered(case: str, dtype: str, chosen: str) -> tuple[Program, dict[str, NDArray[Any]], Tensor]:
    """The program of a case for a target, its arrays, its output."""
    text, constants, shapes, given = CASES[case]
    formula = parse(text)
    extents = infer_extents(formula, constants, shapes, given)
    winner = isinstance(formula.body, Reduce) and formula.body.op.startswith("arg")
    output = Tensor("z", "int64" if winner else dtype, output_shape(formula, constants, extents), "output")
    tensors = {name: Tensor(name, dtype, shape, "input") for name, shape in shapes.items()}
    tensors["z"] = output
    made = lower(formula, constants, extents, tensors, target(chosen).machine, "test")
    rng = np.random.default_rng(11)
    arrays = {name: rng.integers(-3, 4, shape).astype(dtype) for name, shape in shapes.items()}
    return Program((*tensors.values(), *made.tensors), made.nests), arrays, output


def empty(output: Tensor) -> NDArray[Any]:
    return np.full(output.shape, -1 if output.dtype == "int64" else np.nan, output.dtype)


def interpreted(program: Program, arrays: dict[str, NDArray[Any]], output: Tensor) -> NDArray[Any]:
    result = empty(output)
    flat = {name: array.reshape(-1) for name, array in arrays.items()}
    interpret(program, {**flat, "z": result.reshape(-1)}, threads=2)
    return result


@pytest.mark.parametrize(("chosen", "dtype"), [(TARGETS[0], "float64"), *((name, "float32") for name in TARGETS)])
@pytest.mark.parametrize("case", sorted(CASES))
def test_compiled_and_interpreted(case: str, dtype: str, chosen: str) -> None:
    program, arrays, output = lowered(case, dtype, chosen)
    wanted = interpreted(program, arrays, output)
    executable = compile_program(program, target(chosen))
    for threads in (1, 3):
        got = empty(output)
        executable.call({**arrays, "z": got}, threads)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"padded", "dilated"}))
def test_checked_mode_agrees(case: str) -> None:
    """Every access is a call there: the two cases with the most code say no more than the others."""
    program, arrays, output = lowered(case, "float32", "native")
    got = empty(output)
    compile_program(program, checked=True).call({**arrays, "z": got}, threads=2)
    np.testing.assert_array_equal(got, interpreted(program, arrays, output))
