"""Panels: the copy holds the cells where the tile looks for them, whole vectors long, for all or for each thread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pellucid.schedule.interpret import interpret
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Program, Tensor, Tile, statements
from pellucid.schedule.plan import Options
from pellucid.schedule.show import show
from schedule.cases import AVX2, AVX512, EQUATIONS, MACHINES, TOY, Case, case, check_nest, with_tiny_caches

# Lanes of w lie 3*3*8 elements apart: only a copy makes them a vector.
APART = case("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[k,s,t,c]", {"x": (1, 6, 7, 8), "w": (21, 3, 3, 8)})


def panels(program: Program) -> list[Tensor]:
    return [tensor for tensor in program.tensors if ".panel" in tensor.name]


def copied(given: Case, program: Program) -> dict[str, np.ndarray]:
    """What the copying nests leave in the shared panels; NaN where they write nothing."""
    found = {tensor.name: np.full(tensor.size, np.nan) for tensor in panels(program) if tensor.role == "temporary"}
    arrays = {name: array.ravel() for name, array in given.arrays().items()}
    output = {given.output.name: np.zeros(given.output.size)}
    nests = tuple(nest for nest in program.nests if nest.name.endswith(".copy"))
    interpret(Program(program.tensors, nests), {**arrays, **output, **found}, threads=2)
    return {name: array.reshape(program.tensor(name).shape) for name, array in found.items()}


def test_a_panel_holds_the_lanes_side_by_side() -> None:
    program = APART.program(AVX2)
    assert [(panel.shape, panel.role) for panel in panels(program)] == [((1, 3, 3, 8, 24), "temporary")]
    ((_, content),) = copied(APART, program).items()
    np.testing.assert_array_equal(content[0, ..., :21], np.moveaxis(APART.arrays()["w"], 0, -1))
    # The last block is as long as whole vectors; what lies beyond the axis is nobody's.
    assert np.isnan(content[..., 21:]).all()


def test_pieces_of_several_sizes_have_panels_of_their_own() -> None:
    program = APART.program(AVX2, Options(block=16))
    assert [panel.shape for panel in panels(program)] == [(1, 3, 3, 8, 16), (1, 3, 3, 8, 8)]
    first, second = copied(APART, program).values()
    w = np.moveaxis(APART.arrays()["w"], 0, -1)
    np.testing.assert_array_equal(first[0], w[..., :16])
    np.testing.assert_array_equal(second[0, ..., :5], w[..., 16:])


def test_blocks_of_one_size_are_numbered() -> None:
    wide = case("z[n,k] = sum(c) x[n,c] * w[k,c]", {"x": (32, 24), "w": (48, 24)})
    program = wide.program(TOY, Options(vector="k", tile=(("n", 2),), block=4))
    w = wide.arrays()["w"]
    for panel in panels(program):
        if panel.role == "temporary":
            content = copied(wide, program)[panel.name]
            np.testing.assert_array_equal(content, w.reshape(12, 4, 24).swapaxes(1, 2))
    check_nest(wide, TOY, 2, Options(vector="k", tile=(("n", 2),), block=4))


@pytest.mark.parametrize("block", [8, 16, 24])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_with_and_without_panels(block: int, threads: int) -> None:
    check_nest(APART, AVX2, threads, Options(block=block))
    check_nest(APART, AVX2, threads, Options(block=block, panels=False))
    assert panels(APART.program(AVX2, Options(panels=False))) == []


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_panel_inside_a_slab_is_each_threads_own(machine: Machine) -> None:
    """It holds the rows of one slab, is filled again for the next, and threads fill their own."""
    dense = case("z[n,k] = sum(c) x[n,c] * w[k,c]", {"x": (24, 16), "w": (20, 16)})
    options = Options(vector="k", slabs=(("c", 6),))
    found = panels(dense.program(machine, options))
    assert {(panel.role, panel.shape[-2]) for panel in found} == {("scratch", 6)}
    check_nest(dense, machine, 3, options)


def test_slabs_copy_their_own_rows() -> None:
    for name in ("conv NCHW", "products along rows"):
        axis = "c" if name == "conv NCHW" else "d"
        check_nest(EQUATIONS[name], with_tiny_caches(AVX2), 2, Options(slabs=((axis, 2),)))


def test_squares_are_turned_along_the_rows_that_they_come_from() -> None:
    """16 rows of w at a time, from one end to the other, as a processor foresees; the next 16 after them."""
    dense = case("z[n,k] = sum(c) x[n,c] * w[k,c]", {"x": (24, 64), "w": (32, 64)})
    text = show(
        next(nest for nest in dense.program(AVX512, Options(vector="k", block=32)).nests if "panel" in show(nest))
    )
    assert text.index(".square in 0 .. 2") < text.index(".tile in 0 .. 4")


def test_filling_a_shared_panel_is_divided_among_threads() -> None:
    copying, multiplying = APART.program(AVX2).nests
    assert "(parallel)" in show(copying)
    assert "(parallel)" in show(multiplying)


@pytest.mark.parametrize(("outputs", "widths"), [
    (20, [16, 4]), (18, [16, 4]), (24, [16, 8]), (25, [16, 16]), (32, [16, 16]), (10, [16]),
])  # fmt: skip
def test_a_ragged_block_ends_in_a_vector_that_is_no_wider_than_needed(outputs: int, widths: list[int]) -> None:
    """With all lanes of it computed, for the panel has them; only its own are stored."""
    given = replace(APART, shapes={**APART.shapes, "w": (outputs, 3, 3, 8)})
    every = [entry for nest in given.program(AVX512).nests for entry in statements(nest.body)]
    sums = [tile.groups for tile in every if isinstance(tile, Tile) and tile.reduction == "sum"]
    assert sums
    assert all([group.width for group in groups] == widths for groups in sums)
    check_nest(given, AVX512)
