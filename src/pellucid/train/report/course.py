"""The page's parts on the course of training: curves, epochs, gradients, times."""

from __future__ import annotations

from statistics import mean, median
from typing import TYPE_CHECKING

from pellucid.train.report.curves import curve_panels
from pellucid.train.report.drawing import inlined
from pellucid.train.report.gradients import layer_norms
from pellucid.train.report.markup import details, name, row, table
from pellucid.train.report.quantities import duration, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from pellucid.train.history import EpochResult, History

__all__ = ["course_html", "gradients_html", "timing_html"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"


# Title and figures of each column of the table of epochs, and whether the column is left out where all are None.
_COLUMNS: tuple[tuple[str, Callable[[EpochResult], float | None], Callable[[float | None], str]], ...] = (
    ("loss", lambda row: row.loss, _number),
    ("accuracy", lambda row: row.accuracy, percent),
    ("validation loss", lambda row: row.validation_loss, _number),
    ("validation accuracy", lambda row: row.validation_accuracy, percent),
    ("balanced", lambda row: row.validation_balanced_accuracy, percent),
    ("learning rate", lambda row: row.learning_rate, lambda value: f"{value:.3g}"),
    ("seconds", lambda row: row.seconds, lambda value: f"{value:.2f}"),
    ("images/s", lambda row: row.images_per_second, lambda value: f"{value:,.0f}"),
    ("busy", lambda row: row.busy, percent),
)


def course_html(history: History, *, drawn: bool) -> str:
    """Curves, and the table of epochs, which is open where there are no curves."""
    if not history.epochs:
        return '<p class="note">No epoch was finished.</p>'
    shown = details("epochs in figures", _epochs(history), opened=not drawn)
    if not drawn:
        return shown
    titles = ("loss over epochs", "accuracy over epochs", "learning rate over epochs")
    panels = curve_panels(history)
    if len(panels) < len(titles):
        titles = (titles[0], titles[2])
    figures = "\n".join(
        f'<figure class="drawing">{inlined(panel, f"curve{number}", title)}</figure>'
        for number, (panel, title) in enumerate(zip(panels, titles, strict=True))
    )
    return f'<div class="panels">\n{figures}\n</div>\n{shown}'


def _epochs(history: History) -> str:
    """A row an epoch, without the columns that nothing is known of."""
    columns = [
        (title, value, figure)
        for title, value, figure in _COLUMNS
        if any(value(result) is not None for result in history.epochs)
    ]
    rows = (
        row(
            str(result.epoch),
            (figure(value(result)) for _, value, figure in columns),
            kind="best" if place == history.best_epoch else "",
        )
        for place, result in enumerate(history.epochs, 1)
    )
    return table(("epoch", *(title for title, _, _ in columns)), rows)


def gradients_html(history: History, drawing: str | None) -> str:
    """Norms of each layer's gradient, and of the states of recurrent layers in the last epoch; nothing where none were
    recorded. `drawing` is that of `gradients_svg`."""
    layers = layer_norms(history)
    if not layers:
        return ""
    rows = (
        row(name(layer), (_norm(one) for one in (norms[0], norms[len(norms) // 2], norms[-1])))
        for layer, norms in layers.items()
    )
    middle = len(history.epochs) // 2
    head = ("layer", *(f"epoch {history.epochs[place].epoch}" for place in (0, middle, -1)))
    norms = table(head, rows)
    note = (
        '<p class="note">The L2 norm of each layer\'s gradient, all its parameters together, in the last step of an'
        " epoch. Norms that fall by orders of magnitude towards the first layers are vanishing gradients.</p>"
    )
    states = _states(history.epochs[-1])
    if drawing is None:
        return f"{note}\n{norms}\n{states}"
    svg = inlined(drawing, "gradients", "gradient norms of layers over epochs")
    return f'{note}\n<figure class="drawing">{svg}</figure>\n{details("norms in figures", norms)}\n{states}'


def _states(result: EpochResult) -> str:
    """The gradient of each recurrent layer's state at the first, the middle and the last step in time."""
    found = {layer: norms for layer, norms in result.state_gradient_norms.items() if norms}
    if not found:
        return ""
    rows = (
        row(name(layer), (str(len(norms)), _norm(norms[0]), _norm(norms[len(norms) // 2]), _norm(norms[-1])))
        for layer, norms in found.items()
    )
    head = ("recurrent layer", "steps in time", "first", "middle", "last")
    return f"<h3>States of recurrent layers, epoch {result.epoch}</h3>\n{table(head, rows)}"


def _norm(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def timing_html(history: History) -> str:
    """Total, per epoch, throughput and how busy the steps were."""
    if not history.epochs:
        return ""
    seconds = [result.seconds for result in history.epochs]
    speeds = [result.images_per_second for result in history.epochs]
    busy = [result.busy for result in history.epochs]
    tiles = (
        ("total", duration(history.seconds), "training and evaluation"),
        ("an epoch", duration(median(seconds)), f"median; {duration(min(seconds))} to {duration(max(seconds))}"),
        ("images/s", f"{median(speeds):,.0f}", "median, training alone"),
        ("steps busy", percent(mean(busy)), "of the training time; the rest is waiting for images"),
    )
    cells = (f"<div><dt>{title}</dt><dd>{figure}<small>{note}</small></dd></div>" for title, figure, note in tiles)
    return f'<dl class="tiles">{"".join(cells)}</dl>'
