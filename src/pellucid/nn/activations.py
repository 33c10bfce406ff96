"""Activations as layers (MATHS.md, section 3); their equations are in `equations/activation.py`."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.nn.equations import activation as equations
from pellucid.nn.initialisers import Constant
from pellucid.nn.layer import Parameter, Shape, Stage
from pellucid.nn.symbolic import apply, only

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Maxout",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


@dataclass(frozen=True)
class Identity:
    """`x`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.identity(only("Identity", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class ReLU:
    """`max(x, 0)`, with derivative 0 at 0."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.relu(only("ReLU", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class ReLU6:
    """`min(max(x, 0), 6)`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.relu6(only("ReLU6", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Sigmoid:
    """`1 / (1 + exp(-x))`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.sigmoid(only("Sigmoid", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class LogSigmoid:
    """`log(sigmoid(x))`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.logsigmoid(only("LogSigmoid", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Tanh:
    """`tanh(x)`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.tanh(only("Tanh", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class SELU:
    """The self-normalising ELU of arXiv:1706.02515."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.selu(only("SELU", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Softsign:
    """`x / (1 + |x|)`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.softsign(only("Softsign", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class SiLU:
    """`x * sigmoid(x)`, also called swish."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.silu(only("SiLU", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Hardsigmoid:
    """`min(max(x + 3, 0), 6) / 6`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.hardsigmoid(only("Hardsigmoid", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Hardswish:
    """`x * hardsigmoid(x)`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.hardswish(only("Hardswish", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class Mish:
    """`x * tanh(softplus(x))`."""

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.mish(only("Mish", shapes)))

    __call__ = apply


@dataclass(frozen=True)
class LeakyReLU:
    """`x` above 0, `negative_slope * x` elsewhere."""

    negative_slope: float = 0.01

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.leaky_relu(only("LeakyReLU", shapes), negative_slope=self.negative_slope))

    __call__ = apply


@dataclass(frozen=True)
class ELU:
    """`x` above 0, `alpha * (exp(x) - 1)` elsewhere."""

    alpha: float = 1.0

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.elu(only("ELU", shapes), alpha=self.alpha))

    __call__ = apply


@dataclass(frozen=True)
class Softplus:
    """`log(1 + exp(beta * x)) / beta`."""

    beta: float = 1.0

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.softplus(only("Softplus", shapes), beta=self.beta))

    __call__ = apply


@dataclass(frozen=True)
class GELU:
    """`x` times the normal distribution's cumulative function; `approximate` is "none" or "tanh"."""

    approximate: str = "none"

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.gelu(only("GELU", shapes), approximate=self.approximate))

    __call__ = apply


@dataclass(frozen=True)
class Hardtanh:
    """`min(max(x, min_val), max_val)`: the linear threshold."""

    min_val: float = -1.0
    max_val: float = 1.0

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.hardtanh(only("Hardtanh", shapes), min_val=self.min_val, max_val=self.max_val))

    __call__ = apply


@dataclass(frozen=True)
class Softmax:
    """`exp(x) / sum exp(x)` along `dim`, without overflow."""

    dim: int = -1

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.softmax(only("Softmax", shapes), dim=self.dim))

    __call__ = apply


@dataclass(frozen=True)
class LogSoftmax:
    """`x - log(sum exp(x))` along `dim`, without overflow."""

    dim: int = -1

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.log_softmax(only("LogSoftmax", shapes), dim=self.dim))

    __call__ = apply


@dataclass(frozen=True)
class Maxout:
    """The largest of each `pieces` neighbouring channels."""

    pieces: int

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return Stage(equations.maxout(only("Maxout", shapes), pieces=self.pieces))

    __call__ = apply


@dataclass(frozen=True)
class PReLU:
    """`x` above 0, `weight * x` elsewhere, with a learned slope for each channel, or one for all (`shared`)."""

    shared: bool = False
    initial: float = 0.25

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        x = only("PReLU", shapes)
        slope = Parameter("weight", "a", (1,) if self.shared else (x[-1],), Constant(self.initial))
        return Stage(equations.prelu(x, slope.shape), (slope,))

    __call__ = apply
