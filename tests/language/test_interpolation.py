"""The matrices of Toom and Cook against their identity and against printed ones."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import ArgumentError
from pellucid.language.interpolation import Transforms, default_points, matrices, residues

RATIONALS = st.fractions(-4, 4, max_denominator=6)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[int, int, list[Fraction]]:
    """Outputs, taps, and as many distinct points as they need."""
    outputs, taps = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    size = outputs + taps - 2
    return outputs, taps, draw(st.lists(RATIONALS, min_size=size, max_size=size, unique=True))


def assert_correlates(found: Transforms, outputs: int, taps: int, steps: tuple[int, int] = (1, 1)) -> None:
    """`sum(j) A[o,j] * G[j,s] * B[j,p]` is 1 where p = o + s, each times its step, and 0 elsewhere."""
    cells = range(steps[0] * (outputs - 1) + steps[1] * (taps - 1) + 1)
    points = range(len(found.data))
    for o, s, p in product(range(outputs), range(taps), cells):
        total = sum(found.outputs[o][j] * found.taps[j][s] * found.data[j][p] for j in points)
        assert total == (p == steps[0] * o + steps[1] * s)


@given(drawn(), st.booleans())
def test_the_identity_holds_for_any_points(case: tuple[int, int, list[Fraction]], divide_outputs: bool) -> None:
    outputs, taps, points = case
    assert_correlates(matrices(outputs, taps, points, divide_outputs=divide_outputs), outputs, taps)


@pytest.mark.parametrize("cells", range(1, 9))
def test_default_points_fit_their_tiles(cells: int) -> None:
    for taps in range(1, cells + 1):
        outputs = cells + 1 - taps
        assert_correlates(matrices(outputs, taps, default_points(cells)), outputs, taps)


@given(drawn(), st.integers(2, 4), st.booleans(), st.booleans())
def test_steps_give_blocks(
    case: tuple[int, int, list[Fraction]], step: int, along_outputs: bool, divide_outputs: bool
) -> None:
    outputs, taps, points = case
    steps = (step, 1) if along_outputs else (1, step)
    parts = residues(outputs, taps, steps)
    largest = max(len(own) + len(other) for own, other in parts) - 2
    for chosen in (None, points[:largest]):
        found = matrices(outputs, taps, chosen, steps=steps, divide_outputs=divide_outputs)
        assert_correlates(found, outputs, taps, steps)
        assert len(found.data) == sum(len(own) + len(other) - 1 for own, other in parts)


def test_a_stride_of_two() -> None:
    """Four outputs of three taps: of nine cells the even ones meet two of the taps, the odd ones the third."""
    assert residues(4, 3, (2, 1)) == [(range(4), range(0, 3, 2)), (range(4), range(1, 3, 2))]
    found = matrices(2, 3, steps=(2, 1))
    assert found.data == ((-1, 0, 1, 0, 0), (0, 0, 1, 0, 0), (0, 0, -1, 0, 1), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0))
    assert found.taps == ((-1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0))
    assert found.outputs == ((1, 1, 0, 1, 0), (0, 1, 1, 0, 1))


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


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((0, 1), "`steps` (=0, 1) must be 1 or more, and one of them 1"),
        ((2, 3), "`steps` (=2, 3) must be 1 or more, and one of them 1"),
    ],
)
def test_wrong_steps(steps: tuple[int, int], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        matrices(2, 3, steps=steps)
    assert str(caught.value) == message


@pytest.mark.parametrize("cells", [0, 9])
def test_too_many_points(cells: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        default_points(cells)
    assert str(caught.value) == f"`cells` (={cells}) must be between 1 and 8: more points lose too many digits"
