"""Solved formulas against the unsolved ones, whose conditions the reference evaluates cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language.affine import Affine
from pellucid.language.gradient import derive
from pellucid.language.index_forms import divide, read, write
from pellucid.language.parse import parse, parse_expression
from pellucid.language.render import to_text
from pellucid.language.solve import Solved, solve
from pellucid.language.syntax import Access, Binary, Formula, Reduce, walk
from pellucid.reference import evaluate

Arrays = Mapping[str, np.ndarray]

CONV = "z[n,i,k] = sum(s,c) x[n, i*S+s*D-P, c] * w[s,c,k]"
CONV_2D = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k] + b[k]"


def pieces(text: str, constants: Mapping[str, int], extents: Mapping[str, int], wrt: str = "") -> tuple[Solved, ...]:
    """The solved pieces of an equation, or of its gradient; the copies of axes get the extents of their origins."""
    formula, extents = unsolved(text, extents, wrt)
    return solve(formula, constants, extents)


def unsolved(text: str, extents: Mapping[str, int], wrt: str) -> tuple[Formula, dict[str, int]]:
    formula, extents = parse(text), dict(extents)
    if wrt:
        derived = derive(formula, wrt)
        formula = derived.formula
        extents |= {copy: extents[origin] for copy, origin in derived.copies.items()}
    return formula, extents


def formulas(solved: tuple[Solved, ...]) -> list[Formula]:
    return [piece.formula for piece in solved]


def said(*texts: str) -> list[Formula]:
    """The formulas of texts: trees are compared, so that spaces do not count."""
    return [parse(text) for text in texts]


def assert_same(
    text: str, constants: Mapping[str, int], extents: Mapping[str, int], arrays: Arrays, wrt: str = ""
) -> tuple[Solved, ...]:
    """Every cell is written by one piece, and holds what the unsolved formula says, to the last bit.

    The arrays hold small integers, so that no order of summation can round.
    """
    formula, extents = unsolved(text, extents, wrt)
    solved = solve(formula, constants, extents)
    expected = evaluate(formula, constants, extents, arrays)
    written = np.zeros(expected.shape, dtype=int)
    result = np.full(expected.shape, np.nan)
    for piece in solved:
        for cell in cells(piece):
            written[cell] += 1
        evaluate(piece.formula, {}, piece.extents, arrays, out=result)
    assert (written == 1).all()
    assert np.array_equal(result, expected)
    return solved


def cells(piece: Solved) -> list[tuple[int, ...]]:
    forms = [read(index, piece.extents) for index in piece.formula.output.indices]
    assert all(form is not None for form in forms)
    axes = list(dict.fromkeys(name for form in forms if form for name in form.names))
    grid = product(*(range(piece.extents[axis]) for axis in axes))
    return [
        tuple(form.value(dict(zip(axes, point, strict=True))) for form in forms if form is not None) for point in grid
    ]


def integers(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(-4, 5, size).astype(float) for size in shapes]


def conditions(solved: tuple[Solved, ...]) -> list[str]:
    found: list[str] = []
    for piece in solved:
        for node in walk(piece.formula.body):
            if isinstance(node, Reduce):
                found += [to_text(condition) for condition in node.conditions]  # type: ignore[arg-type]
    return found


def assert_affine(solved: tuple[Solved, ...]) -> None:
    for piece in solved:
        for node in (*walk(piece.formula.body), *walk(piece.formula.output)):
            if isinstance(node, Access):
                assert all(read(index, piece.extents) is not None for index in node.indices)
            assert not (isinstance(node, Binary) and node.op in ("//", "%"))


# Index forms


@settings(max_examples=60, deadline=None)
@given(
    const=st.integers(-20, 20),
    values=st.tuples(*[st.integers(-6, 6)] * 3),
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    divisor=st.integers(1, 7),
)
def test_forms_are_written_read_and_divided(const, values, sizes, divisor):
    form = Affine.of(const, zip("abc", values, strict=True))
    extents = dict(zip("abc", sizes, strict=True))
    assert read(write(form), extents) == form
    parts = divide(form, divisor, extents)
    if parts is None:
        # What is refused has no quotient that is affine in the terms that the divisor divides.
        rest = Affine.of(const, ((name, value) for name, value in form.terms if value % divisor))
        assert len({value // divisor for value in values_of(rest, extents)}) > 1
    else:
        for point in product(*map(range, sizes)):
            names = dict(zip("abc", point, strict=True))
            assert (parts[0].value(names), parts[1].value(names)) == divmod(form.value(names), divisor)


def values_of(form: Affine, extents: Mapping[str, int]) -> list[int]:
    grid = product(*(range(extents[name]) for name in form.names))
    return [form.value(dict(zip(form.names, point, strict=True))) for point in grid]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Affine.of(-1, {"i": 2, "s": 1}), "2*i + s - 1"),
        (Affine.of(1, {"y": 1, "s": -1}), "y - s + 1"),
        (Affine.of(3, {"s": -2}), "3 - 2*s"),
        (Affine.of(0, {"s": -1}), "-s"),
        (Affine.of(-2, {"s": -1}), "-s - 2"),
        (Affine.of(0), "0"),
    ],
)
def test_forms_are_written_plainly(form, text):
    assert write(form, ("y", "i", "s")) == parse_expression(text)


# Text


def test_a_formula_without_conditions_keeps_its_form_with_numbers_for_constants():
    solved = pieces(CONV, {"S": 2, "D": 1, "P": 1}, {"n": 1, "i": 4, "k": 2, "s": 3, "c": 2})
    assert formulas(solved) == said("z[n, i, k] = sum(s, c) x[n, 2*i + s - 1, c] * w[s, c, k]")
    assert dict(solved[0].extents) == {"n": 1, "i": 4, "k": 2, "s": 3, "c": 2}


def test_stride_one_is_one_piece_without_conditions():
    extents = {"n": 2, "i": 8, "j": 8, "s": 3, "t": 3, "c": 3, "k": 4, "y": 8, "x": 8}
    assert formulas(pieces(CONV_2D, {"S": 1, "P": 1}, extents, "x")) == said(
        "dx[n, y, x, c] = sum(s, t, k) g[n, y - s + 1, x - t + 1, k] * w[s, t, c, k]"
    )


def test_stride_two_is_one_piece_for_each_residue():
    extents = {"n": 2, "i": 4, "s": 3, "c": 3, "k": 4, "x": 8}
    solved = pieces(CONV, {"S": 2, "D": 1, "P": 1}, extents, "x")
    assert formulas(solved) == said(
        "dx[n, 2*x, c] = sum(s, k) g[n, x - s, k] * w[2*s + 1, c, k]",
        "dx[n, 2*x + 1, c] = sum(s, k) g[n, x - s + 1, k] * w[2*s, c, k]",
    )
    assert [(piece.extents["x"], piece.extents["s"]) for piece in solved] == [(4, 1), (4, 2)]


def test_windows_that_tile_the_input_keep_both_axes_free_and_cells_beyond_them_are_zero():
    extents = {"n": 1, "i": 4, "s": 2, "c": 3, "k": 4, "x": 9}
    assert formulas(pieces(CONV, {"S": 2, "D": 1, "P": 0}, extents, "x")) == said(
        "dx[n, 2*i + s, c] = sum(k) g[n, i, k] * w[s, c, k]",
        "dx[n, x + 8, c] = 0",
    )


def test_a_stride_over_the_kernel_leaves_pieces_of_zeros():
    extents = {"n": 1, "i": 3, "s": 1, "c": 1, "k": 1, "x": 6}
    assert formulas(pieces(CONV, {"S": 2, "D": 1, "P": 0}, extents, "x")) == said(
        "dx[n, 2*x, c] = sum(s, k) g[n, x - s, k] * w[2*s, c, k]",
        "dx[n, 2*x + 1, c] = 0",
    )


def test_one_output_position_eliminates_the_kernel_axis():
    extents = {"n": 1, "i": 1, "s": 5, "c": 2, "k": 3, "x": 5}
    assert formulas(pieces(CONV, {"S": 1, "D": 1, "P": 0}, extents, "x")) == said(
        "dx[n, x, c] = sum(i, k) g[n, i, k] * w[x - i, c, k]"
    )


def test_max_pooling_without_overlap():
    text = "p[n,i,j,c] = max(s,t) a[n, i*S+s, j*S+t, c]"
    extents = {"n": 2, "i": 4, "j": 4, "s": 2, "t": 2, "c": 3, "y": 8, "x": 8}
    assert formulas(pieces(text, {"S": 2}, extents, "a")) == said(
        "da[n, 2*i + s, 2*j + t, c] = g[n, i, j, c] * [argmax(s1, t1) a[n, 2*i + s1, 2*j + t1, c] == 2*s + t]"
    )


def test_nearest_upsampling_and_its_gradient():
    text = "z[n,i,c] = x[n, i//2, c]"
    extents = {"n": 1, "i": 8, "c": 3, "x": 4}
    assert formulas(pieces(text, {}, extents)) == said("z[n, 2*i + i1, c] = x[n, i, c]")
    assert formulas(pieces(text, {}, extents, "x")) == said("dx[n, x, c] = sum(i) g[n, 2*x + i, c]")


def test_ragged_upsampling_has_a_piece_for_what_is_left_over():
    text = "z[n,i,c] = x[n, i//2, c]"
    solved = pieces(text, {}, {"n": 1, "i": 7, "c": 3})
    assert formulas(solved) == said("z[n, 2*i + i1, c] = x[n, i, c]", "z[n, i + 6, c] = x[n, 3, c]")
    assert [dict(piece.extents) for piece in solved] == [{"n": 1, "i": 3, "i1": 2, "c": 3}, {"n": 1, "i": 1, "c": 3}]


def test_depth_to_space_and_its_gradient():
    text = "z[n,i,j,c] = x[n, i//2, j//2, (i%2*2 + j%2)*C + c]"
    extents = {"n": 1, "i": 4, "j": 6, "c": 3, "z": 2, "y": 3, "x": 12}
    assert formulas(pieces(text, {"C": 3}, extents)) == said(
        "z[n, 2*i + i1, 2*j + j1, c] = x[n, i, j, 6*i1 + 3*j1 + c]"
    )
    assert formulas(pieces(text, {"C": 3}, extents, "x")) == said(
        "dx[n, z, y, 6*i + 3*j + c] = g[n, 2*z + i, 2*y + j, c]"
    )


def test_a_range_condition_stays_where_an_outside_read_may_divide_by_zero():
    text = "p[i] = sqrt(sum(s) a[i*2+s-1]**2)"
    solved = pieces(text, {}, {"i": 4, "s": 3, "x": 9}, "a")
    assert conditions(solved) == ["x-s < 4", "x-s+1 < 4"]


def test_lookups_and_inequalities_stay():
    solved = pieces("d[k] = sum(n : t[n] == k, n < 3) g[n]", {}, {"n": 5, "k": 2})
    assert formulas(solved) == said("d[k] = sum(n : t[n] == k, n < 3) g[n]")


def test_conditions_that_the_extents_decide_vanish():
    assert formulas(pieces("d[k] = sum(n : n + k < 9, 0 <= n) g[n]", {}, {"n": 5, "k": 2})) == said(
        "d[k] = sum(n) g[n]"
    )
    assert formulas(pieces("d[k] = sum(n : n + k > 9) g[n]", {}, {"n": 5, "k": 2})) == said("d[k] = 0")


# Values


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    kernel=st.integers(1, 5),
    padding=st.integers(0, 4),
    outputs=st.integers(1, 9),
    size=st.integers(1, 9),
    flip=st.booleans(),
)
def test_the_gradient_of_a_convolution(seed, stride, dilation, kernel, padding, outputs, size, flip):
    # Any number of outputs: they need not fit the input, and cells may be read by no output.
    text = CONV.replace("s*D", "(H-1-s)*D") if flip else CONV
    g, w = integers(seed, (2, outputs, 2), (kernel, 2, 2))
    constants = {"S": stride, "D": dilation, "P": padding, "H": kernel}
    extents = {"n": 2, "i": outputs, "s": kernel, "c": 2, "k": 2, "x": size}
    solved = assert_same(text, constants, extents, {"g": g, "w": w}, "x")
    assert conditions(solved) == []
    assert_affine(solved)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_the_gradient_of_overlapping_max_pooling(seed, stride, kernel, padding, size):
    text = "p[i,j] = max(s,t) a[i*S+s-P, j*T+t-Q]"
    a, g = integers(seed, size, (3, 2))
    constants = dict(zip("STPQ", stride + padding, strict=True))
    extents = dict(zip("ijstyx", (3, 2, *kernel, *size), strict=True))
    # Windows wholly outside have no winner; position 0 is named, and is outside too.
    solved = assert_same(text, constants, extents, {"a": a, "g": g}, "a")
    assert conditions(solved) == []
    assert_affine(solved)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    coefficients=st.tuples(*[st.integers(-4, 4).filter(bool)] * 3),
    offset=st.integers(-6, 6),
    extents=st.tuples(*[st.integers(1, 5)] * 4),
    scale=st.integers(-3, 3).filter(bool),
)
def test_any_equation_between_three_reduced_axes_and_one_of_the_output(seed, coefficients, offset, extents, scale):
    # Several combinations of residues may reach one cell: they are terms of one formula.
    a, b, c = coefficients
    text = f"d[q] = sum(u,v,w : {a}*u + {b}*v + {offset} == {scale}*q - {c}*w) f[u] * g[v] * h[w] * k[q]"
    named = dict(zip("uvwq", extents, strict=True))
    arrays = dict(zip("fghk", integers(seed, *((extent,) for extent in extents)), strict=True))
    solved = assert_same(text.replace("- -", "+ "), {}, named, arrays)
    assert all(" == " not in condition for condition in conditions(solved))
    assert_affine(solved)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    values=st.tuples(*[st.integers(-3, 3).filter(bool)] * 4),
    offsets=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    extents=st.tuples(*[st.integers(1, 5)] * 5),
    scale=st.integers(1, 3),
)
def test_two_equations_that_share_an_axis(seed, values, offsets, extents, scale):
    a, b, c, d = values
    text = (
        f"d[q,r] = sum(u,v,w : {a}*u + {b}*v == q + {offsets[0]}, {c}*v + {d}*w + {offsets[1]} == {scale}*r)"
        " f[u,v] * g[w] * (h[v] + 1)"
    )
    named = dict(zip("uvwqr", extents, strict=True))
    f, g, h = integers(seed, extents[:2], extents[2:3], extents[1:2])
    solved = assert_same(text, {}, named, {"f": f, "g": g, "h": h})
    assert_affine(solved)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    divisor=st.integers(1, 4),
    offset=st.integers(0, 3),
    size=st.integers(1, 9),
    sign=st.sampled_from((1, -1)),
)
def test_divisions_of_an_output_axis_and_of_a_reduced_one(seed, divisor, offset, size, sign):
    index = f"({sign}*i + {offset + size})"
    (x,) = integers(seed, (offset + 2 * size + 1, divisor))
    arrays = {"x": x}
    assert_affine(assert_same(f"z[i] = x[{index}//{divisor}, {index}%{divisor}]", {}, {"i": size}, arrays))
    assert_affine(assert_same(f"z[j] = sum(i) x[{index}//{divisor}, i%{divisor}] * j", {}, {"i": size, "j": 2}, arrays))
    bound = {"i": size, "y": 2 * size + offset + 1, "x": divisor}
    (g,) = integers(seed, (size,))
    gradient = assert_same(f"z[i] = x[{index}//{divisor}, {index}%{divisor}]", {}, bound, {"g": g}, "x")
    assert_affine(gradient)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), stride=st.integers(1, 3), sizes=st.tuples(*[st.integers(1, 5)] * 3))
def test_maxima_under_a_condition(seed, stride, sizes):
    a, b = integers(seed, sizes[:1], sizes[1:2])
    extents = dict(zip("ist", sizes, strict=True))
    assert_same("m[t] = max(i,s : i*S + s == t) a[i]", {"S": stride}, extents, {"a": a})
    assert_same("m[t] = max(i,s : i*S + s == t + 1) (a[i] + b[s])", {"S": stride}, extents, {"a": a, "b": b})


def test_a_reduction_inside_another_whose_axis_is_cut():
    x, w = integers(3, (7,), (4, 3))
    text = "z[q] = sum(u) (sum(i,s : 3*i + s == 2*u + q) x[i] * w[u,s]) ** 2"
    solved = assert_same(text, {}, {"q": 4, "u": 4, "i": 7, "s": 3}, {"x": x, "w": w})
    assert_affine(solved)


def test_an_outside_read_inside_a_maximum_stays_a_zero():
    # sum(i : i == t + s) x[i] is 0 beyond the array; the maximum alone would read minus infinity there.
    x = -np.arange(1.0, 4.0)
    assert_same("m[t] = max(s) (sum(i : i == t + s) x[i])", {}, {"t": 3, "s": 2, "i": 3}, {"x": x})


def test_axes_of_one_name_and_two_extents_are_told_apart():
    a, b = integers(5, (6,), (6,))
    text = "z[q] = sum(i,s : 2*i + s == q) a[i]*b[s] + sum(s) b[s]"
    solved = assert_same(text, {}, {"q": 6, "i": 6, "s": 6}, {"a": a, "b": b})
    assert [solved[0].formula] == said("z[2*q] = sum(s) a[q - s] * b[2*s] + sum(s1) b[s1]")


def test_rolling_by_a_remainder_cuts_the_axis_in_two():
    (x,) = integers(7, (30,))
    assert formulas(assert_same("z[i] = x[(i+1) % 30]", {}, {"i": 30}, {"x": x})) == said(
        "z[i] = x[i + 1]", "z[i + 29] = x[i]"
    )


def test_a_division_that_would_take_many_pieces_stays():
    text = "z[i] = x[i*5//7]"
    assert formulas(pieces(text, {}, {"i": 14})) == said("z[i] = x[5*i // 7]")
    (x,) = integers(8, (10,))
    assert_same(text, {}, {"i": 14}, {"x": x})
    (g,) = integers(8, (14,))
    assert conditions(assert_same(text, {}, {"i": 14, "x": 10}, {"g": g}, "x")) == ["5*i//7 == x"]


def test_divisions_in_inequalities_and_values_stay():
    text = "z[i] = sum(s : i*9//4 <= s, s < (i+1)*9//4) x[s] * (s % 2)"
    solved = assert_same(text, {}, {"i": 4, "s": 9}, {"x": integers(9, (9,))[0]})
    assert formulas(solved) == said("z[i] = sum(s : 9*i//4 <= s, s < (9*i+9)//4) x[s] * (s % 2)")


def test_float_constants_become_numbers():
    solved = pieces("z[i] = alpha * x[i]", {"alpha": 0.25}, {"i": 3})  # type: ignore[dict-item]
    assert formulas(solved) == said("z[i] = 0.25 * x[i]")


def test_a_missing_extent_is_named():
    with pytest.raises(ArgumentError) as error:
        pieces("z[i] = sum(s) x[i+s]", {}, {"i": 3})
    assert str(error.value) == "`extents` must have every axis of z; `s` is missing"


def test_an_empty_axis_is_named():
    with pytest.raises(ArgumentError) as error:
        pieces("z[i] = x[i]", {}, {"i": 0})
    assert str(error.value) == "`extents` must be 1 or more; that of `i` is 0"


def test_an_index_that_numbers_leave_bare_covers_no_more_than_its_axis():
    """Two halves put together again: `x[c0+O]` with O = 0 reads an array that goes on where `c0` ends."""
    (x,) = integers(3, (8,))
    text = "z[c] = sum(a : a == c) x[a+O] + sum(b : b+4 == c) x[b+Q]"
    assert_same(text, {"O": 0, "Q": 4}, {"c": 8, "a": 4, "b": 4}, {"x": x})
