"""Arrays put one behind the other where they are made: what lies where, and that values stay what they were.

The judge is the graph as it was written, evaluated literally in float64.
"""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.emit import compile_program, target
from pellucid.language.parse import parse
from pellucid.network import Concatenation, Equation, Graph, compile_graph
from pellucid.network.build import program_of, rewritten
from pellucid.network.concatenate import Place, parts_in, with_concatenations, with_copies
from pellucid.schedule.touched import stored

SHAPES = {"x": (2, 5, 4, 6), "y": (2, 5, 4, 3), "w": (3, 3, 6, 5), "v": (6, 7), "u": (12, 3)}
A = ("a[n,i,j,k] = max(sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k], 0)", {"x": "x", "w": "w"}, {"i": 5, "j": 4})
B = ("b[n,i,j,k] = max(sum(c) x[n,i,j,c] * v[c,k], 0)", {"x": "x", "v": "v"}, {})
Z = "z[n,i,j,c] = sum(p : p == c) a[n,i,j,p] + sum(q : q + P == c) b[n,i,j,q]"
# What reads the whole: a product of every channel.
OUT = ("out[n,i,j,k] = sum(c) z[n,i,j,c] * u[c,k]", {"z": "z", "u": "u"}, {})


def joined(text, bindings, constants, channels):
    return text, bindings, {"c": channels}, constants


def graph_of(*steps, images=2, dtype="float64"):
    """A graph of the inputs of `SHAPES` and equations: (text, bindings, extents, constants)."""
    graph = Graph(dtype, images=images)
    for name, shape in SHAPES.items():
        graph.input(name, shape, of_images=name in "xy")
    for text, bindings, extents, *constants in steps:
        graph.formula(parse(text), bindings, extents=extents, constants=constants[0] if constants else {})
    return graph


def fire(*behind):
    return graph_of(A, B, joined(Z, {"a": "a", "b": "b"}, {"P": 5}, 12), *behind)


def arrays():
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape) for name, shape in SHAPES.items()}


def agree(graph, outputs, kept=()):
    given = {name: array for name, array in arrays().items() if any(name in node.sources for node in graph.nodes)}
    expected = compile_graph(graph, outputs, backend="reference")(given)
    for threads in (1, 2):
        compiled = compile_graph(graph, outputs, threads=threads, kept=kept)
        if kept:
            compiled = compiled.bind({name: given[name] for name in kept if name in given})
        found = compiled({name: array for name, array in given.items() if name not in kept})
        for name in outputs:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)
    rewrite = rewritten(graph, outputs, {}, target().machine)
    found = compile_graph(with_copies(rewrite, outputs), outputs, backend="reference")(given)
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)
    checked(graph, outputs, given, expected)
    return program_of(graph, outputs, {}, target().machine).program


def checked(graph, outputs, given, expected):
    """Every access tested when it happens."""
    program = program_of(graph, outputs, {}, target().machine).program
    found = {name: np.full_like(expected[name], np.nan) for name in outputs}
    compile_program(program, checked=True).call({**given, **found})
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)


def copies(graph, wanted):
    """The values that are copied, by the one that each becomes a part of."""
    found = with_copies(with_concatenations(graph), wanted)
    wholes = {source: node.output for node in found.nodes if isinstance(node, Concatenation) for source in node.sources}
    new = [node for node in found.nodes if node.output not in graph.values]
    assert all(isinstance(node, Equation) and len(node.sources) == 1 for node in new)
    return [(node.sources[0], wholes[node.output]) for node in new]


def test_parts_are_written_to_the_whole():
    graph = fire(OUT)
    program = agree(graph, ["out"])
    assert {tensor.name for tensor in program.tensors} & {"a", "b"} == set()
    assert sum("z" in stored(nest.body) for nest in program.nests) == 1  # one pass
    assert copies(graph, ["out"]) == []
    assert parts_in(with_concatenations(graph)) == {"a": Place("z", (0,) * 4), "b": Place("z", (0, 0, 0, 5))}


