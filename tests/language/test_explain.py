"""The terms of one number: the sources' worked example to the letter, printed forms, totals against other oracles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language import explain, infer_extents, parse
from pellucid.language.gradient import gradient
from pellucid.reference import evaluate

V = np.arange(1.0, 10.0).reshape(3, 3)
K = np.array([[1.0, 2.0], [3.0, -4.0]])
G = np.array([[1.0, -1.0], [2.0, 5.0]])


def explained(source, index, arrays, constants=None, shapes=None, extents=None, base=0):
    formula = parse(source)
    known = {name: np.shape(array) for name, array in arrays.items() if array is not None} | (shapes or {})
    found = infer_extents(formula, constants or {}, known, extents or {})
    return explain(formula, index, constants or {}, found, arrays, base, shapes)


# The worked example, 1-based, letter by letter

EXAMPLE = """
    dK11 = V11 G11 + V12 G12 + V21 G21 + V22 G22        dK12 = V12 G11 + V13 G12 + V22 G21 + V23 G22
    dV11 = K11 G11                                       dV12 = K12 G11 + K11 G12
    dV13 = K12 G12                                       dV21 = K21 G11 + K11 G21
    dV22 = K22 G11 + K21 G12 + K12 G21 + K11 G22         dV23 = K22 G12 + K12 G22
    dV31 = K21 G21      dV32 = K22 G21 + K21 G22         dV33 = K22 G22
