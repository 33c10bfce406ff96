"""Pools of a file against ONNX Runtime, over what their attributes can be."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError, PellucidError, ShapeError
from support.onnx_files import agrees, model_of, own_outputs

Attributes = dict[str, Any]

WINDOWS: list[tuple[tuple[int, ...], Attributes]] = [
    ((2, 3, 9), {"kernel_shape": [3], "strides": [2], "pads": [2, 1]}),
    ((2, 3, 10), {"kernel_shape": [4], "dilations": [2], "pads": [3, 2]}),
    ((2, 3, 7, 8), {"kernel_shape": [2, 3]}),
    ((1, 2, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 2, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [0, 2, 2, 0]}),
    ((1, 2, 7, 8), {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}),
    ((1, 2, 8, 8), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ((1, 2, 6, 6), {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1}),
    ((1, 2, 9, 8), {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 0, 1], "strides": [1, 2]}),
    ((1, 2, 8, 7), {"kernel_shape": [3, 4], "strides": [2, 3], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 8, 7), {"kernel_shape": [4, 3], "strides": [3, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 8, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}),
    ((1, 2, 4, 5, 6), {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 1, 0, 0, 2, 1]}),
]


def _picture(*shape: int) -> Any:
    """Numbers of which many are equal, so that the first of equal maxima is asked for."""
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize(("shape", "attributes"), WINDOWS)
def test_max_pool(shape: Any, attributes: Attributes) -> None:
    inputs, other = {"x": _picture(*shape)}, {"x": _picture(3, shape[1] + 1, *shape[2:-1], shape[-1] + 2)}
    outputs = (("y", np.float32), ("at", np.int64))
    agrees(model_of("MaxPool", inputs, attributes, opset=12, outputs=outputs, of_any_size=True), inputs, other)


@pytest.mark.parametrize("number", [0, 3, 12])
def test_winners_counted_by_columns(number: int) -> None:
    shape, attributes = WINDOWS[number]
    # No two are equal: among equal ones ONNX Runtime takes the first by rows, whatever the storage order.
    inputs = {"x": np.random.default_rng(0).permutation(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)}
    outputs = (("y", np.float32), ("at", np.int64))
    agrees(model_of("MaxPool", inputs, attributes | {"storage_order": 1}, opset=12, outputs=outputs), inputs)


def test_a_padded_window_s_maximum_may_be_negative() -> None:
    inputs = {"x": np.full((1, 1, 2, 2), -3, np.float32)}
    model = model_of("MaxPool", inputs, {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}, opset=12)
    assert (own_outputs(model, inputs)[0] == -3).all()


@pytest.mark.parametrize(("shape", "attributes"), WINDOWS)
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool(shape: Any, attributes: Attributes, count_include_pad: int) -> None:
    inputs, other = {"x": _picture(*shape)}, {"x": _picture(2, shape[1], *shape[2:-1], shape[-1] + 1)}
    attributes = attributes | {"count_include_pad": count_include_pad}
    agrees(model_of("AveragePool", inputs, attributes, opset=19, of_any_size=True), inputs, other)


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_lp_pool(number: int) -> None:
    shape, attributes = WINDOWS[number]
    inputs = {"x": _picture(*shape)}
    agrees(model_of("LpPool", inputs, attributes | {"p": 1 + number % 3}, opset=18), inputs)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (1, 2, 3, 2, 4)])
def test_global_pool(op: str, shape: Any) -> None:
    attributes = {"p": len(shape) - 2} if op == "GlobalLpPool" else {}
    inputs, other = {"x": _picture(*shape)}, {"x": _picture(*shape[:-1], 7)}
    agrees(model_of(op, inputs, attributes, opset=12, of_any_size=True), inputs, other)


ERRORS = [
    ({}, DataError, "attribute `kernel_shape` is missing"),
    ({"kernel_shape": [2]}, DataError, "attribute `kernel_shape` (=(2,)) must have 2 numbers, has 1"),
    (
        {"kernel_shape": [2, 0]},
        DataError,
        "attribute `kernel_shape` (=(2, 0)) must have numbers from 1 to 2147483647",
    ),
    (
        {"kernel_shape": [2, 9]},
        ShapeError,
        "kernel width (=9, with dilation 1 reaching over 9) must be at most the padded input (=6)",
    ),
    (
        {"kernel_shape": [2, 2], "pads": [0, 0, 2, 0]},
        ArgumentError,
        "`pads` (=2) must be smaller than the window (=2): one lies in the padding",
    ),
    ({"kernel_shape": [2, 2], "ceil_mode": 2}, DataError, "attribute `ceil_mode` (=2) must be from 0 to 1"),
    ({"kernel_shape": [2, 2], "storage_order": 3}, DataError, "attribute `storage_order` (=3) must be from 0 to 1"),
]


@pytest.mark.parametrize(("attributes", "kind", "message"), ERRORS)
def test_errors(attributes: Attributes, kind: type[PellucidError], message: str) -> None:
    inputs = {"x": _picture(1, 2, 5, 6)}
    with pytest.raises(kind) as caught:
        own_outputs(model_of("MaxPool", inputs, attributes, opset=12), inputs)
    assert str(caught.value) == f"node 'it' (MaxPool): {message}"


def test_a_kernel_beyond_all_memory_is_refused_before_it_is_made() -> None:
    inputs = {"x": _picture(1, 1, 2, 2)}
    attributes = {"kernel_shape": [2**31 - 1] * 2, "pads": [2**31 - 2, 2**31 - 2, 0, 0]}
    with pytest.raises(PellucidError, match="bytes; at most"):
        own_outputs(model_of("MaxPool", inputs, attributes, opset=12), inputs)
