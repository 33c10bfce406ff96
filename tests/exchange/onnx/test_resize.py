"""Resize and Upsample of a file against ONNX Runtime, with attributes that are drawn."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError, OutOfMemoryError
from pellucid.exchange.onnx.operators.interpolation import Axis, taps
from support.onnx_files import agrees, model_of, own_outputs

COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def _floats(*values: float) -> Any:
    return np.array(values, np.float32)


def _picture(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(30))
def test_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mode = ("nearest", "linear", "cubic")[seed % 3]
    opset = int(rng.choice([11, 13, 18, 19]))
    coordinates = str(rng.choice(COORDINATES if mode != "cubic" else COORDINATES[:4]))
    x = _picture(rng, 2, 3, int(rng.integers(4, 9)), int(rng.integers(4, 9)))
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = str(rng.choice(ROUNDINGS))
    if mode == "cubic":
        attributes |= {"cubic_coeff_a": float(rng.choice([-0.5, -0.75])), "exclude_outside": int(rng.integers(2))}
    inputs: dict[str, Any] = {"x": x, "roi": None, "scales": None, "sizes": None}
    if coordinates == "tf_crop_and_resize":
        inputs["roi"] = _floats(0, 0, 0.2, -0.1, 1, 1, 0.7, 1.2)
        attributes["extrapolation_value"] = 2.5
    # Factors that are powers of two, so that a coordinate is exact; sizes of all kinds.
    if rng.integers(2):
        inputs["scales"] = _floats(1, 1, *rng.choice([0.5, 0.25, 2, 4, 1.5], 2))
    else:
        # Of a region ONNX Runtime reads all where an axis keeps its extent.
        least = 10 if coordinates == "tf_crop_and_resize" else 3
        inputs["sizes"] = np.array([*x.shape[:2], *rng.integers(least, 14, 2)], np.int64)
    if opset == 11:
        inputs = {name: _floats() if a is None and name in ("roi", "scales") else a for name, a in inputs.items()}
    model = model_of("Resize", inputs, attributes, opset=opset, known=("roi", "scales", "sizes"))
    agrees(model, inputs)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(5, 3), (11, 4), (20, 13)])
def test_antialias(mode: str, size: tuple[int, int]) -> None:
    x = _picture(np.random.default_rng(0), 1, 2, 12, 10)
    inputs = {"x": x, "roi": None, "scales": None, "sizes": np.array([1, 2, *size], np.int64)}
    # With `exclude_outside` ONNX Runtime and the specification agree.
    attributes = {"mode": mode, "antialias": 1, "exclude_outside": 1}
    agrees(model_of("Resize", inputs, attributes, opset=18, known=("sizes",)), inputs, atol=1e-4)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_axes_and_aspect(policy: str) -> None:
    x = _picture(np.random.default_rng(0), 1, 2, 5, 8)
    inputs = {"x": x, "roi": None, "scales": None, "sizes": np.array([9, 11], np.int64)}
    attributes = {"mode": "linear", "axes": [3, 2], "keep_aspect_ratio_policy": policy}
    agrees(model_of("Resize", inputs, attributes, opset=18, known=("sizes",)), inputs)


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 7), (1, 2, 3, 4, 5)])
def test_every_rank(shape: tuple[int, ...]) -> None:
    x = _picture(np.random.default_rng(0), *shape)
    scales = _floats(*[1] * (len(shape) - 1), 2) if len(shape) < 4 else _floats(1, 1, 2, 2, 2)
    for mode in ("nearest", "linear"):
        inputs = {"x": x, "roi": None, "scales": scales}
        agrees(model_of("Resize", inputs, {"mode": mode}, opset=13, known=("scales",)), inputs)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_before_opset_11(mode: str) -> None:
    x = _picture(np.random.default_rng(0), 1, 2, 6, 5)
    for factors in ((2, 3), (0.5, 0.6), (1.5, 2)):
        inputs = {"x": x, "scales": _floats(1, 1, *factors)}
        agrees(model_of("Resize", inputs, {"mode": mode}, opset=10, known=("scales",)), inputs)
    inputs = {"x": x, "scales": _floats(1, 1, 2, 3)}
    agrees(model_of("Upsample", inputs, {"mode": mode}, opset=9, known=("scales",)), inputs)
    attributes = {"mode": mode, "scales": [1.0, 1.0, 2.0, 3.0]}
    agrees(model_of("Upsample", {"x": x}, attributes, opset=7), {"x": x})


def test_half_pixel_symmetric_by_hand() -> None:
    # 3 cells to 2 by the factor 0.8 (2.4 cells): the middle of both stays the middle, 1 cell.
    found = taps(Axis(3, 2, 0.8), "half_pixel_symmetric")
    centres = (found.cells * found.weights).sum(1)
    np.testing.assert_allclose(centres, [1 - 0.5 / 0.8, 1 + 0.5 / 0.8], atol=1e-6)


def test_align_corners_reads_the_corners_whatever_the_factor() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4)
    inputs = {"x": x, "roi": None, "scales": _floats(1, 1, 1, 0.6)}
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    model = model_of("Resize", inputs, attributes, opset=13, known=("scales",))
    np.testing.assert_array_equal(own_outputs(model, inputs)[0], [[[[0, 3], [4, 7]]]])
    agrees(model, inputs)


def test_sizes_that_come_with_each_call() -> None:
    x = _picture(np.random.default_rng(0), 1, 2, 6, 5)
    for size in ([1, 2, 9, 9], [1, 2, 3, 4]):
        inputs = {"x": x, "roi": None, "scales": None, "sizes": np.array(size, np.int64)}
        agrees(model_of("Resize", inputs, {"mode": "linear"}, opset=13), inputs)


def _refusal(kind: type[Exception], attributes: dict[str, Any], opset: int = 19, **arrays: Any) -> str:
    inputs = {"x": np.zeros((1, 1, 4, 4), np.float32), "roi": None, "scales": None, "sizes": None, **arrays}
    with pytest.raises(kind) as caught:
        own_outputs(model_of("Resize", inputs, attributes, opset=opset, known=("roi", "scales", "sizes")), inputs)
    return str(caught.value)


def test_errors() -> None:
    ones = _floats(1, 1, 2, 2)
    assert _refusal(DataError, {}) == "node 'it' (Resize): one of `scales` and `sizes` must be given, none is"
    assert _refusal(DataError, {}, scales=ones, sizes=np.array([1, 1, 2, 2])) == (
        "node 'it' (Resize): one of `scales` and `sizes` must be given, both are"
    )
    assert _refusal(DataError, {}, scales=ones[:3]) == (
        "node 'it' (Resize): `scales` (1.0, 1.0, 2.0) must have 4 numbers, has 3"
    )
    assert _refusal(DataError, {}, scales=_floats(1, 1, 0, 2)) == (
        "node 'it' (Resize): `scales` (1.0, 1.0, 0.0, 2.0) must be greater than 0"
    )
    assert _refusal(DataError, {}, scales=_floats(1, 1, np.inf, 2)) == (
        "node 'it' (Resize): input 2 (=(1.0, 1.0, inf, 2.0)) must be finite"
    )
    assert _refusal(DataError, {}, sizes=np.array([1, 1, 0, 2])) == (
        "node 'it' (Resize): `sizes` (1, 1, 0, 2) must be at least 1"
    )
    assert _refusal(DataError, {}, sizes=np.array([2, 2])) == (
        "node 'it' (Resize): `sizes` (2, 2) must have 4 numbers, has 2"
    )
    assert _refusal(DataError, {"mode": "lanczos"}, scales=ones) == (
        "node 'it' (Resize): attribute `mode` (='lanczos') must be one of cubic, linear, nearest"
    )
    assert _refusal(DataError, {"coordinate_transformation_mode": "half_pixel_symmetric"}, 18, scales=ones) == (
        "node 'it' (Resize): attribute `coordinate_transformation_mode` (='half_pixel_symmetric') must be one of "
        "align_corners, asymmetric, half_pixel, pytorch_half_pixel, tf_crop_and_resize"
    )
    assert _refusal(DataError, {"coordinate_transformation_mode": "tf_crop_and_resize"}, scales=ones) == (
        "node 'it' (Resize): `roi` () must have 8 numbers, has 0"
    )
    assert _refusal(DataError, {"axes": [2, 2]}, scales=ones[:2]) == (
        "node 'it' (Resize): `axes` (=(2, 2)) names an axis twice"
    )
    long = np.zeros((1, 1, 1, 20000), np.float32)
    assert _refusal(ArgumentError, {"mode": "linear", "antialias": 1}, x=long, scales=_floats(1, 1, 1, 0.0001)) == (
        "node 'it' (Resize): with `antialias` a scale (=0.0001) must be at least 0.000976562"
    )


@pytest.mark.parametrize(
    "given", [{"scales": _floats(1, 1, 1e9, 1e9)}, {"sizes": np.array([1, 1, 2**40, 2**40])}], ids=["scales", "sizes"]
)
def test_a_gigantic_result_is_refused_before_anything_is_made(given: dict[str, Any]) -> None:
    inputs = {"x": np.zeros((1, 1, 4, 4), np.float32), "roi": None, "scales": None, "sizes": None, **given}
    model = model_of("Resize", inputs, {}, opset=13, known=("scales", "sizes"))
    with pytest.raises(OutOfMemoryError):
        own_outputs(model, inputs)
