"""Fused graphs: which equations are joined and how, and that values stay what they were.

The judge is the graph as it was derived, evaluated literally in float64.
"""

import re

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.language.parse import parse
from pellucid.language.render import to_text
from pellucid.network import BACKENDS, Equation, Graph, View, compile_graph, differentiate
from pellucid.network.fuse import fuse
from pellucid.network.prune import prune
from pellucid.network.results import CONDITIONS, by_results
from pellucid.network.run import CompiledGraph
from pellucid.network.traffic import gain
from pellucid.nn import programs
from pellucid.reference import evaluate


def texts(graph):
    return {node.output: to_text(node.formula) for node in graph.nodes if isinstance(node, Equation)}


def graph_of(shapes, *steps, dtype="float64"):
    """A graph of inputs and equations; a step is (text, bindings), its value is named as its output."""
    graph = Graph(dtype)
    for name, shape in shapes.items():
        graph.input(name, shape)
    for text, bindings in steps:
        graph.formula(parse(text), bindings)
    return graph


def agree(graph, outputs, updates=None, seed=0, tolerance=1e-12):
    """The fused graph, literal and compiled, gives what the graph gives; the fused graph."""
    updates = updates or {}
    random = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        value = graph.values[name]
        arrays[name] = (
            random.normal(size=value.shape) if value.floating else random.integers(0, 2, value.shape)
        ).astype(value.dtype)

    def results(which, backend, threads=1):
        given = {name: array.copy() for name, array in arrays.items()}
        run = compile_graph(which, outputs, backend=backend, updates=updates, threads=threads)
        found = run({name: given[name] for name in run.required})
        return {**found, **{state: given[state] for state in updates}}

    fused = fuse(prune(graph, (*outputs, *updates.values())).graph, outputs, updates)
    expected = results(graph, "reference")
    for found in (results(fused, "reference"), results(graph, "compiled"), results(graph, "compiled", threads=2)):
        for name, array in expected.items():
            size = np.abs(array[np.isfinite(array)]).max(initial=1e-30)
            np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance * size, err_msg=name)
    return fused


# ------------------------------------------------------------ epilogues

DENSE = ("z[n,k] = sum(c) x[n,c]*w[c,k] + b[k]", {"x": "x", "w": "w", "b": "b"})
DENSE_SHAPES = {"x": (5, 7), "w": (7, 6), "b": (6,)}


def test_a_sum_takes_what_reads_it_as_its_epilogue():
    graph = graph_of(
        {**DENSE_SHAPES, "r": (5, 6)},
        DENSE,
        ("y[n,c] = z[n,c] + r[n,c]", {"z": "z", "r": "r"}),
        ("a[n,c] = max(y[n,c], 0)", {"y": "y"}),
    )
    fused = agree(graph, ["a"])
    assert texts(fused) == {"a": "a[n,c] = max(sum(c1) x[n,c1] * w[c1,c] + b[c] + r[n,c], 0)"}


@pytest.mark.parametrize(
    ("function", "count"), [("where(z[n,c] > 0, z[n,c], 0.1*z[n,c])", 1), ("z[n,c]*sigmoid(z[n,c])", 1)]
)
def test_a_sum_that_is_read_twice_is_computed_once(function, count):
    graph = graph_of(DENSE_SHAPES, DENSE, (f"a[n,c] = {function}", {"z": "z"}))
    fused = agree(graph, ["a"])
    assert texts(fused)["a"].count("sum") > 1
    plans = compile_graph(graph, ["a"]).engine.plans
    assert {name: len(found) - 1 for name, found in plans.items()} == {"a": count}  # the first is about the equation


def test_what_is_read_twice_wanted_or_updated_is_not_joined():
    steps = (DENSE, ("a[n,c] = max(z[n,c], 0)", {"z": "z"}), ("e[n,c] = 2*z[n,c]", {"z": "z"}))
    shapes = {**DENSE_SHAPES, "old": (5, 6)}
    assert list(texts(agree(graph_of(shapes, *steps), ["a", "e"]))) == ["z", "a", "e"]
    assert list(texts(agree(graph_of(shapes, *steps[:2]), ["a", "z"]))) == ["z", "a"]
    assert list(texts(agree(graph_of(shapes, *steps[:2]), ["a"], {"old": "z"}))) == ["z", "a"]
    assert list(texts(agree(graph_of(shapes, *steps[:2]), ["a"]))) == ["a"]


