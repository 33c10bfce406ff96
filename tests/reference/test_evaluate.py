"""The reference against numbers worked out by hand, Python loops, exact fractions and PyTorch."""

from __future__ import annotations

import math
from fractions import Fraction
from importlib import import_module
from itertools import product

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DtypeError, EquationError, ShapeError
from pellucid.language.parse import parse
from pellucid.language.syntax import Access, Call, Formula, Name, Reduce
from pellucid.reference import evaluate

CONVOLUTION = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k] + b[k]"


def run(text, extents, arrays, constants=None, out=None):
    return evaluate(parse(text), constants or {}, extents, arrays, out=out)


def test_the_printed_example_of_the_sources():
    # 3x3 input, 2x2 kernel, stride 1: dV of MATHS.md section 2, with distinct primes so that no terms can be confused.
    kernel = np.array([[2, 3], [5, 7]])
    upstream = np.array([[11, 13], [17, 19]])
    got = run(
        "dx[y,x] = sum(i,j,s,t : i+s == y, j+t == x) g[i,j] * w[s,t]",
        {"y": 3, "x": 3, "i": 2, "j": 2, "s": 2, "t": 2},
        {"g": upstream, "w": kernel},
    )
    expected = [
        [2 * 11, 3 * 11 + 2 * 13, 3 * 13],
        [5 * 11 + 2 * 17, 7 * 11 + 5 * 13 + 3 * 17 + 2 * 19, 7 * 13 + 3 * 19],
        [5 * 17, 7 * 17 + 5 * 19, 7 * 19],
    ]
    assert got.dtype == np.float64
    assert got.tolist() == expected


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_convolution_against_pytorch(stride, padding):
    torch = pytest.importorskip("torch", reason="the judge of convolution is PyTorch (extra `judges`)")
    generator = np.random.default_rng(stride + 10 * padding)
    x, w, b = (generator.standard_normal(shape) for shape in ((2, 7, 6, 3), (3, 2, 3, 4), (4,)))
    judged = torch.nn.functional.conv2d(
        torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(w).permute(3, 2, 0, 1), torch.tensor(b), stride, padding
    ).permute(0, 2, 3, 1)
    _, rows, columns, _ = judged.shape
    extents = {"n": 2, "i": rows, "j": columns, "k": 4, "s": 3, "t": 2, "c": 3}
    got = run(CONVOLUTION, extents, {"x": x, "w": w, "b": b}, {"S": stride, "P": padding})
    np.testing.assert_allclose(got, judged.numpy(), rtol=0, atol=1e-14 * 50)


def test_small_integers_are_exact():
    generator = np.random.default_rng(3)
    x, w = generator.integers(-9, 10, (5, 4)), generator.integers(-9, 10, (4, 3))
    got = run("z[n,o] = sum(q) x[n,q] * w[q,o]", {"n": 5, "o": 3, "q": 4}, {"x": x, "w": w})
    assert got.tolist() == (x @ w).tolist()


def test_blocks_do_not_change_the_result(monkeypatch):
    module = import_module("pellucid.reference.evaluate")
    generator = np.random.default_rng(4)
    extents = {"n": 2, "i": 5, "j": 6, "k": 4, "s": 3, "t": 3, "c": 2}
    arrays = {
        "x": generator.integers(-9, 10, (2, 5, 6, 2)),
        "w": generator.integers(-9, 10, (3, 3, 2, 4)),
        "b": generator.integers(-9, 10, 4),
    }
    whole = run(CONVOLUTION, extents, arrays, {"S": 1, "P": 1})
    seen: list[tuple[int, ...]] = []
    original = module._output_cells

    def record(output, grid, scope, shape):
        seen.append(grid.shape)
        return original(output, grid, scope, shape)

    monkeypatch.setattr(module, "_output_cells", record)
    monkeypatch.setattr(module, "_BLOCK", 18 * 10)
    assert np.array_equal(run(CONVOLUTION, extents, arrays, {"S": 1, "P": 1}), whole)
    assert max(math.prod(shape) for shape in seen) <= 10
    assert sum(math.prod(shape) for shape in seen) == whole.size


