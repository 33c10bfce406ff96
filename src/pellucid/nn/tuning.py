"""The training step of a model in a measured search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pellucid.nn import programs
from pellucid.nn.model import Model
from pellucid.nn.programs import Target

if TYPE_CHECKING:
    from pellucid.network.tune import Measured

__all__ = ["tune_step"]


def tune_step(model: Model, batch: int, target: Target, *, seconds: float) -> Iterator[Measured]:
    """Searches for better decisions about the equations of a model's training step, as `network.tune.tune` does."""
    from pellucid.network.tune import tune  # with the scheduler and the emitter, which a model does without

    blueprint = model._blueprint  # pyright: ignore[reportPrivateUsage] - of the same room
    program = programs.training_step(blueprint, batch, target, norms=False)
    return tune(program.compiled, threads=blueprint.threads, seconds=seconds)