def test_what_is_computed_of_a_part_stands_with_the_part():
    relu = ("r[n,i,j,k] = max(a[n,i,j,k], 0)", {"a": "a"}, {})
    linear = (A[0].replace("max(", "").replace(", 0)", ""), *A[1:])
    graph = graph_of(linear, relu, B, joined(Z, {"a": "r", "b": "b"}, {"P": 5}, 12), OUT)
    nodes = rewritten(graph, ["out"], {}, target().machine).nodes
    assert [type(node).__name__ for node in nodes] == ["Equation", "Equation", "Concatenation", "Equation"]
    agree(graph, ["out"])


def test_a_whole_that_is_wanted():
    program = agree(fire(), ["z"])
    assert [tensor.name for tensor in program.tensors if tensor.role == "output"] == ["z"]


def test_wholes_in_wholes():
    dense = ("d[n,i,j,k] = sum(c) z[n,i,j,c] * u[c,k]", {"z": "z", "u": "u"}, {})
    last = "e[n,i,j,c] = sum(p : p == c) z[n,i,j,p] + sum(q : q + P == c) d[n,i,j,q]"
    graph = fire(dense, joined(last, {"z": "z", "d": "d"}, {"P": 12}, 15))
    found = parts_in(with_concatenations(graph))
    assert {name: place.offsets[-1] for name, place in found.items()} == {"a": 0, "b": 5, "z": 0, "d": 12}
    assert {place.whole for place in found.values()} == {"e"}
    assert copies(graph, ["e"]) == []
    program = agree(graph, ["e"])
    assert {tensor.name for tensor in program.tensors} & {"a", "b", "z", "d"} == set()


@pytest.mark.parametrize(
    ("text", "extents"),
    [
        ("z[n,h,j,c] = sum(p : p == h) a[n,p,j,c] + sum(q : q + P == h) b[n,q,j,c]", {"h": 10}),
        ("z[n,i,h,c] = sum(p : h == p) a[n,i,p,c] + sum(q : h - P == q) b[n,i,q,c]", {"h": 8}),
        ("z[h,i,j,c] = sum(p : p == h) a[p,i,j,c] + sum(q : q + P == h) b[q,i,j,c]", {"h": 4}),
    ],
)
def test_other_axes(text, extents):
    other = ("b[n,i,j,k] = a[n,i,j,k] * 2", {"a": "a"}, {})
    before = next(iter(extents.values())) // 2
    graph = graph_of(A, other, (text, {"a": "a", "b": "b"}, extents, {"P": before}))
    assert copies(graph, ["z"]) == []
    agree(graph, ["z"])


@pytest.mark.parametrize("neighbours", ["x[n,i,j,c+s-1]", "x[n,i+s-1,j,c]", "x[n,4-i,j,4-c]"])
def test_a_part_ends_where_it_ends(neighbours):
    """What reads beyond a part reads zeros, not the part behind it."""
    axes = {"s": 3, "i": 5, "c": 5} if "s" in neighbours else {"i": 5, "c": 5}
    text = f"m[n,i,j,c] = sum(s) {neighbours}" if "s" in axes else f"m[n,i,j,c] = {neighbours}"
    graph = fire((text, {"x": "a"}, axes), OUT)
    assert copies(graph, ["m", "out"]) == []
    agree(graph, ["m", "out"])


def test_what_cannot_lie_elsewhere_is_copied():
    given = graph_of(joined(Z, {"a": "x", "b": "y"}, {"P": 6}, 9))
    assert copies(given, ["z"]) == [("x", "z"), ("y", "z")]
    agree(given, ["z"])
    assert copies(fire(OUT), ["out", "b"]) == [("b", "z")]
    agree(fire(OUT), ["out", "b"])


