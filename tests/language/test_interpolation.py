"""The matrices of Toom and Cook against their identity and against printed ones."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language.interpolation import Transforms, default_points, matrices

RATIONALS = st.fractions(-4, 4, max_denominator=6)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[int, int, list[Fraction]]:
    """Outputs, taps, and as many distinct points as they need."""
    outputs, taps = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    size = outputs + taps - 2
    return outputs, taps, draw(st.lists(RATIONALS, min_size=size, max_size=size, unique=True))


def assert_correlates(found: Transforms, outputs: int, taps: int) -> None:
    """`sum(j) A[o,j] * G[j,s] * B[j,p]` is 1 where p = o + s and 0 elsewhere."""
    cells = range(outputs + taps - 1)
    for o, s, p in product(range(outputs), range(taps), cells):
        total = sum(found.outputs[o][j] * found.taps[j][s] * found.data[j][p] for j in cells)
        assert total == (p == o + s)


@given(drawn(), st.booleans())
def test_the_identity_holds_for_any_points(case: tuple[int, int, list[Fraction]], divide_outputs: bool) -> None:
    outputs, taps, points = case
    assert_correlates(matrices(outputs, taps, points, divide_outputs=divide_outputs), outputs, taps)


@pytest.mark.parametrize("cells", range(1, 9))
def test_default_points_fit_their_tiles(cells: int) -> None:
    for taps in range(1, cells + 1):
        outputs = cells + 1 - taps
        assert_correlates(matrices(outputs, taps, default_points(cells)), outputs, taps)


def test_integer_points_give_the_data_matrix_of_lavin_and_gray() -> None:
    """Their equation for F(4x4, 3x3)."""
    assert matrices(4, 3, (0, 1, -1, 2, -2)).data == (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    )


def test_the_smallest_tile() -> None:
    half = Fraction(1, 2)
    found = matrices(2, 3, (0, 1, -1))
    assert found.data == ((-1, 0, 1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))
    assert found.taps == ((-1, 0, 0), (half, half, half), (half, -half, half), (0, 0, 1))
    assert found.outputs == ((1, 1, 1, 0), (0, 1, -1, 1))


def test_denominators_stand_where_they_are_wanted() -> None:
    at_taps, at_outputs = (matrices(3, 4, default_points(6), divide_outputs=where) for where in (False, True))
    assert at_taps.data == at_outputs.data
    assert at_outputs.taps[1] == (1, Fraction(2, 3), Fraction(4, 9), Fraction(8, 27))
    assert at_taps.outputs[0] == (1, 1, 1, 1, 1, 0)


def test_rows_of_a_pair_share_their_halves_and_have_ends_of_one() -> None:
    first, plus, minus, *_ = matrices(4, 3, default_points(6)).data
    assert [abs(a) for a in plus] == [abs(a) for a in minus]
    assert [a == b for a, b in zip(plus, minus, strict=True)] == [True, False, True, False, True, True]
    assert (first[0], first[4]) == (1, 1)


@pytest.mark.parametrize(
    ("outputs", "taps", "points", "message"),
    [
        (0, 3, (0,), "`outputs` (=0) must be 1 or more"),
        (2, 0, (0,), "`taps` (=0) must be 1 or more"),
        (2, 3, (0, 1), "`points` (=0, 1) must be 3 distinct numbers for 2 outputs and 3 taps"),
        (2, 2, (1, 1), "`points` (=1, 1) must be 2 distinct numbers for 2 outputs and 2 taps"),
    ],
)
def test_wrong_sizes(outputs: int, taps: int, points: tuple[int, ...], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        matrices(outputs, taps, points)
    assert str(caught.value) == message


@pytest.mark.parametrize("cells", [0, 9])
def test_too_many_points(cells: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        default_points(cells)
    assert str(caught.value) == f"`cells` (={cells}) must be between 1 and 8: more points lose too many digits"
