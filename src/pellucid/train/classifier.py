"""A trained model used on pictures: what `pellucid predict` and `pellucid evaluate` do, for Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.emit.workers import available_cores
from pellucid.errors import ArgumentError, DataError
from pellucid.exchange import ModelFiles, Preprocessing, read_model
from pellucid.nn.model import Model
from pellucid.train.data.dataset import Part
from pellucid.train.data.decode import PictureForm, decode, read_picture
from pellucid.train.data.folder import list_pictures
from pellucid.train.data.images import Normalisation
from pellucid.train.data.threads import in_threads
from pellucid.train.loop import evaluate_part, outputs_of
from pellucid.train.metrics import Evaluation
from pellucid.train.probabilities import probabilities_of
from pellucid.train.session import model_folder

__all__ = ["Classifier", "Prediction", "load_classifier"]

Array: TypeAlias = NDArray[Any]

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a picture was taken for: the class's number and name, and the probabilities (classes,) float64 of all.

    `problem` says why a picture could not be read; then there is no class, -1, and no probability.
    """

    path: Path
    label: int
    name: str
    probabilities: NDArray[np.float64]
    problem: str | None = None

    @property
    def probability(self) -> float:
        """That of the class, 0 where there is a problem."""
        return float(self.probabilities[self.label]) if self.problem is None else 0.0

    def likeliest(self, count: int) -> list[int]:
        """The numbers of the classes of greatest probability, falling."""
        return np.argsort(-self.probabilities, kind="stable")[:count].tolist()


@dataclass(frozen=True, eq=False)
class Classifier:
    """A model with the preparation of its pictures; made by `load_classifier`."""

    model: Model
    files: ModelFiles
    folder: Path
    threads: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by their numbers."""
        return self.files.class_names

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes an input; ArgumentError for a model that takes none."""
        if self.files.preprocessing is None:
            raise ArgumentError(f"{self.folder}: the model takes arrays of shape {self.model.input_shape}, no pictures")
        return self.files.preprocessing

    def predict(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """What each picture shows, in order: of files, and of folders all pictures below them.

        Raises:
            ArgumentError: a path does not exist, or the model takes no pictures.
            DataError: a folder has no picture.
        """
        preprocessing, pictures = self.preprocessing, list_pictures(paths)
        normalisation = Normalisation(preprocessing.mean, preprocessing.deviation)
        for start in range(0, len(pictures), _BATCH):
            block = pictures[start : start + _BATCH]
            read = list(in_threads(self._read, block, self.threads))
            whole = [entry for entry in read if not isinstance(entry, str)]
            found = iter(
                self._probabilities(normalisation(np.stack(whole).astype(np.float32) / np.float32(255)))
                if whole
                else ()
            )
            for path, entry in zip(block, read, strict=True):
                if isinstance(entry, str):
                    yield Prediction(path, -1, "", np.zeros(len(self.class_names)), entry)
                    continue
                probabilities = next(found)
                label = int(probabilities.argmax())
                yield Prediction(path, label, self.class_names[label], probabilities)

    def evaluate(self, part: Part) -> Evaluation:
        """Measures on labelled images that are not normalised yet; their labels are numbers of `class_names`."""
        norm = self.files.preprocessing
        images = part.images if norm is None else part.images.normalised(Normalisation(norm.mean, norm.deviation))
        whole = Part(images, part.labels)
        _, evaluation = evaluate_part(self.model, whole, outputs_of(self.model, whole))
        if evaluation is None:
            raise ArgumentError("the part has targets, no labels")
        return evaluation

    def _probabilities(self, images: Array) -> NDArray[np.float64]:
        return probabilities_of(self.model.predict(images), self.model.loss)

    def _read(self, path: Path) -> NDArray[np.uint8] | str:
        height, width, channels = self.model.input_shape
        try:
            return decode(read_picture(path), PictureForm(height, width, channels, self.preprocessing.resize), path)
        except DataError as error:
            return str(error)


def load_classifier(path: str | Path, *, threads: int | None = None) -> Classifier:
    """The best model of a run folder, or the model in a folder such as `runs/NAME/last`.

    Raises:
        ArgumentError: it is no such folder, or its model was trained for no classes.
        DataError: the files are damaged.
    """
    folder = model_folder(Path(path))
    files = read_model(folder)
    if not files.class_names:
        raise ArgumentError(f"{folder}: the model knows no classes")
    count = threads or available_cores()
    return Classifier(files.build(threads=count), files, folder, count)
