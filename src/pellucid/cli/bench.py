"""`pellucid bench`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import Decorator, SuggestingGroup, debug_option, unknown_name
from pellucid.errors import ArgumentError

if TYPE_CHECKING:
    from pellucid.bench.rows import Row

__all__ = ["command"]


@click.group(
    "bench",
    cls=SuggestingGroup,
    epilog="""\b
Examples:
  pellucid bench kernels 28x28x128 --rounds 11
  pellucid bench step lenet5 conv6 --threads 1,2 --json step.json
  pellucid bench infer --peers onnxruntime,torch
  pellucid bench growth --plot growth.svg""",
)
@debug_option
def command() -> None:
    """Measure speed and memory against other packages, each result verified before it is timed.

    Figures are medians of contenders that take turns; a ratio is the peer's time over ours. NAMEs are parts of the
    names in a table; without one all of them are measured.
    """


def _list_option(flag: str, default: str, known: Sequence[str] | None, description: str) -> Decorator:
    """An option that takes names of `known`, or whole numbers of at least 1, with commas between."""
    kind = "peer" if flag == "--peers" else flag.removeprefix("--")

    def read(ctx: click.Context, parameter: click.Parameter, value: str) -> list[Any]:
        entries = [entry.strip() for entry in value.split(",") if entry.strip()]
        for entry in entries:
            if known is None and not (entry.isdecimal() and int(entry) > 0):
                raise click.BadParameter(f"{entry!r} is no whole number of at least 1", ctx, parameter)
            if known is not None and entry not in known:
                raise click.BadParameter(unknown_name(kind, entry, known), ctx, parameter)
        if known is None and not entries:
            raise click.BadParameter("it needs at least one", ctx, parameter)
        return entries if known is not None else [int(entry) for entry in entries]

    metavar = "N,..." if known is None else ",".join(known)
    return click.option(
        flag, default=default, show_default=bool(default), metavar=metavar, callback=read, help=description
    )


_NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
_THREADS = _list_option("--threads", "1", None, "Threads of every contender.")
_JSON = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there, too."
)


def _rounds(default: int) -> Decorator:
    return click.option("--rounds", type=click.IntRange(1), default=default, show_default=True, help="Turns of each.")


def _peers(default: str, *known: str) -> Decorator:
    return _list_option("--peers", default, known, "Packages to compare with; '' for none, which verifies nothing.")


def _options(*options: Decorator) -> Decorator:
    return lambda function: reduce(lambda wrapped, option: option(wrapped), reversed(options), function)


def _accuracies(default: str = "standard,fast") -> Decorator:
    return _list_option("--accuracy", default, ("standard", "fast", "direct"), "How convolutions may be computed.")


@command.command("kernels")
@_options(_NAMES, _peers("torch", "torch", "jax"), _THREADS, _accuracies("direct"), _rounds(9), _JSON, debug_option)
@_list_option("--pass", "forward,dx,dw", ("forward", "dx", "dw"), "Passes of each layer.")
@click.option("--plan", is_flag=True, help="Print how the kernels are scheduled, and measure nothing.")
def kernels(**given: Any) -> None:
    """Single convolutions and dense layers.

    Forward, and the gradients towards the input (dx) and the weights (dw).
    """
    from pellucid.bench import kernels as room

    names = _chosen("kernel", given["names"], room.CASES)
    if given["plan"]:
        if given["accuracy"] != ["direct"]:
            raise ArgumentError("`--plan` shows the kernels of accuracy direct; networks show theirs in their summary")
        for text in room.plans(names, given["pass"]):
            click.echo(text)
        return
    if "jax" in given["peers"] and len(given["threads"]) > 1:
        raise ArgumentError(
            "`--threads` must be one number where JAX is a peer: it makes its threads once, at its start"
        )
    wanted = (given["peers"], given["threads"], given["rounds"], given["pass"], given["accuracy"])
    _show(room.measure(names, *wanted), names, given)


@command.command("step")
@_options(_NAMES, _peers("torch", "torch"), _THREADS, _accuracies(), _rounds(5), _JSON, debug_option)
def step(**given: Any) -> None:
    """Training steps of whole networks.

    Plain SGD on cross-entropy.
    """
    from pellucid.bench import step as room

    names = _chosen("step", given["names"], room.CASES)
    _show(room.measure(names, given["peers"], given["threads"], given["rounds"], given["accuracy"]), names, given)


@command.command("infer")
@_options(
    _NAMES, _peers("onnxruntime", "onnxruntime", "torch"), _THREADS, _accuracies(), _rounds(9), _JSON, debug_option
)
def infer(**given: Any) -> None:
    """Predictions of whole networks."""
    from pellucid.bench import infer as room

    names = _chosen("network", given["names"], room.CASES)
    _show(room.measure(names, given["peers"], given["threads"], given["rounds"], given["accuracy"]), names, given)


@command.command("onnx")
@_options(_NAMES, _peers("onnxruntime", "onnxruntime"), _THREADS, _accuracies(), _rounds(9), _JSON, debug_option)
def onnx(**given: Any) -> None:
    """Networks of ONNX files, one picture at a time.

    The topologies that the package onnx brings along, with weights drawn at random.
    """
    from pellucid.bench import onnx_files as room

    names = _chosen("topology", given["names"], dict.fromkeys(room.CASES))
    _show(room.measure(names, given["peers"], given["threads"], given["rounds"], given["accuracy"]), names, given)


@command.command("memory")
@_options(_NAMES, _peers("torch", "torch"), _THREADS, _rounds(9), _JSON, debug_option)
def memory(**given: Any) -> None:
    """Kernels bound by memory; peak memory of steps.

    Kernels as a fraction of a copy's bandwidth; training steps in processes of their own, with an empty object cache
    (cold) and a filled one (warm).
    """
    from pellucid.bench import bandwidth, resident

    names = _chosen("case", given["names"], {**bandwidth.CASES, **resident.CASES})
    peers, threads = given["peers"], given["threads"]

    def rows() -> Iterable[Row]:
        # Processes of their own first: afterwards this one is large.
        yield from resident.measure([name for name in names if name in resident.CASES], peers, threads)
        bounded = [name for name in names if name in bandwidth.CASES]
        yield from bandwidth.measure(bounded, peers, threads, given["rounds"])

    _show(rows(), names, given)


@command.command("startup")
@_options(_NAMES, _rounds(5), _JSON, debug_option)
def startup(**given: Any) -> None:
    """Seconds until the first training step is done.

    With an empty object cache (cold) and a filled one (warm).
    """
    from pellucid.bench import startup as room

    names, found = _chosen("network", given["names"], room.CASES), list[Any]()
    click.echo(room.heading())
    for entry in room.measure(names, given["rounds"]):
        click.echo(room.line(entry))
        found.append(entry)
    _write([room.row(entry) for entry in found], given["json_file"])


@command.command("growth")
@_options(_NAMES, _peers("", "torch"), _rounds(5), _JSON, debug_option)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Where they are not what changes."
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves there (.svg, .png) by matplotlib."
)
def growth(**given: Any) -> None:
    """Time and memory of a step against its size.

    NAMEs are batch, channels, size (of the images) and threads; one changes, the others stay.
    """
    from pellucid.bench import growth as room
    from pellucid.bench.peers import load

    names, points = _chosen("quantity", given["names"], room.CASES), list[Any]()
    if given["plot"] is not None:
        load("matplotlib")  # its absence is said before anything is measured
    click.echo(room.heading())
    for point in room.measure(names, given["peers"], given["rounds"], given["threads"]):
        click.echo(room.line(point))
        points.append(point)
    if given["plot"] is None:
        click.echo(room.bars(points))
    else:
        from pellucid.bench.chart import draw

        draw(points, given["plot"])
    _write([room.row(point) for point in points], given["json_file"])


@command.command("ladder")
@_options(_NAMES, _THREADS, _rounds(9), _JSON, debug_option)
def ladder(**given: Any) -> None:
    """A convolution made fast, one idea a rung.

    A 3x3 convolution from literal loops to the limit and past it; docs/ladder.md tells the story.
    """
    from pellucid.bench import ladder as room

    names = _chosen("rung", given["names"], room.CASES)
    _show(room.measure(names, given["threads"], given["rounds"]), names, given)


@command.command("profile")
@click.argument("network", metavar="NETWORK")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Images a step.")
@_options(_rounds(15), debug_option)
@click.option("--top", type=click.IntRange(1), default=30, show_default=True, help="Equations to list.")
@click.option("--unfused", is_flag=True, help="The equations as they were derived, before any are joined.")
def profile(*, network: str, batch: int, rounds: int, top: int, unfused: bool) -> None:
    """Where the time of a training step goes.

    Every equation alone; NETWORK is lenet5, conv6, resnet18, vgg16, resnet50,
    rnn128, lstm128 or gru128.
    """
    from pellucid.bench import profile as room
    from pellucid.bench.networks import NETWORKS

    if network not in NETWORKS:
        raise ArgumentError(unknown_name("network", network, tuple(NETWORKS)))
    for line in room.lines(room.profile(network, batch, rounds, fused=not unfused), top):
        click.echo(line)


def _chosen(kind: str, given: Sequence[str], known: Mapping[str, object]) -> list[str]:
    """The names of `known` of which one of the given texts is a part, in their order; all of them without one.

    ArgumentError with the closest name for a text that is a part of none.
    """
    for text in given:
        if not any(text in name for name in known):
            raise ArgumentError(unknown_name(kind, text, tuple(known)))
    return [name for name in known if not given or any(text in name for text in given)]


def _show(rows: Iterable[Row], names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Prints rows as they come, and what they have in common; writes them where `--json` says."""
    from pellucid.bench import rows as table

    width, found = max(len(name) for name in names), list[Any]()
    click.echo(table.heading(width))
    for row in rows:
        click.echo(table.line(row, width))
        found.append(row)
    if summary := table.summary(found):
        click.echo(summary)
    _write(found, given["json_file"])


def _write(rows: Sequence[Row], path: Path | None) -> None:
    from pellucid.bench.rows import write_json

    if path is not None:
        write_json(rows, path)
