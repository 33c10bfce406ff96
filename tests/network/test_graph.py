"""Graphs of equations: shapes, names, errors, reverse mode, merging and in-place updates."""

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.language.parse import parse, parse_system
from pellucid.language.system import System
from pellucid.network import Equation, Graph, View, compile_graph, differentiate, zeros
from pellucid.network.inplace import place_updates, roots
from pellucid.network.prune import prune

CONVOLUTION = parse("z[n,i,k] = sum(s,c) x[n,i*S+s,c] * w[s,c,k]")


def convolution(dtype="float64"):
    graph = Graph(dtype)
    graph.input("image", (2, 7, 3))
    graph.input("kernel", (3, 3, 4))
    out = graph.formula(CONVOLUTION, {"x": "image", "w": "kernel"}, constants={"S": 2, "unused": 9}, prefix="conv")
    return graph, out


def test_shapes_names_and_constants():
    graph, out = convolution()
    assert out == "conv.z"
    assert graph.values[out].shape == (2, 3, 4)
    (node,) = graph.nodes
    assert isinstance(node, Equation)
    assert dict(node.constants) == {"S": 2}
    assert dict(node.extents) == {"n": 2, "i": 3, "k": 4, "s": 3, "c": 3}
    assert node.sources == ("image", "kernel")
    again = graph.formula(CONVOLUTION, {"x": "image", "w": "kernel"}, constants={"S": 1}, prefix="conv")
    assert again == "conv.z.1"
    assert graph.values[again].shape == (2, 5, 4)


def test_a_system_reads_what_it_made():
    graph = Graph("float64")
    graph.input("x", (2, 3))
    texts = "total[n] = sum(k) x[n,k]\nz[n,k] = x[n,k] / total[n]"
    made = graph.system_values(System(parse_system(texts), "z"), {"x": "x"}, prefix="share")
    assert made == {"total": "share.total", "z": "share.z"}
    found = compile_graph(graph, ["share.z"], backend="reference")({"x": np.array([[1.0, 1, 2], [3, 0, 0]])})
    np.testing.assert_array_equal(found["share.z"], [[0.25, 0.25, 0.5], [1, 0, 0]])


def test_positions_are_integers():
    graph = Graph("float32")
    graph.input("x", (2, 3))
    assert graph.values[graph.formula(parse("z[n] = argmax(k) x[n,k]"), {"x": "x"})].dtype == "int64"


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda g: Graph("float16"), DtypeError, "`dtype` (='float16') must be one of float32, float64"),
        (lambda g: g.input("image", (1,)), ArgumentError, "`name` (='image') is already a value of the graph"),
        (lambda g: g.input("y", (0, 2)), ShapeError, "y has shape (0, 2): every extent must be at least 1"),
        (
            lambda g: g.input("y", (2,), "int8"),
            DtypeError,
            "`dtype` (='int8') of input 'y' must be one of float32, float64, int64",
        ),
        (
            lambda g: g.formula(CONVOLUTION, {"x": "image"}, constants={"S": 2}),
            ArgumentError,
            "`bindings` lacks w, read by the equation of z",
        ),
        (
            lambda g: g.formula(CONVOLUTION, {"x": "image", "w": "no"}, constants={"S": 2}),
            ArgumentError,
            "'no' is no value of the graph",
        ),
        (
            lambda g: g.view("image", (5, 2)),
            ShapeError,
            "a view of image (2, 7, 3) (42 elements) cannot have shape (5, 2)",
        ),
        (
            lambda g: differentiate(g, "conv.z", "image", ["kernel"]),
            ShapeError,
            "`upstream` image has shape (2, 7, 3), but conv.z has shape (2, 3, 4)",
        ),
        (lambda g: differentiate(g, "conv.z", "conv.z", ["no"]), ArgumentError, "'no' is no value of the graph"),
        (
            lambda g: compile_graph(g, ["conv.z"], backend="gpu"),
            ArgumentError,
            "`backend` (='gpu') must be one of compiled, reference",
        ),
        (lambda g: compile_graph(g, ["conv.z"], threads=0), ArgumentError, "`threads` (=0) must be at least 1"),
        (lambda g: compile_graph(g, ["no"]), ArgumentError, "no: no value of the graph"),
    ],
)
def test_errors(act, kind, message):
    graph, _ = convolution()
    with pytest.raises(kind) as raised:
        act(graph)
    assert str(raised.value) == message


