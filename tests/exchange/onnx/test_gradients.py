"""What a file's operators compute can be trained: gradients against differences, along one direction."""

from math import prod
from typing import Any

import numpy as np
import pytest

from pellucid.exchange.onnx.program import laid_out
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.trace import Open, trace
from pellucid.exchange.onnx.values import Tensor, channels_last, natural
from pellucid.network import compile_graph, differentiate
from support.onnx_files import model_of

PICTURE = (2, 4, 5, 6)


def _integers(*values: int) -> Any:
    return np.array(values, np.int64)


def _normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


CASES: list[tuple[str, Any, Any]] = [
    ("Conv", {"w": _normal(6, 2, 3, 2), "b": _normal(6)}, {"group": 2, "pads": [2, 0, 0, 1], "strides": [2, 1]}),
    ("Conv", {"w": _normal(4, 1, 3, 3)}, {"group": 4, "auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ("ConvTranspose", {"w": _normal(4, 3, 3, 3), "b": _normal(3)}, {"strides": [2, 2], "output_shape": [11, 12]}),
    ("ConvTranspose", {"w": _normal(4, 2, 2, 3)}, {"group": 2, "strides": [3, 2], "output_padding": [2, 1]}),
    ("MaxPool", {}, {"kernel_shape": [3, 2], "pads": [2, 0, 1, 1], "strides": [2, 1]}),
    ("MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "dilations": [2, 1]}),
    ("AveragePool", {}, {"kernel_shape": [3, 2], "pads": [2, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]}),
    ("AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1, "ceil_mode": 1}),
    ("LpPool", {}, {"kernel_shape": [2, 3], "pads": [1, 2, 0, 1], "dilations": [2, 1], "p": 3}),
    ("GlobalAveragePool", {}, {}),
    ("GlobalMaxPool", {}, {}),
    ("GlobalLpPool", {}, {"p": 3}),
    ("BatchNormalization", {name: 1 + abs(_normal(4, seed=i)) for i, name in enumerate("wbmv")}, {}),
    ("BatchNormalization", {name: 1 + abs(_normal(4, seed=i)) for i, name in enumerate("wbmv")}, {"training_mode": 1}),
    ("InstanceNormalization", {"w": _normal(4), "b": _normal(4, seed=1)}, {}),
    ("GroupNormalization", {"w": _normal(4), "b": _normal(4, seed=1)}, {"num_groups": 2}),
    ("LayerNormalization", {"w": _normal(5, 6), "b": _normal(5, 6, seed=1)}, {"axis": 2}),
    ("LayerNormalization", {"w": _normal(4, 1, 1)}, {"axis": 1}),
    ("RMSNormalization", {"w": _normal(6)}, {}),
    ("RMSNormalization", {"w": _normal(1)}, {"axis": 0}),
    ("LpNormalization", {}, {"axis": 1}),
    ("LpNormalization", {}, {"p": 1}),
    ("MeanVarianceNormalization", {}, {}),
    ("LRN", {}, {"size": 4, "alpha": 0.5, "bias": 2.0}),
    ("MatMul", {"w": _normal(6, 3)}, {}),
    ("MatMul", {"w": _normal(4, 6, 3)}, {}),
    ("Einsum", {"w": _normal(3, 4)}, {"equation": "nchw,kc->nkw"}),
    ("Concat", {"w": _normal(2, 3, 5, 6)}, {"axis": 1}),
    ("Split", {}, {"axis": 1, "num_outputs": 1}),
    (
        "Slice",
        {"starts": _integers(-1, 1), "ends": _integers(-9, 5), "axes": _integers(2, 3), "steps": _integers(-2, 3)},
        {},
    ),
    ("Pad", {"pads": _integers(0, 1, 2, -1, 0, 0, 1, 3)}, {}),
    ("Pad", {"pads": _integers(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "reflect"}),
    ("Pad", {"pads": _integers(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "edge"}),
    ("Pad", {"pads": _integers(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "wrap"}),
    ("Pad", {"pads": _integers(0, 0, 2, 1, 0, 0, 1, 3), "v": np.array(3, np.float32)}, {}),
    ("Reshape", {"shape": _integers(0, 10, -1)}, {}),
    ("Reshape", {"shape": _integers(0, 2, 2, 5, 6)}, {}),
    ("Flatten", {}, {}),
    ("Transpose", {}, {"perm": [0, 3, 1, 2]}),
    ("Unsqueeze", {"axes": _integers(2)}, {}),
    ("Expand", {"shape": _integers(3, 1, 1, 1, 1)}, {}),
    ("Tile", {"repeats": _integers(1, 2, 1, 3)}, {}),
    ("DepthToSpace", {}, {"blocksize": 2}),
    ("DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}),
    ("Trilu", {"k": np.array(1, np.int64)}, {}),
    ("CenterCropPad", {"shape": _integers(2, 9)}, {"axes": [2, 3]}),
]


@pytest.mark.parametrize(("op", "known", "attributes"), CASES, ids=[f"{case[0]} {i}" for i, case in enumerate(CASES)])
@pytest.mark.parametrize("last", [True, False])
def test_gradient(op: str, known: Any, attributes: Any, last: bool) -> None:
    # No two numbers are near each other: a maximum stays one.
    x = np.random.default_rng(0).permutation(np.linspace(-2, 2, prod(PICTURE))).reshape(PICTURE)
    model = model_of(op, {"x": x.astype(np.float32), **known}, attributes, opset=23, known=tuple(known))
    order = channels_last(4) if last else natural(4)
    traced = trace(read(model), {"x": Open(PICTURE, np.dtype(np.float32), order)})
    arrays: dict[str, Any] = {"input x": x.transpose(order)}
    if not traced.places:
        pytest.skip("nothing is computed")
    graph, laid = laid_out(traced, "float64", "standard")
    arrays = {graph.inputs[0]: x.transpose(order)}
    arrays |= {name: np.float64(kept.host.array.transpose(kept.order)) for name, kept in traced.parameters.items()}
    assert set(arrays) == set(graph.inputs)
    (result,) = traced.outputs
    assert isinstance(result, Tensor)
    y = laid.outputs[traced.places[result.place].name]
    graph.input("arriving", graph.values[y].shape)
    made = differentiate(graph, y, "arriving", tuple(arrays))
    assert None not in made.values()
    names = [name for name in made.values() if name is not None]
    run = compile_graph(graph, list(dict.fromkeys((y, *names))))
    rng = np.random.default_rng(1)
    arriving = rng.normal(size=graph.values[y].shape)
    directions = {name: rng.normal(size=np.shape(array)) for name, array in arrays.items()}

    def loss(step: float) -> float:
        moved = {name: np.asarray(array + step * directions[name]) for name, array in arrays.items()}
        return float((run({**moved, "arriving": arriving})[y] * arriving).sum())

    found = run({**arrays, "arriving": arriving})
    along = sum(float((found[made[name]] * direction).sum()) for name, direction in directions.items())
    expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert abs(along - expected) < 1e-6 * max(1.0, abs(expected))
