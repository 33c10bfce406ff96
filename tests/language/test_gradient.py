"""Derived gradients: their text, and their values against central differences and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language.gradient import derive, gradient
from pellucid.language.parse import parse
from pellucid.language.solve import solve
from pellucid.reference import evaluate

Arrays = Mapping[str, np.ndarray]

CONV = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k] + b[k]"
MAX_POOL = "p[n,i,j,c] = max(s,t) a[n, i*S+s-P, j*S+t-P, c]"


def derived(text: str, wrt: str, extents: Mapping[str, int], arrays: Arrays, constants: Mapping[str, int | float] = {}):
    """The gradient's value: as derived, and as solved (whose pieces write one array)."""
    result = derive(parse(text), wrt, constants=constants)
    extents = {**extents, **{copy: extents[origin] for copy, origin in result.copies.items()}}
    value = evaluate(result.formula, constants, extents, arrays)
    solved = np.full(value.shape, np.nan)
    for piece in solve(result.formula, constants, extents):
        evaluate(piece.formula, {}, piece.extents, arrays, out=solved)
    assert np.allclose(value, solved, rtol=1e-13, atol=1e-13)
    return value


def assert_slope(
    text: str,
    wrt: str,
    extents: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    eps: float,
    tolerance: float,
    constants: Mapping[str, int | float] = {},
    arrays: Arrays = {},  # noqa: B006
    positive: bool = False,
) -> None:
    """The gradient along a random direction against a central difference of the formula itself.

    `shapes` are those of the inputs that `arrays` does not give, whose numbers are drawn.
    """
    generator = np.random.default_rng(len(text))
    inputs = {name: generator.uniform(0.5, 1.5, shape) for name, shape in shapes.items()}
    if not positive:
        inputs = {name: array * generator.choice((-1.0, 1.0), array.shape) for name, array in inputs.items()}
    inputs |= arrays
    formula = parse(text)
    g = generator.standard_normal(evaluate(formula, constants, extents, inputs).shape)
    direction = generator.standard_normal(inputs[wrt].shape)

    def along(step: float) -> float:
        moved = {**inputs, wrt: inputs[wrt] + step * direction}
        return float((evaluate(formula, constants, extents, moved) * g).sum())

    expected = (along(eps) - along(-eps)) / (2 * eps)
    value = derived(text, wrt, extents, {**inputs, "g": g}, constants)
    assert value.shape == direction.shape
    assert float((value * direction).sum()) == pytest.approx(expected, rel=tolerance, abs=tolerance)


# Text


@pytest.mark.parametrize(
    ("wrt", "expected"),
    [
        ("x", "dx[n,y,x,c] = sum(i,j,s,t,k : i*S+s-P == y, j*S+t-P == x) g[n,i,j,k] * w[s,t,c,k]"),
        ("w", "dw[s,t,c,k] = sum(n,i,j) g[n,i,j,k] * x[n, i*S+s-P, j*S+t-P, c]"),
        ("b", "db[k] = sum(n,i,j) g[n,i,j,k]"),
    ],
)
def test_convolution(wrt, expected):
    assert gradient(parse(CONV), wrt) == parse(expected)