def test_reading_outside_is_the_identity_of_the_innermost_reduction():
    x = np.array([-1.0, -2.0, -3.0])
    extents = {"i": 3, "s": 3}
    assert run("z[i] = sum(s) x[i+s-1]", extents, {"x": x}).tolist() == [-3, -6, -5]
    assert run("z[i] = max(s) x[i+s-1]", extents, {"x": x}).tolist() == [-1, -1, -2]
    assert run("z[i] = min(s) x[i+s-1]", extents, {"x": x}).tolist() == [-2, -3, -3]
    assert run("z[i] = x[i+2]", {"i": 3}, {"x": x}).tolist() == [-3, 0, 0]
    assert run("z[i] = max(s) (sum(t) x[i+s+t-2])", {"i": 3, "s": 2, "t": 1}, {"x": x}).tolist() == [0, 0, -1]


def test_negative_index_does_not_wrap_around():
    assert run("z[i] = x[i-2]", {"i": 4}, {"x": np.array([5.0, 6.0, 7.0])}).tolist() == [0, 0, 5, 6]


def test_conditions_leave_points_out_even_where_the_body_is_infinite():
    x = np.array([np.inf, 2.0, np.nan, 4.0])
    assert run("z = sum(i : 0 < i and i != 2) x[i]", {"i": 4}, {"x": x}).item() == 6
    assert run("z = max(i : not (i == 0 or i == 2)) x[i]", {"i": 4}, {"x": x}).item() == 4
    assert run("z = max(i : i > 5) x[i]", {"i": 4}, {"x": x}).item() == -np.inf


def test_the_first_winner_wins_and_a_nan_beats_every_number():
    x = np.array([[1.0, 3.0, 3.0], [3.0, 0.0, -1.0]])
    flat = {"s": 2, "t": 3}
    assert run("p = argmax(s,t) x[s,t]", flat, {"x": x}).item() == 1
    assert run("p = argmax(t,s) x[s,t]", flat, {"x": x}).item() == 1  # number t*2 + s: x[1,0] is number 1
    assert run("p = argmin(s,t) x[s,t]", flat, {"x": x}).item() == 5
    assert run("p = argmax(s,t : t > 0) x[s,t]", flat, {"x": x}).item() == 1
    assert run("p = argmax(s,t : s > 0, t > 0) x[s,t]", flat, {"x": x}).item() == 4
    x[1, 1] = x[1, 2] = np.nan
    for op in ("argmax", "argmin"):
        got = run(f"p = {op}(s,t) x[s,t]", flat, {"x": x})
        assert got.item() == 4
        assert got.dtype == np.int64
    lost = np.full((2, 3), -np.inf)
    assert run("p = argmax(s,t : t > 0) x[s,t]", flat, {"x": lost}).item() == 1


def test_max_and_min_spread_nan():
    x = np.array([1.0, np.nan, 3.0])
    assert np.isnan(run("z = max(i) x[i]", {"i": 3}, {"x": x}))
    assert np.isnan(run("z = min(i) x[i]", {"i": 3}, {"x": x}))
    assert np.isnan(run("z[i] = max(x[i], 0)", {"i": 3}, {"x": x})[1])


def test_gather_with_labels_and_labels_outside():
    logp = np.arange(12.0).reshape(3, 4)
    labels = np.array([3, 0, -1])
    assert run("z[n] = logp[n, t[n]]", {"n": 3}, {"logp": logp, "t": labels}).tolist() == [3, 4, 0]
    counts = run("z[k] = sum(n : t[n] == k) 1", {"k": 4, "n": 3}, {"t": labels})
    assert counts.tolist() == [1, 0, 0, 1]


def test_floor_division_and_remainder_in_indices():
    x = np.array([10.0, 20.0, 30.0])
    assert run("z[i] = x[(i-1)//2]", {"i": 5}, {"x": x}).tolist() == [0, 10, 10, 20, 20]
    assert run("z[i] = x[(i-1)%3]", {"i": 4}, {"x": x}).tolist() == [30, 10, 20, 30]


