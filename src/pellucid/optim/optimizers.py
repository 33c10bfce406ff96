"""Optimisers as equations (MATHS.md, section 7): the update of one parameter, seen as a flat array.

Each reads `p` (the parameter), `g` (its gradient), its moments and scalars that change from step to step, and gives
`p1` and a new value for each moment, called like the moment with a 1 behind. The formulas are those of
`torch.optim` under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pellucid.errors import ArgumentError
from pellucid.language.parse import parse
from pellucid.language.system import System
from pellucid.optim.checks import fraction, non_negative, positive
from pellucid.optim.schedules import Schedule

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]


class Optimizer(Protocol):
    """The equations of an update, and the scalars that go into them."""

    @property
    def lr(self) -> Schedule | float:
        """The learning rate, or what gives it for each step."""
        ...

    @property
    def moments(self) -> Mapping[str, float]:
        """The names of the arrays kept beside each parameter, with the number that they start from."""
        ...

    def system(self) -> System:
        """The equations; the result is `p1`."""
        ...

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """The scalar inputs of the equations in step number `step` (from 0) at the rate `lr`."""
        ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent; with `momentum`, along a decaying sum of the gradients, `nesterov` looking one step ahead.

    `weight_decay` adds `weight_decay * p` to the gradient.
    """

    lr: Schedule | float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        fraction("momentum", self.momentum)
        non_negative("weight_decay", self.weight_decay)
        if self.nesterov and self.momentum == 0:
            raise ArgumentError("`nesterov` needs `momentum` (=0.0) above 0")

    @property
    def moments(self) -> Mapping[str, float]:
        """`v`, the velocity, where there is momentum."""
        return {"v": 0.0} if self.momentum else {}

    def system(self) -> System:
        """The equations of the update."""
        gradient = _decayed(self.weight_decay)
        constants = {"mu": self.momentum, "decay": self.weight_decay}
        if not self.momentum:
            return _system(constants, f"p1[i] = p[i] - lr * {gradient}")
        direction = f"({gradient} + mu * v1[i])" if self.nesterov else "v1[i]"
        return _system(constants, f"v1[i] = mu * v[i] + {gradient}", f"p1[i] = p[i] - lr * {direction}")

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """`lr`."""
        del step
        return {"lr": lr}


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba, arXiv:1412.6980. `weight_decay` adds `weight_decay * p` to the gradient."""

    lr: Schedule | float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_adam(self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)

    @property
    def moments(self) -> Mapping[str, float]:
        """`m` and `v`, decaying means of the gradient and of its square."""
        return {"m": 0.0, "v": 0.0}

    def system(self) -> System:
        """The equations of the update."""
        return _adam_system(self, "p[i]", _decayed(self.weight_decay))

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """`rate` and `spread`: the rate, and the root's factor, without the bias of means that start at 0."""
        return _adam_scalars(step, lr, self.beta1, self.beta2)


@dataclass(frozen=True)
class AdamW:
    """Adam with the decay taken from the parameter itself: Loshchilov and Hutter, arXiv:1711.05101."""

    lr: Schedule | float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check_adam(self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)

    @property
    def moments(self) -> Mapping[str, float]:
        """`m` and `v`, decaying means of the gradient and of its square."""
        return {"m": 0.0, "v": 0.0}

    def system(self) -> System:
        """The equations of the update."""
        return _adam_system(self, "p[i] * keep", "g[i]")

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """Those of Adam, and `keep`, what decay leaves of the parameter."""
        return {**_adam_scalars(step, lr, self.beta1, self.beta2), "keep": 1 - lr * self.weight_decay}


