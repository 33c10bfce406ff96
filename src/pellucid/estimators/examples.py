"""What an estimator is given, checked and in one form: images, targets and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from pellucid.errors import ArgumentError, ShapeError

__all__ = ["Examples", "Form", "checked_form", "checked_weights"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """The form of one input: (height, width, channels), or for vectors (1, 1, features)."""

    shape: tuple[int, int, int]
    vectors: bool

    @property
    def features(self) -> int:
        """How many numbers an input has."""
        return prod(self.shape)

    def __str__(self) -> str:
        return f"vectors of {self.features}" if self.vectors else f"images {self.shape}"


@dataclass(frozen=True, eq=False)
class Examples:
    """Images (rows, height, width, channels) of any type, targets (rows, columns) and weights (rows,), all above 0."""

    images: Array
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, rows: NDArray[np.intp]) -> Examples:
        """Those rows."""
        return Examples(self.images[rows], self.targets[rows], self.weights[rows])

    def counted(self) -> Examples:
        """Without the rows of weight 0, the weights brought near 1 by a power of two, which changes no digit of them.

        Raises:
            ArgumentError: every weight is 0.
        """
        if not self.weights.any():
            raise ArgumentError("every weight is zero: there is nothing to learn from")
        kept = self if self.weights.all() else self.take(np.flatnonzero(self.weights))
        return replace(kept, weights=np.ldexp(kept.weights, -int(np.frexp(kept.weights.max())[1])))


def checked_form(X: Array, image_shape: object) -> Form:
    """The form of the rows of `X`, (rows, features), (rows, height, width) or (rows, height, width, channels).

    Raises:
        ArgumentError: `image_shape` is not two or three whole numbers above 0.
        ShapeError: `X` has another rank, or does not fit `image_shape`.
    """
    shape = _image_shape(image_shape)
    if X.ndim == 2:
        features = X.shape[1]
        if shape is None:
            return Form((1, 1, features), vectors=True)
        if prod(shape) != features:
            raise ShapeError(f"`image_shape` {shape} has {prod(shape)} numbers an image, `X` {X.shape} has {features}")
        return Form(shape, vectors=False)
    if X.ndim not in (3, 4):
        raise ShapeError(
            f"`X` {X.shape} must be vectors (samples, features), or images (samples, height, width) or "
            "(samples, height, width, channels)"
        )
    height, width, channels = (*X.shape[1:], 1)[:3]
    if 0 in X.shape:
        raise ShapeError(f"`X` {X.shape} has images without pixels")
    if shape is not None and shape != (height, width, channels):
        raise ShapeError(f"`X` has images {(height, width, channels)}, `image_shape` is {shape}")
    return Form((height, width, channels), vectors=False)


def checked_weights(sample_weight: object, rows: int) -> NDArray[np.float64]:
    """`sample_weight` (rows,) as float64; ones for None. ValueError where it is none, and ShapeError."""
    if sample_weight is None:
        return np.ones(rows)
    weights = np.asarray(
        check_array(sample_weight, ensure_2d=False, ensure_non_negative=True, input_name="sample_weight"), np.float64
    )
    if weights.shape != (rows,):
        raise ShapeError(f"`sample_weight` has shape {weights.shape}; `X` has {rows} samples")
    return weights


def _image_shape(image_shape: object) -> tuple[int, int, int] | None:
    if image_shape is None:
        return None
    try:
        extents = tuple(index(extent) for extent in image_shape)  # type: ignore[attr-defined]
    except TypeError:
        extents = ()
    if len(extents) not in (2, 3) or min(extents) < 1:
        raise ArgumentError(f"`image_shape` (={image_shape!r}) must be (height, width) or (height, width, channels)")
    height, width, channels = (*extents, 1)[:3]
    return height, width, channels
