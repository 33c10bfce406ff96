"""`pellucid resume`."""

from __future__ import annotations

from pathlib import Path

import click

from pellucid.cli.group import debug_option
from pellucid.cli.training import output_options, run_session

__all__ = ["command"]


@click.command(
    "resume",
    epilog="""\b
Examples:
  pellucid resume runs/photos-1
  pellucid resume runs/photos-1 --epochs 60""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Epochs in all.  [default: as before]")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="See `pellucid train`.  [default: as before]")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the step.  [default: as before]")
@output_options
@debug_option
def command(
    run: Path, *, epochs: int | None, patience: int | None, threads: int | None, quiet: bool, as_json: bool
) -> None:
    """Go on with the training in the run folder RUN, from its last checkpoint.

    What comes out has the bits that an uninterrupted training would have had. With more --epochs a finished training
    goes on, too; its learning rate then follows the schedule for that many.
    """
    from pellucid.train.session import resume_session

    run_session(
        lambda reading: resume_session(run, epochs=epochs, patience=patience, threads=threads, reading=reading),
        quiet=quiet,
        as_json=as_json,
    )
