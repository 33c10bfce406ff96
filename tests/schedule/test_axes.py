"""Rewrites of axes: what they make, and that each cell is still reached by the same values."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from pellucid.language.affine import Affine
from pellucid.schedule.axes import bind_contraction, fuse_axes, split_dimensions
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.normal import normalise
from pellucid.schedule.ordering import order_reductions
from schedule.cases import EQUATIONS, Case, case


def contractions(given: Case) -> list[Contraction]:
    known = {tensor.name: tensor for tensor in given.tensors}
    return normalise(given.formula, given.constants, given.extents, known, "nest")[0]


def touched(nest: Contraction) -> Counter[tuple[int, ...]]:
    """The flat cells of the output and of every operand, for each value of all axes whose guards hold."""
    cells = Counter[tuple[int, ...]]()
    names = [name for name, _ in nest.free + nest.reduced]
    for values in product(*(range(extent) for _, extent in nest.free + nest.reduced)):
        at = dict(zip(names, values, strict=True))
        if all(guard.low <= guard.index.value(at) < guard.high for guard in nest.guards):
            every = (nest.output, *nest.loads, *nest.late_loads)
            cells[tuple(operand.address.value(at) for operand in every)] += 1
    return cells


# Without lookups, whose cells depend on data.
PLAIN = [name for name, given in EQUATIONS.items() if name not in ("gather", "picked", "upsampled", "depth to space")]


@pytest.mark.parametrize("name", PLAIN)
def test_rewrites_reach_the_same_cells(name: str) -> None:
    for nest in contractions(EQUATIONS[name]):
        wanted = touched(nest)
        split = split_dimensions(nest)
        assert touched(split) == wanted
        fused, _ = fuse_axes(split)
        assert touched(fused) == wanted
        assert touched(order_reductions(fused, fused.free[-1][0] if fused.free else None)) == wanted


def test_a_pointwise_convolution_becomes_a_product_of_matrices() -> None:
    nest, fused = fuse_axes(contractions(EQUATIONS["conv 1x1"])[0])
    assert len(fused) == 2
    assert sorted(extent for _, extent in nest.free) == [10, 24]
    assert dict(nest.reduced) == {"c": 7}
    assert [operand.shape for operand in nest.loads] == [(24, 7), (7, 10)]


def test_an_elementwise_equation_becomes_one_axis() -> None:
    nest, _ = fuse_axes(contractions(case("y[n,i,c] = x[n,i,c] * 2", {"x": (2, 3, 5)}))[0])
    assert [extent for _, extent in nest.free] == [30]


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("z[i,j] = x[j,i]", {"x": (4, 3)}),  # not neighbours in this order
        ("z[i,j] = x[i,j] * y[j]", {"x": (3, 4), "y": (4,)}),  # one operand holds only one of them
        ("z[i,j] = x[i,j] + i", {"x": (3, 4)}),  # the axis' own number is a value
        ("z[i] = argmax(j,k) x[i,j,k]", {"x": (3, 4, 5)}),  # winners are numbered by both
        ("z[i,j] = sum(k : k <= i) x[i,j] * y[i,j,k]", {"x": (3, 4), "y": (3, 4, 5)}),  # a guard on one
    ],
)
def test_what_cannot_be_fused_stays(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    nest = contractions(case(text, shapes))[0]
    assert fuse_axes(nest) == (nest, ())


def test_mixed_radix_dimensions_are_split() -> None:
    nest = split_dimensions(contractions(EQUATIONS["maxout"])[0])
    (operand,) = nest.loads
    assert operand.shape == (5, 6, 4)
    assert operand.index == (Affine.name("n"), Affine.name("c"), Affine.name("k"))


def test_a_dimension_that_is_not_filled_is_not_split() -> None:
    nest = contractions(case("y[n,c] = max(k) x[n,c*4+k]", {"x": (5, 25)}, {}, {"c": 6, "k": 4}))[0]
    assert split_dimensions(nest) == nest


def test_binding_reaches_guards_and_positions() -> None:
    nest = contractions(EQUATIONS["max pool, winners"])[0]
    assert nest.position is not None
    bound = bind_contraction(nest, {"s": Affine.of(2, {"s": -1})})
    assert bound.position == nest.position.substitute({"s": Affine.of(2, {"s": -1})})
    assert {name for guard in bound.guards for name in guard.index.names} == {"i", "j", "s", "t"}
    assert bound != nest


def test_axes_walked_backwards_are_turned_round() -> None:
    nest = contractions(case("z[i] = sum(s) x[i-s+3]", {"x": (9,)}, {}, {"i": 6, "s": 4}))[0]
    (operand,) = order_reductions(nest, "i").loads
    assert operand.address.coefficient("s") == 1
    winner = contractions(case("z[i] = argmax(s) x[i-s+3]", {"x": (9,)}, {}, {"i": 6, "s": 4}))[0]
    assert order_reductions(winner, "i") == winner
