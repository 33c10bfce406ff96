"""The page of the design says what the package is: its rooms, and the order of imports that tests check."""

import re
import subprocess
import sys
from pathlib import Path

from test_imports import FLOORS

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "pellucid"
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def test_the_page_lists_the_rooms_of_the_package():
    listed = re.findall(r"^      ([a-z]+(?:\.py|/)) ", PAGE, re.MULTILINE)
    entries = [path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if not path.name.startswith("__")]
    assert sorted(listed) == sorted(name for name in entries if name != "py.typed")


def test_the_order_of_imports_is_the_one_that_is_checked():
    line = next(line for line in PAGE.splitlines() if line.startswith("    cli, estimators -> "))
    floors = [re.split(r", | \| ", floor.strip().replace(".py", "")) for floor in line.split("->")]
    there = {path.stem for path in PACKAGE.iterdir()}
    checked = [sorted(room for room in rooms if room in there) for rooms in reversed(FLOORS)]
    assert [sorted(floor) for floor in floors] == checked


def test_importing_the_package_loads_no_room():
    code = "import sys, pellucid; print(sorted(name for name in sys.modules if name.startswith('pellucid.')))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout == "[]\n"
