"""Syntax tree to text and back, and to LaTeX."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.language import parse, parse_expression, to_latex, to_text
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Formula,
    Logic,
    Name,
    Negative,
    Number,
    Reduce,
)

# Trees at random, in the parser's own terms: no negative literals, no axis bound twice, each tensor with two indices.
INTEGERS = st.integers(0, 10**17).map(Number)
FLOATS = st.floats(min_value=0, allow_infinity=False, allow_nan=False).map(Number)
COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
ONE_ARGUMENT = st.sampled_from(["exp", "log1p", "sigmoid", "stop", "abs"])
REDUCED_AXES = ("p", "q", "r", "u")


@st.composite
def indices(draw, depth=2):
    kind = draw(st.integers(0, 4)) if depth else draw(st.integers(0, 1))
    if kind == 0:
        return Name(draw(st.sampled_from(["i", "j", "S"])))
    if kind == 1:
        return draw(INTEGERS)
    if kind == 2:
        return Negative(draw(indices(depth - 1)))
    if kind == 3:
        return Access("t", (draw(indices(depth - 1)), draw(indices(depth - 1))))
    operator = draw(st.sampled_from(["+", "-", "*", "//", "%", "**"]))
    return Binary(operator, draw(indices(depth - 1)), draw(indices(depth - 1)))


@st.composite
def conditions(draw, depth, bound):
    kind = draw(st.integers(0, 3)) if depth else 0
    if kind == 0:
        return Compare(draw(COMPARISONS), draw(values(depth, bound)), draw(values(depth, bound)))
    if kind == 1:
        low, middle, high = (draw(values(depth - 1, bound)) for _ in range(3))
        return Logic("and", (Compare(draw(COMPARISONS), low, middle), Compare(draw(COMPARISONS), middle, high)))
    if kind == 2:
        return Logic("not", (draw(conditions(depth - 1, bound)),))
    operands = tuple(draw(conditions(depth - 1, bound)) for _ in range(draw(st.integers(2, 3))))
    return Logic(draw(st.sampled_from(["and", "or"])), operands)


@st.composite
def values(draw, depth=4, bound=()):
    """A value of at most that depth, in which the axes `bound` are bound."""
    kind = draw(st.integers(0, 9)) if depth else draw(st.integers(0, 2))
    inner = values(depth - 1, bound) if depth else None
    if kind == 0:
        return Name(draw(st.sampled_from(["i", "j", "S", "alpha", *bound])))
    if kind == 1:
        return draw(INTEGERS | FLOATS)
    if kind == 2:
        return Access("x", (draw(indices()), draw(indices())))
    if kind == 3:
        return Negative(draw(inner))
    if kind in (4, 5):
        operator = draw(st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]))
        return Binary(operator, draw(inner), draw(inner))
    if kind == 6:
        return Call(draw(ONE_ARGUMENT), (draw(inner),))
    if kind == 7:
        if draw(st.booleans()):
            return Call(draw(st.sampled_from(["max", "min"])), (draw(inner), draw(inner)))
        return Call("where", (draw(conditions(depth - 1, bound)), draw(inner), draw(inner)))
    if kind == 8 or len(bound) == len(REDUCED_AXES):
        return Bracket(draw(conditions(depth - 1, bound)))
    axes = REDUCED_AXES[len(bound) : len(bound) + draw(st.integers(1, 2))]
    guards = tuple(draw(conditions(depth - 1, (*bound, *axes))) for _ in range(draw(st.integers(0, 2))))
    reduction = draw(st.sampled_from(["sum", "max", "min", "argmax", "argmin"]))
    return Reduce(reduction, axes, guards, draw(values(depth - 1, (*bound, *axes))))


TREES = values()


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_text_of_any_value_parses_to_it(tree):
    assert parse_expression(to_text(tree)) == tree


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_compact_text_parses_to_the_same(tree):
    assert parse_expression(to_text(tree, compact=True)) == tree


@settings(max_examples=100, deadline=None)
@given(TREES, indices().filter(lambda index: "t[" not in to_text(index)))
def test_text_of_any_formula_parses_to_it(tree, index):
    formula = Formula(Access("z", (Name("n"), index)), tree)
    assert parse(to_text(formula)) == formula


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_no_parenthesis_can_be_left_out(tree):
    """Each pair of parentheses that is not a call's or a reduction's is needed: without it the text says otherwise."""
    text = to_text(tree)
    for opening in re.finditer(r"(?<![a-z0-9])\(", text):
        closing = _closing(text, opening.start())
        bare = text[: opening.start()] + " " + text[opening.end() : closing] + " " + text[closing + 1 :]
        try:
            other = parse_expression(bare)
        except ValueError:
            continue
        assert other != tree, bare


def _closing(text, opening):
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise AssertionError(text)


TEXTS = [
    "z[n,i,j,k] = sum(s,t,c) x[n,i*S+s-P,j*S+t-P,c] * w[s,t,c,k] + b[k]",
    "dx[n,y,x,c] = sum(i,j,s,t,k : i*S+s-P == y, j*S+t-P == x) g[n,i,j,k] * w[s,t,c,k]",
    "z[i,j] = sum(s) w[H-1-s] * (x[(i+s)//2] - x[i%2])",
    "y[n,k] = exp(x[n,k] - m[n]) / sum(l) exp(x[n,l] - m[n])",
    "p[i] = max(s : 0 <= s < 3) a[2*i+s]",
    "p[i] = max(s) (-a[i+s])",
    "a[i] = max(z[i], 0) - 2 * -z[i]**2",
    "a[i] = where(z[i] > 0 and not (i == 2 or i > 7), z[i], alpha * (exp(z[i]) - 1))",
    "L = -(sum(n) logp[n,t[n]]) / N",
    "L = a * (sum(n) x[n]) * sum(n) y[n]",
    "z[i] = [x[i] > 0] * 1e-05",
]


@pytest.mark.parametrize("text", TEXTS)
def test_house_style_is_kept(text):
    assert to_text(parse(text)) == text


def test_a_negative_number_is_written_as_a_sign():
    assert to_text(Binary("**", Number(-1), Number(2))) == "(-1)**2"
    assert to_text(Binary("-", Name("a"), Number(-1))) == "a - -1"


LATEX = [
    (
        "z[n,i,j,k] = sum(s,t,c) x[n,i*S+s-P,j*S+t-P,c] * w[s,t,c,k] + b[k]",
        r"z_{n,i,j,k} = \sum_{s,t,c} x_{n,\, iS + s - P,\, jS + t - P,\, c} \, w_{s,t,c,k} + b_{k}",
    ),
    (
        "dx[y,c] = sum(i,s : i*S+s-P == y, s < 3) g[i] * w[s,c]",
        r"\mathrm{d}x_{y,c} = \sum_{\substack{i,s \\ iS + s - P = y \\ s < 3}} g_{i} \, w_{s,c}",
    ),
    (
        "z[i] = x[i//2] + x[i%2]",
        r"z_{i} = x_{\left\lfloor i / 2 \right\rfloor} + x_{i \bmod 2}".replace("x_{\\l", "x_{\\l"),
    ),
    (
        "z[i] = x[i%R*R + i%R]",
        r"z_{i} = x_{\left(i \bmod R\right) \, R + \left(i \bmod R\right)}",
    ),
    (
        "y[k] = exp(x[k]) / sum(l) exp(x[l])",
        r"y_{k} = \frac{\exp\left(x_{k}\right)}{\sum_{l} \exp\left(x_{l}\right)}",
    ),
    ("p[i] = max(s : 0 <= s < 3) a[i+s]", r"p_{i} = \max_{\substack{s \\ 0 \le s < 3}} a_{i + s}"),
    ("q = argmax(k) x[k]", r"q = \operatorname*{arg\,max}_{k} x_{k}"),
    ("a[i] = max(z[i], 0)", r"a_{i} = \max\left(z_{i}, 0\right)"),
    (
        "a[i] = where(z[i] > 0, z[i], alpha * z[i])",
        r"a_{i} = \begin{cases} z_{i} & \text{if } z_{i} > 0 \\ \alpha \, z_{i} & \text{otherwise} \end{cases}",
    ),
    ("z[i] = sqrt(x[i])**2 * abs(y[i])", r"z_{i} = \sqrt{x_{i}}^{2} \, \left|y_{i}\right|"),
    ("z[i] = (a + b)**2 * 3", r"z_{i} = \left(a + b\right)^{2} \cdot 3"),
    ("z[i] = (sum(k) w[k]) * b[i]", r"z_{i} = \left(\sum_{k} w_{k}\right) \, b_{i}"),
    ("z[i] = [x[i] != 2] * lr + 2.5e-7", r"z_{i} = \left[x_{i} \neq 2\right] \, \mathrm{lr} + 2.5 \cdot 10^{-7}"),
    ("z[i] = x1[i]**2 + running_mean[i] - ε", r"z_{i} = {x_{1}}_{i}^{2} + \mathrm{running\_mean}_{i} - \epsilon"),
    ("z[i] = a - (b - x[i])", r"z_{i} = a - \left(b - x_{i}\right)"),
    ("z[i] = sum(s) position(s) * x[s]", r"z_{i} = \sum_{s} \operatorname{position}\left(s\right) \, x_{s}"),
    (
        "z[i] = [i < 2 or i > 4 and not i == 7]",
        r"z_{i} = \left[i < 2 \text{ or } i > 4 \text{ and } \neg \left(i = 7\right)\right]",
    ),
]


@pytest.mark.parametrize(("text", "latex"), LATEX, ids=[text for text, _ in LATEX])
def test_latex(text, latex):
    assert to_latex(parse(text)) == latex


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_latex_is_balanced(tree):
    latex = to_latex(tree)
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert "_{}" not in latex
