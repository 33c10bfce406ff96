"""Equation text to syntax tree: trees written by hand, and every error message word for word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import EquationError
from pellucid.language import parse, parse_expression, parse_system
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

a, b, c, d, i, j, s = (Name(letter) for letter in "abcdijs")


def plus(left, right):
    return Binary("+", left, right)


def times(left, right):
    return Binary("*", left, right)


EXPRESSIONS = [
    ("a + b * c", plus(a, times(b, c))),
    ("a - b - c", Binary("-", Binary("-", a, b), c)),
    ("a / b * c", times(Binary("/", a, b), c)),
    ("a // b % c", Binary("%", Binary("//", a, b), c)),
    ("(a + b) * c", times(plus(a, b), c)),
    ("-a * b", times(Negative(a), b)),
    ("-a ** b", Negative(Binary("**", a, b))),
    ("a ** -b", Binary("**", a, Negative(b))),
    ("a ** b ** c", Binary("**", a, Binary("**", b, c))),
    ("2 ** -a ** b * c", times(Binary("**", Number(2), Negative(Binary("**", a, b))), c)),
    ("a - -b", Binary("-", a, Negative(b))),
    ("1e-5 + .5 + 3. + 12", plus(plus(plus(Number(1e-5), Number(0.5)), Number(3.0)), Number(12))),
    # A reduction takes the product that follows it, wherever it stands.
    ("sum(s) x[s] * b + d", plus(Reduce("sum", ("s",), (), times(Access("x", (s,)), b)), d)),
    ("a * sum(s) x[s] * b + d", plus(times(a, Reduce("sum", ("s",), (), times(Access("x", (s,)), b))), d)),
    ("(sum(s) x[s]) * b", times(Reduce("sum", ("s",), (), Access("x", (s,))), b)),
    ("sum(s) (x[s] + b)", Reduce("sum", ("s",), (), plus(Access("x", (s,)), b))),
    ("-sum(s) x[s] * b", Negative(Reduce("sum", ("s",), (), times(Access("x", (s,)), b)))),
    ("sum(s) -x[s]", Reduce("sum", ("s",), (), Negative(Access("x", (s,))))),
    ("sum(s) sum(c) x[s,c]", Reduce("sum", ("s",), (), Reduce("sum", ("c",), (), Access("x", (s, c))))),
    ("sum(s) [s < 3] * a", Reduce("sum", ("s",), (), times(Bracket(Compare("<", s, Number(3))), a))),
    (
        "sum(i,s : i*2+s == a, s < 3) x[i]",
        Reduce(
            "sum",
            ("i", "s"),
            (Compare("==", plus(times(i, Number(2)), s), a), Compare("<", s, Number(3))),
            Access("x", (i,)),
        ),
    ),
    # max and min: a reduction where names stand alone and an operand follows, else a function.
    ("max(i,j) x[i,j]", Reduce("max", ("i", "j"), (), Access("x", (i, j)))),
    ("min(i) (x[i])", Reduce("min", ("i",), (), Access("x", (i,)))),
    ("max(i) 2 * x[i]", Reduce("max", ("i",), (), times(Number(2), Access("x", (i,))))),
    ("max(i) [i < 2]", Reduce("max", ("i",), (), Bracket(Compare("<", i, Number(2))))),
    ("max(i : i < 2) -x[i]", Reduce("max", ("i",), (Compare("<", i, Number(2)),), Negative(Access("x", (i,))))),
    ("max(a, b)", Call("max", (a, b))),
    ("max(a, b) * c", times(Call("max", (a, b)), c)),
    ("max(a, 0)", Call("max", (a, Number(0)))),
    ("argmax(i) x[i]", Reduce("argmax", ("i",), (), Access("x", (i,)))),
    # Conditions.
    (
        "where(0 <= i < a and not j == 2 or b > c, 1, 2)",
        Call(
            "where",
            (
                Logic(
                    "or",
                    (
                        Logic(
                            "and",
                            (
                                Logic("and", (Compare("<=", Number(0), i), Compare("<", i, a))),
                                Logic("not", (Compare("==", j, Number(2)),)),
                            ),
                        ),
                        Compare(">", b, c),
                    ),
                ),
                Number(1),
                Number(2),
            ),
        ),
    ),
    ("[a < b and (b < c or c != d)]", Bracket(
        Logic("and", (Compare("<", a, b), Logic("or", (Compare("<", b, c), Compare("!=", c, d)))))
    )),
    ("[(a + b) * 2 < c]", Bracket(Compare("<", times(plus(a, b), Number(2)), c))),
    ("[max(a, b) < c and a < b]", Bracket(
        Logic("and", (Compare("<", Call("max", (a, b)), c), Compare("<", a, b)))
    )),
    ("x[a, t[i]]", Access("x", (a, Access("t", (i,))))),
    ("exp(a)\n  + b  # the rest", plus(Call("exp", (a,)), b)),
    ("β_1 + größe2", plus(Name("β_1"), Name("größe2"))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_expression(text, tree):
    assert parse_expression(text) == tree


def test_convolution_with_its_spans():
    source = "z[i] = sum(s) x[i*S+s-P] * w[s] + b"
    formula = parse(source)
    index = Binary("-", plus(times(i, Name("S")), s), Name("P"))
    body = plus(Reduce("sum", ("s",), (), times(Access("x", (index,)), Access("w", (s,)))), b)
    assert formula == Formula(Access("z", (i,)), body)
    reduction = formula.body.left
    texts = [source[node.span.start : node.span.end] for node in (formula, formula.output, reduction, reduction.body)]
    assert texts == [source, "z[i]", "sum(s) x[i*S+s-P] * w[s]", "x[i*S+s-P] * w[s]"]


def test_output_without_indices():
    assert parse("L = sum(n) l[n]") == Formula(Access("L", ()), Reduce("sum", ("n",), (), Access("l", (Name("n"),))))


def test_an_axis_may_be_called_like_a_tensor():
    formula = parse("dx[y,x] = sum(i : i == x) x[y,i] + x")
    assert formula.free_axes == ("y", "x")


def test_system_skips_blank_lines_and_comments():
    source = "# softmax\nm[n] = max(k) x[n,k]\n\ne[n,k] = exp(x[n,k] - m[n])  # no overflow\n"
    first, second = parse_system(source)
    assert (first, second) == (parse("m[n] = max(k) x[n,k]"), parse("e[n,k] = exp(x[n,k] - m[n])"))
    assert source[second.span.start : second.span.end] == "e[n,k] = exp(x[n,k] - m[n])"


def test_error_in_a_system_shows_its_line():
    with pytest.raises(EquationError) as error:
        parse_system("m[n] = max(k) x[n,k]\nz[n] = m[n")
    assert str(error.value) == "expected `]` after the indices of m\n  z[n] = m[n\n            ^"


def test_empty_system():
    with pytest.raises(EquationError, match=r"^the text holds no equation$"):
        parse_system("\n# nothing\n")


ERRORS = [
    # tokens
    ("z[i] = x[i]^2", "character `^` is not in the language; a power is written `**`", "^"),
    ("z[i] = x[i] & 2", "character `&` is not in the language; conditions are joined by `and`", "&"),
    ("z[i] = x[i] ? 2", "character `?` is not in the language", "?"),
    ("z[i] = 2x[i]", "`2` is followed by `x`; a product is written with `*`", "x"),
    ("z[i] = 1e999", "the number 1e999 is beyond a 64-bit float", "1e999"),
    ("z[i] = 12345678901234567890", "an integer has at most 18 digits, this one 20", "12345678901234567890"),
    # structure
    ("", "an equation begins with its output, as in `z[i,j] = ...`", ""),
    ("3 = x[i]", "an equation begins with its output, as in `z[i,j] = ...`", "3"),
    ("z[i] x[i]", "expected `=` after the output, not `x`", "x"),
    ("z[i] == x[i]", "expected `=` after the output, not `==`", "=="),
    ("z[i] = x[i", "expected `]` after the indices of x", ""),
    ("z[i] = x[i)", "expected `]` after the indices of x, not `)`", ")"),
    ("z[i] = (a + b", "expected `)` to close the parenthesis", ""),
    ("z[i] = [i < 3", "expected `]` to close the bracket of a condition", ""),
    ("z[i] = exp(a", "expected `)` after the arguments of exp", ""),
    ("z[i] = sum(s x[s]", "expected `)` after the axes of sum, not `x`", "x"),
    ("z[i] = sum(s : s < 3 x[s]", "expected `)` after the conditions of sum, not `x`", "x"),
    ("z[i] = a)", "`)` closes nothing", ")"),
    ("z[i] = x[i] y[i]", "expected an operator before `y`", "y"),
    ("z[i] = a = b", "expected the end of the equation; equality in a condition is written `==`", "="),
    ("z[i] = a : b", "expected the end of the equation, not `:`", ":"),
    ("z[i] = a +", "expected a value", ""),
    ("z[i] = a + * b", "expected a value, not `*`", "*"),
    ("z[i] = sum(3) a", "sum takes the names of axes, as in `sum(i,j) ...`", "3"),
    ("z[i] = x[]", "`x[]` has no index; a single number is written `x`", "x[]"),
    # names
    ("z[i] = tan(a)", "unknown function `tan`; did you mean `tanh`?", "tan"),
    (
        "z[i] = quux(a)",
        "unknown function `quux`; the functions are abs, cos, erf, exp, expm1, floor, log, log1p, max, min, "
        "position, sigmoid, sign, sin, softplus, sqrt, stop, tanh, where",
        "quux",
    ),
    ("z[i] = exp[i]", "`exp` is the function exp(a) and names nothing else", "exp"),
    ("z[i] = sum + 1", "`sum` is a word of the language and names nothing else", "sum"),
    ("z[i] = sum(where) 1", "`where` is the function where(condition, a, b) and names nothing else", "where"),
    # arguments
    ("z[i] = exp(a, b)", "exp(a) takes 1 argument, not 2", "exp(a, b)"),
    ("z[i] = max(a)", "max(a, b) takes 2 arguments, not 1", "max(a)"),
    ("z[i] = exp()", "exp(a) takes 1 argument, not 0", "exp()"),
    ("z[i] = position()", "position(axis, ...) takes at least 1 argument, not 0", "position()"),
    ("z[i] = sum(s) position(s, 2)", "position takes the names of axes", "2"),
    # values and conditions
    (
        "z[i] = a * (i < 3)",
        "a value is expected here, not a condition; write `[condition]` for 1 where it holds and 0 elsewhere",
        "i < 3",
    ),
    ("z[i] = (i < 3) * a", "`*` takes values, not a condition", "i < 3"),
    ("z[i] = [x[i]]", "a condition is expected here, such as `i < 3`", "x[i]"),
    ("z[i] = [a and i < 3]", "`and` joins conditions such as `i < 3`, not values", "a"),
    ("z[i] = [i = 3]", "equality in a condition is written `==`", "="),
    ("z[i] = where(a, 1, 2)", "a condition is expected here, such as `i < 3`", "a"),
    # indices
    ("z[i] = x[i / 2]", "`/` in an index gives no integer; write `//`", "i / 2"),
    ("z[i] = x[i + 0.5]", "an index of x holds the number 0.5; indices are integers", "0.5"),
    (
        "z[i] = x[floor(i)]",
        "an index of x holds a function or a condition; it may hold axes, integers, + - * // % and lookups",
        "floor(i)",
    ),
    (
        "z[i] = x[argmax(k) p[k]]",
        "an index of x holds a reduction; it may hold axes, integers, + - * // % and lookups",
        "argmax(k) p[k]",
    ),
    ("z[t[i]] = x[i]", "the output's indices hold axes and constants only, no lookups", "t[i]"),
    ("z[i,i] = x[i]", "index `i` stands twice in the output", "i"),
    ("z[i] = x[i] * x[i,i]", "x has 1 index before and 2 indices here", "x[i,i]"),
    ("z[i] = x[i] + x", "`x` stands with indices and without", "x"),
    ("z[i] = z[i] + 1", "`z` is the output and is also read", "z[i]"),
    ("L = L + 1", "`L` is the output and is also read", "L"),
    # axes
    ("z[i] = sum(i) x[i]", "axis `i` of this sum is already an index of the output", "i"),
    ("z[2*i+1] = sum(i) x[i]", "axis `i` of this sum is already an index of the output", "i"),
    ("z[i] = sum(s,s) x[s]", "axis `s` stands twice in this sum", "s"),
    ("z[i] = sum(s) max(s) x[s]", "axis `s` of this max is already an axis of the sum around it", "s"),
    (
        "z[i] = sum(k) x[k] + y[k]",
        "`k` is an axis of a sum and stands outside of it; a reduction takes the product that follows, "
        "parentheses take more",
        "k",
    ),
]


@pytest.mark.parametrize(("source", "message", "marked"), ERRORS, ids=[source or "empty" for source, _, _ in ERRORS])
def test_error(source, message, marked):
    with pytest.raises(EquationError) as error:
        parse(source)
    text, line, caret = str(error.value).split("\n")
    assert text == message
    assert line == "  " + source
    start = caret.index("^")
    assert caret == " " * start + "^" * max(1, len(marked))
    assert line[start : start + len(marked)] == marked


@pytest.mark.parametrize(
    ("source", "at"),
    [("z[i] = sum(s,s) x[s]", 13), ("z[i] = x[i] + x", 14), ("z[i] = sum(s) max(s) x[s]", 18), ("z[i] = a)", 8)],
)
def test_caret_stands_under_the_second_occurrence(source, at):
    with pytest.raises(EquationError) as error:
        parse(source)
    assert error.value.span.start == at


NESTED = {
    "parentheses": "(" * 101 + "a" + ")" * 101,
    "functions": "exp(" * 101 + "a" + ")" * 101,
    "lookups": "x[" * 101 + "i" + "]" * 101,
    "signs": "-" * 101 + "a",
    "powers": "**".join(["a"] * 102),
    "not": "[" + "not " * 101 + "i < 3]",
    "a long sum": " + ".join(["a"] * 102),
    "reductions": "".join(f"sum(s{number}) " for number in range(101)) + "a",
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_nesting_has_a_limit(text):
    with pytest.raises(EquationError, match=r"^the equation is nested more than 100 levels deep\n"):
        parse(f"z[i] = {text}")


def test_nesting_below_the_limit():
    parse("z[i] = " + "(" * 99 + "a" + ")" * 99)
    parse("z[i] = " + " + ".join(["x[i]"] * 99))


FRAGMENTS = [
    "z", "x", "i", "s", "sum", "max", "argmin", "exp", "where", "not", "and", "or", "position", "2", "0.5", "1e-5",
    "+", "-", "*", "/", "//", "%", "**", "(", ")", "[", "]", ",", ":", "=", "==", "<", "<=", "^", "#", "\n", " ", "é",
]  # fmt: skip


STARTS = st.sampled_from(["", "z[i] = ", "z[i] = sum(s) "])


@settings(max_examples=300, deadline=None)
@given(STARTS, st.lists(st.sampled_from(FRAGMENTS), max_size=15).map("".join))
def test_any_text_is_an_equation_or_an_error_inside_it(start, text):
    source = start + text
    try:
        span = parse(source).span
    except EquationError as error:
        span = error.span
    assert span.source == source
    assert 0 <= span.start <= span.end <= len(source)