def test_values_of_axes_position_brackets_and_where():
    extents = {"i": 2, "j": 3}
    assert run("z[i,j] = i*10 + j/2", extents, {}).tolist() == [[0, 0.5, 1], [10, 10.5, 11]]
    assert run("z[i,j] = where(i < j, 1, -1) * [j != 2]", extents, {}).tolist() == [[-1, 1, 0], [-1, -1, 0]]
    indices = (Name("i"), Name("j"))
    numbered = Formula(Access("z", indices), Call("position", (Name("j"), Name("i"))))
    assert evaluate(numbered, {}, extents, {}).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_max_pool_gradient_goes_to_the_first_winner():
    winner = Reduce("argmax", ("u",), (), Access("a", (parse("q[i,u] = i*1+u").body,)))
    a, g = np.array([2.0, 5.0, 5.0, 1.0]), np.array([10.0, 100.0, 1000.0])
    won = evaluate(Formula(Access("p", (Name("i"),)), winner), {}, {"i": 3, "u": 2}, {"a": a})
    assert won.tolist() == [1, 0, 0]
    got = run("da[y] = sum(i,s : i+s == y) g[i] * [won[i] == s]", {"y": 4, "i": 3, "s": 2}, {"g": g, "won": won})
    assert got.tolist() == [0, 110, 1000, 0]


def test_scalars_constants_and_axes_are_told_apart():
    got = run("w[i] = w0[i] - lr * P * i", {"i": 3}, {"w0": np.ones(3, np.float32), "lr": 0.5}, {"P": 4})
    assert got.tolist() == [1, -1, -3]


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        ("exp", math.exp), ("expm1", math.expm1), ("sin", math.sin), ("cos", math.cos), ("tanh", math.tanh),
        ("erf", math.erf), ("floor", math.floor), ("abs", abs),
        ("sign", lambda v: math.copysign(1, v) if v else 0),
        ("sigmoid", lambda v: 1 / (1 + math.exp(-v))),
        ("softplus", lambda v: math.log(1 + math.exp(v))),
        ("stop", lambda v: v),
    ],
)  # fmt: skip
def test_functions_against_the_math_library(function, exact):
    points = np.array([-7.5, -1.0, -0.3, 0.0, 0.4, 1.0, 2.5, 7.5])
    formula = Formula(Access("z", (Name("i"),)), Call(function, (Access("x", (Name("i"),)),)))
    got = evaluate(formula, {}, {"i": 8}, {"x": points})
    np.testing.assert_allclose(got, [exact(v) for v in points], rtol=1e-15 * 4, atol=1e-16)


def test_functions_at_the_edges_neither_overflow_nor_warn():
    points = np.array([-np.inf, -800.0, 0.0, 800.0, np.inf])
    extents, arrays = {"i": 5}, {"x": points}
    assert run("z[i] = sigmoid(x[i])", extents, arrays).tolist() == [0, 0, 0.5, 1, 1]
    assert run("z[i] = softplus(x[i])", extents, arrays).tolist() == [0, 0, math.log(2), 800, np.inf]
    assert run("z[i] = 1 / x[i]", extents, arrays)[2] == np.inf
    assert np.isnan(run("z[i] = sqrt(x[i])", extents, arrays)[1])
    assert run("z[i] = log(x[i])", extents, arrays)[2] == -np.inf
    assert run("z[i] = min(max(x[i], 0), 6)", extents, arrays).tolist() == [0, 0, 0, 6, 6]


def test_out_receives_only_the_cells_that_are_named():
    out = np.full(5, 7.0)
    got = run("dx[2*y+1] = g[y]", {"y": 2}, {"g": np.array([1.0, 2.0])}, out=out)
    assert got is out
    assert out.tolist() == [7, 1, 7, 2, 7]
    run("dx[2*y+1] = g[y]", {"y": 0}, {"g": np.zeros(0)}, out=out)
    assert out.tolist() == [7, 1, 7, 2, 7]


