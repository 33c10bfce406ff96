"""`pellucid.Equation`: everything that can be asked of it, and every way in which it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pellucid
from pellucid import Equation
from pellucid.errors import ArgumentError, DtypeError, EquationError, ShapeError
from pellucid.language.extents import output_shape
from pellucid.language.parse import parse

TEXT = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k] + b[k]"
generator = np.random.default_rng(0)


def integers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return generator.integers(-3, 4, shape).astype(dtype)


X, W, B = integers(2, 5, 6, 3), integers(3, 3, 3, 4), integers(4)
G = integers(2, 3, 3, 4)
ARRAYS = {"x": X, "w": W, "b": B}


@pytest.fixture
def conv() -> Equation:
    return Equation(TEXT, S=2, P=1)


def refuses(error: type[Exception], message: str) -> pytest.RaisesExc[Exception]:
    """The whole message, word for word."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


# ---------------------------------------------------------------- what it says
def test_texts(conv: Equation) -> None:
    assert str(conv) == "z[n,i,j,k] = sum(s,t,c) x[n,i*S+s-P,j*S+t-P,c] * w[s,t,c,k] + b[k]"
    assert repr(conv) == f"Equation('{conv}', S=2, P=1)"
    assert conv.latex().startswith(r"z_{n,i,j,k} = \sum_{s,t,c} x_{n,\, iS + s - P,")
    assert str(Equation(str(conv), S=2, P=1)) == str(conv)


def test_equality_is_that_of_formula_and_constants(conv: Equation) -> None:
    same = Equation(conv.formula, S=2, P=1)
    assert same == conv
    assert hash(same) == hash(conv)
    assert Equation(TEXT, S=1, P=1) != conv
    assert conv != TEXT


def test_inputs_are_arrays_then_scalars(conv: Equation) -> None:
    assert conv.inputs == ("x", "w", "b")
    assert Equation("y[n] = a * x[n] + c").inputs == ("x", "a", "c")


# ---------------------------------------------------------------- values
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_and_reference_values_agree(conv: Equation, dtype: str) -> None:
    arrays = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    result = conv(**arrays)
    assert result.dtype == dtype
    assert result.shape == (2, 3, 3, 4)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, conv.reference(**arrays))
    assert conv.reference(**arrays).dtype == "float64"


def test_by_hand() -> None:
    dense = Equation("z[n,o] = sum(q) x[n,q] * w[q,o]")
    np.testing.assert_array_equal(dense(x=[[1.0, 2.0]], w=[[3.0, 4.0], [5.0, 6.0]]), [[13.0, 16.0]])


def test_arrays_of_any_layout(conv: Equation) -> None:
    wanted = conv(**ARRAYS)
    doubled = np.repeat(X, 2, axis=2)[:, :, ::2]
    assert not doubled.flags.c_contiguous
    np.testing.assert_array_equal(conv(x=doubled, w=np.asfortranarray(W), b=B), wanted)
    np.testing.assert_array_equal(conv(x=X[:, ::-1], w=W[::-1], b=B), conv(x=X[:, ::-1].copy(), w=W[::-1].copy(), b=B))
    frozen = X.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(conv(x=frozen, w=W, b=B), wanted)


def test_extents_given(conv: Equation) -> None:
    larger = conv(**ARRAYS, extents={"i": 4, "j": 5})
    assert larger.shape == (2, 4, 5, 4)
    np.testing.assert_array_equal(larger[:, :3, :3], conv(**ARRAYS))
    np.testing.assert_array_equal(larger, conv.reference(**ARRAYS, extents={"i": 4, "j": 5}))


def test_scalars() -> None:
    scaled = Equation("y[n] = a*x[n]")
    for a in (3, 3.0, np.float64(3), np.float32(3), np.array(3.0)):
        result = scaled(x=B, a=a)
        assert result.dtype == "float32"
        np.testing.assert_array_equal(result, 3 * B)
    assert scaled.gradient("a")(x=B, g=B) == (B * B).sum()
    assert Equation("y = 3")() == 3.0


def test_integers_alone_give_float64() -> None:
    odd = np.array([2**24 + 1, 2**40 + 1])
    result = Equation("y[n] = x[n]")(x=odd)
    assert result.dtype == "float64"
    np.testing.assert_array_equal(result, odd)
    np.testing.assert_array_equal(Equation("y[n] = 2*x[n]")(x=np.array([True, False])), [2.0, 0.0])
    assert Equation("y[n] = x[n] * b[n]")(x=np.arange(4), b=B).dtype == "float32"


