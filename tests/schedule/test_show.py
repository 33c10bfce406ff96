"""The printed form of loop nests, to the letter."""

from __future__ import annotations

import math

import pytest

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
    Store,
    Tensor,
    Tile,
    Update,
)
from pellucid.schedule.show import show, show_operand, show_value


def form(const=0, **terms):
    return Affine.of(const, terms)


def load(tensor, *index, **options):
    return Load(Operand(tensor, (9,) * len(index), index, **options))


def test_a_convolution():
    x = load("x", form(n=1), form(-1, i=1, s=1), form(-1, j2=6, j=1, t=1), form(c=1))
    w = load("w", form(s=1), form(t=1), form(c=1), form(kb=16, k=1))
    product = Apply("mul", (x, w))
    rows = For(
        "s",
        Bound(((form(), 1), (form(1, i=-1), 1))),
        Bound(((form(3), 1), (form(29, i=-1), 2))),
        1,
        (Update((1, 2, 3, 4, 5), product), Update((0, 1, 2, 3, 4, 5), product, fence=True), Update((0, 2, 3), product)),
    )
    relu = Apply("max", (Apply("add", (Accumulated(), load("b", form(k=1)))), Constant(0.0)))
    target = Operand("z", (8, 28, 28, 64), (form(n=1), form(i=1), form(j2=6, j=1), form(kb=16, k=1)))
    tile = Tile((("j", 6),), "k", (Group(0, 16, 16), Group(16, 8, 5)), "sum", (rows,), (Store(target, relu),))
    nest = Nest("conv", (For("n", Bound.of(0), Bound.of(8), 1, (tile,), parallel=True),))
    assert (
        show(nest)
        == """\
nest conv
  for n in 0 .. 8 (parallel):
    tile j < 6, k in 0 .. 15 | 16 .. 20 of 8: sum
      for s in max(0, -i + 1) .. min(3, ceil((-i + 29)/2)):
        acc[j = 1 .. 5] += x[n, i + s - 1, j + 6*j2 + t - 1, c] * w[s, t, c, k + 16*kb]
        acc += x[n, i + s - 1, j + 6*j2 + t - 1, c] * w[s, t, c, k + 16*kb] (fence)
        acc[j = 0, 2 .. 3] += x[n, i + s - 1, j + 6*j2 + t - 1, c] * w[s, t, c, k + 16*kb]
      z[n, i, j + 6*j2, k + 16*kb] = max(acc + b[k], 0)"""
    )
    assert show(nest.body) == show(nest.body[0])
    assert show(nest) == "\n".join(["nest conv", *("  " + line for line in show(nest.body).split("\n"))])


def test_a_program_with_winners_chains_guards_and_slabs():
    a = load("a", form(-1, i=2, s=1), form(c=1), guards=(Guard(form(-1, i=2, s=1), 0, 9),), outside=-math.inf)
    body = (Update((0, 1, 3), a, position=form(s=1), chain=1), Update((), a, position=form(3)))
    stores = (
        Store(Operand("p", (9, 9), (form(i=1), form(c=1))), Accumulated("position")),
        Store(Operand("q", (9,), (form(c=1),), (Guard(form(c=1), 0, 5),)), Accumulated(), add=form(slab=1)),
        Store(Operand("q", (9,), (form(),)), Accumulated(), add=form(1)),
        Store(Operand("q", (9,), (form(),)), Accumulated(), add=form()),
    )
    tile = Tile((("u", 2), ("v", 2)), "c", (Group(0, 4, 4),), "argmax", body, stores, chains=2, across=True)
    loops = For("i", Bound.of(0), Bound.of(form(3, m=1)), 2, (tile,))
    tensors = (
        Tensor("a", "float32", (9, 9), "input"),
        Tensor("p", "int64", (9, 9), "output"),
        Tensor("table", "int64", (), "table", (1,)),
    )
    assert (
        show(Program(tensors, (Nest("pool", (loops,)), Nest("empty", ()))))
        == """\
input     a      float32 [9, 9]
output    p      int64 [9, 9]
table     table  int64 []

nest pool
  for i in 0 .. m + 3 step 2:
    tile u < 2, v < 2, c in 0 .. 3: argmax, 2 chains, lanes reduced
      acc[points = 0 .. 1, 3; chain 1] argmax= (a[2*i + s - 1, c] if 0 <= 2*i + s - 1 < 9 else -inf) at s
      acc[no points; chain 0] argmax= (a[2*i + s - 1, c] if 0 <= 2*i + s - 1 < 9 else -inf) at 3
      p[i, c] = acc.position
      q[c] = acc + (old if slab > 0) if 0 <= c < 5
      q[0] = acc + old
      q[0] = acc

nest empty"""
    )


