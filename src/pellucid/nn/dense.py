"""The fully connected layer and flattening (MATHS.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from pellucid.errors import ArgumentError
from pellucid.nn.equations.dense import linear
from pellucid.nn.equations.shape import flatten
from pellucid.nn.equations.window import integer
from pellucid.nn.initialisers import Constant, Initialiser, initialiser
from pellucid.nn.layer import Parameter, Reshape, Shape, Stage
from pellucid.nn.symbolic import apply, only

__all__ = ["Flatten", "Linear"]


@dataclass(frozen=True)
class Linear:
    """`features` sums over the last axis. Parameters: `weight`, shape (features in, features), and `bias`."""

    features: int
    bias: bool = True
    weight: str | Initialiser = "he_uniform"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("Linear", shapes)
        if len(x) < 2:
            raise ArgumentError(f"Linear takes (batch, ..., features); its input has shape {x}")
        w = (x[-1], integer("features", self.features, 1))
        weight = Parameter("weight", "w", w, initialiser(self.weight), fan_in=w[0], fan_out=w[1], decayed=True)
        bias = Parameter("bias", "b", w[1:], Constant(0.0))
        parameters = (weight, bias) if self.bias else (weight,)
        return Stage(linear(x, *(parameter.shape for parameter in parameters)), parameters)

    __call__ = apply


@dataclass(frozen=True)
class Flatten:
    """(batch, a, b, ...) as (batch, a*b*...), in row-major order; of the axes from `start_dim` on. The same memory."""

    start_dim: int = 1

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("Flatten", shapes)
        start = integer("start_dim", self.start_dim, 1)
        if start > len(x) - 1:
            raise ArgumentError(f"`start_dim` (={start}) of Flatten must be below {len(x)}, the axes of its input {x}")
        return Stage(Reshape((*x[:start], prod(x[start:])), flatten(x, start_dim=start)))

    __call__ = apply
