"""The command group: commands imported when they are used, suggestions for misspelt names, errors as one line."""

from __future__ import annotations

import difflib
import importlib
import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import click

from pellucid.errors import PellucidError

__all__ = ["Decorator", "SuggestingGroup", "command_line", "debug_option", "name_option", "unknown_name"]

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_DEBUG = "pellucid.debug"


class _Failure(click.ClickException):
    """An error of this package: one message, no usage lines."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Write the message to stderr."""
        click.echo(f"error: {self.format_message()}", err=True, file=file)


# Command -> what its line in the help says. The module of the same name has it as `command`; it is imported only when
# the command is used, so that `pellucid --help` answers at once.
_COMMANDS = {
    "train": "Train a classifier of pictures, kept in a run folder.",
    "check": "Say what is in a folder of pictures, and what is wrong with it.",
    "resume": "Go on with a training that was stopped.",
    "predict": "Say what pictures show.",
    "evaluate": "Measure a trained model on labelled pictures.",
    "summary": "Show a trained model: layers, equations, measures.",
    "run": "Run an ONNX file on arrays.",
    "export": "Write a trained model as ONNX.",
    "explain": "Show where a number of a layer or gradient comes from.",
    "tune": "Measure how the equations of a network run fastest here.",
    "info": "Show the processor, what is measured of it, and the cache.",
    "bench": "Measure speed and memory against other packages.",
}
# Commands for those who work on the package; they are not listed.
_UNLISTED = frozenset({"docs"})


class SuggestingGroup(click.Group):
    """A group that suggests the closest of its listed commands for a name that it does not have."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` name; a usage error with the closest name where there is none."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(unknown_name("command", name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


class CommandGroup(SuggestingGroup):
    """The commands of `_COMMANDS`, and those that are not listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in _COMMANDS and cmd_name not in _UNLISTED:
            return None
        return importlib.import_module(f"pellucid.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands' lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; this package's errors become one line on stderr unless `--debug` was given."""
        try:
            return super().invoke(ctx)
        except PellucidError as error:
            if ctx.meta.get(_DEBUG):
                raise
            raise _Failure(str(error)) from error
        except KeyboardInterrupt as interrupt:
            click.echo(str(interrupt) or "interrupted", err=True)
            ctx.exit(128 + getattr(interrupt, "signal_number", signal.SIGINT))


def name_option(flag: str, names: Sequence[str], description: str, default: str | None = None) -> Decorator:
    """An option that takes one of `names`; an unknown one gets the closest suggested."""

    def check(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and value not in names:
            raise click.BadParameter(unknown_name(flag.lstrip("-"), value, names), ctx, parameter)
        return value

    return click.option(
        flag,
        default=default,
        show_default=default is not None,
        metavar="|".join(names),
        callback=check,
        help=description,
    )


def unknown_name(kind: str, name: str, names: Sequence[str]) -> str:
    """What to say where `name` is not among `names`."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
    return f"unknown {kind} {name!r}; {hint}"


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--debug` to a command."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_DEBUG] = True

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show a traceback where something fails."
    )(command)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  pellucid train digits
  pellucid train photos/ && pellucid predict runs/photos-1 new.jpg
  pellucid explain conv2d --input 3x3 --kernel 2x2 --wrt x[1,1]
  pellucid info""",
)
@click.version_option(package_name="pellucid", prog_name="pellucid")
@debug_option
def command_line() -> None:
    """Convolutional networks you can see through: every layer is its equation."""