def test_gradients_against_differences():
    """A value used twice, a view between, a gather: one random direction in float64."""
    graph = Graph("float64")
    graph.input("x", (3, 4))
    graph.input("t", (3,), "int64")
    graph.input("a", ())
    square = graph.formula(parse("z[n,k] = x[n,k] ** 2 * x[n,k] + a * x[n,k]"), {"x": "x", "a": "a"})
    flat = graph.view(square, (12,))
    mixed = graph.formula(parse("m[i] = f[i] * exp(f[i] / 4)"), {"f": flat})
    back = graph.view(mixed, (3, 4))
    loss = graph.formula(parse("L = sum(n) y[n,t[n]] * x[n,t[n]]"), {"y": back, "t": "t", "x": "x"})
    one = graph.formula(parse("one = 1"), {})
    found = differentiate(graph, loss, one, ["x", "a", "t"])
    assert found["t"] is None
    run = compile_graph(graph, [loss, found["x"], found["a"]], backend="reference")
    random = np.random.default_rng(0)
    x, direction, t, a = random.normal(size=(3, 4)), random.normal(size=(3, 4)), np.array([1, 0, 3]), np.array(0.7)
    eps = 1e-6
    ahead, behind = (run({"x": x + sign * eps * direction, "t": t, "a": a})[loss] for sign in (1, -1))
    slope = (run({"x": x, "t": t, "a": a})[found["x"]] * direction).sum()
    assert abs((ahead - behind) / (2 * eps) - slope) < 1e-8 * max(1, abs(slope))
    ahead, behind = (run({"x": x, "t": t, "a": a + sign * eps})[loss] for sign in (1, -1))
    slope = run({"x": x, "t": t, "a": a})[found["a"]]
    assert abs((ahead - behind) / (2 * eps) - slope) < 1e-8 * max(1, abs(slope))


def test_a_value_without_influence():
    graph, out = convolution()
    graph.input("other", (2, 2))
    found = differentiate(graph, out, out, ["other", "kernel"])
    assert found["other"] is None
    nought = zeros(graph, "other")
    run = compile_graph(graph, [nought], backend="reference")
    np.testing.assert_array_equal(run({})[nought], np.zeros((2, 2)))


def test_only_what_matters_is_differentiated():
    graph, out = convolution()
    before = len(graph.nodes)
    differentiate(graph, out, out, ["kernel"])
    assert [node.output for node in graph.nodes[before:]] == ["d.kernel.dw"]


def test_equal_nodes_become_one_and_dead_ones_go():
    graph, out = convolution()
    twin = graph.formula(CONVOLUTION, {"x": "image", "w": "kernel"}, constants={"S": 2})
    dead = graph.formula(CONVOLUTION, {"x": "image", "w": "kernel"}, constants={"S": 1})
    total = graph.formula(parse("y[n,i,k] = a[n,i,k] + b[n,i,k]"), {"a": out, "b": twin})
    pruned = prune(graph, [total, twin])
    assert pruned.names == {total: total, twin: out}
    assert [node.output for node in pruned.graph.nodes] == [out, total]
    assert dead not in pruned.graph.values
    assert len(graph.nodes) == 4


# Updates in place


def step_graph():
    graph = Graph("float64")
    graph.input("w", (2, 3))
    graph.input("g", (2, 3))
    flat, slope = graph.view("w", (6,)), graph.view("g", (6,))
    new = graph.formula(parse("p1[i] = p[i] - 2 * g[i]"), {"p": flat, "g": slope})
    return graph, new


