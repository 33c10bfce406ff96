"""Everything that `build` was given, checked, and everything that follows from it before any program is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.network import ACCURACIES, BACKENDS, Graph
from pellucid.nn.assembly import Laid, lay_out
from pellucid.nn.freeze import frozen_names
from pellucid.nn.layer import Parameter, Shape
from pellucid.nn.losses import Loss
from pellucid.nn.topology import Topology
from pellucid.optim import Optimizer, Penalty

__all__ = ["DRY_BATCH", "Blueprint", "Outline", "outline"]

# Shapes are worked out with this batch: the smallest for which batch statistics exist.
DRY_BATCH = 2


@dataclass(frozen=True)
class Blueprint:
    """The arguments of `build`. Raises ArgumentError, DtypeError or ShapeError for one outside its rule."""

    topology: Topology
    input_shape: Shape
    loss: Loss | None = None
    optimizer: Optimizer | None = None
    penalty: Penalty | None = None
    clip_norm: float | None = None
    seed: int = 0
    threads: int = 1
    dtype: str = "float32"
    backend: str = "compiled"
    accuracy: str = "standard"
    freeze: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.input_shape or any(not isinstance(extent, int) or extent < 1 for extent in self.input_shape):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ShapeError(f"`input_shape` (={self.input_shape}) must be a tuple of whole numbers of at least 1")
        if self.dtype not in ("float32", "float64"):
            raise DtypeError(f"`dtype` (={self.dtype!r}) must be 'float32' or 'float64'")
        if self.accuracy not in ACCURACIES:
            raise ArgumentError(f"`accuracy` (={self.accuracy!r}) must be one of {', '.join(ACCURACIES)}")
        if self.backend not in BACKENDS:
            raise ArgumentError(f"`backend` (={self.backend!r}) must be one of {', '.join(BACKENDS)}")
        for name, value, least in (("seed", self.seed, 0), ("threads", self.threads, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ArgumentError(f"`{name}` (={value}) must be a whole number of at least {least}")
        if self.clip_norm is not None and not (isfinite(self.clip_norm) and self.clip_norm > 0):
            raise ArgumentError(f"`clip_norm` (={self.clip_norm}) must be a finite number above 0")
        if self.loss is None and (self.optimizer is not None or self.penalty is not None):
            raise ArgumentError("`optimizer` and `regularizer` need a `loss`")
        if self.loss is not None and self.loss.reduction == "none":
            raise ArgumentError("`loss` has reduction='none': a network is trained on one number, 'mean' or 'sum'")

    @cached_property
    def frozen(self) -> frozenset[str]:
        """The names of the parameters that a pattern of `freeze` matches.

        Raises ArgumentError where a pattern matches none, or where nothing is left to train.
        """
        if not self.freeze:
            return frozenset()
        graph = Graph(self.dtype)
        laid = lay_out(graph, self.topology, (graph.input("x", (DRY_BATCH, *self.input_shape)),), training=False)
        return frozen_names(laid.parameters, self.freeze)


@dataclass(frozen=True)
class Outline:
    """A network laid out once, with a batch of `DRY_BATCH`, to learn its shapes and parameters."""

    graph: Graph
    laid: Laid

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every parameter and running statistic by name."""
        return self.laid.parameters

    @property
    def output_shape(self) -> Shape:
        """The shape of a prediction, without the batch axis."""
        return self.graph.values[self.laid.output].shape[1:]


def outline(blueprint: Blueprint) -> Outline:
    """Lays the network out; raises what a layer says of its input's shape, with the layer named."""
    graph = Graph(blueprint.dtype)
    x = graph.input("x", (DRY_BATCH, *blueprint.input_shape))
    laid = lay_out(graph, blueprint.topology, (x,), training=True, frozen=blueprint.frozen)
    if graph.values[laid.output].shape[:1] != (DRY_BATCH,):
        raise ShapeError(f"the network's output {graph.values[laid.output].shape} does not keep the batch axis")
    return Outline(graph, laid)
