"""Matrices as adds and multiply-adds: the numbers they give, and how many they are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.language.affine import Affine
from pellucid.language.interpolation import default_points, matrices
from pellucid.schedule.arithmetic import FUNCTIONS
from pellucid.schedule.linear import ZERO, combine, operations
from pellucid.schedule.nest import Apply, Constant, Load, Operand, Value

# Ratios of these are numbers of float64, so that nothing rounds.
NUMBERS = st.sampled_from([Fraction(n, d) for n in (-4, -2, -1, 0, 1, 2) for d in (1, 2)])


def cells(count: int) -> list[Value]:
    return [Load(Operand("x", (count,), (Affine(number),))) for number in range(count)]


def number_of(value: Value, x: list[Fraction]) -> Fraction:
    match value:
        case Constant(number):
            return Fraction(number)
        case Load(operand):
            return x[operand.index[0].const]
        case Apply(function, arguments):
            return FUNCTIONS[function](*(number_of(argument, x) for argument in arguments))
        case _:
            raise NotImplementedError(value)


@given(st.data())
def test_any_matrix(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    matrix = tuple(tuple(data.draw(NUMBERS) for _ in range(columns)) for _ in range(rows))
    x = [Fraction(data.draw(st.integers(-9, 9))) for _ in range(columns)]
    absent = data.draw(st.sets(st.integers(0, columns - 1)))
    values = [ZERO if place in absent else value for place, value in enumerate(cells(columns))]
    present = [Fraction(0) if place in absent else number for place, number in enumerate(x)]
    wanted = [sum((a * b for a, b in zip(row, present, strict=True)), Fraction(0)) for row in matrix]
    assert [number_of(value, x) for value in combine(matrix, values)] == wanted


@pytest.mark.parametrize(("size", "count"), [(4, 4), (6, 12)])
def test_operations_of_the_data_transform(size: int, count: int) -> None:
    found = matrices(size - 2, 3, default_points(size))
    assert operations(combine(found.data, cells(size))) == count


def test_operations_of_the_other_transforms() -> None:
    found = matrices(4, 3, default_points(6))
    assert operations(combine(found.outputs, cells(6))) == 12
    assert operations(combine(found.taps, cells(3))) == 10


def test_cells_that_do_not_exist_cost_nothing() -> None:
    found = matrices(2, 3, default_points(4)).data
    _, *others = cells(4)
    first, *_ = combine(found, [ZERO, *others])
    assert first == others[1]


def test_a_row_of_zeros() -> None:
    assert combine(((Fraction(0), Fraction(0)),), cells(2)) == [ZERO]