def test_a_part_with_two_places_is_copied_to_the_second():
    twice = graph_of(A, joined(Z, {"a": "a", "b": "a"}, {"P": 5}, 10))
    assert copies(twice, ["z"]) == [("a", "z")]
    agree(twice, ["z"])
    second = Z.replace("z[", "e[").replace("a[", "b[", 1).replace("b[n,i,j,q]", "a[n,i,j,q]")
    two = fire(OUT, joined(second, {"b": "b", "a": "a"}, {"P": 7}, 12))
    assert copies(two, ["out", "e"]) == [("b", "e"), ("a", "e")]
    agree(two, ["out", "e"])


def test_a_part_that_is_seen_with_another_shape_is_copied():
    graph = fire(OUT)
    graph.view("a", (2, 100))
    assert copies(graph, ["out"]) == [("a", "z")]
    agree(graph, ["out"])


def test_a_part_that_follows_from_what_is_kept():
    """It is made when that changes, and copied to the whole at every call."""
    early = ("b[n,i,j,k] = exp(y[n,i,j,k])", {"y": "y"}, {})
    graph = graph_of(A, early, joined(Z, {"a": "a", "b": "b"}, {"P": 5}, 8))
    agree(graph, ["z"], kept=("y", "w"))


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        (Z, {"P": 6}),  # a gap
        (Z, {"P": 4}),  # two values in one cell
        ("z[n,i,j,c] = sum(p : p + Q == c) a[n,i,j,p] + sum(q : q == c) b[n,i,j,q]", {"Q": 7}),
        ("z[n,i,j,c] = sum(p : p == c) a[n,i,j,p] - sum(q : q + P == c) b[n,i,j,q]", {"P": 5}),
        ("z[n,i,j,c] = sum(p : p == c) a[n,i,j,p]*2 + sum(q : q + P == c) b[n,i,j,q]", {"P": 5}),
        ("z[n,i,j,c] = sum(p : p == c) a[n,i,j,p] + sum(q : q + P == c) b[n,4-i,j,q]", {"P": 5}),
        ("z[n,i,j,c] = max(p : p == c) a[n,i,j,p] + sum(q : q + P == c) b[n,i,j,q]", {"P": 5}),
    ],
)
def test_what_says_something_else_stays_an_equation(text, constants):
    graph = graph_of(A, B, (text, {"a": "a", "b": "b"}, {"c": 12, "i": 5}, constants))
    assert with_concatenations(graph).nodes == graph.nodes
    if "max(p" not in text:
        agree(graph, ["z"])


def inception():
    x = nn.Input((8, 8, 4))
    first = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(6, 1)(x)))
    second = nn.ReLU()(nn.Conv2d(5, 3, padding=1)(nn.ReLU()(nn.Conv2d(16, 1)(x))))
    pooled = nn.MaxPool2d(3, stride=1, padding=1)(x)
    both = nn.Concat()(first, second, pooled)
    return nn.Graph(x, nn.Linear(3)(nn.GlobalAvgPool()(nn.Concat()(both, nn.Conv2d(4, 3, padding=1)(both)))))


def test_predictions_of_a_network_without_a_copy():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 8, 8, 4)).astype("float32")
    results = [inception().build(threads=threads).predict(x) for threads in (1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    expected = inception().build(backend="reference").predict(x)
    np.testing.assert_allclose(results[0], expected, rtol=1e-5, atol=1e-6)


def test_training_steps_of_a_network():
    """The loss and all parameters after two steps, on one and on two threads, and literally."""
    random = np.random.default_rng(0)
    x, t = random.normal(size=(4, 8, 8, 4)).astype("float32"), np.array([0, 2, 1, 1])
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"backend": "reference"}):
        model = inception().build(loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1), accuracy="direct", **options)
        losses = [model.train_step(x, t) for _ in range(2)]
        found.append({"loss": np.array(losses), **{name: np.array(p) for name, p in model.parameters.items()}})
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array)
        np.testing.assert_allclose(array, found[2][name], rtol=1e-4, atol=1e-5)
