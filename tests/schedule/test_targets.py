"""Machine code for every target: on small integers bit for bit what the reference says; elsewhere it generates.

The x86-64 levels are those that this processor can run; AVX-512 and AArch64 code is at least generated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.emit import Target, target
from pellucid.emit.compile import assembly_text
from pellucid.emit.targets import missing_features
from schedule.cases import EQUATIONS, Case, check_code, gradients
from schedule.drawn import convolutions, equations

SOURCE = Path(__file__).parents[2] / "src"
RUNNABLE = [name for name in ("native", "x86-64-v3", "x86-64-v2") if not missing_features(target(name))]
DTYPES = ("float32", "float64")


def with_tiny_caches(chosen: Target) -> Target:
    return replace(chosen, machine=replace(chosen.machine, l1=512, l2=2048))


@pytest.mark.parametrize("name", EQUATIONS)
def test_every_equation(name: str) -> None:
    for number, chosen in enumerate(RUNNABLE):
        check_code(replace(EQUATIONS[name], dtype=DTYPES[number % 2]), target(chosen), threads=1 + number % 2)


@pytest.mark.parametrize("chosen", RUNNABLE)
@pytest.mark.parametrize("name", ["conv", "conv stride 2", "conv NCHW", "dense", "max pool overlapping", "gather"])
def test_gradients(name: str, chosen: str) -> None:
    for number, found in enumerate(gradients(EQUATIONS[name]).values()):
        check_code(replace(found, dtype=DTYPES[number % 2]), with_tiny_caches(target(chosen)), threads=2)


@given(st.one_of(convolutions(), equations()), st.sampled_from(RUNNABLE), st.booleans(), st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_drawn(drawn: Case, name: str, tiny: bool, dtype: str) -> None:
    chosen = with_tiny_caches(target(name)) if tiny else target(name)
    check_code(replace(drawn, dtype=dtype), chosen)


@pytest.mark.parametrize("chosen", ["x86-64-v4", "aarch64"])
@pytest.mark.parametrize(
    "name", ["conv", "conv stride 2", "conv depthwise", "max pool, winners", "transposed", "gather"]
)
def test_code_for_other_processors_generates(name: str, chosen: str) -> None:
    processor = target(chosen)
    text = assembly_text(EQUATIONS[name].program(processor.machine), processor)
    assert "ret" in text


def test_vectors_are_as_wide_as_the_target_allows() -> None:
    """A 3x3 convolution with 32 channels multiplies whole registers, and adds in the same instruction."""
    wide = replace(EQUATIONS["conv"], shapes={"x": (1, 8, 8, 32), "w": (3, 3, 32, 32), "b": (32,)})

    def code(name: str) -> list[str]:
        text = assembly_text(wide.program(target(name).machine), target(name))
        return [line for line in text.splitlines() if "fmadd" in line or "mulps" in line or "fmla" in line]

    assert all("zmm" in line for line in code("x86-64-v4"))
    assert all("ymm" in line for line in code("x86-64-v3"))
    assert all("xmm" in line and "mulps" in line for line in code("x86-64-v2"))
    assert all(".4s" in line for line in code("aarch64"))
    assert all(code(name) for name in ("x86-64-v4", "x86-64-v3", "x86-64-v2", "aarch64"))


PROGRAM = """
import numpy as np
import pellucid
from pellucid.emit import target

conv = pellucid.Equation("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]")
generator = np.random.default_rng(0)
x = generator.integers(-3, 4, (2, 6, 7, 5)).astype("float32")
w = generator.integers(-3, 4, (3, 3, 5, 18)).astype("float32")
np.testing.assert_array_equal(conv(x=x, w=w), conv.reference(x=x, w=w))
dx = conv.gradient("x")
g = generator.integers(-3, 4, (2, 6, 7, 18)).astype("float32")
np.testing.assert_array_equal(dx(x=x, w=w, g=g), dx.reference(x=x, w=w, g=g))
print(target().name, conv.compile(x=x, w=w).executable.target.machine.vector_bytes)
"""


@pytest.mark.parametrize(("name", "vector_bytes"), [("x86-64-v3", 32), ("x86-64-v2", 16)])
def test_the_environment_forces_a_target(name: str, vector_bytes: int) -> None:
    if missing_features(target(name)):
        pytest.skip(f"this processor cannot run {name}")
    environment = {**os.environ, "PELLUCID_TARGET": name, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name} {vector_bytes}\n"


def test_the_reference_itself_agrees_with_numpy() -> None:
    """An oracle that shares no code with the package: NumPy's product of matrices."""
    dense = EQUATIONS["dense"]
    arrays = dense.arrays(3)
    expected = arrays["x"].astype(int) @ arrays["w"].astype(int) + arrays["b"].astype(int)
    np.testing.assert_array_equal(dense.expected(arrays), expected)