def test_a_tile_without_accumulators():
    tile = Tile((), "i", (Group(0, 8, 8),), None, (), (Store(Operand("z", (8,), (form(i=1),)), Constant(1)),))
    assert show(tile) == "tile i in 0 .. 7: each\n  z[i] = 1"


def test_lookups():
    inner = Operand("t", (9,), (form(n=1),))
    assert show_operand(Operand("x", (9, 9), (form(n=1), form()), lookups=(Lookup(1, inner),))) == "x[n, t[n]]"
    assert show_operand(Operand("x", (9,), (form(i=1),), lookups=(Lookup(0, inner, -2),))) == "x[i - 2*t[n]]"
    twice = (Lookup(0, inner), Lookup(0, inner, 3))
    assert show_operand(Operand("x", (9,), (form(),), lookups=twice)) == "x[t[n] + 3*t[n]]"
    assert show_operand(Operand("x", (9,), (form(),), lookups=(Lookup(0, inner, -1),))) == "x[-t[n]]"


a, b, c = (load(name, form(i=1)) for name in "abc")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Apply("sub", (a, Apply("sub", (b, c)))), "a[i] - (b[i] - c[i])"),
        (Apply("sub", (Apply("sub", (a, b)), c)), "a[i] - b[i] - c[i]"),
        (Apply("add", (a, Apply("add", (b, c)))), "a[i] + (b[i] + c[i])"),
        (Apply("mul", (Apply("add", (a, b)), c)), "(a[i] + b[i]) * c[i]"),
        (Apply("div", (a, Apply("mul", (b, c)))), "a[i] / (b[i] * c[i])"),
        (Apply("neg", (Apply("mul", (a, b)),)), "-(a[i] * b[i])"),
        (Apply("mul", (Apply("neg", (a,)), b)), "-a[i] * b[i]"),
        (Apply("mul", (Position(form(1, i=1)), Position(form(i=2)))), "(i + 1) * (2*i)"),
        (Apply("mul", (Position(form(i=2)), a)), "2*i * a[i]"),
        (Apply("neg", (Position(form(-3)),)), "--3"),
        (Apply("pow", (a, Constant(0.5))), "pow(a[i], 0.5)"),
        (Apply("where", (Apply("and", (Apply("lt", (a, b)), Apply("not", (Apply("eq", (a, c)),)))), a, Constant(-2))),
         "where(a[i] < b[i] and not a[i] == c[i], a[i], -2)"),
        (Apply("not", (Apply("or", (Apply("lt", (a, b)), Apply("ge", (a, c)))),)), "not (a[i] < b[i] or a[i] >= c[i])"),
        (Apply("mod", (Position(form(i=1)), Constant(3))), "i % 3"),
        (Apply("eq", (Apply("lt", (a, b)), Apply("lt", (a, c)))), "(a[i] < b[i]) == (a[i] < c[i])"),
        (Constant(1e-5), "1e-05"),
        (Constant(-0.0), "-0.0"),
        (Constant(math.nan), "nan"),
    ],
)  # fmt: skip
def test_values_have_the_parentheses_that_they_need(value, text):
    assert show_value(value) == text