def test_only_the_own_cell_makes_an_epilogue():
    for text in ("a[n,m] = z[m,n] + 1", "a[n,c] = z[n,c] + z[n,0]", "a[n,c] = z[n,c] * p[q[c]]"):
        graph = Graph("float64")
        for name, shape in {"x": (6, 7), "w": (7, 6), "b": (6,), "p": (6,)}.items():
            graph.input(name, shape)
        graph.input("q", (6,), "int64")
        graph.formula(parse(DENSE[0]), DENSE[1])
        graph.formula(parse(text), {"z": "z", "p": "p", "q": "q"})
        assert list(texts(agree(graph, ["a"]))) == ["z", "a"]


def test_one_number_for_all_cells_takes_no_epilogue():
    graph = graph_of({"x": (3, 4)}, ("q = sum(n,c) x[n,c]**2", {"x": "x"}), ("z[n,c] = x[n,c]*q", {"x": "x", "q": "q"}))
    assert list(texts(agree(graph, ["z"]))) == ["q", "z"]


def test_an_epilogue_through_a_view():
    graph = graph_of({**DENSE_SHAPES, "v": (30,), "m": ()}, DENSE)
    flat = graph.view("z", (30,))
    graph.formula(parse("u[i] = m*v[i] + z[i]"), {"m": "m", "v": "v", "z": flat})
    fused = agree(graph, ["u"], {})
    assert texts(fused) == {"u.whole": "u[n,k] = m * v[n,k] + (sum(c) x[n,c] * w[c,k] + b[k])"}
    assert [node for node in fused.nodes if isinstance(node, View)] == [View("v.view", "v"), View("u", "u.whole")]


def test_an_update_in_place_whose_sum_is_cut():
    """Unfinished sums may not stand where the old value is still read."""
    graph = graph_of({"x": (3000, 20), "g": (3000, 6), "v": (20, 6)})
    text = "u[c,k] = 0.5*v[c,k] + sum(n) x[n,c]*g[n,k]"
    graph.formula(parse(text), {"v": "v", "x": "x", "g": "g"})
    compiled = compile_graph(graph, [], updates={"v": "u"})
    _, plan = compiled.engine.plans["u"]
    assert re.search("slab|chain\\)", plan)
    assert [tensor.name for tensor in compiled.engine.built.tensors if "copy" in tensor.name] == []
    agree(graph, [], {"v": "u"})


def test_an_update_stands_behind_what_reads_the_old_value():
    """The weights' new value is made of their gradient, but what reads the old weights comes first."""
    graph = graph_of(
        {"x": (5, 7), "w": (7, 6), "g": (5, 6)},
        ("dw[c,k] = sum(n) x[n,c]*g[n,k]", {"x": "x", "g": "g"}),
        ("dx[n,c] = sum(k) g[n,k]*w[c,k]", {"g": "g", "w": "w"}),
        ("new[c,k] = w[c,k] - 0.1*dw[c,k]", {"w": "w", "dw": "dw"}),
    )
    fused = agree(graph, ["dx"], {"w": "new"})
    assert list(texts(fused)) == ["dx", "new"]
    program = compile_graph(graph, ["dx"], updates={"w": "new"}).engine.built
    assert [tensor.name for tensor in program.tensors if tensor.role == "temporary"] == []


def test_long_sums_get_no_epilogue():
    steps = (("s[c] = sum(n) x[n,c]", {"x": "x"}), ("m[c] = s[c] / 2", {"s": "s"}))
    assert len(texts(agree(graph_of({"x": (4096, 2)}, *steps), ["m"]))) == 1
    assert len(texts(agree(graph_of({"x": (4097, 2)}, *steps), ["m"]))) == 2


