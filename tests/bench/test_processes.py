"""Benchmarks that run in processes of their own, the curves, and the profile."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pellucid.bench import alone, chart, equations, growth, profile, resident, startup
from pellucid.bench.alone import Alone, Request, run_alone
from pellucid.bench.alone import resident as resident_memory
from pellucid.bench.growth import Point
from pellucid.bench.networks import Named, plain
from pellucid.emit import allocation
from pellucid.errors import ArgumentError
from pellucid.schedule import streamed

POINTS = [
    Point("ours", "batch", 1, 1, 0.002, 3e6),
    Point("torch", "batch", 1, 1, 0.004, 5e6),
    Point("ours", "size", 16, 2, 0.0001, 1e6),
]


def test_steps_alone(tmp_path: Path):
    found = run_alone(Request("ours", "lenet5", 2, rounds=1), tmp_path / "cache")
    assert found.seconds > 0
    assert found.bytes > 0
    assert list((tmp_path / "cache").iterdir())


def test_a_failing_process_is_told_of():
    with pytest.raises(ArgumentError) as caught:
        run_alone(Request("ours", "", 0, channels=0, size=8, rounds=1))
    assert str(caught.value).startswith("ours with , batch 0, failed: pellucid.errors.")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be told to keep memory")
def test_freed_memory_is_kept_when_asked():
    """An array that comes after another one of its size finds its pages, 4,096 of them, present."""
    counted = """
import resource
from pellucid.bench.peers import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fresh = faults(), faults()
keep_freed_memory()
faults()
assert faults() < 100 < min(fresh), fresh
"""
    subprocess.run([sys.executable, "-c", counted], check=True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be told to give memory back")
def test_freed_memory_goes_back():
    """60 MB in small pieces below one that stays."""
    script = """
from pellucid.bench.alone import resident
from pellucid.emit.allocation import give_back_freed
pieces = [bytes(1000) for _ in range(60_000)]
del pieces[:-1]
before = resident()[0]
give_back_freed()
assert before - resident()[0] > 50e6, (before, resident())
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_better_figures_of_both_formats_count(monkeypatch: pytest.MonkeyPatch):
    asked = list[tuple[str, str]]()

    def run(request: Request, form: str, _: Path | None) -> Alone:
        asked.append((request.who, form))
        return {"contiguous": Alone(2.0, 100), "channels last": Alone(1.0, 200)}[form]

    monkeypatch.setattr(alone, "_run", run)
    assert run_alone(Request("torch", "lenet5", 2)) == Alone(1.0, 100)
    run_alone(Request("ours", "lenet5", 2))
    assert asked == [("torch", "contiguous"), ("torch", "channels last"), ("ours", "contiguous")]


def test_the_peak_is_at_least_what_there_is():
    now, peak = resident_memory()
    assert 1 << 20 < now <= peak


def test_peak_memory_rows(monkeypatch: pytest.MonkeyPatch):
    asked = list[tuple[str, bool]]()

    def run(request: Request, cache: Path | None = None) -> Alone:
        asked.append((request.who, cache is not None))
        return Alone(1.0, {"torch": 300, "ours": 400 - 100 * len(asked)}[request.who] * 1_000_000)

    monkeypatch.setattr(resident, "run_alone", run)
    monkeypatch.setattr(resident, "load", lambda _: None)
    rows = list(resident.measure(["step of conv6 x128"], ["torch"], [1]))
    assert asked == [("torch", False), ("ours", True), ("ours", True)]
    assert [(row.which, row.ours, row.theirs, row.unit) for row in rows] == [
        ("peak cold", 200.0, 300.0, "MB"),
        ("peak warm", 100.0, 300.0, "MB"),
    ]


def test_growth_changes_one_quantity(monkeypatch: pytest.MonkeyPatch):
    asked = list[Request]()

    def run(request: Request) -> Alone:
        asked.append(request)
        return Alone(0.5, 1000)

    monkeypatch.setattr(growth, "run_alone", run)
    monkeypatch.setattr(growth, "CASES", {"batch": (2, 4), "threads": ()})
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    points = list(growth.measure(["batch", "threads"], [], 3, threads=2))
    assert [(r.batch, r.threads) for r in asked if r.rounds == 3] == [(2, 2), (4, 2), (32, 1), (32, 2)]
    assert [(p.quantity, p.value, p.seconds) for p in points[:2]] == [("batch", 2, 0.25), ("batch", 4, 0.125)]


def test_curves_as_text():
    assert growth.line(POINTS[1]) == "batch     torch      1        4.000        5.000"
    assert growth.bars(POINTS) == (
        "\nms an image against batch\n"
        f"     1 ours  {'#' * 20} 2.000\n"
        f"     1 torch {'#' * 40} 4.000\n"
        "\nms an image against size\n"
        f"    16 ours  {'#' * 40} 0.100"
    )


def test_curves_as_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ArgumentError, match=r"pip install matplotlib$"):
            chart.draw(POINTS, tmp_path / "a.svg")
    pytest.importorskip("matplotlib")
    chart.draw(POINTS, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_startup_is_cold_and_then_warm():
    cold, warm = startup.measure(["lenet5"], 1)
    assert (cold.kind, warm.kind) == ("cold", "warm")
    assert 0 < cold.again < cold.step < cold.whole
    assert startup.line(cold).startswith("lenet5     cold ")
    assert len(startup.line(cold)) == len(startup.heading())
    assert startup.row(warm).which == "first warm"


@pytest.mark.parametrize("fused", [True, False])
def test_profile_has_every_equation_and_the_slowest_first(fused: bool):
    found = profile.profile("lenet5", 2, 1, fused=fused)
    seconds = [share.seconds for share in found.shares]
    assert seconds == sorted(seconds, reverse=True)
    assert any(share.output == "update.3.weight.p1" or "update.3.weight" in share.output for share in found.shares)
    lines = list(profile.lines(found, top=2))
    assert len(lines) == 5
    assert lines[2].endswith(f"the other {len(seconds) - 2} equations")
    assert lines[4].endswith("a step as one program")


def test_profile_of_convolutions_with_fewer_multiplications(monkeypatch: pytest.MonkeyPatch):
    small = Named(lambda: plain(((2, 32),), 4), (12, 12, 3), 4)
    monkeypatch.setattr(profile, "NETWORKS", {"small": small})
    found = profile.profile("small", 2, 1)
    assert any(share.output.endswith(".M") for share in found.shares)


def test_profile_of_equations_whose_outputs_are_streamed(monkeypatch: pytest.MonkeyPatch):
    """Alone an equation writes an output of its program; a large one must begin where its stores want it."""
    monkeypatch.setattr(streamed, "STREAMED_BYTES", 1024)
    monkeypatch.setattr(allocation, "STREAMED_BYTES", 1024)
    small = Named(lambda: plain(((2, 32),), 4), (12, 12, 3), 4)
    monkeypatch.setattr(profile, "NETWORKS", {"small": small})
    made = list[bool]()
    real = equations.assemble

    def assemble(*given: Any, **options: Any):
        found = real(*given, **options)
        made.append(any(tensor.streamed for tensor in found.program.tensors))
        return found

    monkeypatch.setattr(equations, "assemble", assemble)
    assert profile.profile("small", 2, 1).shares
    assert any(made)
