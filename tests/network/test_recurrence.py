"""Recurrences in graphs: their gradients, their machine code, and what the passes over graphs leave of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from pellucid.language.parse import parse, parse_system
from pellucid.language.system import System
from pellucid.network import Graph, Loop, compile_graph, differentiate
from pellucid.network.fuse import fuse
from pellucid.network.images import image_values, images_stay_apart
from pellucid.network.prune import prune
from pellucid.network.short import add_live, serving_fewer
from support.recurrences import KNOWN, Steps, recurrences


class Differentiated:
    """A recurrence, a loss that weighs every cell that it makes, and the gradients that are not 0 by rule."""

    def __init__(self, case: Steps, dtype="float64", images=None):
        self.case = case
        self.graph, self.made = case.graph(dtype, images)
        bound, terms = dict(self.made), []
        for local, value in self.made.items():
            shape = self.graph.values[value].shape
            of_images = images is not None and shape[:1] == (images,)
            bound[f"g{local}"] = self.graph.input(f"g{local}", shape, of_images=of_images)
            axes = ",".join(f"i{local}{number}" for number in range(len(shape)))
            terms.append(f"(sum({axes}) {local}[{axes}]*g{local}[{axes}])")
        self.loss = self.graph.formula(parse(f"L = {' + '.join(terms)}"), bound)
        wrt = [name for name in case.shapes if name not in case.lengths]
        found = differentiate(self.graph, self.loss, self.graph.formula(parse("one = 1"), {}), wrt)
        self.gradients = {name: gradient for name, gradient in found.items() if gradient is not None}
        self.outputs = [self.loss, *self.made.values(), *self.gradients.values()]

    def arrays(self, *, small=False):
        random = np.random.default_rng(1)
        shapes = {f"g{local}": self.graph.values[value].shape for local, value in self.made.items()}
        return self.case.arrays(small=small) | {
            name: random.integers(-2, 3, shape).astype(float) for name, shape in shapes.items()
        }

    def run(self, arrays, outputs=None, backend="reference", threads=1):
        run = compile_graph(self.graph, outputs or self.outputs, backend=backend, threads=threads)
        return run({name: array for name, array in arrays.items() if name in run.required})


# Gradients


def check_against_differences(found, arrays):
    """Along one random direction of all inputs, with differences of the fourth order."""
    random, eps = np.random.default_rng(2), 2e-4
    direction = {wrt: random.normal(size=found.case.shapes[wrt]) for wrt in found.gradients}

    def loss(steps):
        moved = {wrt: arrays[wrt] + steps * eps * direction[wrt] for wrt in direction}
        return found.run({**arrays, **moved}, [found.loss])[found.loss]

    slope = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * eps)
    for backend in ("reference", "compiled"):
        results = found.run(arrays, list(found.gradients.values()), backend)
        parts = [results[gradient] * direction[wrt] for wrt, gradient in found.gradients.items()]
        assert abs(slope - sum(part.sum() for part in parts)) < 1e-8 * max(1, sum(abs(part).sum() for part in parts))


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "truncated"])
def test_gradients_against_differences(name):
    found = Differentiated(KNOWN[name])
    check_against_differences(found, found.arrays())


def check_against_torch(case):
    torch = pytest.importorskip("torch", reason="the judge is PyTorch (extra `judges`)")
    from support.torch_steps import torch_steps

    found = Differentiated(case)
    arrays = found.arrays()
    results = found.run(arrays)
    leaves = {name: torch.tensor(arrays[name], requires_grad=name not in case.lengths) for name in case.shapes}
    judged = torch_steps(case, leaves)
    sum((judged[local] * torch.tensor(arrays[f"g{local}"])).sum() for local in judged).backward()
    for local, value in found.made.items():
        np.testing.assert_allclose(results[value], judged[local].detach(), rtol=1e-12, atol=1e-13)
    for name in set(case.shapes) - set(case.lengths):
        expected = np.zeros(case.shapes[name]) if leaves[name].grad is None else leaves[name].grad.numpy()
        got = results[found.gradients[name]] if name in found.gradients else np.zeros(case.shapes[name])
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11 * max(1, abs(expected).max()), err_msg=name)


@pytest.mark.parametrize("name", KNOWN)
def test_gradients_against_pytorch(name):
    check_against_torch(KNOWN[name])


@settings(max_examples=40, deadline=None)
@given(recurrences())
def test_drawn_gradients_against_pytorch(case):
    check_against_torch(case)


@pytest.mark.parametrize(
    "text",
    [
        "h[t] = h[t-1]/x[t] + x[t]",
        "h[t] = h[t+1]/x[t] + x[t]",
        "h[t] = h[t-1]*log(x[t]) + x[t]",
        "h[t] = x[t] + h[t-1]*x[t]**(-1)",
    ],
)
def test_factors_that_are_infinite_outside_of_their_arrays(text):
    """Where no step is, x is 0."""
    found = Differentiated(Steps(text, {"x": (3,)}))
    check_against_differences(found, {**found.arrays(), "x": np.array([1.0, 2, 3])})


def test_no_gradient_passes_a_boundary_of_truncation():
    """As of two sequences of which the second begins with the last state of the first, as a number."""
    whole, text = KNOWN["truncated"], "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])\nh[n,-1,k] = s[n,k]"
    found = Differentiated(Steps(whole.text, {**whole.shapes, "u": (2, 6, 3)}, whole.constants))
    arrays = found.arrays()
    half = Differentiated(Steps(text, {"u": (2, 3, 3), "w": (3, 3), "s": (2, 3)}))
    state, dw, du = np.zeros((2, 3)), 0, []
    for start in (0, 3):
        steps = {name: arrays[name][:, start : start + 3] for name in ("u", "gh")}
        part = half.run({**steps, "w": arrays["w"], "s": state})
        state = part["h"][:, -1]
        du.append(part[half.gradients["u"]])
        dw = dw + part[half.gradients["w"]]
    arrays["gp"][:] = 0
    results = found.run(arrays)
    np.testing.assert_allclose(results[found.gradients["u"]], np.concatenate(du, 1), rtol=1e-12)
    np.testing.assert_allclose(results[found.gradients["w"]], dw, rtol=1e-12)


# Machine code


def check_compiled(case, images=None):
    found = Differentiated(case, images=images)
    arrays = found.arrays()
    expected, got = found.run(arrays), found.run(arrays, backend="compiled", threads=2)
    for name in found.outputs:
        size = max(1, abs(expected[name]).max())
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, atol=1e-12 * size, err_msg=name)


@pytest.mark.parametrize("images", [None, 3, 4], ids=["no images", "3 images", "4 images"])
@pytest.mark.parametrize("name", KNOWN)
def test_compiled(name, images):
    if images is None or any(shape[:1] == (images,) for shape in KNOWN[name].shapes.values()):
        check_compiled(KNOWN[name], images)


@settings(max_examples=15, deadline=None)
@given(recurrences())
def test_drawn_compiled(case):
    check_compiled(case)


@settings(max_examples=15, deadline=None)
@given(recurrences(exact=True))
def test_small_integers_are_exact(case):
    found = Differentiated(case, dtype="float32")
    arrays = found.arrays(small=True)
    expected, got = found.run(arrays), found.run(arrays, backend="compiled")
    for name in found.outputs:
        if abs(expected[name]).max() < 2**20:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def test_the_same_bits_for_every_number_of_threads():
    found = Differentiated(KNOWN["LSTM"], dtype="float32")
    arrays = found.arrays()
    one = found.run(arrays, backend="compiled")
    for threads in (2, 3, 4):
        for name, array in found.run(arrays, backend="compiled", threads=threads).items():
            np.testing.assert_array_equal(array, one[name])


# Passes over graphs

AROUND = """
u[n,t,q,k] = sum(c) x[n,t,c]*v[c,q,k]
a[n,t,q,k] = u[n,t,q,k] + sum(j) h[n,t-1,j]*w[j,q,k]
c[n,t,k] = sigmoid(a[n,t,1,k])*c[n,t-1,k] + sigmoid(a[n,t,0,k])*tanh(a[n,t,2,k])
h[n,t,k] = sigmoid(a[n,t,3,k])*tanh(c[n,t,k])
y[n,t,k] = max(h[n,t,k], 0)
z[n,t,k] = exp(c[n,t,k])
"""


def graph_of(text, shapes, output, images=None, live=False):
    graph = Graph("float64", images=images)
    for name, shape in shapes.items():
        graph.input(name, shape, of_images=images is not None and shape[:1] == (images,))
    if live:
        add_live(graph)
    graph.system(System(parse_system(text), output), {name: name for name in shapes})
    return graph


def around(rows=4, **options):
    return graph_of(AROUND, {"x": (rows, 3, 2), "v": (2, 4, 5), "w": (5, 4, 5)}, "y", rows, **options)


def numbers(graph, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=graph.values[name].shape) for name in graph.inputs}


def check_outputs(graph, outputs, **options):
    given = numbers(graph)
    expected = compile_graph(graph, outputs, backend="reference")(given)
    got = compile_graph(graph, outputs, **options)(given)
    for name in outputs:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("outputs", [["h"], ["c"], ["c", "h"], ["y"], ["z"], ["z", "y", "u"], ["a", "z"]])
def test_any_of_a_loops_values(outputs):
    graph = around()
    check_outputs(graph, outputs)
    check_outputs(graph, outputs, kept=["v", "w"])
    check_outputs(graph, outputs, kept=["x", "v", "w"])


def test_axes_of_sums_that_wait_for_nothing_run_as_far_as_the_steps():
    """By the field's rule alone the steps of `y` would be one more than there are."""
    text = "h[n,t] = x[n,t] + h[n,t-1] + sum(c) y[n,t-1,c]"
    graph = graph_of(text, {"x": (3, 4), "y": (3, 4, 2)}, "h")
    assert [graph.values[name].shape for name in ("h.1", "h")] == [(3, 4), (3, 4)]
    check_outputs(graph, ["h"])


