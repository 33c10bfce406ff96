"""Every construct of a loop nest, in nests made by hand, against NumPy in float64 or exact small integers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid.emit import Target, compile_program, target
from pellucid.emit.compile import assembly_text
from pellucid.emit.module import emit_module
from pellucid.emit.targets import missing_features
from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    Accumulated,
    Apply,
    Bound,
    Constant,
    For,
    Group,
    Guard,
    Load,
    Lookup,
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

N = Affine.name
Arrays = dict[str, NDArray[np.generic]]
TARGETS = tuple(name for name in ("x86-64-v2", "native") if not missing_features(target(name)))


def loop(variable: str, low: int | Bound, high: int | Bound, *body: Statement, step: int = 1) -> For:
    low = Bound.of(low) if isinstance(low, int) else low
    high = Bound.of(high) if isinstance(high, int) else high
    return For(variable, low, high, step, body)


def parallel(statement: For) -> For:
    return replace(statement, parallel=True)


def run(program: Program, arrays: Arrays, threads: int = 1, chosen: Target | None = None) -> Arrays:
    """The outputs, which start as NaN or -1, so that a cell nobody writes is seen."""
    outputs: Arrays = {
        tensor.name: np.full(tensor.shape, -1 if tensor.dtype == "int64" else np.nan, tensor.dtype)
        for tensor in program.tensors
        if tensor.role == "output"
    }
    compile_program(program, chosen).call({**arrays, **outputs}, threads)
    return outputs


def one(*statements: Statement, tensors: tuple[Tensor, ...]) -> Program:
    return Program(tensors, (Nest("test", statements),))


def integers(*shape: int, seed: int = 0, dtype: str = "float32") -> NDArray[np.generic]:
    """Small whole numbers: every sum and product of them is exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


# ------------------------------------------------------------ a matrix product in tiles


def product_program(rows: int, inner: int, columns: int, dtype: str, groups: tuple[Group, ...], unroll: int) -> Program:
    """z[m, k] = relu(sum(c) x[m, c] * w[c, k] + b[k]): 3 points, given lane groups, the sum unrolled."""
    x = Tensor("x", dtype, (rows, inner), "input")
    w, b = Tensor("w", dtype, (inner, columns), "input"), Tensor("b", dtype, (columns,), "input")
    z = Tensor("z", dtype, (rows, columns), "output")
    row = N("block") + N("m")
    updates = tuple(
        Update(
            (0, 1, 2),
            Apply(
                "mul",
                (
                    Load(Operand("x", x.shape, (row, N("c") + step))),
                    Load(Operand("w", w.shape, (N("c") + step, N("k")))),
                ),
            ),
            fence=step == 1,
        )
        for step in range(unroll)
    )
    result = Apply("max", (Apply("add", (Accumulated(), Load(Operand("b", b.shape, (N("k"),))))), Constant(0.0)))
    tile = Tile(
        (("m", 3),),
        "k",
        groups,
        "sum",
        (loop("c", 0, inner, *updates, step=unroll),),
        (Store(Operand("z", z.shape, (row, N("k"))), result),),
    )
    return one(parallel(loop("block", 0, rows, tile, step=3)), tensors=(x, w, b, z))


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "groups",
    [
        (Group(0, 8, 8), Group(8, 8, 8)),
        (Group(0, 8, 8), Group(8, 8, 5)),
        (Group(0, 4, 4), Group(4, 4, 1)),
        (Group(0, 1, 1),),
        (Group(0, 16, 13),),
    ],
    ids=lambda groups: "+".join(f"{group.valid}of{group.width}" for group in groups),
)
def test_product(groups: tuple[Group, ...], dtype: str, chosen: str) -> None:
    columns = sum(group.valid for group in groups)
    program = product_program(9, 10, columns, dtype, groups, unroll=2)
    arrays = {
        "x": integers(9, 10, dtype=dtype),
        "w": integers(10, columns, seed=1, dtype=dtype),
        "b": integers(columns, seed=2, dtype=dtype),
    }
    got = run(program, arrays, chosen=target(chosen))["z"]
    np.testing.assert_array_equal(got, np.maximum(arrays["x"] @ arrays["w"] + arrays["b"], 0))