def test_winners_are_integers() -> None:
    winner = Equation("y[n] = argmax(k) x[n,k]")
    result = winner(x=np.array([[1, 3, 3], [2, 1, 0]], "float32"))
    assert result.dtype == "int64"
    np.testing.assert_array_equal(result, [1, 0])


def test_gather() -> None:
    picked = Equation("y[n] = x[t[n]]")
    for dtype in ("int64", "int32", "uint8"):
        np.testing.assert_array_equal(picked(x=B, t=np.array([3, 0, 0], dtype)), B[[3, 0, 0]])
    np.testing.assert_array_equal(picked.gradient("x")(x=B, t=np.array([3, 0, 0]), g=[1, 2, 4]), [6, 0, 0, 1])


def test_kernels_are_kept_by_shape_and_type(conv: Equation) -> None:
    kernel = conv.compile(**ARRAYS)
    assert conv.compile(**{name: array + 1 for name, array in ARRAYS.items()}) is kernel
    assert conv.compile(**ARRAYS, extents={"i": 3}) is kernel
    assert conv.compile(**ARRAYS, extents={"i": 4}) is not kernel
    assert conv.compile(**{**ARRAYS, "x": X[:1]}) is not kernel
    assert conv.compile(**{name: array.astype("float64") for name, array in ARRAYS.items()}) is not kernel
    np.testing.assert_array_equal(kernel(ARRAYS, threads=2), conv(**ARRAYS))
    assert (kernel.shape, kernel.dtype) == ((2, 3, 3, 4), "float32")


def test_loop_nest_prints_what_the_kernel_runs(conv: Equation) -> None:
    nest = conv.loop_nest(**ARRAYS)
    assert str(nest) == str(conv.compile(**ARRAYS).loop_nest)
    assert str(nest).startswith("input     x  float32 [2, 5, 6, 3]\n")
    assert "z[n, i, j, k] = acc + b[k]" in str(nest)
    assert str(nest.plans[0]).startswith("vector  k, ")


# ---------------------------------------------------------------- gradients
def test_gradient_of_a_strided_convolution(conv: Equation) -> None:
    dx = conv.gradient("x")
    assert str(dx) == "dx[n,y,x,c] = sum(i,j,s,t,k : i*S+s-P == y, j*S+t-P == x) g[n,i,j,k] * w[s,t,c,k]"
    assert dx.inputs == ("g", "w")
    result = dx(x=X, w=W, g=G)
    assert result.shape == X.shape
    np.testing.assert_array_equal(result, dx.reference(x=X, w=W, g=G))
    # What the field calls the adjoint: <g, conv(x)> = <dx(g), x> for every x.
    bare = Equation(TEXT.removesuffix(" + b[k]"), S=2, P=1)
    assert (bare(x=X, w=W) * G).sum() == (result * X).sum()


def test_a_gradient_without_the_shape_it_needs(conv: Equation) -> None:
    with pytest.raises(ShapeError, match=r"^extent of index `y` is open: no array determines it;"):
        conv.gradient("x")(w=W, g=G)
    np.testing.assert_array_equal(
        conv.gradient("x")(w=W, g=G, extents={"y": 5, "x": 6}), conv.gradient("x")(x=X, w=W, g=G)
    )


def test_extents_of_the_first_equation_hold_for_copies_of_its_axes() -> None:
    pooled = Equation("p[i] = max(s) x[2*i+s]")
    x = np.array([1, 5, 5, 2, 3, 0], "float32")
    dx = pooled.gradient("x")
    np.testing.assert_array_equal(dx(x=x, g=np.array([1, 2, 4], "float32"), extents={"s": 2}), [0, 1, 2, 0, 4, 0])


def test_gradient_of_a_gradient(conv: Equation) -> None:
    """The gradient of <h, dx> with respect to w is dw with h for x, as the forward is bilinear."""
    again = conv.gradient("x").gradient("w", upstream="h")
    assert again.inputs == ("h", "g")
    h = integers(*X.shape)
    np.testing.assert_array_equal(again(w=W, g=G, h=h), conv.gradient("w")(x=h, w=W, g=G))


