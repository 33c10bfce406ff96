"""What a model is built from: the part of an estimator that stays when its parameters are changed after `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, TypeAlias, cast

from pellucid import nn, optim
from pellucid.errors import ArgumentError
from pellucid.nn.layer import Block
from pellucid.train.build import make_network, optimizer_of
from pellucid.train.recipe import OPTIMIZERS

__all__ = ["NETWORKS", "Network", "Plan", "choose_network", "choose_optimizer"]

Network: TypeAlias = nn.Sequential | nn.Graph

# The ready networks that give logits.
NETWORKS = ("lenet5", "vgg", "resnet", "rnn")

_MOMENTUM = 0.9  # of "sgd"
_DECAY = 0.01  # of "adamw", torch.optim's own

_HIDDEN = 64
_SMALL = 7  # rows or columns that are not pooled any more
_MOST_CHANNELS = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """A model before it is built. `outputs` is what the network must give for one input."""

    network: Network
    loss: nn.Loss
    optimizer: optim.Optimizer
    image_shape: tuple[int, int, int]
    outputs: int
    seed: int
    threads: int
    dtype: str

    def build(self) -> nn.Model:
        """The model.

        Raises:
            ArgumentError: the network gives another number of outputs, or an argument is outside its rule.
            ShapeError: a layer does not fit its input.
        """
        model = self.network.build(
            self.image_shape,
            loss=self.loss,
            optimizer=self.optimizer,
            seed=self.seed,
            threads=self.threads,
            dtype=self.dtype,
        )
        if model.output_shape != (self.outputs,):
            raise ArgumentError(f"`network` gives {model.output_shape} for an input; it must give ({self.outputs},)")
        return model


def choose_network(network: object, shape: tuple[int, int, int], outputs: int, *, vectors: bool) -> Network:
    """The network that an estimator's `network` stands for; one that takes vectors has `Flatten` in front.

    Raises:
        ArgumentError: `network` is none of what it may be.
    """
    chosen = _chosen(network, shape, outputs, vectors=vectors)
    return nn.Sequential(nn.Flatten(), chosen) if vectors else chosen


def choose_optimizer(optimizer: object, learning_rate: object) -> optim.Optimizer:
    """The optimiser that an estimator's `optimizer` and `learning_rate` stand for.

    Raises:
        ArgumentError: the name is not known, or the rate is neither a number above 0 nor a schedule.
    """
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ArgumentError(f"`optimizer` (={optimizer!r}) must be one of {', '.join(OPTIMIZERS)}, or an optimiser")
        is_rate = isinstance(learning_rate, Real) and isfinite(learning_rate) and float(learning_rate) > 0
        if is_rate or isinstance(learning_rate, optim.Schedule):
            rate = learning_rate if isinstance(learning_rate, optim.Schedule) else float(cast("float", learning_rate))
            return optimizer_of(optimizer, rate, _DECAY if optimizer == "adamw" else 0.0, _MOMENTUM)
        raise ArgumentError(f"`learning_rate` (={learning_rate!r}) must be a finite number above 0, or a schedule")
    if not all(hasattr(optimizer, part) for part in ("moments", "system", "scalars")):
        raise ArgumentError(f"`optimizer` must be a name or an optimiser, not {type(optimizer).__name__}")
    chosen: Any = optimizer
    return chosen


def _chosen(network: object, shape: tuple[int, int, int], outputs: int, *, vectors: bool) -> Network:
    if network is None:
        return _for_vectors(outputs) if vectors else _for_images(shape, outputs)
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ArgumentError(f"`network` (={network!r}) must be one of {', '.join(NETWORKS)}, or a network")
        return make_network(network, outputs)
    made = network if isinstance(network, Network) or not callable(network) else network(outputs)
    if not isinstance(made, Network):
        raise ArgumentError(
            f"`network` must be None, a name, an nn.Sequential, an nn.Graph, or a function from the number of outputs "
            f"to one of these, not {type(made).__name__}"
        )
    return made


def _for_vectors(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(_HIDDEN), nn.ReLU(), nn.Linear(outputs, weight="glorot_uniform"))


def _for_images(shape: tuple[int, int, int], outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, then others until the image is small, each with a pool behind while it is not."""
    side, channels = min(shape[:2]), 16
    layers: list[Block] = []
    while len(layers) < 4 or side > _SMALL:
        layers += [nn.Conv2d(channels, 3, padding=1), nn.ReLU()]
        if side > _SMALL:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        channels = min(2 * channels, _MOST_CHANNELS)
    layers += [nn.Flatten(), nn.Linear(_HIDDEN), nn.ReLU(), nn.Linear(outputs, weight="glorot_uniform")]
    return nn.Sequential(*layers)
