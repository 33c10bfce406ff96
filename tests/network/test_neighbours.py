"""Neighbours side by side in networks: which equations get them, and that training stays what it was."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import nn
from pellucid.emit import target
from pellucid.language.parse import parse
from pellucid.network import Graph
from pellucid.network.fast import with_fewer_multiplications

WIDE, NARROW = target("x86-64-v4").machine, target("x86-64-v3").machine


def convolution(channels: int, cells: int = 28, kernel: int = 5, accuracy: str = "standard", dtype: str = "float32"):
    graph = Graph(dtype, images=8, accuracy=accuracy)
    outputs = cells - kernel + 1
    x = graph.input("x", (8, cells, cells, 1), of_images=True)
    g = graph.input("g", (8, outputs, outputs, channels), of_images=True)
    w, b = graph.input("w", (kernel, kernel, 1, channels)), graph.input("b", (channels,))
    forward = parse("z[n,i,j,k] = max((sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]) + b[k], 0)")
    towards = parse("dw[s,t,c,k] = sum(n,i,j) x[n,i+s,j+t,c] * g[n,i,j,k]")
    graph.formula(forward, {"x": x, "w": w, "b": b})
    graph.formula(towards, {"x": x, "g": g}, extents={"s": kernel, "t": kernel})
    return graph


def made(graph: Graph, machine) -> set[str]:
    reasons: dict[str, str] = {}
    own = with_fewer_multiplications(graph, graph.accuracy, machine, reasons)
    new = {node.output for node in own.nodes} - {node.output for node in graph.nodes}
    assert {name for name, why in reasons.items() if "in a vector" in why} == {name.rpartition(".")[0] for name in new}
    return new


@pytest.mark.parametrize(
    ("channels", "machine", "found"),
    [
        (6, WIDE, {"z.W", "z.b1", "dw.D"}),  # 12 of 16 lanes for 6
        (8, WIDE, {"z.W", "z.b1", "dw.D"}),
        (12, WIDE, set()),
        (20, WIDE, set()),  # 80 of 80 for 20 of 32, but each neighbour reads more
        (6, NARROW, set()),
        (4, NARROW, {"z.W", "z.b1", "dw.D"}),
    ],
)
def test_where_they_pay(channels: int, machine, found: set[str]):
    assert made(convolution(channels), machine) == found


def test_their_number_divides_the_axis():
    assert made(convolution(6, 27, 5), WIDE) == set()  # 23 outputs in a row


@pytest.mark.parametrize(("accuracy", "dtype"), [("direct", "float32"), ("standard", "float64")])
def test_none_where_equations_are_left_as_they_are(accuracy: str, dtype: str):
    assert made(convolution(6, accuracy=accuracy, dtype=dtype), WIDE) == set()


LAYERS = {
    "first of LeNet-5": (1, lambda: nn.Conv2d(6, 5, padding="same")),
    "colours": (3, lambda: nn.Conv2d(8, 3, padding=1)),
    "one channel": (4, lambda: nn.Conv2d(1, 3, padding=1)),
    "stride": (2, lambda: nn.Conv2d(4, 3, stride=2, padding=1)),
    "dilation": (2, lambda: nn.Conv2d(6, 3, dilation=2, padding=2)),
    "transposed": (2, lambda: nn.ConvTranspose2d(4, 3, padding=1)),
    "groups": (4, lambda: nn.Conv2d(8, 3, padding=1, groups=2)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_trained_as_with_equations_as_they_are(layer: str):
    """Small numbers, whose sums are exact: equal to the bit, in batches of any size and on any number of threads."""
    channels, make = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, size=(6, 16, 16, channels)).astype("float32")
    found, used = {}, set[str]()
    for accuracy in ("standard", "direct"):
        for threads in (1, 3):
            network = nn.Sequential(make(), nn.ReLU(), make(), nn.Flatten())
            shape = network.build(x.shape[1:]).output_shape
            model = network.build(x.shape[1:], loss=nn.MSELoss(reduction="sum"), accuracy=accuracy, threads=threads)
            whole = {name: np.random.default_rng(1).integers(-1, 2, a.shape) for name, a in model.parameters.items()}
            model.load_parameters({name: array.astype("float32") for name, array in whole.items()})
            t = np.zeros((6, *shape), "float32")
            found[accuracy, threads] = (
                model.predict(x), *model.gradients(x, t)[1].values(), *model.gradients(x[:5], t[:5])[1].values()
            )  # fmt: skip
            if "neighbours" in model.summary(kernels=True):
                used.add(accuracy)
    if target().machine.lanes(4) == 16:
        # Where taps lie apart neighbours read hardly a cell in common, and groups have lanes of their own.
        assert used == (set() if layer in ("dilation", "groups") else {"standard"})
    for other in found.values():
        for one, two in zip(found["direct", 1], other, strict=True):
            np.testing.assert_array_equal(one, two)
