"""The bounds proof against enumeration: what leaves its array is refused, what does not is accepted."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import OutOfBoundsError
from pellucid.language.affine import Affine
from pellucid.schedule import bounds
from pellucid.schedule.bounds import prove
from pellucid.schedule.inequalities import largest, smallest
from pellucid.schedule.nest import (
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
    Program,
    Store,
    Tensor,
    Tile,
    Update,
)


def form(const=0, **terms):
    return Affine.of(const, terms)


ONE_LANE = (Group(0, 1, 1),)


def one_access(extent, index, loops, *, points=(), groups=ONE_LANE, guards=(), lookups=(), tables=()):
    """A program whose only uncertain access is `x[index]`, inside `loops` (outermost first)."""
    operand = Operand("x", (extent,), (index,), tuple(guards), tuple(lookups))
    store = Store(Operand("z", (1,), (Affine(),)), Load(operand))
    body = (Tile(tuple(points), "l", groups, None, (), (store,)),)
    for loop in reversed(loops):
        body = (replace(loop, body=body),)
    tensors = (Tensor("x", "float32", (extent,), "input"), Tensor("z", "float32", (1,), "output"), *tables)
    return Program(tensors, (Nest("test", body),))


def loop(name, low, high, step=1):
    """A loop; a bound is a number, a form, or a list of (form, divisor)."""
    ends = [Bound(tuple(end)) if isinstance(end, list) else Bound.of(end) for end in (low, high)]
    return For(name, ends[0], ends[1], step, ())


def refused(program):
    with pytest.raises(OutOfBoundsError) as caught:
        prove(program)
    return str(caught.value)


# ---------------------------------------------------------------- plain cases
def test_a_convolution_with_dynamic_borders():
    loops = [loop("i", 0, 28), loop("s", [(form(0), 1), (form(1, i=-1), 1)], [(form(3), 1), (form(29, i=-1), 1)])]
    assert prove(one_access(28, form(-1, i=1, s=1), loops)) == 2


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1, 30, "nest test: x[i + s - 1] dimension 0 reaches 28 of extent 28"),
        (0, 29, "nest test: x[i + s - 1] dimension 0 reaches -1 of extent 28"),
    ],
)
def test_an_off_by_one_in_a_border_is_refused(low, high, text):
    loops = [loop("i", 0, 28), loop("s", [(form(0), 1), (form(low, i=-1), 1)], [(form(3), 1), (form(high, i=-1), 1)])]
    assert refused(one_access(28, form(-1, i=1, s=1), loops)) == text


def test_steps_count():
    assert prove(one_access(28, form(i=1, j=1), [loop("i", 0, 28, 7)], points=(("j", 7),))) == 2
    assert refused(one_access(27, form(i=1, j=1), [loop("i", 0, 28, 7)], points=(("j", 7),))).endswith(
        "dimension 0 reaches 27 of extent 27"
    )
    # From a dynamic start: i, i+4, i+8 below 12 never passes 8 + i % 4.
    loops = [loop("i", 0, 4), loop("j", form(i=1), 12, 4)]
    assert prove(one_access(12, form(j=1), loops)) == 2
    assert "reaches 11 of extent 11" in refused(one_access(11, form(j=1), loops))


def test_lanes_that_do_not_exist_are_not_read():
    groups = (Group(0, 8, 8), Group(8, 8, 3))
    assert prove(one_access(11, form(l=1), [], groups=groups)) == 2
    assert "reaches 10 of extent 10" in refused(one_access(10, form(l=1), [], groups=groups))


def test_guards_hold_the_index_they_speak_of():
    i = loop("i", 0, 10)
    guarded = form(-3, i=1)
    assert prove(one_access(5, guarded, [i], guards=[Guard(guarded, 0, 5)])) == 2
    assert prove(one_access(5, guarded, [i], guards=[Guard(form(i=1), 3, 8)])) == 2
    assert prove(one_access(9, form(-6, i=2), [i], guards=[Guard(form(i=1), 3, 8)])) == 2
    text = refused(one_access(5, guarded, [i], guards=[Guard(form(i=1), 3, 9)]))
    assert text == "nest test: (x[i - 3] if 3 <= i < 9 else 0) dimension 0 reaches 5 of extent 5"


def test_guards_with_points_and_lanes():
    options = {"points": (("p", 4),), "groups": (Group(0, 4, 4),)}
    guard = Guard(form(p=1, l=1), 2, 5)
    assert prove(one_access(10, form(-2, p=1, l=1, i=3), [loop("i", 0, 3)], guards=[guard], **options)) == 2
    assert "reaches 8 of extent 8" in refused(
        one_access(8, form(-2, p=1, l=1, i=3), [loop("i", 0, 3)], guards=[guard], **options)
    )


def test_loops_that_never_run_hold_nothing():
    assert prove(one_access(5, form(99), [loop("i", 3, 3)])) == 0
    assert prove(one_access(5, form(99), [loop("i", 4, 3)])) == 0
    # j runs below i and from i on: never, although each alone could.
    assert prove(one_access(5, form(99), [loop("i", 0, 5), loop("j", form(i=1), form(i=1))])) == 2


def test_a_loop_that_runs_narrows_the_ones_around_it():
    # r runs only where i >= 2.
    loops = [loop("i", 0, 6), loop("r", 0, form(-1, i=1))]
    assert prove(one_access(4, form(-2, i=1), loops)) == 2


def test_every_dimension_counts_not_only_the_address():
    operand = Operand("x", (4, 5), (form(i=1), form(j=1)))
    store = Store(Operand("z", (1,), (Affine(),)), Load(operand))
    tile = Tile((), "l", (Group(0, 1, 1),), None, (), (store,))
    body = For("i", Bound.of(0), Bound.of(3), 1, (For("j", Bound.of(0), Bound.of(6), 1, (tile,)),))
    tensors = (Tensor("x", "float32", (4, 5), "input"), Tensor("z", "float32", (1,), "output"))
    text = refused(Program(tensors, (Nest("flat", (body,)),)))
    assert text == "nest flat: x[i, j] dimension 1 reaches 5 of extent 5"


def test_a_view_must_have_the_size_of_its_tensor():
    program = one_access(12, form(), [])
    view = replace(program.nests[0].body[0].stores[0].value.operand, shape=(3, 5), index=(form(), form()))
    tile = replace(program.nests[0].body[0], stores=(Store(Operand("z", (1,), (form(),)), Load(view)),))
    text = refused(replace(program, nests=(Nest("test", (tile,)),)))
    assert text == "nest test: x[0, 0] sees x (12,) as shape (3, 5)"


def test_accumulators_points_and_stores():
    def tile(active, store_index):
        load = Load(Operand("x", (6,), (form(-1, j=1),)))
        store = Store(Operand("z", (8,), (store_index,)), Constant(0))
        return Tile((("j", 8),), "l", (Group(0, 1, 1),), "sum", (Update(active, load),), (store,))

    tensors = (Tensor("x", "float32", (6,), "input"), Tensor("z", "float32", (8,), "output"))

    def program(*arguments):
        return Program(tensors, (Nest("test", (tile(*arguments),)),))

    assert prove(program(tuple(range(1, 7)), form(j=1))) == 2
    assert refused(program(tuple(range(7)), form(j=1))) == "nest test: x[j - 1] dimension 0 reaches -1 of extent 6"
    assert refused(program((1, 7), form(j=1))) == "nest test: x[j - 1] dimension 0 reaches 6 of extent 6"
    assert refused(program((1,), form(1, j=1))) == "nest test: z[j + 1] dimension 0 reaches 8 of extent 8"


def test_lanes_reduced_across_store_at_lane_0():
    load = Load(Operand("x", (6,), (form(l=1),)))
    store = Store(Operand("z", (1,), (form(l=1),)), Constant(0))
    tile = Tile((), "l", (Group(0, 8, 6),), "sum", (Update((0,), load),), (store,), across=True)
    tensors = (Tensor("x", "float32", (6,), "input"), Tensor("z", "float32", (1,), "output"))
    assert prove(Program(tensors, (Nest("test", (tile,)),))) == 2


# ---------------------------------------------------------------- lookups
def test_integers_of_the_caller_are_left_to_the_call_but_their_own_index_is_proved():
    labels = Tensor("t", "int64", (5,), "input")
    lookup = Lookup(0, Operand("t", (5,), (form(i=1),)))
    assert prove(one_access(3, form(), [loop("i", 0, 5)], lookups=[lookup], tables=(labels,))) == 3
    text = refused(one_access(3, form(), [loop("i", 0, 6)], lookups=[lookup], tables=(labels,)))
    assert text == "nest test: t[i] dimension 0 reaches 5 of extent 5"


def test_tables_are_proved_by_their_values():
    halves = Tensor("half", "int64", (6,), "table", (0, 0, 1, 1, 2, 2))
    lookup = Lookup(0, Operand("half", (6,), (form(i=1),)))
    i = loop("i", 0, 6)
    assert prove(one_access(3, form(), [i], lookups=[lookup], tables=(halves,))) == 3
    assert refused(one_access(2, form(), [i], lookups=[lookup], tables=(halves,))) == (
        "nest test: x[half[i]] dimension 0 reaches 2 of extent 2"
    )
    # i - 2 * (i // 2) is 0 or 1: only looking at both together shows it.
    twice = replace(lookup, stride=-2)
    assert prove(one_access(2, form(i=1), [i], lookups=[twice], tables=(halves,))) == 3
    short = replace(halves, values=(0, 0, 1))
    assert (
        refused(one_access(3, form(), [i], lookups=[lookup], tables=(short,)))
        == "table half has 3 values for shape (6,)"
    )


# ---------------------------------------------------------------- random nests
@st.composite
def affine_forms(draw, names, reach=4):
    return Affine.of(draw(st.integers(-reach, reach)), {name: draw(st.integers(-3, 3)) for name in names})


@st.composite
def nests(draw):
    loops, names = [], []
    for name in "ijk"[: draw(st.integers(1, 3))]:
        count = st.integers(1, 2)
        low = [(draw(affine_forms(names)), draw(st.integers(1, 3))) for _ in range(draw(count))]
        high = [(draw(affine_forms(names)) + 3, draw(st.integers(1, 3))) for _ in range(draw(count))]
        loops.append(loop(name, low, high, draw(st.integers(1, 3))))
        names.append(name)
    names += ["p", "l"]
    guards = [
        Guard(draw(affine_forms(names)), low := draw(st.integers(-4, 2)), low + draw(st.integers(1, 6)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    index = draw(st.one_of(affine_forms(names), st.just(guards[0].index + 1) if guards else affine_forms(names)))
    points = (("p", draw(st.integers(1, 3))),)
    valid = draw(st.integers(1, 3))
    return loops, index, guards, points, (Group(draw(st.integers(0, 2)), 4, valid),)


def values_taken(loops, index, guards, points, groups):
    """Every value that the index takes, by running everything."""

    def inside(rest, names):
        if not rest:
            (name, count), (group,) = points[0], groups
            for point, lane in product(range(count), range(group.valid)):
                here = {**names, name: point, "l": group.offset + lane}
                if all(guard.low <= guard.index.value(here) < guard.high for guard in guards):
                    yield index.value(here)
            return
        low = max(-(-term.value(names) // divisor) for term, divisor in rest[0].low.terms)
        high = min(-(-term.value(names) // divisor) for term, divisor in rest[0].high.terms)
        for value in range(low, high, rest[0].step):
            yield from inside(rest[1:], {**names, rest[0].variable: value})

    return set(inside(loops, {}))


@settings(max_examples=250, deadline=None)
@given(nests())
def test_random_nests_are_accepted_exactly_where_they_stay_inside(nest):
    loops, index, guards, points, groups = nest
    taken = values_taken(*nest)
    low, high = (min(taken), max(taken)) if taken else (0, 0)
    # Shifted so that the smallest value is 0: then every extent above the largest is enough, and none below.
    options = {"points": points, "groups": groups, "guards": guards}
    assert prove(one_access(high - low + 1, index - low, loops, **options)) in (0, 2)
    if taken:
        assert f"reaches {-1} of" in refused(one_access(high - low + 1, index - low - 1, loops, **options))
        outside = refused(one_access(high - low + 1, index - low + 1, loops, **options))
        assert outside.endswith(f"reaches {high - low + 1} of extent {high - low + 1}")


@settings(max_examples=60, deadline=None)
@given(nests())
def test_elimination_never_claims_too_little(nest):
    loops, index, *_ = nest
    rows = []
    for each in loops:
        variable = Affine.name(each.variable)
        rows += [variable * divisor - term for term, divisor in each.low.terms]
        rows += [term - 1 - variable * divisor for term, divisor in each.high.terms]
    only_loops = Affine.of(index.const, {name: value for name, value in index.terms if name in "ijk"})
    taken = values_taken([replace(each, step=1) for each in loops], only_loops, (), (("p", 1),), (Group(0, 1, 1),))
    if taken:
        assert smallest(only_loops, rows) <= min(taken)
        assert largest(only_loops, rows) >= max(taken)


@settings(max_examples=60, deadline=None)
@given(
    extent=st.integers(1, 5000), taps=st.integers(1, 11), stride=st.integers(1, 4), dilation=st.integers(1, 3),
    padding=st.integers(0, 9), tile=st.integers(1, 14),
)  # fmt: skip
def test_borders_of_convolutions_need_no_enumeration(extent, taps, stride, dilation, padding, tile):
    outputs = (extent + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    if outputs < 1:
        return
    # Rows: x[S*i + D*s - P] with the taps that exist; tiles of columns: whole ones in a loop that steps.
    taps_of_row = loop(
        "s",
        [(form(0), 1), (form(padding, i=-stride), dilation)],
        [(form(taps), 1), (form(extent + padding, i=-stride), dilation)],
    )
    rows = one_access(extent, form(-padding, i=stride, s=dilation), [loop("i", 0, outputs), taps_of_row])
    whole = extent // tile * tile
    tiles = [loop("j", 0, whole, tile), loop("n", 0, 3)]
    columns = one_access(max(whole, 1), form(j=1, p=1), tiles, points=(("p", tile),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "_MOST_CELLS", 0)
        prove(rows)
        prove(columns)


def test_what_cannot_be_settled_says_so(monkeypatch):
    # i takes 0 and 2, never 1 or 3; with two low bounds the step is not seen without enumeration.
    twice = [(form(0), 1), (form(-1), 1)]
    counted = [loop("n", 0, 1), loop("i", [(form(n=1), 1), (form(-1), 1)], 4, 2)]
    assert prove(one_access(5, form(i=2), [loop("i", twice, 4, 2)])) == 2
    assert prove(one_access(5, form(i=2), counted)) == 2
    monkeypatch.setattr(bounds, "_MOST_CELLS", 0)
    assert refused(one_access(5, form(i=2), counted)) == "nest test: x[2*i] dimension 0 may reach 6 of extent 5"


def test_all_arguments_of_a_choice_are_proved():
    first, second, third = (Load(Operand("x", (4,), (form(i=1),))) for _ in range(3))
    value = Apply("where", (Apply("lt", (first, Constant(0))), Constant(0), Apply("max", (second, third))))
    tile = Tile((), "l", (Group(0, 1, 1),), None, (), (Store(Operand("z", (1,), (form(),)), value),))
    body = For("i", Bound.of(0), Bound.of(4), 1, (tile,))
    tensors = (Tensor("x", "float32", (4,), "input"), Tensor("z", "float32", (1,), "output"))
    assert prove(Program(tensors, (Nest("test", (body,)),))) == 4
