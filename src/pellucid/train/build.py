"""From settings and data to a model that can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np

from pellucid import nn, optim
from pellucid.emit.workers import available_cores
from pellucid.errors import ArgumentError
from pellucid.exchange import ModelFiles, read_parameters
from pellucid.train.augmentation import parse_augmentation
from pellucid.train.data.dataset import Dataset
from pellucid.train.loop import Course
from pellucid.train.recipe import USUAL_RATES, Recipe, recipe_for
from pellucid.train.settings import Settings

__all__ = [
    "build_model",
    "course_of",
    "fill_settings",
    "make_loss",
    "make_network",
    "make_optimizer",
    "make_schedule",
    "optimizer_for",
    "optimizer_of",
]

_SHORTEST_CYCLE = 10  # steps; a run that is shorter goes down a plain cosine
_MOST_THREADS = 8  # small networks gain nothing from more
_MANY = 10_000  # images from which fewer epochs of larger batches do


def fill_settings(settings: Settings, data: Dataset, *, named: bool = True) -> Settings:
    """The settings with a value for each that the network and the data decide; the network by its name unless `named`
    is false, or a saved model takes its place.

    Another optimiser than the recipe's, without a rate, gets that optimiser's usual one, and no weight decay.
    """
    height, width, channels = data.image_shape
    small = "lenet5" if max(height, width) <= 32 and channels == 1 else "resnet"
    model = settings.model or (small if named and not settings.begins_with_network else None)
    recipe = recipe_for(model or small)
    if settings.optimizer not in (None, recipe.optimizer):
        assert settings.optimizer is not None
        recipe = replace(recipe, optimizer=settings.optimizer, lr=USUAL_RATES[settings.optimizer], weight_decay=0.0)
    is_digits, many = settings.source == "digits", len(data.train) > _MANY
    default = Settings(
        settings.source,
        model=model,
        epochs=recipe.epochs if is_digits else 10 if many else 30,
        batch_size=128 if many else recipe.batch_size,
        optimizer=recipe.optimizer,
        lr=recipe.lr,
        momentum=0.9 if recipe.optimizer == "sgd" else None,
        weight_decay=recipe.weight_decay,
        schedule=recipe.schedule,
        augment="digits" if is_digits else _augmentation(height, width, channels),
        threads=min(available_cores(), _MOST_THREADS),
    )
    return default.changed(**{name: getattr(settings, name) for name in settings.__dataclass_fields__})


def course_of(settings: Settings) -> Course:
    """How the loop is told to go by settings that are filled."""
    assert settings.epochs is not None
    assert settings.batch_size is not None
    return Course(
        settings.epochs,
        settings.batch_size,
        settings.seed,
        parse_augmentation(settings.augment or "none"),
        settings.patience,
        gradient_norms=True,
    )


def build_model(
    settings: Settings, data: Dataset, begin: ModelFiles | None, network: nn.Sequential | nn.Graph | None = None
) -> tuple[nn.Model, str | None]:
    """The network of settings that are filled, for the shape and classes of `data`, with loss, optimiser and schedule;
    and what is to be said of the parameters that it begins with.

    `network` takes the place of the ready one; so does `begin`, a saved model, whose last layer is exchanged where the
    classes are others.

    Raises:
        ArgumentError: a setting does not suit the network, or `begin` has no head to exchange.
        ShapeError: the images are too small for the network, or not of the shape that `begin` takes.
    """
    names = data.class_names
    loss = _loss(settings, data)
    if begin is not None:
        if begin.blueprint.input_shape != data.image_shape:
            raise ArgumentError(
                f"`from` takes images of {_times(begin.blueprint.input_shape)}, the data has {_times(data.image_shape)}"
            )
        if settings.head is not None and settings.head != len(names):
            raise ArgumentError(f"`head` (={settings.head}) must be the number of classes of the data, {len(names)}")
        files = begin.with_classes(names, anew=settings.head is not None, seed=settings.seed)
        model = files.build(
            loss=loss,
            optimizer=make_optimizer(settings, data),
            penalty=None,
            clip_norm=settings.clip_norm,
            seed=settings.seed,
            threads=settings.threads,
            accuracy=settings.accuracy,
            freeze=settings.freeze,
        )
        is_new = files.blueprint is not begin.blueprint
        return model, f"a new last layer for {len(names)} classes" if is_new else None
    if settings.head is not None:
        raise ArgumentError(f"`head` (={settings.head}) is for a network that `from` brings")
    model = (network or make_network(settings.model or "", len(names))).build(
        data.image_shape,
        loss=loss,
        optimizer=make_optimizer(settings, data),
        clip_norm=settings.clip_norm,
        seed=settings.seed,
        threads=settings.threads or 1,
        accuracy=settings.accuracy,
        freeze=settings.freeze,
    )
    return model, _load_matching(model, Path(settings.from_)) if settings.from_ else None


def make_network(model: str, classes: int) -> nn.Sequential | nn.Graph:
    """A ready network by its name in the recipes; the residual one is narrow, to train on two cores in a minute."""
    match model:
        case "lenet5":
            return nn.lenet5(classes)
        case "s4":
            return nn.s4(classes)
        case "vgg":
            return nn.vgg(classes)
        case "rnn":
            return nn.rnn(classes)
        case _:
            return nn.resnet(classes, depth=10, width=16)


def make_loss(
    model: str | None, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> nn.Loss:
    """The loss of a ready network: S4 ends with a sigmoid for each class, the others give logits.

    Raises ArgumentError where S4 is to weigh classes or to smooth labels.
    """
    if model != "s4":
        weights = None if class_weights is None else tuple(class_weights)
        return nn.CrossEntropyLoss(class_weights=weights, label_smoothing=label_smoothing)
    if class_weights is not None or label_smoothing:
        name = "class_weight" if class_weights is not None else "label_smoothing"
        raise ArgumentError(f"`{name}` is not for the model 's4', whose loss is that of each class by itself")
    return nn.BCELoss()


def make_schedule(kind: str, rate: float, steps: int) -> optim.Schedule:
    """The course of the learning rate over `steps` steps: a step schedule divides by ten at each third."""
    if kind == "constant":
        return optim.Constant(rate)
    if kind == "step":
        return optim.Step(rate, every=ceil(steps / 3))
    if kind == "onecycle" and steps >= _SHORTEST_CYCLE:
        return optim.OneCycle(rate, steps)
    return optim.Cosine(rate, steps)


def make_optimizer(settings: Settings, data: Dataset) -> optim.Optimizer:
    """The optimiser of settings that are filled, at the rate of its schedule over all epochs."""
    assert settings.epochs is not None
    assert settings.batch_size is not None
    assert settings.optimizer is not None
    assert settings.lr is not None
    steps = settings.epochs * ceil(len(data.train) / settings.batch_size)
    schedule = make_schedule(settings.schedule or "constant", settings.lr, steps)
    return optimizer_of(settings.optimizer, schedule, settings.weight_decay or 0.0, settings.momentum or 0.0)


def optimizer_of(kind: str, schedule: optim.Schedule | float, weight_decay: float, momentum: float) -> optim.Optimizer:
    """The optimiser of that name, at a rate or that of a schedule; momentum is of "sgd" alone."""
    match kind:
        case "sgd":
            return optim.SGD(schedule, momentum=momentum, weight_decay=weight_decay)
        case "adam":
            return optim.Adam(schedule, weight_decay=weight_decay)
        case "adamw":
            return optim.AdamW(schedule, weight_decay=weight_decay)
        case "rmsprop":
            return optim.RMSprop(schedule, weight_decay=weight_decay)
        case _:
            return optim.Adagrad(schedule, weight_decay=weight_decay)


def optimizer_for(recipe: Recipe, schedule: optim.Schedule) -> optim.Optimizer:
    """The recipe's optimiser at the rate of `schedule`."""
    return optimizer_of(recipe.optimizer, schedule, recipe.weight_decay, 0.9)


