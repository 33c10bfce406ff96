"""A model as files: `config.json` and `model.safetensors`.

`config.json` has the network as equations, the preprocessing of its input, the names of its classes and how it was
trained; nothing in it, nor in the parameters, is code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from pellucid.errors import DataError, PellucidError
from pellucid.exchange.architecture import layers_as_data, topology_from, with_head
from pellucid.exchange.described import as_data, from_data
from pellucid.exchange.json_values import JsonValue, parse_json
from pellucid.nn.blueprint import Blueprint, outline
from pellucid.nn.model import Model

__all__ = [
    "CONFIG",
    "PARAMETERS",
    "ModelFiles",
    "Preprocessing",
    "config_as_bytes",
    "parameters_as_bytes",
    "read_model",
    "read_parameters",
]

CONFIG, PARAMETERS = "config.json", "model.safetensors"
FORMAT, VERSION = "pellucid model", 1
_MOST_CONFIG_BYTES = 1 << 26

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input: `color` "gray" or "rgb", `resize` the way to the input's height and width, then
    `(x - mean) / deviation` of numbers in 0..1, a number of each for every channel."""

    color: str
    resize: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "color": self.color,
            "resize": self.resize,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
        }

    @classmethod
    def from_data(cls, entry: JsonValue) -> Preprocessing:
        """What `as_data` gave."""
        mean, deviation = (
            tuple(float(value.number()) for value in entry[key].items()) for key in ("mean", "deviation")
        )
        return cls(entry["color"].text(), entry["resize"].text(), mean, deviation)


@dataclass(frozen=True)
class ModelFiles:
    """A model to be written, or as it was read.

    `blueprint` has network, loss and optimiser; a loss or optimiser of a class that this package does not have is not
    kept. `parameters` are those of the network by name; empty where only the config was read.
    """

    blueprint: Blueprint
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    parameters: Mapping[str, Array] | None = None

    def config(self) -> dict[str, Any]:
        """The content of `config.json`.

        Raises ArgumentError where a layer cannot be written as equations.
        """
        blueprint = self.blueprint
        return {
            "format": FORMAT,
            "version": VERSION,
            "input_shape": list(blueprint.input_shape),
            "dtype": blueprint.dtype,
            "class_names": list(self.class_names),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.as_data(),
            "layers": layers_as_data(blueprint),
            "output": blueprint.topology.places[blueprint.topology.output].name,
            "training": {
                "loss": as_data(blueprint.loss),
                "optimizer": as_data(blueprint.optimizer),
                "regularizer": as_data(blueprint.penalty),
                "clip_norm": blueprint.clip_norm,
                "freeze": list(blueprint.freeze),
                "seed": blueprint.seed,
                "accuracy": blueprint.accuracy,
            },
        }

    @classmethod
    def from_config(cls, config: JsonValue) -> ModelFiles:
        """The model that `config` describes, without parameters; DataError where it is damaged."""
        if config["format"].value != FORMAT:
            raise DataError(f"{config['format'].place} must be {FORMAT!r}, is {config['format'].value!r}")
        if config["version"].whole() > VERSION:
            raise DataError(
                f"{config['version'].place} is {config['version'].value}; this package reads up to {VERSION}"
            )
        training, preprocessing = config["training"], config.get("preprocessing")
        clip_norm = training.get("clip_norm")
        try:
            blueprint = Blueprint(
                topology=topology_from(config["layers"], config["output"]),
                input_shape=config["input_shape"].wholes(1),
                loss=_described(training, "loss"),
                optimizer=_described(training, "optimizer"),
                penalty=_described(training, "regularizer"),
                clip_norm=None if clip_norm is None else float(clip_norm.number()),
                seed=training["seed"].whole(),
                threads=1,
                dtype=config["dtype"].text(),
                backend="compiled",
                accuracy=training["accuracy"].text(),
                freeze=training["freeze"].texts(),
            )
        except DataError:
            raise
        except PellucidError as error:
            raise DataError(f"{config.place}: {error}") from error
        return cls(
            blueprint,
            config["class_names"].texts(),
            None if preprocessing is None else Preprocessing.from_data(preprocessing),
        )

    def with_classes(self, names: Sequence[str], *, anew: bool = False, seed: int = 0) -> ModelFiles:
        """The model for those classes: the same where it has them, in that order; else, or where it is wanted `anew`,
        with another last layer, whose parameters are left out of `parameters`, or drawn by `seed`.

        Raises ArgumentError where the network does not end with a fully connected layer.
        """
        if tuple(names) == self.class_names and not anew:
            return self
        topology = self.blueprint.topology
        head = topology.places[topology.output].name
        kept = {name: array for name, array in (self.parameters or {}).items() if name.rpartition(".")[0] != head}
        blueprint = replace(self.blueprint, topology=with_head(topology, len(names)), freeze=())
        return replace(self, blueprint=blueprint, class_names=tuple(names), parameters=kept)

    def build(self, **changes: Any) -> Model:
        """The model, with `parameters` loaded; `changes` are attributes of the blueprint (threads, loss, optimizer).

        Raises ShapeError, ArgumentError or DataError where the parameters are not the network's.
        """
        blueprint = replace(self.blueprint, **changes)
        wanted = outline(blueprint).parameters
        given = self.parameters or {}
        for name, array in given.items():
            # Before memory is taken for what the config says.
            if name in wanted and array.shape != wanted[name].shape:
                raise DataError(f"parameter {name} has shape {array.shape}, the network's {wanted[name].shape}")
        model = Model(blueprint)
        if given:
            model.load_parameters(given, strict=False)
        return model


def read_model(folder: Path) -> ModelFiles:
    """The model in a folder; DataError where a file is missing or damaged, or the two do not belong together."""
    config = folder / CONFIG
    try:
        if config.stat().st_size > _MOST_CONFIG_BYTES:
            raise DataError(f"{config}: has {config.stat().st_size:,} bytes, at most {_MOST_CONFIG_BYTES:,} are read")
        text = config.read_bytes()
    except OSError as error:
        raise DataError(f"{config}: cannot be read: {error.strerror}") from error
    found = ModelFiles.from_config(parse_json(text, str(config)))
    parameters = read_parameters(folder / PARAMETERS)
    try:
        wanted = outline(found.blueprint).parameters
    except PellucidError as error:
        raise DataError(f"{config}: {error}") from error
    if wanted.keys() != parameters.keys():
        name = sorted(wanted.keys() ^ parameters.keys())[0]
        has, lacks = (CONFIG, PARAMETERS) if name in wanted else (PARAMETERS, CONFIG)
        raise DataError(f"{folder}: {has} has the parameter {name!r}, {lacks} has not")
    return replace(found, parameters=parameters)


def read_parameters(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, floats; DataError where it is damaged."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise DataError(f"{path}: {name!r} must be finite floats")
    return arrays


def parameters_as_bytes(parameters: Mapping[str, Array]) -> bytes:
    """The content of `model.safetensors`; the same bytes for the same parameters."""
    return safetensors.numpy.save(dict(parameters), {"format": "pellucid"})


def config_as_bytes(config: Mapping[str, Any]) -> bytes:
    """The content of `config.json`."""
    return (_pretty(config, "") + "\n").encode()


def _pretty(value: object, indent: str) -> str:
    """JSON with an entry a line, and lists without entries of their own on one line."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        entries = [f"{inner}{json.dumps(str(key))}: {_pretty(entry, inner)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        return "[\n" + ",\n".join(f"{inner}{_pretty(entry, inner)}" for entry in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def _described(training: JsonValue, key: str) -> Any:
    entry = training.get(key)
    return None if entry is None else from_data(entry)
