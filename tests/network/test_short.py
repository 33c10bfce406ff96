"""Equations for a batch, rewritten to serve fewer rows: what they become, and which are refused."""

import numpy as np
import pytest

from pellucid.language.parse import parse, parse_system
from pellucid.language.render import to_text
from pellucid.network import Graph, compile_graph, differentiate
from pellucid.network.short import add_live, serving_fewer


def graph_of(text, rows, constants=None, extents=None):
    """A graph of the equations on `x` (rows, 3) and `w` (3,)."""
    graph = Graph("float64", images=rows)
    graph.input("x", (rows, 3), of_images=True)
    graph.input("w", (3,))
    add_live(graph)
    known = {"x": "x", "w": "w"}
    for formula in parse_system(text):
        known[formula.output.tensor] = graph.formula(formula, known, constants=constants, extents=extents)
    return graph


def printed(graph):
    return [to_text(node.formula) for node in graph.nodes]


def test_statistics():
    text = "m[c] = (sum(n) x[n,c]) / N\nv[c] = (sum(n) (x[n,c] - m[c])**2) / (N - 1)\nz[n,c] = (x[n,c] - m[c])*w[c]"
    found = serving_fewer(graph_of(text, 8, {"N": 8}), graph_of(text, 5, {"N": 5}))
    assert printed(found) == [
        "count = rows * K",
        "m[c] = (sum(n) where(live[n] > 0, x[n,c], 0)) / N",
        "v[c] = (sum(n) where(live[n] > 0, (x[n,c] - m[c])**2, 0)) / (N - 1)",
        "z[n,c] = (x[n,c] - m[c]) * w[c]",
    ]
    assert dict(found.nodes[0].constants) == {"K": 1}
    assert dict(found.nodes[1].bindings) == {"x": "x", "N": "rows.1", "live": "live"}
    assert found.nodes == serving_fewer(graph_of(text, 8, {"N": 8}), graph_of(text, 9, {"N": 9})).nodes


def test_names_that_are_taken():
    text = "z = sum(n,c) x[n,c]*live[n]\ny = z*live1"
    graphs = []
    for rows in (4, 5):
        graph = Graph(images=rows)
        graph.input("x", (rows, 3), of_images=True)
        graph.input("mine", (rows,), of_images=True)
        add_live(graph)
        graph.formula(parse_system(text)[0], {"x": "x", "live": "mine"})
        graphs.append(graph)
    (node,) = serving_fewer(*graphs).nodes
    assert to_text(node.formula) == "z = sum(n,c) where(live1[n] > 0, x[n,c] * live[n], 0)"
    assert dict(node.bindings) == {"x": "x", "live": "mine", "live1": "live"}


@pytest.mark.parametrize(
    ("text", "constants", "extents"),
    [
        ("z[c] = max(n) x[n,c]", ({}, {}), ({}, {})),
        ("z[c] = argmax(n) x[n,c]", ({}, {}), ({}, {})),
        ("z[n,c] = x[n-1,c]", ({}, {}), ({"n": 8}, {"n": 5})),
        ("z[n,c] = x[N-1-n,c]", ({"N": 8}, {"N": 5}), ({"n": 8}, {"n": 5})),
        ("z[c] = x[0,c]", ({}, {}), ({}, {})),
        ("z[n,m] = sum(c) x[n,c]*x[m,c]", ({}, {}), ({}, {})),
        ("z[c,n] = x[n,c]", ({}, {}), ({}, {})),
        ("z[n*3+c] = x[n,c]", ({}, {}), ({}, {})),
        ("z[c] = (sum(n) x[n,c]) / N", ({"N": 3}, {"N": 2}), ({}, {})),
        ("z[c] = sum(n : n < N) x[n,c]", ({"N": 8}, {"N": 5}), ({}, {})),
        ("z[c] = sum(i) w[c]*i", ({}, {}), ({"i": 16}, {"i": 11})),
    ],
)
def test_refused(text, constants, extents):
    first, second = (graph_of(text, rows, constants[k], extents[k]) for k, rows in enumerate((8, 5)))
    assert serving_fewer(first, second) is None


def test_other_equations_are_refused():
    first, second = graph_of("z[n,c] = x[n,c]*w[c]", 8), graph_of("z[n,c] = x[n,c] + w[c]", 5)
    assert serving_fewer(first, second) is None
    assert serving_fewer(first, graph_of("z[n,c] = x[n,c]*w[c]\ny[c] = w[c]", 5)) is None


def test_views_keep_the_batch():
    def seen(rows, shape):
        graph = graph_of("z[n,c] = x[n,c]*w[c]", rows)
        graph.view("z", shape)
        return graph

    assert len(serving_fewer(seen(8, (8, 3, 1)), seen(5, (5, 3, 1))).nodes) == 2
    assert serving_fewer(seen(8, (24,)), seen(5, (15,))) is None


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_rows_that_are_not_there_count_for_nothing(backend):
    """Whatever stands in them in the forward pass; their gradient is 0 to the bit."""
    text = "m[c] = (sum(n) x[n,c]) / N\ny[n] = sum(c) (x[n,c] - m[c])**2*w[c]\nz = (sum(n) y[n]) / N"
    found = serving_fewer(graph_of(text, 8, {"N": 8}), graph_of(text, 5, {"N": 5}))
    one = found.formula(parse("one = 1"), {})
    wanted = differentiate(found, "z", one, ["x", "w"])
    run = compile_graph(found, ["z", *wanted.values()], backend=backend)
    own = graph_of(text, 5, {"N": 5})
    judge = differentiate(own, "z", own.formula(parse("one = 1"), {}), ["x", "w"])
    check = compile_graph(own, ["z", *judge.values()], backend="reference")
    random = np.random.default_rng(0)
    x, w = random.normal(size=(8, 3)), random.normal(size=3)
    given = {"w": w, "live": np.arange(8) < 5, "rows": np.asarray(5.0)}
    given["live"] = given["live"].astype("float64")
    expected = check({"x": x[:5], "w": w})
    for rest in (0.0, 1e6, -3.0):
        x[5:] = rest
        result = run({"x": x, **given})
        np.testing.assert_allclose(result["z"], expected["z"], rtol=1e-13)
        np.testing.assert_allclose(result[wanted["x"]][:5], expected[judge["x"]], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(result[wanted["w"]], expected[judge["w"]], rtol=1e-12)
        assert not result[wanted["x"]][5:].any()
