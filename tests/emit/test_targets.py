"""Targets: names, machine data, code for other processors, and the refusal to run it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from emit.planted import copy_program
from emit.pointwise import function, pointwise_program
from pellucid.emit import compile_program, host_target, target
from pellucid.emit.compile import assembly_text
from pellucid.emit.peak import measure_copy_bandwidth, measure_peak
from pellucid.emit.targets import missing_features
from pellucid.errors import CompileError, DtypeError
from pellucid.schedule.nest import Apply, Value


@pytest.mark.parametrize(
    ("name", "vector_bytes", "registers", "has_fma", "rates"),
    [
        ("x86-64-v2", 16, 16, False, (2.0, 20.0)),
        ("x86-64-v3", 32, 16, True, (2.0, 20.0)),
        ("x86-64-v4", 64, 32, True, (2.0, 28.0)),
        ("haswell", 32, 16, True, (2.0, 20.0)),
        ("znver4", 64, 32, True, (1.0, 20.0)),
        ("aarch64", 16, 32, True, (2.0, 20.0)),
    ],
)
def test_machine_data(name: str, vector_bytes: int, registers: int, has_fma: bool, rates: tuple[float, float]) -> None:
    machine = target(name).machine
    assert (machine.vector_bytes, machine.registers, machine.has_fma) == (vector_bytes, registers, has_fma)
    assert (machine.fma_rate, machine.l2_bandwidth) == rates
    assert machine.l1 < machine.l2


def test_the_variable_names_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELLUCID_TARGET", "x86-64-v2")
    assert target().name == "x86-64-v2"
    monkeypatch.setenv("PELLUCID_TARGET", "")
    assert target() == host_target()
    assert target("native") == host_target()


def test_unknown_targets() -> None:
    with pytest.raises(CompileError) as caught:
        target("x86-64-v33")
    assert str(caught.value).startswith("target (=x86-64-v33) must be one of x86-64-v2, x86-64-v3, x86-64-v4, ")
    assert str(caught.value).endswith("; did you mean x86-64-v3?")


def test_this_processor_runs_its_own_code() -> None:
    assert missing_features(host_target()) == ()


def test_another_architectures_code_is_refused() -> None:
    other = "aarch64" if host_target().triple.startswith("x86") else "x86-64-v3"
    lacking = target(other).triple.split("-")[0]
    with pytest.raises(CompileError) as caught:
        compile_program(copy_program(), target(other))
    assert str(caught.value) == f"code for {other} cannot run on this processor, which lacks {lacking}"


def test_a_missing_feature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["pellucid.emit.targets"]
    monkeypatch.setattr(module, "_host_features", lambda: frozenset({"avx512f", "avx512bw", "avx512cd"}))
    assert missing_features(target("x86-64-v4")) in (("avx512dq", "avx512vl"), ("x86_64",))


def multiply_add(a: Value, b: Value) -> Value:
    return Apply("sigmoid", (Apply("mul", (a, b)),))


@pytest.mark.parametrize(
    ("name", "mark"),
    [("x86-64-v2", "mulps"), ("x86-64-v3", "ymm"), ("x86-64-v4", "zmm"), ("aarch64", "fmul\tv")],
)
def test_code_for_every_target_uses_its_vectors(name: str, mark: str) -> None:
    chosen = target(name)
    lanes = chosen.machine.lanes(4)
    program = pointwise_program(multiply_add, ("float32", "float32"), "float32", 64, lanes)
    assert mark in assembly_text(program, chosen)


@pytest.mark.parametrize("name", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("called", ["tanh", "sin", "pow", "erf", "log1p"])
def test_no_function_is_called_from_a_library(name: str, dtype: str, called: str) -> None:
    """Without fused multiply-adds LLVM would call fma() for each lane."""
    count = 2 if called == "pow" else 1
    chosen = target(name)
    lanes = chosen.machine.lanes(4)
    lines = assembly_text(pointwise_program(function(called), (dtype,) * count, dtype, 32, lanes), chosen).splitlines()
    calls = [line.split() for line in lines if line.split()[:1] in (["callq"], ["bl"], ["call"])]
    own = ("nest0", "loop", "is_over", "take", "count", "wait", "end", "has_loops", "invited", "ask", "reduce_far", "*")
    assert [call for call in calls if not call[-1].strip('"').removesuffix("@PLT").startswith(own)] == []


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4"])
def test_no_spilled_register_crosses_a_cache_line(name: str) -> None:
    """The entry aligns the stack for all."""
    chosen = target(name)
    program = pointwise_program(function("erf"), ("float32",), "float32", 512, 16 * chosen.machine.lanes(4))
    text = assembly_text(program, chosen)
    spills = [line.split() for line in text.splitlines() if "(%rsp)" in line and "mm" in line]
    moves = {parts[0] for parts in spills if parts[0].startswith("vmov")}
    assert moves
    assert not any(move.startswith(("vmovu", "vmovdqu")) for move in moves)
    entry = text[text.index("\nprogram:") :]
    assert f"andq\t$-{chosen.machine.vector_bytes}, %rsp" in entry


def test_threads_measure_at_once() -> None:
    """Code is loaded and released by one while the other runs its own."""
    with ThreadPoolExecutor(2) as pool:
        peaks = list(pool.map(lambda _: measure_peak(seconds=0.002), range(20)))
    assert min(peaks) > 0


def test_measurements_are_plausible() -> None:
    peak = measure_peak()
    machine = target().machine
    # From a tenth of one multiply-add a cycle at 1 GHz to twice the rate at 8 GHz.
    assert 0.1e9 * 2 * machine.lanes(4) <= peak <= 16e9 * 2 * machine.lanes(4) * machine.fma_rate
    assert measure_peak("float64") < peak
    assert 1e8 < measure_copy_bandwidth() < 1e13
    with pytest.raises(DtypeError, match=r"^`dtype` \(=int64\) must be float32 or float64$"):
        measure_peak("int64")
