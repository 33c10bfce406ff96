"""Every decision of the scheduler: what must hold of it on any machine, and what it is in cases that are clear."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pellucid
from pellucid.emit import compile_program, target
from pellucid.language.affine import Affine
from pellucid.network.graph import Graph
from pellucid.network.program import assemble
from pellucid.nn import equations
from pellucid.schedule.bounds import prove
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Accumulated, Apply, Load, Operand, Prefetch, Update, operands, statements
from pellucid.schedule.normal import normalise
from pellucid.schedule.ordering import chain_levels
from pellucid.schedule.plan import Options, Plan, near_equal
from pellucid.schedule.show import show
from pellucid.schedule.traits import is_product, sliding_axis
from pellucid.schedule.vectors import exact_groups, lane_groups, side_by_side, vector_pieces
from schedule.cases import (
    AVX2,
    AVX512,
    EQUATIONS,
    MACHINES,
    NEON,
    SSE2,
    TOY,
    Case,
    case,
    check_nest,
    compiled,
    gradients,
    interpreted,
)
from schedule.renaming import renamed


def normalised(given: Case) -> list[Contraction]:
    tensors = {tensor.name: tensor for tensor in given.tensors}
    return normalise(given.formula, given.constants, given.extents, tensors, "nest")[0]


CONVOLUTION = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k]"


def convolution(images: int, size: int, c: int, k: int, kernel: int, stride: int, padding: int) -> Case:
    shapes = {"x": (images, size, size, c), "w": (kernel, kernel, c, k)}
    return case(CONVOLUTION, shapes, {"S": stride, "P": padding})


# Layers of real networks: their plans are made, not run.
LAYERS = {
    "lenet 1": convolution(64, 28, 1, 20, 5, 1, 0),
    "lenet 2": convolution(64, 12, 20, 50, 5, 1, 0),
    "cifar": convolution(64, 32, 3, 32, 3, 1, 1),
    "resnet 56": convolution(8, 56, 64, 64, 3, 1, 1),
    "resnet 7": convolution(8, 7, 512, 512, 3, 1, 1),
    "pointwise": convolution(8, 56, 64, 256, 1, 1, 0),
    "stride 2": convolution(8, 56, 128, 128, 3, 2, 1),
    "stem": convolution(8, 224, 3, 64, 7, 2, 3),
    "dense": case("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]", {"x": (128, 1024), "w": (1024, 512), "b": (512,)}),
}
PLANNED = {
    **LAYERS,
    **{f"{name} {wrt}": found for name, one in LAYERS.items() for wrt, found in gradients(one).items()},
}


def accumulators(plan: Plan) -> int:
    """Vector registers that hold a tile's sums."""
    vectors = -(-min(plan.block, plan.contraction.extents[plan.vector]) // plan.lanes) if plan.vector else 1
    return prod(size for _, size in plan.tile) * vectors


# ---------------------------------------------------------------- pieces
@given(st.integers(1, 300), st.integers(1, 40))
def test_near_equal_covers_the_axis_with_the_fewest_pieces_as_equal_as_possible(extent: int, size: int) -> None:
    pieces = near_equal(extent, size)
    cells = [
        start + number * length + at
        for start, length, count in pieces
        for number in range(count)
        for at in range(length)
    ]
    assert cells == list(range(extent))
    lengths = [length for _, length, _ in pieces]
    assert sum(count for _, _, count in pieces) == ceil(extent / size)
    assert max(lengths) <= size
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) - min(lengths) <= 1


def test_near_equal_by_hand() -> None:
    assert near_equal(28, 6) == [(0, 6, 3), (18, 5, 2)]
    assert near_equal(7, 7) == [(0, 7, 1)]
    assert near_equal(3, 10) == [(0, 3, 1)]


@given(st.integers(1, 300), st.integers(1, 5), st.sampled_from((2, 4, 8, 16)))
def test_vector_pieces_are_whole_vectors_but_for_the_last(extent: int, vectors: int, lanes: int) -> None:
    pieces = vector_pieces(extent, vectors * lanes, lanes)
    cells = [
        start + number * width + at for start, width, count in pieces for number in range(count) for at in range(width)
    ]
    assert cells == list(range(extent))
    assert all(width <= vectors * lanes for _, width, _ in pieces)
    assert all(width % lanes == 0 for start, width, count in pieces if start + width * count < extent)


def test_vector_pieces_by_hand() -> None:
    assert vector_pieces(50, 16, 8) == [(0, 16, 3), (48, 2, 1)]
    assert vector_pieces(64, 32, 16) == [(0, 32, 2)]
    assert vector_pieces(3, 16, 8) == [(0, 3, 1)]


@given(st.integers(1, 100), st.sampled_from((2, 4, 8, 16)))
def test_groups_cover_the_lanes_once(width: int, lanes: int) -> None:
    for groups in (lane_groups(width, lanes), exact_groups(width, lanes)):
        assert [group.offset + lane for group in groups for lane in range(group.valid)] == list(range(width))
        assert all(group.width <= lanes and group.width & (group.width - 1) == 0 for group in groups)
    assert all(group.valid == group.width for group in exact_groups(width, lanes))
    assert len(lane_groups(width, lanes)) == ceil(width / lanes)


