"""The page's part on one evaluation: its confusion matrix and its classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pellucid.train.report.confusion import STRONG, strength
from pellucid.train.report.drawing import inlined
from pellucid.train.report.markup import attribute, details, name, row, share_cell, table
from pellucid.train.report.names import shortened
from pellucid.train.report.quantities import percent

if TYPE_CHECKING:
    from pellucid.train.metrics import ClassScore, Evaluation

__all__ = ["scores_html"]

_MOST_CLASSES = 20  # of more, the table shows the worst first
_BESIDE = 12  # so many stand beside their matrix
_WORST = 10
_CONFUSIONS = 8

_HEAD = ("class", "images", "recall", "precision", "F1")
_LEGEND = (
    '<p class="note">Rows: true class; columns: predicted class. Blue is right, red is wrong: the stronger, the larger'
    " the share of the true class's images.</p>"
)


def scores_html(evaluation: Evaluation, class_names: Sequence[str], prefix: str, drawing: str | None) -> str:
    """Matrix and classes beside each other; `prefix` is of this evaluation alone. Without a `drawing` of
    `confusion_svg` the matrix is a table, and left out where it had more than 20 classes."""
    few = len(class_names) <= _BESIDE
    parts = [
        _matrix(evaluation, class_names, prefix, drawing),
        f"<div>{_classes(evaluation, class_names)}\n{_confusions(evaluation, class_names)}</div>",
    ]
    return _line(evaluation) + (f'<div class="halves">\n{"".join(parts)}</div>' if few else "\n".join(parts))


def _line(evaluation: Evaluation) -> str:
    """The measures in a line."""
    top5 = "" if evaluation.top5_accuracy is None else f", top-5 accuracy {percent(evaluation.top5_accuracy)}"
    return (
        f"<p>{evaluation.count:,} images: accuracy {percent(evaluation.accuracy)}, balanced accuracy (mean recall of "
        f"the classes) {percent(evaluation.balanced_accuracy)}{top5}; loss {evaluation.loss:.4f}.</p>\n"
    )


def _matrix(evaluation: Evaluation, names: Sequence[str], prefix: str, drawing: str | None) -> str:
    if drawing is not None:
        title = attribute(f"confusion matrix of {len(names)} classes")
        svg = inlined(drawing, f"{prefix}-confusion", title)
        kind = "drawing many" if len(names) > 2 * _MOST_CLASSES else "drawing"
        return f'<figure class="{kind}">{svg}{_LEGEND}</figure>'
    if len(names) > _MOST_CLASSES:
        return ""
    return f"<div>{_matrix_table(evaluation, names)}{_LEGEND}</div>"


def _matrix_table(evaluation: Evaluation, names: Sequence[str]) -> str:
    strengths, short = strength(evaluation.confusion), [name(shortened(one, 12)) for one in names]

    def cell(line: int, column: int) -> str:
        count, part = int(evaluation.confusion[line, column]), float(strengths[line, column])
        if not count:
            return "<td></td>"
        kinds = [kind for kind, holds in (("right", line == column), ("strong", part > STRONG)) if holds]
        shape = f' class="{" ".join(kinds)}"' if kinds else ""
        return f'<td{shape} style="--part:{100 * part:.0f}%">{count}</td>'

    rows = (row(one, (cell(line, column) for column in range(len(names)))) for line, one in enumerate(short))
    return table(("", *short), rows, kind="matrix")


def _classes(evaluation: Evaluation, names: Sequence[str]) -> str:
    every = table(_HEAD, (_class_row(score, names) for score in evaluation.classes))
    if len(names) <= _MOST_CLASSES:
        return f"<h3>Classes</h3>\n{every}"
    worst = table(_HEAD, (_class_row(score, names) for score in evaluation.worst(_WORST)))
    title = f"<h3>The {_WORST} classes of least recall</h3>"
    return f"{title}\n{worst}\n{details(f'all {len(names)} classes', every)}"


def _class_row(score: ClassScore, names: Sequence[str]) -> str:
    cells = (str(score.images), share_cell(score.recall), percent(score.precision), percent(score.f1))
    return row(name(names[score.number]), cells)


def _confusions(evaluation: Evaluation, names: Sequence[str]) -> str:
    """Which classes are taken for which."""
    found = evaluation.confusions(_CONFUSIONS)
    if not found:
        return '<p class="note">No image was taken for another class.</p>'
    rows: Iterable[str] = (
        row(
            name(names[one.label]),
            (
                f'<td class="name">{name(names[one.predicted])}</td>',
                f"{one.count}",
                f"{100 * one.count / evaluation.classes[one.label].images:.1f}%",
            ),
        )
        for one in found
    )
    head = ("true class", "taken for", "images", "of the class")
    return f"<h3>Confused most often</h3>\n{table(head, rows, kind='pairs')}"
