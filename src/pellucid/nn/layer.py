"""What a layer is: attributes, and a function from the shapes of its inputs to a `Stage`.

A `Stage` holds equations and the parameters that they read, nothing that runs. Layers are values: applying one twice
makes two stages with parameters of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from pellucid.language.system import System
from pellucid.nn.initialisers import Initialiser

__all__ = [
    "Block",
    "Layer",
    "Mask",
    "Named",
    "Network",
    "Parameter",
    "Place",
    "Reshape",
    "Running",
    "Shape",
    "Stage",
    "Training",
]

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """An array that belongs to a layer.

    `name` is the user's ("weight"), `local` the equations' ("w"). One that is not `trained` is changed by a
    `Running` alone; regularisers act on those that are `decayed`: weights, not biases or the scales of norms.
    """

    name: str
    local: str
    shape: Shape
    initial: Initialiser
    fan_in: int = 1
    fan_out: int = 1
    trained: bool = True
    decayed: bool = False


@dataclass(frozen=True)
class Running:
    """In every training step the result of `system`, which reads the layer's `x` and the parameter as `running`,
    takes the parameter's place."""

    parameter: str
    system: System


@dataclass(frozen=True)
class Mask:
    """An input of ones and zeros, drawn anew for each step: an element is 0 with probability `rate`.

    `shape` has the batch first.
    """

    local: str
    shape: Shape
    rate: float


@dataclass(frozen=True)
class Reshape:
    """The input's memory seen with another shape; `system` is the equation that this obeys."""

    shape: Shape
    system: System


@dataclass(frozen=True)
class Training:
    """What a layer is in training where that is something else than in inference."""

    system: System | Reshape
    running: tuple[Running, ...] = ()
    mask: Mask | None = None


@dataclass(frozen=True)
class Stage:
    """A layer for given input shapes.

    `system` reads the inputs under the names `sources`, and the parameters under their local names. `training`, where
    it is given, makes what takes its place in training; it is called only then, since a batch may be too small for
    training and right for inference. `states` are those of a recurrent layer that a training log tells of, by the
    user's name ("state_l0") the equations' name of the tensor (batch, steps, features).
    """

    system: System | Reshape
    parameters: tuple[Parameter, ...] = ()
    sources: tuple[str, ...] = ("x",)
    training: Callable[[], Training] | None = None
    states: Mapping[str, str] = field(default_factory=dict[str, str])

    def in_training(self) -> Training:
        """What computes the layer in training."""
        return Training(self.system) if self.training is None else self.training()


@runtime_checkable
class Layer(Protocol):
    """What `Sequential` and `Graph` ask of a layer."""

    def stage(self, *shapes: Shape) -> Stage:
        """The equations for inputs of these shapes, batch first.

        Raises ShapeError or ArgumentError where the shapes do not suit the layer.
        """
        ...


@runtime_checkable
class Named(Protocol):
    """A layer that says what it is called, where that is not its class."""

    @property
    def kind(self) -> str:
        """The name."""
        ...


@dataclass(frozen=True)
class Place:
    """A layer in a network: its name ("0", or "2.0" inside a block) and the numbers of the places it reads."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]

    @property
    def kind(self) -> str:
        """What the layer is called: `Conv2d`."""
        return self.layer.kind if isinstance(self.layer, Named) else type(self.layer).__name__

    @property
    def title(self) -> str:
        """`layer 2.0 (Conv2d)`."""
        return f"layer {self.name} ({self.kind})"


@runtime_checkable
class Network(Protocol):
    """What can stand in the place of a layer and is itself made of layers."""

    def place_into(self, places: list[Place], entry: tuple[int, ...], prefix: str) -> int:
        """Appends the places of the network that reads `entry`; the number of its last."""
        ...


Block: TypeAlias = Layer | Network
