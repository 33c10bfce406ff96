"""Recurrences as loop nests: in bounds, the reference's results, and the same bits for every number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from pellucid.emit import compile_program, target
from pellucid.emit.compile import assembly_text
from pellucid.emit.targets import missing_features
from pellucid.reference import evaluate_recurrence
from pellucid.schedule.bounds import prove
from pellucid.schedule.interpret import interpret
from pellucid.schedule.machine import Machine
from pellucid.schedule.plan import Options
from pellucid.schedule.recurrent import recurrence_options
from schedule.cases import AVX2, SSE2, TOY, with_tiny_caches
from support.guard_pages import guarded
from support.recurrences import KNOWN, Steps, recurrences

RUNNABLE = [name for name in ("native", "x86-64-v3", "x86-64-v2") if not missing_features(target(name))]


def arrays_of(case: Steps, dtype: str = "float64", *, small: bool = False) -> dict[str, NDArray[Any]]:
    """What it reads, and what it makes: not a number yet."""
    given = {
        name: array.astype("int64" if name in case.lengths else dtype)
        for name, array in case.arrays(small=small).items()
    }
    return given | {name: np.full(shape, np.nan, dtype) for name, shape in case.solved[1].items()}


def expected(case: Steps, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    extents, shapes = case.solved
    inputs = {name: arrays[name] for name in case.shapes}
    return evaluate_recurrence(case.recurrence, case.constants, extents, shapes, inputs)


def check(case: Steps, machine: Machine, threads: int = 1, options: Options | None = None) -> None:
    """Lowered, proved, interpreted; the interpreter also finds threads that meet in a cell."""
    lowered, arrays = case.program(machine, options), arrays_of(case)
    prove(lowered)
    interpret(lowered, {name: array.reshape(-1) for name, array in arrays.items()}, threads)
    for name, values in expected(case, arrays).items():
        np.testing.assert_allclose(arrays[name], values, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", KNOWN)
def test_interpreted(name: str) -> None:
    for number, machine in enumerate((AVX2, SSE2, TOY)):
        check(KNOWN[name], machine, threads=1 + number)


@settings(max_examples=40, deadline=None)
@given(recurrences())
def test_drawn(case: Steps) -> None:
    check(case, with_tiny_caches(AVX2), threads=2)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_any_group_of_images(group: int) -> None:
    check(KNOWN["LSTM"], AVX2, threads=2, options=Options(outer="n", group=group))


def test_one_thread_walks_all_steps_where_no_axis_is_apart() -> None:
    for name in ("no batch", "diagonal", "batch that is summed"):
        lowered = KNOWN[name].program(AVX2)
        assert lowered.nests[-1].rounds == ()
        check(KNOWN[name], AVX2, threads=3)


def test_what_does_not_wait_is_made_before_the_loop() -> None:
    lowered = KNOWN["sums that wait for nothing"].program(AVX2)
    assert [nest.name for nest in lowered.nests] == ["steps.h.1", "steps.h.2", "steps"]


def test_groups_leave_rounds_for_threads() -> None:
    def group(images: int) -> int:
        case = Steps("h[n,t] = h[n,t-1] + x[n,t]", {"x": (images, 3)})
        return recurrence_options(case.recurrence, case.solved[0]).group

    assert [group(images) for images in (1, 3, 4, 8, 12, 13, 64, 128)] == [1, 1, 1, 2, 3, 1, 8, 8]


# Machine code


@pytest.mark.parametrize("name", KNOWN)
def test_code_for_every_target(name: str) -> None:
    case = KNOWN[name]
    for chosen in RUNNABLE:
        arrays = arrays_of(case)
        compile_program(case.program(target(chosen).machine), target(chosen)).call(arrays, threads=2)
        for tensor, values in expected(case, arrays).items():
            np.testing.assert_allclose(arrays[tensor], values, rtol=1e-12, atol=1e-13, err_msg=tensor)


@settings(max_examples=20, deadline=None)
@given(recurrences(exact=True))
def test_small_integers_are_exact(case: Steps) -> None:
    arrays = arrays_of(case, "float32", small=True)
    compile_program(case.program(target().machine, dtype="float32")).call(arrays)
    for name, values in expected(case, arrays).items():
        if abs(values).max() < 2**20:
            np.testing.assert_array_equal(arrays[name], values, err_msg=name)


@pytest.mark.parametrize("chosen", ["x86-64-v4", "aarch64"])
def test_code_for_other_processors_generates(chosen: str) -> None:
    assert "ret" in assembly_text(KNOWN["LSTM"].program(target(chosen).machine, dtype="float32"), target(chosen))


@pytest.mark.parametrize("name", ["LSTM", "masked downwards", "no batch"])
def test_the_same_bits_for_every_number_of_threads(name: str) -> None:
    case, results = KNOWN[name], []
    code = compile_program(case.program(target().machine, dtype="float32"))
    for threads in (1, 2, 3, 4):
        arrays = arrays_of(case, "float32")
        code.call(arrays, threads)
        results.append(arrays)
    for arrays in results[1:]:
        for tensor in case.solved[1]:
            np.testing.assert_array_equal(arrays[tensor], results[0][tensor])


GUARDED = ("begun", "LSTM", "masked downwards", "convolution", "numbered", "diagonal", "extents of 1")


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("name", GUARDED)
def test_no_forbidden_page_is_touched(name: str, at_end: bool) -> None:
    case = KNOWN[name]
    arrays = arrays_of(case, "float32")
    pages = {name: guarded(array.shape, array.dtype, at_end=at_end) for name, array in arrays.items()}
    for tensor, array in arrays.items():
        pages[tensor].array[...] = array
    code = compile_program(case.program(target().machine, dtype="float32"))
    code.call(arrays)
    code.call({tensor: page.array for tensor, page in pages.items()})
    for tensor in case.solved[1]:
        np.testing.assert_array_equal(pages[tensor].array, arrays[tensor])


@pytest.mark.parametrize("name", GUARDED)
def test_checked_mode_agrees(name: str) -> None:
    case = KNOWN[name]
    lowered = case.program(target().machine)
    arrays = arrays_of(case)
    compile_program(lowered, checked=True).call(arrays, threads=2)
    for tensor, values in expected(case, arrays).items():
        np.testing.assert_allclose(arrays[tensor], values, rtol=1e-12, atol=1e-13)
