"""`pellucid summary`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pellucid.cli.group import debug_option

__all__ = ["command"]


@click.command(
    "summary",
    epilog="""\b
Examples:
  pellucid summary runs/photos-1
  pellucid summary runs/photos-1 --kernels""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--kernels", is_flag=True, help="Also how each equation runs, and why.")
@click.option("--json", "as_json", is_flag=True, help="The model's config.json on one line.")
@debug_option
def command(*, run: Path, kernels: bool, as_json: bool) -> None:
    """Show the best model of the run folder RUN: its layers with their equations, input, classes and measures."""
    from pellucid.train.classifier import load_classifier

    classifier = load_classifier(run, threads=1)
    if as_json:
        click.echo(json.dumps(classifier.files.config()))
        return
    shape = "x".join(map(str, classifier.model.input_shape))
    names = ", ".join(f"{number} {name}" for number, name in enumerate(classifier.class_names))
    click.echo(f"{classifier.folder}\ninput {shape}\nclasses {names}\n")
    click.echo(classifier.model.summary(kernels=kernels))
    measures = run / "evaluation.json"
    if measures.is_file():
        found = json.loads(measures.read_text(encoding="utf-8"))
        click.echo(f"\n{found['part']} accuracy {100 * found['accuracy']:.1f}%")
