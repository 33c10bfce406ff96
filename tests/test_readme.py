"""The README's code is run: Python blocks one after another, `pellucid explain` lines in a shell's words.

A ```python block is executed, with what the blocks before it defined; where a ```text block follows, it is what the
block prints. In a ```console block, lines that begin with `$ pellucid explain` are run and print what stands below.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pellucid.cli.group import command_line
from pellucid.cli.train import command as train_command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
EXPLAINED = [
    (line[2:], output)
    for kind, text in BLOCKS
    if kind == "console"
    for line, output in re.findall(r"^(\$ pellucid explain .*)\n((?:(?!\$).*\n)*)", text, re.MULTILINE)
]


def test_python_blocks_print_what_stands_below_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    executed = compared = 0
    for (kind, text), (next_kind, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "README.md", "exec"), names)
        executed += 1
        if next_kind == "text":
            assert printed.getvalue() == expected
            compared += 1
    assert executed >= 4
    assert compared >= 3


@pytest.mark.parametrize(("line", "expected"), EXPLAINED, ids=[line for line, _ in EXPLAINED])
def test_explained_numbers(line: str, expected: str):
    result = CliRunner().invoke(command_line, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip("\n") == expected.rstrip("\n")


def test_there_are_explained_numbers():
    assert len(EXPLAINED) >= 2


@pytest.mark.parametrize(
    "command", ["pip install '.[plot]' && pellucid train digits", "pip install '.[test]' && pytest"]
)
def test_the_two_commands_stand_in_it(command: str):
    assert command in README


def test_options_that_the_readme_names_exist():
    known = {name for option in train_command.params for name in (*option.opts, *option.secondary_opts)}
    for line in re.findall(r"^\$? *pellucid train .*$", README, re.MULTILINE):
        assert set(re.findall(r"--[\w-]+", line)) <= known


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
