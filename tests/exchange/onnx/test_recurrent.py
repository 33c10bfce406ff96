"""RNN, LSTM and GRU of a file against ONNX Runtime, with attributes that are drawn."""

from typing import Any

import numpy as np
import pytest

from pellucid.errors import DataError
from support.onnx_files import agrees, model_of, own_outputs

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
COUNT = {"RNN": 1, "LSTM": 3, "GRU": 2}
T, N, C, H = 5, 3, 4, 6


def _inputs(op: str, directions: int, rng: np.random.Generator, **some: bool) -> dict[str, Any]:
    def normal(*shape: int) -> Any:
        return (rng.normal(size=shape) / 2).astype(np.float32)

    gates = GATES[op]
    inputs = {
        "x": normal(T, N, C),
        "w": normal(directions, gates * H, C),
        "r": normal(directions, gates * H, H),
        "b": normal(directions, 2 * gates * H) if some.get("bias") else None,
        "lengths": np.array([5, 2, 4], np.int32) if some.get("lengths") else None,
        "h": normal(directions, N, H) if some.get("state") else None,
    }
    if op == "LSTM":
        inputs["c"] = normal(directions, N, H) if some.get("cell") else None
        inputs["p"] = normal(directions, 3 * H) if some.get("peepholes") else None
    return inputs


def _outputs(op: str, wanted: str) -> list[tuple[str, type]]:
    names = ["y", "h_last", "c_last"] if op == "LSTM" else ["y", "h_last"]
    return [(name if name[0] in wanted else "", np.float32) for name in names]


