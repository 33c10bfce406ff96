"""The amounts of all random changes, and their application to a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.train.augmentation import colour, erasing, geometry
from pellucid.train.augmentation.draws import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Augmentation"]

_MOST_PIXELS = 100_000
_PIXELS = (0.0, float(_MOST_PIXELS), f"in 0..{_MOST_PIXELS} pixels")
_SHARE = (0.0, 1.0, "in 0..1")

_RULES = {
    "shift": _PIXELS,
    "rotation": (0.0, 180.0, "in 0..180 degrees"),
    "scale": (0.0, 0.9, "in 0..0.9"),
    "shear": (0.0, 10.0, "in 0..10"),
    "distortion": _PIXELS,
    "resized_crop": (0.0, 0.99, "in 0..0.99"),
    "brightness": _SHARE,
    "contrast": _SHARE,
    "saturation": _SHARE,
    "hue": (0.0, 180.0, "in 0..180 degrees"),
    "erasing": _SHARE,
    "erasing_least": _SHARE,
    "erasing_most": _SHARE,
    "mixup": (0.0, 100.0, "in 0..100"),
}


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images; each amount is what a change may come to, and 0 or False is none of it.

    In the order in which they are made:

    - `resized_crop`: a window is cut out and stretched to the whole; up to this share of the area is cut away. The
      window's height and width are to each other as the image's, up to a factor of 4/3.
    - `distortion`: parts of the image move apart from each other by up to so many pixels, drawn at 4x4 points and
      smooth between them.
    - `shear`: pixels to the side for each pixel down; `scale`: enlarged by `1 + scale` or less; `rotation`: degrees;
      `shift`: pixels along each axis. Each is drawn uniformly from both signs.
    - `crop`: whole pixels along each axis by which a window as large as the image is moved; nothing is blurred.
    - `flip`, `flip_vertical`: left and right, up and down exchanged in half of the images.
    - `edge`: cells that come from outside the image are as the nearest one inside; else they are 0.
    - `brightness`, `contrast`, `saturation`: a factor of `1 - amount` to `1 + amount`, of the image, of its distance to
      its mean grey, of its distance to each cell's grey; `hue`: degrees by which colours turn around grey. Images that
      have not 3 channels have no saturation and no hue.
    - `erasing`: the probability that a rectangle is painted over with one random colour. Its share of the area lies in
      `erasing_least..erasing_most`, height to width are drawn in 0.3..3.3 times those of the image (Zhong, Zheng, Kang,
      Li, Yang 2020).
    - `mixup`: the image is mixed with another one, and so are the targets; the shares are drawn from the
      distribution Beta(mixup, mixup) (Zhang, Cisse, Dauphin, Lopez-Paz 2018). See `pairs`.

    All fields are plain numbers and truth values, which JSON and TOML keep as they are.

    Raises:
        ArgumentError: an amount is not a number inside its range, or not a truth value where one is asked for.
    """

    resized_crop: float = 0.0
    distortion: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0
    crop: int = 0
    flip: bool = False
    flip_vertical: bool = False
    edge: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    erasing_least: float = 0.02
    erasing_most: float = 0.33
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise ArgumentError(f"`{name}` (={value!r}) must be true or false")
            elif field.type == "int":
                if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_PIXELS:
                    raise ArgumentError(f"`{name}` (={value!r}) must be a whole number, in 0..{_MOST_PIXELS} pixels")
            else:
                object.__setattr__(self, name, _amount(name, value))
        if self.erasing_least > self.erasing_most:
            raise ArgumentError(
                f"`erasing_least` (={self.erasing_least}) must be at most `erasing_most` (={self.erasing_most})"
            )

    def text(self) -> str:
        """The amounts as `parse_augmentation` reads them: "rotation=10.0,flip=true", or "none"."""
        plain = Augmentation()
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = [f"{name}={str(value).lower()}" for name, value in found.items() if value != getattr(plain, name)]
        return ",".join(changed) or "none"

    @property
    def active(self) -> bool:
        """Whether any image is changed."""
        return geometry.active(self) or colour.active(self) or bool(self.erasing or self.mixup)

    def __call__(
        self,
        images: NDArray[np.float32],
        numbers: NDArray[np.int64],
        *,
        seed: int,
        epoch: int,
    ) -> NDArray[np.float32]:
        """Changed copies of `images`, mixup aside; `images` itself where there is nothing to change.

        Args:
            images: (batch, height, width, channels), float32 in 0..1, before normalisation; the result is in 0..1 too.
            numbers: (batch,), the place of each image in its data set.
            seed: the seed of the run.
            epoch: the number of the epoch.
        """
        if not len(images) or not (geometry.active(self) or colour.active(self) or self.erasing):
            return images
        draws, result = Draws(seed, epoch, numbers), np.empty(images.shape, np.float32)
        geometry.change(self, images, draws, result)
        colour.change(self, result, draws)
        erasing.change(self, result, draws)
        return result


def _amount(name: str, value: Any) -> float:
    """`value` as a float, if it is a number inside the rule of `name`."""
    least, most, rule = _RULES[name]
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and least <= value <= most):
        raise ArgumentError(f"`{name}` (={value!r}) must be a finite number, {rule}")
    return float(value)