def test_a_stride_s_gradient_with_an_epilogue():
    """The pieces of a gradient, one for each residue, each with its part of the mask; cells that no term reaches."""
    graph = Graph("float64")
    graph.input("x", (2, 9, 3))
    graph.input("w", (2, 3, 4))
    convolution = parse("z[n,i,k] = sum(s,c) x[n,3*i+s,c] * w[s,c,k]")
    a = graph.formula(parse("a[n,i,c] = max(x[n,i,c], 0)"), {"x": "x"})
    z = graph.formula(convolution, {"x": a, "w": "w"})
    loss = graph.formula(parse("L = sum(n,i,k) z[n,i,k]**2"), {"z": z})
    found = differentiate(graph, loss, graph.formula(parse("one = 1"), {}), ["x", "w"])
    fused = agree(graph, [found["x"], found["w"]])
    assert "[a[n,i,c] > 0]" in texts(fused)[found["x"]]
    assert "sum" in texts(fused)[found["x"]]


# ------------------------------------------------------------ recomputation


def test_a_mask_goes_into_a_statistic_but_not_into_a_product():
    mask = ("m[n,c] = g[n,c] * [a[n,c] > 0]", {"g": "g", "a": "a"})
    shapes = {"g": (8, 6), "a": (8, 6), "x": (8, 5)}
    statistic = ("s[c] = sum(n) m[n,c]", {"m": "m"})
    assert texts(agree(graph_of(shapes, mask, statistic), ["s"])) == {"s": "s[c] = sum(n) g[n,c] * [a[n,c] > 0]"}
    product = ("d[k,c] = sum(n) x[n,k] * m[n,c]", {"x": "x", "m": "m"})
    assert list(texts(agree(graph_of(shapes, mask, product), ["d"]))) == ["m", "d"]


def test_recomputation_must_pay():
    """What has few operands is done again by two readers; what has as many as it saves is kept, and so is an
    exponential."""
    shapes = {"x": (64, 64), "y": (64, 64)}
    readers = (("p[n,k] = z[n,k] + y[n,k]", {"z": "z", "y": "y"}), ("q[n,k] = z[n,k] * y[n,k]", {"z": "z", "y": "y"}))
    cheap = ("z[n,k] = max(x[n,k], 0)", {"x": "x"})
    assert list(texts(agree(graph_of(shapes, cheap, *readers), ["p", "q"]))) == ["p", "q"]
    dear = ("z[n,k] = exp(exp(x[n,k]))", {"x": "x"})
    assert list(texts(agree(graph_of(shapes, dear, *readers), ["p", "q"]))) == ["z", "p", "q"]
    wide = ("z[n,k] = u[n,k] * x[n,k] * v[n,k]", {"u": "u", "v": "v", "x": "x"})
    more = {**shapes, "u": (64, 64), "v": (64, 64)}
    third = ("r[n,k] = z[n,k] - y[n,k]", {"z": "z", "y": "y"})
    assert list(texts(agree(graph_of(more, wide, *readers, third), ["p", "q", "r"]))) == ["z", "p", "q", "r"]


def test_what_is_read_past_a_border_stays():
    """A pool's padding never wins, `max(padding, 0)` would."""
    shapes = {"x": (3, 8)}
    steps = (("a[n,i] = max(x[n,i], 0) - 1", {"x": "x"}), ("z[n,i] = max(s) a[n,i+s-1]", {"a": "a"}))
    graph = Graph("float64")
    graph.input("x", (3, 8))
    graph.formula(parse(steps[0][0]), steps[0][1])
    graph.formula(parse(steps[1][0]), steps[1][1], extents={"s": 3, "i": 8})
    assert list(texts(agree(graph, ["z"]))) == ["a", "z"]
    inside = graph_of(shapes, steps[0])
    inside.formula(parse("z[n,i] = max(s) a[n,2*i+s]"), {"a": "a"}, extents={"s": 2})
    assert list(texts(agree(inside, ["z"]))) == ["z"]


def test_a_scale_for_each_channel_is_not_computed_for_each_cell():
    steps = (
        ("scale[c] = w[c] / sqrt(v[c] + 1)", {"w": "w", "v": "v"}),
        ("z[n,c] = x[n,c] * scale[c]", {"x": "x", "scale": "scale"}),
    )
    graph = graph_of({"w": (4,), "v": (4,), "x": (100, 4)}, *steps)
    graph.input("positive", (4,))
    assert list(texts(fuse(graph, ["z"]))) == ["scale", "z"]


