"""Choices found by measurement: kept, found again, part of a program's key, and never more than choices."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.emit.targets import target
from pellucid.language.parse import parse
from pellucid.network import Equation, Graph, compile_graph, engine
from pellucid.network.images import image_values
from pellucid.network.program import equation_options
from pellucid.network.source import source_digest
from pellucid.network.tune import DECISIONS, candidates, tune
from pellucid.network.tuned import FILE, Tuned, forget_tuned, keep_tuned, load_tuned, merged
from pellucid.schedule import decide
from pellucid.schedule.bounds import prove
from pellucid.schedule.machine import Machine
from pellucid.schedule.plan import Options
from schedule.cases import AVX2, EQUATIONS, TOY, case, check_nest

BATCH = 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is used from now on, and nothing in memory."""
    chosen = tmp_path / "cache"
    monkeypatch.setenv("PELLUCID_CACHE", str(chosen))
    engine._LOADED.clear()
    return chosen


def weight_gradient():
    """The graph of a sum over images, which is lowered in parts, and the name of its value."""
    graph = Graph("float32", images=BATCH)
    x = graph.input("x", (BATCH, 9, 9, 3), of_images=True)
    g = graph.input("g", (BATCH, 7, 7, 16), of_images=True)
    return graph, graph.formula(parse("d[s,t,c,k] = sum(n,i,j) x[n,i+s,j+t,c] * g[n,i,j,k]"), {"x": x, "g": g})


def numbers(graph):
    random = np.random.default_rng(0)
    return {name: random.integers(-2, 3, graph.values[name].shape).astype("float32") for name in graph.inputs}


def key_of(graph, name):
    """The key of the one equation of a graph, and what the network decides about it."""
    (node,) = (node for node in graph.nodes if isinstance(node, Equation))
    decided = equation_options(node, graph, image_values(graph), target().machine)
    return Tuned(repr(target()), source_digest()).key(node, graph, decided), decided


def test_a_kept_choice_is_used_and_changes_no_result(folder):
    graph, name = weight_gradient()
    before = compile_graph(graph, [name])
    key, decided = key_of(before.graph, name)
    assert decided is not None
    assert decided.parts == 4
    assert keep_tuned({key: {"tile": [["c", 3]], "block": 16, "unroll": 1, "number": 0}})
    after = compile_graph(graph, [name])
    notes, plan, *_ = after.engine.plans[after.outputs[0]]
    assert "tuned" in notes
    assert "tile    3 c x 16 lanes" in plan
    assert after.engine.plans != before.engine.plans
    arrays = numbers(graph)
    np.testing.assert_array_equal(after(arrays)[name], before(arrays)[name])
    expected = compile_graph(graph, [name], backend="reference")(arrays)[name]
    np.testing.assert_array_equal(after(arrays)[name], expected)


def test_programs_with_and_without_choices_stand_side_by_side_on_disk(folder, monkeypatch):
    graph, name = weight_gradient()
    key, _ = key_of(graph, name)
    compile_graph(graph, [name])
    keep_tuned({key: {"unroll": 1, "number": 0}})
    compile_graph(graph, [name])
    assert len(list(folder.glob("*.object"))) == 2
    engine._LOADED.clear()
    monkeypatch.setattr("pellucid.network.build.build", lambda *_: pytest.fail("a warm start builds"))
    compile_graph(graph, [name])
    forget_tuned()
    compile_graph(graph, [name])


def test_choices_are_added_replaced_and_taken_away(folder):
    assert load_tuned("", "").choices == {}
    assert load_tuned("", "").digest == ""
    keep_tuned({"a": {"unroll": 2}, "b": {"block": 8}})
    keep_tuned({"a": {"unroll": 4}, "b": {}})
    assert load_tuned("", "").choices == {"a": {"unroll": 4}}
    assert forget_tuned() == 1
    assert not (folder / FILE).exists()
    assert forget_tuned() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not JSON", "it is not JSON"),
        ('["pellucid-tuned 1"]', "its format is not 'pellucid-tuned 1'"),
        ('{"format": "another"}', "its format is not 'pellucid-tuned 1'"),
        ('{"format": "pellucid-tuned 1", "check": "", "equations": {}}', "its checksum does not fit what it holds"),
    ],
)
def test_a_file_of_another_kind_is_ignored_with_a_message(folder, content, reason):
    folder.mkdir(mode=0o700)
    (folder / FILE).write_text(content)
    with pytest.warns(UserWarning, match=f"^{re.escape(f'{folder / FILE} is ignored: {reason}')}$"):
        assert load_tuned("", "").choices == {}


def test_a_changed_file_is_ignored_and_replaced(folder):
    keep_tuned({"a": {"unroll": 2}})
    changed = json.loads((folder / FILE).read_text())
    changed["equations"]["a"]["unroll"] = 8
    (folder / FILE).write_text(json.dumps(changed))
    with pytest.warns(UserWarning, match="its checksum does not fit"):
        keep_tuned({"b": {"unroll": 2}})
    assert load_tuned("", "").choices == {"b": {"unroll": 2}}


def test_a_folder_that_others_can_write_to_is_not_used(folder):
    keep_tuned({"a": {"unroll": 2}})
    folder.chmod(0o777)
    assert load_tuned("", "").choices == {}
    assert not keep_tuned({"b": {"unroll": 2}})


