"""Conv and ConvTranspose of a file against ONNX Runtime, over what their attributes can be."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError, PellucidError, ShapeError
from support.onnx_files import agrees, model_of, own_outputs

Attributes = dict[str, Any]


def _case(shape: tuple[int, ...], out: int, window: tuple[int, ...], groups: int = 1, transposed: bool = False) -> Any:
    rng = np.random.default_rng(sum(shape) + out)
    channels = shape[1]
    kernel = (channels, out // groups, *window) if transposed else (out, channels // groups, *window)
    return {
        "x": rng.normal(size=shape).astype(np.float32),
        "w": rng.normal(size=kernel).astype(np.float32),
        "b": rng.normal(size=out).astype(np.float32),
    }


CONVOLUTIONS = [
    ((2, 3, 11), 4, (3,), {"pads": [2, 0], "strides": [2]}),
    ((2, 4, 9), 6, (4,), {"dilations": [2], "pads": [1, 3], "group": 2}),
    ((1, 3, 7, 8), 5, (3, 3), {}),
    ((2, 3, 7, 8), 5, (3, 2), {"pads": [1, 0, 2, 3], "strides": [2, 3], "kernel_shape": [3, 2]}),
    ((1, 4, 9, 9), 4, (3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 9, 9), 8, (3, 3), {"group": 4, "dilations": [2, 3], "pads": [5, 4, 0, 1]}),
    ((2, 6, 5, 5), 9, (1, 1), {"group": 3, "strides": [2, 2]}),
    ((1, 2, 8, 7), 3, (4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ((1, 2, 8, 7), 3, (4, 3), {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    ((1, 2, 8, 7), 3, (3, 3), {"auto_pad": "VALID", "dilations": [2, 1]}),
    ((1, 2, 4, 5, 6), 3, (2, 3, 2), {"pads": [0, 1, 2, 1, 0, 1], "strides": [1, 2, 1], "dilations": [2, 1, 1]}),
    ((1, 2, 2, 2), 3, (5, 5), {"pads": [4, 4, 4, 4]}),
]


@pytest.mark.parametrize(("shape", "out", "window", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_conv(shape: Any, out: int, window: Any, attributes: Attributes, bias: bool) -> None:
    inputs = _case(shape, out, window, attributes.get("group", 1))
    if not bias:
        del inputs["b"]
    other = {**inputs, "x": np.random.default_rng(1).normal(size=(3, *shape[1:-1], shape[-1] + 3)).astype(np.float32)}
    model = model_of("Conv", inputs, attributes, opset=11, known=("w", "b"), of_any_size=True)
    agrees(model, inputs, other)


@pytest.mark.parametrize("number", [0, 3, 4, 9])
def test_conv_with_computed_weights(number: int) -> None:
    shape, out, window, attributes = CONVOLUTIONS[number]
    inputs = _case(shape, out, window, attributes.get("group", 1))
    agrees(model_of("Conv", inputs, attributes, opset=11), inputs)


TRANSPOSED = [
    ((2, 3, 6), 4, (3,), {"strides": [2], "output_padding": [1], "pads": [1, 0]}),
    ((1, 4, 5), 6, (3,), {"group": 2, "dilations": [2]}),
    ((2, 3, 4, 5), 2, (3, 3), {}),
    ((2, 4, 4, 5), 6, (3, 2), {"group": 2, "strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ((1, 3, 4, 4), 3, (3, 3), {"group": 3, "strides": [3, 2], "output_padding": [2, 1]}),
    ((1, 3, 4, 5), 2, (3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 3, 4, 5), 2, (3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ((1, 3, 4, 5), 2, (3, 3), {"auto_pad": "VALID", "strides": [2, 2], "dilations": [2, 1]}),
    ((1, 3, 4, 5), 2, (3, 3), {"strides": [2, 2], "output_shape": [8, 10]}),
    ((1, 3, 4, 5), 2, (3, 4), {"strides": [2, 2], "output_shape": [8, 9], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 4, 5), 2, (3, 3), {"strides": [3, 2], "output_shape": [10, 8], "output_padding": [1, 1]}),
    ((1, 2, 3, 2, 3), 3, (2, 3, 2), {"strides": [2, 1, 2], "pads": [0, 1, 1, 1, 0, 0]}),
]


@pytest.mark.parametrize(("shape", "out", "window", "attributes"), TRANSPOSED)
def test_conv_transpose(shape: Any, out: int, window: Any, attributes: Attributes) -> None:
    inputs = _case(shape, out, window, attributes.get("group", 1), transposed=True)
    known = ("w", "b") if len(shape) % 2 == 0 else ()
    agrees(model_of("ConvTranspose", inputs, attributes, opset=11, known=known), inputs)


def test_an_output_that_nothing_reaches_is_the_bias() -> None:
    inputs: Any = {"x": np.ones((1, 1, 2), np.float32), "w": np.ones((1, 1, 2), np.float32), "b": np.array([5], "f4")}
    attributes = {"strides": [3], "output_shape": [7]}
    (y,) = own_outputs(model_of("ConvTranspose", inputs, attributes, opset=11), inputs)
    assert y.reshape(-1).tolist() == [6, 6, 5, 6, 6, 5, 5]


ERRORS = [
    ("Conv", {"group": 0}, DataError, "attribute `group` (=0) must be from 1 to 1099511627776"),
    ("Conv", {"group": 2}, ArgumentError, "`in_channels` (=3) must be divisible by `groups` (=2)"),
    ("Conv", {"strides": [0, 1]}, DataError, "attribute `strides` (=(0, 1)) must have numbers from 1 to 2147483647"),
    ("Conv", {"strides": [1]}, DataError, "attribute `strides` (=(1,)) must have 2 numbers, has 1"),
    (
        "Conv",
        {"pads": [0, 0, -1, 0]},
        DataError,
        "attribute `pads` (=(0, 0, -1, 0)) must have numbers from 0 to 2147483647",
    ),
    (
        "Conv",
        {"dilations": [2**40, 1]},
        DataError,
        "attribute `dilations` (=(1099511627776, 1)) must have numbers from 1 to 2147483647",
    ),
    (
        "Conv",
        {"dilations": [1, 4]},
        ShapeError,
        "kernel width (=3, with dilation 4 reaching over 9) must be at most the padded input (=6)",
    ),
    (
        "Conv",
        {"kernel_shape": [3, 2]},
        DataError,
        "attribute `kernel_shape` (=(3, 2)) must be that of input 1 (2, 3, 3, 3): (3, 3)",
    ),
    (
        "Conv",
        {"auto_pad": "SAME"},
        DataError,
        "attribute `auto_pad` (='SAME') must be one of NOTSET, SAME_LOWER, SAME_UPPER, VALID",
    ),
    (
        "Conv",
        {"auto_pad": "VALID", "pads": [1, 1, 1, 1]},
        DataError,
        "attributes `pads` (=(1, 1, 1, 1)) and `auto_pad` (='VALID') exclude each other",
    ),
    (
        "ConvTranspose",
        {"pads": [9, 0, 9, 0]},
        ShapeError,
        "output height (=-11) must be at least 1: `pads` (=9, 9) are too large",
    ),
    (
        "ConvTranspose",
        {"output_shape": [4, 4, 4]},
        DataError,
        "attribute `output_shape` (=(4, 4, 4)) must have 2 numbers, has 3",
    ),
]


@pytest.mark.parametrize(("op", "attributes", "kind", "message"), ERRORS)
def test_errors(op: str, attributes: Attributes, kind: type[PellucidError], message: str) -> None:
    inputs = _case((1, 3, 5, 6), 2, (3, 3), transposed=op == "ConvTranspose")
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=11, known=("w", "b")), inputs)
    assert str(caught.value) == f"node 'it' ({op}): {message}"


def test_errors_of_shapes() -> None:
    inputs: Any = {"x": np.ones((1, 3, 5, 6), np.float32), "w": np.ones((2, 3, 3), np.float32)}
    with pytest.raises(DataError, match=r"input 1 \(2, 3, 3\) must have 4 dimensions, as input 0 has"):
        own_outputs(model_of("Conv", inputs, opset=11), inputs)
    inputs["x"] = np.ones((1, 3), np.float32)
    with pytest.raises(DataError, match=r"input 0 \(1, 3\) must have at least 3 dimensions"):
        own_outputs(model_of("Conv", inputs, opset=11), inputs)
    inputs["x"] = np.ones((1, 3, 2, 2, 2, 2), np.float32)
    with pytest.raises(ArgumentError, match="has 4 spatial dimensions; at most 3 are supported"):
        own_outputs(model_of("Conv", inputs, opset=11), inputs)


def test_padding_beyond_reason_is_refused() -> None:
    """Rows of padding are code of their own: with 65,536 of them, making it took all memory."""
    inputs = {"x": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 3, 3), np.float32)}
    model = model_of("Conv", inputs, {"pads": [1025, 1, 1, 1]}, opset=17, known=("w",))
    with pytest.raises(ArgumentError) as caught:
        own_outputs(model, inputs)
    expected = "node 'it' (Conv): attribute `pads` (=(1025, 1, 1, 1)) is supported up to 1,024"
    assert str(caught.value) == expected
