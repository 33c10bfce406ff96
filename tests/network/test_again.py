"""Values made again for the backward pass: the same numbers, and shorter lives."""

import numpy as np

from pellucid import nn, optim
from pellucid.emit.targets import target
from pellucid.language.parse import parse
from pellucid.network import Graph, compile_graph
from pellucid.network.again import LONG, compute_again
from pellucid.network.build import program_of


def long_graph(steps: int, *, elementwise: bool = True, source_stays: bool = True) -> Graph:
    """`a` is read at once and, `steps` equations later, once more."""
    graph = Graph("float64", images=4)
    graph.input("x", (4, 5), of_images=True)
    graph.formula(parse("z[n,c] = 2*x[n,c]"), {"x": "x"})
    graph.formula(parse("a[n,c] = max(z[n,c], 0)" if elementwise else "a[n,c] = sum(m) z[n,m] * z[n,c]"), {"z": "z"})
    last = graph.formula(parse("s0[n,c] = a[n,c] + 1"), {"a": "a"})
    for number in range(1, steps):
        last = graph.formula(parse(f"s{number}[n,c] = sin(s[n,c])"), {"s": last})
    graph.formula(parse("u[n,c] = s[n,c] * a[n,c]"), {"s": last, "a": "a"})
    if source_stays:
        graph.formula(parse("v[n,c] = u[n,c] + z[n,c]"), {"u": "u", "z": "z"})
    return graph


def outputs_of(graph: Graph) -> list[str]:
    return [node.output for node in graph.nodes]


def test_a_value_that_is_read_late_is_made_again_before_its_reader():
    graph = long_graph(LONG)
    again = compute_again(graph, {"v"})
    names = outputs_of(again)
    assert names[names.index("u") - 1] == "a.again"
    x = {"x": np.random.default_rng(0).normal(size=(4, 5))}
    expected = compile_graph(graph, ["v"], backend="reference")(x)["v"]
    np.testing.assert_array_equal(compile_graph(again, ["v"], backend="reference")(x)["v"], expected)


def test_what_is_made_again_of_a_value_made_again_reads_its_copy():
    """All are made before the first of their late readers: nothing reads the old ones any more."""
    graph = Graph("float64", images=4)
    graph.input("x", (4, 5), of_images=True)
    graph.formula(parse("a[n,c] = max(x[n,c], 0)"), {"x": "x"})
    graph.formula(parse("b[n,c] = a[n,c] * a[n,c]"), {"a": "a"})
    last = graph.formula(parse("s[n,c] = a[n,c] + b[n,c]"), {"a": "a", "b": "b"})
    for _ in range(LONG):
        last = graph.formula(parse("s[n,c] = sin(t[n,c])"), {"t": last})
    graph.formula(parse("u[n,c] = t[n,c] * b[n,c]"), {"t": last, "b": "b"})
    graph.formula(parse("v[n,c] = u[n,c] + a[n,c]"), {"u": "u", "a": "a"})
    again = compute_again(graph, {"v"})
    sources = {node.output: node.sources for node in again.nodes}
    assert list(sources)[-4:] == ["a.again", "b.again", "u", "v"]
    assert [sources[name] for name in ("b.again", "u", "v")] == [("a.again",), (last, "b.again"), ("u", "a.again")]
    x = {"x": np.random.default_rng(0).normal(size=(4, 5))}
    expected = compile_graph(graph, ["v"], backend="reference")(x)["v"]
    np.testing.assert_array_equal(compile_graph(again, ["v"], backend="reference")(x)["v"], expected)


def test_what_is_left_as_it_is():
    for graph, wanted in (
        (long_graph(2), {"v"}),  # soon read
        (long_graph(LONG, elementwise=False), {"v"}),  # dear to make
        (long_graph(LONG, source_stays=False), {"u"}),  # its source would have to be kept instead
        (long_graph(LONG), {"v", "a"}),  # wanted as it is
    ):
        assert "a.again" not in outputs_of(compute_again(graph, wanted))


def test_a_network_keeps_what_its_convolutions_made_and_not_what_they_read():
    blocks = [layer for _ in range(3) for layer in (nn.Conv2d(16, 3, padding=1), nn.BatchNorm2d(), nn.ReLU())]
    net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4))
    model = net.build((8, 8, 16), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1), accuracy="direct")
    model.train_step(np.zeros((8, 8, 8, 16), "float32"), np.zeros(8, "int64"))
    (program,) = model._programs.values()
    compiled = program.compiled
    outputs = [value.name for value in compiled._outputs.values()]
    assembled = program_of(compiled.graph, outputs, compiled._updates, target().machine)
    activation = 8 * 8 * 8 * 16 * 4
    temporaries = [tensor for tensor in assembled.program.tensors if tensor.role == "temporary"]
    large = [tensor.name for tensor in temporaries if tensor.size * 4 == activation]
    assert assembled.arena.size < 6.5 * activation
    assert not [name for name in large if name.endswith(".again")], "made again inside a pass, so in scratch"