def test_a_key_tells_equations_targets_and_decisions_apart():
    graph, name = weight_gradient()
    (node,) = (node for node in graph.nodes if isinstance(node, Equation))
    kept = Tuned("here", "now")
    other = Graph("float64")
    for tensor in ("x", "g"):
        other.input(tensor, graph.values[tensor].shape)
    other = other.replace_nodes((node,), {name: replace(graph.values[name], dtype="float64")})
    keys = {
        kept.key(node, graph, None),
        kept.key(replace(node, chain=3), graph, Options(chain=3)),
        kept.key(replace(node, extents={**node.extents, "n": 4}), graph, None),
        kept.key(node, other, None),
        Tuned("there", "now").key(node, graph, None),
        Tuned("here", "then").key(node, graph, None),
    }
    assert len(keys) == 6


def test_a_search_gives_each_equation_once_and_choices_that_compile(folder):
    graph, name = weight_gradient()
    again = graph.formula(parse("d[s,t,c,k] = sum(n,i,j) x[n,i+s,j+t,c] * g[n,i,j,k]"), {"x": "x", "g": "g"})
    compiled = compile_graph(graph, [name, again])
    (found,) = tune(compiled, threads=1, seconds=200)  # it ends when all is tried, a few seconds on a machine at rest
    assert found.tried > 5
    assert found.best <= found.default
    keep_tuned({found.key: {"tile": [["c", 3]], "block": 16, "number": 0}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_graph(graph, [name]).engine.plans != compiled.engine.plans


# Large enough for panels, slabs and sums in pieces.
LARGER = {
    "convolution": ("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", (20, 20, 32), (3, 3, 32, 32), {}),
    "dense": ("z[n,o] = sum(q) x[n,q] * w[q,o]", (200,), (200, 70), {}),
    "max pooling": ("z[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]", (17, 16, 20), None, {"s": 3, "t": 3}),
    "average pooling": ("z[n,i,j,c] = sum(s,t) x[n,2*i+s,2*j+t,c] / 4", (16, 16, 20), None, {"s": 2, "t": 2}),
    "depthwise": ("z[n,i,j,u] = sum(s,t) x[n,i+s-1,j+t-1,u] * w[s,t,u]", (14, 15, 24), (3, 3, 24), {}),
}


@pytest.mark.parametrize("machine", [AVX2, TOY], ids=["avx2", "toy"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", LARGER)
def test_every_choice_that_a_search_proposes_is_built_within_bounds(name: str, batch: int, machine: Machine):
    """Forward and both gradients; one decision after the other, the last choice of each kept for those that follow."""
    text, image, weights, given = LARGER[name]
    forward = case(text, {"x": (batch, *image), **({"w": weights} if weights else {})}, {}, given)
    for one in (forward, forward.gradient("x"), *([forward.gradient("w")] if weights else [])):
        plans = one.lowered(machine).plans
        number, choice = max(range(len(plans)), key=lambda number: plans[number].cycles), {}
        for decision in DECISIONS:
            plan = one.lowered(machine, merged(None, choice)).plans[number]
            kept = choice
            for change in candidates(decision, plan, machine, 4):
                choice = {**kept, **change, "number": number}
                prove(one.program(machine, merged(None, choice)))
        assert choice


def test_a_border_that_no_loop_follows_is_seen_in_a_panel_too(monkeypatch: pytest.MonkeyPatch):
    """Rows of a kernel side by side in a tile, while the rows of the image are summed in pieces."""
    monkeypatch.setattr(decide, "LEAST_USES_OF_POINTS", 16)
    monkeypatch.setattr(decide, "LEAST_USES_OF_VECTORS", 16)
    forward = case("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]", {"x": (1, 6, 5, 8), "w": (3, 3, 8, 16)})
    given, options = forward.gradient("w"), Options(tile=(("c", 2), ("s", 3)), block=2, chain=10)
    assert [panel.axis for panel in given.lowered(TOY, options).plans[0].panels] == ["k", "c"]
    check_nest(given, TOY, options=options)


@pytest.mark.parametrize("order", [("n", "i", "j", "k"), ("k", "j", "i", "n"), ("k",), ()])
@pytest.mark.parametrize("name", ["conv", "conv 1x1", "every axis of extent 1"])
def test_an_order_is_that_of_the_axes_there_are(name: str, order: tuple[str, ...]):
    check_nest(EQUATIONS[name], AVX2, options=Options(order=order))


@pytest.mark.parametrize("machine", [AVX2, TOY], ids=["avx2", "toy"])
@pytest.mark.parametrize("name", ["conv", "conv stride 2", "conv grouped", "dense", "max pool", "variance"])
def test_every_candidate_is_a_nest_with_the_same_result(name: str, machine: Machine):
    given = EQUATIONS[name]
    lowered = given.lowered(machine)
    number = max(range(len(lowered.plans)), key=lambda number: lowered.plans[number].cycles)
    tried = 0
    for decision in DECISIONS:
        for change in candidates(decision, lowered.plans[number], machine, 4):
            check_nest(given, machine, options=merged(None, {**change, "number": number}))
            tried += 1
    assert tried