def test_solved_pieces_write_every_cell_once(conv: Equation) -> None:
    dx = conv.gradient("x")
    pieces = dx.solved(x=X, w=W, g=G)
    assert len(pieces) == 4
    assert all("==" not in str(piece) for piece in pieces)
    assert all(not piece.constants for piece in pieces)
    assert len({str(piece).split(" = ")[0] for piece in pieces}) == 4


def test_explain(conv: Equation) -> None:
    dx = conv.gradient("x")
    found = dx.explain((0, 1, 1, 0), x=X, w=W, g=G)
    assert found.total == dx.reference(x=X, w=W, g=G)[0, 1, 1, 0]
    assert str(found).startswith("dx[0,1,1,0] = ")
    assert str(dx.explain((1, 2, 2, 1), base=1, x=X, w=W, g=G)).startswith("dx[1,2,2,1] = ")
    assert dx.explain((1, 2, 2, 1), base=1, x=X, w=W, g=G).total == found.total


# ---------------------------------------------------------------- refusals
def test_what_is_no_equation() -> None:
    with refuses(ArgumentError, "`source` (=5) must be the text of an equation"):
        Equation(5)  # type: ignore[arg-type]
    with refuses(EquationError, "expected `]` after the indices of x\n  z[i] = x[i\n            ^"):
        Equation("z[i] = x[i")


@pytest.mark.parametrize("value", ["a", True, None, 1j, np.array([1, 2])])
def test_constants_are_numbers(value: object) -> None:
    with refuses(ArgumentError, f"constant `S` (={value!r}) must be an integer or a float"):
        Equation("z[i] = x[i] * S", S=value)  # type: ignore[arg-type]


def test_constants_of_numpy_are_numbers() -> None:
    assert repr(Equation("z[i] = x[2*i] * S", S=np.int32(2))) == "Equation('z[i] = x[2*i] * S', S=2)"
    assert Equation("z[i] = x[i] * S", S=np.float32(0.5)).constants == {"S": 0.5}


def test_constants_have_names_of_their_own() -> None:
    with refuses(ArgumentError, "constant `x` (=1) is the name of an index or array of the equation"):
        Equation("z[i] = x[i]", x=1)
    with refuses(ArgumentError, "constant `s` (=1) is the name of an index or array of the equation"):
        Equation("z[i] = sum(s) x[i,s]", s=1)


def test_gradients_of_what_is_not_there(conv: Equation) -> None:
    with refuses(ArgumentError, "`wrt` (='q') must be one of the equation's inputs: x, w, b"):
        conv.gradient("q")
    with refuses(ArgumentError, "`upstream` (='w') is the name of one of the equation's inputs"):
        conv.gradient("x", "w")


def test_arrays_missing_and_unknown(conv: Equation) -> None:
    with refuses(ArgumentError, "the equation needs w, b"):
        conv(x=X)
    with refuses(ArgumentError, "`q` is not an input of the equation; it has x, w, b"):
        conv(**ARRAYS, q=X)
    with refuses(ArgumentError, "`q` is not an input of the equation; it has x, w, b"):
        conv.reference(**ARRAYS, q=X)


DTYPES = {
    "float16": (X.astype("float16"), "`x` has dtype float16; float32 or float64 is needed"),
    "another byte order": (X.astype(">f4"), "`x` has dtype >f4; float32 or float64 is needed"),
    "complex": (X.astype("complex64"), "`x` has dtype complex64; numbers are needed"),
    "text": ("a", "`x` has dtype <U1; numbers are needed"),
    "nothing": (None, "`x` has dtype object; numbers are needed"),
    "mixed": (X.astype("float64"), "the arrays have different floating types: x float64, w float32, b float32"),
}


@pytest.mark.parametrize("kind", DTYPES)
def test_element_types(conv: Equation, kind: str) -> None:
    x, message = DTYPES[kind]
    with refuses(DtypeError, message):
        conv(x=x, w=W, b=B)


