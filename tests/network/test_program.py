"""Graphs as one program: lifetimes found independently, poisoned memory, in-place state."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.emit import target
from pellucid.language.parse import parse
from pellucid.network import Graph, build, compile_graph
from pellucid.network.program import assemble
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Operand

SMALL = Machine("test", 32, 16, 2.0, 2.0, 4, 32768, 524288)


def touched(value, found):
    """Every tensor that an Operand anywhere below `value` names, by walking all fields of all dataclasses."""
    if isinstance(value, Operand):
        found.add(value.tensor)
    if is_dataclass(value):
        for field in fields(value):
            touched(getattr(value, field.name), found)
    elif isinstance(value, tuple):
        for entry in value:
            touched(entry, found)
    return found


def step_program():
    net = nn.Sequential(
        nn.Conv2d(3, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4)
    )
    model = net.build((6, 6, 2), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1, momentum=0.9), clip_norm=1.0)
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    model.train_step(x, np.array([0, 3, 1]))
    (program,) = model._programs.values()
    return model, x, program.compiled


def program_of(compiled):
    """The program of a compiled graph, nests and all, made once more: what is kept of it has no nests."""
    outputs = [value.name for value in compiled._outputs.values()]
    assembled = build.program_of(compiled.graph, outputs, compiled._updates, target().machine)
    assert assembled.arena == compiled.engine.built.arena
    return assembled.program


def test_temporaries_alive_together_share_no_byte():
    *_, compiled = step_program()
    program, arena = program_of(compiled), compiled.engine.built.arena
    temporaries = {tensor.name: tensor for tensor in program.tensors if tensor.role == "temporary"}
    assert set(arena.offsets) == set(temporaries)
    seen = [touched(nest, set()) for nest in program.nests]
    lives = {}
    for name, tensor in temporaries.items():
        nests = [number for number, names in enumerate(seen) if name in names]
        start = arena.offsets[name]
        end = start + tensor.bytes
        assert end <= arena.size
        lives[name] = (min(nests), max(nests), start, end)
    together = 0
    for name, (first, last, start, end) in lives.items():
        for other, (other_first, other_last, other_start, other_end) in lives.items():
            if name < other and first <= other_last and other_first <= last:
                together += 1
                assert end <= other_start or other_end <= start, (name, other)
    assert together > 50
    assert arena.size < sum(tensor.bytes for tensor in temporaries.values())


def test_what_a_run_leaves_in_the_arena_does_not_matter():
    """NaN in every temporary and all scratch before the step: the same loss and parameters."""
    model, x, _ = step_program()
    twin, _, other = step_program()
    labels = np.array([1, 1, 2])
    for poison in (0, 255):
        other.engine.memory.arena[...] = poison
        assert twin.train_step(x, labels) == model.train_step(x, labels)
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(twin.parameters[name], array)


def test_state_is_written_in_place_without_copies():
    *_, compiled = step_program()
    program = compiled.engine.built
    assert [tensor.name for tensor in program.tensors if "copy" in tensor.name and tensor.role == "temporary"] == []
    state = {"0.weight", "0.bias", "0.weight:v", "1.running_mean", "1.running_var", "5.weight", "5.bias:v"}
    assert state <= {tensor.name for tensor in program.tensors if tensor.role == "output"}


@pytest.mark.parametrize("bound", [False, True])
def test_an_output_that_is_an_input_or_a_view_of_one(bound):
    graph = Graph("float32")
    graph.input("x", (4, 5))
    view = graph.view("x", (20,))
    x = np.arange(20, dtype="float32").reshape(4, 5)
    compiled = compile_graph(graph, ["x", view])
    found = compiled.bind({"x": x})({}) if bound else compiled({"x": x})
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found[view], x.ravel())
    assert not np.shares_memory(found["x"], x)


def test_a_graph_is_lowered_for_any_machine():
    graph = Graph("float32")
    graph.input("x", (4, 5))
    total = graph.formula(parse("y[n] = sum(k) x[n,k]"), {"x": "x"})
    view = graph.view(total, (2, 2))
    out = graph.formula(parse("z[i,j] = y[i,j] * 2"), {"y": view})
    assembled = assemble(graph, [out], {}, SMALL)
    assert assembled.tensors[view] == total
    roles = {tensor.name: tensor.role for tensor in assembled.program.tensors}
    assert {name: roles[name] for name in ("x", total, out)} == {"x": "input", total: "temporary", out: "output"}
    assert list(assembled.plans) == [total, out]


def test_a_graph_of_views_alone_runs():
    graph = Graph("float32")
    graph.input("x", (4, 5))
    view = graph.view("x", (20,))
    x = np.arange(20, dtype="float32").reshape(4, 5)
    np.testing.assert_array_equal(compile_graph(graph, [view])({"x": x})[view], x.reshape(20))


def test_two_views_of_one_output():
    graph = Graph("float32")
    graph.input("x", (4, 5))
    out = graph.formula(parse("z[n,k] = x[n,k] + 1"), {"x": "x"})
    first, second = graph.view(out, (20,)), graph.view(out, (5, 4))
    found = compile_graph(graph, [first, out, second])({"x": np.zeros((4, 5), "float32")})
    for name in (first, out, second):
        np.testing.assert_array_equal(found[name], np.ones(graph.values[name].shape))


def test_two_outputs_that_are_one_value():
    graph = Graph("float32")
    graph.input("x", (3,))
    double = parse("z[i] = 2 * x[i]")
    first, second = graph.formula(double, {"x": "x"}), graph.formula(double, {"x": "x"})
    for backend in ("compiled", "reference"):
        found = compile_graph(graph, [first, second], backend=backend)({"x": np.ones(3, "float32")})
        found[first][0] = 7
        np.testing.assert_array_equal(found[second], [2, 2, 2])


def test_what_repeats_is_lowered_once():
    graph = Graph("float32")
    graph.input("x", (4, 16))
    product = parse("z[n,o] = sum(f) x[n,f] * w[f,o]")
    value = "x"
    for layer in range(3):
        value = graph.formula(product, {"x": value, "w": graph.input(f"w{layer}", (16, 16))}, prefix=f"layer{layer}")
    assembled = assemble(graph, [value], {}, SMALL)
    first, second, third = (assembled.plans[f"layer{layer}.z"] for layer in range(3))
    assert first is second
    assert second is third
    names = [touched(nest, set()) for nest in assembled.program.nests]
    assert any({"x", "w0", "layer0.z"} <= found for found in names)
    assert any({"layer0.z", "w1", "layer1.z"} <= found for found in names)
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=graph.values[name].shape).astype("float32") for name in graph.inputs}
    expected = arrays["x"].astype("float64") @ arrays["w0"] @ arrays["w1"] @ arrays["w2"]
    np.testing.assert_allclose(compile_graph(graph, [value])(arrays)[value], expected, rtol=1e-4, atol=1e-4)


def grouped(texts, homes=(), outputs=()):
    """The outputs of the nests that run between two barriers, for elementwise equations on inputs x, w."""
    graph = Graph("float32")
    known = {name: graph.input(name, (8,)) for name in ("x", "w")}
    for text in texts:
        formula = parse(text)
        known[formula.output.tensor] = graph.formula(formula, known)
    assembled = assemble(graph, [known[name] for name in outputs], dict(homes), SMALL)
    return [sorted(touched(nest, set()) - {"x", "w"}) for nest in assembled.program.nests]


def test_threads_wait_only_for_what_they_need():
    texts = ["a[i] = x[i] + 1", "b[i] = x[i] + 2", "c[i] = a[i] * b[i]", "d[i] = x[i] * 3", "e[i] = c[i] + d[i]"]
    assert grouped(texts, outputs=["e"]) == [["a", "b"], ["a", "b", "c", "d"], ["c", "d", "e"]]


def test_threads_wait_before_memory_is_written_that_others_read():
    texts = ["a[i] = w[i] * 2", "b[i] = w[i] - x[i]"]
    assert len(grouped(texts, outputs=["a", "b"])) == 1
    assert len(grouped(texts, homes={"b": "w"}, outputs=["a"])) == 2
    assert len(grouped(texts, homes={"a": "w"}, outputs=["b"])) == 2
    assert len(grouped(texts, homes={"a": "w", "b": "w"})) == 2


def test_no_more_than_sixteen_are_joined():
    texts = [f"a{number}[i] = x[i] + {number}" for number in range(20)]
    assert [len(names) for names in grouped(texts, outputs=[f"a{number}" for number in range(20)])] == [16, 4]
