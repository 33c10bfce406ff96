"""Histories, evaluations and names that reports are made of in tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pytest

from pellucid.train import EpochResult, Evaluation, History
from pellucid.train.report.mistakes import Mistake
from pellucid.train.report.page import Report

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "two\nlines\r\tand \x1b[31mred\x00",
    b"caf\xe9".decode("utf-8", "surrogateescape"),
    "\u202eright to left\u2066",
    "$\\frac{1$ & ]]> --> &lt;b&gt;",
    "日本語 العربية 🐈",
    "a|b `c` *d* _e_ [f](g) # ~h~",
    "",
    "x" * 300,
)


def history(epochs: int = 4, *, validation: bool = True, classes: bool = True, layers: int = 0) -> History:
    """A run that gets better; without `classes` that of a regression."""
    rows = tuple(
        EpochResult(
            epoch=epoch,
            loss=2.0 / epoch,
            accuracy=1 - 0.5 / epoch if classes else None,
            validation_loss=2.5 / epoch if validation else None,
            validation_accuracy=1 - 0.6 / epoch if validation and classes else None,
            learning_rate=0.01 / epoch,
            seconds=1.5,
            images_per_second=2000.0,
            busy=0.9,
            validation_balanced_accuracy=1 - 0.7 / epoch if validation and classes else None,
            gradient_norms={f"{layer}.{kind}": 3.0 / epoch for layer in range(layers) for kind in ("weight", "bias")},
        )
        for epoch in range(1, epochs + 1)
    )
    return History(rows, max(1, epochs - 1) if validation else epochs, stopped_early=False)


def evaluation(classes: int, count: int = 200, seed: int = 0) -> Evaluation:
    """Predictions of which most are right."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    scores = random.normal(size=(count, classes))
    scores[np.arange(count), labels] += 2
    return Evaluation.of(0.75, labels, scores)


def mistake(path: str = "photos/a.png", classes: int = 4, channels: int = 3) -> Mistake:
    """A picture of class 0 taken for class 1."""
    random = np.random.default_rng(0)
    probabilities = np.array([0.2, 0.7, 0.06, 0.04, *[0.0] * (classes - 4)])
    return Mistake(path, random.integers(0, 256, (6, 8, channels), dtype=np.uint8), 0, probabilities[:classes])


def report(names: tuple[str, ...] = ("ant", "bee", "cat", "dog"), **changes: object) -> Report:
    """A whole one."""
    scores = {"validation": evaluation(len(names)), "test": evaluation(len(names), seed=1)} if names else {}
    parts: dict[str, object] = {
        "title": "insects",
        "history": history(layers=3),
        "class_names": names,
        "facts": {"Settings": {"epochs": "4", "optimizer": "adamw"}, "Data": {"images": "200"}},
        "evaluations": scores,
        "mistakes": (mistake(classes=len(names)),) if names else (),
        "problems": ("photos/b.png: zero bytes",),
        **changes,
    }
    return Report(**parts)  # pyright: ignore[reportArgumentType]


@contextmanager
def without_matplotlib() -> Iterator[None]:
    """As if it were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ["matplotlib", *(name for name in sys.modules if name.startswith("matplotlib."))]:
            patch.setitem(sys.modules, name, None)
        yield


def svg_words(svg: str) -> list[str]:
    """The texts of a drawing, which must be XML."""
    root = ElementTree.fromstring(svg.encode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
