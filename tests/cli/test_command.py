"""The command as a whole: help, suggestions, errors, interruption, and `pellucid info`."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pellucid.cli import group
from pellucid.cli.group import command_line
from pellucid.errors import ShapeError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, arguments)


def test_help_names_every_command_with_examples():
    text = run("--help").stdout
    for expected in ("  train ", "  explain ", "  tune ", "  info ", "  bench ", "Examples:", "pellucid train digits"):
        assert expected in text


@pytest.mark.parametrize("command", ["train", "explain", "tune", "info", "bench", "docs"])
def test_help_of_a_command_has_examples(command: str):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    pellucid {command}" in result.stdout


def test_help_needs_no_heavy_library():
    code = (
        "import sys\n"
        "from pellucid.cli.group import command_line\n"
        "command_line.main(['--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'llvmlite', 'rich', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr


def test_an_unknown_command_suggests_the_closest():
    result = run("trian", "digits")
    assert result.exit_code == 2
    assert "unknown command 'trian'; did you mean 'train'?" in result.stderr
    assert (
        "unknown command 'zzz'; known: train, check, resume, predict, evaluate, summary, run, export, explain"
        in run("zzz").stderr
    )


def test_as_a_module():
    finished = subprocess.run(
        [sys.executable, "-m", "pellucid", "explain", "conv2"], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == "error: unknown layer 'conv2'; did you mean 'conv2d'?\n"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Puts a command in the place of `info` that raises what it is told to."""

    def install(error: BaseException) -> None:
        @click.command()
        @group.debug_option
        def command() -> None:
            raise error

        monkeypatch.setattr(group.CommandGroup, "get_command", lambda *_: command)

    return install


def test_an_error_is_one_line_unless_debugging(failing):
    failing(ShapeError("x has 2 axes, 4 are needed"))
    result = run("info")
    assert result.exit_code == 2
    assert result.stderr == "error: x has 2 axes, 4 are needed\n"
    for arguments in (("info", "--debug"), ("--debug", "info")):
        assert isinstance(run(*arguments).exception, ShapeError)


def test_an_interruption_says_so_and_exits_130(failing):
    failing(KeyboardInterrupt())
    result = run("info")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_info_without_measuring(tmp_path: Path):
    environment = {**os.environ, "PELLUCID_CACHE": str(tmp_path / "cache"), "PELLUCID_TARGET": "x86-64-v3"}
    finished = subprocess.run(
        [sys.executable, "-m", "pellucid", "info", "--no-measure"],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    rows = {line[:14].strip(): line[14:] for line in finished.stdout.splitlines()}
    assert rows["target"].startswith("x86-64-v3")
    assert rows["vectors"] == "16 registers of 32 bytes: 8 float32"
    assert rows["object cache"] == f"{tmp_path / 'cache'}, 0 entries, 0.0 MB"


def test_info_measures_and_clears_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    rows = {line[:14].strip(): line[14:] for line in run("info").stdout.splitlines()}
    peak = float(rows["peak"].split()[0])
    assert 0.1 < peak < 10_000  # GFLOP/s of one thread on any processor of these years
    assert 0.1 < float(rows["copy"].split()[0]) < 10_000
    entries = list((tmp_path / "cache").iterdir())
    assert run("info", "--clear-cache").stdout == f"removed {len(entries)} entries from {tmp_path / 'cache'}\n"
    assert not list((tmp_path / "cache").iterdir())
