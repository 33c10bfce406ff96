"""The model card: `README.md` of a folder with a trained model, Markdown behind a head of YAML."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pellucid.train.report.names import printable
from pellucid.train.report.quantities import percent

if TYPE_CHECKING:
    from pellucid.train.data.images import Normalisation
    from pellucid.train.metrics import Evaluation

__all__ = ["CardLayer", "ModelCard", "model_card"]

_COLOURS = {1: "grey", 3: "colour (red, green, blue)", 4: "colour with opacity (red, green, blue, alpha)"}
_TASK = "image-classification"
_WEAK = 3  # classes named among the limits


@dataclass(frozen=True)
class CardLayer:
    """A row of the table of layers; `output` is the shape of one image's result."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int


@dataclass(frozen=True, eq=False)
class ModelCard:
    """What a card tells.

    `weights`: `best` or `last`; `epoch` is the one that they are of, of `epochs`. `run` is the folder of the run,
    `data` what the model was trained on, in a few words. `class_names` is empty in a regression, which has no
    `evaluations` (by part of the data) either. `input_shape` (height, width, channels). `settings` are shown as they
    are; `python` is a program that uses the model.
    """

    name: str
    weights: str
    run: str
    data: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    normalisation: Normalisation | None
    layers: tuple[CardLayer, ...]
    epoch: int
    epochs: int
    version: str
    python: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict[str, "Evaluation"])
    license: str | None = None
    tags: tuple[str, ...] = ()


def model_card(card: ModelCard) -> str:
    """The card as Markdown, with a newline at its end."""
    parts = [
        f"---\n{_head(card)}---",
        f"# {_words(card.name)}",
        _what(card),
        "## How to use it",
        _usage(card),
        "## Input",
        _input(card),
        *(("## Classes", _classes(card.class_names)) if card.class_names else ()),
        *(("## Results", _results(card)) if card.evaluations else ()),
        "## Architecture",
        _architecture(card.layers),
        *(("## Training", _pairs(card.settings)) if card.settings else ()),
        "## Limits",
        _limits(card),
    ]
    return "\n\n".join(parts) + "\n"


def _head(card: ModelCard) -> str:
    """The front matter. Values are JSON, which is YAML as well: strings are quoted, so that no word means more than
    itself (`no`, `1.0`, `a: b`)."""
    entries: dict[str, object] = {} if card.license is None else {"license": printable(card.license)}
    entries["library_name"] = "pellucid"
    if card.class_names:
        entries["pipeline_tag"] = _TASK
    own = ("pellucid", _TASK) if card.class_names else ("pellucid",)
    entries["tags"] = list(dict.fromkeys((*own, *map(printable, card.tags))))
    if card.evaluations:
        entries["metrics"] = ["accuracy"]
        entries["model-index"] = [{"name": printable(card.name), "results": _index(card)}]
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items())


def _index(card: ModelCard) -> list[object]:
    return [
        {
            "task": {"type": _TASK},
            "dataset": {"type": "imagefolder", "name": printable(card.data), "split": printable(part)},
            "metrics": [
                {"type": "accuracy", "value": round(evaluation.accuracy, 4)},
                {"type": "balanced_accuracy", "value": round(evaluation.balanced_accuracy, 4)},
            ],
        }
        for part, evaluation in card.evaluations.items()
    ]


def _words(words: str) -> str:
    """Words from outside as Markdown that shows just these words, within a line."""
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", printable(words)).strip()


def _code(language: str, lines: str) -> str:
    """A block of code whose fence is longer than any in it."""
    longest = max((len(ticks) for ticks in re.findall("`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{lines.rstrip()}\n{fence}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last `numbers` columns stand at the right."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


def _what(card: ModelCard) -> str:
    task = (
        f"tells {len(card.class_names)} classes of images apart"
        if card.class_names
        else "estimates numbers from images"
    )
    parameters = sum(layer.parameters for layer in card.layers)
    chosen = {"best": "the epoch of least validation loss", "last": "the last epoch"}.get(card.weights, "")
    kept = f"These are the parameters of epoch {card.epoch} of {card.epochs}{f', {chosen}' if chosen else ''}."
    return (
        f"A network that {task}: {parameters:,} parameters, trained on {_words(card.data)} with Pellucid "
        f"{_words(card.version)}. {kept}\n\n"
        "`model.safetensors` holds the parameters; `config.json` holds the layers with their equations, what is done "
        "to an image beforehand, and the names of the classes. Neither contains code that is run when it is loaded."
    )


def _usage(card: ModelCard) -> str:
    command = f"pip install pellucid\npellucid predict {shlex.quote(printable(card.run))} pictures/"
    return f"{_code('sh', command)}\n\nIn Python:\n\n{_code('python', card.python)}"


def _input(card: ModelCard) -> str:
    height, width, channels = card.input_shape
    colours = _COLOURS.get(channels, f"{channels} channels")
    lines = [f"- {height} x {width} pixels (height x width), {colours}; other pictures are brought to this form"]
    if card.normalisation is None:
        lines.append("- brightness as numbers in 0..1")
    else:
        mean, deviation = (
            ", ".join(f"{value:.6g}" for value in values)
            for values in (card.normalisation.mean, card.normalisation.deviation)
        )
        lines.append(f"- brightness as numbers in 0..1, less the mean ({mean}), divided by the deviation ({deviation})")
    return "\n".join(lines)


def _classes(names: Sequence[str]) -> str:
    return _table(("number", "class"), ((str(number), _words(one)) for number, one in enumerate(names)))


def _results(card: ModelCard) -> str:
    head = ("part", "images", "loss", "accuracy", "balanced accuracy", "top-5 accuracy")
    rows = (
        (
            _words(part),
            f"{one.count:,}",
            f"{one.loss:.4f}",
            percent(one.accuracy),
            percent(one.balanced_accuracy),
            percent(one.top5_accuracy),
        )
        for part, one in card.evaluations.items()
    )
    return f"{_table(head, rows, 5)}\n\nBalanced accuracy is the mean of the classes' recalls."


def _architecture(layers: Sequence[CardLayer]) -> str:
    rows = [
        (_words(layer.name), _words(layer.kind), " x ".join(map(str, layer.output)), f"{layer.parameters:,}")
        for layer in layers
    ]
    return _table(("layer", "kind", "output", "parameters"), rows, 1)


def _pairs(settings: Mapping[str, str]) -> str:
    return _table(("setting", "value"), ((_words(one), _words(value)) for one, value in settings.items()))


def _limits(card: ModelCard) -> str:
    lines = ["- It knows pictures like those that it was trained on. On others its answers mean little."]
    if card.class_names:
        lines.append(
            "- Its answer is always one of its classes, for a picture of something else as well, and its probabilities "
            "are not calibrated."
        )
    for part, evaluation in card.evaluations.items():
        weak = [score for score in evaluation.worst(_WEAK) if score.recall is not None and score.recall < 1]
        if weak:
            named = ", ".join(
                f"{_words(card.class_names[score.number])} ({percent(score.recall)} of {score.images})"
                for score in weak
            )
            lines.append(f"- Found least often among the images of the part {_words(part)}: {named}.")
    if "test" not in card.evaluations:
        lines.append("- It was not measured on images that took no part in training or in the choice of the epoch.")
    return "\n".join(lines)