def test_equal_bits_for_every_number_of_threads() -> None:
    program = product_program(30, 16, 16, "float32", (Group(0, 8, 8), Group(8, 8, 8)), unroll=4)
    rng = np.random.default_rng(5)
    arrays = {name: rng.standard_normal(program.tensor(name).shape).astype("float32") for name in ("x", "w", "b")}
    single = run(program, arrays)["z"]
    for threads in (2, 3, 7, 16):
        np.testing.assert_array_equal(run(program, arrays, threads)["z"], single)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("points", "groups"), [(6, 2), (4, 3), (12, 1), (14, 1)])
def test_full_tiles_stay_in_registers(points: int, groups: int, dtype: str) -> None:
    """Sums, vectors and one broadcast fill up to 16 registers of AVX2: nothing is spilled in the unrolled loop."""
    lanes = 8 if dtype == "float32" else 4
    x = Tensor("x", dtype, (60, points + 4), "input")
    w = Tensor("w", dtype, (60, groups * lanes), "input")
    z = Tensor("z", dtype, (points, groups * lanes), "output")

    def update(step: int) -> Update:
        """A window that slides along the points, as a convolution's does."""
        broadcast = Load(Operand("x", x.shape, (N("c"), N("m") + step)))
        vector = Load(Operand("w", w.shape, (N("c") + step, N("k"))))
        return Update(tuple(range(points)), Apply("mul", (broadcast, vector)), fence=step > 0)

    tile = Tile(
        (("m", points),),
        "k",
        tuple(Group(lanes * number, lanes, lanes) for number in range(groups)),
        "sum",
        (loop("c", 0, 60, *(update(step) for step in range(4)), step=4),),
        (Store(Operand("z", z.shape, (N("m"), N("k"))), Accumulated()),),
    )
    lines = [line.strip() for line in assembly_text(one(tile, tensors=(x, w, z)), target("x86-64-v3")).splitlines()]
    assert sum(line.startswith("vfmadd") for line in lines) == 4 * points * groups
    assert not [line for line in lines if "ymm" in line and "(%rsp)" in line]


# ------------------------------------------------------------ borders


@pytest.mark.parametrize("threads", [1, 3])
def test_dynamic_bounds_and_active_points(threads: int) -> None:
    """z[i, j] = sum(s, t) x[i+s-1, j+t-1], a 3x3 window: rows by dynamic bounds, columns by active points."""
    height, width = 5, 8
    x = Tensor("x", "float64", (height, width), "input")
    z = Tensor("z", "float64", (height, width), "output")
    low = Bound(((Affine(0), 1), (Affine(1) - N("i"), 1)))
    high = Bound(((Affine(3), 1), (Affine(height + 1) - N("i"), 1)))

    def update(t: int, active: tuple[int, ...]) -> Update:
        return Update(active, Load(Operand("x", x.shape, (N("i") + N("s") - 1, N("j") + t - 1))))

    window = For(
        "s", low, high, 1, (update(0, tuple(range(1, 8))), update(1, tuple(range(8))), update(2, tuple(range(7))))
    )
    tile = Tile((("j", 8),), "lane", (Group(0, 1, 1),), "sum", (window,), (
        Store(Operand("z", z.shape, (N("i"), N("j"))), Accumulated()),))  # fmt: skip
    values = integers(height, width, dtype="float64")
    got = run(one(parallel(loop("i", 0, height, tile)), tensors=(x, z)), {"x": values}, threads)["z"]
    padded = np.pad(values, 1)
    np.testing.assert_array_equal(got, sum(padded[s : s + height, t : t + width] for s in range(3) for t in range(3)))


