"""Rewritten formulas against the original ones, in exact numbers and in float64."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language.correlation import Correlation, Pair, recognise
from pellucid.language.extents import inputs
from pellucid.language.gradient import derive
from pellucid.language.interpolation import residues
from pellucid.language.parse import parse
from pellucid.language.render import to_text
from pellucid.language.solve import Solved, solve
from pellucid.language.syntax import Access, Name, walk
from pellucid.language.winograd import Rewritten, Tile, rewrite
from pellucid.reference import evaluate
from support.exact import Array, array
from support.exact import evaluate as exact

CONV_1D = "z[n,i,k] = sum(s,c) x[n,i+s-P,c] * w[s,c,k]"
CONV = "z[n,i,j,k] = max((sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]) + b[k], 0)"
PLAIN = "z[n,i,j,k] = sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]"
NCHW = "z[n,k,i,j] = sum(c,s,t) x[n,c,i+s-P,j+t-P] * w[k,c,s,t]"
GROUPED = "z[n,i,j,g,k] = sum(s,t,c) x[n,i+s-P,j+t-P,2*g+c] * w[s,t,c,g,k]"
DEPTHWISE = "z[n,i,j,c] = sum(s,t) x[n,i+s-P,j+t-P,c] * w[s,t,c]"
TRUE_CONVOLUTION = "z[n,i,k] = sum(s,c) x[n,i-s+Q,c] * w[s,c,k]"
MIRRORED = "z[n,i,k] = -(sum(s,c) x[n,s-i+Q,c] * w[s,c,k])"
MIRRORED_BOTH = "z[n,i,k] = sum(s,c) x[n,Q-s-i,c] * w[s,c,k] * 3"
STRIDED_ROWS = "z[n,i,j,k] = sum(s,t,c) x[n,2*i+s-P,j+t-P,c] * w[s,t,c,k]"
STEPS = "z[n,i,k] = sum(s,c) x[n,S*i+D*s-P,c] * w[s,c,k]"
STEPS_BACK = "z[n,i,k] = sum(s,c) x[n,Q-S*i+D*s,c] * w[s,c,k]"
STRIDED = "z[n,i,j,k] = sum(s,t,c) x[n,2*i+s-P,2*j+t-P,c] * w[s,t,c,k]"
VOLUME = "z[h,i,j,k] = sum(r,s,t,c) x[h+r-P,i+s-P,j+t-P,c] * w[r,s,t,c,k]"

POINTS = st.fractions(-3, 3, max_denominator=4)


@dataclass(frozen=True)
class Case:
    """A solved formula and the shapes of what it reads."""

    solved: Solved
    shapes: Mapping[str, tuple[int, ...]]

    def arrays(self, seed: int) -> dict[str, list[int]]:
        """Small integers for every tensor."""
        drawn = random.Random(seed)
        return {name: [drawn.randint(-3, 3) for _ in range(prod(shape))] for name, shape in sorted(self.shapes.items())}


def cases(text: str, extents: Mapping[str, int], data: tuple[int, ...], wrt: str = "", **constants: int) -> list[Case]:
    """The pieces of an equation, or of its gradient towards `wrt`, where x has the shape `data`."""
    formula = parse(text)
    sizes = dict(extents)
    shapes: dict[str, tuple[int, ...]] = {"x": data}
    for access in walk(formula.body):
        if isinstance(access, Access) and access.tensor != "x":
            shapes[access.tensor] = tuple(extents[index.name] for index in access.indices if isinstance(index, Name))
    if wrt:
        derived = derive(formula, wrt, constants=constants)
        shapes[derived.upstream] = tuple(extents[axis] for axis in formula.free_axes)
        sizes |= {copy: extents[origin] for copy, origin in derived.copies.items()}
        own = derived.formula.free_axes
        sizes |= dict(zip(own, shapes[wrt], strict=True))
        formula = derived.formula
    read = inputs(formula)
    shapes = {name: shape for name, shape in shapes.items() if name in read}
    return [Case(piece, shapes) for piece in solve(formula, constants, sizes)]


def rewritten_exactly(rewritten: Rewritten, arrays: Mapping[str, Array]) -> Array:
    known = dict(arrays)
    for name, rows in rewritten.tables.items():
        known[name] = array((len(rows), len(rows[0])), [number for row in rows for number in row])
    for step in rewritten.steps:
        known[step.formula.output.tensor] = exact(step, known)
    return known[rewritten.steps[-1].formula.output.tensor]


def assert_same(case: Case, tiles: Mapping[str, Tile], seed: int = 0) -> Rewritten:
    values = case.arrays(seed)
    arrays = {name: array(case.shapes[name], cells) for name, cells in values.items()}
    rewritten = rewrite(case.solved, tiles)
    assert rewritten_exactly(rewritten, arrays) == exact(case.solved, arrays)
    return rewritten


def pairs_of(case: Case) -> tuple[Pair, ...]:
    found = recognise(case.solved)
    assert isinstance(found, Correlation)
    return found.pairs


def texts(rewritten: Rewritten) -> list[str]:
    return [to_text(step.formula) for step in rewritten.steps]


def convolution(
    text: str, size: tuple[int, int], kernel: tuple[int, int], padding: int, wrt: str = "", channels: int = 2
) -> Case:
    """A case of a two-dimensional convolution in NHWC over maps of that size."""
    height, width = (n + 2 * padding - k + 1 for n, k in zip(size, kernel, strict=True))
    extents = {"n": 1, "i": height, "j": width, "k": 2, "s": kernel[0], "t": kernel[1], "c": channels}
    (case,) = cases(text, extents, (1, *size, channels), wrt, P=padding)
    return case


# What it says


def test_forward() -> None:
    rewritten = rewrite(convolution(CONV, (7, 9), (3, 3), 1).solved, {"i": Tile(2, 3), "j": Tile(4, 3)})
    assert texts(rewritten) == [
        "V[a,b1,n,I,J,c] = sum(p,q) B0[a,p] * B1[b1,q] * x[n,2*I+p-1,4*J+q-1,c]",
        "U[a,b1,c,k] = sum(s,t) G0[a,s] * G1[b1,t] * w[s,t,c,k]",
        "M[a,b1,n,I,J,k] = sum(c) V[a,b1,n,I,J,c] * U[a,b1,c,k]",
        "z[n,i,j,k] = max(sum(a,b1) A0[i%2,a] * A1[j%4,b1] * M[a,b1,n,i//2,j//4,k] + b[k], 0)",
    ]
    assert dict(rewritten.steps[0].extents) == {"a": 4, "b1": 6, "n": 1, "I": 4, "J": 3, "c": 2, "p": 4, "q": 6}
    assert {name: (len(rows), len(rows[0])) for name, rows in rewritten.tables.items()} == {
        "A0": (2, 4), "B0": (4, 4), "G0": (4, 3), "A1": (4, 6), "B1": (6, 6), "G1": (6, 3),
    }  # fmt: skip


def test_towards_the_input() -> None:
    rewritten = rewrite(convolution(PLAIN, (7, 9), (3, 3), 1, "x").solved, {"y": Tile(2, 3), "x": Tile(4, 3)})
    assert texts(rewritten) == [
        "V[a,b,n,Y,X,k] = sum(p,q) B0[a,p] * B1[b,q] * g[n,2*Y+p-1,4*X+q-1,k]",
        "U[a,b,c,k] = sum(s,t) G0[a,s] * G1[b,t] * w[s,t,c,k]",
        "M[a,b,n,Y,X,c] = sum(k) V[a,b,n,Y,X,k] * U[a,b,c,k]",
        "dx[n,y,x,c] = sum(a,b) A0[y%2,a] * A1[x%4,b] * M[a,b,n,y//2,x//4,c]",
    ]
    assert rewritten.tables["G0"][0] == (0, 0, -1)


def test_towards_the_weights() -> None:
    rewritten = rewrite(convolution(PLAIN, (7, 9), (3, 3), 1, "w").solved, {"s": Tile(3, 2), "t": Tile(3, 4)})
    assert texts(rewritten) == [
        "V[a,b,n,I,J,c] = sum(p,q) B0[a,p] * B1[b,q] * x[n,2*I+p-1,4*J+q-1,c]",
        "U[a,b,n,I,J,k] = sum(i,j) G0[a,i] * G1[b,j] * g[n,2*I+i,4*J+j,k]",
        "M[a,b,c,k] = sum(n,I,J) V[a,b,n,I,J,c] * U[a,b,n,I,J,k]",
        "dw[s,t,c,k] = sum(a,b) A0[s,a] * A1[t,b] * M[a,b,c,k]",
    ]


def test_one_of_two_pairs() -> None:
    """Dimensions that are not cut stay dimensions, of the cells that are reached."""
    (case,) = cases(STRIDED_ROWS, {"n": 1, "i": 3, "j": 5, "k": 2, "s": 3, "t": 3, "c": 2}, (1, 6, 5, 2), P=1)
    rewritten = assert_same(case, {"j": Tile(2, 3)})
    assert texts(rewritten)[0] == "V[a,n,h,J,c] = sum(p) B0[a,p] * x[n,h-1,2*J+p-1,c]"
    assert texts(rewritten)[2] == "M[a,n,i,J,k] = sum(s,c) V[a,n,2*i+s,J,c] * U[a,s,c,k]"
    assert rewritten.steps[0].extents["h"] == 7


# That it is the same


@st.composite
def tile(draw: st.DrawFn, outputs: int, taps: int) -> Tile:
    """A tile that fits the extents, with points drawn or by default."""
    size = draw(st.integers(1, min(outputs, 4))), draw(st.integers(1, min(taps, 4)))
    count = sum(size) - 2
    points = draw(st.none() | st.lists(POINTS, min_size=count, max_size=count, unique=True))
    return Tile(*size, None if points is None else tuple(points))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_dimension(data: st.DataObject) -> None:
    taps, cells = data.draw(st.integers(1, 5)), data.draw(st.integers(5, 9))
    padding = data.draw(st.integers(0, taps - 1))  # valid, same, full
    outputs = cells + 2 * padding - taps + 1
    # What the index adds so that it begins `padding` cells before the array, whichever way the axes walk.
    starts = {CONV_1D: 0, TRUE_CONVOLUTION: taps - 1, MIRRORED: outputs - 1, MIRRORED_BOTH: outputs + taps - 2}
    text, start = data.draw(st.sampled_from(list(starts.items())))
    constants = {"P": padding} if text == CONV_1D else {"Q": start - padding}
    wrt = data.draw(st.sampled_from(["", "x", "w"]))
    (case,) = cases(text, {"n": 2, "i": outputs, "s": taps, "c": 1, "k": 1}, (2, cells, 1), wrt, **constants)
    (pair,) = pairs_of(case)
    extents = case.solved.extents
    assert_same(
        case, {pair.output: data.draw(tile(extents[pair.output], extents[pair.tap]))}, data.draw(st.integers(0, 99))
    )


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_steps(data: st.DataObject) -> None:
    """Strides and dilations, forward and towards the weights."""
    taps, outputs, padding = (data.draw(st.integers(*limits)) for limits in ((2, 5), (2, 7), (0, 2)))
    stride, dilation = data.draw(st.sampled_from([(2, 1), (3, 1), (1, 2), (1, 3)]))
    cells = max(1, stride * (outputs - 1) + dilation * (taps - 1) + 1 - 2 * padding + data.draw(st.integers(0, 1)))
    text, constants = data.draw(
        st.sampled_from([(STEPS, {"P": padding}), (STEPS_BACK, {"Q": stride * (outputs - 1) - padding})])
    )
    wrt = data.draw(st.sampled_from(["", "w"]))
    extents = {"n": 1, "i": outputs, "s": taps, "c": 1, "k": 1}
    (case,) = cases(text, extents, (1, cells, 1), wrt, S=stride, D=dilation, **constants)
    (pair,) = pairs_of(case)
    sizes = [data.draw(st.integers(1, min(case.solved.extents[axis], 4))) for axis in (pair.output, pair.tap)]
    points = max(len(own) + len(other) for own, other in residues(sizes[0], sizes[1], pair.steps)) - 2
    drawn = data.draw(st.none() | st.lists(POINTS, min_size=points, max_size=points, unique=True))
    one = Tile(sizes[0], sizes[1], None if drawn is None else tuple(drawn))
    assert_same(case, {pair.output: one}, data.draw(st.integers(0, 99)))


def test_dilation_towards_the_input() -> None:
    (case,) = cases(STEPS, {"n": 1, "i": 9, "s": 3, "c": 2, "k": 2}, (1, 9, 2), "x", S=1, D=2, P=2)
    assert pairs_of(case) == (Pair("x", "s", 1, True, (1, 2)),)
    rewritten = assert_same(case, {"x": Tile(4, 3)})
    assert texts(rewritten)[0] == "V[a,n,X,k] = sum(p) B0[a,p] * g[n,4*X+p-2,k]"
    assert len(rewritten.tables["B0"]) == 8


def test_a_stride_of_two() -> None:
    extents = {"n": 1, "i": 5, "j": 4, "k": 2, "s": 3, "t": 3, "c": 2}
    (case,) = cases(STRIDED, extents, (1, 10, 8, 2), P=1)
    rewritten = assert_same(case, {"i": Tile(2, 3), "j": Tile(4, 3)})
    assert texts(rewritten) == [
        "V[a,b,n,I,c] = sum(p,q) B0[a,p] * B1[b,q] * x[n,4*I+p-1,q-1,c]",
        "U[a,b,c,k] = sum(s,t) G0[a,s] * G1[b,t] * w[s,t,c,k]",
        "M[a,b,n,I,k] = sum(c) V[a,b,n,I,c] * U[a,b,c,k]",
        "z[n,i,j,k] = sum(a,b) A0[i%2,a] * A1[j,b] * M[a,b,n,i//2,k]",
    ]
    assert {axis: rewritten.steps[0].extents[axis] for axis in "abpq"} == {"a": 5, "b": 9, "p": 5, "q": 9}
    (towards_w,) = cases(STRIDED, extents, (1, 10, 8, 2), "w", P=1)
    rewritten = assert_same(towards_w, {"s": Tile(3, 2), "t": Tile(3, 4)})
    assert texts(rewritten)[:2] == [
        "V[a,b,n,I,c] = sum(p,q) B0[a,p] * B1[b,q] * x[n,4*I+p-1,q-1,c]",
        "U[a,b,n,I,k] = sum(i,j) G0[a,i] * G1[b,j] * g[n,2*I+i,j,k]",
    ]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_two_dimensions(data: st.DataObject) -> None:
    wrt = data.draw(st.sampled_from(["", "x", "w"]))
    kernel = data.draw(st.tuples(st.integers(2, 3), st.integers(1, 3)))
    size = data.draw(st.tuples(st.integers(3, 5), st.integers(3, 6)))
    padding = data.draw(st.integers(0, min(kernel) - 1))
    case = convolution(PLAIN if wrt else CONV, size, kernel, padding, wrt, channels=1)
    extents = case.solved.extents
    pairs = pairs_of(case)
    tiles = {pair.output: data.draw(tile(extents[pair.output], extents[pair.tap])) for pair in pairs}
    assert_same(case, tiles, data.draw(st.integers(0, 99)))


@pytest.mark.parametrize("wrt", ["", "x", "w"])
@pytest.mark.parametrize(
    ("text", "data", "weights"),
    [
        (NCHW, (1, 2, 5, 4), {"k": 2, "c": 2}),
        (GROUPED, (1, 5, 4, 4), {"g": 2, "c": 2, "k": 2}),
        (DEPTHWISE, (1, 5, 4, 3), {"c": 3}),
    ],
)
def test_layouts_and_groups(text: str, data: tuple[int, ...], weights: dict[str, int], wrt: str) -> None:
    for case in cases(text, dict(n=1, i=5, j=4, s=3, t=3, **weights), data, wrt, P=1):
        pairs = pairs_of(case)
        assert len(pairs) == 2
        tiles = (Tile(3, 2), Tile(3, 4)) if wrt == "w" else (Tile(2, 3), Tile(4, 3))
        assert_same(case, dict(zip((pair.output for pair in pairs), tiles, strict=True)))


def test_three_dimensions() -> None:
    (case,) = cases(VOLUME, {"h": 3, "i": 3, "j": 2, "r": 2, "s": 2, "t": 2, "c": 1, "k": 1}, (3, 3, 2, 1), P=1)
    rewritten = assert_same(case, {axis: Tile(2, 2) for axis in "hij"})
    assert texts(rewritten)[0] == (
        "V[a,b,d,H,I,c] = sum(p,q,r1) B0[a,p] * B1[b,q] * B2[d,r1] * x[2*H+p-1,2*I+q-1,r1-1,c]"
    )


def test_pieces_of_a_strided_gradient() -> None:
    """Taps `2*s+1` end before the array does: what a tile reads beyond them is left out by a condition."""
    text = "z[n,i,k] = sum(s,c) x[n,2*i+s-2,c] * w[s,c,k]"
    pieces = cases(text, {"n": 1, "i": 6, "k": 2, "s": 7, "c": 2}, (1, 9, 2), "x")
    assert len(pieces) == 2
    even, odd = (assert_same(case, {"x": Tile(2, 3)}) for case in pieces)
    assert texts(even)[1] == "U[a,S,c,k] = sum(s : 3*S+s < 4) G0[a,s] * w[6*S+2*s,c,k]"
    assert texts(odd)[1] == "U[a,c,k] = sum(s) G0[a,s] * w[2*s+1,c,k]"


@pytest.mark.parametrize("wrt", ["", "x", "w"])
def test_in_float64(wrt: str) -> None:
    """More channels than exact numbers allow, through the reference: within the rounding of float64."""
    case = convolution(PLAIN, (11, 13), (3, 3), 1, wrt, channels=16)
    tiles = {"": ("i", "j"), "x": ("y", "x"), "w": ("s", "t")}[wrt]
    sizes = (Tile(3, 4), Tile(3, 2)) if wrt == "w" else (Tile(4, 3), Tile(2, 3))
    rewritten = rewrite(case.solved, dict(zip(tiles, sizes, strict=True)))
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal(shape) for name, shape in case.shapes.items()}
    known = arrays | {name: np.array(rows, dtype=np.float64) for name, rows in rewritten.tables.items()}
    for step in rewritten.steps:
        known[step.formula.output.tensor] = evaluate(step.formula, {}, step.extents, known)
    expected = evaluate(case.solved.formula, {}, case.solved.extents, arrays)
    found = known[case.solved.formula.output.tensor]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-13 * np.abs(expected).max()


# In rows


def in_rows(text: str, wrt: str = "", outputs: int = 6, channels: int = 4, row: int = 2) -> Rewritten:
    """The steps with transformed taps in rows, which compute the same exactly."""
    extents = {"n": 2, "i": 5, "j": 6, "k": outputs, "s": 3, "t": 3, "c": channels}
    (case,) = cases(text, extents, (2, 5, 6, channels), wrt, P=1)
    tiles = dict(zip({"": "ij", "x": "yx"}[wrt], (Tile(2, 3), Tile(4, 3)), strict=True))
    rewritten = rewrite(case.solved, tiles, row)
    arrays = {name: array(case.shapes[name], cells) for name, cells in case.arrays(0).items()}
    assert rewritten_exactly(rewritten, arrays) == exact(case.solved, arrays)
    return rewritten


def test_rows_forward() -> None:
    *_, taps, products, outputs = rewritten = in_rows(PLAIN).steps
    assert [to_text(step.formula) for step in (taps, products, outputs)] == [
        "U[a,b,K,c,l] = sum(s,t) G0[a,s] * G1[b,t] * w[s,t,c,2*K+l]",
        "M[a,b,n,I,J,2*K+l] = sum(c) V[a,b,n,I,J,c] * U[a,b,K,c,l]",
        "z[n,i,j,k] = sum(a,b) A0[i%2,a] * A1[j%4,b] * M[a,b,n,i//2,j//4,k]",
    ]
    assert len(rewritten) == 4
    assert {name: products.extents[name] for name in "Kl"} == {"K": 3, "l": 2}


def test_rows_towards_the_input() -> None:
    """There the channels are the output's last axis, but not the kernel's, which is turned first."""
    turned, _, taps, products, _ = in_rows(PLAIN, "x").steps
    assert [to_text(step.formula) for step in (turned, taps, products)] == [
        "T[s,t,k,c] = w[s,t,c,k]",
        "U[a,b,C,k,l] = sum(s,t) G0[a,s] * G1[b,t] * T[s,t,k,2*C+l]",
        "M[a,b,n,Y,X,2*C+l] = sum(k) V[a,b,n,Y,X,k] * U[a,b,C,k,l]",
    ]
    assert dict(turned.extents) == {"s": 3, "t": 3, "k": 6, "c": 4}


@pytest.mark.parametrize(("outputs", "row"), [(6, 6), (6, 4), (2, 64)])
def test_no_rows_where_not_several_whole_ones_fit(outputs: int, row: int) -> None:
    _, taps, products, _ = in_rows(PLAIN, outputs=outputs, row=row).steps
    assert to_text(taps.formula) == "U[a,b,c,k] = sum(s,t) G0[a,s] * G1[b,t] * w[s,t,c,k]"
    assert to_text(products.formula) == "M[a,b,n,I,J,k] = sum(c) V[a,b,n,I,J,c] * U[a,b,c,k]"


def test_no_rows_towards_the_input_where_the_channels_are_not_whole_ones() -> None:
    turned, _, taps, _, _ = in_rows(PLAIN, "x", channels=3, row=2).steps
    assert to_text(turned.formula) == "T[s,t,k,c] = w[s,t,c,k]"
    assert to_text(taps.formula) == "U[a,b,k,c] = sum(s,t) G0[a,s] * G1[b,t] * T[s,t,k,c]"


def test_no_rows_where_the_data_have_the_axis_too() -> None:
    (case,) = cases(DEPTHWISE, {"n": 1, "i": 5, "j": 6, "s": 3, "t": 3, "c": 4}, (1, 5, 6, 4), P=1)
    rewritten = rewrite(case.solved, {"i": Tile(2, 3), "j": Tile(2, 3)}, 2)
    assert texts(rewritten)[1] == "U[a,b,c] = sum(s,t) G0[a,s] * G1[b,t] * w[s,t,c]"


# What can be rewritten


def test_pairs() -> None:
    found = recognise(convolution(CONV, (7, 7), (3, 3), 1).solved)
    assert isinstance(found, Correlation)
    assert found.pairs == (Pair("i", "s", 1, False), Pair("j", "t", 2, False))
    assert str(found) == "i walks with s and j walks with t in x"
    (case,) = cases(STRIDED_ROWS, {"n": 1, "i": 3, "j": 5, "k": 2, "s": 3, "t": 3, "c": 2}, (1, 6, 5, 2), P=1)
    assert pairs_of(case) == (Pair("i", "s", 1, False, (2, 1)), Pair("j", "t", 2, False))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("z[i] = x[i] * w[i]", "it has no reductions; the rule takes one sum"),
        ("z[i] = (sum(s) x[i+s] * w[s]) + sum(s) v[i+s] * w[s]", "it has 2 reductions; the rule takes one sum"),
        ("z[i] = max(s) x[i+s] * w[s]", "`max` is no sum"),
        ("z[i] = argmax(s) x[i+s] * w[s]", "`argmax` is no sum"),
        ("z[i] = sum(s : s < i) x[i+s] * w[s]", "the sum has the condition `s < i`"),
        ("z[i] = sum(s) x[i+s] * w[s] * v[s]", "what is summed is no product of two accesses"),
        ("z[i] = sum(s) x[i+s]", "what is summed is no product of two accesses"),
        ("z[i] = sum(s) exp(x[i+s]) * w[s]", "what is summed is no product of two accesses"),
        ("z[i] = sum(s) x[i+s] / w[s]", "what is summed is no product of two accesses"),
        ("z[i] = sum(s) x[y[i]+s] * w[s]", "an index of x is not affine"),
        ("z[i] = sum(s) x[2*i+3*s] * w[s]", "index `2*i+3*s` of x takes steps of 2 along i and of 3 along s"),
        ("z[i] = sum(s,t) x[i+s+t] * w[s,t]", "index `i+s+t` of x has 3 axes"),
        ("z[i] = sum(s) x[i+s,i] * w[s]", "an axis of index `i+s` of x stands in another index too"),
        ("z[i] = sum(s) x[i+s] * w[i,s]", "i of index `i+s` of x stands in w too"),
        ("z[i] = sum(s,t) x[i+s,t] * w[s+t]", "s of index `i+s` of x stands in no index of its own of w"),
        ("z[i,j] = sum(s) x[i,s] * w[s,j]", "no index adds an output axis and a summed axis"),
    ],
)
def test_what_cannot_be_rewritten(text: str, reason: str) -> None:
    solved = Solved(parse(text), {"i": 4, "s": 3, "t": 2, "j": 4})
    assert recognise(solved) == reason
    with pytest.raises(ArgumentError) as caught:
        rewrite(solved, {"i": Tile(2, 3)})
    assert str(caught.value) == f"z cannot be rewritten: {reason}"


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ({}, "`tiles` is empty; it must have one of i, j"),
        ({"k": Tile(2, 3)}, "`tiles` (='k') must be one of i, j"),
        ({"i": Tile(8, 3)}, "`outputs` (=8) of the tile along i must be between 1 and the extent of i (=7)"),
        ({"j": Tile(2, 4)}, "`taps` (=4) of the tile along j must be between 1 and the extent of t (=3)"),
    ],
)
def test_wrong_tiles(tiles: dict[str, Tile], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        rewrite(convolution(CONV, (7, 7), (3, 3), 1).solved, tiles)
    assert str(caught.value) == message
