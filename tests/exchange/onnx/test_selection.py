"""Operators that choose, against ONNX Runtime: on what the network computes, with known indices and with fresh ones."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError
from support.onnx_files import agrees, model_of, own_outputs

I64 = np.int64
Y_AND_PLACES = [("y", np.float32), ("p", np.int64)]


def _normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [1, [0, -1, 2], [[0, 1], [-3, 2]]])
def test_gather(axis: int, indices: Any, known: bool) -> None:
    inputs = {"x": _normal(0, 3, 4, 5), "i": np.array(indices, I64)}
    agrees(model_of("Gather", inputs, {"axis": axis}, opset=13, known=("i",) if known else ()), inputs)


def test_names_of_tensors_are_no_names_of_axes() -> None:
    # With so many axes all names of axes are used.
    x = _normal(0, 2, 1, 2, 1, 2, 1, 2, 3)
    for axis in range(8):
        inputs = {"x": x, "i": np.array([-1], I64)}
        agrees(model_of("Gather", inputs, {"axis": axis}, opset=13), inputs)
    inputs = {"x": x, "k": np.array([2], I64)}
    agrees(model_of("TopK", inputs, opset=11, known=("k",), outputs=Y_AND_PLACES), inputs)
    x = x.reshape(2, 2, 2, 1, 2, 1, 3)
    inputs = {"x": x, "i": np.array([[1], [0]], I64), "u": x}
    agrees(model_of("ScatterND", inputs, opset=18, known=("i",)), inputs)


def test_gather_of_rows_of_known_numbers_is_an_embedding() -> None:
    inputs = {"x": _normal(0, 7, 3), "i": np.array([[1, -1], [0, 6]], np.int32)}
    agrees(model_of("Gather", inputs, opset=13, known=("x",)), inputs)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_gather_elements(axis: int, known: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": _normal(0, 3, 4), "i": rng.integers(-3, 3, (2, 4) if axis == 0 else (3, 6))}
    agrees(model_of("GatherElements", inputs, {"axis": axis}, opset=13, known=("i",) if known else ()), inputs)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("width", [1, 2])
def test_gather_nd(width: int, batch: int, known: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": _normal(0, 2, 3, 4), "i": rng.integers(0, 2, (2, 5, width))}
    if known:
        inputs["i"] -= 2
    agrees(model_of("GatherND", inputs, {"batch_dims": batch}, opset=12, known=("i",) if known else ()), inputs)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keeps", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_arg_extremes(op: str, axis: int, last: int, keeps: int) -> None:
    x = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.float32)
    attributes = {"axis": axis, "keepdims": keeps, "select_last_index": last}
    agrees(model_of(op, {"x": x}, attributes, opset=13, outputs=[("y", np.int64)]), {"x": x})


@pytest.mark.parametrize("opset", [1, 10, 11])
@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(opset: int, k: int, axis: int) -> None:
    # Equal numbers: the first ones come first.
    x = np.random.default_rng(0).integers(0, 4, (6, 7)).astype(np.float32)
    inputs: dict[str, Any] = {"x": x}
    attributes: dict[str, Any] = {"axis": axis}
    if opset == 1:
        attributes["k"] = k
    else:
        inputs["k"] = np.array([k], I64)
    for largest in (1, 0) if opset == 11 else (1,):
        if opset == 11:
            attributes["largest"] = largest
        model = model_of("TopK", inputs, attributes, opset=max(opset, 7), known=("k",), outputs=Y_AND_PLACES)
        agrees(model, inputs)


def test_top_k_of_infinities() -> None:
    x = np.array([[1, np.inf, -np.inf, 2, np.inf]], np.float32)
    inputs = {"x": x, "k": np.array([4], I64)}
    agrees(model_of("TopK", inputs, opset=11, known=("k",), outputs=Y_AND_PLACES), inputs)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4), (3, 4)), ((4,), (3, 1), ()), ((3, 1), (4,), (3, 4))])
@pytest.mark.parametrize("known", [True, False])
def test_where(shapes: Any, known: bool) -> None:
    condition = np.random.default_rng(0).random(shapes[0]) < 0.5
    inputs = {"d": condition, "x": _normal(1, *shapes[1]), "y0": _normal(2, *shapes[2])}
    agrees(model_of("Where", inputs, opset=16, known=("d",) if known else ()), inputs)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis: int) -> None:
    inputs = {"i": np.array([[0, -1, 3], [7, 2, -9]], I64), "d": np.array(5, I64), "v": _normal(0, 2)}
    agrees(model_of("OneHot", inputs, {"axis": axis}, opset=11, known=("d",)), inputs)


@pytest.mark.parametrize("axis", [0, -1, None])
def test_compress(axis: int | None) -> None:
    inputs = {"x": _normal(0, 3, 4), "d": np.array([True, False, True])}
    agrees(model_of("Compress", inputs, {} if axis is None else {"axis": axis}, opset=11, known=("d",)), inputs)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter(reduction: str) -> None:
    rng = np.random.default_rng(0)
    attributes = {"reduction": reduction}
    rows = np.array([[2], [0], [2], [-1]] if reduction != "none" else [[2], [0], [1]], I64)
    inputs = {"x": _normal(0, 4, 3), "i": rows, "u": _normal(1, len(rows), 3)}
    agrees(model_of("ScatterND", inputs, attributes, opset=18, known=("i",)), inputs)
    cells = rng.integers(-4, 4, (3, 3)) if reduction != "none" else np.array([[0, 1, -1], [2, 0, 1], [-1, 2, 0]])
    inputs = {"x": _normal(0, 4, 3), "i": cells, "u": _normal(1, 3, 3)}
    agrees(model_of("ScatterElements", inputs, attributes, opset=18, known=("i",)), inputs)


def _refusal(kind: type[Exception], op: str, inputs: Any, attributes: Any = None, *, known: Any = ("i",)) -> str:
    outputs = Y_AND_PLACES if op == "TopK" else Y_AND_PLACES[:1]
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=18, known=known, outputs=outputs), inputs)
    return str(caught.value)


def test_errors() -> None:
    x = _normal(0, 3, 4)
    assert _refusal(DataError, "Gather", {"x": x, "i": np.array([0, 3])}) == (
        "node 'it' (Gather): input 1 has the index 3; indices of 3 are from -3 to 2"
    )
    assert _refusal(DataError, "Gather", {"x": x, "i": np.array([0.0])}) == (
        "node 'it' (Gather): input 1 is tensor(double), which Gather 18 does not take"
    )
    assert _refusal(DataError, "Gather", {"x": x, "i": np.array([0])}, {"axis": 2}) == (
        "node 'it' (Gather): `axis` (=2) must be from -2 to 1"
    )
    assert _refusal(ArgumentError, "Gather", {"x": x, "i": np.array([0, 3])}, known=()) == (
        "positions i of 3[1] = 3 is outside 0 .. 2, the range of index 0 of x"
    )
    assert _refusal(DataError, "GatherElements", {"x": x, "i": np.zeros((2, 5), I64)}) == (
        "node 'it' (GatherElements): indices of shape (2, 5) do not fit an input of shape (3, 4)"
    )
    assert _refusal(DataError, "GatherND", {"x": x, "i": np.zeros((2, 3), I64)}) == (
        "node 'it' (GatherND): indices of shape (2, 3) with `batch_dims` (=0) do not fit an input of shape (3, 4)"
    )
    assert _refusal(DataError, "TopK", {"x": x, "i": np.array([5])}) == (
        "node 'it' (TopK): `k` (=5) must be from 0 to 4, the extent of axis 1"
    )
    assert _refusal(ArgumentError, "TopK", {"x": _normal(0, 5000), "i": np.array([2])}) == (
        "node 'it' (TopK): `k` (=2) of 5,000 elements is not supported; of at most 4,096 it is"
    )
    many = {"x": x, "i": np.zeros((17, 1), I64), "u": _normal(0, 17, 4)}
    assert _refusal(ArgumentError, "ScatterND", many, {"reduction": "add"}) == (
        "node 'it' (ScatterND): 17 updates of one cell are not supported; up to 16 are"
    )
    assert _refusal(DataError, "ScatterND", {**many, "u": _normal(0, 16, 4)}) == (
        "node 'it' (ScatterND): indices (17, 1) and updates (16, 4) do not fit an input of shape (3, 4)"
    )
    assert _refusal(DataError, "Compress", {"x": x, "i": np.ones(5, bool)}, {"axis": 1}) == (
        "node 'it' (Compress): input 1 has 5 truths; axis 1 has 4 cells"
    )
