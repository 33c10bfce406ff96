"""Windows ask for what they read before they get there: judged by walking nests cell by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from pellucid.emit import compile_program, target
from pellucid.language.parse import parse
from pellucid.schedule.bounds import prove
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import Program
from pellucid.schedule.prefetching import AHEAD, with_prefetches
from pellucid.schedule.show import show
from schedule.cases import AVX2, AVX512, TOY, Case, compiled, interpreted, with_second_cache
from schedule.walk import Event, events

POOL = Case(
    parse("p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]"),
    {"x": (1, 8, 240, 16)},
    given={"s": 3, "t": 3, "i": 4, "j": 120},
)
WINNERS = Case(parse("p[n,i,j,c] = argmax(s,t) x[n,2*i+s,2*j+t,c]"), {"x": (1, 4, 240, 16)}, given={"s": 2, "t": 2})
DEPTHWISE = Case(
    parse("z[n,i,j,c] = sum(s,t) x[n,i+s-1,j+t-1,c] * w[s,t,c]"),
    {"x": (1, 9, 120, 16), "w": (3, 3, 16)},
    given={"i": 9, "j": 120},
)
# By name, with the loop that goes through the columns of a row.
CASES = {"pool": (POOL, "j.tile"), "winners": (WINNERS, "j"), "depthwise": (DEPTHWISE, "j.tile")}


def prefetching(case: Case, machine, l2: int = 4096) -> Program:
    program = case.program(with_second_cache(machine, l2))
    far = {tensor.name: tensor for tensor in program.tensors if tensor.bytes > l2 // 2}
    return replace(program, nests=tuple(with_prefetches(nest, far) for nest in program.nests))


@pytest.mark.parametrize("machine", [TOY, AVX2, AVX512], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", CASES)
def test_lines_are_asked_for_once_before_they_are_read(name, machine):
    case, columns = CASES[name]
    walks: dict[tuple[int, ...], list[Event]] = {}
    for event in events(prefetching(case, machine), "x", columns):
        walks.setdefault(event.round[:-1], []).append(event)
    walks.pop((), None)  # borders that stand outside of loops
    assert walks
    row = case.shapes["x"][2]
    for walk in walks.values():
        asked = Counter(event.line for event in walk if event.kind == "ahead")
        # A tile of 8 lanes asks for what it reads itself: the tile beside it asks for the other half of a line again.
        assert max(asked.values()) <= max(1, CACHE_LINE // machine.vector_bytes)
        seen: dict[str, set[int]] = {"ahead": set(), "read": set()}
        late = 0
        for event in walk:
            late += event.kind == "read" and event.line not in seen["ahead"] | seen["read"]
            seen[event.kind].add(event.line)
        # The first lines of each row have been read when they could have been asked for.
        assert late <= ceil(len(seen["read"]) / row) * (AHEAD // CACHE_LINE + 2)
        assert len(seen["ahead"] - seen["read"]) <= late


@pytest.mark.parametrize("machine", [TOY, AVX2], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", CASES)
def test_results_are_the_same_bits(name, machine):
    case, _ = CASES[name]
    plain, program = case.program(with_second_cache(machine, 4096)), prefetching(case, machine)
    assert " ahead" in show(program)
    assert prove(program) == prove(plain)
    arrays = case.arrays()
    np.testing.assert_array_equal(interpreted(program, arrays), case.expected(arrays))
    np.testing.assert_array_equal(compiled(program, arrays, threads=2), compiled(plain, arrays))


@pytest.mark.parametrize(
    ("text", "shapes", "given", "integers"),
    [
        ("z[n,c] = max(x[n,c], 0)", {"x": (512, 16)}, {}, {}),
        ("d[c] = sum(n,i) g[n,i,c] * (x[n,i,c] - m[c])", {"g": (4, 99, 16), "x": (4, 99, 16), "m": (16,)}, {}, {}),
        ("z[n,k] = sum(c) x[n,c] * w[c,k]", {"x": (128, 64), "w": (64, 16)}, {}, {}),
        ("z[n,i,k] = sum(c) x[n,i,c] * w[n,c,k]", {"x": (64, 4, 2), "w": (64, 2, 16)}, {}, {}),
        ("z[i,c] = max(s) x[i+s,5,c]", {"x": (64, 128, 16)}, {"s": 3}, {}),
        ("z[i,c] = max(s) x[63-i-s,c]", {"x": (64, 16)}, {"s": 3}, {}),
        ("z[n,i,c] = max(s) x[n,i+s,c]", {"x": (32, 40, 16)}, {"s": 2, "i": 8}, {}),
        ("z[n,i,c] = max(s) x[r[n],i+s,c]", {"x": (9, 64, 16), "r": (32,)}, {"s": 2}, {"r": 9}),
        ("z[i,c] = max(s) (x[i+s] + w[s,c])", {"x": (1024,), "w": (2, 16)}, {}, {}),
    ],
    ids=[
        "cell by cell",
        "long sums",
        "products",
        "short products",
        "far apart",
        "backwards",
        "pieces",
        "looked up",
        "one for all lanes",
    ],
)
def test_what_asks_for_nothing(text, shapes, given, integers):
    case = Case(parse(text), shapes, given=given, integers=integers)
    assert " ahead" not in show(prefetching(case, AVX512))


def test_what_is_near_is_not_asked_for():
    case, _ = CASES["pool"]
    assert prefetching(case, AVX512, 1 << 20) == case.program(with_second_cache(AVX512, 1 << 20))


def test_what_the_plan_prefetches_stays():
    """Of a weight gradient that reads rows in pieces the next row; at borders, outside of a tile's loops, too."""
    shapes = {"x": (1, 34, 34, 512), "g": (1, 34, 34, 512), "dw": (3, 3, 512)}
    case = Case(parse("dw[s,t,c] = sum(n,i,j) x[n,i+s-1,j+t-1,c] * g[n,i,j,c]"), shapes)
    plain = case.program(AVX512)
    far = {tensor.name: tensor for tensor in plain.tensors if tensor.bytes > AVX512.l2 // 2}
    assert far.keys() == {"x", "g"}
    assert "17408 ahead" in show(plain)
    assert tuple(with_prefetches(nest, far) for nest in plain.nests) == plain.nests


def test_in_text():
    assert f"tile i < 2, c in 0 .. 15: max, x {AHEAD // 4} ahead" in show(prefetching(POOL, AVX512))


@pytest.mark.skipif(not target().is_x86, reason="the instruction's name is x86's")
@pytest.mark.parametrize("machine", [AVX2, AVX512], ids=lambda machine: machine.name)
def test_in_machine_code(machine):
    """Two of the three columns that a round reads are new, of 4 rows at the border and of 5 elsewhere; a line is one
    instruction, be it one vector or two."""
    assert compile_program(prefetching(POOL, machine)).assembly().count("prefetcht0") == 2 * 4 + 2 * 5
