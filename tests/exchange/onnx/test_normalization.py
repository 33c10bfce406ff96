"""Normalisation of a file: against ONNX Runtime, and where that has no such operator or version against NumPy."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pellucid.errors import ArgumentError, DataError, PellucidError, ShapeError
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.exchange.onnx.values import channels_last, standing
from pellucid.nn import BatchNorm2d
from support.onnx_files import agrees, model_of, own_outputs

Attributes = dict[str, Any]
FIVE = ("x", "scale", "bias", "mean", "variance")


def _normal(*shape: int, seed: int = 0) -> Any:
    # Far from 0, so that statistics of one pass would lose digits.
    return (np.random.default_rng(seed).normal(size=shape) * 2 + 5).astype(np.float32)


def _batch(*shape: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    channels = shape[1] if len(shape) > 1 else 1
    arrays = {name: rng.normal(size=channels).astype(np.float32) for name in FIVE[1:4]}
    return {"x": _normal(*shape), **arrays, "variance": rng.uniform(0.5, 2, channels).astype(np.float32)}


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization_by_given_statistics(shape: Any, opset: int) -> None:
    inputs = _batch(*shape)
    known = FIVE[1:] if opset != 14 else ()
    model = model_of("BatchNormalization", inputs, {"epsilon": 1e-3}, opset=opset, known=known, of_any_size=True)
    agrees(model, inputs, inputs | {"x": _normal(3, *shape[1:], seed=2)})


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 5)])
def test_batch_normalization_by_the_batch(shape: Any) -> None:
    inputs = _batch(*shape)
    attributes = {"training_mode": 1, "momentum": 0.8}
    outputs = tuple((name, np.float32) for name in ("y", "m", "v"))
    agrees(model_of("BatchNormalization", inputs, attributes, opset=15, known=FIVE[1:], outputs=outputs), inputs)


def test_an_old_batch_normalization_trains_where_it_has_five_outputs() -> None:
    inputs = _batch(2, 3, 4, 5)
    outputs = tuple((name, np.float32) for name in ("y", "m", "v", "sm", "sv"))
    found = own_outputs(model_of("BatchNormalization", inputs, opset=9, outputs=outputs, known=FIVE[1:]), inputs)
    x = inputs["x"].astype(np.float64)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    scale, bias = (inputs[name].reshape(-1, 1, 1) for name in ("scale", "bias"))
    y = (x - mean.reshape(-1, 1, 1)) / np.sqrt(variance + 1e-5).reshape(-1, 1, 1) * scale + bias
    moved = [0.9 * inputs["mean"] + 0.1 * mean, 0.9 * inputs["variance"] + 0.1 * variance]
    for one, other in zip(found, [y, *moved, mean, variance], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_axis_is_a_batch_of_one_channel() -> None:
    inputs = _batch(4)
    (y,) = own_outputs(model_of("BatchNormalization", inputs, opset=15), inputs)
    scale, bias, mean, variance = (inputs[name] for name in FIVE[1:])
    np.testing.assert_allclose(y, (inputs["x"] - mean) / np.sqrt(variance + 1e-5) * scale + bias, rtol=1e-5)


@pytest.mark.parametrize("training_mode", [0, 1])
def test_in_a_program_that_is_trained_it_is_that_of_nn(training_mode: int) -> None:
    inputs = _batch(2, 3, 4, 5)
    attributes = {"momentum": 0.75, "training_mode": training_mode}
    graph = read(model_of("BatchNormalization", inputs, attributes, opset=15, known=FIVE[1:]))
    given = {"x": Open((2, 3, 4, 5), np.dtype(np.float32), channels_last(4))}
    (place,) = trace(graph, given, training=True, output_order=standing).places
    own, expected = place.layer.stage(), BatchNorm2d(momentum=0.25).stage((2, 4, 5, 3))
    assert own.system == expected.system
    assert own.in_training() == expected.in_training()
    assert [(p.name, p.local, p.trained, p.decayed) for p in own.parameters] == [
        (p.name, p.local, p.trained, p.decayed) for p in expected.parameters
    ]


@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 3, 4, 5), (1, 2, 3, 4, 2)])
def test_instance_normalization(shape: Any) -> None:
    inputs = {name: _batch(*shape)[name] for name in FIVE[:3]}
    model = model_of("InstanceNormalization", inputs, {"epsilon": 1e-3}, opset=7, known=("scale", "bias"))
    agrees(model, inputs)


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 6, 4, 3)])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization(shape: Any, groups: int, opset: int) -> None:
    rng = np.random.default_rng(0)
    count = groups if opset == 18 else 6
    inputs = {"x": _normal(*shape), "scale": rng.normal(size=count), "bias": rng.normal(size=count)}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    model = model_of("GroupNormalization", inputs, {"num_groups": groups}, opset=opset, known=("scale", "bias"))
    (y,) = own_outputs(model, inputs)
    x = inputs["x"].astype(np.float64).reshape(shape[0], groups, -1)
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    wide = (1, 6, *(1 for _ in shape[2:]))
    scale, bias = (np.repeat(inputs[name], 6 // count).reshape(wide) for name in ("scale", "bias"))
    np.testing.assert_allclose(y, normal.reshape(shape) * scale + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis: int, bias: bool) -> None:
    shape = (3, 4, 5)
    inputs = {"x": _normal(*shape), "scale": _normal(*shape[axis:], seed=1), "b": _normal(*shape[axis:], seed=2)}
    if not bias:
        del inputs["b"]
    outputs = tuple((name, np.float32) for name in ("y", "mean", "scale of rows"))
    known = ("scale", "b") if axis else ()
    model = model_of("LayerNormalization", inputs, {"axis": axis}, opset=17, known=known, outputs=outputs)
    agrees(model, inputs, rtol=1e-3, atol=1e-4)


def test_layer_normalization_broadcasts_its_scale() -> None:
    inputs = {"x": _normal(3, 4, 5), "scale": _normal(4, 1, seed=1), "b": _normal(1, seed=2)}
    (y,) = own_outputs(model_of("LayerNormalization", inputs, {"axis": 1}, opset=17), inputs)
    x = inputs["x"].astype(np.float64)
    normal = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, normal * inputs["scale"] + inputs["b"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_lrn(size: int) -> None:
    inputs = {"x": _normal(2, 5, 3, 4)}
    model = model_of("LRN", inputs, {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 2.0}, opset=13)
    if size % 2:  # ONNX Runtime has no other
        agrees(model, inputs)
    x = inputs["x"].astype(np.float64)
    squares = np.zeros_like(x)
    for c in range(5):
        squares[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1)
    np.testing.assert_allclose(own_outputs(model, inputs)[0], x / (2 + 0.3 / size * squares) ** 0.6, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("power", [1, 2])
def test_lp_normalization(axis: int, power: int) -> None:
    inputs = {"x": _normal(3, 4, 5) - 5}
    agrees(model_of("LpNormalization", inputs, {"axis": axis, "p": power}, opset=12), inputs)


def test_the_norm_of_zeros_divides_by_one() -> None:
    inputs = {"x": np.zeros((2, 3), np.float32)}
    assert not own_outputs(model_of("LpNormalization", inputs, opset=12), inputs)[0].any()


@pytest.mark.parametrize("axes", [[0, 2, 3], [1], [0, 1, 2, 3], [-1, -2]])
def test_mean_variance_normalization(axes: list[int]) -> None:
    inputs = {"x": _normal(2, 3, 4, 5)}
    (y,) = own_outputs(model_of("MeanVarianceNormalization", inputs, {"axes": axes}, opset=13), inputs)
    x = inputs["x"].astype(np.float64)
    normal = (x - x.mean(tuple(axes), keepdims=True)) / (x.std(tuple(axes), keepdims=True) + 1e-9)
    np.testing.assert_allclose(y, normal, rtol=1e-4, atol=1e-5)


def test_channels_stay_last_through_a_block() -> None:
    """Conv, norm, conv: no equation but theirs."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.uniform(0.5, 1, 4).astype(np.float32) for name in FIVE[1:]}
    arrays |= {name: rng.normal(size=(4, 4, 3, 3)).astype(np.float32) for name in ("v", "w")}
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"]),
        helper.make_node("BatchNormalization", ["a", *FIVE[1:]], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, 1, [1, 4, None, None]) for name in "xy"]
    kept = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "block", ports[:1], ports[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    given = {"x": Open((1, 4, 9, 9), np.dtype(np.float32), channels_last(4))}
    assert len(trace(read(model), given, output_order=standing).places) == 3


ERRORS = [
    (
        "BatchNormalization",
        {"momentum": 1.5},
        DataError,
        "attribute `momentum` (=1.5) must be from 0 to 1",
    ),
    ("BatchNormalization", {"epsilon": -1.0}, DataError, "attribute `epsilon` (=-1.0) must be at least 0"),
    ("BatchNormalization", {"training_mode": 2}, DataError, "attribute `training_mode` (=2) must be from 0 to 1"),
    ("GroupNormalization", {}, DataError, "attribute `num_groups` is missing"),
    (
        "GroupNormalization",
        {"num_groups": 2},
        DataError,
        "`num_groups` (=2) must divide the number of channels (=3)",
    ),
    ("LRN", {}, DataError, "attribute `size` is missing"),
    ("LpNormalization", {"p": 3}, DataError, "attribute `p` (=3) must be from 1 to 2"),
    ("LpNormalization", {"axis": 4}, DataError, "`axis` (=4) must be from -4 to 3"),
    ("MeanVarianceNormalization", {"axes": [1, -3]}, DataError, "`axes` (=(1, -3)) names an axis twice"),
]


@pytest.mark.parametrize(("op", "attributes", "kind", "message"), ERRORS)
def test_errors(op: str, attributes: Attributes, kind: type[PellucidError], message: str) -> None:
    inputs = _batch(2, 3, 4, 5)
    count = {"BatchNormalization": 5, "GroupNormalization": 3}.get(op, 1)
    inputs = {name: inputs[name] for name in FIVE[:count]}
    with pytest.raises(kind) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=21), inputs)
    assert str(caught.value) == f"node 'it' ({op}): {message}"


def test_errors_of_shapes_and_of_old_versions() -> None:
    inputs = _batch(2, 3, 4, 5) | {"mean": np.zeros(4, np.float32)}
    with pytest.raises(ShapeError, match=r"input 3 \(4,\) must have shape \(3,\)"):
        own_outputs(model_of("BatchNormalization", inputs, opset=15), inputs)
    inputs = _batch(2, 3, 4, 5)
    with pytest.raises(ArgumentError, match=r"`spatial` \(=0\), statistics for each position, is not supported"):
        own_outputs(model_of("BatchNormalization", inputs, {"spatial": 0}, opset=7), inputs)
    inputs = {"x": _normal(2, 3), "scale": _normal(4)}
    with pytest.raises(ShapeError, match=r"\(2, 3\), \(4,\) do not broadcast"):
        own_outputs(model_of("RMSNormalization", inputs, opset=23), inputs)
