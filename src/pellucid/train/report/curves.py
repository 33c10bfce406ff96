"""The course of training, drawn: loss, accuracy and learning rate over epochs."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from pellucid.train.report.drawing import as_svg, colour, finite, logarithmic, plain_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pellucid.train.history import History

__all__ = ["curve_panels", "curves_svg"]

_WIDTH, _HEIGHT = 3.6, 2.7  # inches of a panel
_DOTS = 30  # up to so many epochs each one has a dot


def curves_svg(history: History) -> str:
    """Loss, accuracy (where there are classes) and learning rate side by side, as SVG; the best epoch is marked where
    there is a validation part.

    Raises:
        ImportError: matplotlib is missing.
    """
    panels = _panels(history)

    def draw(figure: Figure) -> None:
        for number, panel in enumerate(panels, 1):
            panel(figure.add_subplot(1, len(panels), number))

    return as_svg(len(panels) * _WIDTH, _HEIGHT, draw)


def curve_panels(history: History) -> tuple[str, ...]:
    """The same as drawings of their own, for a page that sets them beside or below each other."""

    def alone(panel: Callable[[Axes], None]) -> str:
        return as_svg(_WIDTH, _HEIGHT, lambda figure: panel(figure.add_subplot()))

    return tuple(alone(panel) for panel in _panels(history))


def _panels(history: History) -> tuple[Callable[[Axes], None], ...]:
    rows = history.epochs
    loss = (
        ("training", "training", finite(row.loss for row in rows)),
        ("validation", "validation", finite(row.validation_loss for row in rows)),
    )
    accuracy = (
        ("training", "training", _per_cent(row.accuracy for row in rows)),
        ("validation", "validation", _per_cent(row.validation_accuracy for row in rows)),
        ("balanced", "balanced", _per_cent(row.validation_balanced_accuracy for row in rows)),
    )
    rate = (("", "ink", finite(row.learning_rate for row in rows)),)
    panels: list[Callable[[Axes], None]] = [lambda axes: _loss_panel(axes, history, loss)]
    if any(_drawable(values) for _, _, values in accuracy):
        panels.append(lambda axes: _accuracy_panel(axes, history, accuracy))
    panels.append(lambda axes: _panel(axes, history, "learning rate", rate))
    return tuple(panels)


_Series = tuple[str, str, list[float]]  # its name in the legend, its colour, a value for each epoch or NaN


def _loss_panel(axes: Axes, history: History, series: Iterable[_Series]) -> None:
    values = [value for _, _, one in series for value in one if not isnan(value)]
    _panel(axes, history, "loss", series)
    _name_best(axes, history, top=True)  # where curves that fall leave room
    if values and min(values) > 0 and max(values) > 100 * min(values):
        logarithmic(axes)
    elif values and min(values) >= 0:
        axes.set_ylim(bottom=0)


def _accuracy_panel(axes: Axes, history: History, series: Iterable[_Series]) -> None:
    _panel(axes, history, "accuracy", series)
    _name_best(axes, history, top=False)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(100.0, high))
    axes.yaxis.set_major_formatter("{x:g}%")


def _panel(axes: Axes, history: History, title: str, series: Iterable[_Series]) -> None:
    """Lines with a legend between title and axes."""
    epochs = range(1, len(history.epochs) + 1)
    drawn = [one for one in series if _drawable(one[2])]
    for name, paint, values in drawn:
        axes.plot(epochs, values, color=colour(paint), label=name, marker="o" if len(values) <= _DOTS else "")
    named = [name for name, _, _ in drawn if name]
    axes.set_title(title, pad=20)
    if named:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(named)).set_in_layout(False)
    plain_axes(axes, len(history.epochs))
    if history.best.validation_loss is not None:
        axes.axvline(history.best_epoch, color=colour("muted"), linewidth=1, linestyle=(0, (3, 3)), zorder=1)


def _name_best(axes: Axes, history: History, *, top: bool) -> None:
    """Words beside the line of the best epoch, on the side with more room."""
    if history.best.validation_loss is None:
        return
    best, height = history.best_epoch, int(top)
    right = 2 * best <= len(history.epochs)
    axes.annotate(
        f"best: epoch {best}",
        (best, height),
        (4 if right else -4, -3 if top else 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top" if top else "bottom",
        fontsize=8.5,
        color=colour("muted"),
    )


def _per_cent(shares: Iterable[float | None]) -> list[float]:
    return [100 * share for share in finite(shares)]


def _drawable(values: list[float]) -> bool:
    return any(not isnan(value) for value in values)