def test_bounds_round_up() -> None:
    """for v in ceil(i/3) .. ceil((i+7)/4): z[i] = the number of turns and the sum of v."""
    z = Tensor("z", "float64", (9, 2), "output")
    turns = For("v", Bound(((N("i"), 3),)), Bound(((N("i") + 7, 4),)), 1, (Update((0,), Position(N("v"))),))
    count = For("v", Bound(((N("i"), 3),)), Bound(((N("i") + 7, 4),)), 1, (Update((0,), Constant(1.0)),))

    def tile(body: For, column: int) -> Tile:
        stores = (Store(Operand("z", z.shape, (N("i"), Affine(column))), Accumulated()),)
        return Tile((), "lane", (Group(0, 1, 1),), "sum", (body,), stores)

    got = run(one(loop("i", 0, 9, tile(turns, 0), tile(count, 1)), tensors=(z,)), {})["z"]
    for i in range(9):
        numbers = range(math.ceil(i / 3), math.ceil((i + 7) / 4))
        assert got[i].tolist() == [sum(numbers), len(numbers)]


@pytest.mark.parametrize("chosen", TARGETS)
@pytest.mark.parametrize("valid", [8, 5])
def test_guards_on_lanes_and_points(valid: int, chosen: str) -> None:
    """z[m, k] = x[m + k - 2] where that exists, else 7: the guard holds for some lanes of some points."""
    x, z = Tensor("x", "float32", (6,), "input"), Tensor("z", "float32", (4, valid), "output")
    index = N("m") + N("k") - 2
    load = Load(Operand("x", x.shape, (index,), guards=(Guard(index, 0, 6),), outside=7.0))
    tile = Tile(
        (("m", 4),), "k", (Group(0, 8, valid),), None, (), (Store(Operand("z", z.shape, (N("m"), N("k"))), load),)
    )
    values = np.arange(10, 16).astype("float32")
    got = run(one(tile, tensors=(x, z)), {"x": values}, chosen=target(chosen))["z"]
    wanted = [[values[m + k - 2] if 0 <= m + k - 2 < 6 else 7 for k in range(valid)] for m in range(4)]
    np.testing.assert_array_equal(got, np.array(wanted))


@pytest.mark.parametrize("width", [1, 8])
def test_guards_on_loops(width: int) -> None:
    """The same for a whole row of lanes (a vector is loaded from a safe place), and for single cells."""
    x = Tensor("x", "float64", (3, width), "input")
    z = Tensor("z", "float64", (7, width), "output")
    row = N("i") - 2
    load = Load(Operand("x", x.shape, (row, N("k")), guards=(Guard(row, 0, 3),), outside=-5.0))
    tile = Tile((), "k", (Group(0, width, width),), None, (), (Store(Operand("z", z.shape, (N("i"), N("k"))), load),))
    values = integers(3, width, dtype="float64")
    got = run(one(loop("i", 0, 7, tile), tensors=(x, z)), {"x": values})["z"]
    np.testing.assert_array_equal(got, np.pad(values, ((2, 2), (0, 0)), constant_values=-5))


@pytest.mark.parametrize("width", [1, 8])
def test_guarded_stores_leave_other_cells(width: int) -> None:
    z = Tensor("z", "float32", (5, width), "output")
    guards = (Guard(N("i"), 1, 4), *((Guard(N("k"), 2, 7),) if width > 1 else ()))
    store = Store(Operand("z", z.shape, (N("i"), N("k")), guards=guards), Position(N("i") * 10 + N("k")))
    got = run(one(loop("i", 0, 5, Tile((), "k", (Group(0, width, width),), None, (), (store,))), tensors=(z,)), {})["z"]
    for i in range(5):
        for k in range(width):
            inside = 1 <= i < 4 and (width == 1 or 2 <= k < 7)
            assert got[i, k] == 10 * i + k if inside else np.isnan(got[i, k])


# ------------------------------------------------------------ reductions


