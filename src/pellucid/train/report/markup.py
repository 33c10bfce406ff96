"""Pieces of HTML. What comes from outside goes through `text`; all else that these take is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pellucid.train.report.names import printable

__all__ = ["attribute", "details", "name", "section", "share_cell", "table", "text"]


def text(words: str) -> str:
    """Words from outside, as words."""
    return escape(printable(words), quote=False)


def attribute(words: str) -> str:
    """Words from outside, between the double quotes of an attribute."""
    return escape(printable(words), quote=True)


def name(words: str) -> str:
    """A name from outside, in a script of any direction, kept apart from what stands around it."""
    return f"<bdi>{text(words)}</bdi>"


def section(anchor: str, title: str, *body: str) -> str:
    """A section with its heading; `anchor` and `title` are our own words."""
    return "\n".join((f'<section id="{anchor}">', f"<h2>{title}</h2>", *filter(None, body), "</section>"))


def details(summary: str, body: str, *, opened: bool = False) -> str:
    """What is shown at a click."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>\n{body}\n</details>"


def table(head: Sequence[str], rows: Iterable[str], *, kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrow; `rows` are made by `row`."""
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    shape = f' class="{kind}"' if kind else ""
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table{shape}>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def row(head: str, cells: Iterable[str], *, kind: str = "") -> str:
    """A row of a table: what it is about, then its cells, whole (`<td>..</td>`) or what stands in them."""
    whole = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells)
    shape = f' class="{kind}"' if kind else ""
    return f'<tr{shape}><th scope="row">{head}</th>{whole}</tr>'


def share_cell(share: float | None) -> str:
    """A share of 0..1 as figures over a bar."""
    if share is None:
        return "<td>-</td>"
    return f'<td class="share" style="--part:{100 * share:.1f}%">{100 * share:.1f}%</td>'
