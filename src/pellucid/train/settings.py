"""Every option of a run, from the command line, a TOML file or Python; `config.toml` in the run folder is its text."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from pellucid.errors import ArgumentError, PellucidError
from pellucid.network import ACCURACIES
from pellucid.train.data.decode import RESIZES
from pellucid.train.data.load import COLORS
from pellucid.train.recipe import MODELS, OPTIMIZERS, SCHEDULES

__all__ = ["CLASS_WEIGHTS", "Settings", "settings_from_toml"]

CLASS_WEIGHTS = ("balanced",)

Rule: TypeAlias = Callable[[str, Any], None]


def _whole(least: int) -> Rule:
    def check(name: str, value: Any) -> None:
        _check(name, value, isinstance(value, int) and value >= least, f"a whole number of at least {least}")

    return check


def _fraction(name: str, value: Any) -> None:
    _check(name, value, _finite(value) and 0 <= value < 1, "a number of at least 0 and below 1")


def _positive(name: str, value: Any) -> None:
    _check(name, value, _finite(value) and value > 0, "a finite number above 0")


def _not_negative(name: str, value: Any) -> None:
    _check(name, value, _finite(value) and value >= 0, "a finite number, 0 or above")


def _text(name: str, value: Any) -> None:
    _check(name, value, isinstance(value, str) and bool(value) and _is_utf8(value), "a text")


def _texts(name: str, value: Any) -> None:
    _check(name, value, isinstance(value, tuple) and all(isinstance(entry, str) for entry in value), "a list of texts")


def _truth(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ArgumentError(f"`{name}` (={value!r}) must be true or false")


def _size(name: str, value: Any) -> None:
    is_size = isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value)
    _check(name, value, is_size, "a height and a width of at least 1 pixel")


def _one_of(*names: str) -> Rule:
    def check(name: str, value: Any) -> None:
        if value not in names:
            close = difflib.get_close_matches(str(value), names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
            raise ArgumentError(f"`{name}` (={value!r}) is not known{hint}")

    return check


def _is_utf8(text: str) -> bool:
    """Whether a file of UTF-8 can hold it: the name of a file may have bytes that are none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check(name: str, value: Any, holds: bool, rule: str) -> None:
    if not holds or isinstance(value, bool):
        raise ArgumentError(f"`{name}` (={value!r}) must be {rule}")


_RULES: Mapping[str, Rule] = {
    "source": _text,
    "model": _one_of(*MODELS),
    "from_": _text,
    "head": _whole(1),
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "optimizer": _one_of(*OPTIMIZERS),
    "lr": _positive,
    "momentum": _fraction,
    "weight_decay": _not_negative,
    "schedule": _one_of(*SCHEDULES),
    "label_smoothing": _fraction,
    "clip_norm": _positive,
    "augment": _text,
    "class_weight": _one_of(*CLASS_WEIGHTS),
    "freeze": _texts,
    "patience": _whole(1),
    "validation": _fraction,
    "test": _fraction,
    "group": _text,
    "image_size": _size,
    "color": _one_of(*COLORS),
    "resize": _one_of(*RESIZES),
    "seed": _whole(0),
    "threads": _whole(1),
    "accuracy": _one_of(*ACCURACIES),
    "name": _text,
    "runs": _text,
    "checkpoint_minutes": _positive,
    "tensorboard": _truth,
}
# What a file calls them, where a name of Python is in the way.
_SPELLED = {"from_": "from"}


@dataclass(frozen=True)
class Settings:
    """What a run is made from; None is "by the network, or the data".

    Attributes:
        source: "digits", a folder of pictures, a folder of IDX files, an .npz file or a CSV of path,label.
        model: a ready network.
        from_: a run folder, or a model's, or an .onnx file, to begin with; or a .safetensors file with parameters for
            `model`.
        head: the number of classes, for a new last layer even where `from_` has as many.
        epochs, batch_size: how often each image is used, how many images a step has.
        patience: epochs without a better validation loss before the end.
        optimizer, lr, momentum, weight_decay, schedule, label_smoothing, clip_norm: how parameters change.
        augment: random changes of training images.
        class_weight: "balanced" weighs each class by the inverse of its share.
        freeze: patterns of parameters that stay as they are.
        validation, test: which share of the images is kept for them, where the source does not say.
        group: a regular expression on paths; what it matches (its first group, where it has one) joins pictures that
            must stand in one part.
        image_size, color, resize: how a picture becomes the network's input.
        seed, threads, accuracy: see `Sequential.build`.
        name, runs: the run folder is `runs`/`name`.
        checkpoint_minutes: how often a checkpoint is written within an epoch; one is written behind each.
        tensorboard: also write a log for TensorBoard, by tensorboardX.

    Raises:
        ArgumentError: a value is outside its rule.
    """

    source: str
    model: str | None = None
    from_: str | None = None
    head: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str | None = None
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augment: str | None = None
    class_weight: str | None = None
    freeze: tuple[str, ...] = ()
    patience: int | None = None
    validation: float | None = None
    test: float | None = None
    group: str | None = None
    image_size: tuple[int, int] | None = None
    color: str = "auto"
    resize: str = "crop"
    seed: int = 0
    threads: int | None = None
    accuracy: str = "standard"
    name: str | None = None
    runs: str = "runs"
    checkpoint_minutes: float = 5.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _RULES[field.name](_SPELLED.get(field.name, field.name), value)

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str | None = None) -> Self:
        """Settings by their names in a file ("from", "batch_size" or "batch-size"); lists stand for tuples.

        `where` is the file that messages name.

        Raises:
            ArgumentError: a name is unknown (the closest is suggested), or a value is outside its rule.
        """
        begin = "" if where is None else f"{where}: "
        names = {_SPELLED.get(field.name, field.name): field.name for field in fields(cls)}
        found: dict[str, Any] = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
                raise ArgumentError(f"{begin}there is no setting {key!r}; {hint}")
            found[names[name]] = tuple(value) if isinstance(value, list) else value
        if "source" not in found:
            raise ArgumentError(f"{begin}`source` is missing: what to train on")
        try:
            return cls(**found)
        except PellucidError as error:
            raise ArgumentError(f"{begin}{error}") from error

    def values(self) -> dict[str, Any]:
        """The settings that are not None by their names in a file."""
        pairs = ((_SPELLED.get(field.name, field.name), getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    @property
    def begins_with_network(self) -> bool:
        """Whether `from_` brings its network along (a run, a model's folder, ONNX), and is no file of parameters."""
        return self.from_ is not None and not self.from_.endswith(".safetensors")

    def changed(self, **changes: Any) -> Settings:
        """These settings with those of `changes` that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def toml(self) -> str:
        """The text of `config.toml`."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.values().items())


def settings_from_toml(path: Path) -> dict[str, Any]:
    """The entries of a TOML file.

    Raises:
        ArgumentError: the file cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArgumentError(f"{path}: is no TOML: {error}") from error


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(entry) for entry in value)}]"
    if isinstance(value, str):
        # What JSON writes as \uXXXX for each half of a pair TOML would refuse, so letters stay letters.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
