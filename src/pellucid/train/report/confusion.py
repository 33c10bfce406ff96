"""The confusion matrix, drawn: readable from two classes to a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pellucid.train.report.drawing import as_svg, colour
from pellucid.train.report.names import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pellucid.train.metrics import Evaluation

__all__ = ["STRONG", "confusion_svg", "strength"]

_MOST_NUMBERS = 20  # classes with which cells have numbers
_MOST_LABELS = 100  # of more classes only some have their names at the sides
STRONG = 0.85  # a colour's strength from which the text on it is white: below, that in ink has more contrast


def confusion_svg(evaluation: Evaluation, class_names: Sequence[str]) -> str:
    """A row for each true class, a column for each predicted one, as SVG.

    A cell's colour tells its share of its row, blue for right, red for wrong; with up to 20 classes it has its count
    as well. Long names are shortened.

    Raises:
        ArgumentError: there are not as many names as classes.
        ImportError: matplotlib is missing.
    """
    evaluation.check_names(class_names)
    classes = len(class_names)
    names = [shortened(name, 18 if classes <= _MOST_NUMBERS else 14) for name in class_names]
    cell = 0.46 if classes <= 10 else 0.36 if classes <= _MOST_NUMBERS else max(0.085, 0.14 - 0.0006 * classes)
    margin = 0.5 + 0.075 * max(len(name) for name in names)
    side = max(2.2, cell * min(classes, 200)) + margin

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _cells(axes, evaluation.confusion)
        _sides(axes, names, size=9.0 if classes <= _MOST_NUMBERS else max(4.5, 52 * cell))

    return as_svg(side + 0.3, side, draw)


def strength(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """How strongly each cell (classes, classes) is coloured, 0..1: by its share of its row, so that one image in a
    hundred can be seen."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return np.where(confusion > 0, 0.16 + 0.84 * shares**0.6, 0.0)


def _cells(axes: Axes, confusion: NDArray[np.int64]) -> None:
    classes, strengths = len(confusion), strength(confusion)
    if classes <= _MOST_NUMBERS:
        _squares(axes, confusion, strengths)
    else:
        axes.imshow(_picture(strengths), interpolation="none", origin="upper")
    axes.set_xlim(-0.5, classes - 0.5)
    axes.set_ylim(classes - 0.5, -0.5)
    axes.set_aspect("equal")


def _squares(axes: Axes, confusion: NDArray[np.int64], strengths: NDArray[np.float64]) -> None:
    from matplotlib.patches import Rectangle

    size = 9 if confusion.max() < 10_000 else 7
    for row, column in np.ndindex(*confusion.shape):
        alpha, paint = float(strengths[row, column]), "right" if row == column else "wrong"
        if confusion[row, column]:
            place = (column - 0.47, row - 0.47)
            axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=colour(paint), alpha=round(alpha, 3), linewidth=0))
            text = colour("on-strong" if alpha > STRONG else "ink")
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=size, color=text)


def _picture(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes, classes, 4): each cell a pixel, see-through where it is weak, in colours that light and dark bear."""
    from matplotlib.colors import to_rgb

    right = np.eye(len(strengths), dtype=np.bool_)[:, :, None]
    paints = np.where(right, to_rgb(colour("right")), to_rgb(colour("wrong")))
    return np.concatenate([paints, strengths[:, :, None]], axis=2)


def _sides(axes: Axes, names: Sequence[str], size: float) -> None:
    """Names of classes at the left and the top, true and predicted."""
    step = -(-len(names) // _MOST_LABELS)
    places, shown = range(0, len(names), step), names[::step]
    flat = len(names) <= 20 and max(len(name) for name in names) <= 4
    axes.set_xticks(places, shown, fontsize=size, rotation=0 if flat else 90)
    axes.set_yticks(places, shown, fontsize=size)
    axes.xaxis.set_label_position("top")
    axes.tick_params(top=False, labeltop=True, bottom=False, labelbottom=False, left=False, pad=2)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.spines[["left", "right", "top", "bottom"]].set_visible(True)
