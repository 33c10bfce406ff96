"""Any equation on any machine: lowered, proved in bounds, interpreted; the result is the reference's, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.schedule.bounds import prove
from pellucid.schedule.machine import Machine
from schedule.cases import (
    AVX2,
    AVX512,
    EQUATIONS,
    MACHINES,
    TOY,
    Case,
    case,
    check_nest,
    gradients,
    interpreted,
    with_tiny_caches,
)
from schedule.drawn import convolutions, equations

EVERY_MACHINE = (*MACHINES, *(with_tiny_caches(machine) for machine in MACHINES if machine is not TOY))
GRADIENTS = {f"{name}, {wrt}": found for name, given in EQUATIONS.items() for wrt, found in gradients(given).items()}
a_machine = st.sampled_from(EVERY_MACHINE)
a_number_of_threads = st.integers(1, 3)


@pytest.mark.parametrize("name", EQUATIONS)
def test_every_equation_on_every_machine(name: str) -> None:
    for number, machine in enumerate(EVERY_MACHINE):
        check_nest(EQUATIONS[name], machine, threads=1 + number % 3)


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("machine", [TOY, with_tiny_caches(AVX2)], ids=lambda machine: machine.name)
def test_every_gradient(name: str, machine: Machine) -> None:
    check_nest(GRADIENTS[name], machine, threads=2)


@given(convolutions(), a_machine, a_number_of_threads)
@settings(max_examples=60, deadline=None)
def test_drawn_convolutions_and_gradients(drawn: Case, machine: Machine, threads: int) -> None:
    check_nest(drawn, machine, threads)


def test_a_product_of_one_cell_beside_others() -> None:
    """One residue of the gradient has a single output, and so no loop around its tile."""
    given = case(
        "z[n,i,j,k] = sum(s,t,c) x[n,i+D*s-P,j+D*t-P,c] * w[s,t,c,k]",
        {"x": (1, 3, 3, 1), "w": (3, 3, 1, 3)},
        {"P": 1, "D": 2},
    )
    for machine in EVERY_MACHINE:
        check_nest(given.gradient("x"), machine)


@given(equations(), a_machine, a_number_of_threads)
@settings(max_examples=150, deadline=None)
def test_drawn_equations(drawn: Case, machine: Machine, threads: int) -> None:
    check_nest(drawn, machine, threads)


@pytest.mark.parametrize("name", ["conv", "conv stride 2", "max pool, winners", "mean", "staged"])
def test_float64(name: str) -> None:
    check_nest(replace(EQUATIONS[name], dtype="float64"), TOY)


@pytest.mark.parametrize(("given", "nests", "alone"), [
    (case("p[n,i,c] = max(s) x[n,2*i+s-1,c]", {"x": (4, 9, 6)}, {}, {"s": 3}).gradient("x"), 3, 1),
    (case("z[n,i,c] = sum(s) x[n,2*i+s-1,c] * w[s,c]", {"x": (4, 9, 6), "w": (3, 6)}).gradient("x"), 2, 1),
    # Weights serve all images: each residue copies its panel and walks the batch for itself.
    (case("z[n,i,k] = sum(s,c) x[n,2*i+s-1,c] * w[s,c,k]", {"x": (4, 9, 6), "w": (3, 6, 5)}).gradient("x"), 4, 4),
    # Where each walks it image by image anyway, it is walked once; the four copies come before.
    (
        case(
            "z[n,i,j,k] = sum(s,t,c) x[n,2*i+s-1,2*j+t-1,c] * w[s,t,c,k]", {"x": (2, 6, 6, 8), "w": (3, 3, 8, 8)}
        ).gradient("x"), 8, 5,
    ),
    (case("p[n,i,c] = max(s) x[n,2*i+s-1,c]", {"x": (1, 9, 6)}, {}, {"s": 3}).gradient("x"), 3, 3),  # one image
])  # fmt: skip
def test_an_equation_that_memory_bounds_walks_the_batch_once(given: Case, nests: int, alone: int) -> None:
    assert len(given.program(AVX2).nests) == nests
    assert len(given.program_alone(AVX2).nests) == alone
    for machine in MACHINES:
        check_nest(given, machine, threads=3)


def test_what_is_not_exact_agrees_to_rounding() -> None:
    """Quotients, exponentials and roots: the interpreter works in float64 and rounds at stores."""
    softmax = case(
        "y[n,k] = exp(x[n,k] - max(l) x[n,l]) / sum(j) exp(x[n,j] - max(l) x[n,l])", {"x": (3, 11)}, dtype="float64"
    )
    normed = case(
        "y[n,c] = (x[n,c] - m[c]) / sqrt(v[c]**2 + 1e-5)", {"x": (4, 9), "m": (9,), "v": (9,)}, dtype="float64"
    )
    pooled = case("p[i,c] = sqrt(sum(s) x[2*i+s,c]**2 + 1)", {"x": (8, 5)}, {}, {"s": 2}, dtype="float64")
    for drawn in (softmax, normed, pooled, *gradients(softmax).values(), *gradients(pooled).values()):
        arrays = drawn.arrays(low=1)
        for machine in (AVX512, TOY):
            program = drawn.program(machine)
            prove(program)
            np.testing.assert_allclose(interpreted(program, arrays, 2), drawn.expected(arrays), rtol=1e-13, atol=1e-13)


# Found by drawing more than the tests above have time for; each was wrong or refused once.
BROKEN_ONCE = {
    # Two residues that sum the same body over axes of other extents shared one temporary.
    "residues of other extents": case(
        "z[j,i] = sum(a,b,c) x[3*i+j-a-2*b-c+15]", {"x": (31,)}, {}, {"i": 5, "j": 5, "a": 5, "b": 5, "c": 4}
    ).gradient("x"),
    # The reduction stands in the bracket of max's derivative.
    "a reduction inside a bracket": case(
        "z[i] = max(min(a,b) x[i-a+3*b+4] + q[i], 0)", {"x": (27,), "q": (11,)}, {}, {"i": 11, "a": 5, "b": 5}
    ).gradient("q"),
    # The only reduced axis has one value, and its operands are guarded.
    "a reduction of one value with borders": case(
        "z[i,j] = sum(a) x[3*i+a+1,a] * w[3*j-1,10-j-2*a,a]", {"x": (20, 1), "w": (30, 10, 1)}, {},
        {"i": 7, "j": 11, "a": 1},
    ),
    # A tile of one thread's whose reduction runs once or not: two loops of one name.
    "a lone tile with a border outside": case(
        "z[n,i,j,k] = sum(s,t,c) x[n, 3*i+s-3, 3*j+t-3, c] * w[s,t,c,k] + b[k]",
        {"x": (2, 3, 7, 1), "w": (1, 4, 1, 17), "b": (17,)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_ONCE)
@pytest.mark.parametrize("machine", [AVX512, TOY], ids=lambda machine: machine.name)
def test_broken_once(name: str, machine: Machine) -> None:
    check_nest(BROKEN_ONCE[name], machine, threads=3)


@pytest.mark.parametrize("text", [
    "z[once,lane] = sum(block) x[once-1, block+lane-1] * w[block]",
    "z[lane,once] = sum(tile) x[lane-1, tile+once-1] * w[tile]",
])  # fmt: skip
def test_axes_may_have_the_names_of_the_builders_own_loops(text: str) -> None:
    check_nest(case(text, {"x": (5, 6), "w": (3,)}), TOY, threads=2)
