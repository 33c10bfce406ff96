"""Small images whose class, and whose number, can be seen."""

import numpy as np


def images(count: int = 40, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(count, 6, 6, 2) float32 images, of which column `2 * label` is bright, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    made = random.random((count, 6, 6, 2)) * 0.5
    made[np.arange(count), :, 2 * labels] += 1
    return made.astype(np.float32), labels


def vectors(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, 4) float64 vectors of unequal scales, and a number that follows from them with a little noise."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(count, 4)) * [1, 10, 100, 0.1] + [0, 5, -300, 1]
    scaled = (made - [0, 5, -300, 1]) / [1, 10, 100, 0.1]
    return made, 50 + 8 * scaled @ [1, -2, 0.5, 1] + random.normal(size=count)
