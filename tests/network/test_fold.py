"""Scales and shifts folded into weights: what the equations become, and that they give what they gave."""

import numpy as np
import pytest

from pellucid.language.parse import parse
from pellucid.language.render import to_text
from pellucid.network import Graph, View, compile_graph
from pellucid.network.fold import folded
from pellucid.network.graph import Equation

SHAPES = {
    "x": (2, 5, 4, 3), "other": (2, 5, 4, 3), "w": (3, 3, 3, 6), "depth": (3, 3, 3), "b": (6,), "m": (6,), "g": (6,),
    "m3": (3,), "g3": (3,), "plane": (3, 2), "g5": (5,), "factor": (),
}  # fmt: skip
KEPT = set(SHAPES) - {"x", "other"}
CONVOLUTION = ("y[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", {"x": "x", "w": "w"})
BIASED = ("y[n,i,j,k] = (sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]) + b[k]", {"x": "x", "w": "w", "b": "b"})
DEPTHWISE = ("y[n,i,j,c] = sum(s,t) x[n,i+s-1,j+t-1,c] * w[s,t,c]", {"x": "x", "w": "depth"})
NORM = ("z[n,i,j,c] = (x[n,i,j,c] - m[c])*g[c] + b[c]", {"x": "y", "m": "m", "g": "g", "b": "b"})
GROUPED = (
    "y[n,i,j,u*2+o] = sum(s,t) x[n,i+s-1,j+t-1,u] * w[s,t,u] * p[u,o]",
    {"x": "x", "w": "depth", "p": "plane"},
)
CLIPPED = ("a[n,i,j,c] = max(z[n,i,j,c], 0) + factor", {"z": "z", "factor": "factor"})
OUTPUT = {"i": 5, "j": 4}


def graph_of(*steps, dtype="float64"):
    graph = Graph(dtype, images=2)
    for name, shape in SHAPES.items():
        graph.input(name, shape, of_images=name not in KEPT)
    for text, bindings in steps:
        formula = parse(text)
        shape = OUTPUT if formula.output.tensor == "y" else {}
        graph.formula(formula, bindings, extents=shape)
    return graph


def arrays(dtype="float64"):
    random = np.random.default_rng(0)
    return {name: random.uniform(0.5, 2, shape).astype(dtype) for name, shape in SHAPES.items()}


def texts(graph):
    return [to_text(node.formula) for node in graph.nodes if isinstance(node, Equation)]


def agree(before, after, outputs=("z",)):
    """Both literally in float64; sums of 27 products of size 4 in another order."""
    given = arrays()
    expected = compile_graph(before, outputs, backend="reference")(given)
    found = compile_graph(after, outputs, backend="reference")(given)
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-11)


def test_a_norm_behind_a_convolution():
    graph = graph_of(CONVOLUTION, NORM)
    found = folded(graph, KEPT, ["z"])
    assert texts(found) == [
        "weights[a0,a1,a2,c] = w[a0,a1,a2,c] * g[c]",
        "shift[c] = b[c] - m[c] * g[c]",
        "z[n,i,j,c] = sum(s,t,c1) x1[n,i+s-1,j+t-1,c1] * weights[s,t,c1,c] + shift[c]",
    ]
    agree(graph, found)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BIASED, NORM),
        (DEPTHWISE, ("z[n,i,j,c] = y[n,i,j,c]*g[c] + m[c]", {"y": "y", "g": "g3", "m": "m3"})),
        (BIASED, ("z[n,i,j,c] = m[c] - y[n,i,j,c]/g[c]", {"y": "y", "g": "g", "m": "m"})),
        (BIASED, ("z[n,i,j,c] = -(g[c]*(factor*y[n,i,j,c]))", {"y": "y", "g": "g", "factor": "factor"})),
    ],
)
def test_other_lines(first, second):
    graph = graph_of(first, second)
    found = folded(graph, KEPT, ["z"])
    assert [node.output for node in found.nodes] == ["z.weights", "z.shift", "z"]
    agree(graph, found)


@pytest.mark.parametrize(
    ("steps", "kept", "wanted"),
    [
        ((CONVOLUTION, NORM), KEPT, ["y", "z"]),
        ((CONVOLUTION, NORM), KEPT - {"w"}, ["z"]),
        ((CONVOLUTION, NORM), KEPT - {"g"}, ["z"]),
        ((CONVOLUTION, NORM, ("u[n] = sum(i,j,c) y[n,i,j,c]", {"y": "y"})), KEPT, ["z", "u"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*sigmoid(g[c]*y[n,i,j,c])", {"y": "y", "g": "g"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = g[c] / y[n,i,j,c]", {"y": "y", "g": "g"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*factor", {"y": "y", "factor": "factor"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c] + g[c]", {"y": "y", "g": "g"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,5-c]*g[c]", {"y": "y", "g": "g"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*g[c] - y[n,i,j,c]", {"y": "y", "g": "g"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*g[i]", {"y": "y", "g": "g5"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*g[i]*b[c]", {"y": "y", "g": "g5", "b": "b"})), KEPT, ["z"]),
        ((CONVOLUTION, ("z[n,i,j,c] = y[n,i,j,c]*g[5-c]", {"y": "y", "g": "g"})), KEPT, ["z"]),
        (
            (("y[n,i,j,k] = max(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", {"x": "x", "w": "w"}), NORM),
            KEPT,
            ["z"],
        ),
        (
            (GROUPED, NORM),
            KEPT,
            ["z"],
        ),
    ],
)  # fmt: skip
def test_what_stays(steps, kept, wanted):
    graph = graph_of(*steps)
    assert texts(folded(graph, kept, wanted)) == texts(graph)


def test_a_view_between_stays():
    graph = graph_of(CONVOLUTION)
    view = graph.view("y", (2, 20, 6))
    graph.formula(parse("z[n,i,c] = x[n,i,c]*g[c]"), {"x": view, "g": "g"})
    found = folded(graph, KEPT, ["z"])
    assert texts(found) == texts(graph)
    assert any(isinstance(node, View) for node in found.nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype):
    graph = graph_of(BIASED, NORM, CLIPPED, dtype=dtype)
    given = arrays(dtype)
    expected = compile_graph(graph, ["a"], backend="reference")(given)["a"]
    found = compile_graph(graph, ["a"], kept=KEPT)(given)["a"]
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 1e-5, atol=1e-5)
