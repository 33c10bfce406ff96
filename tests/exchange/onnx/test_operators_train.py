"""Resize, Gather and recurrences of a file in training: the same predictions, and gradients as differences tell."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pellucid import nn, optim
from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import read

N = helper.make_node
HEAD = [N("Flatten", ["m"], ["e"], name="flat"), N("Gemm", ["e", "f"], ["y"], transB=1, name="last")]


def _model(nodes: list[Any], arrays: dict[str, Any], shape: tuple[int, ...]) -> OnnxModel:
    graph = helper.make_graph(
        [*nodes, *HEAD],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return OnnxModel(read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)))


def _normal(*shape: int) -> Any:
    return (np.random.default_rng(sum(shape)).normal(size=shape) / 2).astype(np.float32)


def _check(file: OnnxModel, x: Any) -> None:
    """`x` as the file has it; pictures of a model that trains stand channels last."""
    model = file.trainable(loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.1))
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 3 else x
    np.testing.assert_allclose(model.predict(last), file.predict(x), rtol=1e-4, atol=1e-5)
    labels = np.arange(len(x)) % 3
    start, (_, gradients) = dict(model.parameters), model.gradients(last, labels)
    random, step = np.random.default_rng(1), 0.01
    for name, gradient in gradients.items():
        way = random.normal(size=gradient.shape).astype(np.float32)
        losses: list[float] = []
        for sign in (1, -1):
            model.load_parameters({**start, name: start[name] + np.float32(sign * step) * way})
            losses.append(float(model.gradients(last, labels)[0]))
        slope = (losses[0] - losses[1]) / (2 * step)
        assert abs(slope - float((gradient * way).sum())) <= 2e-3 + 0.02 * abs(slope), name


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("factors", "cells"), [((1.6, 0.7), 6 * 3), ((2, 2), 8 * 10)])
def test_resize(mode: str, factors: tuple[float, float], cells: int) -> None:
    nodes = [
        N("Conv", ["x", "w"], ["a"], name="first"),
        N("Resize", ["a", "", "s"], ["m"], mode=mode, name="it"),
    ]
    arrays = {"w": _normal(2, 2, 3, 3), "s": np.array([1, 1, *factors], np.float32), "f": _normal(3, 2 * cells)}
    _check(_model(nodes, arrays, (2, 6, 7)), _normal(4, 2, 6, 7))


def test_gather_by_known_indices() -> None:
    nodes = [
        N("Conv", ["x", "w"], ["a"], name="first"),
        N("Gather", ["a", "i"], ["b"], axis=2, name="it"),
        N("Gather", ["b", "j"], ["m"], axis=1, name="channel"),
    ]
    arrays = {"w": _normal(2, 2, 3, 3), "i": np.array([3, -4, 3]), "j": np.array(1), "f": _normal(3, 15)}
    _check(_model(nodes, arrays, (2, 6, 7)), _normal(4, 2, 6, 7))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("RNN", {"direction": "bidirectional"}),
        ("LSTM", {}),
        ("LSTM", {"input_forget": 1, "direction": "reverse"}),
        ("LSTM", {"peepholes": True, "direction": "bidirectional"}),
        ("GRU", {}),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
        ("GRU", {"activations": ["HardSigmoid", "Softsign"]}),
    ],
    ids=str,
)
def test_recurrences(op: str, attributes: dict[str, Any]) -> None:
    gates, directions = {"RNN": 1, "LSTM": 4, "GRU": 3}[op], 1 + (attributes.get("direction") == "bidirectional")
    features = 4
    given = dict(attributes)
    inputs = ["t", "w", "r", "b"] + (["", "", "", "p"] if given.pop("peepholes", False) else [])
    arrays = {
        "w": _normal(directions, gates * features, 3),
        "r": _normal(directions, gates * features, features),
        "b": _normal(directions, 2 * gates * features),
        "f": _normal(3, directions * features),
    }
    if "p" in inputs:
        arrays["p"] = _normal(directions, 3 * features)
    nodes = [
        # (batch, features, steps), as an image of one row, to (steps, batch, features).
        N("Transpose", ["x"], ["t"], perm=[2, 0, 1], name="turn"),
        N(op, inputs, ["", "h"], hidden_size=features, name="it", **given),
        N("Transpose", ["h"], ["m"], perm=[1, 0, 2], name="back"),
    ]
    file = _model(nodes, arrays, (3, 5))
    _check(file, _normal(4, 3, 5))
    names = set(file.trainable(loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.1)).parameters)
    assert {"it.weight_ih_l0" + ("_reverse" if given.get("direction") == "reverse" else "")} <= names
    assert ("it.weight_peephole_l0" in names) == ("p" in inputs)
