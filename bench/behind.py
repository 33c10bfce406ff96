"""Single training steps behind other work, whose data and code fill the caches, as in a loop that does more than train.

    python bench/behind.py [lenet5] [--batch 32] [--rounds 40]

Prints median microseconds of a step of ours, on one thread: in a loop, behind a step of PyTorch's (pip install
torch==2.13.0) in one memory format, behind one in each, and behind 30 ms of sleep; and beside it how much of that
passed outside of the compiled program, which is Python.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click

from pellucid.bench.networks import NETWORKS, batch_for
from pellucid.bench.peers import set_threads
from pellucid.bench.step import built, torch_step
from pellucid.bench.torch_network import TorchNetwork, forms_of
from pellucid.emit.entry import Entry

SLEEP = 0.03


@click.command()
@click.argument("network", default="lenet5")
@click.option("--batch", default=32, show_default=True)
@click.option("--rounds", default=40, show_default=True)
def main(network: str, batch: int, rounds: int) -> None:
    """Prints a row for each kind of work in front of a step."""
    named = NETWORKS[network]
    x, t = batch_for(named, batch)
    set_threads(["torch"], 1)
    model = built(named, 1, "standard")
    parameters = dict(model.parameters)
    theirs = [torch_step(TorchNetwork(named, parameters, form=form), x, t) for form in forms_of(named)]
    inside = _watched()
    work: dict[str, tuple[Callable[[], Any], ...]] = {
        "in a loop": (),
        "behind one step": (theirs[0],),
        "behind one in each format": tuple(theirs),
        "behind a sleep": (lambda: time.sleep(SLEEP),),
    }
    model.train_step(x, t)
    for name, before in work.items():
        steps = list[tuple[float, float]]()
        for _ in range(rounds):
            for act in before:
                act()
            inside.clear()
            start = time.perf_counter()
            model.train_step(x, t)
            whole = time.perf_counter() - start
            steps.append((whole, whole - sum(inside)))
        whole, outside = (statistics.median(column) * 1e6 for column in zip(*steps, strict=True))
        click.echo(f"{name:26s} {whole:8.0f} us, {outside:6.0f} outside of the program")


def _watched() -> list[float]:
    """A list to which every run of a program, in this process from now on, adds its seconds."""
    seconds, run = list[float](), Entry.run

    def watched(self: Entry, *given: Any) -> None:
        start = time.perf_counter()
        run(self, *given)
        seconds.append(time.perf_counter() - start)

    Entry.run = watched
    return seconds


if __name__ == "__main__":
    main()
