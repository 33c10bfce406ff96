"""The test suite of the `onnx` package, case by case, through its own interface.

A case fails here unless it passes, is listed in `conformance.toml` with its reason, or is refused for an operator that
is not among those this package promises. One that is listed and passes fails, too.
"""

from __future__ import annotations

import re
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase as Case
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt, Runner

from pellucid.exchange.onnx.backend import Backend

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


def _load() -> dict[str, Case]:
    # Modules of the suite compute expected outputs when they are imported, and warn of overflow on purpose.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for kind in KINDS for case in load_model_tests(kind=kind)}


def _listed() -> dict[str, str]:
    groups = NOTES["group"]
    listed = {name: group["reason"] for group in groups for name in group["cases"]}
    assert len(listed) == sum(len(group["cases"]) for group in groups), "a case is listed twice"
    return listed


NOTES = tomllib.loads((Path(__file__).parent / "conformance.toml").read_text(encoding="utf-8"))
PROMISED = frozenset(NOTES["promised"].split())
CASES = _load()
LISTED = _listed()


def _array(value: object) -> object:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _data(case: Case, folder: Path) -> Iterator[tuple[list[object], list[object]]]:
    """Inputs and expected outputs."""
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [_array(value) for value in inputs], [_array(value) for value in outputs]
        return
    for data in sorted(folder.glob("test_data_set_*")):
        yield _arrays(data, "input"), _arrays(data, "output")


def _arrays(folder: Path, kind: str) -> list[object]:
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [_array(onnx.load_tensor(folder / f"{kind}_{number}.pb")) for number in range(count)]


def run(case: Case) -> None:
    """Every data set of a case, compared as its own runner does."""
    folder = Path(case.model_dir or "")
    model = case.model if case.model is not None else onnx.load(folder / "model.onnx")
    prepared = Backend.prepare(model)
    for inputs, expected in _data(case, folder):
        outputs = prepared.run(inputs)
        Runner.assert_similar_outputs(expected, outputs, case.rtol, case.atol)
        for output, wanted in zip(outputs, expected, strict=True):
            assert output.shape == np.shape(wanted)


def _refused(message: str) -> set[str]:
    """The operators that an error says are not supported."""
    listed = re.findall(r"^  (\S+) \((?:opset|version) ", message, re.MULTILINE)
    return {*listed, *re.findall(r"^node .*? \((\w+)\)", message)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_case(name: str) -> None:
    try:
        run(CASES[name])
    except BackendIsNotSupposedToImplementIt as refusal:
        if name in LISTED:
            pytest.skip(LISTED[name])
        missing = _refused(str(refusal)) - PROMISED
        if not missing:
            pytest.fail(f"refused: {refusal}")
        pytest.skip(f"{', '.join(sorted(missing))}: not supported")
    except Exception:
        if name not in LISTED:
            raise
        pytest.skip(LISTED[name])
    assert name not in LISTED, f"it passes, and is listed: {LISTED[name]}"


def test_the_list_names_cases_of_the_suite() -> None:
    assert not LISTED.keys() - CASES.keys()


def test_most_cases_pass() -> None:
    """What is promised cannot vanish behind refusals: so many cases have promised operators alone."""
    promised = [
        name
        for name, case in CASES.items()
        if name not in LISTED
        and case.model is not None
        and all(node.op_type in PROMISED for node in case.model.graph.node)
    ]
    assert len(promised) > 900
