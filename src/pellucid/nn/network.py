"""`Sequential` and `Graph`: descriptions of networks, which `build` turns into models."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.blueprint import Blueprint
from pellucid.nn.layer import Block, Layer, Network, Place, Shape
from pellucid.nn.losses import Loss
from pellucid.nn.model import Model
from pellucid.nn.symbolic import Symbol, apply
from pellucid.nn.topology import INPUT, Topology, flatten_chain, flatten_symbols
from pellucid.optim import Optimizer, Penalty

__all__ = ["Graph", "Sequential"]


class Sequential:
    """Layers one behind the other; a network may stand in the place of a layer.

    Parameters are called by the layer's number, "0.weight"; inside a network in third place, "2.0.weight".
    """

    def __init__(self, *layers: Block) -> None:
        if not layers:
            raise ArgumentError("Sequential needs at least 1 layer")
        for number, layer in enumerate(layers):
            _check_block(layer, f"layer {number}")
        self.layers = layers

    __call__ = apply

    def place_into(self, places: list[Place], entry: tuple[int, ...], prefix: str) -> int:
        """See `Network`."""
        return flatten_chain(self.layers, places, entry, prefix)

    def build(
        self,
        input_shape: Shape,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        seed: int = 0,
        threads: int = 1,
        dtype: str = "float32",
        regularizer: Penalty | None = None,
        clip_norm: float | None = None,
        backend: str = "compiled",
        accuracy: str = "standard",
        freeze: Sequence[str] = (),
    ) -> Model:
        """A model for inputs of `input_shape`, which has no batch axis; the channels of every layer follow from it.

        Args:
            input_shape: for images (height, width, channels).
            loss: what training makes small; without one the model only predicts.
            optimizer: how parameters change; without one the model is not trained, but gives gradients.
            seed: of the initial parameters and of dropout.
            threads: that share each step; the results do not depend on them.
            dtype: of parameters and arithmetic, "float32" or "float64".
            regularizer: added to the loss for each weight.
            clip_norm: the largest norm of all gradients together; longer ones are scaled down.
            backend: "compiled", or "reference" for the literal evaluation in float64.
            accuracy: whether float32 convolutions may be computed with fewer multiplications: "standard" where they
                are no less accurate than a plain sum, "fast" with up to four times its error, "direct" not at all.
            freeze: patterns of the names of parameters that training leaves as they are: "2.weight", "*.bias", a layer
                "2", or "body" for all but the last layer with parameters. A layer whose parameters are all frozen,
                running statistics too, runs as in inference.

        Raises:
            ShapeError, ArgumentError, DtypeError: a layer does not fit its input, or an argument its rule.
        """
        blueprint = Blueprint(
            topology=_topology(self),
            input_shape=tuple(input_shape),
            loss=loss,
            optimizer=optimizer,
            penalty=regularizer,
            clip_norm=clip_norm,
            seed=seed,
            threads=threads,
            dtype=dtype,
            backend=backend,
            accuracy=accuracy,
            freeze=tuple(freeze),
        )
        return Model(blueprint)


class Graph:
    """What leads from one symbol to another: a network with branches. Layers are numbered in an order of running."""

    def __init__(self, input: Symbol, output: Symbol) -> None:
        if input.layer is not None:
            raise ArgumentError("`input` must be an Input, not the output of a layer")
        if output is input:
            raise ArgumentError("`output` must be the output of a layer, not the Input itself")
        self.input = input
        self.output = output

    __call__ = apply

    def place_into(self, places: list[Place], entry: tuple[int, ...], prefix: str) -> int:
        """See `Network`."""
        return flatten_symbols(self.input, self.output, places, entry, prefix)

    def build(
        self,
        input_shape: Shape | None = None,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        seed: int = 0,
        threads: int = 1,
        dtype: str = "float32",
        regularizer: Penalty | None = None,
        clip_norm: float | None = None,
        backend: str = "compiled",
        accuracy: str = "standard",
        freeze: Sequence[str] = (),
    ) -> Model:
        """As `Sequential.build`; `input_shape` may be left out where the Input has one."""
        shape = tuple(input_shape) if input_shape is not None else self.input.shape
        if self.input.shape and shape != self.input.shape:
            raise ShapeError(f"`input_shape` (={shape}) is not the shape of the graph's Input, {self.input.shape}")
        blueprint = Blueprint(
            topology=_topology(self),
            input_shape=shape,
            loss=loss,
            optimizer=optimizer,
            penalty=regularizer,
            clip_norm=clip_norm,
            seed=seed,
            threads=threads,
            dtype=dtype,
            backend=backend,
            accuracy=accuracy,
            freeze=tuple(freeze),
        )
        return Model(blueprint)


def _topology(network: Network) -> Topology:
    places: list[Place] = []
    output = network.place_into(places, (INPUT,), "")
    return Topology(tuple(places), output)


def _check_block(block: object, what: str) -> None:
    if isinstance(block, type):
        raise ArgumentError(f"{what} is the class {block.__name__}; write {block.__name__}(...)")
    if not isinstance(block, Layer | Network):
        raise ArgumentError(f"{what} ({type(block).__name__}) is no layer: it has no `stage`")
