"""Models written to files, and the files run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import checker, shape_inference

from pellucid import nn


def built(network, shape: tuple[int, ...], **arguments) -> nn.Model:
    """A model whose parameters are all random: no slope is 1 and no mean 0."""
    model = network.build(shape, seed=3, **arguments)
    random = np.random.default_rng(11)
    model.load_parameters(
        {
            name: array + 0.4 * random.uniform(0.1, 1, array.shape).astype(array.dtype)
            for name, array in model.parameters.items()
        }
    )
    return model


def exported(model: nn.Model, path: Path, **arguments) -> onnx.ModelProto:
    """The file, which passes the checks."""
    model.export(path, **arguments)
    message = onnx.load(path)
    checker.check_model(message, full_check=True)
    shape_inference.infer_shapes(message, check_type=True, strict_mode=True, data_prop=True)
    return message


def run(path: Path, x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def operators(message: onnx.ModelProto) -> list[str]:
    """The operators in order, functions with a star in front."""
    return [f"*{node.op_type}" if node.domain else node.op_type for node in message.graph.node]


def channels_first(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def check(model: nn.Model, path: Path, *, rows: int = 3, **arguments) -> list[str]:
    """The file gives what the model predicts; its operators. No two extents of the model's shapes may be equal where
    it is to be seen in which order axes stand."""
    message = exported(model, path, **arguments)
    x = np.random.default_rng(7).standard_normal((rows, *model.input_shape)).astype(model.dtype)
    wanted = model.predict(x)
    found = run(path, x if declared(message.graph.input[0]) == x.shape[1:] else channels_first(x))
    if declared(message.graph.output[0]) != wanted.shape[1:]:
        found = np.moveaxis(found, 1, -1)
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6 * scale)
    return operators(message)


def declared(port: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The extents behind the batch, which is open."""
    batch, *extents = port.type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    return tuple(extent.dim_value for extent in extents)
