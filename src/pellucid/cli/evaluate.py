"""`pellucid evaluate`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pellucid.cli.group import debug_option, name_option
from pellucid.cli.training import say

if TYPE_CHECKING:
    from pellucid.train.classifier import Classifier
    from pellucid.train.data.load import LoadedPart
    from pellucid.train.session import Reading

__all__ = ["command"]

_PARTS = ("train", "validation", "test")


@click.command(
    "evaluate",
    epilog="""\b
Examples:
  pellucid evaluate runs/photos-1
  pellucid evaluate runs/photos-1 other-photos/
  pellucid evaluate runs/photos-1 other-photos/ --part test --json""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", required=False)
@name_option("--part", _PARTS, "Part of the data.  [default: all of DATA; of the run's own, test]")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="The measures as JSON.")
@click.option("--quiet", is_flag=True, help="Only the accuracy.")
@debug_option
def command(*, run: Path, data: str | None, part: str | None, threads: int | None, as_json: bool, quiet: bool) -> None:
    """Measure the best model of the run folder RUN on DATA, labelled as for `pellucid train`.

    Without DATA it is the run's own test part, as split.csv has it (where there is none, the one for validation).
    """
    from pellucid.train.classifier import load_classifier
    from pellucid.train.progress import work_progress

    classifier = load_classifier(run, threads=threads)
    with nullcontext() if quiet else work_progress("reading pictures") as reading:
        if data is None:
            loaded, name = _own(run, classifier, part, reading)
        else:
            loaded, name = _other(data, classifier, part, reading), data
    for problem in () if quiet else loaded.problems:
        say(problem)
    evaluation = classifier.evaluate(loaded.part)
    if as_json:
        click.echo(json.dumps({"data": name, **evaluation.as_data()}))
        return
    if not quiet:
        click.echo(f"{name}: {evaluation.text(classifier.class_names)}\n")
    click.echo(f"accuracy {100 * evaluation.accuracy:.1f}%")


def _other(data: str, classifier: Classifier, part: str | None, reading: Reading | None) -> LoadedPart:
    from pellucid.train.data.load import load_part

    height, width, channels = classifier.model.input_shape
    norm = classifier.files.preprocessing
    return load_part(
        data,
        classifier.class_names,
        image_size=(height, width),
        color="gray" if channels == 1 else "rgb",
        resize="crop" if norm is None else norm.resize,
        part=part,
        threads=classifier.threads,
        progress=reading,
    )


def _own(run: Path, classifier: Classifier, part: str | None, reading: Reading | None) -> tuple[LoadedPart, str]:
    """The part of the data that the run was trained with."""
    from pellucid.train.session import own_part

    return own_part(run, classifier.files, part, threads=classifier.threads, reading=reading)