def test_gain():
    """Bytes by hand, float64: the mask's own pass reads 2 x 384 and writes 384, its reader 384; afterwards 2 x 384."""
    graph = graph_of(
        {"g": (8, 6), "a": (8, 6)},
        ("m[n,c] = g[n,c] * [a[n,c] > 0]", {"g": "g", "a": "a"}),
        ("s[c] = sum(n) m[n,c]", {"m": "m"}),
    )
    mask, statistic = graph.nodes
    assert gain(graph.values, mask, [statistic]) == (2 + 1 + 1 - 2) * 384
    # A second reader costs two reads where there was one, and the mask's three operations for 48 cells.
    assert gain(graph.values, mask, [statistic, statistic]) == (3 + 2 - 4) * 384 - 3 * 48 / 2


# ------------------------------------------------------------ results instead of operands

SPECIAL = [0.0, -0.0, 1.5, -1.5, 5e-324, -5e-324, 1e308, -1e308, np.inf, -np.inf, np.nan, 6.0, 3.0, -2.0, 0.5, -0.5]


@pytest.mark.parametrize("rule", CONDITIONS, ids=lambda rule: rule.result)
def test_conditions_are_told_from_the_result(rule):
    """Every bit of every comparison, zeros of both signs, infinities and NaN included, in both backends."""
    for numbers in ({"L": 0, "H": 6}, {"L": -0.5, "H": 3}, {"L": 3.0, "H": 7.0}, {"L": -2, "H": -0.5}):
        if not rule.holds(numbers):
            continue
        for old, new in rule.conditions.items():
            graph = Graph("float64")
            graph.input("z", (len(SPECIAL),))
            a = graph.formula(parse("a[n] = " + with_index(rule.result)), {"z": "z"}, constants=numbers)
            first = graph.formula(parse(f"p[n] = [{with_index(old)}]"), {"z": "z"}, constants=numbers)
            second = graph.formula(parse(f"q[n] = [{with_index(new)}]"), {"a": a}, constants=numbers)
            for backend in BACKENDS:
                found = compile_graph(graph, [first, second], backend=backend)({"z": np.array(SPECIAL)})
                np.testing.assert_array_equal(found[first], found[second], err_msg=f"{rule.result}: {old} -> {new}")


def with_index(text):
    return re.sub(r"\b[az]\b", lambda name: f"{name[0]}[n]", text)


@pytest.mark.parametrize(
    ("layer", "read"),
    [
        ("max(z[n], 0)", "[a[n] > 0]"),
        ("where(z[n] > 0, z[n], 0.01*z[n])", "where(a[n] > 0, 1, 0.01)"),
        ("min(max(z[n], 0), 6)", "[a[n] < 6] * [a[n] > 0]"),
        ("min(max(z[n], LO), HI)", "[a[n] < HI] * [a[n] > LO]"),
        ("sigmoid(z[n])", "a[n] * (1 - a[n])"),
        ("tanh(z[n])", "1 - a[n]**2"),
        ("exp(z[n])", "a[n]"),
        ("sqrt(z[n])", "0.5 * g[n] / a[n]"),
    ],
)
def test_the_derivative_is_told_from_the_result(layer, read):
    """The derivative reads no operand; its value has the same bits."""
    graph = Graph("float64")
    graph.input("z", (len(SPECIAL),))
    graph.input("g", (len(SPECIAL),))
    a = graph.formula(parse(f"a[n] = {layer}"), {"z": "z"}, constants={"LO": -1.0, "HI": 1.0})
    loss = graph.formula(parse("L = sum(n) a[n]*g[n]"), {"a": a, "g": "g"})
    dz = differentiate(graph, loss, graph.formula(parse("one = 1"), {}), ["z"])["z"]
    fused = by_results(graph)
    node = next(node for node in fused.nodes if node.output == dz)
    assert "z" not in node.bindings.values()
    assert read in to_text(node.formula)
    z = np.array(SPECIAL)
    arrays = {"z": z, "g": np.random.default_rng(0).normal(size=z.shape)}
    for backend in BACKENDS:
        first, second = (compile_graph(which, [dz], backend=backend)(arrays)[dz] for which in (graph, fused))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("layer", ["where(z[n] > 0, z[n], 0 - 0.5*z[n])", "min(max(z[n], 1), 0)", "max(z[n], y[n])"])