@pytest.mark.parametrize("whole", range(1, 9))
@pytest.mark.parametrize("rest", [0, 3])
def test_joined_groups_cover_the_same_lanes(whole: int, rest: int) -> None:
    groups = lane_groups(8 * whole + rest, 8)
    joined = side_by_side(groups)
    assert [g.offset + lane for g in joined for lane in range(g.valid)] == list(range(8 * whole + rest))
    assert joined[-1] == groups[-1] if rest else joined[-1].valid == joined[-1].width
    assert len(joined) == whole.bit_count() + bool(rest)


# ---------------------------------------------------------------- reduced rows
@pytest.mark.parametrize(("text", "length", "tile", "block"), [
    ("m[n] = sum(c) x[n,c]", 128, (), 64),  # a long row: in the order of memory
    ("m[n] = sum(c) x[n,c]", 40, (("n", 4),), 16),  # short rows hide each other's ends
    ("m[n] = sum(c) x[n,c]", 12, (("n", 4),), 8),
    ("m[n] = sum(c) x[n,c] * w[c]", 128, (("n", 4),), 16),  # rows that share an operand
])  # fmt: skip
def test_rows_at_once(text: str, length: int, tile: tuple[tuple[str, int], ...], block: int) -> None:
    shapes = {"x": (30, length)} | ({"w": (length,)} if "w" in text else {})
    plan = case(text, shapes).lowered(AVX2).plans[0]
    assert (plan.across, plan.tile, plan.block) == (True, tile, block)


@pytest.mark.parametrize(("text", "shapes", "tile", "blocks"), [
    ("m[c] = sum(n) x[n,c]", {"x": (900, 256)}, (), (256, 64)),
    ("d[c] = sum(n) g[n,c] * (x[n,c] - m[c])", {"x": (900, 128), "g": (900, 128), "m": (128,)}, (), (128, 64)),
    ("p[c] = argmax(n) x[n,c]", {"x": (900, 256)}, (), (128, 32)),  # winners need as many registers again
    ("w[t,c] = sum(n,j) x[n,j+t-1,c] * g[n,j,c]", {"x": (20, 9, 128), "g": (20, 9, 128)}, (("t", 3),), (128, 32)),
])  # fmt: skip
def test_sums_over_rows_read_them_as_whole_as_registers_allow(
    text: str, shapes: dict[str, tuple[int, ...]], tile: tuple[tuple[str, int], ...], blocks: tuple[int, int]
) -> None:
    given = case(text, shapes, {}, {"t": 3} if tile else {})
    for machine, block in zip((AVX512, AVX2), blocks, strict=True):
        plan = given.lowered(machine).plans[0]
        assert (plan.tile, plan.block) == (tile, block)


# ---------------------------------------------------------------- elementwise
@pytest.mark.parametrize(("text", "window", "tile", "block"), [
    ("y[n,i,s,j,t,c] = d[n,i,j,c] * p[n,i,s,j,t,c]", (2, 2), (("s", 2), ("t", 2)), 16),  # d is read once for four cells
    ("y[n,i,s,j,t,c] = d[n,i,j,c] * p[n,i,s,j,t,c]", (1, 3), (("t", 3),), 16),
    ("y[n,i,s,j,t,c] = d[n,i,j,c] * p[n,i,s,j,t,c]", (3, 3), (), 64),  # too many
    ("y[n,i,s,j,t,c] = d[c] * p[n,i,s,j,t,c]", (1, 1), (), 64),  # all axes but c are one long one
    ("y[n,i,s,j,t,c] = p[n,i,s,j,t,c] * 2", (2, 2), (), 64),
    ("y[n,i,s,j,t,c] = 2 * (1 + erf(p[n,i,s,j,t,c]))", (2, 2), (), 128),  # one operation waits for the other
])  # fmt: skip
def test_cells_that_share_what_they_read(
    text: str, window: tuple[int, int], tile: tuple[tuple[str, int], ...], block: int
) -> None:
    shapes = {"p": (2, 5, window[0], 6, window[1], 96)}
    shapes |= {"d": (2, 5, 6, 96)} if "d[n" in text else {"d": (96,)} if "d[c" in text else {}
    plan = case(text, shapes).lowered(AVX512).plans[0]
    assert (plan.vector, plan.tile, plan.block) == ("c", tile, block)