def test_without_out_the_shape_is_what_the_indices_reach():
    got = run("z[u*3+c] = x[u,c]", {"u": 2, "c": 3}, {"x": np.arange(6.0).reshape(2, 3)})
    assert got.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_random_nest_against_exact_fractions():
    # Thirds are no binary fractions: exact arithmetic in numbers over 3 judges the order-free meaning.
    generator = np.random.default_rng(5)
    x = generator.integers(-20, 21, (4, 5))
    got = run("z[i] = sum(s : s >= i) x[i,s] / 3 * (max(t) x[t,s])", {"i": 4, "s": 5, "t": 4}, {"x": x})
    for i in range(4):
        exact = sum((Fraction(int(x[i, s]), 3) * max(int(x[t, s]) for t in range(4)) for s in range(i, 5)), Fraction(0))
        assert got[i] == pytest.approx(float(exact), rel=1e-14, abs=1e-12)


def test_three_dimensional_and_dilated_against_loops():
    generator = np.random.default_rng(6)
    x, w = generator.integers(-5, 6, (4, 5, 6)), generator.integers(-5, 6, (2, 2, 3))
    got = run(
        "z[i,j,l] = sum(r,s,t) x[i+2*r-1, 2*j+s, l+t-2] * w[1-r,s,t]",
        {"i": 4, "j": 3, "l": 6, "r": 2, "s": 2, "t": 3},
        {"x": x, "w": w},
    )
    padded = np.zeros((10, 12, 12), int)
    padded[3:7, 3:8, 3:9] = x
    for i, j, l in product(range(4), range(3), range(6)):
        taps = product(range(2), range(2), range(3))
        assert got[i, j, l] == sum(padded[i + 2 * r + 2, 2 * j + s + 3, l + t + 1] * w[1 - r, s, t] for r, s, t in taps)


def message(call, *arguments, **options):
    with pytest.raises((ArgumentError, DtypeError, EquationError, ShapeError)) as caught:
        call(*arguments, **options)
    return str(caught.value).split("\n")[0], type(caught.value)


def test_messages():
    x = np.zeros((2, 3))
    assert message(run, "z[i] = x[i]", {"i": 2}, {"x": x}) == (
        "`x` has 1 indices in the equation, its array has shape (2, 3)", ShapeError,
    )  # fmt: skip
    assert message(run, "z[i] = x[i,j]", {"i": 2}, {"x": x}) == (
        "`j` is no axis, and neither a constant nor an array was given for it", ArgumentError,
    )  # fmt: skip
    assert message(run, "z[i] = sum(j) x[i,j]", {"i": 2}, {"x": x}) == (
        "extent of index `j` is not given; `extents` has ['i']", ShapeError,
    )  # fmt: skip
    assert message(run, "z[i] = y[i]", {"i": 2}, {}) == (
        "`y` is read by the equation, but no array was given for it", ArgumentError,
    )  # fmt: skip
    assert message(run, "z[i] = x[i, t[i]]", {"i": 2}, {"x": x, "t": np.zeros(2)}) == (
        "`t` is used as an index and must hold integers, not float64", DtypeError,
    )  # fmt: skip
    assert message(run, "z[i] = x[i, i]", {"i": 2}, {"x": x.astype(complex)}) == (
        "`x` must hold real numbers, not complex128", DtypeError,
    )  # fmt: skip
    assert message(run, "z[2*i] = x[i, 0]", {"i": 2}, {"x": x}, out=np.zeros(2)) == (
        "index 0 of the output `z` runs over 0 .. 2, outside extent 2", ShapeError,
    )  # fmt: skip
    assert message(run, "z[i] = x[i, 0]", {"i": 2}, {"x": x}, out=x) == (
        "`z` has 1 indices but `out` has shape (2, 3)", ShapeError,
    )  # fmt: skip
    assert message(run, "z[i] = x[i, P]", {"i": 2}, {"x": x}, {"P": 0.5}) == (
        "an index must be an integer, not 0.5", EquationError,
    )  # fmt: skip
