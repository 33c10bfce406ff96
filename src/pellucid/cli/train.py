"""`pellucid train`."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pellucid.cli.group import debug_option, name_option
from pellucid.train.recipe import MODELS, OPTIMIZERS, SCHEDULES, Recipe, recipe_for

if TYPE_CHECKING:
    from pellucid import nn
    from pellucid.train import Callback, Dataset, History

__all__ = ["command"]

_MOST_THREADS = 8  # small networks gain nothing from more


@click.command(
    "train",
    epilog="""\b
Examples:
  pellucid train digits
  pellucid train digits --model resnet --epochs 2 --validation 0.1 --patience 3
  pellucid train fashion-mnist/ --epochs 10 --lr 0.05 --log fashion.jsonl
  pellucid train photos.npz --optimizer adamw --schedule cosine""",
)
@click.argument("source")
@name_option("--model", MODELS, "Ready network.", default="lenet5")
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", help="Passes over the training images.  [default: by model]"
)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images a step.  [default: by model]")
@name_option("--optimizer", OPTIMIZERS, "Rule of the update.")
@click.option("--lr", type=float, metavar="RATE", help="Highest learning rate of the schedule.")
@click.option("--momentum", type=float, metavar="X", help="Momentum of sgd.")
@click.option("--weight-decay", type=float, metavar="X", help="Pull of every parameter towards 0.")
@name_option("--schedule", SCHEDULES, "Course of the learning rate.")
@click.option("--augment/--no-augment", default=True, help="Shift, turn and scale training images at random.")
@click.option("--validation", type=float, metavar="FRACTION", help="Part of the training images kept to choose by.")
@click.option(
    "--patience", type=click.IntRange(1), metavar="N", help="Epochs without a better validation loss before the end."
)
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True, help="Same seed, same bits.")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of the step.  [default: one a core, at most 8]"
)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write epochs as JSON lines.")
@click.option("--quiet", is_flag=True, help="Only the result.")
@debug_option
def command(
    source: str,
    *,
    model: str,
    epochs: int | None,
    batch_size: int | None,
    optimizer: str | None,
    lr: float | None,
    momentum: float | None,
    weight_decay: float | None,
    schedule: str | None,
    augment: bool,
    validation: float | None,
    patience: int | None,
    seed: int,
    threads: int | None,
    log: Path | None,
    quiet: bool,
) -> None:
    """Train a network on SOURCE and print its accuracy on the test images.

    SOURCE is "digits" (5,000 bundled MNIST images), a folder with the four IDX files of MNIST or Fashion-MNIST, or an
    .npz file with x_train, y_train, x_test, y_test, or with images, labels.

    Progress goes to stderr, results to stdout. The test images choose nothing: neither the epoch nor a setting.
    """
    recipe = recipe_for(model).changed(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        augment=augment,
    )
    import numpy as np

    from pellucid.train import load

    data = load(source)
    if validation is not None:
        data = data.with_validation(validation, seed)
    data = data.normalised()
    from pellucid.emit.workers import available_cores
    from pellucid.train.build import build_model

    trained = build_model(recipe, data, seed=seed, threads=threads or min(available_cores(), _MOST_THREADS))
    if not quiet:
        click.echo(_facts(source, data, recipe))
    history = _fit(trained, data, recipe, _Run(patience, seed, log, quiet))
    assert data.test is not None
    measures = trained.evaluate(np.asarray(data.test.images), data.test.labels)
    if not quiet:
        click.echo(f"{len(history.epochs)} epochs in {history.seconds:.1f} s; test loss {measures['loss']:.4f}")
    click.echo(f"test accuracy {100 * measures['accuracy']:.1f}%")


@dataclass(frozen=True)
class _Run:
    """The options of a run that are no part of its recipe."""

    patience: int | None
    seed: int
    log: Path | None
    quiet: bool


def _fit(model: nn.Model, data: Dataset, recipe: Recipe, run: _Run) -> History:
    """Train, with progress and log as asked; both are closed whatever happens."""
    from pellucid.train import JsonLinesLog, fit, progress_callback

    with ExitStack() as stack:
        callbacks: list[Callback] = []
        if run.log is not None:
            callbacks.append(stack.enter_context(closing(JsonLinesLog(run.log))))
        if not run.quiet:
            callbacks.append(stack.enter_context(closing(progress_callback())))
        return fit(
            model,
            data,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            seed=run.seed,
            augmentation=recipe.augmentation,
            patience=run.patience,
            gradient_norms=run.log is not None,
            callbacks=callbacks,
        )


def _facts(source: str, data: Dataset, recipe: Recipe) -> str:
    """What is trained on what and how, in two lines."""
    parts = ", ".join(f"{len(part)} for {name}" for name, part in data.parts())
    shape = "x".join(str(extent) for extent in data.image_shape)
    return (
        f"{source}: {len(data.class_names)} classes, images {shape}: {parts}\n"
        f"{recipe.model}: {recipe.epochs} epochs, batch size {recipe.batch_size}, {recipe.optimizer}, "
        f"learning rate {recipe.learning_rate:g} ({recipe.schedule})"
    )
