"""Formulas as contractions: stages, guards, terms that are skipped, tables."""

from __future__ import annotations

import pytest

from pellucid.errors import ShapeError
from pellucid.language.affine import Affine
from pellucid.language.extents import infer_extents, output_shape
from pellucid.language.parse import parse
from pellucid.language.render import to_text
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.nest import Guard, Position, Tensor
from pellucid.schedule.normal import normalise, stage
from schedule.cases import EQUATIONS, Case, case


def normal(given: Case) -> tuple[list[Contraction], list[Tensor]]:
    known = {tensor.name: tensor for tensor in given.tensors}
    return normalise(given.formula, given.constants, given.extents, known, "nest")


def stages(text: str, **extents: int) -> list[str]:
    return [to_text(formula) for formula in stage(parse(text), extents, "t")]


def test_softmax_is_staged_and_its_maximum_computed_once() -> None:
    assert stages("p[n,k] = exp(z[n,k] - max(l) z[n,l]) / sum(j) exp(z[n,j] - max(l) z[n,l])", n=4, k=5, j=5, l=5) == [
        "t.1[n] = max(l) z[n,l]",
        "t.2[n] = sum(j) exp(z[n,j] - t.1[n])",
        "p[n,k] = exp(z[n,k] - t.1[n]) / t.2[n]",
    ]


def test_the_longest_reduction_that_has_all_axes_stays() -> None:
    assert stages("y[n] = sum(a) x[n,a] + sum(b) w[n,b]", n=3, a=4, b=9) == [
        "t.1[n] = sum(a) x[n,a]",
        "y[n] = t.1[n] + sum(b) w[n,b]",
    ]


def test_equal_bodies_over_other_extents_are_not_one() -> None:
    """The same text under other names is the same number only if the axes are as long."""
    same = stages("y[n] = q[n] * (sum(a) x[a]) * (sum(b) x[b])", n=3, a=4, b=4)
    other = stages("y[n] = q[n] * (sum(a) x[a]) * (sum(b) x[b])", n=3, a=4, b=5)
    assert len(same) == 2
    assert len(other) == 3


def test_a_sum_that_is_written_twice_is_computed_once() -> None:
    twice = "a[n,k] = where(sum(c) x[n,c]*w[c,k] > 0, sum(d) x[n,d]*w[d,k], 0)"
    (only,) = stages(twice, n=2, k=3, c=4, d=4)
    assert only == "a[n,k] = where(sum(c) x[n,c]*w[c,k] > 0, sum(c) x[n,c] * w[c,k], 0)"
    assert len(stages(twice, n=2, k=3, c=4, d=5)) == 2


def test_a_temporary_lies_as_what_is_read() -> None:
    """The output's axes come first in the scope; an innermost axis that fills no vector changes nothing."""
    text = "d[n,c] = sum(i,j) g[n,i,j,c] * [argmax(s) x[n,i,j+s,c] == 1]"
    sizes = {"n": 2, "i": 5, "j": 6, "s": 2}
    assert stages(text, c=8, **sizes)[0] == "t.1[n,i,j,c] = argmax(s) x[n,i,j+s,c]"
    assert stages(text, c=5, **sizes)[0] == "t.1[n,i,j,c] = argmax(s) x[n,i,j+s,c]"
    assert stages(text, c=4, **sizes)[0] == "t.1[n,c,i,j] = argmax(s) x[n,i,j+s,c]"


def test_winners_are_floats_where_floats_count_as_far() -> None:
    def winners(text: str, **shapes: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        formula = parse(text)
        extents = infer_extents(formula, {}, shapes, {})
        shapes["y"] = output_shape(formula, {}, extents)
        known = {name: Tensor(name, "float32", shape, "input") for name, shape in shapes.items()}
        return [(tensor.dtype, tensor.shape) for tensor in normalise(formula, {}, extents, known, "t")[1]]

    compared = "y[n] = sum(k) g[n,k] * [argmax(s) x[n,s] == k]"
    assert winners(compared, g=(4, 3), x=(4, 3)) == [("float32", (4,))]
    assert winners(compared, g=(1, 3), x=(1, (1 << 24) + 2)) == [("int64", (1,))]


def test_one_statement_needs_no_stage() -> None:
    for text in ("z[n,k] = max((sum(c) x[n,c] * w[c,k]) + b[k], 0)", "y[i] = x[i] * 2"):
        assert stages(text, n=2, k=3, c=4, i=5) == [to_text(parse(text))]


def test_temporaries_have_the_shape_of_their_axes() -> None:
    _, new = normal(EQUATIONS["staged"])
    assert [(tensor.shape, tensor.role, tensor.dtype) for tensor in new] == [((4,), "temporary", "float32")] * 2


def test_an_index_that_can_leave_its_array_becomes_a_guard_of_the_term() -> None:
    (nest,), _ = normal(EQUATIONS["conv"])
    rows = Affine.of(-1, {"i": 1, "s": 1})
    columns = Affine.of(-1, {"j": 1, "t": 1})
    assert set(nest.guards) == {Guard(rows, 0, 5), Guard(columns, 0, 6)}


def test_an_index_that_stays_inside_has_no_guard() -> None:
    (nest,), _ = normal(EQUATIONS["max pool"])
    assert nest.guards == ()
    assert all(not operand.guards for operand in nest.loads)


def test_a_sum_of_accesses_is_not_skipped_where_one_is_absent() -> None:
    (nest,), _ = normal(case("z[i] = sum(s) (x[i+s-1] + w[s])", {"x": (5,), "w": (3,)}, {}, {"i": 5}))
    assert nest.guards == ()
    assert [bool(operand.guards) for operand in nest.loads] == [True, False]


def test_axes_of_extent_1_are_gone() -> None:
    (nest,), _ = normal(EQUATIONS["every axis of extent 1"])
    assert nest.free == nest.reduced == ()
    assert nest.output.address == Affine()


def test_winners_are_numbered_in_the_order_written() -> None:
    (nest,), _ = normal(case("p[n] = argmax(t,s) x[n,s,t]", {"x": (2, 3, 5)}))
    assert nest.position == Affine.of(0, {"t": 3, "s": 1})


def test_quotients_and_remainders_are_solved_where_they_are_digits() -> None:
    """Depth to space: rows and columns are seen as (number, digit), and every index is affine."""
    (nest,), tables = normal(EQUATIONS["depth to space"])
    assert tables == []
    assert all(not operand.lookups for operand in (nest.output, *nest.late_loads))
    assert sorted(extent for _, extent in nest.free) == [2, 2, 3, 3, 4]


def test_integer_arithmetic_that_is_not_affine_becomes_a_table() -> None:
    (nest,), (table,) = normal(case("y[i] = x[(i*i)%7]", {"x": (7,)}, {}, {"i": 6}))
    assert (table.role, table.dtype, table.values) == ("table", "int64", (0, 1, 4, 2, 2, 4))
    looked_up = [lookup.operand.tensor for operand in nest.late_loads for lookup in operand.lookups]
    assert looked_up == [table.name]


def test_integer_values_are_positions() -> None:
    (nest,), _ = normal(case("y[i,j] = x[i,j] * (2*i + j)", {"x": (5, 9)}))
    assert Position(Affine.of(0, {"i": 2, "j": 1})) in nest.result.arguments  # type: ignore[union-attr]


def test_a_table_may_not_be_larger_than_memory_allows() -> None:
    huge = case("y[i,j] = x[(i*j)%7]", {"x": (7,)}, {}, {"i": 5000, "j": 5000})
    with pytest.raises(ShapeError, match="needs a table of 25000000 integers; at most 16777216"):
        normal(huge)