# ---------------------------------------------------------------- sliding windows
@pytest.mark.parametrize(("text", "shapes", "sliding"), [
    ("z[n,i,j,c] = sum(s,t) x[n,i+s-1,j+t-1,c] * w[s,t,c]", {"x": (2, 9, 9, 8), "w": (3, 3, 8)}, ("i", 1)),
    ("z[n,i,j,c] = sum(s,t) x[n,2*i+s,2*j+t,c] * w[s,t,c]", {"x": (2, 9, 9, 8), "w": (3, 3, 8)}, ("i", 2)),
    ("z[n,i,j,c] = sum(s,t) x[n,3*i+s,3*j+t,c] * w[s,t,c]", {"x": (2, 9, 9, 8), "w": (3, 3, 8)}, None),  # no overlap
    ("z[n,i,c] = sum(s) x[n,i+2*s,c] * w[s,c]", {"x": (2, 15, 8), "w": (3, 8)}, ("i", 1)),  # dilated
    ("z[n,i,k] = sum(s,c) x[n,i+s,c] * w[s,c,k]", {"x": (2, 9, 8), "w": (3, 8, 4)}, None),  # every k reads x again
    ("w[s,c] = sum(n,i) x[n,i+s,c] * g[n,i,c]", {"x": (2, 9, 8), "g": (2, 7, 8)}, None),  # the window is long
])  # fmt: skip
def test_windows_that_slide(text: str, shapes: dict[str, tuple[int, ...]], sliding: tuple[str, int] | None) -> None:
    (nest,) = normalised(case(text, shapes))
    assert sliding_axis(nest) == sliding


def test_windows_share_rows_and_have_no_borders_inside() -> None:
    given = case("z[n,i,j,c] = sum(s,t) x[n,i+s-1,j+t-1,c] * w[s,t,c]", {"x": (2, 9, 9, 20), "w": (3, 3, 20)})
    plan = given.lowered(AVX2).plans[0]
    assert [(level.axis, level.kind, level.size) for level in plan.levels] == [
        ("n", "loop", 1), ("i", "tile", 4), ("j", "tile", 1), ("c", "vector", 8),
    ]  # fmt: skip
    assert not plan.panels


# ---------------------------------------------------------------- vector axis
@pytest.mark.parametrize(("name", "axis", "across"), [
    ("conv", "k", False),
    ("conv depthwise", "u", False),
    ("max pool", "c", False),
    ("dense", "o", False),
    ("variance", "c", False),
    ("mean of rows", "c", True),
])  # fmt: skip
def test_the_vector_axis_is_the_one_that_lies_together(name: str, axis: str, across: bool) -> None:
    plan = EQUATIONS[name].lowered(SSE2).plans[-1]
    assert (plan.vector, plan.across) == (axis, across)


@pytest.mark.parametrize("name", PLANNED)
def test_the_vector_axis_stands_in_no_border(name: str) -> None:
    for plan in PLANNED[name].lowered(AVX2).plans:
        assert plan.vector is not None
        assert all(plan.vector not in guard.index.names for guard in plan.contraction.guards)


LRN = "z[n,i,j,c] = x[n,i,j,c] * (1 + (sum(s) x[n,i,j,c+s-2]**2)) ** (-0.75)"
ROW_POOL = "z[n,c,i,j] = max(s,t) x[n,c,i+s-1,j+t-1]"


@pytest.mark.parametrize(
    ("text", "extents", "axis"),
    [
        (LRN, {"s": 5, "c": 40}, "c"),  # otherwise each lane would be loaded by itself
        (ROW_POOL, {"s": 3, "t": 3, "i": 9, "j": 40}, "j"),
        (LRN, {"s": 5, "c": 3}, "j"),  # too few for a vector
        # What is left out at a border is no load: no lane of these is tested by itself.
        ("z[n,k,i,j] = x[n,k,i,j] * (sum(s : j+s-1 >= 0, j+s-1 < 40) 1)", {"s": 3, "i": 9, "j": 40}, None),
        ("z[n,k,i,j] = sum(s : j+s-1 >= 0, j+s-1 < 40) (x[n,k,i,j] + 1)", {"s": 3, "i": 9, "j": 40}, None),
        ("z[n,k,i,j] = sum(s) (x[n,k,i,j+s-1] + 1)", {"s": 3, "i": 9, "j": 40}, "j"),
    ],
)
def test_a_vector_axis_with_borders_where_no_other_lies_together(
    text: str, extents: dict[str, int], axis: str | None
) -> None:
    shape = (2, 3, extents["i"], extents["j"]) if "i" in extents else (2, 3, 9, extents["c"])
    given = case(text, {"x": shape}, extents=extents)
    plan = given.lowered(AVX512).plans[0]
    assert plan.vector == axis or (axis is None and plan.vector != "j")
    arrays = given.arrays()
    expected = given.expected(arrays)
    for machine in MACHINES:
        program = given.program(machine)
        prove(program)
        np.testing.assert_allclose(interpreted(program, arrays), expected, rtol=1e-6)
    np.testing.assert_allclose(compiled(given.program(target().machine), arrays, threads=2), expected, rtol=1e-6)
    output = {"z": np.full(shape, np.nan, "float32")}
    compile_program(given.program(target().machine), checked=True).call({**arrays, **output})
    np.testing.assert_allclose(output["z"], expected, rtol=1e-6)


def test_the_caller_may_choose_the_vector_axis_and_the_tile() -> None:
    options = Options(vector="c", tile=(("j", 2),), block=8, unroll=3)
    plan = EQUATIONS["max pool"].lowered(SSE2, options).plans[0]
    assert (plan.vector, plan.tile, plan.block) == ("c", (("j", 2),), 8)
    assert "the caller chose the vector axis" in plan.reasons


