"""`pellucid train`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from pellucid.cli.group import debug_option, name_option
from pellucid.cli.training import output_options, run_session
from pellucid.network import ACCURACIES
from pellucid.train.data.decode import RESIZES
from pellucid.train.data.load import COLORS
from pellucid.train.recipe import MODELS, OPTIMIZERS, SCHEDULES
from pellucid.train.settings import CLASS_WEIGHTS, Settings, settings_from_toml

__all__ = ["command"]


class _Size(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A height and a width, "64x48", or one number for both."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The two numbers."""
        found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", str(value))
        if found is None:
            self.fail(f"{value!r} must be a number of pixels, or height and width as in 64x48", param, ctx)
        return int(found[1]), int(found[2] or found[1])


@click.command(
    "train",
    epilog="""\b
Examples:
  pellucid train digits
  pellucid train photos/ --name cats --patience 5
  pellucid train photos/ --from runs/cats --freeze body --epochs 5
  pellucid train photos/ --from net.onnx --head 4
  pellucid train fashion-mnist/ --model vgg --epochs 10 --batch-size 128
  pellucid train --config run.toml --seed 1""",
)
@click.argument("source", required=False)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML; options go first.")
@name_option("--model", MODELS, "Ready network.  [default: by the images]")
@click.option("--from", "from_", metavar="RUN|FILE", help="Begin with a run's model, ONNX, or a file of parameters.")
@click.option("--head", type=click.IntRange(1), metavar="N", help="A new last layer for the N classes, with --from.")
@click.option("--freeze", multiple=True, metavar="PATTERN", help="Parameters that stay: 0.weight, 2, *.bias, body.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the training images.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images a step.")
@name_option("--optimizer", OPTIMIZERS, "Rule of the update.")
@click.option("--lr", type=float, metavar="RATE", help="Highest learning rate of the schedule.")
@click.option("--momentum", type=float, metavar="X", help="Momentum of sgd.")
@click.option("--weight-decay", type=float, metavar="X", help="Pull of every parameter towards 0.")
@name_option("--schedule", SCHEDULES, "Course of the learning rate.")
@click.option("--label-smoothing", type=float, metavar="X", help="Share of each target spread over all classes.")
@click.option("--clip-norm", type=float, metavar="X", help="Largest norm of all gradients together.")
@click.option("--augment", metavar="NAME|AMOUNTS", help="Random changes: none, photos, flip=true,rotation=10 ...")
@name_option("--class-weight", CLASS_WEIGHTS, "Weigh each class by the inverse of its share.")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="Epochs without a better validation loss.")
@click.option("--validation", type=float, metavar="FRACTION", help="Share of the images to choose the epoch by.")
@click.option("--test", type=float, metavar="FRACTION", help="Share of the images for the last measurement.")
@click.option("--group", metavar="REGEX", help="What it matches in a path joins pictures that stay in one part.")
@click.option("--image-size", type=_Size(), metavar="HxW", help="Size that pictures are brought to.")
@name_option("--color", COLORS, "Channels of the images.")
@name_option("--resize", RESIZES, "How pictures of other proportions are brought to the size.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Same seed, same bits.  [default: 0]")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads.  [default: one a core, at most 8]")
@name_option("--accuracy", ACCURACIES, "How exact convolutions are.")
@click.option("--name", metavar="NAME", help="Name of the run folder.  [default: by the source, numbered]")
@click.option("--runs", metavar="DIR", help="Where run folders stand.  [default: runs]")
@click.option("--checkpoint-minutes", type=float, metavar="X", help="Time between checkpoints in an epoch.")
@click.option("--tensorboard", is_flag=True, default=None, help="Also log for TensorBoard.")
@output_options
@debug_option
def command(*, config: Path | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Train a classifier on SOURCE, keep all of it in a run folder, and print its accuracy on the test images.

    SOURCE is "digits" (5,000 bundled MNIST images); a folder of pictures, a folder for each class, or with such folders
    in train/, val/ and test/; a CSV of path,label; a folder with the four IDX files of MNIST or Fashion-MNIST; or an
    .npz file with x_train, y_train, x_test, y_test, or with images, labels. What is not given is chosen to suit the
    images, and written into the run folder's config.toml.

    Progress goes to stderr, results to stdout. The test images choose nothing: neither the epoch nor a setting. Ctrl-C
    saves and ends the training; `pellucid resume` goes on with it.
    """
    from pellucid.train.session import begin_session

    options["freeze"] = options["freeze"] or None
    given = {("from" if name == "from_" else name): value for name, value in options.items() if value is not None}
    settings = Settings.of(
        {**(settings_from_toml(config) if config else {}), **given}, None if config is None else str(config)
    )
    run_session(lambda reading: begin_session(settings, reading=reading), quiet=quiet, as_json=as_json)