def test_what_the_result_does_not_tell_is_read_from_the_operand(layer):
    graph = Graph("float64")
    graph.input("z", (5,))
    graph.input("y", (5,))
    a = graph.formula(parse(f"a[n] = {layer}"), {"z": "z", "y": "y"})
    loss = graph.formula(parse("L = sum(n) a[n]*a[n]"), {"a": a})
    dz = differentiate(graph, loss, graph.formula(parse("one = 1"), {}), ["z"])["z"]
    node = next(node for node in by_results(graph).nodes if node.output == dz)
    assert "z" in node.bindings.values()
    agree(graph, [dz])


def test_a_negative_slope_says_nothing_of_the_sign():
    graph = Graph("float64")
    graph.input("z", (5,))
    a = graph.formula(parse("a[n] = where(z[n] > 0, z[n], A*z[n])"), {"z": "z"}, constants={"A": -0.5})
    loss = graph.formula(parse("L = sum(n) a[n]*a[n]"), {"a": a})
    dz = differentiate(graph, loss, graph.formula(parse("one = 1"), {}), ["z"])["z"]
    assert "z" in next(node for node in by_results(graph).nodes if node.output == dz).bindings.values()
    agree(graph, [dz])


def test_a_factor_leaves_its_sum_and_the_sum_is_found_again():
    graph = graph_of(
        {"g": (50, 4), "scale": (4,)},
        ("dmean[c] = -sum(n) g[n,c]*scale[c]", {"g": "g", "scale": "scale"}),
        ("db[c] = sum(n) g[n,c]", {"g": "g"}),
    )
    fused = agree(graph, ["dmean", "db"])
    assert texts(fused) == {"db": "db[c] = sum(n) g[n,c]", "dmean": "dmean[c] = -(scale[c] * db[c])"}


def test_equal_texts_of_other_values_are_not_equal():
    graph = graph_of(
        {"x": (4, 3), "y": (4, 3), "square": (3, 3)},
        ("a[c] = sum(n) exp(x[n,c])", {"x": "x"}),
        ("b[c] = sum(n) exp(x[n,c]) + sum(n) exp(y[n,c])", {"x": "x", "y": "y"}),
        ("r[c] = sum(n) square[n,c]", {"square": "square"}),
        ("s[c] = 2 * sum(n) square[c,n]", {"square": "square"}),
    )
    fused = agree(graph, ["a", "b", "r", "s"])
    assert texts(fused)["b"] == "b[c] = a[c] + sum(n) exp(y[n,c])"
    assert "r[" not in texts(fused)["s"]


def test_names_do_not_collide():
    """Axes, constants and operands of the producer that the consumer names too."""
    graph = Graph("float64")
    for name, shape in {"x": (4, 5), "w": (5, 3), "r": (4, 3)}.items():
        graph.input(name, shape)
    z = graph.formula(parse("z[i,j] = K*sum(k) x[i,k]*w[k,j]"), {"x": "x", "w": "w"}, constants={"K": 2})
    out = graph.formula(parse("k[k,x] = w[k,x]*K + x[k,x]"), {"w": z, "x": "r"}, constants={"K": 3})
    fused = agree(graph, [out])
    (node,) = fused.nodes
    assert to_text(node.formula) == "k[k,x] = K1 * (sum(k1) x1[k,k1] * w1[k1,x]) * K + x[k,x]"
    assert dict(node.constants) == {"K1": 2, "K": 3}


def test_an_output_that_is_no_bare_axis_keeps_its_axes():
    graph = Graph("float64")
    graph.input("x", (4, 5))
    graph.input("w", (3,))
    a = graph.formula(parse("a[n,i] = max(x[n,i], 0)"), {"x": "x"})
    out = graph.formula(parse("z[n,i*K+k] = a[n,i] * w[k]"), {"a": a, "w": "w"}, constants={"K": 3})
    (node,) = agree(graph, [out]).nodes
    assert to_text(node.formula) == "z[n,i*K+k] = max(x[n,i], 0) * w[k]"


