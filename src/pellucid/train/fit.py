"""Training from Python, with the names of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

from pellucid import nn
from pellucid.errors import ArgumentError
from pellucid.train.augmentation import Augmentation
from pellucid.train.build import course_of
from pellucid.train.callback import Callback
from pellucid.train.data.dataset import Dataset
from pellucid.train.history import History
from pellucid.train.loggers import Logger, Logging
from pellucid.train.loop import TrainableModel, train_epochs
from pellucid.train.session import IN_MEMORY, Session, begin_session, resume_session
from pellucid.train.settings import Settings

__all__ = ["fit", "resume"]

# What a model that is built has already.
_BUILT = (
    "lr", "optimizer", "momentum", "weight_decay", "schedule", "label_smoothing", "clip_norm", "class_weight",
    "freeze", "accuracy", "threads", "from_", "head",
)  # fmt: skip
# What a data set that is loaded has already.
_LOADED = ("test", "group", "image_size", "color", "resize")

_IS_LOADED = "is of loading: the data set is loaded already"


def fit(
    model: TrainableModel | nn.Sequential | nn.Graph | str | None,
    data: Dataset | str | Path,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    schedule: str | None = None,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    augment: Augmentation | str | None = None,
    class_weight: str | None = None,
    freeze: Sequence[str] = (),
    from_: str | Path | None = None,
    head: int | None = None,
    patience: int | None = None,
    validation: float | None = None,
    test: float | None = None,
    group: str | None = None,
    image_size: tuple[int, int] | None = None,
    color: str = "auto",
    resize: str = "crop",
    seed: int = 0,
    threads: int | None = None,
    accuracy: str = "standard",
    name: str | None = None,
    runs: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    tensorboard: bool = False,
    gradient_norms: bool = False,
    callbacks: Iterable[Callback] = (),
    loggers: Iterable[Logger] = (),
) -> History:
    """Train `model` on `data.train`, and return every epoch with the model that came of it.

    With a validation part, the model has the parameters of the epoch of least validation loss in the end, and
    `patience` epochs without a lower one end training early. Test images choose nothing; at the end they are measured.
    The same arguments give the same bits, on any number of threads.

    With `name` or `runs` a run folder is written: checkpoints from which `resume` goes on to the same bits, the models
    of the best and the last epoch, tables and a report; SIGINT and SIGTERM then save before they end training.

    Args:
        model: a built model, which keeps its optimiser's state between calls; or a network, or the name of a ready
            one ("lenet5"), or None for one that suits the images, to be built from the settings that follow.
        data: a data set, or what `load` takes: a folder of pictures, an .npz file, a CSV, "digits". A data set is given
            to a built model as it is: call `data.normalised()` first where that is wanted.
        epochs, batch_size: how often each image is used, how many images a step has; the last batch may be smaller. For
            a built model 1 and 32 unless given.
        augment: random changes to the training images, or their names as on the command line; for a built model none
            by default.
        gradient_norms: record the norm of each parameter's gradient, in the last step of every epoch, and those of the
            states of recurrent layers; always done for a run folder.
        callbacks: told of every step and epoch, in this order.
        loggers: get the figures of every epoch; a run folder has its own tables besides.

    The other arguments are those of `Settings`.

    Raises:
        ArgumentError: a number is outside its rule, an argument does not go with a built model or a loaded data set, or
            `patience` is given without a validation part.
        DataError, ShapeError: the data is damaged, or does not fit the network.
        TrainingError: a loss or gradient is not finite; names the step and, with a model of this package, the layer.
        StorageError: the run folder cannot be written.
    """
    settings = _settings(locals())
    keep = name is not None or runs is not None
    with Logging(loggers) as logging:
        told = (*callbacks, logging)
        if isinstance(model, str | nn.Sequential | nn.Graph) or model is None:
            with _session(settings, model, data, keep) as session:
                return session.run(told)
        if not isinstance(data, Dataset):
            raise ArgumentError("a built model takes a data set as it is: `pellucid.train.load(...)`, `.normalised()`")
        _refuse(settings, _BUILT, "belongs to `build`: the model is built already")
        _refuse(settings, _LOADED, _IS_LOADED)
        _refuse(settings, ("validation",), "is not for a built model: see `Dataset.with_validation`")
        settings = replace(settings, epochs=epochs or 1, batch_size=batch_size or 32)
        if not keep:
            course = replace(course_of(settings), gradient_norms=gradient_norms)
            history = train_epochs(model, data, course, callbacks=told)
            return replace(history, model=model) if isinstance(model, nn.Model) else history
        if not isinstance(model, nn.Model):
            raise ArgumentError(f"a run folder keeps a model of this package, not a {type(model).__name__}")
        settings = replace(settings, threads=model.blueprint.threads)
        with begin_session(settings, data=data, model=model) as session:
            return session.run(told)


def resume(
    folder: str | Path,
    *,
    data: Dataset | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    threads: int | None = None,
    callbacks: Iterable[Callback] = (),
    loggers: Iterable[Logger] = (),
) -> History:
    """Go on with the training of a run folder, from its last checkpoint to the bits that it would have come to.

    `data` is what it was trained on, where that was given as arrays. `epochs` is how many are to run in all.

    Raises:
        ArgumentError: it is no run folder, another process trains in it, or settings or network were changed.
        DataError: every checkpoint is damaged, or the data was changed.
        And what `fit` raises while it trains.
    """
    opened = resume_session(Path(folder), data=data, epochs=epochs, patience=patience, threads=threads)
    with Logging(loggers) as logging, opened as session:
        return session.run((*callbacks, logging))


def _session(
    settings: Settings, model: nn.Sequential | nn.Graph | str | None, data: Dataset | str | Path, keep: bool
) -> AbstractContextManager[Session]:
    network = model if isinstance(model, nn.Sequential | nn.Graph) else None
    if not isinstance(data, Dataset):
        return begin_session(settings, network=network, keep=keep)
    _refuse(settings, _LOADED, _IS_LOADED)
    if settings.validation:
        data = data.with_validation(settings.validation, settings.seed)
    return begin_session(settings, data=data, network=network, keep=keep)


def _settings(arguments: dict[str, object]) -> Settings:
    """The settings among the arguments of `fit`."""
    data, model, augment, runs = (arguments[name] for name in ("data", "model", "augment", "runs"))
    found = {field.name: arguments[field.name] for field in fields(Settings) if field.name in arguments}
    found["source"] = IN_MEMORY if isinstance(data, Dataset) else str(data)
    found["model"] = model if isinstance(model, str) else None
    found["augment"] = augment.text() if isinstance(augment, Augmentation) else augment
    found["runs"] = "runs" if runs is None else str(runs)
    found["from_"] = None if arguments["from_"] is None else str(arguments["from_"])
    found["freeze"] = tuple(arguments["freeze"])  # pyright: ignore[reportArgumentType]
    return Settings(**found)  # pyright: ignore[reportArgumentType]


def _refuse(settings: Settings, names: Sequence[str], why: str) -> None:
    """Raises ArgumentError where one of those settings is not what it is when nothing is said."""
    plain = Settings(settings.source)
    for name in names:
        if getattr(settings, name) != getattr(plain, name):
            raise ArgumentError(f"`{name}` (={getattr(settings, name)!r}) {why}")
