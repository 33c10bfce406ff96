"""Nests as they are built: what every one of them keeps, and that the rare parts really occur in what is tested."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pellucid.schedule.bounds import prove
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import For, Program, Statement, Tile, Update, statements
from pellucid.schedule.parallel import divide
from pellucid.schedule.plan import Options
from pellucid.schedule.touched import touched
from schedule.cases import (
    AVX2,
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

EVERY = {
    **EQUATIONS,
    **{f"{name} {wrt}": one for name, given in EQUATIONS.items() for wrt, one in gradients(given).items()},
}
TINY = (TOY, *(with_tiny_caches(machine) for machine in MACHINES))


def tiles(body: tuple[Statement, ...], around: tuple[For, ...] = ()) -> Iterator[tuple[tuple[For, ...], Tile]]:
    """Every tile with the loops around it."""
    for statement in body:
        if isinstance(statement, For):
            yield from tiles(statement.body, (*around, statement))
        elif isinstance(statement, Tile):
            yield around, statement


def shared(program: Program, tile: Tile) -> bool:
    return any(program.tensor(store.operand.tensor).role != "scratch" for store in tile.stores)


@pytest.mark.parametrize("machine", TINY, ids=lambda machine: machine.name)
def test_every_shared_store_stands_under_exactly_one_parallel_loop(machine: Machine) -> None:
    for name, given in EVERY.items():
        program = given.program(machine)
        for nest in program.nests:
            for around, tile in tiles(nest.body):
                parallel = [loop for loop in around if loop.parallel]
                if shared(program, tile):
                    assert len(parallel) == 1, name
                # Slabs and chains add to what stands there: threads may not divide them.
                assert not any(loop.variable.endswith((".slab", ".chain")) for loop in parallel), name


@pytest.mark.parametrize("machine", TINY, ids=lambda machine: machine.name)
def test_loops_around_a_tile_have_names_of_their_own(machine: Machine) -> None:
    for name, given in EVERY.items():
        for nest in given.program(machine).nests:
            for around, tile in tiles(nest.body):
                inside = [s.variable for s in statements(tile.body) if isinstance(s, For)]
                outside = [loop.variable for loop in around]
                bound = [*outside, tile.lane, *(axis for axis, _ in tile.points)]
                assert len(bound) == len(set(bound)), name
                assert not set(bound) - {tile.lane} & set(inside), name


def kinds(given: Case, machine: Machine) -> set[str]:
    """The rare parts that occur in what is made of an equation."""
    lowered = given.lowered(machine)
    found = {level.kind for plan in lowered.plans for level in plan.levels}
    found |= {"panel" for tensor in lowered.tensors if tensor.role == "temporary" and ".panel" in tensor.name}
    found |= {"own panel" for tensor in lowered.tensors if tensor.role == "scratch"}
    for nest in lowered.nests:
        for around, tile in tiles(nest.body):
            found |= {"across"} if tile.across else set()
            found |= {"chains"} if tile.chains > 1 else set()
            found |= {"turned"} if tile.reduction is None and tile.points else set()
            found |= {"once"} if any(loop.variable == "thread.once" for loop in around) else set()
            found |= {"later slab" for store in tile.stores if store.add is not None}
            for update in statements(tile.body):
                if isinstance(update, Update):
                    found |= {"border"} if len(update.active) < tile.point_count else set()
                    found |= {"fence"} if update.fence else set()
    return found


LONG = {
    "mean": case("m[c] = sum(n,i) x[n,i,c] / 64", {"x": (30, 100, 3)}),
    "product": case("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]", {"x": (3, 2500), "w": (2500, 5), "b": (5,)}),
    "bounded": case("z[o] = max((sum(q) x[q] * w[q,o]) - 3, 0)", {"x": (3000,), "w": (3000, 4)}),
}


# fmt: off
PARTS = {
    "slab", "chain", "loop", "vector", "tile", "panel", "own panel", "across", "chains", "turned", "once", "border",
    "fence", "later slab",
}
# fmt: on


def test_the_equations_of_these_tests_reach_every_part_of_the_builder() -> None:
    every = (*EVERY.values(), *LONG.values())
    reached = set[str]().union(*(kinds(given, machine) for machine in TINY for given in every))
    assert reached >= PARTS


@pytest.mark.parametrize("name", LONG)
def test_long_sums_are_cut_and_finished_once(name: str) -> None:
    """Later pieces add to the earlier; what follows the sum happens after the last one only."""
    given = LONG[name]
    for machine in (AVX2, TOY):
        assert {"chain", "slab"} & kinds(given, machine)
        check_nest(given, machine, threads=2)


@pytest.mark.parametrize("slabs", [(("c", 3),), (("t", 1), ("c", 2)), (("s", 2),)])
def test_slabs_chosen_by_the_caller(slabs: tuple[tuple[str, int], ...]) -> None:
    """Of a convolution with bias: only the last slab adds it."""
    check_nest(EQUATIONS["conv"], TOY, 2, Options(slabs=slabs))


@pytest.mark.parametrize("tile", [(), (("j", 2),), (("j", 4),), (("i", 2),), (("j", 6), ("i", 2)), (("n", 2),)])
@pytest.mark.parametrize("block", [2, 4])
def test_tiles_chosen_by_the_caller(tile: tuple[tuple[str, int], ...], block: int) -> None:
    check_nest(EQUATIONS["conv"], TOY, 2, Options(tile=tile, block=block, unroll=3))


def test_a_lone_tile_is_one_threads() -> None:
    given = case("z[k] = x[k] * 2", {"x": (5,)})
    program = given.program(AVX2)
    (loop,) = program.nests[0].body
    assert isinstance(loop, For)
    assert (loop.variable, loop.parallel) == ("thread.once", True)
    arrays = given.arrays()
    np.testing.assert_array_equal(interpreted(program, arrays, 3), given.expected(arrays))


def test_dividing_leaves_scratch_to_every_thread() -> None:
    program = EQUATIONS["dense"].program(AVX2)
    plain = tuple(statements(program.nests[-1].body))
    own = divide(program.nests[-1].body, {"z"})
    assert own == program.nests[-1].body  # nothing shared is stored: nothing to divide
    assert any(isinstance(statement, For) and statement.parallel for statement in plain)
    assert prove(program) > 0


@pytest.mark.parametrize("slab", [2, 4, 7])
def test_slabs_of_a_depthwise_weight_gradient_test_no_load_inside(slab: int) -> None:
    """Borders concern the slab's axis together with points of the tile: first and last slab have code of their own."""
    given = case(
        "dw[s,t,c] = sum(n,i,j) g[n,i,j,c] * x[n,i+s-1,j+t-1,c]", {"g": (2, 14, 6, 20), "x": (2, 14, 6, 20)}, {},
        {"s": 3, "t": 3},
    )  # fmt: skip
    options = Options(tile=(("s", 3), ("t", 3)), block=8, slabs=(("n", 1), ("i", slab)))
    program = given.program(AVX2, options)
    assert not any(operand.guards for nest in program.nests for operand in touched(nest.body))
    check_nest(given, AVX2, threads=2, options=options)
