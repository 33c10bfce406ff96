"""Folders of pictures made from the bundled digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pellucid.train import load_digits


def digit_pictures(folder: Path, classes: int = 3, count: int = 20, start: int = 0) -> Path:
    """`folder/CLASS/NUMBER.png` with so many pictures of each of the first classes."""
    digits = load_digits()
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        numbers = np.flatnonzero(digits.train.labels == label)[start : start + count]
        for number in numbers:
            pixels = np.rint(255 * digits.train.images[number][..., 0]).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number}.png")
    return folder
