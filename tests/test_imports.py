"""Imports point in one direction, from the command down to the errors, and foreign packages stay in their rooms."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "pellucid"

# Rooms from the ground up; a room may import from those on lower lines, and `NEIGHBOURS` from each other.
FLOORS = (
    ("errors",),
    ("language",),
    ("reference", "schedule"),
    ("emit",),
    ("equation",),
    ("network",),
    ("nn", "ops", "optim"),
    ("exchange",),
    ("onnx", "train"),
    ("bench",),
    ("cli", "estimators"),
)
# The package's own face, and `python -m pellucid`, stand above all rooms.
FACE = "__init__"
ROOF = (FACE, "__main__")
# Only those who stand on the whole package may use its face: it imports all the others.
MAY_USE_FACE = FLOORS[-1]
NEIGHBOURS = {"nn", "ops", "optim"}
# A network is made of formulas; the user's object for one equation has no place in it.
FORBIDDEN = {("network", "equation")}
# The one import upwards, inside a function that nothing below calls: a model is exported by the model.
DOORS = {"nn/model.py": {"pellucid.exchange.onnx.export.export", "pellucid.exchange.onnx.export.DEFAULT_OPSET"}}

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[str]:
    """The full names of all that a module imports anywhere in it."""
    own = ("pellucid", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*own[: len(own) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            assert base is not None
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms_imported(module: Path) -> set[str]:
    """The rooms that a module imports from; `FACE` for names of the package itself (`pellucid.__version__`)."""
    doors = DOORS.get(identify(module), set())
    names = [name.split(".") for name in imported(module) if name not in doors]
    seconds = [parts[1] if len(parts) > 1 else FACE for parts in names if parts[0] == "pellucid"]
    return {
        second if (PACKAGE / second).is_dir() or (PACKAGE / f"{second}.py").is_file() else FACE for second in seconds
    }


def identify(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def test_there_are_modules_to_judge():
    assert {room_of(module) for module in MODULES} >= {"errors", "language", "reference", "schedule"}


@pytest.mark.parametrize("module", MODULES, ids=identify)
def test_imports_point_down(module):
    room = room_of(module)
    if room in ROOF:
        return
    assert room in FLOOR_OF, f"{room} has no place in the order of the rooms"
    for other in rooms_imported(module) - {room}:
        if other == FACE:
            assert room in MAY_USE_FACE, f"{identify(module)} imports the package's face"
            continue
        assert other in FLOOR_OF, f"{identify(module)} imports pellucid.{other}, which has no place in the order"
        beside = FLOOR_OF[other] == FLOOR_OF[room] and {room, other} <= NEIGHBOURS
        assert FLOOR_OF[other] < FLOOR_OF[room] or beside, f"{identify(module)} imports pellucid.{other}"
        assert (room, other) not in FORBIDDEN, f"{identify(module)} imports pellucid.{other}"


@pytest.mark.parametrize("name", DOORS)
def test_doors_are_used_and_stand_inside_functions(name: str):
    assert DOORS[name] <= set(imported(PACKAGE / name))
    outside = [node for node in ast.parse((PACKAGE / name).read_text()).body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in outside if (node.module or "").startswith("pellucid.exchange")]


@pytest.mark.parametrize("module", MODULES, ids=identify)
def test_foreign_packages_stay_in_their_rooms(module):
    room = room_of(module)
    foreign = {name.split(".")[0] for name in imported(module)} - sys.stdlib_module_names - {"pellucid"}
    if room in ("errors", "language", "schedule"):
        assert foreign == set()
    if room == "reference":
        assert foreign <= {"numpy"}
    if room != "emit":
        assert "llvmlite" not in foreign
    if room != "exchange":
        assert "onnx" not in foreign
    assert not foreign & {"torch", "onnxruntime", "pytest", "hypothesis"}


def test_a_planted_wrong_import_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    module = tmp_path / "schedule" / "wrong.py"
    for room in ("schedule", "emit", "reference"):
        (tmp_path / room).mkdir()
    for line in ("import pellucid.emit.call", "from pellucid.emit import call", "from ..reference import evaluate"):
        module.write_text(f"def late():\n    {line}\n")
        with pytest.raises(AssertionError, match=r"^schedule/wrong\.py imports pellucid\.(emit|reference)"):
            test_imports_point_down(module)
    module.write_text("from pellucid import Equation\n")
    with pytest.raises(AssertionError, match=r"^schedule/wrong\.py imports the package's face"):
        test_imports_point_down(module)
    module.write_text("import numpy as np\n")
    with pytest.raises(AssertionError):
        test_foreign_packages_stay_in_their_rooms(module)