def test_an_elementwise_update_takes_over_the_memory():
    graph, new = step_graph()
    assert place_updates(graph, {"w": new}, ()) == {new: "w"}
    assert roots(graph)[graph.nodes[0].output] == "w"


def test_copies_where_in_place_is_not_legal():
    graph, new = step_graph()
    graph.formula(parse("late[n,k] = w[n,k]"), {"w": "w"})
    (source,) = place_updates(graph, {"w": new}, ())
    assert source == "update.w.copy"
    graph, new = step_graph()
    assert place_updates(graph, {"w": new}, [new]) == {"update.w.copy": "w"}
    graph = Graph("float64")
    graph.input("w", (4,))
    turned = graph.formula(parse("p[i] = w[3-i]"), {"w": "w"}, extents={"i": 4})
    assert place_updates(graph, {"w": turned}, ()) == {"update.w.copy": "w"}
    summed = graph.formula(parse("p[i] = (sum(j) w[j]) + w[i]"), {"w": "w"})
    assert place_updates(graph, {"w": summed}, ()) == {"update.w.copy.1": "w"}


@pytest.mark.parametrize(
    ("outputs", "updates", "kind", "message"),
    [
        ([], {"p1": "p1"}, ArgumentError, "`updates` names 'p1', which is no input of the graph"),
        ([], {"w": "g", "g": "p1"}, ArgumentError, "`updates` gives 'w' the old value of 'g', which is itself updated"),
        (["w"], {"w": "p1"}, ArgumentError, "'w' cannot be an output: 'w' is written over by `updates`"),
        ([], {"s": "p1"}, ShapeError, "s () float64 cannot be updated by p1 (6,) float64"),
    ],
)
def test_updates_without_one_meaning(outputs, updates, kind, message):
    graph, new = step_graph()
    graph.input("s", ())
    assert new == "p1"
    for backend in ("reference", "compiled"):
        with pytest.raises(kind) as raised:
            compile_graph(graph, outputs, backend=backend, updates=updates)
        assert str(raised.value) == message


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_updates_are_written_where_the_input_stands(backend):
    graph, new = step_graph()
    run = compile_graph(graph, [new], backend=backend, updates={"w": new})
    w, g = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    found = run({"w": w, "g": g})
    np.testing.assert_array_equal(w, np.arange(6.0).reshape(2, 3) - 2)
    np.testing.assert_array_equal(found[new], w.reshape(-1))


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_bound_state_changes_from_call_to_call(backend):
    graph, new = step_graph()
    run = compile_graph(graph, [], backend=backend, updates={"w": new})
    w = np.zeros((2, 3))
    bound = run.bind({"w": w, "unknown to the graph": np.zeros(3)})
    for _ in range(3):
        assert bound({"g": np.ones((2, 3))}) == {}
    np.testing.assert_array_equal(w, np.full((2, 3), -6.0))


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_outputs_lie_over_those_of_the_call_before_where_asked(backend):
    graph, new = step_graph()
    run = compile_graph(graph, [new], backend=backend)
    w, g = np.zeros((2, 3)), np.ones((2, 3))
    fresh, reused = run.bind({"w": w}), run.bind({"w": w}, reuse=True)
    first, second = fresh({"g": g})[new], fresh({"g": 2 * g})[new]
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, np.full(6, -2.0))
    again = reused.bind({})
    for own in (reused, again):
        first = own({"g": g})[new]
        np.testing.assert_array_equal(first, np.full(6, -2.0))
        assert own({"g": 2 * g})[new] is first
        np.testing.assert_array_equal(first, np.full(6, -4.0))


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_what_is_read_overlaps_no_bound_array_that_is_updated(backend):
    graph, new = step_graph()
    w = np.zeros((2, 3))
    bound = compile_graph(graph, [], backend=backend, updates={"w": new}).bind({"w": w})
    with pytest.raises(ArgumentError, match=r"^w is updated in place and overlaps g$"):
        bound({"g": w})