@pytest.mark.parametrize("reduction", ["sum", "max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("chains", [1, 3, 4])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions(reduction: str, chains: int, across: bool, dtype: str) -> None:
    """Over c, and over the lanes too with `across`; two groups of lanes, the second partly there; ties abound."""
    steps, lanes = 2 * chains, 13
    x = Tensor("x", dtype, (steps, lanes), "input")
    shape = () if across else (lanes,)
    arg = reduction.startswith("arg")
    z = Tensor("z", "int64" if arg else dtype, shape, "output")

    def update(chain: int) -> Update:
        at = N("c") + chain
        value = Load(Operand("x", x.shape, (at, N("k"))))
        return Update((0,), value, at * lanes + N("k") if arg else None, chain)

    store = Store(Operand("z", shape, () if across else (N("k"),)), Accumulated("position" if arg else "value"))
    groups = (Group(0, 8, 8), Group(8, 8, 5))
    body = (loop("c", 0, steps, *(update(chain) for chain in range(chains)), step=chains),)
    program = one(Tile((), "k", groups, reduction, body, (store,), chains, across), tensors=(x, z))
    values = integers(steps, lanes, seed=4, dtype=dtype)
    got = run(program, {"x": values})["z"]
    axis = None if across else 0
    wanted = getattr(np, reduction)(values, axis=axis)
    if arg and not across:
        wanted = wanted * lanes + np.arange(lanes)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("reduction", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("across", [False, True])
def test_nan_spreads_and_the_first_wins(reduction: str, across: bool) -> None:
    x = Tensor("x", "float32", (4, 8), "input")
    arg = reduction.startswith("arg")
    z = Tensor("z", "int64" if arg else "float32", () if across else (8,), "output")
    update = Update((0,), Load(Operand("x", x.shape, (N("c"), N("k")))), N("c") * 8 + N("k") if arg else None)
    store = Store(Operand("z", z.shape, () if across else (N("k"),)), Accumulated("position" if arg else "value"))
    tile = Tile((), "k", (Group(0, 8, 8),), reduction, (loop("c", 0, 4, update),), (store,), across=across)
    values = np.arange(32, dtype="float32").reshape(4, 8)
    values[1, 3] = values[3, 3] = values[2, 5] = np.nan
    got = run(one(tile, tensors=(x, z)), {"x": values})["z"]
    axis = None if across else 0
    wanted = getattr(np, reduction)(values, axis=axis)
    if arg and not across:
        wanted = wanted * 8 + np.arange(8)
    np.testing.assert_array_equal(got, wanted)


def test_all_of_minus_infinity_has_a_first_winner() -> None:
    x, z = Tensor("x", "float32", (3,), "input"), Tensor("z", "int64", (), "output")
    update = Update((0,), Load(Operand("x", (3,), (N("c"),))), N("c"))
    tile = Tile((), "k", (Group(0, 1, 1),), "argmax", (loop("c", 0, 3, update),), (
        Store(Operand("z", (), ()), Accumulated("position")),))  # fmt: skip
    assert run(one(tile, tensors=(x, z)), {"x": np.full(3, -np.inf, "float32")})["z"] == 0


def test_lanes_that_do_not_exist_add_nothing_to_a_sum_across() -> None:
    """The factor that all lanes share is infinite: infinity times the 0 of a lane that is not there would be NaN."""
    x, w = Tensor("x", "float32", (3,), "input"), Tensor("w", "float32", (1,), "input")
    z = Tensor("z", "float32", (), "output")
    product = Apply("mul", (Load(Operand("w", (1,), (Affine(0),))), Load(Operand("x", (3,), (N("k"),)))))
    tile = Tile((), "k", (Group(0, 4, 3),), "sum", (Update((0,), product),), (
        Store(Operand("z", (), ()), Accumulated()),), across=True)  # fmt: skip
    arrays = {"x": np.ones(3, "float32"), "w": np.full(1, np.inf, "float32")}
    assert run(one(tile, tensors=(x, w, z)), arrays)["z"] == np.inf


def test_later_slabs_add_to_the_first() -> None:
    x, z = Tensor("x", "float64", (3, 4, 8), "input"), Tensor("z", "float64", (8,), "output")
    update = Update((0,), Load(Operand("x", x.shape, (N("slab"), N("c"), N("k")))))
    store = Store(Operand("z", (8,), (N("k"),)), Accumulated(), add=N("slab"))
    tile = Tile((), "k", (Group(0, 8, 8),), "sum", (loop("c", 0, 4, update),), (store,))
    values = integers(3, 4, 8, dtype="float64")
    np.testing.assert_array_equal(
        run(one(loop("slab", 0, 3, tile), tensors=(x, z)), {"x": values})["z"], values.sum((0, 1))
    )


# ------------------------------------------------------------ addresses


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stored", [False, True], ids=["loads", "stores"])
@pytest.mark.parametrize(("points", "valid"), [(8, 8), (11, 8), (16, 5), (3, 8)])
def test_transposing_copies(points: int, valid: int, stored: bool, dtype: str) -> None:
    """z[m, k] = x[k, m] with points m and lanes k: strided loads or, turned round, strided stores."""
    x = Tensor("x", dtype, (valid, points) if not stored else (points, valid), "input")
    z = Tensor("z", dtype, (points, valid) if not stored else (valid, points), "output")
    by_point, by_lane = (N("m"), N("k")), (N("k"), N("m"))
    source, to = (by_point, by_lane) if stored else (by_lane, by_point)
    load = Load(Operand("x", x.shape, source))
    tile = Tile((("m", points),), "k", (Group(0, 8, valid),), None, (), (Store(Operand("z", z.shape, to), load),))
    values = np.arange(points * valid, dtype=dtype).reshape(x.shape)
    np.testing.assert_array_equal(run(one(tile, tensors=(x, z)), {"x": values})["z"], values.T)


def test_every_other_cell() -> None:
    x, z = Tensor("x", "float32", (20,), "input"), Tensor("z", "float32", (30,), "output")
    load = Load(Operand("x", (20,), (N("k") * 2 + 1,)))
    tile = Tile((), "k", (Group(0, 8, 8), Group(8, 2, 2)), None, (), (Store(Operand("z", (30,), (N("k") * 3,)), load),))
    values = np.arange(20, dtype="float32")
    got = run(one(tile, tensors=(x, z)), {"x": values})["z"]
    np.testing.assert_array_equal(got[::3], values[1::2])
    assert np.isnan(got.reshape(10, 3)[:, 1:]).all()


@pytest.mark.parametrize("width", [1, 8])
def test_lookups_by_row_and_by_lane(width: int) -> None:
    """z[k] = x[2*t[k] + 1] (a lookup a lane) and y[i, k] = e[r[i], k] (rows of a table: whole vectors)."""
    x, t = Tensor("x", "float32", (22,), "input"), Tensor("t", "int64", (width,), "input")
    e, r = Tensor("e", "float32", (5, width), "input"), Tensor("r", "int64", (3,), "input")
    z, y = Tensor("z", "float32", (width,), "output"), Tensor("y", "float32", (3, width), "output")
    chosen = Lookup(0, Operand("t", t.shape, (N("k"),)), 2)
    by_lane = Load(Operand("x", x.shape, (Affine(1),), lookups=(chosen,)))
    by_row = Load(Operand("e", e.shape, (Affine(), N("k")), lookups=(Lookup(0, Operand("r", r.shape, (N("i"),))),)))
    groups = (Group(0, width, width),)
    first = Tile((), "k", groups, None, (), (Store(Operand("z", z.shape, (N("k"),)), by_lane),))
    second = Tile((), "k", groups, None, (), (Store(Operand("y", y.shape, (N("i"), N("k"))), by_row),))
    rng = np.random.default_rng(0)
    arrays = {
        "x": np.arange(22, dtype="float32"),
        "t": rng.integers(0, 10, width),
        "e": rng.standard_normal((5, width)).astype("float32"),
        "r": np.array([4, 0, 2]),
    }
    got = run(one(first, loop("i", 0, 3, second), tensors=(x, t, e, r, z, y)), arrays)
    np.testing.assert_array_equal(got["z"], arrays["x"][2 * arrays["t"] + 1])
    np.testing.assert_array_equal(got["y"], arrays["e"][arrays["r"]])


def test_stores_through_lookups() -> None:
    z, t = Tensor("z", "float64", (3, 6), "output"), Tensor("t", "int64", (3,), "input")
    target_cell = Operand("z", z.shape, (N("n"), Affine()), lookups=(Lookup(1, Operand("t", (3,), (N("n"),))),))
    tile = Tile((), "k", (Group(0, 1, 1),), None, (), (Store(target_cell, Constant(5.0)),))
    got = run(one(loop("n", 0, 3, tile), tensors=(z, t)), {"t": np.array([5, 0, 3])})["z"]
    assert np.argwhere(got == 5).tolist() == [[0, 5], [1, 0], [2, 3]]
    assert np.isnan(got).sum() == 15


def test_tables_temporaries_and_scratch() -> None:
    """Two nests: each thread fills its scratch with a row and stores its sum by a table; then a copy."""
    x = Tensor("x", "float32", (6, 4), "input")
    table = Tensor("order", "int64", (6,), "table", (5, 3, 1, 0, 2, 4))
    scale = Tensor("scale", "float64", (2,), "table", (0.5, 2.0))
    row, between = Tensor("row", "float32", (4,), "scratch"), Tensor("between", "float32", (6,), "temporary")
    z = Tensor("z", "float32", (6,), "output")
    fill = Tile((), "k", (Group(0, 4, 4),), None, (), (
        Store(Operand("row", (4,), (N("k"),)), Load(Operand("x", x.shape, (N("i"), N("k"))))),))  # fmt: skip
    lookup = Lookup(0, Operand("order", (6,), (N("i"),)))
    total = Apply("mul", (Accumulated(), Load(Operand("scale", (2,), (Affine(1),)))))
    every = loop("c", 0, 4, Update((0,), Load(Operand("row", (4,), (N("c"),)))))
    add = Tile((), "k", (Group(0, 1, 1),), "sum", (every,), (
        Store(Operand("between", (6,), (Affine(),), lookups=(lookup,)), total),))  # fmt: skip
    copy = Tile((), "k", (Group(0, 8, 6),), None, (), (
        Store(Operand("z", (6,), (N("k"),)), Load(Operand("between", (6,), (N("k"),)))),))  # fmt: skip
    program = Program(
        (x, table, scale, row, between, z),
        (Nest("sums", (parallel(loop("i", 0, 6, fill, add)),)), Nest("copy", (copy,))),
    )
    values = integers(6, 4)
    wanted = np.empty(6)
    wanted[list(table.values)] = 2 * values.sum(1)
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(run(program, {"x": values}, threads)["z"], wanted)


def test_what_no_parallel_loop_divides_is_done_once() -> None:
    """Later slabs read what stood there before: two threads doing all of it would add twice."""
    x, z = Tensor("x", "float64", (50,), "input"), Tensor("z", "float64", (), "output")
    store = Store(Operand("z", (), ()), Accumulated(), add=N("slab"))
    tile = Tile((), "k", (Group(0, 1, 1),), "sum", (Update((0,), Load(Operand("x", (50,), (N("slab"),)))),), (store,))
    values = integers(50, dtype="float64")
    for threads in (1, 4):
        assert run(one(loop("slab", 0, 50, tile), tensors=(x, z)), {"x": values}, threads)["z"] == values.sum()


def test_equal_nests_share_one_function() -> None:
    tensors = [Tensor("x", "float32", (8,), "input")]
    nests: list[Nest] = []
    for number in range(3):
        source, to = tensors[-1].name, f"y{number}"
        tensors.append(Tensor(to, "float32", (8,), "output"))
        doubled: Value = Apply("add", (Load(Operand(source, (8,), (N("k"),))),) * 2)
        nests.append(
            Nest(to, (Tile((), "k", (Group(0, 8, 8),), None, (), (Store(Operand(to, (8,), (N("k"),)), doubled),)),))
        )
    program = Program(tuple(tensors), tuple(nests))
    got = run(program, {"x": np.ones(8, "float32")}, threads=2)
    assert [float(got[f"y{number}"][0]) for number in range(3)] == [2, 4, 8]
    assert emit_module(program, target()).text.count('define internal void @"nest') == 1
