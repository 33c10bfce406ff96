"""`pellucid tune`: its table, what it keeps, its errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pellucid.cli.group import command_line


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = tmp_path / "cache"
    monkeypatch.setenv("PELLUCID_CACHE", str(chosen))
    return chosen


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["tune", *arguments])


def test_the_table_and_the_step(folder: Path):
    result = run("lenet5", "--batch-size", "2", "--threads", "1", "--seconds", "1")
    assert result.exit_code == 0, result.output
    first, heads, *rows = result.stdout.splitlines()
    assert first == "lenet5, 2 images of 28x28x1, 1 threads"
    assert heads.split() == ["equation", "default", "best", "gain", "choice"]
    assert re.match(r"\S+ +[\d.]+ us +[\d.]+ us", rows[0])
    assert re.search(r"\d+ of \d+ equations are faster otherwise\n", result.stdout)
    assert re.search(r"step [\d.]+ ms before, [\d.]+ ms after \([+-][\d.]+%\)\n", result.stdout)
    assert (folder / "tuned.json").is_file()
    assert re.fullmatch(r"forgot \d+ equations\n", run("--forget").stdout)
    assert not (folder / "tuned.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`MODEL` is missing"),
        (["lenet"], "unknown model 'lenet'; did you mean 'lenet5'?"),
        (["vgg", "--input", "32"], "`--input` (=32) must be height, width and channels, as in 32x32x3"),
    ],
)
def test_what_cannot_be_served(arguments: list[str], message: str):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr == f"error: {message}\n"
