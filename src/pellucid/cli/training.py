"""What `pellucid train` and `pellucid resume` share: a session run with progress on stderr, its result on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import Decorator

if TYPE_CHECKING:
    from pellucid.train.callback import Callback
    from pellucid.train.history import History
    from pellucid.train.session import Session

__all__ = ["output_options", "run_session", "say"]


def output_options(command: Any) -> Any:
    """Adds `--quiet` and `--json` to a command."""
    options: list[Decorator] = [
        click.option("--quiet", is_flag=True, help="Only the result."),
        click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def run_session(
    opening: Callable[[Callable[[int, int], None] | None], AbstractContextManager[Session]],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Trains, and prints what came of it; the last line of the text is the accuracy.

    `opening` gives the session, told whom to tell of the reading of pictures.
    """
    from pellucid.train.progress import progress_callback, work_progress

    with ExitStack() as stack:
        with nullcontext() if quiet else work_progress("reading pictures") as reading:
            session = stack.enter_context(opening(reading))
        callbacks: list[Callback] = []
        if not quiet:
            say(_facts(session))
            callbacks.append(stack.enter_context(closing(progress_callback())))
        history = session.run(callbacks)
        if as_json:
            click.echo(json.dumps(_result(history)))
        else:
            _print(history, session, quiet=quiet)


def say(text: str) -> None:
    """A line for a person, on stderr."""
    click.echo(text, err=True)


def _print(history: History, session: Session, *, quiet: bool) -> None:
    evaluation = history.evaluation
    if not quiet:
        click.echo(f"{len(history.epochs)} epochs in {history.seconds:.1f} s")
        if evaluation is not None:
            click.echo(f"\n{history.part} part, {evaluation.text(session.data.class_names)}\n")
        click.echo(f"run folder: {history.folder}")
    if evaluation is not None:
        click.echo(f"{history.part} accuracy {100 * evaluation.accuracy:.1f}%")


def _result(history: History) -> dict[str, Any]:
    return {
        "run": str(history.folder),
        "epochs": len(history.epochs),
        "best_epoch": history.best_epoch,
        "stopped_early": history.stopped_early,
        "seconds": history.seconds,
        "part": history.part,
        **({} if history.evaluation is None else history.evaluation.as_data()),
    }


def _facts(session: Session) -> str:
    """What is trained on what and how, in two lines."""
    settings, data = session.settings, session.data
    parts = ", ".join(f"{len(part)} for {name}" for name, part in data.parts())
    shape = "x".join(str(extent) for extent in data.image_shape)
    rate = "" if settings.lr is None else f", {settings.optimizer}, learning rate {settings.lr:g} ({settings.schedule})"
    return (
        f"{settings.source}: {len(data.class_names)} classes, images {shape}: {parts}\n"
        f"{settings.model or settings.from_ or 'model'}: {session.course.epochs} epochs, "
        f"batch size {session.course.batch_size}{rate}"
    )