@dataclass(frozen=True)
class RMSprop:
    """Steps divided by the root of a decaying mean of squared gradients; `centered` takes their mean off first."""

    lr: Schedule | float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        fraction("alpha", self.alpha)
        positive("eps", self.eps)
        non_negative("weight_decay", self.weight_decay)
        fraction("momentum", self.momentum)

    @property
    def moments(self) -> Mapping[str, float]:
        """`s`, the mean square; `a`, the mean, where centred; `v`, the velocity, where there is momentum."""
        return {"s": 0.0, **({"a": 0.0} if self.centered else {}), **({"v": 0.0} if self.momentum else {})}

    def system(self) -> System:
        """The equations of the update."""
        gradient = _decayed(self.weight_decay)
        texts = [f"s1[i] = alpha * s[i] + (1 - alpha) * {gradient} ** 2"]
        spread = "s1[i]"
        if self.centered:
            texts.append(f"a1[i] = alpha * a[i] + (1 - alpha) * {gradient}")
            spread = "s1[i] - a1[i] ** 2"
        direction = f"{gradient} / (sqrt({spread}) + eps)"
        if self.momentum:
            texts.append(f"v1[i] = mu * v[i] + {direction}")
            direction = "v1[i]"
        texts.append(f"p1[i] = p[i] - lr * {direction}")
        constants = {"alpha": self.alpha, "eps": self.eps, "mu": self.momentum, "decay": self.weight_decay}
        return _system(constants, *texts)

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """`lr`."""
        del step
        return {"lr": lr}


@dataclass(frozen=True)
class Adagrad:
    """Steps divided by the root of the sum of all squared gradients so far (Duchi, Hazan and Singer, 2011)."""

    lr: Schedule | float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_sum: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        non_negative("lr_decay", self.lr_decay)
        non_negative("weight_decay", self.weight_decay)
        non_negative("initial_sum", self.initial_sum)
        positive("eps", self.eps)

    @property
    def moments(self) -> Mapping[str, float]:
        """`s`, the sum of squares."""
        return {"s": self.initial_sum}

    def system(self) -> System:
        """The equations of the update."""
        gradient = _decayed(self.weight_decay)
        constants = {"eps": self.eps, "decay": self.weight_decay}
        return _system(
            constants, f"s1[i] = s[i] + {gradient} ** 2", f"p1[i] = p[i] - lr * {gradient} / (sqrt(s1[i]) + eps)"
        )

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """`lr`, shrunk by `lr_decay`."""
        return {"lr": lr / (1 + step * self.lr_decay)}


def _check_rate(lr: Schedule | float) -> None:
    if not isinstance(lr, Schedule):
        positive("lr", lr)


def _check_adam(lr: Schedule | float, beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
    _check_rate(lr)
    fraction("beta1", beta1)
    fraction("beta2", beta2)
    positive("eps", eps)
    non_negative("weight_decay", weight_decay)


def _decayed(weight_decay: float) -> str:
    """The gradient as the equations write it, with the decay where there is one."""
    return "(g[i] + decay * p[i])" if weight_decay else "g[i]"


def _adam_system(optimizer: Adam | AdamW, kept: str, gradient: str) -> System:
    return _system(
        {
            "beta1": optimizer.beta1,
            "beta2": optimizer.beta2,
            "eps": optimizer.eps,
            "decay": optimizer.weight_decay,
        },
        f"m1[i] = beta1 * m[i] + (1 - beta1) * {gradient}",
        f"v1[i] = beta2 * v[i] + (1 - beta2) * {gradient} ** 2",
        f"p1[i] = {kept} - rate * m1[i] / (sqrt(v1[i]) * spread + eps)",
    )


def _adam_scalars(step: int, lr: float, beta1: float, beta2: float) -> dict[str, float]:
    return {"rate": lr / (1 - beta1 ** (step + 1)), "spread": (1 - beta2 ** (step + 1)) ** -0.5}


def _system(constants: Mapping[str, float], *texts: str) -> System:
    """The equations with those of the constants that one of them names."""
    used = {name: value for name, value in constants.items() if any(name in text for text in texts)}
    return System(tuple(parse(text) for text in texts), "p1", used)