@pytest.mark.parametrize(
    ("text", "wrt", "expected"),
    [
        # dense
        ("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]", "x", "dx[n,q] = sum(o) g[n,o] * w[q,o]"),
        ("z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]", "w", "dw[q,o] = sum(n) g[n,o] * x[n,q]"),
        # one and three spatial dimensions
        ("z[i] = sum(s) x[2*i+s] * w[s]", "x", "dx[x] = sum(i,s : 2*i+s == x) g[i] * w[s]"),
        (
            "z[i,j,k] = sum(r,s,t) x[i+r,j+s,k+t] * w[r,s,t]",
            "x",
            "dx[z,y,x] = sum(i,j,k,r,s,t : i+r == z, j+s == y, k+t == x) g[i,j,k] * w[r,s,t]",
        ),
        # elementwise
        ("a[i] = max(z[i], 0)", "z", "dz[i] = g[i] * [z[i] > 0]"),
        ("a[i] = tanh(z[i])", "z", "dz[i] = g[i] * (1 - tanh(z[i])**2)"),
        ("a[i] = where(z[i] > 0, z[i], alpha*z[i])", "z", "dz[i] = g[i] * where(z[i] > 0, 1, alpha)"),
        ("a[i] = where(z[i] > 0, z[i], alpha*z[i])", "alpha", "dalpha = sum(i) g[i] * where(z[i] > 0, 0, z[i])"),
        ("a[i] = where(z[i] > 0, z[i], 0)", "z", "dz[i] = g[i] * [z[i] > 0]"),
        ("a[i] = z[i]**2 / 2", "z", "dz[i] = g[i] * z[i]"),
        ("a[i] = x[i] * x[i]", "x", "dx[i] = 2 * g[i] * x[i]"),
        ("a[i] = stop(x[i]) * x[i]", "x", "dx[i] = g[i] * stop(x[i])"),
        ("a[i] = x[i] - y[i]", "y", "dy[i] = -g[i]"),
        ("a[i] = x[i] / y[i]", "y", "dy[i] = -(g[i] * x[i] / y[i]**2)"),
        # a scalar output has a scalar upstream gradient
        ("L = sum(n) (y[n]-t[n])**2 / N", "y", "dy[n] = 2 * g * (y[n]-t[n]) / N"),
        # pooling
        (
            MAX_POOL,
            "a",
            "da[n,y,x,c] = sum(i,j,s,t : i*S+s-P == y, j*S+t-P == x)"
            " g[n,i,j,c] * [argmax(s1,t1) a[n, i*S+s1-P, j*S+t1-P, c] == position(s,t)]",
        ),
        ("p[n,c] = max(s) a[n,s,c]", "a", "da[n,s,c] = g[n,c] * [argmax(s1) a[n,s1,c] == s]"),
        ("p[i] = sum(s) a[i*S+s] / A", "a", "da[x] = sum(i,s : i*S+s == x) g[i] / A"),
        (
            "p[i] = sqrt(sum(s) a[i*S+s]**2)",
            "a",
            "da[x] = sum(i,s : i*S+s == x) g[i] * a[i*S+s] / sqrt(sum(s1) a[i*S+s1]**2)",
        ),
        # pieces of a softmax
        ("e[n,k] = exp(z[n,k] - m[n])", "z", "dz[n,k] = g[n,k] * exp(z[n,k] - m[n])"),
        ("e[n,k] = exp(z[n,k] - m[n])", "m", "dm[n] = -sum(k) g[n,k] * exp(z[n,k] - m[n])"),
        ("y[n,k] = e[n,k] / s[n]", "s", "ds[n] = -sum(k) g[n,k] * e[n,k] / s[n]**2"),
        (
            "y[n,k] = e[n,k] / sum(j) e[n,j]",
            "e",
            "de[n,k] = g[n,k] / sum(j) e[n,j] - sum(k1) g[n,k1] * e[n,k1] / (sum(j) e[n,j])**2",
        ),
        # gather, repeated and mixed indices
        ("l[n] = -logp[n,t[n]]", "logp", "dlogp[n,k] = -(g[n] * [t[n] == k])"),
        ("d[i] = x[i+1] - x[i]", "x", "dx[i] = sum(i1 : i1+1 == i) g[i1] - g[i]"),
        ("d[i] = x[i,i]", "x", "dx[i,x] = g[i] * [i == x]"),
        ("d[i] = x[i] * x[2]", "x", "dx[i] = g[i] * x[2] + sum(i1) g[i1] * [2 == i] * x[i1]"),
        ("d[i,j] = x[i] * x[j]", "x", "dx[i] = sum(j) g[i,j] * x[j] + sum(i1) g[i1,i] * x[i1]"),
        ("z[i] = sum(s : s < i) x[s]", "x", "dx[s] = sum(i : s < i) g[i]"),
        ("z[i] = sum(s) x[i//2, i%2, s]", "x", "dx[y,x,s] = sum(i : i//2 == y, i%2 == x) g[i]"),
        # steps have no slope
        ("z[i] = sign(x[i]) + [x[i] > 0]", "x", "dx[x] = 0"),
        ("z[i] = argmax(s) x[i,s]", "x", "dx[y,x] = 0"),
    ],
)
def test_text(text, wrt, expected):
    assert gradient(parse(text), wrt) == parse(expected)


def test_copies_name_the_axis_whose_extent_they_share():
    result = derive(parse(MAX_POOL), "a")
    assert dict(result.copies) == {"s1": "s", "t1": "t"}
    assert result.upstream == "g"


def test_names_in_use_get_a_number():
    result = derive(parse("dx[i] = g[i] * dg * x[i]"), "g")
    assert result.formula == parse("dg1[i] = g1[i] * dg * x[i]")
    assert result.upstream == "g1"


def test_a_new_axis_avoids_names_in_use():
    formula = gradient(parse("z[i] = sum(x) a[i + x] * y"), "a")
    assert formula == parse("da[x1] = sum(i,x : i+x == x1) g[i] * y")


