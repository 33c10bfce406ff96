"""What a training leaves at its end: measures, drawings, the report and the cards of its models."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.exchange import ModelFiles
from pellucid.nn.blueprint import outline
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.history import History
from pellucid.train.metrics import Evaluation
from pellucid.train.probabilities import probabilities_of
from pellucid.train.report.card import CardLayer, ModelCard, model_card
from pellucid.train.report.curves import curves_svg
from pellucid.train.report.drawing import plotting_missing
from pellucid.train.report.mistakes import Mistake, worst_mistakes
from pellucid.train.report.page import Report, report_html
from pellucid.train.run.folder import BEST, LAST, RunFolder
from pellucid.train.settings import Settings

__all__ = ["write_outcome"]

Array: TypeAlias = NDArray[Any]

_MISTAKES = 24
_PROGRAM = """from pellucid.train import load_classifier

classifier = load_classifier({run!r})
for picture in classifier.predict(["picture.png"]):
    print(picture.path, picture.name, picture.probability)"""


def write_outcome(
    folder: RunFolder,
    settings: Settings,
    data: Dataset,
    files: ModelFiles,
    history: History,
    outputs: Array | None,
) -> list[str]:
    """Writes `evaluation.json`, the drawings, `report.html` and the model cards; what is to be said of them.

    `outputs` are the model's for the part `history.part`, of which `history.evaluation` is, if there is one. Raises
    StorageError where a file cannot be written.
    """
    evaluations = {history.part: history.evaluation} if history.part and history.evaluation is not None else {}
    report = Report(
        title=folder.path.name,
        history=history,
        class_names=data.class_names,
        facts={"Settings": _texts(settings.values()), "Data": _data_facts(data), "Here": _machine_facts()},
        evaluations=evaluations,
        mistakes=() if outputs is None or not evaluations else _mistakes(data, files, history, outputs),
        mistakes_of=history.part or "",
        problems=data.problems,
    )
    messages: list[str] = []
    missing = plotting_missing()
    if missing is None:
        folder.write("curves.svg", curves_svg(history))
        folder.write("gradients.svg", report.gradients)
        for drawing in report.confusions.values():
            folder.write("confusion_matrix.svg", drawing)
    else:
        messages.append(missing)
    for name, evaluation in evaluations.items():
        folder.write("evaluation.json", json.dumps({"part": name, **evaluation.as_data()}, indent=2) + "\n")
    folder.write("report.html", report_html(report))
    for weights, epoch in ((BEST, history.best_epoch), (LAST, len(history.epochs))):
        # What was measured is of the best epoch; of the last only where it is that one.
        measured = evaluations if epoch == history.best_epoch else {}
        folder.write(f"{weights}/README.md", model_card(_card(folder, settings, data, files, weights, epoch, measured)))
    folder.log("end", _end(history))
    return messages


def _end(history: History) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    if history.part is not None and history.evaluation is not None:
        measured[history.part] = history.evaluation.as_data()
    return {"best_epoch": history.best_epoch, "stopped_early": history.stopped_early, **measured}


def _mistakes(data: Dataset, files: ModelFiles, history: History, outputs: Array) -> tuple[Mistake, ...]:
    part = data.test if history.part == "test" else data.validation
    assert part is not None
    assert history.part is not None
    probabilities = probabilities_of(outputs, files.blueprint.loss)
    names = data.sources.get(history.part, ())
    found: list[Mistake] = []
    for number in worst_mistakes(np.asarray(part.labels, np.int64), probabilities, _MISTAKES).tolist():
        path = names[number] if names else f"{history.part}[{number}]"
        found.append(Mistake(path, _picture(part, number), int(part.labels[number]), probabilities[number]))
    return tuple(found)


def _picture(part: Part, number: int) -> NDArray[np.uint8]:
    """As it was stored; numbers that are none of a picture are stretched to its range."""
    plain = part.images.plain(np.array([number]))[0]
    low, high = float(plain.min()), float(plain.max())
    if low < 0 or high > 1:
        plain = (plain - low) / max(high - low, 1e-30)
    return np.rint(255 * plain).astype(np.uint8)


def _card(
    folder: RunFolder,
    settings: Settings,
    data: Dataset,
    files: ModelFiles,
    weights: str,
    epoch: int,
    evaluations: Mapping[str, Evaluation],
) -> ModelCard:
    epochs = settings.epochs or 0
    return ModelCard(
        name=folder.path.name,
        weights=weights,
        run=str(folder.path),
        data=f"{settings.source}: {', '.join(f'{len(part)} for {name}' for name, part in data.parts())}",
        class_names=data.class_names,
        input_shape=data.image_shape,
        normalisation=data.normalisation,
        layers=_layers(files),
        epoch=epoch,
        epochs=epochs,
        version=metadata.version("pellucid"),
        python=_PROGRAM.format(run=str(folder.path)),
        settings=_texts(settings.values()),
        evaluations=evaluations,
    )


def _layers(files: ModelFiles) -> tuple[CardLayer, ...]:
    found = outline(files.blueprint)
    return tuple(
        CardLayer(
            place.name,
            place.kind,
            found.graph.values[found.laid.outputs[place.name]].shape[1:],
            sum(prod(one.shape) for one in found.laid.stages[place.name].parameters if one.trained),
        )
        for place in files.blueprint.topology.places
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


def _data_facts(data: Dataset) -> dict[str, str]:
    facts = {name: f"{len(part):,} images" for name, part in data.parts()}
    facts["image"] = " x ".join(map(str, data.image_shape))
    facts["classes"] = str(len(data.class_names))
    if data.normalisation is not None:
        facts["mean"], facts["deviation"] = (
            ", ".join(f"{value:.4g}" for value in values)
            for values in (data.normalisation.mean, data.normalisation.deviation)
        )
    return facts


def _machine_facts() -> dict[str, str]:
    return {
        "pellucid": metadata.version("pellucid"),
        "Python": platform.python_version(),
        "NumPy": metadata.version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
    }
