"""Loops over the same rows that write parts of one array become one loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pellucid import Equation, equation
from pellucid.emit import compile_program
from pellucid.language.affine import Affine
from pellucid.schedule.bounds import prove
from pellucid.schedule.merging import with_merged_loops
from pellucid.schedule.nest import (
    Accumulated,
    Apply,
    Bound,
    For,
    Group,
    Load,
    Nest,
    Operand,
    Program,
    Statement,
    Store,
    Tensor,
    Tile,
    Update,
)
from pellucid.schedule.show import show

POOL = "p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]"
SHAPES = {"x": (8, 16), "y": (8, 16), "a": (16, 16), "b": (16, 16)}
LANES = (Group(0, 16, 16),)


def cells(tensor: str, row: Affine) -> Operand:
    return Operand(tensor, SHAPES[tensor], (row, Affine.name("c")))


def copy(
    variable: str, read: str, write: str, form: tuple[int, int], rounds: int = 8, step: int = 1, add: bool = False
) -> For:
    """for variable: write[form[0]*variable + form[1], c] = read[variable, c]"""
    target = cells(write, Affine.name(variable) * form[0] + form[1])
    store = Store(target, Load(cells(read, Affine.name(variable))), Affine(1) if add else None)
    tile = Tile((), "c", LANES, None, (), (store,))
    return For(variable, Bound.of(0), Bound.of(rounds), step, (tile,))


def merged(*body: Statement) -> list[Statement]:
    """What becomes of the statements of one image."""
    (image,) = with_merged_loops(Nest("t", (For("n", Bound.of(0), Bound.of(1), 1, body, parallel=True),))).body
    assert isinstance(image, For)
    assert image.parallel
    return list(image.body)


def ranges(body: list[Statement]) -> list[tuple[str, int | None, int | None, int]]:
    """Variable, range and number of statements of each loop."""
    loops = [statement for statement in body if isinstance(statement, For)]
    return [(loop.variable, loop.low.static, loop.high.static, len(loop.body)) for loop in loops]


def test_parts_of_one_array():
    found = merged(copy("i", "x", "a", (2, 0)), copy("j", "x", "a", (2, 1)))
    assert ranges(found) == [("i.row", 0, 8, 2)]
    rows = [part.stores[0].operand.index[0] for part in found[0].body]
    assert rows == [Affine.name("i.row") * 2, Affine.name("i.row") * 2 + 1]


def test_what_is_left_of_the_longer_loop():
    body = [copy("i", "x", "a", (2, 0)), copy("j", "x", "a", (2, 1), rounds=6)]
    assert ranges(merged(*body)) == [("i.row", 0, 6, 2), ("i", 6, 8, 1)]
    assert ranges(merged(*reversed(body))) == [("j.row", 0, 6, 2), ("i", 6, 8, 1)]


def test_three_and_something_between():
    other = copy("k", "y", "b", (1, 0))
    first, second, third = (copy(name, "x", "a", (3, at), 5 - at // 2) for at, name in enumerate("ijl"))
    found = merged(first, other, second, third)
    assert ranges(found) == [("i.row", 0, 4, 3), ("i.row", 4, 5, 2), ("k", 0, 8, 1)]


def product_of(variable: str, first: int) -> For:
    """A loop as in `copy` whose tile multiplies what serves two points by what serves all lanes."""
    row = Affine.name(variable)
    number = Load(Operand("y", SHAPES["y"], (Affine.name("p"), Affine(0))))
    update = Update((0, 1), Apply("mul", (number, Load(cells("x", row)))))
    store = Store(cells("a", row * 2 + first), Accumulated())
    return For(variable, Bound.of(0), Bound.of(8), 1, (Tile((("p", 2),), "c", LANES, "sum", (update,), (store,)),))


EVEN = copy("i", "x", "a", (2, 0))


@pytest.mark.parametrize(
    "body",
    [
        [EVEN, copy("j", "x", "b", (2, 1))],  # another array
        [EVEN, copy("j", "y", "a", (2, 1))],  # nothing in common is read
        [EVEN, copy("j", "x", "a", (2, 2))],  # the same cells
        [EVEN, copy("j", "x", "a", (1, 1))],
        [EVEN, copy("j", "x", "a", (2, 1), rounds=4)],  # half the rounds
        [EVEN, copy("j", "x", "a", (2, 1), step=2)],
        [EVEN, copy("j", "x", "a", (2, 1), add=True)],  # reads what it writes, which the first one writes, too
        [copy("i", "a", "a", (2, 0)), copy("j", "a", "a", (2, 1))],  # reads what the other writes
        [EVEN, replace(copy("j", "x", "a", (2, 1)), parallel=True)],
        [EVEN, replace(copy("j", "x", "a", (2, 1)), low=Bound.of(1))],
        [EVEN, copy("k", "a", "b", (1, 0)), copy("j", "b", "a", (2, 1))],  # what stands between comes first
        [EVEN, copy("k", "x", "x", (1, 0)), copy("j", "x", "a", (2, 1))],
        [product_of("i", 0), product_of("j", 1)],
    ],
)
def test_loops_that_stay(body: list[Statement]):
    assert merged(*body) == body


def test_loops_through_other_rows():
    """One goes through the rows of x, the other through its columns."""
    tile = Tile((), "c", LANES, None, (), (Store(cells("a", Affine.name("j") * 2 + 1), Load(column())),))
    body = [EVEN, For("j", Bound.of(0), Bound.of(8), 1, (tile,))]
    assert merged(*body) == body


def test_loops_that_read_one_row_alone():
    """It is near in any case."""

    def loop(variable: str, first: int) -> For:
        store = Store(cells("a", Affine.name(variable) * 2 + first), Load(cells("x", Affine(3))))
        return For(variable, Bound.of(0), Bound.of(8), 1, (Tile((), "c", LANES, None, (), (store,)),))

    body = [loop("i", 0), loop("j", 1)]
    assert merged(*body) == body


def column() -> Operand:
    return Operand("x", SHAPES["x"], (Affine(0), Affine.name("j")))


def test_it_is_the_same_work():
    body = (copy("i", "x", "a", (2, 0)), copy("j", "x", "a", (2, 1), rounds=6))
    nest = with_merged_loops(Nest("t", (For("n", Bound.of(0), Bound.of(1), 1, body, parallel=True),)))
    tensors = Tensor("x", "float32", SHAPES["x"], "input"), Tensor("a", "float32", SHAPES["a"], "output")
    program = Program(tensors, (nest,))
    prove(program)
    x, a = np.random.default_rng(0).random(SHAPES["x"], "float32"), np.zeros(SHAPES["a"], "float32")
    compile_program(program).call({"x": x, "a": a})
    np.testing.assert_array_equal(a[::2], x)
    np.testing.assert_array_equal(a[1:12:2], x[:6])
    assert not a[13::2].any()


@pytest.mark.parametrize("size", [(7, 9), (8, 8), (14, 31)])
@pytest.mark.parametrize("channels", [3, 16, 64])
def test_gradients_of_pools_go_through_the_residues_row_by_row(size, channels, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, *size, channels)).astype("float32")
    g = rng.standard_normal((2, *((extent + 1) // 2 for extent in size), channels)).astype("float32")
    given = {"s": 3, "t": 3}
    gradient = Equation(POOL).gradient("x")
    nest = gradient.loop_nest(extents=given, x=x, g=g)
    assert ".row in 0 .. " in show(nest.program)
    found = gradient(x=x, g=g, extents=given)
    np.testing.assert_allclose(found, gradient.reference(x=x, g=g, extents=given), rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(equation, "with_merged_loops", lambda nest: nest)
    plain = Equation(POOL).gradient("x")
    assert ".row" not in show(plain.loop_nest(extents=given, x=x, g=g).program)
    assert plain(x=x, g=g, extents=given).tobytes() == found.tobytes()


def test_tiles_of_residues_are_whole_rows_of_lanes():
    """What they share is near when its loops are one, and arrays are then written in order."""
    x, g = np.zeros((2, 8, 8, 64), "float32"), np.zeros((2, 4, 4, 64), "float32")
    _, *residues = Equation(POOL).gradient("x").loop_nest(extents={"s": 3, "t": 3}, x=x, g=g).plans
    assert len(residues) == 4
    assert {size for plan in residues for _, size in plan.tile} <= {1}
    assert min(plan.block // plan.lanes for plan in residues) >= 4
