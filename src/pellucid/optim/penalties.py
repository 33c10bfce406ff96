"""Penalties on the size of weights, added to the loss (MATHS.md, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pellucid.language.parse import parse
from pellucid.language.system import System
from pellucid.optim.checks import positive

__all__ = ["L1", "L2", "Penalty"]


class Penalty(Protocol):
    """A scalar made from one parameter, seen as a flat array `p`."""

    def system(self) -> System:
        """The equations; the result is the scalar `r`."""
        ...


@dataclass(frozen=True)
class L2:
    """`strength * sum p^2` of every weight; biases and the parameters of norms are left alone."""

    strength: float

    def __post_init__(self) -> None:
        positive("strength", self.strength)

    def system(self) -> System:
        """The scalar that one parameter adds to the loss."""
        return System((parse("r = strength * (sum(i) p[i] ** 2)"),), "r", {"strength": self.strength})


@dataclass(frozen=True)
class L1:
    """`strength * sum |p|` of every weight; biases and the parameters of norms are left alone."""

    strength: float

    def __post_init__(self) -> None:
        positive("strength", self.strength)

    def system(self) -> System:
        """The scalar that one parameter adds to the loss."""
        return System((parse("r = strength * (sum(i) abs(p[i]))"),), "r", {"strength": self.strength})