def test_constants_in_an_output_index_are_no_axes():
    formula = gradient(parse("z[2*i + R] = x[i] * w"), "w", constants=("R",))
    assert formula == parse("dw = sum(i) g[2*i + R] * x[i]")


def test_wrt_must_be_an_input():
    with pytest.raises(ArgumentError) as error:
        gradient(parse(CONV), "v")
    assert str(error.value) == "`wrt` (=v) must be an input of z: x, w, b"


def test_an_axis_is_no_input():
    with pytest.raises(ArgumentError) as error:
        gradient(parse("z[i] = sum(s) w[s] * a"), "s")
    assert str(error.value) == "`wrt` (=s) must be an input of z: w, a"


def test_a_constant_of_an_index_is_no_input():
    with pytest.raises(ArgumentError) as error:
        gradient(parse(CONV), "S")
    assert str(error.value) == "`wrt` (=S) must be an input of z: x, w, b"


def test_an_index_array_has_no_gradient():
    with pytest.raises(ArgumentError) as error:
        gradient(parse("l[n] = logp[n, t[n]]"), "t")
    assert str(error.value) == "`wrt` (=t) is read as an index alone, which has no derivative"


# Values


@pytest.mark.parametrize("wrt", ["x", "w", "b"])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_bilinear_formulas_by_a_difference_over_one(wrt, stride, padding):
    rows = (6 + 2 * padding - 3) // stride + 1
    columns = (7 + 2 * padding - 2) // stride + 1
    extents = {"n": 2, "i": rows, "j": columns, "s": 3, "t": 2, "c": 2, "k": 3, "y": 6, "x": 7}
    shapes = {"x": (2, 6, 7, 2), "w": (3, 2, 2, 3), "b": (3,)}
    constants = {"S": stride, "P": padding}
    assert_slope(CONV, wrt, extents, shapes, eps=1.0, tolerance=1e-12, constants=constants)


@pytest.mark.parametrize(
    ("text", "wrt", "extents", "shapes"),
    [
        ("z[i] = exp(x[i]*a) / (1 + x[i]**2)", "x", {"i": 4}, {"x": (4,), "a": ()}),
        ("z[i] = exp(x[i]*a) / (1 + x[i]**2)", "a", {"i": 4}, {"x": (4,), "a": ()}),
        ("z[i] = log(x[i]) * sqrt(x[i]) + log1p(x[i]) + expm1(x[i])", "x", {"i": 4}, {"x": (4,)}),
        ("z[i] = sin(x[i]) * cos(x[i]) + tanh(x[i]) * erf(x[i])", "x", {"i": 4}, {"x": (4,)}),
        ("z[i] = sigmoid(x[i]) * softplus(x[i]) - abs(x[i])", "x", {"i": 4}, {"x": (4,)}),
        ("z[i] = x[i]**y[i]", "x", {"i": 4}, {"x": (4,), "y": (4,)}),
        ("z[i] = x[i]**y[i]", "y", {"i": 4}, {"x": (4,), "y": (4,)}),
        ("z[i] = max(x[i], y[i]) - min(x[i], 2*y[i]) + where(x[i] > y[i], x[i]**2, y[i])", "x", {"i": 4}, {"x": (4,), "y": (4,)}),  # noqa: E501
        ("z[n,k] = exp(x[n,k]) / (sum(j) exp(x[n,j]))", "x", {"n": 2, "k": 3, "j": 3}, {"x": (2, 3)}),
        ("z[n] = log(sum(k) exp(x[n,k])) - x[n,2]", "x", {"n": 2, "k": 3, "x": 3}, {"x": (2, 3)}),
        ("z[i] = (sum(s) x[i+s]*w[s])**2 * sum(s) w[s]", "w", {"i": 3, "s": 2}, {"x": (4,), "w": (2,)}),
        ("z[i] = (sum(s) x[i+s]*w[s])**2 * sum(s) w[s]", "x", {"i": 3, "s": 2, "x": 4}, {"x": (4,), "w": (2,)}),
        ("z[i] = sqrt(sum(s) x[2*i+s-1]**2)", "x", {"i": 3, "s": 3, "x": 6}, {"x": (6,)}),
        ("z[i] = max(s) (x[2*i+s] * w[s])", "x", {"i": 3, "s": 3, "x": 7}, {"x": (7,), "w": (3,)}),
        ("z[i] = max(s) (x[2*i+s] * w[s])", "w", {"i": 3, "s": 3}, {"x": (7,), "w": (3,)}),
        ("z[i] = min(s,t) (x[i+s] * w[s,t])", "x", {"i": 3, "s": 2, "t": 2, "x": 4}, {"x": (4,), "w": (2, 2)}),
        ("z[i] = max(s) (sum(t) x[i+s,t]**2)", "x", {"i": 3, "s": 2, "t": 2, "x": 4}, {"x": (4, 2)}),
        ("L = sum(n) (sum(q) x[n,q]*w[q] - y[n])**2 / 2", "w", {"n": 3, "q": 2}, {"x": (3, 2), "w": (2,), "y": (3,)}),
        ("z[i] = x[i+1] * x[i]", "x", {"i": 4}, {"x": (4,)}),
        ("z[i,j] = x[i] * x[j] + x[i]", "x", {"i": 3, "j": 3}, {"x": (3,)}),
        ("z[i] = x[i//2, i%2]**2", "x", {"i": 7, "y": 4, "x": 2}, {"x": (4, 2)}),
        ("z[i] = sum(s : s <= i) x[s]**2 * [s > 0]", "x", {"i": 4, "s": 4}, {"x": (4,)}),
    ],
)  # fmt: skip
def test_smooth_formulas(text, wrt, extents, shapes):
    assert_slope(text, wrt, extents, shapes, eps=1e-5, tolerance=1e-8, positive=True)


