"""What is written is read again: the same predictions, and written once more the same operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import pellucid.onnx
from exchange.onnx.export.exported import built, channels_first, declared, exported, operators, run
from exchange.onnx.export.test_models import LAYERS, NETWORKS, as_network
from pellucid import nn

SOME = (
    "Conv2d of groups", "Conv2d turned round", "ConvTranspose2d", "MaxPool2d", "AvgPool2d without padding",
    "AvgPool2d past the padding", "AdaptiveMaxPool2d", "BatchNorm2d, fixed", "LayerNorm", "GELU", "PReLU", "Upsample",
    "Maxout", "LSTM", "GRU of sequences that end",
)  # fmt: skip


@pytest.mark.parametrize("name", [*SOME, *NETWORKS])
def test_predictions_are_the_same(name: str, tmp_path: Path):
    if name in NETWORKS:
        network, shape = NETWORKS[name]
    else:
        layer, shape, _ = LAYERS[name]
        network = as_network(layer)
    model = built(network, shape)
    message = exported(model, tmp_path / "out.onnx")
    x = np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)
    wanted = model.predict(x)
    turned = declared(message.graph.input[0]) != shape
    with pellucid.onnx.load(tmp_path / "out.onnx") as again:
        found = again.predict(channels_first(x) if turned else x)
    if declared(message.graph.output[0]) != wanted.shape[1:]:
        found = np.moveaxis(found, 1, -1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("rnn", "lstm", "gru")])
def test_what_was_read_is_written_as_it_was(name: str, tmp_path: Path):
    network, shape = NETWORKS[name]
    first = exported(built(network, shape), tmp_path / "one.onnx")
    again = pellucid.onnx.load(tmp_path / "one.onnx").trainable(loss=nn.CrossEntropyLoss())
    second = exported(again, tmp_path / "two.onnx")
    assert operators(second) == operators(first)
    assert second.graph.input == first.graph.input
    assert second.graph.output == first.graph.output


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_real_networks_go_in_and_out(name: str, tmp_path: Path):
    """A network of somebody else, read, given other weights (its own are all the same), and written again."""
    source = onnx.load(LIGHT / f"light_{name}.onnx")
    model = pellucid.onnx.load(source).trainable(loss=nn.CrossEntropyLoss())
    random = np.random.default_rng(5)
    model.load_parameters({key: he(random, array.shape) for key, array in model.parameters.items()})
    written = exported(model, tmp_path / "out.onnx")
    found, wanted = Counter(operators(written)), Counter(node.op_type for node in source.graph.node)
    for op in ("Conv", "BatchNormalization", "MaxPool", "Concat", "Transpose", "Gemm", "Relu"):
        assert found[op] == wanted[op], op
    assert not [op for op in found if op.startswith("*")]
    x = random.standard_normal((1, *model.input_shape)).astype(np.float32)
    y = model.predict(x)
    scale = float(np.abs(y).max())
    np.testing.assert_allclose(run(tmp_path / "out.onnx", channels_first(x)), y, atol=1e-5 * scale)


def he(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)
