"""Where a loss or a gradient that is not finite came from."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import TrainingError
from pellucid.nn.blueprint import Blueprint
from pellucid.nn.layer import Place

__all__ = ["not_finite"]

Arrays = Mapping[str, NDArray[Any]]


def not_finite(blueprint: Blueprint, found: Arrays, parameters: Arrays, step: int, loss: float) -> TrainingError:
    """The error that names the step (counted from 1) and the first thing that is not finite.

    Looked for in the order in which a step makes things: the batch, each layer's parameters and output from first to
    last, the loss, the gradients from the last layer to the first. `found` holds `input`, `output NAME` for every
    layer and `gradient NAME` for every trained parameter.
    """
    places = blueprint.topology.places
    if isfinite(loss):
        what, where = "the gradient is not finite", _first_gradient(places, found)
    else:
        what, where = f"the loss is {loss}", _first_forward(places, found, parameters)
    return TrainingError(f"{what} in step {step + 1}: {where}; nothing was changed")


def _first_forward(places: tuple[Place, ...], found: Arrays, parameters: Arrays) -> str:
    if not np.isfinite(found["input"]).all():
        return f"the batch holds {_count(found['input'])} that are not finite"
    for place in places:
        for name, array in _own(place, parameters).items():
            if not np.isfinite(array).all():
                cause = "a gradient of the step before was not finite"
                return f"the parameter {name} of {place.title} holds {_count(array)} that are not finite ({cause})"
        output = found[f"output {place.name}"]
        if not np.isfinite(output).all():
            return f"the output of {place.title} is the first with values that are not finite, {_count(output)}"
    return "every layer's output is finite, the loss of them is not"


def _first_gradient(places: tuple[Place, ...], found: Arrays) -> str:
    gradients = {name.removeprefix("gradient "): array for name, array in found.items() if name.startswith("gradient ")}
    for place in reversed(places):
        for name, array in _own(place, gradients).items():
            if not np.isfinite(array).all():
                return f"that of {name} of {place.title} is the first with values that are not finite, {_count(array)}"
    return "every gradient is finite, the square of their norm is not"


def _own(place: Place, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in arrays.items() if name.rpartition(".")[0] == place.name}


def _count(array: NDArray[Any]) -> str:
    return f"{int((~np.isfinite(array)).sum())} of {array.size} values"
