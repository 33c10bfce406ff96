"""Outputs that are written past the caches: which, with what instructions, and with the same results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emit.test_against_interpreter import CASES, TARGETS, interpreted, lowered
from pellucid import Equation, ops, vjp
from pellucid.emit import allocation, compile_program, target
from pellucid.emit.compile import Executable
from pellucid.errors import ArgumentError
from pellucid.language.parse import parse
from pellucid.network import Graph, compile_graph
from pellucid.network.program import assemble
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import Program
from pellucid.schedule.plan import Options
from pellucid.schedule.streamed import STREAMED_BYTES, with_streamed
from schedule.cases import Case, case


def with_streams(program: Program) -> Program:
    """The program with streamed outputs, however small."""
    tensors = (replace(tensor, streamed=tensor.role == "output") for tensor in program.tensors)
    return Program(tuple(tensors), program.nests)


def streams(executable: Executable) -> tuple[int, int]:
    """How many stores go past the caches, and how many fences wait for them."""
    text = executable.assembly()
    return text.count("movnt"), text.count("sfence")


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_results_are_the_same(name: str, chosen: str) -> None:
    program, arrays, output = lowered(name, "float32", chosen)
    wanted = interpreted(program, arrays, output)
    executable = compile_program(with_streams(program), target(chosen))
    for threads in (1, 3):
        got = allocation.aligned(output.shape, output.dtype)
        got[...] = -1 if output.dtype == "int64" else np.nan
        executable.call({**arrays, "z": got}, threads)
        np.testing.assert_array_equal(got, wanted)


WIDE = {"x": (3, 4, 5, 32)}
ROWS_APART = {"x": (3, 4, 5, 33)}


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize(
    ("given", "vector_bytes"),  # of the narrowest vectors whose tiles write whole lines; None for none
    [
        (case("z[n,i,j,c] = max(x[n,i,j,c], 0) + b[c]", {**WIDE, "b": (32,)}), 16),
        (case("z[n,i,j,c] = max(x[n,i,j,c], 0)", ROWS_APART), 16),  # one run; its last line is not full
        (case("z[n,i,j,c] = max(x[n,i,j,c], 0) + b[c]", {**ROWS_APART, "b": (33,)}), None),
        (case("z[n,i,j,c] = max(s,t) x[n,i+s,j+t,c]", WIDE, {}, {"s": 2, "t": 2}), 64),
        (case("z[n,i,j,k] = sum(c) x[n,i,j,c] * w[c,k]", {**WIDE, "w": (32, 64)}), 32),
        (case("z[n,i,j,k] = sum(c) x[n,i,j,c] * w[c,k]", {**WIDE, "w": (32, 24)}), None),  # 96 bytes a point
        (case("z[n,i,j] = sum(c) x[n,i,j,c]", WIDE), None),  # numbers of single lanes
    ],
)
def test_whole_lines_are_streamed(given: Case, vector_bytes: int | None, chosen: str) -> None:
    machine = target(chosen).machine
    is_streamed = vector_bytes is not None and machine.vector_bytes >= vector_bytes
    stores, fences = streams(compile_program(with_streams(given.program(machine)), target(chosen)))
    assert (stores > 0, fences > 0) == (is_streamed, is_streamed)
    assert streams(compile_program(given.program(machine), target(chosen))) == (0, 0)


def test_turned_rows_are_streamed() -> None:
    """Squares of points and lanes are written along the points: each row is a line where vectors are lines."""
    given = case("z[n,c,p] = x[n,p,c]", {"x": (2, 64, 48)})
    chosen = target("x86-64-v4") if "x86-64-v4" in TARGETS else None
    if chosen is None:
        pytest.skip("this processor has no vectors of 64 bytes")
    assert streams(compile_program(with_streams(given.program(chosen.machine)), chosen))[0] > 0


def is_streamed(equation: Equation, **arrays: np.ndarray) -> bool:
    (output,) = (tensor for tensor in equation.compile(**arrays).loop_nest.program.tensors if tensor.role == "output")
    return output.streamed


LARGE = STREAMED_BYTES // 4 // 64


def test_large_outputs_are_streamed() -> None:
    relu = Equation("y[n,c] = max(x[n,c], 0)")
    large, small = np.ones((LARGE, 64), np.float32), np.ones((LARGE - 1, 64), np.float32)
    assert is_streamed(relu, x=large)
    assert not is_streamed(relu, x=small)
    assert "y  float32 [32768, 64], past the caches" in str(relu.compile(x=large).loop_nest)
    assert not is_streamed(Equation("y[c] = sum(n) x[n,c]"), x=large)
    np.testing.assert_array_equal(relu(x=-large), 0 * large)


@pytest.mark.parametrize("images", [None, LARGE])
def test_a_network_streams_what_no_pass_reads_again(images: int | None) -> None:
    graph = Graph("float32", images)
    x = graph.input("x", (LARGE, 64), of_images=images is not None)
    graph.input("w", (LARGE, 64))
    a = graph.formula(parse("a[n,c] = x[n,c] * 2"), {"x": x})
    b = graph.formula(parse("b[n,c] = a[n,c] + 1"), {"a": a})
    replaced = graph.formula(parse("r[n,c] = x[n,c] - 1"), {"x": x})
    program = assemble(graph, [a, b], {replaced: "w"}, target().machine).program
    found = {tensor.name: tensor.streamed for tensor in program.tensors if tensor.role == "output"}
    # Image by image `b` reads `a` right behind its being written; `w` is memory of the caller, which begins anywhere.
    assert found == {a: images is None, b: True, "w": False}
    arrays = {"x": np.ones((LARGE, 64), np.float32)}
    for threads in (1, 3):
        got = compile_graph(graph, [a, b], threads=threads)(arrays)
        assert (got[a] == 2).all()
        assert (got[b] == 3).all()


def test_temporaries_are_streamed() -> None:
    graph = Graph("float32")
    x = graph.input("x", (LARGE, 64))
    a = graph.formula(parse("a[n,c] = x[n,c] * 2"), {"x": x})
    b = graph.formula(parse("b[c,d] = sum(n) a[n,c] * a[n,d]"), {"a": a})
    program = assemble(graph, [b], {}, target().machine).program
    assert program.tensor(a).role == "temporary"
    assert program.tensor(a).streamed
    arrays = {"x": np.ones((LARGE, 64), np.float32)}
    for threads in (1, 3):
        assert (compile_graph(graph, [b], threads=threads)(arrays)[b] == 4 * LARGE).all()


def test_a_sum_that_goes_on_is_not_streamed() -> None:
    """Each slab adds to what the one before it wrote."""
    given = case("z[c,k] = sum(n) x[n,c] * g[n,k]", {"x": (64, 2048), "g": (64, 1024)})
    assert given.output.bytes >= STREAMED_BYTES
    for slabs, streamed in ((None, True), ((("n", 32),), False)):
        program = given.program(target().machine, Options(slabs=slabs, chain=64))
        *_, output = (t for t in with_streamed(program.tensors, program.nests) if t.role == "output")
        assert output.streamed == streamed


def test_a_network_refuses_memory_that_begins_elsewhere() -> None:
    graph = Graph("float32")
    y = graph.formula(parse("y[n,c] = x[n,c] * 2"), {"x": graph.input("x", (LARGE, 64))})
    engine = compile_graph(graph, [y]).engine
    shifted = allocation.aligned((LARGE * 64 + 1,), np.float32)[1:].reshape(LARGE, 64)
    with pytest.raises(
        ArgumentError, match=r"^`y` is written past the caches: it must start at a multiple of 64 bytes$"
    ):
        engine.run({"x": np.ones((LARGE, 64), np.float32)}, {y: shifted})


def test_outputs_begin_where_their_program_wants_them() -> None:
    for size in (1, STREAMED_BYTES - 1, STREAMED_BYTES, STREAMED_BYTES + 13):
        array = allocation.empty((size,), np.uint8)
        assert array.shape == (size,)
        assert size < STREAMED_BYTES or array.ctypes.data % CACHE_LINE == 0
    relu = Equation("y[n,c] = max(x[n,c], 0)")
    x = np.ones((LARGE, 64), np.float32)
    y = allocation.empty((LARGE * 64 + 16,), np.float32)[1:][: LARGE * 64].reshape(LARGE, 64)
    with pytest.raises(ArgumentError) as caught:
        relu.compile(x=x).executable.call({"x": x, "y": y})
    assert str(caught.value) == "`y` is written past the caches: it must start at a multiple of 64 bytes"


def test_a_convolution_and_its_gradients_on_large_maps() -> None:
    x, w = np.ones((2, 128, 128, 64), np.float32), np.full((1, 1, 64, 64), 0.5, np.float32)
    y, pullback = vjp(ops.conv2d, x, w)
    assert y.nbytes >= STREAMED_BYTES
    assert (y == 32).all()
    dx, dw = pullback(np.ones_like(y))
    assert (dx == 32).all()
    assert (dw == 2 * 128 * 128).all()
