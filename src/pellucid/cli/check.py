"""`pellucid check`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pellucid.cli.group import debug_option
from pellucid.errors import DataError

if TYPE_CHECKING:
    from pellucid.train.data.check import Findings
    from pellucid.train.data.duplicates import Duplicates

__all__ = ["command"]

_WRONG = 1  # the exit code
_MOST_GROUPS = 20  # of duplicates are listed; `--json` has them all
_MOST_NAMES = 5
_UNEQUAL = 3.0  # times as many pictures in one class as in another


@click.command(
    "check",
    epilog="""\b
Examples:
  pellucid check photos/
  pellucid check labels.csv --json > findings.json""",
)
@click.argument("source")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", default=2, show_default=True, help="Threads that decode."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything that was found as JSON.")
@debug_option
def command(source: str, *, threads: int, as_json: bool) -> None:
    """Say what is in SOURCE, a folder of pictures, and what is wrong with it.

    SOURCE is a folder CLASS/*.png, one with train/, val/ and test/ and classes below, or a CSV table of path,label.
    Every picture is opened. Exits with 1 where something is wrong: pictures that cannot be read, classes with fewer
    than two pictures, the same picture in several classes or parts.
    """
    from pellucid.train.data.check import check
    from pellucid.train.progress import work_progress

    try:
        with work_progress("reading pictures") as progress:
            findings = check(source, threads, progress)
    except DataError as error:
        click.echo(json.dumps({"source": source, "wrong": [str(error)]}) if as_json else f"wrong: {error}")
        raise click.exceptions.Exit(_WRONG) from error
    click.echo(json.dumps(findings.as_json(), indent=2) if as_json else "\n".join(_lines(findings)))
    if findings.wrong:
        raise click.exceptions.Exit(_WRONG)


def _lines(findings: Findings) -> Iterator[str]:
    yield f"{_shown(findings.source)}: {_count(findings.pictures, 'picture')}, {_classes(len(findings.classes))}"
    yield ""
    yield from _table(findings)
    if findings.imbalance >= _UNEQUAL:
        yield f"The largest class has {findings.imbalance:.1f} times as many pictures as the smallest."
    yield ""
    if findings.sizes:
        named = zip(("smallest", "median", "largest"), findings.sizes, strict=True)
        yield "sizes (width x height): " + ", ".join(f"{name} {width}x{height}" for name, (width, height) in named)
        yield "kinds of pixels: " + ", ".join(f"{mode} ({count})" for mode, count in findings.modes.items())
    if findings.others:
        yield f"other files: {findings.others}; they are left out"
    yield from (f"note: {note}" for note in findings.notes)
    yield from _listed("pictures that cannot be read", findings.unreadable)
    yield from _listed("classes without pictures", findings.empty_classes)
    several = {id(alike) for alike in (*findings.in_several_parts, *findings.in_several_classes)}
    yield from _groups("the same picture in several parts", findings.in_several_parts)
    yield from _groups("the same picture in several classes", findings.in_several_classes)
    rest = [alike for alike in findings.duplicates if id(alike) not in several]
    yield from _groups("the same picture more than once (kept on one side of a split)", rest)
    yield ""
    yield _summary(findings)


def _summary(findings: Findings) -> str:
    if not findings.wrong:
        return f"Nothing is wrong: {findings.pictures} pictures of {len(findings.classes)} classes can be trained on."
    return f"{_count(len(findings.wrong), 'thing')} wrong: {'; '.join(findings.wrong)}."


def _table(findings: Findings) -> Iterator[str]:
    parts = findings.parts or ("all",)
    heads = [*findings.parts, "all"] if findings.parts else ["pictures"]
    width = max(5, *(len(name) for name in findings.classes))
    yield f"{'class':<{width}}" + "".join(f"{head:>12}" for head in heads)
    for name, counts in findings.classes.items():
        numbers = [counts[part] for part in parts] + ([sum(counts.values())] if findings.parts else [])
        yield f"{name:<{width}}" + "".join(f"{number:>12}" for number in numbers)


def _listed(title: str, lines: tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield f"{title}: {len(lines)}"
        yield from (f"  {line}" for line in lines)


def _groups(title: str, groups: tuple[Duplicates, ...] | list[Duplicates]) -> Iterator[str]:
    if not groups:
        return
    yield f"{title}: {len(groups)}"
    for alike in groups[:_MOST_GROUPS]:
        more = len(alike.names) - _MOST_NAMES
        names = ", ".join(alike.names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield f"  {'identical' if alike.exact else 'nearly identical'}: {names}"
    if len(groups) > _MOST_GROUPS:
        yield f"  and {len(groups) - _MOST_GROUPS} more"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _shown(source: str) -> str:
    from pellucid.train.data.names import shown

    return shown(source)
