"""The kernels' benchmarks on small shapes: peers compute the same, and a wrong kernel is not timed."""

from functools import cache

import numpy as np
import pytest

from pellucid.bench import bandwidth, kernels, ladder, torch_kernels
from pellucid.bench.kernels import Convolution, Dense, compiled, random_arrays
from pellucid.errors import VerificationError

SMALL = {
    "conv": Convolution(2, 7, 5, 8, 3, 2, 1),
    "dilated": Convolution(2, 7, 5, 8, 3, 1, 2, 2),
    "dense": Dense(4, 6, 5),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "CASES", SMALL)


@cache
def expected(case: kernels.Case, which: str):
    arrays = random_arrays(case.shapes)
    if which == "forward":
        return case.equation.reference(None, x=arrays["x"], w=arrays["w"])
    gradient = case.equation.gradient(which[1:])
    return gradient.reference(None, **arrays)


def test_shapes_and_operations_by_hand():
    case = SMALL["conv"]
    assert case.result == 4
    assert case.operations == 2 * (2 * 4 * 4 * 8) * (3 * 3 * 5)
    assert case.passes(kernels.PASSES) == ["forward", "dx", "dw"]
    assert Convolution(1, 28, 1, 8, 5).passes(kernels.PASSES) == ["forward", "dw"]
    assert SMALL["dense"].operations == 2 * 4 * 6 * 5


@pytest.mark.parametrize("which", kernels.PASSES)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_a_peer_computes_the_same(peer: str, name: str, which: str):
    pytest.importorskip(peer)
    case = SMALL[name]
    found = kernels.PEERS[peer](case, which, random_arrays(case.shapes))
    assert np.allclose(found.exact(), expected(case, which), rtol=1e-12, atol=1e-12)
    for way in found.ways.values():
        assert np.asarray(way()).size == found.exact().size


def test_rows_without_a_peer():
    rows = list(kernels.measure(list(SMALL), [], [1], 1))
    assert [(row.name, row.which) for row in rows] == [(n, w) for n in SMALL for w in kernels.PASSES]
    assert all(row.peer is None and row.ratio is None and row.ours > 0 for row in rows)


@pytest.mark.parametrize("which", kernels.PASSES)
@pytest.mark.parametrize("accuracy", ["standard", "fast"])
def test_as_a_network_computes_it(monkeypatch: pytest.MonkeyPatch, which: str, accuracy: str):
    """With 64 channels that is Winograd's form, which is not what the equation alone computes, to the last bit."""
    case = Convolution(1, 12, 64, 64, 3, 1, 1)
    arrays = random_arrays(case.shapes)
    results = list[np.ndarray]()
    for mode in ("direct", accuracy):
        call, result = kernels._ours(case, which, mode, arrays, 1)
        call()
        results.append(result)
    exact = expected(case, which)
    assert all(np.abs(result - exact).max() < 1e-5 * np.abs(exact).max() for result in results)
    assert (results[0] != results[1]).any()
    monkeypatch.setattr(kernels, "CASES", {"conv": case})
    rows = list(kernels.measure(["conv"], [], [1], 1, [which], ["direct", accuracy]))
    assert [row.which for row in rows] == [which, f"{which} {accuracy}"]


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")

    def wrong(case: object, which: str, arrays: dict[str, np.ndarray]):
        return compiled(SMALL["dense"], which, {**arrays, "x": arrays["x"] + 1})

    monkeypatch.setattr(kernels, "compiled", wrong)
    monkeypatch.setattr(kernels, "take_turns", None)
    with pytest.raises(VerificationError, match=r"^forward of dense is wrong: z differs by "):
        list(kernels.measure(["dense"], ["torch"], [1], 1))


def test_bandwidth_of_a_small_case(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    relu = bandwidth.CASES["relu"]
    shrunk = bandwidth.Case(relu.equation, {"x": (2, 3, 3, 8)}, relu.peer)
    wrong = bandwidth.Case("y[n,i,j,c] = max(x[n,i,j,c], 1)", {"x": (2, 3, 3, 8)}, relu.peer)
    monkeypatch.setattr(bandwidth, "CASES", {"relu": shrunk, "wrong": wrong})
    monkeypatch.setattr(bandwidth, "OTHER", 1 << 10)
    (row,) = bandwidth.measure(["relu"], ["torch"], [1], 1)
    assert row.error == 0
    with pytest.raises(VerificationError, match=r"^wrong is wrong: y differs by "):
        list(bandwidth.measure(["wrong"], ["torch"], [1], 1))


def test_every_bandwidth_case_names_arrays_of_its_equation():
    for case in bandwidth.CASES.values():
        for name in case.shapes:
            assert f"{name}[" in case.equation or (name == "g" and case.wrt)


@pytest.mark.parametrize("name", ladder.CASES)
def test_every_rung_is_right_and_has_a_row(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ladder, "KERNELS", {ladder.SHAPE: Convolution(2, 7, 16, 32, 3, 1, 1)})
    (row,) = ladder.measure([name], [1], 1)
    assert row.error is not None
    assert row.error < 1e-5


def test_the_ladder_judges_by_the_meaning_and_refuses_a_wrong_rung(monkeypatch: pytest.MonkeyPatch):
    case = Convolution(2, 6, 4, 8, 3, 1, 1)
    arrays = random_arrays(case.shapes)
    meant = case.equation.reference(None, x=arrays["x"], w=arrays["w"])
    assert np.allclose(ladder.reference(case, arrays["x"], arrays["w"]), meant, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(ladder, "KERNELS", {ladder.SHAPE: case})
    monkeypatch.setattr(ladder, "_call", lambda *_: lambda: None)
    with pytest.raises(VerificationError, match=r"^v2 vectors is wrong: z differs by nan"):
        list(ladder.measure(["v2 vectors"], [1], 1))


def test_rungs_differ_in_what_they_say():
    assert "k, 1 lanes" in ladder.plan_of(ladder.CASES["v1 literal loops"])
    assert "1 point x" in ladder.plan_of(ladder.CASES["v3 row of vectors"])
    assert "6 j x" in ladder.plan_of(ladder.CASES["v4 register tile"])
    assert "(chain)" not in ladder.plan_of(ladder.CASES["v7 order and slabs"])


def test_torch_layouts():
    torch = pytest.importorskip("torch")
    found = torch_kernels.layouts(torch.zeros(2, 3, 4, 5))
    assert found["contiguous"][0].is_contiguous()
    assert found["channels last"][0].is_contiguous(memory_format=torch.channels_last)
