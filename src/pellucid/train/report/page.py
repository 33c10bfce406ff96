"""`report.html`: a run on one page that needs nothing beside itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from PIL import Image

from pellucid.train.report.confusion import confusion_svg
from pellucid.train.report.course import course_html, gradients_html, timing_html
from pellucid.train.report.drawing import PALETTE, plotting_missing
from pellucid.train.report.gradients import gradients_svg, layer_norms
from pellucid.train.report.markup import attribute, details, name, section, text
from pellucid.train.report.names import shortened
from pellucid.train.report.quantities import duration, percent
from pellucid.train.report.scores import scores_html

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pellucid.train.history import History
    from pellucid.train.metrics import Evaluation
    from pellucid.train.report.mistakes import Mistake

__all__ = ["Report", "report_html"]

_LIKELIEST = 3  # classes shown with their probabilities
_PICTURE = 208  # pixels of the longer side that pictures are shown with
_STORED = 416  # and those that are larger are stored with
_PROBLEMS = 20  # lines shown at once


@dataclass(frozen=True, eq=False)
class Report:
    """What the page tells.

    `class_names` is empty in a regression. `facts`: groups of names and values, shown as they are. `evaluations`: by
    the part of the data (`validation`, `test`). `mistakes` are those of the part `mistakes_of`, the worst first.
    `problems`: a line for each file that was skipped.
    """

    title: str
    history: History
    class_names: tuple[str, ...] = ()
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict[str, "Evaluation"])
    mistakes: tuple[Mistake, ...] = ()
    mistakes_of: str = "validation"
    problems: tuple[str, ...] = ()

    @cached_property
    def gradients(self) -> str:
        """The drawing of `gradients_svg`, made once: it stands in a file of its own and in the page."""
        return gradients_svg(self.history)

    @cached_property
    def confusions(self) -> Mapping[str, str]:
        """The drawing of `confusion_svg` of each evaluation, made once like `gradients`."""
        return {part: confusion_svg(evaluation, self.class_names) for part, evaluation in self.evaluations.items()}


def report_html(report: Report) -> str:
    """The page: HTML 5 in one string, without scripts and without anything to be fetched; the same bytes each time.

    Without matplotlib tables take the place of drawings.

    Raises:
        ArgumentError: an evaluation has not as many classes as there are names.
    """
    missing = plotting_missing()
    sections = _sections(report, drawn=missing is None)
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "\n".join(section(anchor, title, content) for anchor, title, content in sections)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{text(report.title)} – training report</title>
<style>
{_colours()}
{files("pellucid.train.report").joinpath("page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<p class="eyebrow">Training report</p>
<h1>{text(report.title)}</h1>
<nav>{links}</nav>
{_tiles(report)}
</header>
<main>
{body}
</main>
<footer>Made by Pellucid.{"" if missing is None else f" {text(missing)}."}</footer>
</body>
</html>
"""


def _sections(report: Report, *, drawn: bool) -> list[tuple[str, str, str]]:
    """(anchor, title, content) of all that there is something to say about."""
    history = report.history
    sections = [("course", "Course of training", course_html(history, drawn=drawn))]
    confusions = report.confusions if drawn else {}
    gradients = report.gradients if drawn and layer_norms(history) else None
    for number, (part, evaluation) in enumerate(report.evaluations.items(), 1):
        evaluation.check_names(report.class_names)
        content = scores_html(evaluation, report.class_names, f"part{number}", confusions.get(part))
        sections.append((f"part{number}", f"Classes: {text(part)}", content))
    sections += [
        ("mistakes", "Worst mistakes", _mistakes(report)),
        ("gradients", "Gradients", gradients_html(history, gradients)),
        ("timing", "Timing", timing_html(history)),
        ("facts", "Settings and facts", _facts(report.facts)),
        ("problems", "Problems", _problems(report.problems)),
    ]
    return [entry for entry in sections if entry[2]]


def _colours() -> str:
    light, dark = ("".join(f"--{one}: {pair[scheme]}; " for one, pair in PALETTE.items()) for scheme in (0, 1))
    return f":root {{ {light}}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}"