def test_a_gather():
    labels = np.array([2, 0, 2, 1])
    assert_slope(
        "l[n] = -logp[n,t[n]] * q[t[n]]",
        "q",
        {"n": 4, "k": 3},
        {"logp": (4, 3), "q": (3,)},
        eps=1.0,
        tolerance=1e-12,
        arrays={"t": labels},
    )


@settings(max_examples=30, deadline=None)
@given(
    terms=st.lists(
        st.sampled_from(
            (
                "x[i]",
                "x[i+1]",
                "x[2*i]",
                "w[i]*x[2]",
                "sum(s) x[i+s]*w[s]",
                "sum(s) x[s]**2",
                "sum(s : s <= i) x[s]",
                "tanh(x[i])",
                "exp(x[i])",
                "sum(i1) x[i1]*w[i]",
                "max(s) (x[i+s]*w[s])",
                "where(i < 2, x[i], w[i])",
            )
        ),
        min_size=2,
        max_size=4,
    ),
    operators=st.lists(st.sampled_from("+-*"), min_size=3, max_size=3),
    wrt=st.sampled_from("xw"),
)
def test_random_formulas(terms, operators, wrt):
    expression = f"({terms[0]})"
    for operator, term in zip(operators, terms[1:], strict=False):
        expression = f"({expression} {operator} ({term}))"
    text = f"z[i] = w[0] * x[0] + {expression}"
    extents = dict.fromkeys(("i", "s", "i1", "x", "y"), 4)
    assert_slope(text, wrt, extents, {"x": (4,), "w": (4,)}, eps=1e-5, tolerance=1e-7, positive=True)


def test_second_derivatives():
    # The gradient of <g, z> towards x is an equation like any other.
    first = derive(parse("z[n] = sum(q) x[n,q]**3 * w[q]"), "x")
    second = derive(first.formula, "x")
    assert first.formula == parse("dx[n,q] = 3 * g[n] * x[n,q]**2 * w[q]")
    assert second.formula == parse("dx[n,q] = 6 * g1[n,q] * g[n] * x[n,q] * w[q]")
    assert gradient(first.formula, "g") == parse("dg[n] = sum(q) 3 * g1[n,q] * x[n,q]**2 * w[q]")


def test_the_gradient_of_a_convolution_gradient_is_the_convolution():
    dx = gradient(parse("z[n,i,k] = sum(s,c) x[n, i*S+s-P, c] * w[s,c,k]"), "x")
    dg = gradient(dx, "g")
    assert dg == parse("dg[n,i,k] = sum(x,s,c : i*S+s-P == x) g1[n,x,c] * w[s,c,k]")
    (piece,) = solve(dg, {"S": 2, "P": 1}, {"n": 1, "i": 4, "k": 2, "x": 8, "s": 3, "c": 2})
    assert piece.formula == parse("dg[n,i,k] = sum(s,c) g1[n, 2*i+s-1, c] * w[s,c,k]")