def test_shapes(conv: Equation) -> None:
    line, blank = f"  {TEXT}", " " * (2 + TEXT.index("x["))
    with refuses(
        ShapeError,
        f"x has 4 indices here, but its shape is (5, 6, 3)\n{line}\n{blank}{'^' * len('x[n, i*S+s-P, j*S+t-P, c]')}",
    ):
        conv(x=X[0], w=W, b=B)
    with refuses(ShapeError, "`x` is empty: its shape is (0, 5, 6, 3)"):
        conv(x=X[:0], w=W, b=B)
    at = " " * (2 + TEXT.index("w[s,t,c") + len("w[s,t,"))
    with refuses(ShapeError, f"index `c` has two extents: 3 in x (2, 5, 6, 3) and 2 in w (3, 3, 2, 4)\n{line}\n{at}^"):
        conv(x=X, w=W[:, :, :2], b=B)


def test_extents_that_contradict(conv: Equation) -> None:
    with pytest.raises(ShapeError, match=r"^index `k` has two extents: 5 given and 4 in w \(3, 3, 3, 4\)\n"):
        conv(**ARRAYS, extents={"k": 5})
    for wrong in (0, -1, 1.5, True):
        with refuses(ArgumentError, f"`extents['i']` (={wrong!r}) must be an integer of at least 1"):
            conv(**ARRAYS, extents={"i": wrong})  # type: ignore[dict-item]


def test_scalars_that_are_arrays() -> None:
    with refuses(
        ShapeError,
        "`a` stands without indices: it is one number, not an array of shape (4,)\n  y[n] = a*x[n]\n         ^",
    ):
        Equation("y[n] = a*x[n]")(x=B, a=B)


def test_index_arrays() -> None:
    picked = Equation("y[n] = x[t[n]]")
    with refuses(DtypeError, "`t` has dtype float64; an array used as an index must be of integers"):
        picked(x=B, t=np.array([0.0, 1.0]))
    with refuses(ArgumentError, "t[1] = 4 is outside 0 .. 3, the range of index 0 of x"):
        picked(x=B, t=np.array([0, 4]))
    with refuses(ArgumentError, "t[1] = -1 is outside 0 .. 3, the range of index 0 of x"):
        picked(x=B, t=np.array([0, -1]))


def test_constants_in_indices_are_integers() -> None:
    with refuses(
        EquationError,
        "constant `S` (=1.5) stands in an index of x and must be an integer\n  z[i] = x[i+S]\n             ^",
    ):
        Equation("z[i] = x[i+S]", S=1.5)(x=B)
    with refuses(
        EquationError,
        "`S` in an index of x is neither an axis nor a constant; give S=...\n  z[i] = x[i+S]\n             ^",
    ):
        Equation("z[i] = x[i+S]")(x=B)


def test_extents_that_nothing_determines() -> None:
    with refuses(
        ShapeError,
        "extent of index `m` is open: no array determines it; give it with extents={'m': ...}\n"
        "  y[n,m] = x[n] + m\n      ^",
    ):
        Equation("y[n,m] = x[n] + m")(x=B)


def test_explain_refuses_cells_that_are_not_there(conv: Equation) -> None:
    with refuses(ArgumentError, "`index[3]` (=9) of z must be from 0 to 3"):
        conv.explain((0, 1, 1, 9), **ARRAYS)
    with refuses(ArgumentError, "`index` (=(0, 1, 1)) has 3 numbers; z has 4 indices"):
        conv.explain((0, 1, 1), **ARRAYS)
    with refuses(ArgumentError, "`base` (=2) must be 0 or 1"):
        conv.explain((0, 1, 1, 0), base=2, **ARRAYS)


def test_the_package_names_it() -> None:
    assert pellucid.Equation is Equation
    formula = parse("z[i] = x[i]")
    assert output_shape(formula, {}, {"i": 3}) == Equation(formula)(x=np.zeros(3)).shape


def test_an_extent_of_no_index_is_refused():
    equation = pellucid.Equation("z[i] = sum(s) x[i+s] * w[s]")
    x, w = np.ones(5, np.float32), np.ones(2, np.float32)
    with pytest.raises(ArgumentError) as caught:
        equation(x=x, w=w, extents={"j": 4})
    assert str(caught.value) == ("`extents` names `j`, which is no index of the equation z[i] = sum(s) x[i+s] * w[s]")
    # What the forward equation takes, its gradient takes too.
    dw = equation.gradient("w")
    assert np.array_equal(dw(x=x, g=np.ones(4, np.float32), extents={"i": 4, "s": 2}), [4, 4])