def test_call_contract():
    graph, new = step_graph()
    run = compile_graph(graph, [], backend="reference", updates={"w": new})
    w, g = np.zeros((2, 3)), np.ones((2, 3))
    cases = [
        ({"w": w}, ArgumentError, "the graph's input g is missing"),
        ({"w": w, "g": g, "h": g}, ArgumentError, "h: no input of the graph; it has w, g"),
        ({"w": w, "g": g[:1]}, ShapeError, "g has shape (1, 3); the graph was made for (2, 3)"),
        (
            {"w": w, "g": np.ones((2, 3), int)},
            DtypeError,
            "g has dtype int64; a floating type is needed (float64 inside)",
        ),
        (
            {"w": w.astype("float32"), "g": g},
            DtypeError,
            "w is kept or updated in place: it must be a C-contiguous array of float64",
        ),
        (
            {"w": np.asfortranarray(w), "g": g},
            DtypeError,
            "w is kept or updated in place: it must be a C-contiguous array of float64",
        ),
        ({"w": w, "g": w}, ArgumentError, "g is updated in place and overlaps w"),
    ]
    for arrays, kind, message in cases[:-1]:
        with pytest.raises(kind) as raised:
            run(arrays)
        assert str(raised.value) == message
    with pytest.raises(ArgumentError, match=r"^w is updated in place and overlaps g$"):
        run(cases[-1][0])
    frozen = w.copy()
    frozen.flags.writeable = False
    with pytest.raises(DtypeError, match=r"^w is updated in place: it must be writeable$"):
        run({"w": frozen, "g": g})
    strided = np.ones((2, 6))[:, ::2]
    run({"w": w, "g": strided.astype("float32")})
    np.testing.assert_array_equal(w, np.full((2, 3), -2.0))


def test_index_arrays_are_checked():
    graph = Graph("float64")
    graph.input("logp", (2, 10))
    graph.input("t", (2,), "int64")
    out = graph.formula(parse("l[n] = -logp[n,t[n]]"), {"logp": "logp", "t": "t"})
    run = compile_graph(graph, [out], backend="reference")
    with pytest.raises(ArgumentError) as raised:
        run({"logp": np.zeros((2, 10)), "t": np.array([3, 12], np.int32)})
    assert str(raised.value) == "t[1] = 12 is outside 0 .. 9, the range of index 1 of logp"
    run({"logp": np.zeros((2, 10)), "t": np.array([3, 9], np.uint8)})


@pytest.mark.parametrize("backend", ["compiled", "reference"])
def test_positions_that_may_be_outside_what_they_index(backend):
    for length, fits in ((9, True), (8, False)):
        graph = Graph()
        x, w = graph.input("x", (2, 3, 9)), graph.input("w", (length,))
        t = graph.view(graph.formula(parse("t[n,i] = argmax(c) x[n,i,c]"), {"x": x}), (6,))
        y = graph.formula(parse("y[n] = w[t[n]]"), {"w": w, "t": t})
        if fits:
            given = {"x": np.eye(9)[[[0, 8, 3], [2, 7, 1]]], "w": np.arange(9.0)}
            found = compile_graph(graph, [y], backend=backend)(given)[y]
            np.testing.assert_array_equal(found, [0, 8, 3, 2, 7, 1])
            continue
        with pytest.raises(ArgumentError) as raised:
            compile_graph(graph, [y], backend=backend)
        message = "t.view holds positions 0 .. 8, but the range of index 0 of w is 0 .. 7"
        assert str(raised.value) == message


def test_views_of_inputs_can_be_outputs():
    graph = Graph("float64")
    graph.input("x", (2, 3))
    view = graph.view("x", (6,))
    assert isinstance(graph.nodes[0], View)
    for backend in ("reference", "compiled"):
        found = compile_graph(graph, [view, "x"], backend=backend)({"x": np.arange(6.0).reshape(2, 3)})
        np.testing.assert_array_equal(found[view], np.arange(6.0))
        np.testing.assert_array_equal(found["x"], np.arange(6.0).reshape(2, 3))
