"""Whole programs in the cache: what is loaded gives the same bits, what does not fit is made again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.emit.targets import missing_features, target
from pellucid.language.parse import parse
from pellucid.network import Graph, build, compile_graph, engine
from pellucid.network.built import from_bytes, to_bytes
from pellucid.network.source import source_digest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is used from now on, and nothing in memory."""
    chosen = tmp_path / "cache"
    monkeypatch.setenv("PELLUCID_CACHE", str(chosen))
    engine._LOADED.clear()
    return chosen


class Builds:
    """Counts how often a graph is lowered."""

    def __init__(self, monkeypatch):
        self.count = 0
        original = build.build

        def counted(*arguments):
            self.count += 1
            return original(*arguments)

        monkeypatch.setattr(build, "build", counted)


@pytest.fixture
def builds(monkeypatch):
    return Builds(monkeypatch)


def fresh(make):
    """What `make` gives in a process that has nothing in memory."""
    engine._LOADED.clear()
    return make()


def trained(batch=4, width=3, dtype="float32"):
    """The losses of three steps, and the parameters behind them."""
    net = nn.Sequential(
        nn.Conv2d(width, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4)
    )
    model = net.build((6, 6, 2), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(0.01), dtype=dtype)
    random = np.random.default_rng(0)
    x, t = random.normal(size=(batch, 6, 6, 2)).astype(dtype), random.integers(0, 4, batch)
    losses = [model.train_step(x, t) for _ in range(3)]
    return losses, {name: array.tobytes() for name, array in model.parameters.items()}


def scaled(text="z[i] = 2 * x[i]", length=5, dtype="float32", constants=None):
    """A graph of one equation, run on 0, 1, 2, ..."""
    graph = Graph(dtype)
    graph.input("x", (length,))
    name = graph.formula(parse(text), {"x": "x"}, constants=constants)
    return compile_graph(graph, [name])({"x": np.arange(length, dtype=dtype)})[name]


def entries(folder):
    return sorted(folder.glob("*.object"))


def test_a_program_from_the_cache_gives_the_same_bits(folder, builds):
    cold = fresh(trained)
    assert builds.count == 1
    warm = fresh(trained)
    assert builds.count == 1
    assert warm == cold
    assert len(entries(folder)) == 1


def test_what_is_kept_comes_back_equal(folder):
    graph = Graph("float32")
    x, w = graph.input("x", (8, 12)), graph.input("w", (12, 40))
    name = graph.formula(parse("z[n,o] = sum(q) x[n,q] * w[q,o]"), {"x": x, "w": w})
    built = compile_graph(graph, [name]).engine.built
    assert from_bytes(to_bytes(built)) == built
    assert built.plans[name][1].startswith("vector  o")


def test_plans_are_printed_from_the_cache(folder, builds):
    def summary():
        return nn.Sequential(nn.Linear(4)).build((6,)).summary(kernels=True)

    cold = fresh(summary)
    assert "because" in cold
    assert fresh(summary) == cold
    assert builds.count == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-20] + bytes(20),
        lambda content: content.replace(b'"places"', b'"Places"'),
        lambda content: b"\x7fELF" + content,
        lambda _: b"",
    ],
    ids=["short", "half", "overwritten", "header", "another format", "empty"],
)
def test_a_damaged_entry_is_built_again(folder, builds, damage):
    expected = fresh(scaled)
    (entry,) = entries(folder)
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    np.testing.assert_array_equal(fresh(scaled), expected)
    assert builds.count == 2
    assert entry.read_bytes() == content


def test_another_programs_entry_is_built_again(folder, builds):
    expected = fresh(scaled)
    (own,) = entries(folder)
    fresh(lambda: scaled("z[i] = 3 * x[i]"))
    (other,) = set(entries(folder)) - {own}
    own.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(fresh(scaled), expected)
    assert builds.count == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "z[i] = 3 * x[i]"},
        {"text": "z[i] = 2.0 * x[i]"},
        {"text": "z[j] = 2 * x[j]"},
        {"length": 6},
        {"dtype": "float64"},
        {"text": "z[i] = a * x[i]", "constants": {"a": 2}},
        {"text": "z[i] = a * x[i]", "constants": {"a": 3}},
    ],
    ids=str,
)
def test_another_graph_is_another_entry(folder, builds, changed):
    fresh(scaled)
    fresh(lambda: scaled(**changed))
    assert builds.count == 2
    assert len(entries(folder)) == 2


def test_another_batch_is_another_entry(folder, builds):
    fresh(trained)
    fresh(lambda: trained(batch=5))
    assert builds.count == 2


@pytest.mark.skipif(bool(missing_features(target("x86-64-v2"))), reason="another kind of processor")
def test_another_target_is_another_entry(folder, builds, monkeypatch):
    fresh(scaled)
    monkeypatch.setenv("PELLUCID_TARGET", "native" if target().name == "x86-64-v2" else "x86-64-v2")
    fresh(scaled)
    assert builds.count == 2


def test_other_source_is_another_entry(folder, builds, monkeypatch):
    fresh(scaled)
    monkeypatch.setattr("pellucid.network.run.source_digest", lambda: "other")
    fresh(scaled)
    assert builds.count == 2


def test_where_there_is_no_source_nothing_is_shared(monkeypatch):
    assert source_digest.__wrapped__() == source_digest.__wrapped__()
    monkeypatch.setattr("pellucid.network.source._ROOMS", ())
    assert source_digest.__wrapped__() != source_digest.__wrapped__()


def test_source_changed_after_its_import_shares_nothing(monkeypatch):
    monkeypatch.setattr("pellucid.network.source._IMPORTED", 0.0)
    assert source_digest.__wrapped__() != source_digest.__wrapped__()


def test_a_program_from_the_cache_needs_no_compiler(folder):
    """The modules that schedule and emit are imported by the first process, and not by the second."""
    script = """
import sys
import numpy as np
from pellucid import nn
model = nn.Sequential(nn.Linear(3)).build((4,))
assert "llvmlite" not in sys.modules
model.predict(np.ones((2, 4), "float32"))
print(*[name for name in ("pellucid.schedule.lower", "pellucid.emit.module") if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [
        subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [run.stdout for run in runs] == ["pellucid.schedule.lower pellucid.emit.module\n", "\n"]


def test_threads_share_an_entry(folder, builds):
    def step(threads):
        graph = Graph("float32")
        graph.input("x", (64, 64))
        name = graph.formula(parse("z[n] = sum(k) x[n,k] * x[n,k]"), {"x": "x"})
        x = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
        return compile_graph(graph, [name], threads=threads)({"x": x})[name]

    np.testing.assert_array_equal(fresh(lambda: step(1)), fresh(lambda: step(3)))
    assert builds.count == 1


def test_a_folder_that_cannot_be_written(folder, builds, monkeypatch):
    """Entries are read from it; where there is none the program is built, once in a process."""
    expected = fresh(scaled)
    (entry,) = entries(folder)
    folder.chmod(0o500)

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)  # the superuser may write everywhere
    np.testing.assert_array_equal(fresh(scaled), expected)
    assert builds.count == 1
    fresh(lambda: scaled(length=7))
    scaled(length=7)
    assert builds.count == 2
    assert entries(folder) == [entry]


def test_two_processes_at_once(folder):
    """Both start with an empty folder; both give what one alone gives, and leave one good entry."""
    script = "from network.test_built import trained; print(trained())"
    tests = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), *sys.path])}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second == f"{fresh(trained)}\n"
    assert len(entries(folder)) == 1
    assert len(list(folder.iterdir())) == 1
