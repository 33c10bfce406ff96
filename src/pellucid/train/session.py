"""One training from its settings: data, model, run folder, loop, and what is measured and written at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import target
from pellucid.emit.workers import available_cores
from pellucid.errors import ArgumentError, DataError, StorageError, TrainingError
from pellucid.exchange import ModelFiles, Preprocessing, read_model
from pellucid.exchange.json_values import parse_json
from pellucid.exchange.model_files import CONFIG, config_as_bytes
from pellucid.nn.model import Model
from pellucid.nn.network import Graph, Sequential
from pellucid.train.build import build_model, course_of, fill_settings, make_optimizer
from pellucid.train.callback import Callback
from pellucid.train.data.dataset import Dataset
from pellucid.train.data.images import Normalisation
from pellucid.train.data.load import DATASETS, LoadedPart, load
from pellucid.train.data.split import Split
from pellucid.train.estimate import estimate_training
from pellucid.train.history import History
from pellucid.train.loggers import Logging, TensorBoardLogger
from pellucid.train.loop import Course, Progress, evaluate_part, outputs_of, train_epochs
from pellucid.train.run.checkpoint import load_checkpoint
from pellucid.train.run.folder import BEST, LAST, SETTINGS, SPLIT, RunFolder, existing_run, new_run
from pellucid.train.run.keeper import RunKeeper
from pellucid.train.run.outcome import write_outcome
from pellucid.train.run.signals import StopSignals
from pellucid.train.settings import Settings

__all__ = ["IN_MEMORY", "Reading", "Session", "begin_session", "model_folder", "own_part", "resume_session"]

# The source of a run whose data was given as arrays.
IN_MEMORY = "memory"
# Settings that may be others when a run goes on: they change no bit of what was done. Pictures may stand elsewhere;
# that they are the same is told by their hashes.
_FREE = frozenset({"source", "epochs", "patience", "threads", "name", "runs", "checkpoint_minutes", "tensorboard"})
# A share of the training images for validation where a data set of arrays has none.
_VALIDATION = 0.1
# Of what is wrong with the data, so many lines are told.
_MOST_PROBLEMS = 20

Array: TypeAlias = NDArray[Any]
Reading: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Session:
    """All that a training needs. `settings` are filled; `files` has the model without parameters; `messages` are to be
    told to a person first. Without a folder nothing is kept."""

    settings: Settings
    data: Dataset
    model: Model
    files: ModelFiles
    course: Course
    folder: RunFolder | None
    progress: Progress
    best: Mapping[str, Array] | None = None
    resumed: bool = False
    messages: tuple[str, ...] = ()

    def run(self, callbacks: Iterable[Callback] = ()) -> History:
        """Trains from `progress` to the end, measures, and writes what the folder is to have.

        Raises:
            TrainingError: a loss or gradient is not finite; names the last good checkpoint.
            StorageError, DataError: a file cannot be written, or a picture is gone; names the last good checkpoint.
            Interruption: a signal came, and all is saved.
        """
        told = tuple(callbacks)
        for message in self.messages:
            for callback in told:
                callback.on_message(message)
        if not self.progress.ended(self.course):
            estimate = estimate_training(self.model, self.data, self.course, self.progress)
            if estimate is not None:
                for callback in told:
                    callback.on_message(f"estimate: {estimate.text()}")
        if self.folder is None:
            return self._measured(self._train(told), told)
        return self._train_in(self.folder, told)

    def _train(self, callbacks: Sequence[Callback], keeper: RunKeeper | None = None) -> History:
        return train_epochs(
            self.model,
            self.data,
            self.course,
            progress=self.progress,
            best=self.best,
            keeper=keeper,
            callbacks=callbacks,
        )

    def _train_in(self, folder: RunFolder, callbacks: Sequence[Callback]) -> History:
        config = self.files.config()
        facts = {
            "settings": self.settings.values(),
            "config": config,
            "data": fingerprint(self.data),
            "made_by": made_by(),
        }
        signals = StopSignals()
        keeper = RunKeeper(folder, self.model, self.course, facts, self.settings.checkpoint_minutes, signals)
        try:
            if self.resumed:
                folder.write(SETTINGS, self.settings.toml())
            for name in (BEST, LAST):
                folder.write(f"{name}/{CONFIG}", config_as_bytes(config))
            boards = [TensorBoardLogger(folder.path / "tensorboard")] if self.settings.tensorboard else []
            with Logging(boards) as logging, signals:
                keeper.begin(self.progress, self.best, save=not self.resumed)
                folder.log("resume" if self.resumed else "start", self._facts())
                history = self._train((*callbacks, logging), keeper)
            return self._measured(history, callbacks)
        except (StorageError, DataError) as error:
            stands = "no checkpoint is kept yet" if keeper.kept is None else f"the checkpoint of {keeper.kept} is good"
            raise type(error)(f"{error}; {stands}: `pellucid resume {folder.path}` goes on") from error
        except TrainingError as error:
            # The same bits would come to the same end, so going on is no advice.
            raise TrainingError(
                f"{error}; the last good checkpoint is that of {keeper.kept}, {folder.path / LAST} has the model of "
                "the last whole epoch; try a lower learning rate or `clip_norm`"
            ) from error

    def _facts(self) -> dict[str, Any]:
        return {
            "epochs": self.course.epochs,
            "batch_size": self.course.batch_size,
            "seed": self.course.seed,
            "images": {name: len(part) for name, part in self.data.parts()},
            "first_epoch": self.progress.epoch,
            "first_step": self.progress.step + 1,
        }

    def _measured(self, history: History, callbacks: Sequence[Callback]) -> History:
        """With what the model does on the test part, on that for validation where there is no other."""
        name, part = ("test", self.data.test) if self.data.test is not None else ("validation", self.data.validation)
        history = replace(history, model=self.model, folder=None if self.folder is None else self.folder.path)
        outputs = None
        if part is not None:
            outputs = outputs_of(self.model, part)
            _, evaluation = evaluate_part(self.model, part, outputs)
            history = replace(history, part=name, evaluation=evaluation)
        if self.folder is not None:
            for message in write_outcome(self.folder, self.settings, self.data, self.files, history, outputs):
                for callback in callbacks:
                    callback.on_message(message)
        return history


@contextmanager
def begin_session(
    settings: Settings,
    *,
    data: Dataset | None = None,
    network: Sequential | Graph | None = None,
    model: Model | None = None,
    keep: bool = True,
    reading: Reading | None = None,
) -> Generator[Session]:
    """A session for a new run; with `keep` its folder is made, and is this process's within the block.

    `data`, `network` and `model` take the place of what the settings say of them. `reading` is told (done, total)
    while pictures are opened for the first time.

    Raises:
        ArgumentError, DataError, ShapeError: settings, data and network do not fit each other.
        StorageError: the folder cannot be made.
    """
    if not keep:
        yield _fresh(settings, None, data, network, model, reading)
        return
    folder = new_run(Path(settings.runs), settings.name, settings.source)
    try:
        with folder:
            yield _fresh(settings, folder, data, network, model, reading)
    except BaseException:
        # Nothing was kept yet: the name is free again.
        folder.remove_if_empty()
        raise


@contextmanager
def resume_session(
    path: Path,
    *,
    data: Dataset | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    threads: int | None = None,
    reading: Reading | None = None,
) -> Generator[Session]:
    """The session of the run in the folder `path`, from its last checkpoint on; from the beginning where there is none.

    Raises:
        ArgumentError: it is no run folder, another process has it, or its settings or network were changed.
        DataError: every checkpoint is damaged, or the data was changed.
    """
    with existing_run(path) as folder:
        settings = folder.settings()
        wanted = settings.changed(epochs=epochs, patience=patience, threads=threads)
        loaded = load_checkpoint(path)
        if settings.source == IN_MEMORY and data is None:
            raise ArgumentError(f"{path}: was trained on arrays: `pellucid.train.resume({str(path)!r}, data=...)`")
        if loaded is None:
            if settings.model is None and settings.from_ is None:
                raise ArgumentError(
                    f"{path}: there is no checkpoint, and its network was given to `fit`: train it again"
                )
            session = _fresh(wanted, folder, data, reading=reading)
            yield replace(session, messages=(*session.messages, "there is no checkpoint: training begins"))
            return
        facts = loaded.checkpoint.facts
        _check_settings(path, settings, facts["settings"])
        config = parse_json(json.dumps(facts["config"]), str(path / LAST / CONFIG))
        _check_network(path, facts["config"])
        files = ModelFiles.from_config(config)
        if data is None:
            data = _load(wanted, files, folder, reading)
        data = _normalised(data, files)
        if fingerprint(data) != facts["data"]:
            raise DataError(f"{path}: the data is not what the checkpoint was trained on")
        model = _rebuilt(path, files, wanted, data, changed=wanted.epochs != settings.epochs)
        model.load_state(loaded.checkpoint.state)
        messages = [] if loaded.warning is None else [loaded.warning]
        if facts["made_by"] != made_by():
            messages.append(
                f"the bits will be others: the checkpoint was made by {facts['made_by']}, this is {made_by()}"
            )
        messages.append(f"going on from {loaded.checkpoint.progress.where()}")
        yield Session(
            wanted,
            data,
            model,
            replace(files, blueprint=model.blueprint),
            course_of(wanted),
            folder,
            loaded.checkpoint.progress,
            loaded.checkpoint.best,
            resumed=True,
            messages=tuple(messages),
        )


def _fresh(
    settings: Settings,
    folder: RunFolder | None,
    data: Dataset | None = None,
    network: Sequential | Graph | None = None,
    model: Model | None = None,
    reading: Reading | None = None,
) -> Session:
    begin = _beginning(settings) if settings.begins_with_network else None
    if data is None:
        data = _load(settings, begin, folder, reading)
    if not data.class_names and model is None:
        raise ArgumentError("the data has targets, no classes: give `fit` a built model for it")
    if data.normalisation is None and model is None:
        data = _normalised(data, begin)
    messages = [f"classes: {_map(data.class_names)}"] if data.class_names else []
    messages += data.problems[:_MOST_PROBLEMS]
    if len(data.problems) > _MOST_PROBLEMS:
        messages.append(f"and {len(data.problems) - _MOST_PROBLEMS} more, which `pellucid check` lists")
    # A run may go on from elsewhere.
    settings = replace(settings, source=_absolute(settings.source), from_=settings.from_ and _absolute(settings.from_))
    filled = settings
    if model is None:
        filled = fill_settings(settings, data, named=network is None)
        model, note = build_model(filled, data, begin, network)
        messages += [] if note is None else [note]
    files = ModelFiles(model.blueprint, data.class_names, _preprocessing(data, filled.resize))
    course = course_of(filled)
    course.check(data)
    if folder is not None:
        folder.write(SETTINGS, filled.toml())
        if data.split is not None:
            folder.write(SPLIT, data.split.text())
    return Session(filled, data, model, files, course, folder, Progress(), messages=tuple(messages))


def _beginning(settings: Settings) -> ModelFiles:
    """The model that `from_` brings."""
    path = Path(settings.from_ or "")
    if path.suffix != ".onnx":
        return read_model(model_folder(path))
    # The package onnx is an extra.
    from pellucid.exchange.onnx.files import read_onnx

    return read_onnx(path, settings.image_size)


def _load(settings: Settings, begin: ModelFiles | None, folder: RunFolder | None, reading: Reading | None) -> Dataset:
    """The data of the settings: split as `split.csv` in the folder says, where it is there."""
    split = None
    if folder is not None and (folder.path / SPLIT).is_file():
        split = Split.read(folder.path / SPLIT)
    size, color, resize = settings.image_size, settings.color, settings.resize
    if begin is not None:
        height, width, _ = begin.blueprint.input_shape
        size = (height, width)
        if begin.preprocessing is not None:
            color, resize = begin.preprocessing.color, begin.preprocessing.resize
    data = load(
        settings.source,
        image_size=size,
        color=color,
        resize=resize,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
        group=settings.group,
        split=split,
        threads=settings.threads or available_cores(),
        progress=reading,
    )
    if split is None and data.validation is None and settings.validation is None:
        # Arrays come in two parts: of their training part a share is taken to choose the epoch by.
        return data.with_validation(_VALIDATION, settings.seed)
    return data


def _normalised(data: Dataset, files: ModelFiles | None) -> Dataset:
    """By what the model's pictures were normalised by, else by the training part's own mean and deviation."""
    if data.normalisation is not None:
        return data
    if files is not None and files.preprocessing is not None:
        return data.normalised_by(Normalisation(files.preprocessing.mean, files.preprocessing.deviation))
    return data.normalised()


def _preprocessing(data: Dataset, resize: str) -> Preprocessing | None:
    color = {1: "gray", 3: "rgb"}.get(data.image_shape[2])
    if color is None or not data.class_names:
        return None
    norm = data.normalisation or Normalisation((0.0,) * data.image_shape[2], (1.0,) * data.image_shape[2])
    return Preprocessing(color, resize, norm.mean, norm.deviation)


def _check_settings(path: Path, settings: Settings, before: Mapping[str, Any]) -> None:
    """Raises ArgumentError where `config.toml` was changed in what a run cannot change on its way."""
    now = json.loads(json.dumps(settings.values()))
    for name in sorted({*now, *before} - _FREE):
        if now.get(name) != before.get(name):
            raise ArgumentError(
                f"{path / SETTINGS}: `{name}` is {now.get(name)!r}, the checkpoint was made with {before.get(name)!r}: "
                "change it back, or train anew under another name"
            )


def _check_network(path: Path, before: Mapping[str, Any]) -> None:
    """Raises ArgumentError where `last/config.json` has another network than the checkpoint."""
    config = path / LAST / CONFIG
    if config.is_file():
        now = parse_json(config.read_bytes(), str(config))
        for name in ("layers", "input_shape", "class_names", "output"):
            if now[name].value != before[name]:
                raise ArgumentError(f"{config}: `{name}` is not that of the checkpoint: the network was changed")


def _rebuilt(path: Path, files: ModelFiles, settings: Settings, data: Dataset, *, changed: bool) -> Model:
    if files.blueprint.loss is None or files.blueprint.optimizer is None:
        raise ArgumentError(f"{path}: its loss or optimiser is of a class that this package does not have")
    threads = settings.threads or available_cores()
    # Another number of epochs is another course of the learning rate, where the settings say which.
    if changed and settings.lr is not None:
        return files.build(threads=threads, optimizer=make_optimizer(settings, data))
    return files.build(threads=threads)


def _absolute(path: str) -> str:
    return path if path in (*DATASETS, IN_MEMORY) or not os.path.exists(path) else os.path.abspath(path)


def _map(names: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))


def model_folder(path: Path) -> Path:
    """The folder with a model's files: `path` itself, or the best one of the run folder `path`.

    Raises ArgumentError where there is none.
    """
    for folder in (path, path / BEST):
        if (folder / CONFIG).is_file():
            return folder
    raise ArgumentError(
        f"{path}: is neither a run folder nor that of a model: there is no {CONFIG} in it, nor in {BEST}"
    )


def made_by() -> str:
    """What decides on bits beside settings and data: the version of the package, and the kind of processor that code
    is generated for."""
    return f"pellucid {metadata.version('pellucid')} for {target().name}"


def own_part(
    run: Path, files: ModelFiles, name: str | None, *, threads: int, reading: Reading | None = None
) -> tuple[LoadedPart, str]:
    """A part of the data that the run in the folder `run` was trained with, as its model in `files` takes it but not
    normalised, and what it is called: `name`, else "test", else "validation".

    Raises:
        ArgumentError: it is no run folder, was trained on arrays, or has no such part.
        DataError: the data was changed.
    """
    folder = existing_run(run.parent if run.name in (BEST, LAST) else run)
    settings = folder.settings().changed(threads=threads)
    if settings.source == IN_MEMORY:
        raise ArgumentError(f"{folder.path}: was trained on arrays: give data to evaluate it on")
    data = _load(settings, files, folder, reading)
    parts = dict(data.parts())
    chosen = name or ("test" if "test" in parts else "validation")
    if chosen not in parts:
        raise ArgumentError(f"{folder.path}: its data has no {chosen} part")
    return LoadedPart(parts[chosen], data.sources.get(chosen, ()), data.problems), f"{settings.source}, {chosen}"


def fingerprint(data: Dataset) -> str:
    """SHA-256 of all that the images and labels are: of their split, or of the arrays themselves."""
    found = hashlib.sha256()
    if data.split is not None:
        found.update(data.split.text().encode("utf-8", "surrogateescape"))
        return found.hexdigest()
    for name, part in data.parts():
        found.update(f"{name} {part.images.shape} {part.labels.shape}".encode())
        found.update(np.ascontiguousarray(part.labels).data)
        for start in range(0, len(part), 1024):
            numbers = np.arange(start, min(start + 1024, len(part)))
            found.update(np.ascontiguousarray(part.images.plain(numbers)).data)
    return found.hexdigest()
