"""A fault planted in the nest of a convolution is caught by the proof, by checked mode and by forbidden pages.

And what the scheduler really makes runs clean between forbidden pages before and behind every buffer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid.emit import compile_program
from pellucid.errors import OutOfBoundsError
from pellucid.schedule.bounds import prove
from pellucid.schedule.interpret import interpret
from schedule.pages import KERNELS
from schedule.planted_convolution import CONVOLUTION, FAULTS, planted, program

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SOURCE), str(HERE.parent)))}
    return subprocess.run(
        [sys.executable, str(HERE / name), *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_proof_refuses_it(fault: str) -> None:
    with pytest.raises(OutOfBoundsError, match="nest nest"):
        compile_program(planted(fault))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_interpreter_refuses_it(fault: str) -> None:
    arrays = {name: array.ravel() for name, array in CONVOLUTION.arrays().items()}
    with pytest.raises(OutOfBoundsError):
        interpret(planted(fault), {**arrays, "z": np.zeros(CONVOLUTION.output.size, "float32")})


@pytest.mark.parametrize("fault", FAULTS)
def test_checked_mode_reports_it(fault: str) -> None:
    z = np.zeros(CONVOLUTION.output.shape, "float32")
    with pytest.raises(OutOfBoundsError, match=r"nest nest.*was asked for"):
        compile_program(planted(fault), checked=True).call({**CONVOLUTION.arrays(), "z": z})


@pytest.mark.parametrize("fault", FAULTS)
def test_forbidden_pages_end_the_process(fault: str) -> None:
    died = run_script("planted_convolution.py", fault, FAULTS[fault][1])
    assert died.returncode < 0, died.stderr
    assert "survived" not in died.stdout


def test_without_a_fault_all_of_them_let_it_pass() -> None:
    arrays = CONVOLUTION.arrays()
    assert prove(program()) > 0
    z = np.zeros(CONVOLUTION.output.shape, "float32")
    compile_program(program(), checked=True).call({**arrays, "z": z})
    np.testing.assert_array_equal(z, CONVOLUTION.expected(arrays))


def test_kernels_and_their_gradients_run_clean_between_forbidden_pages() -> None:
    lived = run_script("pages.py")
    assert lived.returncode == 0, lived.stderr
    assert lived.stdout == f"{len(KERNELS)} kernels survived\n"
