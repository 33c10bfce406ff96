"""Which cells one statement reads of another: told by boxes, judged here by cases worked out by hand."""

from __future__ import annotations

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, Constant, For, Group, Load, Operand, Statement, Store, Tile
from pellucid.schedule.touched import loaded, read_of, stored, touched


def row(tensor: str, first: int) -> Operand:
    """Cells `first` and on, as far as the loop `i` goes."""
    return Operand(tensor, (100,), (Affine.name("i") + first,))


def loop(rounds: int, *stores: Store, points: int = 1) -> Statement:
    """`rounds` rounds of tiles that store."""
    tiles = tuple(Tile((("p", points),), "k", (Group(0, 1, 1),), None, (), (store,)) for store in stores)
    return For("i", Bound.of(0), Bound.of(rounds), 1, tiles, parallel=True)


def test_boxes_that_meet_and_boxes_that_do_not() -> None:
    writer = loop(10, Store(row("a", 20), Constant(0.0)))
    for first, meets in ((10, False), (11, True), (29, True), (30, False)):
        reader = loop(10, Store(row("b", 0), Load(row("a", first))))
        assert read_of(writer, reader) == ({"a"} if meets else set())


def test_what_is_added_to_is_read() -> None:
    writer = loop(10, Store(row("a", 0), Constant(0.0)))
    adds = loop(10, Store(row("a", 0), Constant(1.0), Affine(1)))
    assert read_of(writer, adds) == {"a"}
    assert read_of(adds, writer) == set()
    assert (loaded((adds,)), stored((adds,))) == ({"a"}, {"a"})


def test_a_name_bound_twice_reaches_as_far_as_both() -> None:
    cell = Operand("a", (100,), (Affine.name("p"),))
    wide = Tile((("p", 9),), "k", (Group(0, 1, 1),), None, (), (Store(cell, Constant(0.0)),))
    narrow = Tile((("p", 2),), "k", (Group(0, 1, 1),), None, (), (Store(cell, Constant(0.0)),))
    writer = For("j", Bound.of(0), Bound.of(1), 1, (wide, narrow), parallel=True)
    assert read_of(writer, loop(1, Store(row("b", 0), Load(row("a", 8))))) == {"a"}
    assert read_of(writer, loop(1, Store(row("b", 0), Load(row("a", 9))))) == set()


def test_operands_in_reading_order() -> None:
    statement = loop(1, Store(row("b", 0), Load(row("a", 0))))
    assert [operand.tensor for operand in touched((statement,))] == ["a", "b"]