def test_no_equation_goes_through_a_loop_into_its_reader():
    """u goes into what alone reads it, unless this is a loop."""
    text = "u[n,t,k] = sum(c) x[n,t,c]*v[c,k]\nh[n,t,k] = u[n,t,k] + h[n,t-1,k]\ny[n,t,k] = 2*h[n,t,k]"
    graph = graph_of(text, {"x": (3, 4, 5), "v": (5, 5)}, "y")
    assert [node.outputs for node in fuse(graph, ["y"]).nodes] == [("u",), ("h",), ("y",)]
    check_outputs(graph, ["y"])


def test_equal_loops_become_one_and_unneeded_ones_go():
    graph = Graph("float64")
    names = {name: graph.input(name, (4,)) for name in ("x", "y")}
    text = "a[t] = b[t-1] + x[t]\nb[t] = a[t]*2"
    one, two, three = (
        graph.system_values(System(parse_system(text), "b"), {"x": names[x]}, prefix=prefix)
        for x, prefix in (("x", "one"), ("x", "two"), ("y", "three"))
    )
    total = graph.formula(parse("z[t] = p[t] + q[t]"), {"p": one["a"], "q": two["b"]})
    pruned = prune(graph, [total, two["a"]])
    assert pruned.names == {total: total, two["a"]: one["a"]}
    assert Counter(type(node).__name__ for node in pruned.graph.nodes) == {"Loop": 1, "Equation": 1}
    assert three["a"] not in pruned.graph.values
    check_outputs(graph, [total, two["a"]])


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_a_loops_value_takes_the_place_of_an_input(backend):
    """The state after the last step begins the next call; the states of all steps replace those of the last call."""
    text = "h[t,k] = x[t,k] + h[t-1,k]*v[k] + p[t,k]\nh[-1,k] = s[k]\nlast[k] = h[2,k]"
    graph = graph_of(text, {"x": (3, 2), "v": (2,), "p": (3, 2), "s": (2,)}, "last")
    run = compile_graph(graph, [], backend=backend, updates={"s": "last", "p": "h"})
    given = numbers(graph)
    s, p = given["s"].copy(), given["p"].copy()
    for _ in range(2):
        run(given)
        for t in range(3):
            s = p[t] = given["x"][t] + s * given["v"] + p[t]
        np.testing.assert_allclose(given["p"], p, rtol=1e-13)
        np.testing.assert_allclose(given["s"], s, rtol=1e-13)