def test_a_gather_is_left_alone():
    graph = Graph("float64")
    graph.input("x", (4, 5))
    graph.input("t", (4,), "int64")
    graph.formula(parse("p[n,k] = 2*x[n,k]"), {"x": "x"})
    graph.formula(parse("L = sum(n) p[n,t[n]]"), {"p": "p", "t": "t"})
    assert list(texts(agree(graph, ["L"]))) == ["p", "L"]


# ------------------------------------------------------------ networks


def residual(*layers):
    x = nn.Input()
    y = x
    for layer in layers:
        y = layer(y)
    return nn.Graph(x, y + x)


def joined(first, second):
    x = nn.Input()
    return nn.Graph(x, nn.Concat()(first(x), second(x)))


CONV = nn.Conv2d(4, 3, padding=1)
LAYERS = {
    "conv relu pool": [CONV, nn.ReLU(), nn.MaxPool2d(2)],
    "conv norm relu pool": [CONV, nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), CONV, nn.BatchNorm2d(), nn.ReLU()],
    "strided": [nn.Conv2d(4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(3, 2, stride=2), nn.LeakyReLU()],
    "transposed": [nn.ConvTranspose2d(3, 3, stride=2), nn.ReLU(), nn.Conv2d(2, 1)],
    "residual": [CONV, residual(nn.Conv2d(4, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU(), CONV), nn.ReLU()],
    "concatenated": [joined(nn.Conv2d(3, 1), nn.MaxPool2d(3, stride=1, padding=1)), nn.ReLU()],
    "padded pool": [CONV, nn.LeakyReLU(), nn.MaxPool2d(3, stride=2, padding=1)],
    "averages": [CONV, nn.Tanh(), nn.AvgPool2d(2, padding=1), nn.Sigmoid(), nn.LPPool2d(2, 2)],
    "layer norm": [CONV, nn.LayerNorm(), nn.GELU(), nn.LocalResponseNorm(3), nn.SiLU()],
    "dropout": [CONV, nn.Dropout(0.4), nn.ELU(), nn.Dropout(0.2)],
    "clipped": [CONV, nn.ReLU6(), CONV, nn.Hardtanh(), CONV, nn.Hardswish(), nn.Mish(), nn.Softplus()],
    "learnt": [CONV, nn.PReLU(), nn.Maxout(2), nn.SELU(), nn.Softsign()],
    "flattened": [CONV, nn.ReLU(), nn.Flatten(), nn.Linear(6), nn.BatchNorm1d(), nn.ReLU()],
    "softmax": [CONV, nn.GlobalAvgPool(), nn.Softmax()],
}
LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(label_smoothing=0.1), "labels"),
    "mean squared": (nn.MSELoss(), "values"),
    "smooth": (nn.SmoothL1Loss(), "values"),
    "binary": (nn.BCEWithLogitsLoss(), "shares"),
}
OPTIMISERS = {
    "sgd": optim.SGD(0.1),
    "momentum": optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": optim.Adam(1e-2),
    "adamw": optim.AdamW(1e-2, weight_decay=0.1),
    "rmsprop": optim.RMSprop(1e-2, momentum=0.5),
}


def captured(model, x, t, monkeypatch):
    """The graph of a training step as `compile_graph` gets it, its outputs and updates."""
    seen = []

    def capture(graph, outputs, **options):
        seen.append((graph, outputs, options.get("updates") or {}))
        return compile_graph(graph, outputs, **{**options, "backend": "reference"})

    monkeypatch.setattr(programs, "compile_graph", capture)
    model.train_step(x, t)
    monkeypatch.undo()
    return seen[0]


