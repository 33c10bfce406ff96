"""How parameters start (MATHS.md, section 7).

`fan_in` is the number of products that one output sums, `fan_out` the number of outputs that one input goes into.
The default for weights is He's: with ReLU behind every layer a variance of `2 / fan_in` keeps the size of activations
from layer to layer, where `1 / fan_in` halves their variance each time. Its uniform form is taken because no weight
then starts far out. Biases start at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, sqrt
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError

__all__ = [
    "INITIALISERS",
    "Constant",
    "ForgetGate",
    "Initialiser",
    "Normal",
    "Orthogonal",
    "Scaled",
    "Uniform",
    "initialiser",
]

Array: TypeAlias = NDArray[Any]


@runtime_checkable
class Initialiser(Protocol):
    """Draws the first values of a parameter."""

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """A float64 array of `shape`."""
        ...


def _finite(name: str, value: float) -> None:
    if not isfinite(value):
        raise ArgumentError(f"`{name}` (={value}) must be finite")


@dataclass(frozen=True)
class Constant:
    """Every element `value`."""

    value: float

    def __post_init__(self) -> None:
        _finite("value", self.value)

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        del fan_in, fan_out, random
        return np.full(shape, self.value, np.float64)


@dataclass(frozen=True)
class Uniform:
    """Uniform in `low .. high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _finite("low", self.low)
        _finite("high", self.high)
        if self.low >= self.high:
            raise ArgumentError(f"`low` (={self.low}) must be below `high` (={self.high})")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        del fan_in, fan_out
        return random.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0."""

    deviation: float

    def __post_init__(self) -> None:
        _finite("deviation", self.deviation)
        if self.deviation <= 0:
            raise ArgumentError(f"`deviation` (={self.deviation}) must be above 0")

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        del fan_in, fan_out
        return random.normal(0.0, self.deviation, shape)


@dataclass(frozen=True)
class Scaled:
    """Variance `gain / fan`, with `fan` = `fan_in`, or its mean with `fan_out` where `both`; normal or uniform."""

    gain: float
    both: bool = False
    normal: bool = False

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        deviation = sqrt(self.gain / ((fan_in + fan_out) / 2 if self.both else fan_in))
        if self.normal:
            return random.normal(0.0, deviation, shape)
        bound = deviation * sqrt(3.0)
        return random.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal:
    """Rows (or columns, where there are fewer) of length 1 at right angles, the axes behind the first taken as one: a
    product with it keeps the length of a state (Saxe et al., 2014)."""

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        del fan_in, fan_out
        rows, columns = shape[0], int(np.prod(shape[1:]))
        drawn = random.normal(0.0, 1.0, (max(rows, columns), min(rows, columns)))
        turned, triangle = np.linalg.qr(drawn)
        # With the diagonal above 0 every such matrix is as likely as any other.
        turned = turned * np.where(np.diagonal(triangle) < 0, -1.0, 1.0)
        return np.ascontiguousarray(turned if rows >= columns else turned.T).reshape(shape)


@dataclass(frozen=True)
class ForgetGate:
    """0 for every gate of an LSTM but the second, which forgets and begins with `value` (Jozefowicz et al., 2015)."""

    value: float

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        """See `Initialiser`."""
        del fan_in, fan_out, random
        result = np.zeros(shape)
        result[1] = self.value
        return result


INITIALISERS: Mapping[str, Initialiser] = MappingProxyType(
    {
        "glorot_uniform": Scaled(1.0, both=True),
        "glorot_normal": Scaled(1.0, both=True, normal=True),
        "he_uniform": Scaled(2.0),
        "he_normal": Scaled(2.0, normal=True),
        "lecun_uniform": Scaled(1.0),
        "lecun_normal": Scaled(1.0, normal=True),
        "orthogonal": Orthogonal(),
        "zeros": Constant(0.0),
        "ones": Constant(1.0),
    }
)


def initialiser(choice: str | Initialiser) -> Initialiser:
    """The initialiser of that name, or the one given; ArgumentError for an unknown name."""
    if not isinstance(choice, str):
        return choice
    if choice not in INITIALISERS:
        near = get_close_matches(choice, INITIALISERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(INITIALISERS)}"
        raise ArgumentError(f"no initialiser is called {choice!r}{hint}")
    return INITIALISERS[choice]