# ---------------------------------------------------------------- register tile
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_the_tile_fits_the_registers(machine: Machine) -> None:
    for found in PLANNED.values():
        for plan in found.lowered(machine).plans:
            if is_product(plan.contraction) and not plan.across:
                # One register for a vector operand, one for a broadcast one.
                assert accumulators(plan) * plan.chains + 2 <= machine.registers, str(plan)
            elif machine is not TOY:
                assert accumulators(plan) * plan.chains <= machine.registers, str(plan)


@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", ["resnet 56", "resnet 56 dx", "resnet 56 dw", "stride 2", "dense"])
def test_a_tile_hides_the_latency_of_its_multiply_adds(name: str, machine: Machine) -> None:
    plan = max(PLANNED[name].lowered(machine).plans, key=lambda plan: plan.cycles)
    assert accumulators(plan) * plan.chains >= machine.latency * machine.fma_rate


@pytest.mark.parametrize("name", PLANNED)
def test_the_estimate_is_no_less_than_the_work(name: str) -> None:
    found = PLANNED[name]
    for plan in found.lowered(AVX512).plans:
        nest = plan.contraction
        steps = prod(extent for _, extent in nest.free + nest.reduced) / plan.lanes
        if is_product(nest) and not nest.guards:
            assert plan.cycles >= steps / AVX512.fma_rate


@pytest.mark.parametrize(("terms", "chain", "unroll"), [(512, 256, 2), (510, 255, 1)])
def test_long_loops_do_two_steps_a_round_whatever_the_accumulators(terms: int, chain: int, unroll: int) -> None:
    dense = case("z[n,k] = sum(c) x[n,c] * w[c,k]", {"x": (24, terms), "w": (terms, 64)})
    options = Options(tile=(("n", 6),), block=64)
    plan = dense.lowered(AVX512, options).plans[0]
    assert accumulators(plan) == 24
    assert [level.size for level in plan.levels if level.kind == "chain"] == [chain]
    assert plan.unroll == unroll
    assert dense.lowered(AVX512, replace(options, unroll=1)).plans[0].unroll == 1


# ---------------------------------------------------------------- panels
def test_a_kernel_whose_lanes_lie_apart_is_copied() -> None:
    plan = case("z[n,k] = sum(c) x[n,c] * w[k,c]", {"x": (32, 64), "w": (48, 64)}).lowered(
        AVX2, Options(vector="k")
    ).plans[0]  # fmt: skip
    assert [(panel.operand.tensor, panel.axis) for panel in plan.panels] == [("w", "k")]


def test_no_panel_is_copied_for_a_single_use() -> None:
    plan = case("z[n,k] = sum(c) x[n,c] * w[k,c]", {"x": (2, 64), "w": (48, 64)}).lowered(AVX2, Options(vector="k"))
    assert plan.plans[0].panels == ()


@pytest.mark.parametrize("name", PLANNED)
def test_panels_only_where_their_axis_is_a_bare_dimension(name: str) -> None:
    for plan in PLANNED[name].lowered(AVX2).plans:
        for panel in plan.panels:
            uses = [index for index in panel.operand.index if index.coefficient(panel.axis)]
            assert uses == [Affine.name(panel.axis)]
            assert not panel.operand.lookups
            assert all(panel.axis not in guard.index.names for guard in panel.operand.guards)


def test_nothing_is_copied_of_what_is_never_there() -> None:
    """Every product reads beyond w: the sums are 0."""
    never = case("z[i,j,k] = sum(a,c) x[i,j+1,c] * w[k,a,c+1]", {"x": (1, 4, 1), "w": (2, 2, 1)}, {}, {"j": 4})
    assert never.lowered(AVX512).plans[0].panels == ()
    check_nest(never, AVX512)


def test_panels_can_be_forbidden() -> None:
    for found in PLANNED.values():
        assert all(not plan.panels for plan in found.lowered(TOY, Options(panels=False)).plans)


# ---------------------------------------------------------------- chains
def summed(extents: tuple[int, ...]) -> Contraction:
    names = [f"r{number}" for number in range(len(extents))]
    operand = Operand("x", extents, tuple(Affine.name(name) for name in names))
    target_cell = Operand("z", (), ())
    return Contraction(
        target_cell, (), tuple(zip(names, extents, strict=True)), "sum", Load(operand), None, Accumulated()
    )


def estimated(total: int, chain: int) -> float:
    """Rounding error of `total` numbers of one sign, added in chains: sqrt(n)/4 units for every sum of n."""
    pieces = ceil(total / chain)
    return 0.25 * (sqrt(chain / pieces) + (sqrt(pieces) if pieces > 1 else 0))


def chain_length(sizes: list[int]) -> int:
    """How many numbers of a sum over axes of these sizes are added before the chain is cut."""
    nest = summed(tuple(sizes))
    lengths = dict(nest.reduced)
    for level in chain_levels(nest, ()):
        assert level.kind == "chain"
        assert 0 < level.size < lengths[level.axis]
        lengths[level.axis] = level.size
    return prod(lengths.values())


