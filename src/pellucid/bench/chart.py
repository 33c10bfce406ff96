"""The curves of `growth` as a picture, where matplotlib is there to draw it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pellucid.bench.growth import Point
from pellucid.bench.peers import load

__all__ = ["draw"]


def draw(points: Sequence[Point], path: Path) -> None:
    """Time above, memory below, a column for each quantity; the kind of file by its ending (.svg, .png).

    ArgumentError with pip's line where matplotlib is missing.
    """
    load("matplotlib").use("agg")
    plot = load("matplotlib.pyplot")
    quantities = list(dict.fromkeys(point.quantity for point in points))
    figure, axes = plot.subplots(2, len(quantities), figsize=(3.2 * len(quantities), 5.4), squeeze=False)
    for column, quantity in enumerate(quantities):
        own = [point for point in points if point.quantity == quantity]
        for who in dict.fromkeys(point.who for point in own):
            curve = [point for point in own if point.who == who]
            values = [point.value for point in curve]
            axes[0][column].plot(values, [point.seconds * 1e3 for point in curve], "o-", label=who)
            axes[1][column].plot(values, [point.bytes / 1e6 for point in curve], "o-", label=who)
        for row, title in enumerate(("ms an image", "MB an image")):
            panel = axes[row][column]
            panel.set_xscale("log", base=2)
            panel.set_ylim(bottom=0)
            panel.set_xlabel(quantity)
            panel.set_ylabel(title if column == 0 else "")
            panel.set_xticks(values := sorted({point.value for point in own}), [str(value) for value in values])
            panel.minorticks_off()
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path)
    plot.close(figure)
