"""`pellucid summary`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from pellucid.cli.group import debug_option
from pellucid.errors import ArgumentError

__all__ = ["command"]


@click.command(
    "summary",
    epilog="""\b
Examples:
  pellucid summary runs/photos-1
  pellucid summary runs/photos-1 --kernels
  pellucid summary net.onnx""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--shape", metavar="N,C,H,W", help="Of an ONNX file's input, where the file leaves it open.")
@click.option("--kernels", is_flag=True, help="Also how each equation runs, and why.")
@click.option("--json", "as_json", is_flag=True, help="The model's config.json on one line.")
@debug_option
def command(*, run: Path, shape: str | None, kernels: bool, as_json: bool) -> None:
    """Show the best model of the run folder RUN: its layers with their equations, input, classes and measures; or the
    ONNX file RUN, every node as its equations.
    """
    if run.suffix == ".onnx":
        if kernels or as_json:
            raise ArgumentError("`--kernels` and `--json` are for run folders, not for ONNX files")
        _show_onnx(run, shape)
        return
    from pellucid.train.classifier import load_classifier

    classifier = load_classifier(run, threads=1)
    if as_json:
        click.echo(json.dumps(classifier.files.config()))
        return
    size = "x".join(map(str, classifier.model.input_shape))
    names = ", ".join(f"{number} {name}" for number, name in enumerate(classifier.class_names))
    click.echo(f"{classifier.folder}\ninput {size}\nclasses {names}\n")
    click.echo(classifier.model.summary(kernels=kernels))
    measures = run / "evaluation.json"
    if measures.is_file():
        found = json.loads(measures.read_text(encoding="utf-8"))
        click.echo(f"\n{found['part']} accuracy {100 * found['accuracy']:.1f}%")


def _show_onnx(path: Path, shape: str | None) -> None:
    from pellucid.exchange.onnx import load

    network = load(path)
    shapes: dict[str, tuple[int, ...]] = {}
    if shape is not None:
        if re.fullmatch(r"[1-9]\d*([x,][1-9]\d*)*", shape) is None:
            raise ArgumentError(f"`--shape` (={shape!r}) must be extents, as in 1,3,224,224")
        shapes[network.inputs[0].name] = tuple(map(int, re.split("[x,]", shape)))
    for kind, ports in (("input", network.inputs), ("output", network.outputs)):
        for port in ports:
            click.echo(f"{kind} {port.name} {port.dtype} {port.form}")
    click.echo()
    click.echo(network.summary(shapes))
