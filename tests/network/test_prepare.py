"""What follows from kept inputs alone: split off, computed when it changes, kept on disk with the rest."""

import re

import numpy as np
import pytest

from network.test_built import builds, entries, folder, fresh
from pellucid.language.parse import parse
from pellucid.network import Graph, View, compile_graph
from pellucid.network.prepare import in_two

__all__ = ["builds", "folder"]


def graph_of():
    """u = exp(w), v a view of it, z = x*u*v with another view, q from `w` alone."""
    graph = Graph("float64")
    for name, shape in (("x", (4, 6)), ("w", (2, 3)), ("b", (6,))):
        graph.input(name, shape)
    u = graph.formula(parse("u[i,j] = exp(w[i,j])"), {"w": "w"})
    v = graph.view(u, (6,), prefix="v")
    s = graph.formula(parse("s[c] = v[c] + b[c]"), {"v": v, "b": "b"}, prefix="p")
    graph.formula(parse("z[n] = sum(c) x[n,c]*v[c]*s[c]"), {"x": "x", "v": v, "s": s})
    graph.formula(parse("q = sum(i,j) u[i,j]"), {"u": u})
    return graph


def arrays():
    random = np.random.default_rng(0)
    return {"x": random.normal(size=(4, 6)), "w": random.normal(size=(2, 3)), "b": random.normal(size=6)}


def literal(given, outputs=("z",)):
    return compile_graph(graph_of(), outputs, backend="reference")(given)


def test_the_two_parts():
    graph = graph_of()
    found = in_two(graph, ["w", "b"], ["z"])
    assert found.between == ("u", "p.s")
    assert [node.output for node in found.first.nodes] == ["u", "v.view", "p.s", "q"]
    assert [node.output for node in found.then.nodes] == ["v.view", "z"]
    assert found.then.inputs == ("x", "w", "b", "u", "p.s")
    assert in_two(graph, ["w"], ["z"]).between == ("u",)
    assert in_two(graph, ["b"], ["z"]).between == ()
    assert in_two(graph, [], ["z"]).between == ()


def test_views_of_inputs_alone_make_no_part():
    graph = Graph()
    graph.input("w", (2, 3))
    graph.input("x", (6,))
    view = graph.view("w", (6,))
    graph.formula(parse("z[c] = x[c]*w[c]"), {"x": "x", "w": view})
    assert isinstance(graph.nodes[0], View)
    assert in_two(graph, ["w"], ["z"]).between == ()


@pytest.mark.parametrize("outputs", [["z"], ["z", "q"], ["z", "u", "v.view", "p.s"]])
def test_outputs_of_either_part(outputs):
    given, expected = arrays(), literal(arrays(), outputs)
    run = compile_graph(graph_of(), outputs, kept=["w", "b"])
    bound = run.bind({"w": given["w"], "b": given["b"]})
    for found in (run(given), bound({"x": given["x"]}), bound({"x": given["x"]})):
        assert list(found) == outputs
        for name in outputs:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-13)


def test_kept_until_refreshed():
    given = arrays()
    run = compile_graph(graph_of(), ["z"], kept=["w", "b"])
    bound, other = run.bind({"w": given["w"], "b": given["b"]}), run.bind({"w": given["w"].copy(), "b": given["b"]})
    x = {"x": given["x"]}
    before = bound(x)["z"]
    np.testing.assert_array_equal(other(x)["z"], before)
    given["w"] += 1
    np.testing.assert_array_equal(bound(x)["z"], before)
    bound.refresh()
    np.testing.assert_allclose(bound(x)["z"], literal(given)["z"], rtol=1e-13)
    np.testing.assert_array_equal(other(x)["z"], before)
    # What is not bound comes with each call, and is never out of date.
    np.testing.assert_array_equal(run(given)["z"], bound(x)["z"])
    given["b"] += 1
    np.testing.assert_allclose(run(given)["z"], literal(given)["z"], rtol=1e-13)


