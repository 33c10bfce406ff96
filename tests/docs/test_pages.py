"""The code on the pages of the documentation is run, its output compared, and its links followed."""

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, blocks, commands, printed, run_command

RENEW = "if the new output is right, renew the pages: PYTHONPATH=src python tests/docs/pages.py"
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
COMMANDS = [(line, output) for text in TEXTS.values() for line, output in commands(text)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchor(heading: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", [path for path in PAGES if "```python" in TEXTS[path]], ids=name_of)
def test_python_blocks_print_what_stands_below_them(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for block, following, output in printed(TEXTS[path], name_of(path)):
        expected = "" if following is None else following.text
        assert output == expected, f"{name_of(path)}, line {block.line}: {RENEW}"


@pytest.mark.parametrize(("line", "expected"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_commands_print_what_stands_below_them(line: str, expected: str):
    assert run_command(line).rstrip("\n") == expected.rstrip("\n"), RENEW


def test_the_pages_have_code():
    kinds = [block.kind for text in TEXTS.values() for block in blocks(text)]
    assert kinds.count("python") >= 20
    assert len(COMMANDS) >= 2
    assert set(kinds) <= {"", "python", "text", "console", "math"}, "a block of another kind would go unread"


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=name_of)
def test_links_lead_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        page = path.parent / file if file else path
        assert page.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {anchor(title) for title in headings}, target


def test_every_page_can_be_reached_from_the_index():
    reached = {ROOT / "docs" / "index.md"}
    waiting = list(reached)
    while waiting:
        path = waiting.pop()
        for target in re.findall(r"\]\(([^)\s#:]+\.md)", TEXTS[path]):
            page = (path.parent / target).resolve()
            if page in TEXTS and page not in reached:
                reached.add(page)
                waiting.append(page)
    assert reached == set(PAGES)