"""
LINES = [line.strip() for line in re.split(r"\s{4,}|\n", EXAMPLE) if line.strip()]

GRADIENTS = {
    "dV": "dV[y,x] = sum(i,j,s,t : i+s == y, j+t == x) K[s,t] * G[i,j]",
    "dK": "dK[s,t] = sum(i,j) V[i+s,j+t] * G[i,j]",
}


def test_the_example_is_read_completely():
    assert len(LINES) == 11


@pytest.mark.parametrize("line", LINES)
def test_worked_example_line_by_line(line):
    name, row, column = re.match(r"(d[KV])(\d)(\d)", line).groups()
    arrays = {"V": V, "K": K, "G": G}
    found = explained(GRADIENTS[name], (int(row), int(column)), arrays, shapes={"dV": (3, 3), "dK": (2, 2)}, base=1)
    printed = str(found).split("\n")[0]
    assert re.sub(r"\[(\d),(\d)\]", r"\1\2", printed).replace("*", " ") == line


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("dV")])
def test_worked_example_from_the_derived_gradient(line):
    """The same, with the gradient that the package derives; it names the arriving gradient first."""
    formula = gradient(parse("O[i,j] = sum(s,t) V[i+s,j+t] * K[s,t]"), "V", upstream="G")
    extents = infer_extents(formula, {}, {"dV": (3, 3), "K": (2, 2), "G": (2, 2)}, {})
    found = explain(formula, (int(line[2]), int(line[3])), {}, extents, {"K": K, "G": G}, base=1)
    terms = [sorted(factor.text(1) for factor in term.factors) for term in found.terms]
    wanted = [
        sorted(re.sub(r"(\d)(\d)", r"[\1,\2]", factor) for factor in term.split())
        for term in line.split(" = ")[1].split(" + ")
    ]
    assert terms == wanted


# What is printed

DX = "dx[n,y,x,c] = sum(i,j,s,t,k : i+s == y, j+t == x) w[s,t,c,k] * g[n,i,j,k]"


def test_printed_terms_values_and_sum():
    w, g = K.reshape(2, 2, 1, 1), G.reshape(1, 2, 2, 1)
    found = explained(DX, (0, 1, 1, 0), {"w": w, "g": g}, shapes={"dx": (1, 3, 3, 1)})
    assert str(found) == (
        "dx[0,1,1,0] = w[1,1,0,0]*g[0,0,0,0] + w[1,0,0,0]*g[0,0,1,0] + w[0,1,0,0]*g[0,1,0,0] + w[0,0,0,0]*g[0,1,1,0]\n"
        "            = (-4)*1 + 3*(-1) + 2*2 + 1*5\n"
        "            = 2"
    )
    assert found.total == 2
    assert [term.value for term in found.terms] == [-4, -3, 4, 5]
    first = found.terms[0]
    assert (first.coefficient, first.factors[0].tensor, first.factors[0].index) == (1, "w", (1, 1, 0, 0))
    assert [factor.value for factor in first.factors] == [-4, 1]


def test_base_shifts_what_is_printed_and_asked_but_no_factor():
    zero = explained("z[i] = sum(s) x[i+s]", (1,), {"x": V[0]}, extents={"s": 2})
    one = explained("z[i] = sum(s) x[i+s]", (2,), {"x": V[0]}, extents={"s": 2}, base=1)
    assert str(zero).split("\n")[0] == "z[1] = x[1] + x[2]"
    assert str(one).split("\n")[0] == "z[2] = x[2] + x[3]"
    assert zero.terms == one.terms
    assert zero.index == one.index == (1,)


PRINTED = [
    (
        "average pooling without the padding",
        "p[i] = (sum(s) a[2*i+s-1]) / 3",
        (0,),
        {"a": V[0]},
        {"s": 3, "i": 2},
        "p[0] = a[0]/3 + a[1]/3\n     = 1/3 + 2/3\n     = 1",
    ),
    (
        "coefficients and signs",
        "z[i] = 2.5*a[i] - i*b[i] - a[0]*b[0]*3 + 7",
        (2,),
        {"a": V[0], "b": V[1]},
        {},
        "z[2] = 2.5*a[2] - 2*b[2] - 3*a[0]*b[0] + 7\n     = 2.5*3 - 2*6 - 3*1*4 + 7\n     = -9.5",
    ),
    (
        "a product of sums",
        "z[i] = scale * (a[i] + b[i]) / c[i]",
        (0,),
        {"a": V[0], "b": V[1], "c": V[2], "scale": 2.0},
        {},
        "z[0] = scale*a[0]/c[0] + scale*b[0]/c[0]\n     = 2*1/7 + 2*4/7\n     = 1.42857",
    ),
    (
        "no terms",
        "z[i] = sum(s) a[i+s+5]",
        (0,),
        {"a": V[0]},
        {"s": 2, "i": 2},
        "z[0] = 0",
    ),
    (
        "max pooling with padding",
        "p[i,j] = max(s,t) a[2*i+s-1,2*j+t-1]",
        (0, 1),
        {"a": V},
        {"i": 2, "j": 2, "s": 2, "t": 2},
        "p[0,1] = max(a[0,1], a[0,2])\n       = max(2, 3)\n       = 3, from a[0,2]",
    ),
    (
        "the place of the winner counts the cells of the padding",
        "q[i,j] = argmax(s,t) a[2*i+s-1,2*j+t-1]",
        (0, 1),
        {"a": V},
        {"i": 2, "j": 2, "s": 2, "t": 2},
        "q[0,1] = argmax(a[0,1], a[0,2])\n       = argmax(2, 3)\n       = 3, from a[0,2]",
    ),
    (
        "the first of a tie wins",
        "q[i] = argmin(s) a[i,s]**2",
        (0,),
        {"a": np.array([[2.0, -1.0, 1.0]])},
        {},
        "q[0] = argmin(a[0,0]**2, a[0,1]**2, a[0,2]**2)\n     = argmin(4, 1, 1)\n     = 1, from a[0,1]**2",
    ),
    (
        "ReLU of a dense layer",
        "z[o] = max((sum(q) x[q]*w[q,o]) + b[o], 0)",
        (0,),
        {"x": V[0, :2], "w": np.array([[2.0], [-3.0]]), "b": np.array([0.5])},
        {},
        "z[0] = max(x[0]*w[0,0] + x[1]*w[1,0] + b[0], 0)\n"
        "     = max(1*2 + 2*(-3) + 0.5, 0)\n"
        "     = max(-3.5, 0)\n"
        "     = 0",
    ),
    (
        "functions in functions",
        "z[i] = exp(sqrt(sum(k) a[i,k]**2))",
        (0,),
        {"a": np.array([[3.0, 4.0]])},
        {},
        "z[0] = exp(sqrt(a[0,0]**2 + a[0,1]**2))\n     = exp(sqrt(9 + 16))\n     = exp(sqrt(25))\n"
        "     = exp(5)\n     = 148.413",
    ),
    (
        "the branch that was taken",
        "z[i] = where(a[i] > 0, a[i], alpha * a[i])",
        (1,),
        {"a": np.array([1.0, -2.0]), "alpha": 0.25},
        {},
        "z[1] = where(a[1] > 0, a[1], alpha*a[1])\n     = where(false, -2, 0.25*(-2))\n"
        "     = where(false, -2, -0.5)\n     = -0.5",
    ),
    (
        "a lookup",
        "L = -(sum(n) logp[n,t[n]]) / 2",
        (),
        {"logp": np.array([[-1.0, -3.0], [-5.0, -7.0]]), "t": np.array([1, 0])},
        {},
        "L = -logp[0,1]/2 - logp[1,0]/2\n  = -(-3)/2 - (-5)/2\n  = 4",
    ),
    (
        "softmax keeps its sum as one factor",
        "y[k] = exp(x[k]) / sum(l) exp(x[l])",
        (0,),
        {"x": np.array([0.0, 0.0])},
        {},
        "y[0] = exp(x[0])/(sum(l) exp(x[l]))\n     = 1/2\n     = 0.5",
    ),
    (
        "a cell of every second",
        "z[2*i+1] = 3*a[i]",
        (3,),
        {"a": V[0]},
        {},
        "z[3] = 3*a[1]\n     = 3*2\n     = 6",
    ),
]


@pytest.mark.parametrize(
    ("source", "index", "arrays", "extents", "text"),
    [case[1:] for case in PRINTED],
    ids=[case[0] for case in PRINTED],
)
def test_printed(source, index, arrays, extents, text):
    assert str(explained(source, index, arrays, extents=extents)) == text


def test_open_indices_of_an_inner_sum_count_from_the_base():
    found = explained("y[k] = exp(x[k]) / sum(l) exp(x[l])", (1,), {"x": np.zeros(2)}, base=1)
    assert str(found).split("\n")[0] == "y[1] = exp(x[1])/(sum(l) exp(x[l+1]))"


def test_many_terms_are_cut_in_print_only():
    found = explained("z[i] = sum(k) a[k]*[k >= i]", (0,), {"a": np.ones(43)}, extents={"i": 2})
    symbols, numbers, total = str(found).split("\n")
    assert symbols.endswith(" + a[38] + a[39] + ... 3 more terms")
    assert numbers.endswith(" + 1 + 1 + ... 3 more terms")
    assert total == "     = 43"
    assert len(found.terms) == 43


def test_winner_of_candidates():
    found = explained("p[i] = max(s) a[3*i+s]", (0,), {"a": np.array([1.0, 7.0, 7.0])}, extents={"s": 3})
    assert (found.kind, found.winner, found.total) == ("max", 1, 7)
    assert [term.value for term in found.terms] == [1, 7, 7]


def test_unknown_values_leave_the_symbols():
    found = explained(GRADIENTS["dV"], (1, 2), {"K": None, "G": None},
                      shapes={"dV": (3, 3), "K": (2, 2), "G": (2, 2)}, base=1)  # fmt: skip
    assert str(found) == "dV[1,2] = K[1,2]*G[1,1] + K[1,1]*G[1,2]"
    assert found.total is None
    assert found.terms[0].value is None


# Totals


@dataclass
class Case:
    source: str
    constants: dict
    shapes: dict
    extents: dict


CASES = [
    Case("z[n,i,k] = sum(s,c) x[n,i*S+s*D-P,c] * w[s,c,k] + b[k]", {"S": 2, "D": 2, "P": 2},
         {"x": (2, 9, 2), "w": (3, 2, 2), "b": (2,)}, {}),
    Case("dx[n,y,c] = sum(i,s,k : i*S+s*D-P == y) g[n,i,k] * w[s,c,k]", {"S": 2, "D": 2, "P": 2},
         {"g": (2, 5, 2), "w": (3, 2, 2), "dx": (2, 9, 2)}, {}),
    Case("p[i,j] = max(s,t) x[i*S+s-1,j*S+t-1] * 2 - 1", {"S": 2}, {"x": (5, 5)}, {"s": 3, "t": 3}),
    Case("q[i,j] = argmin(s,t) x[i+s,j+t]", {}, {"x": (4, 4)}, {"s": 3, "t": 2}),
    Case("z[i,u*K+k] = sum(c) x[i,u*C+c] * w[c,u*K+k]", {"C": 2, "K": 3}, {"x": (2, 4), "w": (2, 6)}, {}),
    Case("z[i] = sum(k : k != i, k%2 == 1) x[k]**2 / (1 + abs(y[i])) - [x[i] > 0]", {}, {"x": (6,), "y": (6,)}, {}),
    Case("z[i] = sqrt(sum(k) (x[i,k] - y[i]) ** 2) * tanh(y[i]) + softplus(-x[i,0])", {}, {"x": (3, 4), "y": (3,)}, {}),
    Case("z[i] = sum(y : (i*N)//M <= y, y < ((i+1)*N+M-1)//M) x[y]", {"N": 7, "M": 3}, {"x": (7,)}, {"i": 3}),
    Case("z[i] = x[i//2] * x[i%3] + sin(x[2-i%3])", {}, {"x": (4,)}, {"i": 6}),
    Case("z[i] = sum(k) [argmax(l) x[i,l] == position(k)] * x[i,k]", {}, {"x": (3, 4)}, {}),
    Case("z[i] = max(x[i], y[i]) * min(x[i], 0.5) + where(0 <= i < 2, exp(x[i]), log(abs(y[i])))", {},
         {"x": (4,), "y": (4,)}, {}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.source for case in CASES])
def test_every_total_is_the_value_of_the_reference(case):
    formula = parse(case.source)
    random = np.random.default_rng(5)
    arrays = {name: random.standard_normal(shape) for name, shape in case.shapes.items() if name != "dx"}
    extents = infer_extents(formula, case.constants, case.shapes, case.extents)
    shape = case.shapes.get(formula.output.tensor)
    out = None if shape is None else np.zeros(shape)
    expected = evaluate(formula, case.constants, extents, arrays, out=out)
    for index in product(*map(range, expected.shape)):
        found = explain(formula, index, case.constants, extents, arrays)
        np.testing.assert_allclose(found.total, expected[index], rtol=1e-13, atol=1e-13)
        if found.kind == "sum":
            assert found.total == sum(term.value for term in found.terms)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 4), st.integers(4, 9), st.data())
def test_gradient_of_a_convolution_against_torch(stride, padding, dilation, kernel, size, data):
    torch = pytest.importorskip("torch")
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        size = dilation * (kernel - 1) + 1
    w = np.arange(1.0, kernel + 1)
    x = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    z = torch.nn.functional.conv1d(x, torch.tensor(w)[None, None], None, stride, padding, dilation)
    g = np.arange(1.0, z.shape[-1] + 1)
    z.backward(torch.tensor(g)[None, None])
    cell = data.draw(st.integers(0, size - 1))
    found = explained(
        "dx[y] = sum(i,s : i*S+s*D-P == y) g[i] * w[s]", (cell,), {"g": g, "w": w},
        {"S": stride, "D": dilation, "P": padding}, {"dx": (size,)},
    )  # fmt: skip
    assert found.total == x.grad[0, 0, cell].item()


def test_a_constraint_is_solved_not_searched():
    """19 x 10^9 index combinations, 12 of which are terms."""
    g, w = np.broadcast_to(1.0, (40_000, 40_000)), np.ones((3, 4))
    found = explained(
        "dx[y,x] = sum(i,j,s,t : i+s == y, j+t == x) g[i,j] * w[s,t]", (100, 200), {"g": g, "w": w},
        shapes={"dx": (40_002, 40_003)},
    )  # fmt: skip
    assert len(found.terms) == 12


# Errors, word for word

ERRORS = [
    ((1,), {}, 0, "`index` (=(1,)) has 1 number; dV has 2 indices"),
    ((1, 3), {}, 0, "`index[1]` (=3) of dV must be from 0 to 2"),
    ((-1, 0), {}, 0, "`index[0]` (=-1) of dV must be from 0 to 2"),
    ((0, 1), {}, 1, "`index[0]` (=0) of dV must be from 1 to 3"),
    ((0.5, 1), {}, 0, "`index` (=(0.5, 1)) must be integers"),
    ((0, 0), {}, 2, "`base` (=2) must be 0 or 1"),
    ((0, 0), {"G": G}, 0, "`K` must be given: neither its values nor its shape are known"),
]


@pytest.mark.parametrize(("index", "arrays", "base", "message"), ERRORS)
def test_error(index, arrays, base, message):
    extents = {"y": 3, "x": 3, "i": 2, "j": 2, "s": 2, "t": 2}
    with pytest.raises(ArgumentError) as error:
        explain(parse(GRADIENTS["dV"]), index, {}, extents, arrays, base)
    assert str(error.value) == message


def test_too_many_terms():
    ones = np.ones(400)
    with pytest.raises(ArgumentError) as error:
        explained("z = sum(i,j) a[i] * b[j]", (), {"a": ones, "b": ones})
    assert str(error.value) == "an explanation has at most 100000 terms; this sum has more"


def test_condition_on_unknown_values():
    with pytest.raises(ArgumentError) as error:
        explained("z[i] = [x[i] > 0] * y[i]", (0,), {"x": None, "y": V[0]}, shapes={"x": (3,)})
    message = "explaining this needs the values of `x`: a condition or an index depends on them"
    assert str(error.value) == message


def test_cell_that_the_equation_does_not_write():
    with pytest.raises(ArgumentError) as error:
        explained("z[2*i+1] = a[i]", (4,), {"a": V[0]})
    assert str(error.value) == "the equation writes z[2*i+1] alone, and so not z[4]"
