"""A planted off-by-one is caught three times: by the proof, by checked mode, and by forbidden pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emit.planted import COLUMNS, ROWS, copy_program
from pellucid import Equation
from pellucid.emit import compile_program
from pellucid.errors import OutOfBoundsError
from support.guard_pages import guarded

TESTS = Path(__file__).parent.parent
SOURCE = TESTS.parent / "src"
FAULTS = [(1, 0), (-1, 0), (0, 1), (0, -1)]


def run_between_pages(read_shift: int, write_shift: int, at_end: bool) -> subprocess.CompletedProcess[str]:
    arguments = [str(read_shift), str(write_shift), "end" if at_end else "start"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SOURCE), str(TESTS)))}
    return subprocess.run(
        [sys.executable, str(TESTS / "emit" / "planted.py"), *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(("read_shift", "write_shift"), FAULTS)
def test_the_proof_refuses_it(read_shift: int, write_shift: int) -> None:
    with pytest.raises(OutOfBoundsError, match="nest copy"):
        compile_program(copy_program(read_shift, write_shift))


@pytest.mark.parametrize(("read_shift", "write_shift"), FAULTS)
def test_checked_mode_reports_it(read_shift: int, write_shift: int) -> None:
    """Within the array a neighbour's cell is a wrong cell, not a violation: only the ends leave memory."""
    x = np.arange(ROWS * COLUMNS, dtype="float32").reshape(ROWS, COLUMNS)
    z = np.full((ROWS + 2, COLUMNS), np.nan, "float32")
    shift, tensor = read_shift + write_shift, "x" if read_shift else "z"
    element = -1 if shift < 0 else ROWS * COLUMNS
    with pytest.raises(OutOfBoundsError) as caught:
        compile_program(copy_program(read_shift, write_shift), checked=True).call({"x": x, "z": z[1:-1]})
    assert str(caught.value) == f"nest copy: element {element} of {tensor} (6, 13), which has 78, was asked for"
    assert np.isnan(z[0]).all()
    assert np.isnan(z[-1]).all()


def test_checked_mode_computes_the_same() -> None:
    x, z = np.arange(78, dtype="float32").reshape(6, 13), np.zeros((6, 13), "float32")
    compile_program(copy_program(), checked=True).call({"x": x, "z": z}, threads=2)
    np.testing.assert_array_equal(z, x)


@pytest.mark.parametrize("at_end", [False, True])
def test_masked_vectors_touch_no_forbidden_page(at_end: bool) -> None:
    """The last vector of the last row is 5 of 8 lanes; the 3 that do not exist lie on the page."""
    x = guarded((ROWS, COLUMNS), "float32", at_end=at_end)
    z = guarded((ROWS, COLUMNS), "float32", at_end=at_end)
    x.array[...] = np.arange(78).reshape(6, 13)
    compile_program(copy_program()).call({"x": x.array, "z": z.array})
    np.testing.assert_array_equal(z.array, x.array)


@pytest.mark.parametrize(("read_shift", "write_shift"), FAULTS)
def test_forbidden_pages_end_the_process(read_shift: int, write_shift: int) -> None:
    died = run_between_pages(read_shift, write_shift, at_end=read_shift + write_shift > 0)
    assert died.returncode < 0, died.stderr
    assert "survived" not in died.stdout


def test_forbidden_pages_let_a_right_nest_live() -> None:
    lived = run_between_pages(0, 0, at_end=True)
    assert lived.returncode == 0, lived.stderr
    assert lived.stdout == "survived\n"


@pytest.mark.parametrize("at_end", [False, True])
def test_what_is_prefetched_may_lie_on_a_forbidden_page(at_end: bool) -> None:
    equation = Equation("w[c,k] = sum(j) x[j,c] * g[j,k]")
    x, g = guarded((1024, 80), "float32", at_end=at_end), guarded((1024, 32), "float32", at_end=at_end)
    w = guarded((80, 32), "float32", at_end=at_end)
    rng = np.random.default_rng(0)
    x.array[...], g.array[...] = rng.integers(-3, 4, x.array.shape), rng.integers(-3, 4, g.array.shape)
    kernel = equation.compile(x=x.array, g=g.array)
    assert "prefetch" in kernel.executable.assembly()
    kernel.executable.call({"x": x.array, "g": g.array, "w": w.array})
    np.testing.assert_array_equal(w.array, x.array.T @ g.array)