def test_second_derivatives_by_differences():
    text = "z[i] = tanh(sum(s) x[i+s]*w[s])"
    first = derive(parse(text), "x")
    generator = np.random.default_rng(0)
    inputs = {name: generator.standard_normal(size) for name, size in (("x", 5), ("w", 2), ("g", 4))}
    extents = {"i": 4, "s": 2, "x": 5} | dict.fromkeys(first.copies, 2)
    for wrt in ("w", "g", "x"):
        second = derive(first.formula, wrt)
        h, direction = generator.standard_normal(5), generator.standard_normal(inputs[wrt].shape)
        sizes = extents | {copy: extents[origin] for copy, origin in second.copies.items()}
        sizes |= {axis: 5 for axis in second.formula.free_axes if axis not in sizes}

        def along(step, wrt=wrt, h=h, direction=direction):
            moved = inputs | {wrt: inputs[wrt] + step * direction}
            return (evaluate(first.formula, {}, extents, moved) * h).sum()

        expected = (along(1e-5) - along(-1e-5)) / 2e-5
        value = evaluate(second.formula, {}, sizes, inputs | {second.upstream: h})
        assert (value * direction).sum() == pytest.approx(expected, rel=1e-8, abs=1e-8)


# The two readings of the gradient towards the input of a convolution (MATHS.md, section 2)


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 3), (1, 1, 3), (2, 1, 3), (3, 0, 2), (2, 2, 4)])
def test_full_convolution_of_the_upsampled_gradient_with_the_turned_kernel(stride, padding, kernel):
    generator = np.random.default_rng(3)
    size, outputs = 8, (8 + 2 * padding - kernel) // stride + 1
    g, w = generator.standard_normal((outputs, outputs)), generator.standard_normal((kernel, kernel))
    # stride - 1 zeros between neighbours, then a border that lets the turned kernel touch every cell of x
    wide = np.zeros((size + kernel - 1, size + kernel - 1))
    border = kernel - 1 - padding
    rows = border + stride * np.arange(outputs)
    inside = (rows >= 0) & (rows < len(wide))
    wide[np.ix_(rows[inside], rows[inside])] = g[np.ix_(inside, inside)]
    windows = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel))
    expected = np.einsum("yxst,st->yx", windows, w[::-1, ::-1])
    extents = {"i": outputs, "j": outputs, "s": kernel, "t": kernel, "y": size, "x": size}
    text = "z[i,j] = sum(s,t) x[i*S+s-P, j*S+t-P] * w[s,t]"
    dx = derived(text, "x", extents, {"g": g, "w": w}, {"S": stride, "P": padding})
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12)


# PyTorch


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 1, 3), (2, 1, 3), (2, 0, 2), (3, 2, 4), (2, 2, 5)])
def test_convolution_against_pytorch(stride, padding, kernel):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    x, w = generator.standard_normal((2, 7, 8, 3)), generator.standard_normal((kernel, kernel, 3, 4))
    tensors = [torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(w).permute(3, 2, 0, 1)]
    for tensor in tensors:
        tensor.requires_grad_(True)
    z = torch.nn.functional.conv2d(*tensors, stride=stride, padding=padding)
    g = generator.standard_normal((2, z.shape[2], z.shape[3], 4))
    z.backward(torch.tensor(g).permute(0, 3, 1, 2))
    extents = {"n": 2, "i": z.shape[2], "j": z.shape[3], "s": kernel, "t": kernel, "c": 3, "k": 4, "y": 7, "x": 8}
    constants = {"S": stride, "P": padding}
    dx = derived(CONV, "x", extents, {"g": g, "w": w}, constants)
    dw = derived(CONV, "w", extents, {"g": g, "x": x}, constants)
    np.testing.assert_allclose(dx, tensors[0].grad.permute(0, 2, 3, 1).numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dw, tensors[1].grad.permute(2, 3, 1, 0).numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 2), (2, 0, 2), (2, 1, 3), (3, 1, 2), (1, 1, 3)])
def test_max_pooling_with_ties_against_pytorch(stride, padding, kernel):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(2)
    a = generator.integers(0, 3, (2, 7, 8, 3)).astype(float)
    tensor = torch.tensor(a).permute(0, 3, 1, 2).requires_grad_(True)
    p = torch.nn.functional.max_pool2d(tensor, kernel, stride=stride, padding=padding)
    g = generator.standard_normal((2, p.shape[2], p.shape[3], 3))
    p.backward(torch.tensor(g).permute(0, 3, 1, 2))
    extents = {"n": 2, "i": p.shape[2], "j": p.shape[3], "s": kernel, "t": kernel, "c": 3, "y": 7, "x": 8}
    da = derived(MAX_POOL, "a", extents, {"g": g, "a": a}, {"S": stride, "P": padding})
    np.testing.assert_allclose(da, tensor.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-12, atol=1e-12)