def _loss(settings: Settings, data: Dataset) -> nn.Loss:
    weights = None
    if settings.class_weight == "balanced":
        counts = np.bincount(np.asarray(data.train.labels, np.int64), minlength=len(data.class_names))
        weights = tuple((len(data.train) / (len(counts) * counts)).tolist())
    return make_loss(settings.model, class_weights=weights, label_smoothing=settings.label_smoothing)


def _augmentation(height: int, width: int, channels: int) -> str:
    if channels == 1:
        # Of grey pictures nobody knows whether a mirror image is one of them.
        return f"shift={round(0.06 * min(height, width))},rotation=8,scale=0.1"
    return "photos" if min(height, width) >= 48 else "thumbnails"


def _load_matching(model: nn.Model, path: Path) -> str:
    """Takes the parameters of a file that the model has too, in that shape; ArgumentError where there is none."""
    given, own = read_parameters(path), model.parameters
    fit = {name: array for name, array in given.items() if name in own and own[name].shape == array.shape}
    if not fit:
        raise ArgumentError(f"`from` (={str(path)!r}) has no parameter of the network's names and shapes")
    model.load_parameters(fit, strict=False)
    left = [name for name in own if name not in fit]
    told = f"; new are {', '.join(left)}" if left else ""
    return f"{len(fit)} of {len(own)} parameters from {path}{told}"


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(extent) for extent in shape)