def test_images_of_a_loop():
    graph = around()
    assert image_values(graph) == dict.fromkeys(["x", "u", "a", "c", "h", "y", "z"], 0)
    assert images_stay_apart(graph)
    mixed = graph_of("h[n,t] = x[n,t] + m[t-1]\nm[t] = sum(n) h[n,t]", {"x": (4, 3)}, "h", 4)
    assert image_values(mixed) == {"x": 0}
    assert not images_stay_apart(mixed)
    turned = graph_of("h[t,n] = x[n,t] + h[t-1,n]", {"x": (4, 3)}, "h", 4)
    assert not images_stay_apart(turned)


def test_a_loop_of_which_nothing_depends_on_images():
    text = "g[t,k] = b[t,k] + (sum(j) g[t-1,j]*w[j,k])\nh[n,t,k] = x[n,t,k]*g[t,k] + h[n,t-1,k]"
    graph = graph_of(text, {"b": (3, 5), "w": (5, 5), "x": (4, 3, 5)}, "h", 4)
    assert image_values(graph) == {"x": 0, "h": 0}
    assert images_stay_apart(graph)
    check_outputs(graph, ["g", "h"])


# Batches with fewer rows


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_rows_that_are_not_there_count_for_nothing(backend):
    def step(rows, live):
        graph = around(rows, live=live)
        loss = graph.formula(
            parse("L = (sum(n,t,k) y[n,t,k]*z[n,t,k]) / N"), {"y": "y", "z": "z"}, constants={"N": rows}
        )
        return graph, loss

    (whole, loss), (other, _) = (step(rows, True) for rows in (8, 5))
    found = serving_fewer(whole, other)
    assert [type(node) for node in found.nodes].count(Loop) == 1
    own, _ = step(5, False)
    given, results = numbers(whole), []
    for graph, rows in ((found, 8), (own, 5)):
        wanted = differentiate(graph, loss, graph.formula(parse("one = 1"), {}), ["x", "v", "w"])
        run = compile_graph(graph, [loss, *wanted.values()], backend=backend if rows == 8 else "reference")
        arrays = {**given, "x": given["x"][:rows], "live": (np.arange(8) < 5).astype(float), "rows": np.asarray(5.0)}
        result = run({name: array for name, array in arrays.items() if name in run.required})
        results.append([result[loss], *(result[wanted[name]] for name in "xvw")])
    (loss8, dx8, *dw8), (loss5, dx5, *dw5) = results
    assert not dx8[5:].any()
    for got, expected in zip((loss8, dx8[:5], *dw8), (loss5, dx5, *dw5), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)


def test_loops_that_mix_rows_serve_no_fewer():
    def mixed(rows, text="h[n,t] = x[n,t] + m[t-1]\nm[t] = sum(n) h[n,t]"):
        return graph_of(text, {"x": (rows, 3)}, "h", rows, live=True)

    assert serving_fewer(mixed(4), mixed(3)) is None
    along = "h[n,t] = x[n,t] + h[n-1,t]"
    assert serving_fewer(mixed(4, along), mixed(3, along)) is None
    apart = "h[n,t] = x[n,t] + h[n,t-1]"
    assert serving_fewer(mixed(4, apart), mixed(3, apart)) is not None
    assert serving_fewer(mixed(4, apart), mixed(3, "h[n,t] = x[n,t]*h[n,t-1]")) is None
