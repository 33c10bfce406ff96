"""Extents and shapes: the field's rule against PyTorch, errors word for word, no effect of order."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError, EquationError, ShapeError
from pellucid.language import (
    affine,
    axes,
    infer_extents,
    inputs,
    output_shape,
    parse,
    parse_expression,
    scalars,
)
from pellucid.language.affine import Affine
from pellucid.language.index import interval

CONVOLUTION = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s*D-P, j*S+t*D-P, c] * w[s,t,c,k] + b[k]"


def inferred(source, constants=None, shapes=None, given_extents=None):
    return infer_extents(parse(source), constants or {}, shapes or {}, given_extents or {})


def message_of(source, constants=None, shapes=None, given_extents=None):
    with pytest.raises((ShapeError, EquationError, ArgumentError)) as error:
        inferred(source, constants, shapes, given_extents)
    return str(error.value)


# What a formula reads


def test_inputs_axes_and_scalars():
    formula = parse("z[n,k] = scale * (sum(i) x[n,t[i]*S+k] * i) + eps + exp(y[n]) + shift")
    assert inputs(formula) == {"x": 2, "t": 1, "y": 1}
    assert axes(formula) == ("n", "k", "i")
    assert scalars(formula, {"eps": 1e-5, "S": 2}) == ("scale", "shift")


def test_a_name_in_a_condition_is_a_scalar():
    assert scalars(parse("z[i] = sum(k : k < limit) x[i,k] * [x[i,k] > floor_]")) == ("limit", "floor_")


def test_axes_of_an_output_index_that_is_no_bare_name():
    formula = parse("z[n,u*K+k,2*y+1] = x[n,u,k,y]")
    assert axes(formula, {"K": 3}) == ("n", "u", "k", "y")
    extents = infer_extents(formula, {"K": 3}, {"x": (1, 2, 3, 4)}, {})
    assert output_shape(formula, {"K": 3}, extents) == (1, 6, 8)


def test_shape_of_an_output_without_indices():
    assert output_shape(parse("L = sum(n) l[n]"), {}, {"n": 3}) == ()


def test_output_index_before_the_array():
    formula = parse("z[i-1] = x[i]")
    with pytest.raises(ShapeError) as error:
        output_shape(formula, {}, {"i": 3})
    assert str(error.value) == "index `i-1` of z begins at -1, before the array\n  z[i-1] = x[i]\n    ^^^"


def test_output_index_without_end():
    with pytest.raises(ShapeError, match=r"^index `i` of z has no known end; give the extents of its axes\n"):
        output_shape(parse("z[i] = x[i]"), {}, {})


# Affine forms

FORMS = [
    ("i*S+s-P", Affine.of(-1, {"i": 2, "s": 1})),
    ("H-1-s", Affine.of(4, {"s": -1})),
    ("(i+1)*S - 2*(s - i)", Affine.of(2, {"i": 4, "s": -2})),
    ("S**3*i + 7//S + 7%S", Affine.of(4, {"i": 8})),
    ("-7//S", Affine.of(-4)),
    ("(4*i+6)//S", Affine.of(3, {"i": 2})),
    ("(4*i+5)%S", Affine.of(1)),
    ("i - i", Affine.of(0)),
    ("i//S", None),
    ("i%3", None),
    ("i*s", None),
    ("t[i]", None),
    ("i+0.5", None),
    ("i+eps", None),
    ("exp(i)", None),
    ("S**i", None),
    ("i/S", None),
]


@pytest.mark.parametrize(("text", "form"), FORMS, ids=[text for text, _ in FORMS])
def test_affine(text, form):
    assert affine(parse_expression(text), {"S": 2, "P": 1, "H": 5, "eps": 0.5}) == form


def test_division_by_zero():
    assert message_of("z[i] = x[i//K]", {"K": 0}, {"x": (3,)}) == (
        "an index divides by zero: `//` by 0\n  z[i] = x[i//K]\n           ^^^^"
    )


INDEX_TEXTS = ["i*S+s-P", "7-2*i-s", "i//3+s", "(i+s)%3", "i%7*4+s", "i*s-i", "(2*i-5)//-2", "-(i%-3)", "i//2*2+i%2"]


@pytest.mark.parametrize("text", INDEX_TEXTS)
def test_interval_holds_every_value(text):
    constants, extents = {"S": 3, "P": 2}, {"i": 6, "s": 4}
    low, high = interval(parse_expression(text), constants, extents)
    python = compile(text, text, "eval")
    values = {eval(python, dict(constants), {"i": i, "s": s}) for i in range(6) for s in range(4)}
    assert low <= min(values)
    assert max(values) <= high
    if text in ("i*S+s-P", "7-2*i-s", "i//3+s", "(i+s)%3", "(2*i-5)//-2", "-(i%-3)"):
        assert (low, high) == (min(values), max(values))


# Inference


def test_convolution():
    shapes = {"x": (8, 32, 30, 3), "w": (3, 5, 3, 16), "b": (16,)}
    extents = inferred(CONVOLUTION, {"S": 2, "P": 1, "D": 1}, shapes)
    assert extents == {"n": 8, "i": 16, "j": 14, "k": 16, "s": 3, "t": 5, "c": 3}
    assert list(extents) == ["n", "i", "j", "k", "s", "t", "c"]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))
def test_field_rule_is_that_of_torch(size, kernel, stride, padding, dilation):
    torch = pytest.importorskip("torch")
    assume(dilation * (kernel - 1) + 1 <= size + 2 * padding)
    source = "z[i] = sum(s) x[i*S+s*D-P] * w[s]"
    extents = inferred(source, {"S": stride, "D": dilation, "P": padding}, {"x": (size,), "w": (kernel,)})
    x, w = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    expected = torch.nn.functional.conv1d(x, w, stride=stride, padding=padding, dilation=dilation).shape[-1]
    assert extents["i"] == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))
def test_mirrored_index_has_the_same_extent(size, kernel, stride, padding, dilation):
    assume(dilation * (kernel - 1) + 1 <= size + 2 * padding)
    constants = {"S": stride, "D": dilation, "P": padding, "N": size}
    shapes = {"x": (size,), "w": (kernel,)}
    straight = inferred("z[i] = sum(s) x[i*S+s*D-P] * w[s]", constants, shapes)
    mirrored = inferred("z[i] = sum(s) x[N-1-(i*S+s*D-P)] * w[s]", constants, shapes)
    assert mirrored == straight


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4))
def test_field_rule_in_exact_fractions(size, reach, stride, padding):
    """floor((N + 2P - reach) / S) + 1, with a bare offset in place of a kernel."""
    assume(size + 2 * padding - reach >= 0)
    extents = inferred("z[i] = sum(s) x[i*S+s-P] * [s < 99]", {"S": stride, "P": padding}, {"x": (size,)}, {"s": reach})
    assert extents["i"] == Fraction(size + 2 * padding - reach, stride).__floor__() + 1


OPEN = [
    # source, constants, shapes, given, extents of the axes named
    ("z[i] = x[N-1-i]", {"N": 5}, {"x": (5,)}, {}, {"i": 5}),
    ("z[i] = sum(s) x[i+s] * w[H-1-s]", {"H": 3}, {"x": (7,), "w": (3,)}, {}, {"i": 5, "s": 3}),
    ("z[n,i,j,c] = x[n,i//2,j//3,c]", {}, {"x": (1, 4, 5, 2)}, {}, {"i": 8, "j": 15}),
    ("z[i,j,k] = x[i//2, j//2, (i%2*2 + j%2)*C + k]", {"C": 3}, {"x": (4, 4, 12)}, {}, {"i": 8, "j": 8, "k": 3}),
    ("z[i] = x[(i+1)//2]", {}, {"x": (4,)}, {}, {"i": 7}),
    ("z[i] = x[i//2//3]", {}, {"x": (4,)}, {}, {"i": 24}),
    ("z[n,u*K+k] = sum(c) x[n,u*C+c] * w[c,u*K+k]", {"C": 2, "K": 3}, {"x": (1, 4), "w": (2, 6)}, {}, {"u": 2, "k": 3}),
    ("L[n] = logp[n,t[n]]", {}, {"logp": (4, 10), "t": (4,)}, {}, {"n": 4}),
    ("z[i,j] = x[i]", {}, {"x": (3,)}, {"j": 2}, {"i": 3, "j": 2}),
    # the smallest over several accesses
    ("z[i] = sum(s) (x[i+s] + y[i+1+s])", {}, {"x": (9,), "y": (6,)}, {"s": 2}, {"i": 4}),
    # the output's shape is known, as for a gradient
    ("dx[y,c] = sum(i,s : i*S+s-P == y) g[i] * w[s,c]", {"S": 2, "P": 1}, {"dx": (9, 2), "g": (5,), "w": (3, 2)}, {},
     {"y": 9, "c": 2, "i": 5, "s": 3}),
    ("dx[2*q+1] = g[q]", {}, {"dx": (8,)}, {}, {"q": 4}),
    # shapes of other tensors, extents of other axes
    ("z[i] = x[i]", {}, {"x": (3,), "w": (4, 4)}, {"q": 7}, {"i": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "constants", "shapes", "given_extents", "expected"), OPEN)
def test_open_extent(source, constants, shapes, given_extents, expected):
    extents = inferred(source, constants, shapes, given_extents)
    assert {axis: extents[axis] for axis in expected} == expected


def test_a_given_extent_is_kept_though_the_rule_gives_another():
    shapes = {"x": (8, 32, 32, 3), "w": (3, 3, 3, 16), "b": (16,)}
    extents = inferred(CONVOLUTION, {"S": 2, "P": 1, "D": 1}, shapes, {"i": 4, "j": 99})
    assert (extents["i"], extents["j"]) == (4, 99)


def test_order_of_terms_has_no_effect():
    terms = ["x[2*i+s]", "y[i+j]", "w[s]", "u[3*j-1]", "v[i-j]"]
    shapes = {"x": (11,), "y": (20,), "w": (3,), "u": (14,), "v": (9,)}
    found = {
        tuple(sorted(inferred(f"z[i,j] = sum(s) {' * '.join(order)}", {}, shapes).items()))
        for order in permutations(terms)
    }
    assert found == {(("i", 5), ("j", 6), ("s", 3))}


# Errors, word for word


def test_contradiction_shows_both_arrays_and_a_caret():
    source = "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]"
    assert message_of(source, {}, {"x": (8, 32, 32, 3), "w": (3, 3, 4, 16)}) == (
        "index `c` has two extents: 3 in x (8, 32, 32, 3) and 4 in w (3, 3, 4, 16)\n"
        f"  {source}\n"
        "                                                 ^"
    )


def test_contradiction_of_a_given_extent():
    assert message_of("z[i] = x[i]", {}, {"x": (3,)}, {"i": 4}) == (
        "index `i` has two extents: 4 given and 3 in x (3,)\n  z[i] = x[i]\n           ^"
    )


def test_contradiction_of_the_output():
    assert message_of("dx[i] = x[i]", {}, {"x": (3,), "dx": (5,)}) == (
        "index `i` has two extents: 5 in dx (5,) and 3 in x (3,)\n  dx[i] = x[i]\n            ^"
    )


ERRORS = [
    ("z[i] = x[i]", {}, {"x": (3, 4)}, {}, "x has 1 index here, but its shape is (3, 4)"),
    ("z[i,j] = x[i,j]", {}, {"x": (3,)}, {}, "x has 2 indices here, but its shape is (3,)"),
    ("z[i] = lr * x[i]", {}, {"x": (3,), "lr": (2,)}, {},
     "`lr` stands without indices: it is one number, not an array of shape (2,)"),
    ("z[i] = x[i,0]", {}, {"x": (0, 3)}, {}, "x (0, 3) is empty"),
    ("z[i] = sum(s) x[i+s]", {}, {"x": (9,)}, {},
     "extent of index `i` is open: no array determines it; give it with extents={'i': ...}"),
    ("z[i] = x[i%2]", {}, {"x": (2,)}, {},
     "extent of index `i` is open: no array determines it; give it with extents={'i': ...}"),
    ("z[n] = sum(q) x[n]", {}, {"x": (2,)}, {},
     "extent of index `q` is open: no array determines it; give it with extents={'q': ...}"),
    ("z[i] = x[i*S]", {}, {"x": (9,)}, {}, "`S` in an index of x is neither an axis nor a constant; give S=..."),
    ("z[i] = x[i*S]", {"S": 1.5}, {"x": (9,)}, {},
     "constant `S` (=1.5) stands in an index of x and must be an integer"),
    ("z[i] = x[i]", {"i": 2}, {"x": (9,)}, {}, "`i` is an axis of the equation and cannot be a constant (=2) too"),
    ("z[i] = sum(s) x[i+s-P] * w[s]", {"P": 1}, {"x": (2,), "w": (5,)}, {},
     "kernel larger than its padded input: `i+s-P` spans 5 cells, dimension 0 of x (2,) has 2 "
     "and 1 of padding on each side"),
    ("z[i] = sum(s) x[i+s] * w[s]", {}, {"x": (2,), "w": (3,)}, {},
     "kernel larger than its padded input: `i+s` spans 3 cells, dimension 0 of x (2,) has 2"),
    ("z[i] = x[i]", {}, {}, {"i": 0}, "`extents['i']` (=0) must be an integer of at least 1"),
    ("z[i] = x[i]", {}, {}, {"i": 2.0}, "`extents['i']` (=2.0) must be an integer of at least 1"),
    ("z[i] = x[i]", {}, {}, {"i": True}, "`extents['i']` (=True) must be an integer of at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "constants", "shapes", "given_extents", "message"), ERRORS)
def test_error(source, constants, shapes, given_extents, message):
    text, *_ = message_of(source, constants, shapes, given_extents).split("\n")
    assert text == message


def test_carets_of_errors():
    assert message_of("z[i] = sum(s) x[i+s-P] * w[s]", {"P": 0}, {"x": (2,), "w": (5,)}).endswith(
        "\n  z[i] = sum(s) x[i+s-P] * w[s]\n                  ^^^^^"
    )
    assert message_of("z[i,j] = x[i]", {}, {"x": (3,)}).endswith("\n  z[i,j] = x[i]\n      ^")


def test_extents_as_numpy_integers():
    numpy = pytest.importorskip("numpy")
    assert inferred("z[i] = x[i+1]", {}, {}, {"i": numpy.int64(4)}) == {"i": 4}
