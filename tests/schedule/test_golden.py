"""What the scheduler makes, as text: kept in files, equal in every process.

A decision that was changed on purpose changes these files:

    PYTHONPATH=src:tests python tests/schedule/golden.py --update
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schedule.golden import FOLDER, NESTS, text

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", NESTS)
def test_the_loop_nest_is_the_one_on_file(name: str) -> None:
    assert text(name) == (FOLDER / f"{name}.txt").read_text("utf-8")


def test_every_file_belongs_to_an_entry() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(NESTS)


def printed(hash_seed: str) -> str:
    paths = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS)))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, str(TESTS / "schedule" / "golden.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scheduling_does_not_depend_on_the_order_of_hashes() -> None:
    assert printed("1") == printed("2") == "".join(f"{text(name)}\n" for name in NESTS)
