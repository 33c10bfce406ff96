"""Products of matrices of a file against ONNX Runtime, and NumPy."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import DataError, PellucidError, ShapeError
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.nn.equations.dense import linear
from support.onnx_files import agrees, model_of, own_outputs


def _normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


SHIFTS = {"none": None, "columns": (4,), "row": (1, 4), "column": (5, 1), "all": (5, 4), "one": (1,), "scalar": ()}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("known", [(), ("b", "c")])
def test_gemm(shift: str, turned: tuple[int, int], known: tuple[str, ...]) -> None:
    scaled = shift in ("columns", "column")
    attributes = {"transA": turned[0], "transB": turned[1]} | ({"alpha": 0.5, "beta": 2.0} if scaled else {})
    inputs = {"a": _normal(*((3, 5) if turned[0] else (5, 3))), "b": _normal(*((4, 3) if turned[1] else (3, 4)))}
    shape = SHIFTS[shift]
    if shape is not None:
        inputs["c"] = _normal(*shape)
    agrees(model_of("Gemm", inputs, attributes, opset=13, known=known), inputs)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_is_the_linear_layer_of_nn(turned: int) -> None:
    inputs = {"a": _normal(5, 3), "b": _normal(*((4, 3) if turned else (3, 4))), "c": _normal(1, 4)}
    graph = read(model_of("Gemm", inputs, {"transB": turned}, opset=13, known=("b", "c")))
    (place,) = trace(graph, {"a": Open((5, 3), np.dtype(np.float32), (0, 1))}).places
    stage = place.layer.stage()
    assert stage.system == linear((5, 3), (3, 4), (4,))
    assert [(p.name, p.shape, p.trained) for p in stage.parameters] == [("weight", (3, 4), True), ("bias", (4,), True)]


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_gemm_with_beta_0_reads_no_shift(beta: float) -> None:
    inputs = {"a": _normal(2, 3), "b": _normal(3, 4), "c": np.full(4, np.nan, np.float32)}
    (y,) = own_outputs(model_of("Gemm", inputs, {"beta": beta}, opset=13, known=("c",)), inputs)
    assert np.isnan(y).all() == bool(beta)


MATRICES = [
    ((5, 3), (3, 4)),
    ((2, 5, 3), (3, 4)),
    ((2, 6, 5, 3), (2, 6, 3, 4)),
    ((2, 1, 5, 3), (6, 3, 4)),
    ((5, 3), (2, 3, 4)),
    ((3,), (3, 4)),
    ((5, 3), (3,)),
    ((3,), (3,)),
    ((2, 6, 5, 3), (3,)),
    ((3,), (2, 3, 4)),
    ((1, 1), (1, 4)),
]


@pytest.mark.parametrize(("left", "right"), MATRICES)
@pytest.mark.parametrize("known", [(), ("b",)])
def test_matmul(left: Any, right: Any, known: tuple[str, ...]) -> None:
    inputs = {"a": _normal(*left), "b": _normal(*right)}
    agrees(model_of("MatMul", inputs, opset=13, known=known), inputs)


SUMS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
    ("bhid, bhjd -> bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("ii->i", [(3, 3)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("i,j,k->kij", [(2,), (3,), (4,)]),
    ("xyz,nc->xn", [(2, 3, 4), (5, 6)]),
]


@pytest.mark.parametrize(("equation", "shapes"), SUMS)
def test_einsum(equation: str, shapes: Any) -> None:
    arrays = [_normal(*shape, seed=number) for number, shape in enumerate(shapes)]
    inputs = {f"x{number}": array for number, array in enumerate(arrays)}
    (y,) = own_outputs(model_of("Einsum", inputs, {"equation": equation}, opset=12), inputs)
    expected = np.einsum(equation, *arrays)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


ERRORS = [
    ("Gemm", {"transB": 2}, [(2, 3), (3, 4)], DataError, "attribute `transB` (=2) must be from 0 to 1"),
    ("Gemm", {"alpha": float("nan")}, [(2, 3), (3, 4)], DataError, "attribute `alpha` (=nan) must be finite"),
    ("Gemm", {}, [(2, 3, 1), (3, 4)], DataError, "input 0 (2, 3, 1) must have 2 dimensions"),
    ("Gemm", {}, [(2, 3), (4, 4)], ShapeError, "its matrices (2, 3) and (4, 4) must agree in the middle"),
    (
        "Gemm",
        {},
        [(2, 3), (3, 4), (3, 2, 4)],
        ShapeError,
        "input 2 (3, 2, 4) must broadcast to the result (2, 4)",
    ),
    (
        "MatMul",
        {},
        [(2, 3), (4, 4)],
        ShapeError,
        "inputs (2, 3) and (4, 4) must agree in the axis that is summed: 3, 4",
    ),
    ("MatMul", {}, [(2, 2, 3), (4, 3, 4)], ShapeError, "shapes (2,), (4,) do not broadcast to one"),
    ("MatMul", {}, [(), (4, 4)], DataError, "inputs () and (4, 4) must have at least 1 dimension"),
    (
        "Einsum",
        {"equation": "ij,jk->"},
        [(2, 3)],
        DataError,
        "attribute `equation` (='ij,jk->') must have 1 terms, has 2",
    ),
    ("Einsum", {"equation": "i$->i"}, [(2, 3)], DataError, "attribute `equation` (='i$->i') is no Einstein sum"),
    (
        "Einsum",
        {"equation": "i->i"},
        [(2, 3)],
        DataError,
        "attribute `equation` (='i->i') has 1 indices for an input (2, 3)",
    ),
    (
        "Einsum",
        {"equation": "ij->ik"},
        [(2, 3)],
        DataError,
        "attribute `equation` (='ij->ik') must name indices of the inputs once in its result",
    ),
    ("Einsum", {"equation": "ii->i"}, [(2, 3)], ShapeError, "index `i` has two extents: 2 and 3"),
]


@pytest.mark.parametrize(("op", "attributes", "shapes", "kind", "message"), ERRORS)
def test_errors(op: str, attributes: Any, shapes: Any, kind: type[PellucidError], message: str) -> None:
    inputs = {f"x{number}": _normal(*shape) for number, shape in enumerate(shapes)}
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=13), inputs)
    assert str(caught.value) == f"node 'it' ({op}): {message}"
