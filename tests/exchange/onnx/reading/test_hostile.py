"""Hostile and damaged files end in errors of the package, in 2 seconds and 512 MB each, and nothing crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from exchange.onnx.reading import child
from exchange.onnx.reading.hostile import cases, generated

SECONDS = 2
ERRORS = {"DataError", "ArgumentError", "OutOfMemoryError"}


def run(paths: list[Path], shapes: Mapping[Path, tuple[int, ...]] = MappingProxyType({})) -> list[dict[str, object]]:
    """What became of each file, as the child tells; those with an input shape are run, too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-W", "error", child.__file__],
        input="".join(json.dumps([str(path), shapes.get(path)]) + "\n" for path in paths),
        capture_output=True,
        text=True,
        timeout=250,
        env=environment,
        check=False,
    )
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    after = paths[len(told)] if len(told) < len(paths) else "the last"
    assert len(told) == len(paths), f"the process ended with {ended.returncode} at {after}:\n{ended.stderr}"
    return told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it")
def test_every_hostile_file_is_refused(tmp_path):
    chosen = cases("read")
    assert len(chosen) >= 130
    paths = [case.write(tmp_path) for case in chosen]
    wrong: list[str] = []
    for case, path, told in zip(chosen, paths, run(paths), strict=True):
        outcome, (processor, _) = told["outcome"], told["seconds"]
        if outcome not in ERRORS and not (outcome == "read" and case.may_pass):
            wrong.append(f"{case.name}: {outcome} {told['message']}")
        if outcome in ERRORS and str(path) not in str(told["message"]):
            wrong.append(f"{case.name}: the message does not name the file: {told['message']}")
        if len(str(told["message"])) > 2000:
            wrong.append(f"{case.name}: the message has {len(told['message'])} characters")
        if processor > SECONDS:
            wrong.append(f"{case.name}: took {processor:.1f} s")
        if "shape of 1 GiB" in case.name and outcome != "OutOfMemoryError":
            wrong.append(f"{case.name}: {outcome}, so memory was not limited")
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it")
def test_every_attack_on_an_operator_is_refused(tmp_path):
    chosen = cases("load")
    assert len(chosen) >= 100
    paths = [case.write(tmp_path) for case in chosen]
    shapes = {path: case.input_shape for case, path in zip(chosen, paths, strict=True)}
    wrong: list[str] = []
    for case, told in zip(chosen, run(paths, shapes), strict=True):
        outcome, (processor, _) = told["outcome"], told["seconds"]
        if outcome not in {*ERRORS, "ShapeError", "DtypeError"} and not (outcome == "run" and case.may_pass):
            wrong.append(f"{case.name}: {outcome} {told['message']}")
        if len(str(told["message"])) > 2000:
            wrong.append(f"{case.name}: the message has {len(told['message'])} characters")
        if processor > SECONDS:
            wrong.append(f"{case.name}: took {processor:.1f} s, {outcome}")
    assert not wrong, "\n".join(wrong)


def test_attacks_on_operators_are_in_good_form(tmp_path):
    """They are read; that they are refused is for those to show who know the operators."""
    from pellucid.exchange.onnx.reading import read

    for case in cases("load"):
        assert read(case.write(tmp_path)).outputs, case.name


def test_cases_are_the_same_at_every_run():
    again = generated.__wrapped__()
    assert [(case.name, case.model) for case in cases()] == [(case.name, case.model) for case in again]


def test_damage_leaves_something_to_refuse(tmp_path):
    """Flips and cuts that may pass are not all read: the generator does damage."""
    told = run([case.write(tmp_path) for case in cases("read") if case.may_pass])
    outcomes = Counter(entry["outcome"] for entry in told)
    assert outcomes["DataError"] > 2 * outcomes["read"] > 0
