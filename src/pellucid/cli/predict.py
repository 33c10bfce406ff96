"""`pellucid predict`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import debug_option
from pellucid.cli.training import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pellucid.train.classifier import Prediction

__all__ = ["command"]


@click.command(
    "predict",
    epilog="""\b
Examples:
  pellucid predict runs/photos-1 holiday.jpg
  pellucid predict runs/photos-1 pictures/ --top 3
  pellucid predict runs/photos-1 pictures/ --csv classes.csv""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--csv", "table", type=click.Path(dir_okay=False, path_type=Path), help="Write a table of all classes.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Classes to show for each picture.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@debug_option
@click.pass_context
def command(
    context: click.Context,
    *,
    run: Path,
    images: tuple[Path, ...],
    table: Path | None,
    top: int,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say what IMAGES show (files, or folders of them), with the best model of the run folder RUN.

    A line for each picture: its path, class and probability. A picture that cannot be read is named on stderr; then the
    exit status is 1.
    """
    from pellucid.train.classifier import load_classifier
    from pellucid.train.data.names import shown

    classifier = load_classifier(run, threads=threads)
    broken: list[Prediction] = []
    found: list[Prediction] = []
    for prediction in classifier.predict(images):
        if prediction.problem is not None:
            broken.append(prediction)
            say(prediction.problem)
            continue
        if table is not None:
            found.append(prediction)
        names = [
            (classifier.class_names[number], prediction.probabilities[number]) for number in prediction.likeliest(top)
        ]
        if as_json:
            click.echo(json.dumps(_data(prediction, names)))
        elif table is None:
            click.echo("\t".join([shown(prediction.path), *(f"{name} {100 * share:.1f}%" for name, share in names)]))
    if table is not None:
        _write(table, classifier.class_names, found)
        if not quiet:
            say(f"{len(found)} pictures in {table}")
    if broken:
        say(f"{len(broken)} pictures could not be read")
        context.exit(1)


def _data(prediction: Prediction, names: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    from pellucid.train.data.names import escaped

    return {
        "path": escaped(str(prediction.path)),
        "class": prediction.name,
        "probability": prediction.probability,
        "top": {name: float(share) for name, share in names},
    }


def _write(path: Path, class_names: Sequence[str], predictions: Sequence[Prediction]) -> None:
    """A row for each picture: path, class, probability, and that of every class; whole or not at all."""
    import io

    from pellucid.exchange.atomic import replace_file
    from pellucid.train.data.names import escaped

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "class", "probability", *class_names])
    for one in predictions:
        shares = [f"{share:.6g}" for share in one.probabilities.tolist()]
        rows.writerow([escaped(str(one.path)), one.name, f"{one.probability:.6g}", *shares])
    replace_file(path, text.getvalue().encode("utf-8", "surrogateescape"))
