"""The interpreter on nests written by hand, against results worked out by hand or by NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pellucid.errors import ArgumentError, OutOfBoundsError
from pellucid.language.affine import Affine
from pellucid.schedule.arithmetic import FUNCTIONS
from pellucid.schedule.interpret import DataRaceError, interpret
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
    Store,
    Tensor,
    Tile,
    Update,
)

NAN, INF = math.nan, math.inf


def form(const=0, **terms):
    return Affine.of(const, terms)


def at(tensor, shape, *index, **options):
    return Operand(tensor, shape, tuple(index), **options)


def loop(name, low, high, *body, step=1, parallel=False):
    ends = [end if isinstance(end, Bound) else Bound.of(end) for end in (low, high)]
    return For(name, ends[0], ends[1], step, body, parallel)


def each(groups, *stores, points=()):
    """A tile without accumulators."""
    return Tile(points, "l", groups, None, (), stores)


ONE = (Group(0, 1, 1),)
X6, Z6 = Tensor("x", "float64", (6,), "input"), Tensor("z", "float64", (6,), "output")


def run(tensors, body, arrays, threads=1):
    """The output `z` of one nest."""
    program = Program(tensors, (Nest("test", body if isinstance(body, tuple) else (body,)),))
    out = [NAN] * program.tensor("z").size
    interpret(program, {**arrays, "z": out}, threads)
    return out


def test_a_tiled_convolution_with_borders():
    # z[i,k] = sum(s) x[i+s-1] * w[s,k]; 7 rows in tiles of 3 points and a last one; 5 channels as 4 and 1 of 4 lanes.
    x, w = np.arange(1.0, 8.0), np.arange(15.0).reshape(3, 5)
    tensors = (
        Tensor("x", "float64", (7,), "input"), Tensor("w", "float64", (3, 5), "input"),
        Tensor("z", "float64", (7, 5), "output"),
    )  # fmt: skip

    def tile(first, count, step, active_by_tap):
        row = form(first, p=1, **step)
        product = [
            Apply("mul", (Load(at("x", (7,), row + s - 1)), Load(at("w", (3, 5), form(s), form(k=1)))))
            for s in range(3)
        ]
        updates = tuple(Update(active, value) for active, value in zip(active_by_tap, product, strict=True))
        store = Store(at("z", (7, 5), row, form(k=1)), Accumulated())
        return Tile((("p", count),), "k", (Group(0, 4, 4), Group(4, 4, 1)), "sum", updates, (store,))

    whole = (0, 1, 2)
    body = (
        tile(0, 3, {}, ((1, 2), whole, whole)),
        loop("t", 3, 6, tile(0, 3, {"t": 1}, (whole, whole, whole)), step=3),
        tile(6, 1, {}, ((0,), (0,), ())),
    )
    padded = np.pad(x, 1)
    expected = sum(np.outer(padded[s : s + 7], w[s]) for s in range(3))
    assert run(tensors, body, {"x": x, "w": w.reshape(-1)}) == expected.reshape(-1).tolist()


@pytest.mark.parametrize("chains", [1, 3])
@pytest.mark.parametrize("across", [False, True])
def test_chains_and_lanes_reduced_across(chains, across):
    # A sum of 36 numbers: as one lane in chains, and spread over lanes of which the last do not exist.
    x = np.arange(1.0, 37.0)
    lanes = (Group(0, 4, 4), Group(4, 4, 2)) if across else ONE
    width = 6 if across else 1
    updates = tuple(
        Update((0,), Load(at("x", (36,), form(c, u=chains) * width + (form(l=1) if across else 0))), chain=c)
        for c in range(chains)
    )
    rounds = loop("u", 0, 36 // width // chains, *updates)
    store = Store(at("z", (1,), form(l=1)), Accumulated())
    body = Tile((), "l", lanes, "sum", (rounds,), (store,), chains, across)
    tensors = (Tensor("x", "float64", (36,), "input"), Tensor("z", "float64", (1,), "output"))
    assert run(tensors, body, {"x": x}) == [666.0]


def winner_of(values, op, *, across=False, positions=None, chains=1):
    """Value and position that a tile finds in `values`."""
    count = len(values)
    x = Tensor("x", "float64", (count,), "input")
    z, p = Tensor("z", "float64", (1,), "output"), Tensor("p", "int64", (1,), "output")
    lanes = (Group(0, count, count),) if across else ONE
    stores = [Store(at("z", (1,), form()), Accumulated())]
    stores.append(Store(at("p", (1,), form()), Accumulated("position")))
    if across:
        updates = (Update((0,), Load(at("x", (count,), form(l=1))), form(l=1)),)
    else:
        updates = tuple(
            Update((0,), Load(at("x", (count,), form(i))), form(i), chain=i % chains) for i in positions or range(count)
        )
    tile = Tile((), "l", lanes, op, updates, tuple(stores), chains, across)
    best, place = [NAN], [-5]
    interpret(Program((x, z, p), (Nest("test", (tile,)),)), {"x": list(values), "z": best, "p": place})
    return best[0], place[0]


@pytest.mark.parametrize("options", [{}, {"across": True}, {"chains": 2}, {"chains": 3}])
@pytest.mark.parametrize(
    ("values", "largest", "smallest"),
    [
        ((1, 3, 2, 3), (3, 1), (1, 0)),
        ((2, 0, 0, 1), (2, 0), (0, 1)),
        ((-INF, 5, INF, INF), (INF, 2), (-INF, 0)),
        ((-INF, -INF), (-INF, 0), (-INF, 0)),
    ],
)
def test_the_first_winner(values, largest, smallest, options):
    assert winner_of(values, "argmax", **options) == largest
    assert winner_of(values, "argmin", **options) == smallest


@pytest.mark.parametrize("options", [{}, {"across": True}, {"chains": 2}])
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_the_first_nan_wins_over_everything(op, options):
    value, position = winner_of((4, NAN, 9, NAN, -INF, INF), op, **options)
    assert math.isnan(value)
    assert position == 1


@pytest.mark.parametrize(("op", "best"), [("max", 7.0), ("min", -2.0)])
def test_maximum_and_minimum_and_their_nan(op, best):
    def reduced(values):
        tensors = (Tensor("x", "float64", (4,), "input"), Tensor("z", "float64", (1,), "output"))
        update = Update((0,), Load(at("x", (4,), form(i=1))))
        store = Store(at("z", (1,), form()), Accumulated())
        return run(tensors, Tile((), "l", ONE, op, (loop("i", 0, 4, update),), (store,)), {"x": values})

    assert reduced([3.0, -2.0, 7.0, 0.0]) == [best]
    for place in range(4):
        values = [3.0, -2.0, 7.0, 0.0]
        values[place] = NAN
        assert math.isnan(reduced(values)[0])


def test_an_empty_reduction_gives_the_identity():
    for op, identity in (("sum", 0.0), ("max", -INF), ("min", INF)):
        update = Update((0,), Load(at("x", (6,), form(i=1))))
        store = Store(at("z", (6,), form(n=1)), Accumulated())
        body = loop("n", 0, 6, Tile((), "l", ONE, op, (loop("i", 3, 2, update),), (store,)))
        assert run((X6, Z6), body, {"x": [1.0] * 6}) == [identity] * 6


def test_guards_lookups_and_what_is_outside():
    # z[i] = x[t[i] + 1] where i - 1 is in 0 .. 3, else 9.
    labels = Tensor("t", "int64", (3,), "input")
    lookup = Lookup(0, at("t", (3,), form(-1, i=1)), stride=2)
    load = Load(at("x", (6,), form(1), guards=(Guard(form(-1, i=1), 0, 3),), lookups=(lookup,), outside=9.0))
    body = loop("i", 0, 6, each(ONE, Store(at("z", (6,), form(i=1)), load)))
    got = run((X6, Z6, labels), body, {"x": [0.0, 10.0, 20.0, 30.0, 40.0, 50.0], "t": [2, 0, 1]})
    assert got == [9, 50, 10, 30, 9, 9]


def test_tables_positions_and_guarded_stores():
    table = Tensor("t", "int64", (6,), "table", (5, 4, 3, 2, 1, 0))
    value = Apply("add", (Load(at("t", (6,), form(i=1))), Position(form(-1, i=2))))
    operand = at("z", (6,), form(i=1), guards=(Guard(form(i=1), 1, 5),))
    got = run((Z6, table), loop("i", 0, 6, each(ONE, Store(operand, value))), {})
    assert got[1:5] == [5, 6, 7, 8]
    assert math.isnan(got[0])
    assert math.isnan(got[5])


def test_slabs_add_to_what_stands_there():
    # x summed in slabs of 2: the first slab writes, the later ones add.
    update = Update((0,), Load(at("x", (6,), form(i=1, slab=2))))
    store = Store(at("z", (1,), form()), Accumulated(), add=form(slab=1))
    body = loop("slab", 0, 3, Tile((), "l", ONE, "sum", (loop("i", 0, 2, update),), (store,)))
    z = Tensor("z", "float64", (1,), "output")
    assert run((X6, z), body, {"x": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]}) == [63.0]


def test_dynamic_bounds_round_up():
    # i from ceil((j - 3) / 2) and 0 to ceil((j + 1) / 2): counted for j = 0 .. 5.
    low = Bound(((form(0), 1), (form(-3, j=1), 2)))
    high = Bound(((form(1, j=1), 2), (form(9), 1)))
    update = Update((0,), Constant(1))
    store = Store(at("z", (6,), form(j=1)), Accumulated())
    body = loop("j", 0, 6, Tile((), "l", ONE, "sum", (loop("i", low, high, update),), (store,)))
    expected = [max(0, math.ceil((j + 1) / 2) - max(0, math.ceil((j - 3) / 2))) for j in range(6)]
    assert run((Z6,), body, {}) == expected


def test_views_scratch_and_temporaries_between_nests():
    # A transposing copy into a temporary, then read as a view of another shape.
    x = Tensor("x", "float64", (2, 3), "input")
    temporary = Tensor("y", "float64", (3, 2), "temporary")
    z = Tensor("z", "float64", (6,), "output")
    scratch = Tensor("s", "float64", (1,), "scratch")
    copy = loop("i", 0, 2, loop("j", 0, 3, each(ONE, Store(at("y", (3, 2), form(j=1), form(i=1)), Load(
        at("x", (2, 3), form(i=1), form(j=1)))))))  # fmt: skip
    through = (
        each(ONE, Store(at("s", (1,), form()), Load(at("y", (6,), form(i=1))))),
        each(ONE, Store(at("z", (6,), form(i=1)), Load(at("s", (1,), form())))),
    )
    program = Program((x, temporary, z, scratch), (Nest("copy", (copy,)), Nest("read", (loop("i", 0, 6, *through),))))
    out = [NAN] * 6
    interpret(program, {"x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "z": out})
    assert out == [1, 4, 2, 5, 3, 6]
    seen = [0.0] * 6
    interpret(program, {"x": out, "y": seen, "z": [NAN] * 6})
    assert seen == [1, 5, 4, 3, 2, 6]


def test_scratch_starts_undefined_in_every_nest():
    scratch, z = Tensor("s", "float64", (1,), "scratch"), Tensor("z", "float64", (1,), "output")
    fill = each(ONE, Store(at("s", (1,), form()), Constant(1)))
    read = each(ONE, Store(at("z", (1,), form()), Load(at("s", (1,), form()))))
    out = [0.0]
    interpret(Program((scratch, z), (Nest("fill", (fill,)), Nest("read", (read,)))), {"z": out})
    assert math.isnan(out[0])


def test_buffers_round_as_they_are_made():
    out = np.zeros(6, np.float32)
    body = loop("i", 0, 6, each(ONE, Store(at("z", (6,), form(i=1)), Constant(0.1))))
    interpret(Program((Z6,), (Nest("test", (body,)),)), {"z": out})
    assert out.tolist() == [float(np.float32(0.1))] * 6


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_parallel_loops_are_divided_without_gap_or_overlap(threads):
    store = Store(at("z", (6,), form(i=1)), Position(form(i=1)))
    visited = Store(at("count", (6,), form(i=1)), Constant(1), add=form(1))
    count = Tensor("count", "float64", (6,), "temporary")
    body = loop("i", 0, 6, each(ONE, store, visited), step=1, parallel=True)
    times = [0.0] * 6
    assert run((Z6, count), body, {"count": times}, threads) == [0, 1, 2, 3, 4, 5]
    assert times == [1] * 6


def test_parallel_loops_that_step():
    store = Store(at("z", (6,), form(i=1, p=1)), Position(form(i=1)))
    body = loop("i", 0, 5, each(ONE, store, points=(("p", 2),)), step=2, parallel=True)
    assert run((Z6,), body, {}, 2) == [0, 0, 2, 2, 4, 4]


def test_threads_that_meet_in_a_cell():
    total = Store(at("z", (1,), form()), Position(form(i=1)), add=form(1))
    z = Tensor("z", "float64", (1,), "output")
    with pytest.raises(DataRaceError, match=r"^nest test: threads 0 and 1 meet in element 0 of z$"):
        run((z,), loop("i", 0, 4, each(ONE, total), parallel=True), {}, 2)


@pytest.mark.parametrize(("source", "element"), [(form(5, i=-1), 2), (form(3, i=1), 3)])
def test_threads_that_read_what_another_one_writes(source, element):
    # Thread 0 has i = 0, 1, 2 and writes y[i]. Thread 1 reads y[2], or writes y[3], which thread 0 has read.
    guard = Guard(source, 0, 6)
    first = each(ONE, Store(at("z", (6,), form(i=1)), Load(at("y", (6,), source, guards=(guard,)))))
    then = each(ONE, Store(at("y", (6,), form(i=1)), Constant(1)))
    y = Tensor("y", "float64", (6,), "temporary")
    with pytest.raises(DataRaceError, match=rf"^nest test: threads 0 and 1 meet in element {element} of y$"):
        run((Z6, y), loop("i", 0, 6, first, then, parallel=True), {}, 2)


def test_every_thread_may_write_the_same_value():
    z = Tensor("z", "float64", (1,), "output")
    assert run((z,), each(ONE, Store(at("z", (1,), form()), Constant(4))), {}, 3) == [4]


# ---------------------------------------------------------------- errors
def refused(body, tensors=(X6, Z6)):
    with pytest.raises(OutOfBoundsError) as caught:
        run(tensors, body, {tensor.name: [0] * tensor.size for tensor in tensors if tensor.role == "input"})
    return str(caught.value)


def test_accesses_outside():
    copy = loop("i", 0, 6, each(ONE, Store(at("z", (6,), form(i=1)), Load(at("x", (6,), form(1, i=1))))))
    assert refused(copy) == "nest test: x[6] is outside of shape (6,) in dimension 0"
    copy = loop("i", 0, 6, each(ONE, Store(at("z", (6,), form(-1, i=1)), Constant(0))))
    assert refused(copy) == "nest test: z[-1] is outside of shape (6,) in dimension 0"
    # Inside the memory, but in the next row.
    copy = loop("i", 0, 3, each(ONE, Store(at("z", (3, 2), form(), form(i=1)), Constant(0))))
    assert refused(copy) == "nest test: z[0, 2] is outside of shape (3, 2) in dimension 1"


def test_a_choice_hides_no_access():
    value = Apply("where", (Apply("lt", (Constant(0), Constant(1))), Constant(0), Load(at("x", (6,), form(6)))))
    assert refused(each(ONE, Store(at("z", (6,), form()), value))) == (
        "nest test: x[6] is outside of shape (6,) in dimension 0"
    )


def test_a_label_outside():
    labels = Tensor("t", "int64", (1,), "input")
    load = Load(at("x", (6,), form(-1), lookups=(Lookup(0, at("t", (1,), form())),)))
    body = each(ONE, Store(at("z", (6,), form()), load))
    assert refused(body, (X6, Z6, labels)) == "nest test: x[-1] is outside of shape (6,) in dimension 0"


def test_buffers_that_do_not_fit():
    program = Program((X6, Z6), ())
    with pytest.raises(ArgumentError, match=r"^`z` is an output of the program, but no buffer was given for it$"):
        interpret(program, {"x": [0.0] * 6})
    with pytest.raises(ArgumentError, match=r"^`x` \(6,\) needs a flat buffer of 6, not of 5$"):
        interpret(program, {"x": [0.0] * 5, "z": [0.0] * 6})
    with pytest.raises(ArgumentError, match=r"^`threads` \(=0\) must be at least 1$"):
        interpret(program, {"x": [0.0] * 6, "z": [0.0] * 6}, 0)


def test_a_parallel_loop_inside_a_parallel_loop_would_lose_work():
    inner = loop("j", 0, 2, each(ONE, Store(at("z", (6,), form(i=2, j=1)), Constant(0))), parallel=True)
    with pytest.raises(AssertionError, match="a parallel loop inside a parallel loop"):
        run((Z6,), loop("i", 0, 3, inner, parallel=True), {})


# ---------------------------------------------------------------- arithmetic
EDGES = [-INF, -800.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 800.0, INF, NAN]
NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "sqrt": np.sqrt, "sign": np.sign, "floor": np.floor,
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos,
    "tanh": np.tanh, "pow": np.power, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "softplus": lambda z: np.logaddexp(0, z),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NUMPY))
def test_functions_at_the_edges_against_numpy(name):
    judge = NUMPY[name]
    unary = name == "softplus" or judge.nin == 1
    arguments = [(a,) for a in EDGES] if unary else [(a, b) for a in EDGES for b in EDGES]
    if name == "pow":
        # NumPy's vectorised power of -inf depends on the processor; C's is tested below.
        arguments = [(a, b) for a, b in arguments if a != -INF]
    with np.errstate(all="ignore"):
        expected = [judge(*map(np.float64, pair)) for pair in arguments]
    got = [FUNCTIONS[name](*pair) for pair in arguments]
    np.testing.assert_allclose(np.array(got, float), np.array(expected, float), rtol=4e-16, atol=0)


def test_powers_of_minus_infinity_and_of_numbers_out_of_range():
    exponents = [-3.0, -2.0, -0.5, 0.0, 0.5, 2.0, 3.0]
    assert [FUNCTIONS["pow"](-INF, b) for b in exponents] == [0, 0, 0, 1, INF, INF, -INF]
    assert [FUNCTIONS["pow"](-1e200, b) for b in (2.0, 3.0)] == [INF, -INF]


def test_sigmoid_and_erf():
    assert [FUNCTIONS["sigmoid"](a) for a in (-INF, -800.0, 0.0, 800.0, INF)] == [0, 0, 0.5, 1, 1]
    assert FUNCTIONS["sigmoid"](2.0) == pytest.approx(0.8807970779778823, rel=4e-16)
    assert FUNCTIONS["erf"](0.5) == 0.5204998778130465
    assert math.isnan(FUNCTIONS["sigmoid"](NAN))


def test_integers_round_towards_minus_infinity():
    assert [FUNCTIONS["floordiv"](a, 3) for a in (-4, -3, -1, 0, 2, 3)] == [-2, -1, -1, 0, 0, 1]
    assert [FUNCTIONS["mod"](a, 3) for a in (-4, -3, -1, 0, 2, 3)] == [2, 0, 2, 0, 2, 0]


def test_conditions():
    assert FUNCTIONS["where"](FUNCTIONS["and"](True, FUNCTIONS["not"](False)), 1.0, 2.0) == 1.0
    assert FUNCTIONS["where"](FUNCTIONS["or"](False, False), 1.0, 2.0) == 2.0


def test_the_position_that_a_chain_never_reached_does_not_win():
    # Chain 1 is empty: its identity must not take the place of a winner that is -inf in no way.
    assert winner_of((-3.0,), "argmax", chains=2) == (-3.0, 0)
    assert winner_of((1.0, -3.0), "argmin", positions=[1], chains=2) == (-3.0, 1)