def judged(layers, loss, target, optimizer, monkeypatch, **options):
    """A step of the graph as it was derived, of the fused one, and of machine code on 1 and 3 threads."""
    network = nn.Sequential(*layers, *([] if layers is LAYERS["softmax"] else [nn.Flatten(), nn.Linear(4)]))
    model = network.build((6, 7, 2), loss=loss, optimizer=optimizer, dtype="float64", **options)
    data = np.random.default_rng(3)
    x = data.normal(size=(3, 6, 7, 2))
    t = {
        "labels": data.integers(0, 4, 3),
        "values": data.normal(size=(3, 4)),
        "shares": data.integers(0, 2, (3, 4)).astype("float64"),
    }[target]
    graph, outputs, updates = captured(model, x, t, monkeypatch)
    pruned = prune(graph, (*outputs, *updates.values()))
    wanted, new = [pruned.names[name] for name in outputs], {s: pruned.names[v] for s, v in updates.items()}
    fused = fuse(pruned.graph, wanted, new)
    arrays = {}
    for name in graph.inputs:
        value = graph.values[name]
        drawn = np.abs(data.normal(size=value.shape)) * 0.3 + 0.05
        arrays[name] = x if name == "x" else t if name == "t" else drawn.astype(value.dtype)

    def step(compiled: CompiledGraph):
        given = {name: np.array(array) for name, array in arrays.items()}
        found = compiled({name: given[name] for name in compiled.required})
        return {**{name: found[name] for name in found}, **{state: given[state] for state in new}}

    expected = step(compile_graph(pruned.graph, wanted, updates=new, backend="reference"))
    literal = step(compile_graph(fused, wanted, updates=new, backend="reference"))
    one, three = (step(compile_graph(pruned.graph, wanted, updates=new, threads=threads)) for threads in (1, 3))
    for name, array in expected.items():
        size = max(1e-3, float(np.abs(array).max()))
        np.testing.assert_allclose(literal[name], array, rtol=1e-10, atol=1e-12 * size, err_msg=name)
        np.testing.assert_allclose(one[name], array, rtol=1e-9, atol=1e-11 * size, err_msg=name)
        np.testing.assert_array_equal(one[name], three[name], err_msg=name)
    return pruned.graph, fused


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, monkeypatch):
    before, after = judged(LAYERS[name], nn.CrossEntropyLoss(), "labels", optim.SGD(0.1, momentum=0.9), monkeypatch)
    assert len(texts(after)) < len(texts(before))


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, monkeypatch):
    loss, target = LOSSES[name]
    judged(LAYERS["conv relu pool"], loss, target, optim.SGD(0.1), monkeypatch, regularizer=optim.L2(0.01))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name, monkeypatch):
    clip = {"clip_norm": 0.5} if name == "adam" else {}
    judged(LAYERS["flattened"], nn.CrossEntropyLoss(), "labels", OPTIMISERS[name], monkeypatch, **clip)


def six_convolutions():
    blocks = []
    for number, channels in enumerate((32, 32, 64, 64, 128, 128)):
        blocks += [nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU()]
        blocks += [nn.MaxPool2d(2)] if number % 2 else []
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(10))


@pytest.mark.parametrize(
    ("make", "shape", "before", "after"),
    [
        (nn.lenet5, (28, 28, 1), 66, 46),
        (six_convolutions, (32, 32, 3), 199, 140),
        (nn.resnet, (32, 32, 3), 614, 411),
    ],
    ids=["lenet5", "six convolutions", "resnet18"],
)
def test_how_many_equations_a_step_has(make, shape, before, after, monkeypatch):
    model = make().build(shape, loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1, momentum=0.9))
    seen = []

    def capture(graph, outputs, **options):
        seen.append((graph, outputs, options["updates"]))
        raise InterruptedError

    monkeypatch.setattr(programs, "compile_graph", capture)
    with pytest.raises(InterruptedError):
        model.train_step(np.zeros((32, *shape), "float32"), np.zeros(32, "int64"))
    ((graph, outputs, updates),) = seen
    pruned = prune(graph, (*outputs, *updates.values()))
    wanted, new = [pruned.names[name] for name in outputs], {s: pruned.names[v] for s, v in updates.items()}
    assert (len(texts(pruned.graph)), len(texts(fuse(pruned.graph, wanted, new)))) == (before, after)


def test_the_reference_judges_a_fused_equation():
    """A fused node is an ordinary formula: the evaluator takes it as it stands."""
    graph = graph_of(DENSE_SHAPES, DENSE, ("a[n,c] = max(z[n,c], 0)", {"z": "z"}))
    (node,) = fuse(graph, ["a"]).nodes
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=shape) for name, shape in DENSE_SHAPES.items()}
    local = {name: arrays[bound] for name, bound in node.bindings.items()}
    found = evaluate(node.formula, node.constants, node.extents, local, out=np.zeros((5, 6)))
    np.testing.assert_allclose(found, np.maximum(arrays["x"] @ arrays["w"] + arrays["b"], 0), rtol=1e-13)
