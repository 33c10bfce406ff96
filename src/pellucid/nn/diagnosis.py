"""Where a loss that is not finite came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import TrainingError
from pellucid.nn.blueprint import Blueprint

__all__ = ["not_finite"]


def not_finite(
    blueprint: Blueprint,
    found: Mapping[str, NDArray[Any]],
    parameters: Mapping[str, NDArray[Any]],
    step: int,
    loss: float,
) -> TrainingError:
    """The error that names the step (from 1) and the first thing that is not finite.

    Looked for in the order in which a step makes things: the batch, each layer's parameters and output from first to
    last, the loss. `found` holds `input`, `output NAME` for every layer and `gradient NAME`.
    """
    where = _first(blueprint, found, parameters)
    return TrainingError(f"the loss is {loss} in step {step + 1}: {where}; nothing was changed")


def _first(blueprint: Blueprint, found: Mapping[str, NDArray[Any]], parameters: Mapping[str, NDArray[Any]]) -> str:
    if not np.isfinite(found["input"]).all():
        return f"the batch holds {_count(found['input'])} that are not finite"
    for place in blueprint.topology.places:
        for name, array in parameters.items():
            if name.rpartition(".")[0] == place.name and not np.isfinite(array).all():
                return f"the parameter {name} of {place.title} holds {_count(array)} that are not finite"
        output = found[f"output {place.name}"]
        if not np.isfinite(output).all():
            return f"the output of {place.title} is the first with values that are not finite, {_count(output)}"
    return "every layer's output is finite, the loss of them is not"


def _count(array: NDArray[Any]) -> str:
    return f"{int((~np.isfinite(array)).sum())} of {array.size} values"
