"""`pellucid docs`: pages of the documentation that are made from the package's own objects."""

from __future__ import annotations

from pathlib import Path

import click

from pellucid.cli.group import debug_option, unknown_name
from pellucid.errors import ArgumentError

__all__ = ["PAGES", "command"]

PAGES = ("mathematics",)


@click.command(
    "docs",
    epilog="""\b
Examples:
  pellucid docs mathematics
  pellucid docs mathematics --output docs/mathematics.md""",
)
@click.argument("page", metavar="PAGE")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout.")
@debug_option
def command(*, page: str, output: Path | None) -> None:
    """Print a page of the documentation as Markdown.

    PAGE is `mathematics`: every equation of the package with the gradients derived from it, as text and LaTeX.
    """
    from pellucid.cli.mathematics import mathematics_page

    if page not in PAGES:
        raise ArgumentError(unknown_name("page", page, PAGES))
    text = mathematics_page()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
