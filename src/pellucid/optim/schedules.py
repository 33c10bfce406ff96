"""Learning rates that change from step to step. Steps count from 0."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol, runtime_checkable

from pellucid.errors import ArgumentError
from pellucid.optim.checks import fraction, non_negative, positive, whole

__all__ = ["Constant", "Cosine", "OneCycle", "Schedule", "Step", "Warmup", "rate_at"]


@runtime_checkable
class Schedule(Protocol):
    """Gives the learning rate of each step."""

    def rate(self, step: int) -> float:
        """The rate of step number `step`, from 0."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same rate for ever."""

    lr: float

    def __post_init__(self) -> None:
        positive("lr", self.lr)

    def rate(self, step: int) -> float:
        """`lr`."""
        del step
        return self.lr


@dataclass(frozen=True)
class Step:
    """`lr * factor ** (step // every)`."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        whole("every", self.every, 1)
        positive("factor", self.factor)

    def rate(self, step: int) -> float:
        """The rate of step number `step`."""
        return self.lr * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `lr` at step 0 to `final` at step `steps`, and `final` from there on."""

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        whole("steps", self.steps, 1)
        non_negative("final", self.final)

    def rate(self, step: int) -> float:
        """The rate of step number `step`."""
        return _cosine(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class Warmup:
    """A line from `start * rate` up to the rate of `then` over `steps` steps; `then` counts from where it ends."""

    steps: int
    then: Schedule | float
    start: float = 0.0

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1)
        fraction("start", self.start)
        if not isinstance(self.then, Schedule):
            positive("then", self.then)

    def rate(self, step: int) -> float:
        """The rate of step number `step`; the first step already has a share of `1 / steps` above the start."""
        if step >= self.steps:
            return rate_at(self.then, step - self.steps)
        return rate_at(self.then, 0) * (self.start + (1 - self.start) * (step + 1) / self.steps)


@dataclass(frozen=True)
class OneCycle:
    """Up to `lr` and down again on two half cosines over `steps` steps (Smith, arXiv:1708.07120).

    Starts at `lr / start_divisor`, reaches `lr` after the fraction `rise` of the steps, ends at
    `lr / (start_divisor * end_divisor)`; the numbers are those of `torch.optim.lr_scheduler.OneCycleLR`.
    """

    lr: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        whole("steps", self.steps, 2)
        positive("start_divisor", self.start_divisor)
        positive("end_divisor", self.end_divisor)
        fraction("rise", self.rise)
        if self.rise == 0 or self.rise * self.steps <= 1:
            raise ArgumentError(
                f"`rise` (={self.rise}) of `steps` (={self.steps}) must be over 1 step, is {self.rise * self.steps:g}"
            )

    def rate(self, step: int) -> float:
        """The rate of step number `step`; the last rate for every step beyond `steps`."""
        start = self.lr / self.start_divisor
        top, last = self.rise * self.steps - 1, self.steps - 1
        if step <= top:
            return _cosine(start, self.lr, step / top)
        return _cosine(self.lr, start / self.end_divisor, min((step - top) / (last - top), 1.0))


def rate_at(lr: Schedule | float, step: int) -> float:
    """The rate that a number or a schedule gives for a step."""
    return float(lr) if isinstance(lr, int | float) else lr.rate(step)


def _cosine(start: float, end: float, fraction_done: float) -> float:
    return end + (start - end) * (1 + cos(pi * fraction_done)) / 2
