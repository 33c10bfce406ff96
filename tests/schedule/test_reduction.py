"""The body of a tile, printed: where it is cut at borders, unrolled, fused and fenced."""

from __future__ import annotations

from itertools import product

import pytest

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Apply, For, Group, Guard, Load, Operand, Statement, Update, Value, statements
from pellucid.schedule.reduction import Reduction
from pellucid.schedule.show import show

K = Group(0, 8, 8)


def form(const: int = 0, **terms: int) -> Affine:
    return Affine.of(const, terms)


def reduction(points: int, *, chains: int = 1, unroll: int = 1, free_registers: int = 100) -> Reduction:
    return Reduction([{"j": j} for j in range(points)], "k", (K,), "sum", False, chains, unroll, free_registers)


def row(size: int) -> Value:
    """x[j + t - 1] * w[t, k]"""
    x = Operand("x", (size,), (form(-1, j=1, t=1),))
    return Apply("mul", (Load(x), Load(Operand("w", (3, 8), (form(t=1), form(k=1))))))


def updates(body: tuple[Statement, ...]) -> list[Update]:
    return [statement for statement in statements(body) if isinstance(statement, Update)]


def test_a_border_is_cut_where_the_active_points_change() -> None:
    guard = Guard(form(-1, j=1, t=1), 0, 4)
    body = reduction(4).body(row(4), None, (guard,), [("t", 0, 3)], {})
    assert [update.active for update in updates(body)] == [(1, 2, 3), (0, 1, 2, 3), (0, 1, 2)]
    assert [show(update).split(" <- ")[1] for update in updates(body)] == [
        "x[j - 1] * w[0, k]",
        "x[j] * w[1, k]",
        "x[j + 1] * w[2, k]",
    ]


@pytest.mark.parametrize("step", [1, 2, -1, -2])
@pytest.mark.parametrize("const", [-3, 0, 2, 5])
def test_static_borders_are_those_of_the_guard(step: int, const: int) -> None:
    """For every point, the terms that are added are those for which the guard holds, in order, each once."""
    guard = Guard(form(const, j=1, t=step), 0, 5)
    body = reduction(3).body(row(9), None, (guard,), [("t", 0, 6)], {})
    added = [(j, t) for update in updates(body) for j in update.active for t in [_step(update)]]
    wanted = [(j, t) for t, j in product(range(6), range(3)) if 0 <= const + j + step * t < 5]
    assert sorted(added) == sorted(wanted)
    assert [t for _, t in added] == sorted(t for _, t in added)


def _step(update: Update) -> int:
    """The value of t that an unrolled update stands for."""
    assert isinstance(update.value, Apply)
    factor = update.value.arguments[1]
    assert isinstance(factor, Load)
    return factor.operand.index[0].const


def test_a_guard_by_an_outer_loop_becomes_bounds_of_the_loop() -> None:
    guard = Guard(form(-1, i=1, t=1), 0, 4)
    value = Load(Operand("x", (4,), (form(-1, i=1, t=1),)))
    body = reduction(1).body(value, None, (guard,), [("t", 0, 3)], {"i": (0, 3)})
    assert show(body).splitlines()[0] == "for t in max(0, -i + 1) .. min(3, -i + 5):"


def test_a_guard_that_always_holds_is_dropped() -> None:
    guard = Guard(form(i=1, t=1), 0, 6)
    value = Load(Operand("x", (6,), (form(i=1, t=1),), (guard,)))
    body = reduction(1).body(value, None, (guard,), [("t", 0, 3)], {"i": (0, 3)})
    assert len(updates(body)) == 3
    assert "if" not in show(body)


def test_a_guard_without_a_reduction_runs_once_or_not() -> None:
    guard = Guard(form(-2, i=1), 0, 4)
    value = Load(Operand("x", (4, 3), (form(-2, i=1), form(t=1))))
    body = reduction(1).body(value, None, (guard,), [("t", 0, 1)], {"i": (0, 7)})
    (loop,) = body
    assert isinstance(loop, For)
    # In an image of rows 2 .. 5 of 8 the loop has its one round, elsewhere none.
    for i in range(8):
        low = max(-(-bound.value({"i": i}) // divisor) for bound, divisor in loop.low.terms)
        high = min(-(-bound.value({"i": i}) // divisor) for bound, divisor in loop.high.terms)
        assert max(0, high - low) == (1 if 2 <= i < 6 else 0)


def test_neighbouring_axes_are_walked_as_one() -> None:
    x = Operand("x", (9, 40), (form(t=1), form(c=1)))
    w = Operand("w", (3, 40, 8), (form(t=1), form(c=1), form(k=1)))
    body = reduction(1, unroll=4).body(Apply("mul", (Load(x), Load(w))), None, (), [("t", 0, 3), ("c", 0, 40)], {})
    (loop,) = body
    assert isinstance(loop, For)
    assert (loop.low.static, loop.high.static, loop.step) == (0, 120, 4)


def test_partial_sums_take_turns() -> None:
    body = reduction(1, chains=3, unroll=3).body(row(200), None, (), [("t", 0, 100)], {})
    (loop, rest) = body
    assert isinstance(loop, For)
    assert [update.chain for update in updates((loop,))] == [0, 1, 2]
    assert (loop.high.static, loop.step) == (99, 3)
    assert isinstance(rest, Update)


@pytest.mark.parametrize("free", [2, 3, 5, 9])
def test_fences_stand_where_loaded_values_would_not_fit(free: int) -> None:
    body = reduction(2, free_registers=free).body(row(20), None, (), [("t", 0, 16)], {})
    seen: set[tuple[str, Affine]] = set()
    for update in updates(body):
        cells = {("x", form(-1 + _step(update) + j)) for j in (0, 1)} | {("w", form(_step(update)))}
        seen = cells if update.fence else seen | cells
        assert len(seen) <= max(free, len(cells))