def test_panels_of_what_is_kept_are_made_with_it():
    """x w and x exp(w): copies of w and of exp(w) in the order in which the products read them are made once."""
    graph = Graph()
    graph.input("x", (64, 512), of_images=False)
    graph.input("w", (512, 128))
    e = graph.formula(parse("e[c,k] = exp(w[c,k])"), {"w": "w"})
    graph.formula(parse("y[n,k] = sum(c) x[n,c]*w[c,k]"), {"x": "x", "w": "w"})
    graph.formula(parse("z[n,k] = sum(c) x[n,c]*e[c,k]"), {"x": "x", "e": e})
    random = np.random.default_rng(0)
    x, w = random.normal(size=(64, 512)).astype("float32"), random.normal(size=(512, 128)).astype("float32")
    whole = compile_graph(graph, ["y", "z"])({"x": x, "w": w})
    run = compile_graph(graph, ["y", "z"], kept=["w"])
    copies = {tensor.name for tensor in run.engine.built.before.tensors if tensor.role == "output"}
    assert {re.sub(r"(?<=panel0)\.\d+$", "", name) for name in copies} == {"n0.y.panel0", "n1.z.panel0"}
    assert copies <= {tensor.name for tensor in run.engine.built.tensors if tensor.role == "input"}
    bound = run.bind({"w": w})
    for _ in range(2):
        found = bound({"x": x})
        for name in ("y", "z"):
            np.testing.assert_array_equal(found[name], whole[name])
    w *= 2
    np.testing.assert_array_equal(bound({"x": x})["y"], whole["y"])
    bound.refresh()
    np.testing.assert_array_equal(bound({"x": x})["y"], 2 * whole["y"])


def test_what_is_kept_lies_in_the_order_of_reading():
    """What u gives, and then v, and a copy of w; what is read is the copy, then what v gave, then what u."""
    graph = Graph()
    graph.input("x", (64, 512), of_images=False)
    for name, shape in (("u", (64,)), ("v", (64,)), ("w", (512, 512))):
        graph.input(name, shape)
    of_u = graph.formula(parse("d[n] = exp(u[n])"), {"u": "u"})
    of_v = graph.formula(parse("e[n] = exp(v[n])"), {"v": "v"})
    y = graph.formula(parse("y[n,k] = sum(c) x[n,c]*w[c,k]"), {"x": "x", "w": "w"})
    most = graph.formula(parse("m[n] = max(k) y[n,k]*e[n]"), {"y": y, "e": of_v})
    least = graph.formula(parse("z = sum(n) m[n]*d[n]"), {"m": most, "d": of_u})
    run = compile_graph(graph, [least], kept=["u", "v", "w"])
    assert {of_u, of_v} <= run.engine.built.places.keys()
    held = run.engine._then._fixed
    order = sorted(held, key=lambda name: held[name].ctypes.data)
    assert list(dict.fromkeys(re.sub(r"\.panel0.*", "", name) for name in order)) == ["n0.y", of_v, of_u]


def test_what_is_updated_is_not_kept():
    graph = Graph("float64")
    graph.input("w", (3,))
    graph.input("x", (3,))
    graph.formula(parse("e[i] = exp(w[i])"), {"w": "w"})
    graph.formula(parse("z[i] = e[i]*x[i]"), {"e": "e", "x": "x"})
    run = compile_graph(graph, ["z"], updates={"w": "z"}, kept=["w"])
    w, x = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.5, 0.1])
    bound, expected = run.bind({"w": w}), w.copy()
    for _ in range(3):
        expected = np.exp(expected) * x
        np.testing.assert_allclose(bound({"x": x})["z"], expected, rtol=1e-13)


def test_both_parts_are_one_entry(folder, builds):
    def result():
        return compile_graph(graph_of(), ["z"], kept=["w", "b"])(arrays())["z"]

    cold = fresh(result)
    np.testing.assert_array_equal(fresh(result), cold)
    assert builds.count == 1
    fresh(lambda: compile_graph(graph_of(), ["z"])(arrays()))
    fresh(lambda: compile_graph(graph_of(), ["z"], kept=["w"])(arrays()))
    assert (builds.count, len(entries(folder))) == (3, 3)