@given(st.lists(st.integers(2, 4096), min_size=1, max_size=4).filter(lambda sizes: prod(sizes) <= 100_000))
@settings(max_examples=200, deadline=None)
@example([104, 938])  # 938 at a time come to 3.3003, and no cut comes nearer
@example([53, 269, 7])
def test_chains_keep_the_estimated_error_below_its_limit_or_as_low_as_one_cut_can(sizes: list[int]) -> None:
    total, chain = prod(sizes), chain_length(sizes)
    pieces = ((axis, ceil(extent / count)) for axis, extent in enumerate(sizes) for count in range(1, extent + 1))
    cuts = (size * prod(sizes[axis + 1 :]) for axis, size in pieces)
    assert chain <= 128 or estimated(total, chain) <= max(3.3, min(estimated(total, cut) for cut in cuts))


@pytest.mark.parametrize("sizes", [[150_000], [1_000_000], [64, 112, 112], [10, 100_000], [100_000, 10], [1009, 991]])
def test_longer_sums_come_as_near_to_the_limit_as_one_cut_can(sizes: list[int]) -> None:
    total = prod(sizes)
    least = min(estimated(total, chain) for chain in range(500, 20_000, 50))
    assert least > 3.3
    assert estimated(total, chain_length(sizes)) <= 1.1 * least


@pytest.mark.parametrize("length", [1000, 30_000, 1_000_000])
def test_sums_of_one_sign_stay_accurate(length: int) -> None:
    """Measured, not estimated: at most 16 units of rounding of the sum of absolutes, also across lanes."""
    generator = np.random.default_rng(length)
    x = generator.random((length, 4), "float32")
    for text, shape in (("m[c] = sum(n) x[n,c]", x.shape), ("m[c] = sum(n) x[c,n]", x.shape[::-1])):
        array = np.ascontiguousarray(x.reshape(shape) if shape == x.shape else x.T)
        program = case(text, {"x": shape}).program(target().machine)
        exact = x.astype("float64").sum(0)
        assert np.max(np.abs(compiled(program, {"x": array}) - exact) / exact) <= 16 * 2.0**-24


# ---------------------------------------------------------------- names
NAMES = {
    "n": "q",
    "i": "p",
    "j": "o",
    "k": "a",
    "s": "h",
    "t": "g",
    "c": "f",
    "x": "zz",
    "w": "yy",
    "b": "xx",
    "z": "ww",
}


def under_other_names(given: Case) -> Case:
    """The case with every axis and tensor renamed, and the alphabetical order of the names turned."""
    return Case(
        renamed(replace(given.formula, span=None), NAMES),
        {NAMES[name]: shape for name, shape in given.shapes.items()},
        given.constants,
        {NAMES[name]: extent for name, extent in given.given.items()},
    )


