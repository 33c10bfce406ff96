"""The losses of a file against ONNX Runtime, and by hand where it has none."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import DataError
from support.onnx_files import agrees, model_of, own_outputs


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("op", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
def test_drawn(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rest = [(), (3,), (2, 3), (2, 1, 3)][seed % 4]
    x = rng.normal(size=(4, 5, *rest)).astype(np.float32)
    labels = rng.integers(0, 5, (4, *rest)).astype(str(rng.choice(["int32", "int64"])))
    attributes: dict[str, Any] = {"reduction": str(rng.choice(["none", "mean", "sum"]))}
    if rng.integers(2):
        attributes["ignore_index"] = int(rng.choice([2, -1, 7]))
        labels[0] = attributes["ignore_index"]
    weighed = bool(rng.integers(2))
    inputs = {"x": x, "t": labels, "w": rng.random(5).astype(np.float32) if weighed else None}
    known = ("t", "w") if rng.integers(2) else ()
    model = model_of(op, inputs, attributes, opset=int(rng.choice([12, 13])), known=known)
    if labels.min() >= 0 and labels.max() < 5 and rest:
        agrees(model, inputs)
    np.testing.assert_allclose(own_outputs(model, inputs)[0], _by_hand(op, inputs, attributes), rtol=1e-4, atol=1e-6)


def _by_hand(op: str, inputs: Any, attributes: Any) -> Any:
    x, labels, w = inputs["x"].astype(np.float64), inputs["t"], inputs["w"]
    if op.startswith("Softmax"):
        x = x - np.log(np.exp(x).sum(1, keepdims=True))
    counts = labels != attributes.get("ignore_index", -100)
    chosen = np.take_along_axis(x, np.where(counts, labels, 0)[:, None], 1)[:, 0]
    weights = np.where(counts, 1.0 if w is None else w[np.where(counts, labels, 0)], 0)
    loss = -chosen * weights
    reduced = {"none": lambda: loss, "sum": loss.sum, "mean": lambda: loss.sum() / weights.sum()}
    return reduced[attributes["reduction"]]()


def test_the_second_output_is_the_logarithm_of_the_probabilities() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    inputs = {"x": x, "t": np.zeros((2, 4), np.int64)}
    outputs = [("loss", np.float32), ("log_prob", np.float32)]
    agrees(model_of("SoftmaxCrossEntropyLoss", inputs, opset=13, outputs=outputs), inputs)


def _refusal(attributes: dict[str, Any], **arrays: Any) -> str:
    inputs = {"x": np.zeros((2, 3), np.float32), "t": np.zeros(2, np.int64), **arrays}
    with pytest.raises(DataError) as caught:
        own_outputs(model_of("NegativeLogLikelihoodLoss", inputs, attributes, opset=13), inputs)
    return str(caught.value)


def test_errors() -> None:
    title = "node 'it' (NegativeLogLikelihoodLoss): "
    assert _refusal({}, x=np.zeros(3, np.float32)) == (
        title + "input 0 must have at least 2 axes (batch, classes), has shape (3,)"
    )
    assert _refusal({}, t=np.zeros(3, np.int64)) == title + "labels must have shape (2,), have (3,)"
    assert (
        _refusal({}, t=np.zeros(2, np.float32))
        == title + "input 1 is tensor(float), which NegativeLogLikelihoodLoss 13 does not take"
    )
    assert _refusal({}, w=np.zeros(2, np.float32)) == title + "weights must have shape (3,), have (2,)"
    assert _refusal({"reduction": "max"}) == (title + "attribute `reduction` (='max') must be one of mean, none, sum")
