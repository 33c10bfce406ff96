"""Pages of Markdown whose code is run.

A ```python block is executed, with the names that the blocks before it on the page defined. What it prints stands in
the ```text block that follows it; a block that prints nothing has none. In a ```console block, every line that begins
with `$ pellucid explain` is run in a shell's words, and what it prints stands below it.

After a change, `PYTHONPATH=src python tests/docs/pages.py` writes anew what the blocks of all pages print.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from click.testing import CliRunner

from pellucid.cli.group import command_line

ROOT = Path(__file__).parent.parent.parent
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(\$ .*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its text, and the line of the page that it begins on."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _FENCE.finditer(page)
    return [Block(match[1], match[2], page.count("\n", 0, match.start()) + 2) for match in found]


def printed(page: str, name: str) -> Iterator[tuple[Block, Block | None, str]]:
    """For every Python block of a page: the block, the text block that follows if any, and what it prints now."""
    names: dict[str, object] = {}
    for block, following in pairwise([*blocks(page), None]):
        if block is not None and block.kind == "python":
            output = io.StringIO()
            # Line numbers of the page in tracebacks.
            code = compile("\n" * (block.line - 1) + block.text, name, "exec")
            with contextlib.redirect_stdout(output):
                exec(code, names)
            yield block, following if following is not None and following.kind == "text" else None, output.getvalue()


def commands(page: str) -> list[tuple[str, str]]:
    """The command lines of a page's console blocks, without the `$`, each with what stands below it."""
    texts = (block.text for block in blocks(page) if block.kind == "console")
    return [(line[2:], output) for text in texts for line, output in _COMMAND.findall(text)]


def run_command(line: str) -> str:
    """What a `pellucid` command line prints."""
    program, *arguments = shlex.split(line)
    assert program == "pellucid", line
    result = CliRunner().invoke(command_line, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def _rewritten(page: str, name: str) -> str:
    """The page with its outputs as they are now."""
    outputs = {following.line: output for _, following, output in printed(page, name) if following is not None}

    def renew(match: re.Match[str]) -> str:
        line = page.count("\n", 0, match.start()) + 2
        if match[1] == "console":
            text = _COMMAND.sub(lambda command: f"{command[1]}\n{run_command(command[1][2:]).rstrip()}\n", match[2])
            return f"```console\n{text}```"
        return f"```{match[1]}\n{outputs.get(line, match[2])}```"

    return _FENCE.sub(renew, page)


def main() -> None:
    """Write the outputs of all pages anew."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        new = _rewritten(page, path.name)
        if new != page:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)} rewritten\n")


if __name__ == "__main__":
    main()
