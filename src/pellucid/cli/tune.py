"""`pellucid tune`."""

from __future__ import annotations

import re
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import debug_option, unknown_name
from pellucid.errors import ArgumentError
from pellucid.train.recipe import MODELS, recipe_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid import nn
    from pellucid.network.tune import Measured

__all__ = ["command"]

_CLASSES = 10
_STEPS = 21  # of each model, in turns, for the last comparison
_INPUT = {"lenet5": "28x28x1", "s4": "28x28x1", "rnn": "28x28x1"}


@click.command(
    "tune",
    epilog="""\b
Examples:
  pellucid tune lenet5
  pellucid tune resnet --batch-size 8 --input 32x32x3 --threads 1 --seconds 120
  pellucid tune --forget""",
)
@click.argument("model", required=False)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images a step.  [default: by model]")
@click.option("--input", "input_shape", metavar="HxWxC", help="Shape of an image.  [default: 28x28x1 or 32x32x3]")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads of the step.  [default: one a core, at most 8]"
)
@click.option("--seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="Time for the search.")
@click.option("--forget", is_flag=True, help="Remove what was found by all searches so far.")
@debug_option
def command(
    *, model: str | None, batch_size: int | None, input_shape: str | None, threads: int | None, seconds: float,
    forget: bool,
) -> None:  # fmt: skip
    """Measure how the equations of a network's training step run fastest on this processor, and remember it.

    Every equation is tried with other tiles, loop orders, panels, slabs and unrollings than those that the compiler
    estimates to be best. What wins is kept beside the compiled code and used whenever that equation, with those
    extents, is compiled again. Nothing else changes: without a search the estimates stand.
    """
    if forget:
        from pellucid.network.tuned import forget_tuned

        click.echo(f"forgot {forget_tuned()} equations")
        return
    if model is None:
        raise ArgumentError("`MODEL` is missing")
    if model not in MODELS:
        raise ArgumentError(unknown_name("model", model, MODELS))
    from pellucid.emit.workers import available_cores

    batch = batch_size or recipe_for(model).batch_size
    shape = _shape(input_shape or _INPUT.get(model, "32x32x3"))
    _tune(model, batch, shape, threads or min(available_cores(), 8), seconds)


def _tune(model: str, batch: int, shape: tuple[int, ...], threads: int, seconds: float) -> None:
    import numpy as np

    from pellucid.network.tuned import FILE, keep_tuned, load_tuned
    from pellucid.nn.programs import Target
    from pellucid.nn.tuning import tune_step

    random = np.random.default_rng(0)
    x = random.normal(size=(batch, *shape)).astype(np.float32)
    t = random.integers(0, _CLASSES, batch)
    if model == "s4":
        t = np.eye(_CLASSES, dtype=np.float32)[t]
    before = _built(model, shape, threads)
    before.train_step(x, t)
    click.echo(f"{model}, {batch} images of {'x'.join(map(str, shape))}, {threads} threads")
    click.echo(f"{'equation':<40}{'default':>12}{'best':>12}{'gain':>8}  choice")
    found: list[Measured] = []
    for measured in tune_step(before, batch, Target(t.shape[1:], str(t.dtype)), seconds=seconds):
        found.append(measured)
        click.echo(_row(measured))
    winners = sum(bool(measured.choice) for measured in found)
    click.echo(f"{winners} of {len(found)} equations are faster otherwise")
    old = load_tuned("", "").choices
    if not keep_tuned({measured.key: measured.choice for measured in found}):
        raise ArgumentError(f"the cache folder cannot be used: {FILE} is not kept")
    first, last = _step_times([before, _built(model, shape, threads)], x, t, threads)
    click.echo(f"step {first * 1e3:.3f} ms before, {last * 1e3:.3f} ms after ({_gain(first, last)})")
    if last >= first and winners:
        # Alone, with the caches to itself, an equation may like what it does not like in the step.
        keep_tuned({measured.key: old.get(measured.key, {}) for measured in found})
        click.echo("the step is not faster: what was found is not kept")


def _step_times(models: list[nn.Model], x: NDArray[Any], t: NDArray[Any], threads: int) -> list[float]:
    """Median seconds of a training step of each model, measured in turns; of one thread its own time."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    times: list[list[float]] = [[] for _ in models]
    for number in range(_STEPS + 1):
        for found, model in zip(times, models, strict=True):
            start = clock()
            model.train_step(x, t)
            if number:  # the first one compiles
                found.append(clock() - start)
    return [median(found) for found in times]


def _built(model: str, shape: tuple[int, ...], threads: int) -> nn.Model:
    from pellucid import optim
    from pellucid.train.build import make_loss, make_network, optimizer_for

    optimizer = optimizer_for(recipe_for(model), optim.Constant(1e-4))
    return make_network(model, _CLASSES).build(shape, loss=make_loss(model), optimizer=optimizer, threads=threads)


def _row(measured: Measured) -> str:
    choice = ", ".join(f"{name} {_short(value)}" for name, value in measured.choice.items() if name != "number")
    name = measured.node.output if len(measured.node.output) < 40 else f"{measured.node.output[:36]}..."
    default, best = measured.default * 1e6, measured.best * 1e6
    gain = _gain(default, best) if choice else ""
    return f"{name:<40}{default:>9.1f} us{best:>9.1f} us{gain:>8}  {choice}".rstrip()


def _gain(old: float, new: float) -> str:
    return f"{100 * (old / new - 1):+.1f}%"


def _short(value: object) -> str:
    """A choice in few letters: j 8 x i 2, or n-j-k."""
    if not isinstance(value, list):
        return str(value)
    parts = [" ".join(map(str, part)) if isinstance(part, list) else str(part) for part in value]
    return (" x " if value and isinstance(value[0], list) else "-").join(parts) or "none"


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise ArgumentError(f"`--input` (={text}) must be height, width and channels, as in 32x32x3")
    return tuple(int(part) for part in text.split("x"))