@pytest.mark.parametrize("machine", [AVX512, TOY], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", ["conv", "conv stride 2", "conv dilated", "conv 1-D", "conv NCHW", "max pool", "mean"])
def test_no_decision_depends_on_names(name: str, machine: Machine) -> None:
    given = EQUATIONS[name] if "z" in EQUATIONS[name].output.name else None
    given = given or replace(EQUATIONS[name], formula=renamed(EQUATIONS[name].formula, {"p": "z", "m": "z"}))
    lowered, other = given.lowered(machine), under_other_names(given).lowered(machine)
    assert renamed(lowered.nests, NAMES) == other.nests
    for plan, counterpart in zip(lowered.plans, other.plans, strict=True):
        assert renamed(replace(plan, reasons=()), NAMES) == counterpart


# ---------------------------------------------------------------- no private path
def test_the_built_in_convolution_gives_the_nest_of_a_users_equation() -> None:
    """Through the network's assembly on one side, `pellucid.Equation` on the other, with axes of other names."""
    machine = target().machine
    x, w = np.zeros((2, 9, 8, 5), "float32"), np.zeros((3, 3, 5, 20), "float32")
    graph = Graph("float32")
    for name, array in (("x", x), ("w", w)):
        graph.input(name, array.shape)
    output = graph.system(equations.conv2d(x.shape, w.shape, stride=2, padding=1), {"x": "x", "w": "w"})
    built_in = assemble(graph, [output], {}, machine).program
    typed = pellucid.Equation(
        "y[m,p,q,o] = sum(a,b,h) image[m, 2*p+a-1, 2*q+b-1, h] * filters[a,b,h,o]"
    ).loop_nest(image=x, filters=w).program  # fmt: skip
    names = {
        "m": "n", "p": "i", "q": "j", "o": "k", "a": "s", "b": "t", "h": "c", "image": "x", "filters": "w", "y": output,
    }  # fmt: skip
    assert len(built_in.nests) == len(typed.nests) == 1
    # Before names are compared the texts differ in nothing but names.
    assert len(show(built_in).splitlines()) == len(show(typed).splitlines())
    assert renamed(typed.nests[0].body, names) == built_in.nests[0].body


def test_a_product_of_loads_is_a_product() -> None:
    load = Load(Operand("x", (4,), (Affine.name("r"),)))
    other = Load(Operand("y", (4,), (Affine.name("r"),)))
    nest = Contraction(Operand("z", (), ()), (), (("r", 4),), "sum", None, None, Accumulated())
    assert is_product(replace(nest, value=Apply("mul", (load, other))))
    assert not is_product(replace(nest, value=Apply("mul", (load, load))))
    assert not is_product(replace(nest, value=Apply("add", (load, other))))
    assert not is_product(replace(nest, value=Apply("mul", (load, other)), reduction="max"))


@pytest.mark.parametrize(("images", "panels"), [(32, ["u"]), (2, [])])
def test_what_serves_many_images_is_copied_though_one_image_uses_it_little(images: int, panels: list[str]) -> None:
    given = case("m[n,j,k] = sum(c) v[n,j,c] * u[c,k]", {"v": (images, 16, 256), "u": (256, 256)})
    plan = given.lowered(AVX512, Options(outer="n")).plans[0]
    assert plan.outer == 1
    assert [panel.operand.tensor for panel in plan.panels] == panels


@pytest.mark.parametrize(("rate", "pays"), [(1.0, True), (2.0, False)])
def test_a_copy_has_to_save_more_where_arithmetic_is_faster(rate: float, pays: bool) -> None:
    """x enters 576 products as points, w 128 as vectors."""
    machine = replace(AVX512, fma_rate=rate)
    (points,) = PLANNED["resnet 56 dw"].lowered(machine).plans
    assert ("x" in {panel.operand.tensor for panel in points.panels}) == pays
    (vectors,) = PLANNED["dense"].lowered(machine).plans
    assert [panel.operand.tensor for panel in vectors.panels] == (["w"] if pays else [])


# ---------------------------------------------------------------- turned copies
@pytest.mark.parametrize(
    ("text", "size", "channels", "order"),
    [
        # Lines of 128 rows of 12544 bytes stay in the first cache, so a pixel's channels are read one after the other.
        ("y[n,c,i,j] = x[n,i,j,c]", 56, 128, "njc"),
        ("y[n,c,i,j] = x[n,i,j,c]", 32, 64, "ncj"),  # rows of 4096 bytes meet in one set: eight of their lines stay
        ("y[n,i,j,c] = x[n,c,i,j]", 56, 128, "njc"),  # 3136 pixels are written one after the other
        ("y[n,i,j,c] = x[n,i,j,c]", 56, 128, "c"),  # walked as one axis
    ],
)
def test_a_turned_copy_reads_in_order_where_the_lines_that_it_writes_stay(
    text: str, size: int, channels: int, order: str
) -> None:
    shape = (4, channels, size, size) if "x[n,c" in text else (4, size, size, channels)
    given = case(text, {"x": shape})
    (plan,) = given.lowered(replace(AVX512, l1=48 << 10)).plans
    assert "".join(level.axis for level in plan.levels) == order


# ---------------------------------------------------------------- slabs
WEIGHT_GRADIENT = "w[c,k] = sum(j) x[j,c] * g[j,k]"


def slabs(plan: Plan) -> dict[str, int]:
    return {level.axis: level.size for level in plan.levels if level.kind == "slab"}


@pytest.mark.parametrize(
    ("channels", "bandwidth", "rate", "length"),
    [
        # At each step a tile reads 256 bytes of g and the line of x of which it takes 24: 320 bytes in 12 cycles. 76 of
        # them are half of a first cache of 48 KiB.
        ((64, 256), 28.0, 2.0, 76),
        # As much in 24 cycles.
        ((64, 256), 28.0, 1.0, 349),
        # No other vectors go with the lines of x: those of g, of 143 steps, are what stays, in three quarters of it.
        ((256, 64), 28.0, 2.0, 143),
        # Sums of 512 KiB do not stay in the second cache, to be added to so often: no slab is shorter than 128.
        ((128, 1024), 28.0, 2.0, 128),
    ],
)
def test_slabs_are_short_where_the_second_cache_holds_tiles_up(
    channels: tuple[int, int], bandwidth: float, rate: float, length: int
) -> None:
    machine = replace(AVX512, l1=48 << 10, l2_bandwidth=bandwidth, fma_rate=rate)
    inputs, outputs = channels
    given = case(WEIGHT_GRADIENT, {"x": (12544, inputs), "g": (12544, outputs)})
    (plan,) = given.lowered(machine, Options(tile=(("c", 6),), block=64, panels=False)).plans
    assert slabs(plan) == {"j": length}


def test_slabs_of_what_is_copied_are_long() -> None:
    """Of a copy a tile reads no more than it needs: x enters 1088 products."""
    machine = replace(AVX512, l2_bandwidth=28.0, l2=2 << 20)
    given = case(WEIGHT_GRADIENT, {"x": (12544, 64), "g": (12544, 1088)})
    (plan,) = given.lowered(machine, Options(tile=(("c", 6),), block=64)).plans
    assert {panel.operand.tensor for panel in plan.panels} == {"x"}
    assert slabs(plan)["j"] > 256


@pytest.mark.parametrize(("stride", "order"), [(1, "stck"), (2, "stkc")])
def test_what_stays_in_the_first_cache_is_walked_inside(stride: int, order: str) -> None:
    """Lines of x that lie 1 KiB apart meet in few of its sets, and a tile takes parts of them: a block of g stays there
    instead, for all tiles of `c`."""
    given = convolution(8, 28 * stride, 128, 128, 3, stride, 1).gradient("w")
    machine = replace(AVX512, l1=48 << 10, l2_bandwidth=28.0)
    (plan,) = given.lowered(machine, Options(tile=(("c", 6),), block=64)).plans
    assert "".join(level.axis for level in plan.levels if level.kind != "slab") == order


@pytest.mark.parametrize(
    ("columns", "seldom", "found"),
    [
        (512, (), {"q": 256}),  # 256 of 2048 bytes: 1024 such pieces meet in an eighth of the sets of the second cache
        (528, (), {}),  # rows of 2112 bytes lie everywhere in it
        (512, ("w",), {}),  # what seldom changes passes through it
    ],
)
def test_pieces_of_rows_that_meet_in_few_sets_are_read_in_slabs(
    columns: int, seldom: tuple[str, ...], found: dict[str, int]
) -> None:
    dense = case("z[n,o] = sum(q) x[n,q] * w[q,o]", {"x": (128, 1024), "w": (1024, columns)})
    options = Options(tile=(("n", 6),), block=64, panels=False, seldom=frozenset(seldom))
    assert slabs(dense.lowered(AVX512, options).plans[0]) == found


@pytest.mark.parametrize(("channels", "found"), [(1024, {"j": 121}), (1008, {})])
def test_parts_of_lines_that_meet_in_few_sets_are_read_in_slabs(channels: int, found: dict[str, int]) -> None:
    """1568 lines are 98 KiB; one of every 4096 bytes, they would need all of 4 MiB to stay."""
    given = case(WEIGHT_GRADIENT, {"x": (1568, channels), "g": (1568, 256)})
    machine = replace(AVX2, l2=1 << 20)
    options = Options(tile=(("c", 4),), block=24)
    (plan,) = given.lowered(machine, options).plans
    assert "g" in {panel.operand.tensor for panel in plan.panels}
    assert slabs(plan) == found


# ---------------------------------------------------------------- prefetching
@pytest.mark.parametrize(
    ("name", "prefetched"),
    [
        # A tile takes 4 of 128 channels at each step along the columns: 16 bytes of a line, the next one 512 further.
        ("stride 2 dw", ["x"]),
        ("pointwise dw", ["x"]),
        ("resnet 56 dw", ["x"]),  # 576 uses do not pay for a copy in the order of the tiles
        ("stem dw", []),  # all channels of 7 columns lie side by side
        ("stride 2", []),
        ("dense", []),
    ],
)
def test_parts_of_lines_that_later_tiles_read_are_prefetched(name: str, prefetched: list[str]) -> None:
    (plan,) = PLANNED[name].lowered(AVX512).plans
    assert [str(ahead) for ahead in plan.prefetched] == prefetched
    assert ("\nprefetch x\n" in str(plan)) == bool(prefetched)


@pytest.mark.parametrize(("size", "channels", "found"), [(24, 128, 1), (22, 128, 0), (24, 32, 0)])
def test_nothing_is_prefetched_that_is_near(size: int, channels: int, found: int) -> None:
    """As long as a walk's lines fill no more than the first cache, or where rows lie one behind the other."""
    rows = size * size
    plan = case("w[c,k] = sum(j) x[j,c] * g[j,k]", {"x": (rows, channels), "g": (rows, 32)}).lowered(AVX512).plans[0]
    assert len(plan.prefetched) == found


@pytest.mark.parametrize(
    ("images", "rows", "columns", "found"),
    [
        (1, 4096, 4096, ["w"]),
        (4, 4096, 4096, ["w"]),
        (32, 4096, 4096, []),  # many tiles read what the first one brought
        (1, 256, 512, []),  # near
        (1, 65536, 64, []),  # rows one behind the other
    ],
)
def test_a_matrix_that_is_read_once_is_prefetched(images: int, rows: int, columns: int, found: list[str]) -> None:
    dense = case("z[n,o] = sum(q) x[n,q] * w[q,o]", {"x": (images, rows), "w": (rows, columns)})
    lowered = dense.lowered(AVX512)
    plan, rows_ahead = lowered.plans[0], (16 << 10) // (4 * lowered.plans[0].block)
    assert [str(ahead) for ahead in plan.prefetched] == [f"{name}, {rows_ahead} rounds of q ahead" for name in found]
    updates = [part for nest in lowered.nests for part in statements(nest.body) if isinstance(part, Update)]
    distances = {o.prefetch.distance for update in updates for o in operands(update.value) if o.prefetch}
    assert distances == ({rows_ahead * columns} if found else set())


CONV_1X1 = "z[n,i,j,k] = sum(c) x[n,i,j,c] * w[c,k]"
TRANSFORMED = "z[a,o,n,l] = sum(c) v[a,n,c] * w[a,o,c,l]"


@pytest.mark.parametrize(
    ("equation", "shapes", "found", "distance"),
    [
        # Panels of 48 columns, one behind the other.
        (CONV_1X1, {"x": (1, 14, 14, 256), "w": (256, 960)}, "w, 48 rounds of k ahead", 256 * 48),
        # Panels of 32 of 64 columns, each for all `o` in turn.
        (TRANSFORMED, {"v": (24, 28, 256), "w": (24, 4, 256, 64)}, "w, a round of o ahead", 256 * 32),
        # Blocks of whole rows, where they stand.
        (TRANSFORMED, {"v": (24, 28, 64), "w": (24, 4, 64, 64)}, "w, a round of o ahead", 64 * 64),
        (CONV_1X1, {"x": (1, 14, 14, 64), "w": (64, 64)}, "", 0),  # there is one block
        (CONV_1X1, {"x": (1, 14, 14, 48), "w": (48, 256)}, "", 0),  # a block is near
    ],
)
def test_the_next_block_of_what_seldom_changes_is_prefetched(
    equation: str, shapes: dict[str, tuple[int, ...]], found: str, distance: int
) -> None:
    given = case(equation, shapes)
    assert not given.lowered(AVX512).plans[0].prefetched
    lowered = given.lowered(AVX512, Options(seldom=frozenset({"w"})))
    assert [str(ahead) for ahead in lowered.plans[0].prefetched] == ([found] if found else [])
    updates = [part for nest in lowered.nests for part in statements(nest.body) if isinstance(part, Update)]
    asked = {(o.prefetch.distance, o.prefetch.cache) for part in updates for o in operands(part.value) if o.prefetch}
    assert asked == ({(distance, 2)} if found else set())


def test_tiles_are_as_wide_as_the_cache_that_feeds_them_allows() -> None:
    """A panel of 64 columns needs 256 bytes for 12 cycles of multiply-adds; what comes through the second cache from
    the last one is read by more points."""
    layer = case(CONV_1X1, {"x": (1, 28, 28, 256), "w": (256, 256)})
    fast, weights = replace(AVX512, l2_bandwidth=28.0), Options(seldom=frozenset({"w"}))
    blocks = [
        layer.lowered(machine, options).plans[0].block for machine in (AVX512, fast) for options in (None, weights)
    ]
    assert blocks == [48, 48, 64, 48]


def depthwise_gradient(size: int, channels: int, stride: int = 1) -> Case:
    shapes = {"x": (2, size, size, channels), "w": (3, 3, channels)}
    equation = "z[n,i,j,c] = sum(s,t) x[n,S*i+s-1,S*j+t-1,c] * w[s,t,c]"
    return case(equation, shapes, {"S": stride}).gradient("w")


def test_a_window_of_sums_is_kept_whole_and_rows_ahead_are_prefetched() -> None:
    """Nine sums in pieces of two lines; what they read of a row first is prefetched, by all that read it."""
    lowered = depthwise_gradient(28, 128).lowered(AVX512)
    (plan,) = lowered.plans
    assert (dict(plan.tile), plan.block) == ({"s": 3, "t": 3}, 32)
    assert [str(ahead) for ahead in plan.prefetched] == ["g, a round of i ahead", "x, a round of i ahead"]
    updates = [part for nest in lowered.nests for part in statements(nest.body) if isinstance(part, Update)]
    assert {(o.tensor, o.prefetch) for update in updates for o in operands(update.value)} == {
        ("g", Prefetch(28 * 128, tuple(range(9)), 2)),
        ("x", Prefetch(28 * 128, (6, 7, 8), 2)),
    }


def test_a_window_of_sums_is_cut_where_the_second_cache_gives_its_rows_again() -> None:
    (plan,) = depthwise_gradient(28, 128).lowered(replace(AVX512, l2_bandwidth=28.0)).plans
    assert (dict(plan.tile), plan.block, plan.prefetched) == ({"t": 3}, 128, ())


@pytest.mark.parametrize(
    ("size", "channels", "stride"),
    [
        (28, 32, 1),  # two lines are the row
        (7, 1024, 1),  # neighbouring columns meet in one set of the first cache
        (1024, 128, 1),  # a row ahead is as large as a part of the second cache
        (28, 128, 2),  # few sums share a cell
    ],
)
def test_whole_rows_where_pieces_of_them_save_nothing(size: int, channels: int, stride: int) -> None:
    plan = depthwise_gradient(size, channels, stride).lowered(AVX512).plans[0]
    assert plan.block >= min(channels, 128)
    assert not plan.prefetched


def test_a_row_read_in_large_pieces() -> None:
    """The gradient of a first layer's 64 kernels comes from memory: 256 bytes at once, where 128 are too few."""
    plan = PLANNED["stem dw"].lowered(AVX512).plans[0]
    assert (plan.block, dict(plan.tile)) == (64, {"c": 3, "t": 2})