def _tiles(report: Report) -> str:
    """The figures that everybody asks for first."""
    history, tiles = report.history, list[tuple[str, str, str]]()
    for part, evaluation in report.evaluations.items():
        balanced = f"balanced {percent(evaluation.balanced_accuracy)}"
        tiles.append((f"{text(part)} accuracy", percent(evaluation.accuracy), balanced))
    if history.epochs:
        best = history.best
        chosen = "the last" if best.validation_loss is None else f"validation loss {best.validation_loss:.4f}"
        ended = ", stopped early" if history.stopped_early else ""
        tiles.append(("epoch kept", f"{history.best_epoch} of {len(history.epochs)}", f"{chosen}{ended}"))
        tiles.append(
            (
                "training time",
                duration(history.seconds),
                f"{len(history.epochs)} epoch{'s' * (len(history.epochs) > 1)}",
            )
        )
    if not tiles:
        return ""
    rows = (f"<div><dt>{title}</dt><dd>{figure}<small>{note}</small></dd></div>" for title, figure, note in tiles)
    return f'<dl class="tiles">{"".join(rows)}</dl>'


def _mistakes(report: Report) -> str:
    if not report.mistakes:
        return ""
    cards = "\n".join(_card(mistake, report.class_names) for mistake in report.mistakes)
    note = f"Images of the part “{text(report.mistakes_of)}” that were taken for another class, the surest first."
    return f'<p class="note">{note}</p>\n<div class="mistakes">\n{cards}\n</div>'


def _card(mistake: Mistake, names: Sequence[str]) -> str:
    """A picture, what it is, what it was taken for, and the probabilities."""
    true, predicted = names[mistake.label], names[mistake.predicted]
    odds = "".join(_odds(mistake, number, names) for number in mistake.likeliest(_LIKELIEST))
    alternative = attribute(f"{shortened(true, 60)}, taken for {shortened(predicted, 60)}")
    return (
        f"<figure>{_picture(mistake.image, alternative)}<figcaption>"
        f"<p><b>{name(shortened(true, 60))}</b> taken for <b>{name(shortened(predicted, 60))}</b></p>"
        f'<ul class="odds">{odds}</ul><p></p><div class="path">{name(mistake.path)}</div></figcaption></figure>'
    )


def _odds(mistake: Mistake, number: int, names: Sequence[str]) -> str:
    part = 100 * float(mistake.probabilities[number])
    kind = "right" if number == mistake.label else "wrong" if number == mistake.predicted else ""
    shape = f' class="{kind}"' if kind else ""
    width = min(max(part, 0.0), 100.0)
    figure = "&lt;0.1%" if 0 < part < 0.05 else f"{part:.1f}%"
    return (
        f'<li{shape}>{name(shortened(names[number], 22))}<i style="--part:{width:.1f}%"></i><span>{figure}</span></li>'
    )


def _picture(pixels: NDArray[np.uint8], alternative: str) -> str:
    """The picture within the page, enlarged by a whole number so that its pixels stay sharp."""
    shown = pixels if pixels.shape[2] in (3, 4) else pixels[:, :, 0]
    picture = Image.fromarray(shown)
    longer = max(picture.size)
    if longer > _STORED:
        picture.thumbnail((_STORED, _STORED))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    zoom = _PICTURE // longer if longer <= _PICTURE else _PICTURE / longer
    height, width = (max(1, round(zoom * side)) for side in pixels.shape[:2])
    crisp = ' class="crisp"' if longer <= _PICTURE else ""
    source = f"data:image/png;base64,{data}"
    return f'<img{crisp} src="{source}" width="{width}" height="{height}" alt="{alternative}">'


def _facts(facts: Mapping[str, Mapping[str, str]]) -> str:
    groups = "\n".join(
        f"<div><h3>{text(title)}</h3><dl>"
        + "".join(f"<dt>{text(fact)}</dt><dd>{text(value)}</dd>" for fact, value in group.items())
        + "</dl></div>"
        for title, group in facts.items()
        if group
    )
    return f'<div class="facts">\n{groups}\n</div>' if groups else ""


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""

    def listed(lines: Sequence[str]) -> str:
        return '<ul class="problems">' + "".join(f"<li>{name(line)}</li>" for line in lines) + "</ul>"

    skipped = f"{len(problems):,} file{'s were' if len(problems) > 1 else ' was'} skipped:"
    shown = f"<p>{skipped}</p>\n{listed(problems[:_PROBLEMS])}"
    rest = problems[_PROBLEMS:]
    return shown + (details(f"{len(rest):,} more", listed(rest)) if rest else "")
