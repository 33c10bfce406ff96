"""Neighbours side by side against the equations as they were, in exact numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from language.test_winograd import (
    CONV,
    CONV_1D,
    MIRRORED,
    NCHW,
    PLAIN,
    STEPS,
    STEPS_BACK,
    TRUE_CONVOLUTION,
    Case,
    cases,
    convolution,
    rewritten_exactly,
    texts,
)
from pellucid.errors import ArgumentError
from pellucid.language.correlation import Correlation, recognise
from pellucid.language.neighbours import Neighbours, find_neighbours, side_by_side
from pellucid.language.winograd import Rewritten
from support.exact import array
from support.exact import evaluate as exact

WITH_BRANCH = "z[n,i,j,k] = max(y[n,i,j,k] - 2 * (sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]) + b[k] * q[n], 0)"


def beside(case: Case, count: int) -> Rewritten:
    found = recognise(case.solved)
    assert isinstance(found, Correlation)
    by = find_neighbours(case.solved, found)
    assert isinstance(by, Neighbours), by
    return side_by_side(case.solved, found, by, count)


def assert_same(case: Case, count: int, seed: int = 0) -> None:
    arrays = {name: array(case.shapes[name], cells) for name, cells in case.arrays(seed).items()}
    assert rewritten_exactly(beside(case, count), arrays) == exact(case.solved, arrays)


def test_forward() -> None:
    rewritten = beside(convolution(CONV, (6, 8), (3, 3), 1), 2)
    assert texts(rewritten) == [
        "W[s,u,c,r,k] = sum(t : r+t == u) w[s,t,c,k]",
        "b1[r,k] = b[k]",
        "z[n,i,j,k] = max(sum(s,u,c) x[n,i+s-1,2*(j//2)+u-1,c] * W[s,u,c,j%2,k] + b1[j%2,k], 0)",
    ]
    assert dict(rewritten.steps[0].extents) == {"s": 3, "u": 4, "c": 2, "r": 2, "k": 2, "t": 3}
    assert rewritten.tables == {}


def test_towards_the_input() -> None:
    rewritten = beside(convolution(PLAIN, (6, 8), (3, 3), 1, "x"), 4)
    assert texts(rewritten) == [
        "W[s,u,k,r,c] = sum(t : r-t+2 == u) w[s,t,c,k]",
        "dx[n,y,x,c] = sum(s,u,k) g[n,y-s+1,4*(x//4)+u-1,k] * W[s,u,k,x%4,c]",
    ]


def test_towards_the_weights() -> None:
    rewritten = beside(convolution(PLAIN, (6, 8), (3, 3), 1, "w"), 2)
    assert texts(rewritten) == [
        "D[s,u,c,r,k] = sum(n,i,J) x[n,s+i-1,2*J+u-1,c] * g[n,i,2*J+r,k]",
        "dw[s,t,c,k] = sum(r) D[s,r+t,c,r,k]",
    ]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_dimension(data: st.DataObject) -> None:
    """Whichever way the axes walk, with and without padding."""
    taps, count = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 4))
    outputs, padding = count * data.draw(st.integers(1, 3)), data.draw(st.integers(0, taps - 1))
    cells = max(1, outputs + taps - 1 - 2 * padding)
    starts = {CONV_1D: 0, TRUE_CONVOLUTION: taps - 1, MIRRORED: outputs - 1}
    text, start = data.draw(st.sampled_from(list(starts.items())))
    constants = {"P": padding} if text == CONV_1D else {"Q": start - padding}
    wrt = data.draw(st.sampled_from(["", "x", "w"]))
    extents = {"n": 2, "i": outputs, "s": taps, "c": 2, "k": 3}
    (case,) = cases(text, extents, (2, cells, 2), wrt, **constants)
    found = recognise(case.solved)
    assert isinstance(found, Correlation)
    by = find_neighbours(case.solved, found)
    # Towards the input of few cells it is the weights that windows move through, and no lane is the taps' alone.
    assert isinstance(by, Neighbours) or wrt == "x"
    assume(isinstance(by, Neighbours))
    divisors = [size for size in range(2, 5) if case.solved.extents[by.axis] % size == 0]
    assume(divisors)
    assert_same(case, data.draw(st.sampled_from(divisors)), data.draw(st.integers(0, 99)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_steps(data: st.DataObject) -> None:
    """Strides and dilations, forward and towards the weights."""
    taps, count, padding = (data.draw(st.integers(*limits)) for limits in ((2, 4), (2, 3), (0, 2)))
    outputs = count * data.draw(st.integers(1, 3))
    stride, dilation = data.draw(st.sampled_from([(2, 1), (3, 1), (1, 2), (1, 3)]))
    cells = max(1, stride * (outputs - 1) + dilation * (taps - 1) + 1 - 2 * padding + data.draw(st.integers(0, 1)))
    text, constants = data.draw(
        st.sampled_from([(STEPS, {"P": padding}), (STEPS_BACK, {"Q": stride * (outputs - 1) - padding})])
    )
    extents = {"n": 1, "i": outputs, "s": taps, "c": 2, "k": 2}
    wrt = data.draw(st.sampled_from(["", "w"]))
    (case,) = cases(text, extents, (1, cells, 2), wrt, S=stride, D=dilation, **constants)
    assert_same(case, count, data.draw(st.integers(0, 99)))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_what_is_read_beside_the_sum(count: int) -> None:
    """A residual branch is read as the output is written, a bias by its channel, the rest as before."""
    extents = {"n": 2, "i": 3, "j": 8, "k": 3, "s": 3, "t": 3, "c": 2}
    (case,) = cases(WITH_BRANCH, extents, (2, 3, 8, 2), P=1)
    assert_same(case, count)
    assert texts(beside(case, 2))[-1] == (
        "z[n,i,j,k] = max(y[n,i,j,k] - 2 * sum(s,u,c) x[n,i+s-1,2*(j//2)+u-1,c] * W[s,u,c,j%2,k] + b1[j%2,k] * q[n], 0)"
    )


# What cannot be


def refused(text: str, extents: Mapping[str, int], data: tuple[int, ...], count: int = 2, **constants: int) -> str:
    (case,) = cases(text, extents, data, **constants)
    found = recognise(case.solved)
    assert isinstance(found, Correlation)
    by = find_neighbours(case.solved, found)
    if isinstance(by, str):
        return by
    with pytest.raises(ArgumentError) as caught:
        side_by_side(case.solved, found, by, count)
    return str(caught.value)


SIZES = {"n": 1, "i": 4, "j": 6, "k": 2, "s": 3, "t": 3, "c": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NCHW, "the last axis of the output is none of the taps alone"),
        (
            "z[n,i,j,k] = (sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]) * m[j]",
            "m is read neither by k alone nor as the output is written",
        ),
        (
            "z[n,i,j,k] = (sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]) * v[n,k]",
            "v is read neither by k alone nor as the output is written",
        ),
        ("z[n,i,j,k] = (sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]) * [j > 0]", "the value depends on j itself"),
        ("z[i,k,n] = sum(s,c) x[i+s,c] * w[s,c,n,k]", "no axis of the windows stands before the last one"),
    ],
)
def test_what_has_none(text: str, message: str) -> None:
    data = {NCHW: (1, 2, 6, 8), "z[i,k,n] = sum(s,c) x[i+s,c] * w[s,c,n,k]": (6, 2)}.get(text, (1, 6, 8, 2))
    constants = {"P": 0} if text == NCHW else {}
    assert refused(text, SIZES, data, **constants) == message


@pytest.mark.parametrize("count", [1, 4, 7])
def test_count(count: int) -> None:
    found = refused(PLAIN, SIZES, (1, 6, 8, 2), count, P=0)
    assert found == f"`count` (={count}) must be 2 or more and divide the extent of j (=6)"
