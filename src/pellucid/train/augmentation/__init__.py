"""Random changes to training images, drawn for each image from its own numbers.

The numbers of an image depend on the seed, the epoch and the image's place in the data set, and on nothing else: not on
the batch that it falls into, nor on how many threads prepare images.
"""

from pellucid.train.augmentation.amounts import Augmentation
from pellucid.train.augmentation.draws import uniform_numbers
from pellucid.train.augmentation.mixup import Pairs, mixed_images, mixed_targets, pairs
from pellucid.train.augmentation.presets import AUGMENTATIONS, parse_augmentation

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Pairs",
    "mixed_images",
    "mixed_targets",
    "pairs",
    "parse_augmentation",
    "uniform_numbers",
]
