"""Normalisation and dropout: batch norm (training and inference), layer norm, local response norm.

Statistics are taken in two passes, mean first, so that no digits are lost where the mean is large; the variance
divides by the number of values (the running variance by one less, as `torch.nn.functional.batch_norm` has it). No
gradient passes the mean inside the variance: it is a sum of deviations from the mean, which is 0.
Each function takes the shapes of its tensors and the attributes, and gives a `System`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, check_layout, check_shape, elementwise_axes, system
from pellucid.nn.equations.window import integer

__all__ = [
    "batch_norm",
    "batch_norm_inference",
    "dropout",
    "layer_norm",
    "local_response_norm",
    "running_mean",
    "running_variance",
]


def batch_norm(
    x: Shape, w: Shape | None = None, b: Shape | None = None, *, eps: float = 1e-5, layout: str = "NHWC"
) -> System:
    """Each channel to mean 0 and variance 1 over the batch and all positions, times `w[c]`, plus `b[c]`.

    The system's `mean` and `variance` are those of the batch.
    """
    axes, count, channels = _channels(x, layout)
    _check_affine(w, b, (channels,))
    statistics = _statistics(axes)
    result = _normalised(axes, "c", w, b)
    return system(*statistics, *result, constants={"N": count, "E": _epsilon(eps)})


def batch_norm_inference(
    x: Shape,
    mean: Shape,
    variance: Shape,
    w: Shape | None = None,
    b: Shape | None = None,
    *,
    eps: float = 1e-5,
    layout: str = "NHWC",
) -> System:
    """The same with a given `mean[c]` and `variance[c]`, usually the running ones of training."""
    axes, _, channels = _channels(x, layout, least=1)
    check_shape("running_mean", mean, (channels,))
    check_shape("running_var", variance, (channels,))
    _check_affine(w, b, (channels,))
    return system(*_normalised(axes, "c", w, b), constants={"E": _epsilon(eps)})


def running_mean(x: Shape, running: Shape, *, momentum: float = 0.1, layout: str = "NHWC") -> System:
    """`running` moved towards the mean of the batch by the fraction `momentum`."""
    axes, count, channels = _channels(x, layout)
    check_shape("running_mean", running, (channels,))
    mean, _ = _statistics(axes)
    text = "z[c] = (1 - M)*running[c] + M*mean[c]"
    return system(mean, text, constants={"N": count, "M": _fraction("momentum", momentum)})


def running_variance(x: Shape, running: Shape, *, momentum: float = 0.1, layout: str = "NHWC") -> System:
    """`running` moved towards the unbiased variance of the batch (divided by N - 1) by the fraction `momentum`."""
    axes, count, channels = _channels(x, layout)
    check_shape("running_var", running, (channels,))
    text = "z[c] = (1 - M)*running[c] + M*(N/(N - 1))*variance[c]"
    return system(*_statistics(axes), text, constants={"N": count, "M": _fraction("momentum", momentum)})


def layer_norm(
    x: Shape,
    w: Shape | None = None,
    b: Shape | None = None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float = 1e-5,
) -> System:
    """Mean 0 and variance 1 over the last axes, whose extents are `normalized_shape`, times `w`, plus `b`."""
    normalized = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    if not normalized or x[-len(normalized) :] != normalized:
        raise ShapeError(f"`x` {x} must end with `normalized_shape` {normalized}")
    if 0 in x:
        raise ShapeError(f"`x` {x} is empty")
    _check_affine(w, b, normalized)
    axes = elementwise_axes(len(x))
    outer, inner = axes[: -len(normalized)], axes[-len(normalized) :]
    cells, rows, over = ",".join(axes), f"[{','.join(outer)}]" if outer else "", ",".join(inner)
    scale = f"*w[{over}]" if w is not None else ""
    shift = f" + b[{over}]" if b is not None else ""
    return system(
        f"mean{rows} = (sum({over}) x[{cells}]) / N",
        f"variance{rows} = (sum({over}) (x[{cells}] - stop(mean{rows}))**2) / N",
        f"scale{rows} = 1 / sqrt(variance{rows} + E)",
        f"z[{cells}] = (x[{cells}] - mean{rows})*scale{rows}{scale}{shift}",
        constants={"N": math.prod(normalized), "E": _epsilon(eps)},
    )


def local_response_norm(
    x: Shape,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    before: int | None = None,
    layout: str = "NHWC",
) -> System:
    """`x / (k + alpha/size * sum of x**2 over size neighbouring channels) ** beta`; channels outside count as 0.

    `before` of the neighbours lie before the channel itself: half of them unless given.
    """
    size = integer("size", size, 1)
    before = size // 2 if before is None else integer("before", before, 0)
    if len(x) < 3:
        raise ShapeError(f"`x` {x} must have at least 3 dimensions, has {len(x)}")
    axes, _, channels = _channels(x, layout, least=1)
    cells = ",".join(axes)
    near = ",".join("c+s-P" if axis == "c" else axis for axis in axes)
    return system(
        f"power[{cells}] = K + A*(sum(s) x[{near}]**2)",
        f"z[{cells}] = x[{cells}]*power[{cells}]**B",
        constants={"P": before, "A": float(alpha) / size, "B": -float(beta), "K": float(k)},
        extents={"s": size, "c": channels},
    )


def dropout(x: Shape, m: Shape, *, p: float = 0.5) -> System:
    """`x * m / (1 - p)` with a mask `m` of ones and zeros of the shape of `x`, drawn by the caller."""
    check_shape("mask", m, x)
    p = _fraction("p", p)
    if 0 in x:
        raise ShapeError(f"`x` {x} is empty")
    cells = ",".join(elementwise_axes(len(x)))
    # With p = 1 the mask is all zeros, and so is the result, whatever it is scaled by.
    scale = 1 / (1 - p) if p < 1 else 1.0
    return system(f"z[{cells}] = x[{cells}]*m[{cells}]*Q", constants={"Q": scale})


def _channels(x: Shape, layout: str, least: int = 2) -> tuple[list[str], int, int]:
    """Names of the axes with `c` at the channels, values for each channel, and the number of channels."""
    check_layout(layout)
    if len(x) < 2:
        raise ShapeError(f"`x` {x} must have at least 2 dimensions, has {len(x)}")
    if 0 in x:
        raise ShapeError(f"`x` {x} is empty")
    place = len(x) - 1 if layout == "NHWC" else 1
    count = math.prod(x) // x[place]
    if count < least:
        raise ShapeError(f"`x` {x} must have more than 1 value for each channel in training, has {count}")
    return elementwise_axes(len(x), place), count, x[place]


def _statistics(axes: list[str]) -> tuple[str, str]:
    cells, over = ",".join(axes), ",".join(axis for axis in axes if axis != "c")
    return (
        f"mean[c] = (sum({over}) x[{cells}]) / N",
        f"variance[c] = (sum({over}) (x[{cells}] - stop(mean[c]))**2) / N",
    )


def _normalised(axes: list[str], c: str, w: Shape | None, b: Shape | None) -> tuple[str, str]:
    cells = ",".join(axes)
    scale = f"w[{c}] / sqrt" if w is not None else "1 / sqrt"
    shift = f" + b[{c}]" if b is not None else ""
    return (
        f"scale[{c}] = {scale}(variance[{c}] + E)",
        f"z[{cells}] = (x[{cells}] - mean[{c}])*scale[{c}]{shift}",
    )


def _check_affine(w: Shape | None, b: Shape | None, expected: Shape) -> None:
    check_shape("weight", w, expected)
    check_shape("bias", b, expected)


def _epsilon(eps: float) -> float:
    value = float(eps)
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentError(f"`eps` (={eps}) must be at least 0 and finite")
    return value


def _fraction(name: str, value: float) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ArgumentError(f"`{name}` (={value}) must be from 0 to 1")
    return number
