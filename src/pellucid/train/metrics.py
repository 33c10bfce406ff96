"""How well a classifier does: the confusion matrix and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from pellucid.errors import ArgumentError, DataError
from pellucid.train.report.names import fitted, printable, shortened
from pellucid.train.report.quantities import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ClassScore", "Confusion", "Evaluation"]

Counts: TypeAlias = NDArray[np.int64]

TOP = 5
_MOST_CLASSES = 20  # of more, a text shows the worst alone
_WORST = 10
_NAME_WIDTH = 24


@dataclass(frozen=True)
class ClassScore:
    """One class: how many images have it, how many were taken for it, and the shares (0..1) of those that were right.

    `recall` is None for a class without images, `precision` for one that nothing was taken for, `f1` (the harmonic mean
    of both, 2 x right / (images + predicted)) for one with neither.
    """

    number: int
    images: int
    predicted: int
    right: int

    @property
    def recall(self) -> float | None:
        """The share of its images that were found."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """The share of the images taken for it that have it."""
        return self.right / self.predicted if self.predicted else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of recall and precision."""
        return 2 * self.right / (self.images + self.predicted) if self.images + self.predicted else None


@dataclass(frozen=True)
class Confusion:
    """How often images of class `label` were taken for the other class `predicted`."""

    label: int
    predicted: int
    count: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measures of a classifier on one part of the data.

    `loss` is the mean loss of an image; `confusion` (classes, classes) int64 counts images, a row for each true class,
    a column for each predicted one; `top5_accuracy` (0..1) is the share of images whose class is among the five most
    likely, None with five classes or fewer.

    Raises:
        DataError: `confusion` is no square matrix of counts, or has no image.
    """

    loss: float
    confusion: Counts
    top5_accuracy: float | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.confusion.shape, self.confusion.dtype
        square = len(shape) == 2 and shape[0] == shape[1]
        if not square or dtype != np.int64 or self.confusion.min(initial=0) < 0:
            raise DataError(f"`confusion` must be int64 counts (classes, classes), got {dtype} {shape}")
        if not self.confusion.any():
            raise DataError(f"`confusion` {shape} has no image")
        frozen = self.confusion.copy()
        frozen.setflags(write=False)
        object.__setattr__(self, "confusion", frozen)

    @classmethod
    def of(cls, loss: float, labels: Counts, scores: NDArray[Any]) -> Evaluation:
        """The evaluation of predictions.

        Args:
            loss: the mean loss of an image.
            labels: (count,), whole numbers: the true classes.
            scores: (count, classes): probabilities or logits. The greatest is what is predicted, the first of equals.

        Raises:
            DataError: the shapes do not fit, there is no image, a label is outside the classes, or a score is NaN.
        """
        _check(labels, scores)
        classes = scores.shape[1]
        pairs = labels.astype(np.int64) * classes + scores.argmax(axis=1)
        confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        top5 = float((_ranks(labels, scores) < TOP).mean()) if classes > TOP else None
        return cls(float(loss), confusion.astype(np.int64), top5)

    @property
    def count(self) -> int:
        """How many images there are."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of images whose class was found, 0..1."""
        return int(self.confusion.trace()) / self.count

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images, 0..1."""
        recalls = [recall for recall in self.recall if recall is not None]
        return sum(recalls) / len(recalls)

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """Every class, in order."""
        images, predicted = self.confusion.sum(axis=1).tolist(), self.confusion.sum(axis=0).tolist()
        counts = zip(images, predicted, self.confusion.diagonal().tolist(), strict=True)
        return tuple(ClassScore(number, *count) for number, count in enumerate(counts))

    @property
    def recall(self) -> tuple[float | None, ...]:
        """Of each class; see `ClassScore`."""
        return tuple(score.recall for score in self.classes)

    @property
    def precision(self) -> tuple[float | None, ...]:
        """Of each class; see `ClassScore`."""
        return tuple(score.precision for score in self.classes)

    @property
    def f1(self) -> tuple[float | None, ...]:
        """Of each class; see `ClassScore`."""
        return tuple(score.f1 for score in self.classes)

    def confusions(self, most: int) -> tuple[Confusion, ...]:
        """The pairs of classes that are confused most often, at most `most`, by falling counts."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = (divmod(int(place), len(wrong)) for place in order)
        return tuple(Confusion(row, column, int(wrong[row, column])) for row, column in pairs if wrong[row, column])

    def worst(self, most: int) -> tuple[ClassScore, ...]:
        """The classes of least recall, at most `most`, those without images last."""
        return tuple(sorted(self.classes, key=lambda score: 2.0 if score.recall is None else score.recall)[:most])

    def as_data(self) -> dict[str, Any]:
        """Plain values for JSON: every measure, lists for classes, None where a measure is not defined."""
        return {
            "loss": self.loss if np.isfinite(self.loss) else None,
            "images": self.count,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "top5_accuracy": self.top5_accuracy,
            "recall": list(self.recall),
            "precision": list(self.precision),
            "f1": list(self.f1),
            "confusion_matrix": self.confusion.tolist(),
        }

    def text(self, class_names: Sequence[str]) -> str:
        """The measures as a block for the terminal, 80 columns or so: all classes and the confusion matrix with up to
        20 classes, the worst ten of more.

        Raises:
            ArgumentError: there are not as many names as classes.
        """
        self.check_names(class_names)
        parts = [self._headline(), self._class_table(class_names)]
        if len(self.confusion) <= _MOST_CLASSES:
            parts.append(self._matrix(class_names))
        return "\n\n".join(parts)

    def check_names(self, class_names: Sequence[str]) -> None:
        """Raise ArgumentError where there are not as many names as classes."""
        if len(class_names) != len(self.confusion):
            raise ArgumentError(
                f"`class_names` has {len(class_names)} names, but {len(self.confusion)} classes were evaluated"
            )

    def _headline(self) -> str:
        measures = [f"accuracy {percent(self.accuracy)}", f"balanced accuracy {percent(self.balanced_accuracy)}"]
        if self.top5_accuracy is not None:
            measures.append(f"top-5 accuracy {percent(self.top5_accuracy)}")
        return f"{', '.join(measures)}, loss {self.loss:.4f} ({self.count} image{'s' * (self.count != 1)})"

    def _class_table(self, names: Sequence[str]) -> str:
        every = len(self.confusion) <= _MOST_CLASSES
        shown = self.classes if every else self.worst(_WORST)
        width = _width(names[score.number] for score in shown)
        taken_for = self._taken_for(names)
        head = f"{fitted('class', width)}  images  recall  precision      F1  most often taken for"
        rows = [
            f"{fitted(names[score.number], width)}  {score.images:6}  {percent(score.recall):>6}  "
            f"{percent(score.precision):>9}  {percent(score.f1):>6}  {taken_for[score.number]}"
            for score in shown
        ]
        note = () if every else (f"the {len(shown)} classes of least recall, of {len(self.confusion)}:",)
        return "\n".join(line.rstrip() for line in (*note, head, *rows))

    def _taken_for(self, names: Sequence[str]) -> list[str]:
        """For each class the other one that its images were taken for most often."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        return [
            f"{shortened(names[int(row.argmax())], _NAME_WIDTH)} ({row.max()})" if row.any() else "" for row in wrong
        ]

    def _matrix(self, names: Sequence[str]) -> str:
        """Counts with a dot for 0; columns are headed by names where these are short, else by letters."""
        cell = max(3, len(str(self.confusion.max()))) + 1
        short = all(len(printable(name)) < cell for name in names)
        marks = list(names) if short else [chr(ord("a") + number) for number in range(len(names))]
        sides = list(names) if short else [f"{mark} {name}" for mark, name in zip(marks, names, strict=True)]
        width = _width(sides)
        rows = [
            fitted(side, width) + "".join((str(count) if count else "·").rjust(cell) for count in row)
            for side, row in zip(sides, self.confusion.tolist(), strict=True)
        ]
        head = fitted("", width) + "".join(fitted(mark, cell, right=True) for mark in marks)
        return "\n".join(("rows: true class, columns: predicted class", head, *rows))


def _width(names: Iterable[str]) -> int:
    return min(_NAME_WIDTH, max(5, *(cell_len(printable(name)) for name in names)))


def _ranks(labels: Counts, scores: NDArray[Any]) -> Counts:
    """How many classes are more likely than the true one; of equals, those of lower number are."""
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > true) | ((scores == true) & earlier)).sum(axis=1)


def _check(labels: Counts, scores: NDArray[Any]) -> None:
    if labels.ndim != 1 or scores.ndim != 2 or len(labels) != len(scores) or 0 in scores.shape:
        raise DataError(
            f"`labels` must be (count,) and `scores` (count, classes) for an image or more, got {labels.shape} and "
            f"{scores.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"`labels` must be whole numbers, got {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= scores.shape[1]:
        raise DataError(
            f"`labels` has {low if low < 0 else high}, outside 0..{scores.shape[1] - 1} ({scores.shape[1]} classes)"
        )
    wrong = np.isnan(scores).any(axis=1)
    if wrong.any():
        raise DataError(f"`scores` has NaN for image {int(wrong.argmax())}")
