"""The call contract: every way in which arrays can be wrong, and its words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emit.planted import copy_program
from pellucid.emit import compile_program
from pellucid.errors import ArgumentError, DtypeError, PellucidError, ShapeError
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, For, Group, Load, Lookup, Nest, Operand, Program, Store, Tensor, Tile

SHAPE = (6, 13)


def good() -> NDArray[Any]:
    return np.zeros(SHAPE, "float32")


def read_only() -> NDArray[Any]:
    array = good()
    array.flags.writeable = False
    return array


def misaligned() -> NDArray[Any]:
    return np.zeros(4 * 78 + 1, "uint8")[1:].view("float32").reshape(SHAPE)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": good()}, ArgumentError, "`z` is missing; the program has x, z"),
        (
            {"x": good(), "z": good(), "y": good()},
            ArgumentError,
            "`y` is not an array of this program; it has x, z",
        ),
        ({"x": [0.0], "z": good()}, ArgumentError, "`x` must be a numpy array, not list"),
        (
            {"x": good().astype("float64"), "z": good()},
            DtypeError,
            "`x` has dtype float64; the program needs float32",
        ),
        ({"x": good().astype(">f4"), "z": good()}, DtypeError, "`x` has dtype >f4; the program needs float32"),
        ({"x": good()[:5], "z": good()}, ShapeError, "`x` has shape (5, 13); the program needs (6, 13)"),
        (
            {"x": np.zeros((13, 6), "float32").T, "z": good()},
            ArgumentError,
            "`x` must be C-contiguous; its strides are (4, 24) bytes",
        ),
        (
            {"x": misaligned(), "z": good()},
            ArgumentError,
            "`x` starts at an address that is no multiple of its elements' 4 bytes",
        ),
        ({"x": good(), "z": read_only()}, ArgumentError, "`z` is an output and must be writeable"),
    ],
)
def test_refused_arrays(arrays: dict[str, Any], error: type[PellucidError], message: str) -> None:
    with pytest.raises(error) as caught:
        compile_program(copy_program()).call(arrays)
    assert str(caught.value) == message


def test_read_only_inputs_are_welcome() -> None:
    compile_program(copy_program()).call({"x": read_only(), "z": good()})


@pytest.mark.parametrize("shift", [0, 1, 77])
def test_an_output_overlaps_nothing(shift: int) -> None:
    memory = np.zeros(78 + shift, "float32")
    arrays = {"x": memory[:78].reshape(SHAPE), "z": memory[shift:].reshape(SHAPE)}
    with pytest.raises(ArgumentError) as caught:
        compile_program(copy_program()).call(arrays)
    assert str(caught.value) == "`z` is an output and must not overlap `x` in memory"


def test_neighbours_do_not_overlap() -> None:
    memory = np.arange(156, dtype="float32")
    compile_program(copy_program()).call({"z": memory[:78].reshape(SHAPE), "x": memory[78:].reshape(SHAPE)})
    np.testing.assert_array_equal(memory[:78], memory[78:])


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads(threads: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        compile_program(copy_program()).call({"x": good(), "z": good()}, threads)
    assert str(caught.value) == f"`threads` (={threads}) must be from 1 to 1024"


def test_number_of_pointers() -> None:
    with pytest.raises(ArgumentError, match=r"^`pointers` has 1 addresses; the program needs 2$"):
        compile_program(copy_program()).run([0])
    with pytest.raises(ArgumentError, match=r"^`pointers` has no address for the input x$"):
        compile_program(copy_program()).run([None, None])


def gather_program(offset: int = 0, stride: int = 1) -> Program:
    """z[n] = logp[n, stride*t[n] + offset], of 4 rows of 10."""
    logp, t = Tensor("logp", "float32", (4, 10), "input"), Tensor("t", "int64", (4,), "input")
    z = Tensor("z", "float32", (4,), "output")
    row = Affine.name("n")
    chosen = Lookup(1, Operand("t", (4,), (row,)), stride)
    load = Load(Operand("logp", (4, 10), (row, Affine(offset)), lookups=(chosen,)))
    tile = Tile((), "k", (Group(0, 1, 1),), None, (), (Store(Operand("z", (4,), (row,)), load),))
    return Program((logp, t, z), (Nest("gather", (For("n", Bound.of(0), Bound.of(4), 1, (tile,)),)),))


@pytest.mark.parametrize(
    ("offset", "stride", "label", "span"),
    [(0, 1, 12, "0 .. 9"), (0, 1, -1, "0 .. 9"), (-2, 1, 1, "2 .. 11"), (1, 3, 3, "0 .. 2"), (9, -2, 5, "0 .. 4")],
)
def test_labels_out_of_range(offset: int, stride: int, label: int, span: str) -> None:
    labels = np.array([2, 2, 2, label])
    arrays = {"logp": np.zeros((4, 10), "float32"), "t": labels, "z": np.zeros(4, "float32")}
    with pytest.raises(ArgumentError) as caught:
        compile_program(gather_program(offset, stride)).call(arrays)
    assert str(caught.value) == f"t[3] = {label} is outside {span}, the range of index 1 of logp"


def test_labels_at_the_ends_of_their_range() -> None:
    logp = np.arange(40, dtype="float32").reshape(4, 10)
    z = np.zeros(4, "float32")
    compile_program(gather_program()).call({"logp": logp, "t": np.array([0, 9, 9, 0]), "z": z})
    assert z.tolist() == [0, 19, 29, 30]