@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("known", [True, False])
def test_all_outputs(op: str, direction: str, known: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = _inputs(op, 2 if direction == "bidirectional" else 1, rng, bias=True, state=True, cell=True)
    attributes = {"direction": direction, "hidden_size": H}
    names = ("w", "r", "b") if known else ()
    model = model_of(op, inputs, attributes, opset=14, known=names, outputs=_outputs(op, "yhc"))
    agrees(model, inputs)


@pytest.mark.parametrize("seed", range(24))
def test_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    op = ("RNN", "LSTM", "GRU")[seed % 3]
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    some = {name: bool(rng.integers(2)) for name in ("bias", "lengths", "state", "cell", "peepholes")}
    inputs = _inputs(op, directions, rng, **some)
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": H}
    if rng.integers(2):
        choices = ["Tanh", "Sigmoid", "Relu", "Softsign", "HardSigmoid", "LeakyRelu", "Elu"]
        attributes["activations"] = [str(name) for name in rng.choice(choices, COUNT[op] * directions)]
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if op == "LSTM":
        attributes["input_forget"] = int(rng.integers(2))
    wanted = str(rng.choice(["y", "h", "yh", "c", "hc", "yhc"] if op == "LSTM" else ["y", "h", "yh"]))
    known = ("w", "r", "b", "p") if rng.integers(2) else ()
    opset = int(rng.choice([7, 14, 22]))
    model = model_of(op, inputs, attributes, opset=opset, known=known, outputs=_outputs(op, wanted))
    agrees(model, inputs, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(("op", "before"), [("RNN", 0), ("LSTM", 0), ("GRU", 0), ("GRU", 1)])
def test_clip(op: str, before: int) -> None:
    inputs = _inputs(op, 1, np.random.default_rng(3), bias=True)
    attributes: dict[str, Any] = {"hidden_size": H, "clip": 0.3}
    if op == "GRU":
        attributes["linear_before_reset"] = before
    model = model_of(op, inputs, attributes, opset=14, known=("w", "r", "b"), outputs=_outputs(op, "yh"))
    agrees(model, inputs)


@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_the_layout_with_the_batch_first_is_the_other_one_turned(op: str) -> None:
    # ONNX Runtime does not have this layout. In float64: each is scheduled for itself, and may sum in its own order.
    given = _inputs(op, 2, np.random.default_rng(1), bias=True, state=True, cell=True)
    inputs = {name: None if a is None else a.astype(np.float64) for name, a in given.items()}
    outputs = [(name, np.float64) for name, _ in _outputs(op, "yhc")]
    attributes = {"direction": "bidirectional", "hidden_size": H}
    expected = own_outputs(model_of(op, inputs, attributes, opset=14, known=("w", "r"), outputs=outputs), inputs)
    turned = {name: a.swapaxes(0, 1) if name in ("x", "h", "c") else a for name, a in inputs.items() if a is not None}
    turned = {name: turned.get(name) for name in inputs}
    model = model_of(op, turned, {**attributes, "layout": 1}, opset=14, known=("w", "r"), outputs=outputs)
    y, *ends = own_outputs(model, turned)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected[0].transpose(2, 0, 1, 3), rtol=0, atol=1e-14)
    for one, other in zip(ends, expected[1:], strict=True):
        np.testing.assert_allclose(one, other.swapaxes(0, 1), rtol=0, atol=1e-14)


def _refusal(op: str, attributes: dict[str, Any], **arrays: Any) -> str:
    inputs = {**_inputs(op, 1, np.random.default_rng(0)), **arrays}
    with pytest.raises(DataError) as caught:
        own_outputs(model_of(op, inputs, attributes, opset=14), inputs)
    return str(caught.value)


def test_errors() -> None:
    assert _refusal("GRU", {"activations": ["Tanh"]}) == (
        "node 'it' (GRU): attribute `activations` (=('Tanh',)) must be 2 names"
    )
    assert _refusal("RNN", {"activations": ["Nonsense"]}) == (
        "node 'it' (RNN): attribute `activations` has 'Nonsense'; it must be one of Sigmoid, Tanh, Relu, Affine, "
        "LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, Softplus"
    )
    assert _refusal("RNN", {"activations": ["Affine"]}) == (
        "node 'it' (RNN): attribute `activation_alpha` has no number for Affine"
    )
    assert _refusal("RNN", {"direction": "sideways"}) == (
        "node 'it' (RNN): attribute `direction` (='sideways') must be one of bidirectional, forward, reverse"
    )
    assert _refusal("RNN", {"clip": -1.0}) == "node 'it' (RNN): attribute `clip` (=-1) must be at least 0"
    assert _refusal("LSTM", {"hidden_size": 5}) == (
        "node 'it' (LSTM): input 1 must have shape (1, 20, 4), has (1, 24, 4)"
    )
    wrong = np.zeros((1, 7), np.float32)
    assert _refusal("RNN", {}, b=wrong) == "node 'it' (RNN): input 3 must have shape (1, 12), has (1, 7)"
    assert _refusal("LSTM", {}, p=wrong) == "node 'it' (LSTM): input 7 must have shape (1, 18), has (1, 7)"
    assert _refusal("RNN", {}, h=np.zeros((1, 2, H), np.float32)) == (
        "node 'it' (RNN): input 5 must have shape (1, 3, 6), has (1, 2, 6)"
    )
    assert _refusal("RNN", {}, lengths=np.array([1, 2], np.int32)) == (
        "node 'it' (RNN): input 4 must have shape (3,), has (2,)"
    )
    assert _refusal("RNN", {}, x=np.zeros((2, 3), np.float32)) == (
        "node 'it' (RNN): input 0 must have 3 axes, has shape (2, 3)"
    )


@pytest.mark.parametrize("name", ["Affine", "ScaledTanh", "ThresholdedRelu", "Softplus"])
def test_functions_with_numbers_of_their_own(name: str) -> None:
    inputs = _inputs("RNN", 1, np.random.default_rng(5))
    attributes = {"activations": [name], "hidden_size": H, "activation_alpha": [0.25], "activation_beta": [0.7]}
    if name in ("ThresholdedRelu", "Softplus"):
        del attributes["activation_beta"]
    agrees(model_of("RNN", inputs, attributes, opset=14, known=("w", "r")), inputs)
