"""Networks with branches: symbols stand for the values between layers, and layers are called on them.

x = Input((32, 32, 3));  h = Conv2d(64, 3)(x);  y = ReLU()(h) + h;  net = Graph(x, y)
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.equations.shape import add, concatenate
from pellucid.nn.layer import Block, Shape, Stage

__all__ = ["Add", "Concat", "Input", "Symbol", "apply", "only"]


@dataclass(frozen=True, eq=False)
class Symbol:
    """What `layer` makes of `inputs`; without a layer, the network's input of `shape` (no batch axis; () is open)."""

    layer: Block | None
    inputs: tuple[Symbol, ...] = ()
    shape: Shape = ()

    def __add__(self, other: Symbol) -> Symbol:
        return apply(Add(), self, other)


def Input(shape: Shape | None = None) -> Symbol:
    """The input of a `Graph`, of this shape without the batch axis; ShapeError for an extent below 1.

    Without a shape it is left to `build`.
    """
    if shape is None:
        return Symbol(None)
    if not shape or any(not isinstance(extent, int) or extent < 1 for extent in shape):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"`shape` (={shape}) must be a tuple of whole numbers of at least 1")
    return Symbol(None, (), tuple(shape))


def apply(layer: Block, *inputs: Symbol) -> Symbol:
    """`layer(input, ...)`: the symbol of the layer's result. Each application has parameters of its own."""
    wrong = next((entry for entry in inputs if not isinstance(entry, Symbol)), None)  # pyright: ignore[reportUnnecessaryIsInstance]
    if wrong is not None:
        message = f"a layer is applied to symbols (see `Input`), not to {type(wrong).__name__}"
        raise ArgumentError(f"{message}; a built model takes arrays: net.build(...).predict(x)")
    if not inputs:
        raise ArgumentError("a layer is applied to at least 1 symbol")
    return Symbol(layer, inputs)


def only(layer: str, shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input of a layer; ArgumentError where there are several."""
    if len(shapes) != 1:
        raise ArgumentError(f"{layer} takes 1 input, not {len(shapes)}")
    return shapes[0]


@dataclass(frozen=True)
class Add:
    """The sum of two inputs of one shape; `a + b` on symbols."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        if len(shapes) != 2:
            raise ArgumentError(f"Add takes 2 inputs, not {len(shapes)}")
        return Stage(add(*shapes), sources=("x", "y"))

    __call__ = apply


@dataclass(frozen=True)
class Concat:
    """Its inputs one behind the other along axis `dim` (batch counts as axis 0; channels by default)."""

    dim: int = -1

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        if self.dim % len(shapes[0]) == 0:
            raise ArgumentError(f"`dim` (={self.dim}) of Concat must not be the batch axis")
        return Stage(concatenate(shapes, dim=self.dim), sources=tuple(f"x{number}" for number in range(len(shapes))))

    __call__ = apply
