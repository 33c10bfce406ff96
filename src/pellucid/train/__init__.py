"""Training: data sets, augmentation, the loop, its history and its reports."""

from pellucid.train.augmentation import AUGMENTATIONS, Augmentation, parse_augmentation
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.images import Images, Normalisation
from pellucid.train.data.load import DATASETS, load, load_digits, load_idx, load_npz
from pellucid.train.history import EpochResult, History
from pellucid.train.log import JsonLinesLog
from pellucid.train.loop import TrainableModel, fit
from pellucid.train.progress import EpochLines, ProgressBar, progress_callback

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Callback",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "History",
    "Images",
    "JsonLinesLog",
    "Normalisation",
    "Part",
    "ProgressBar",
    "RunStart",
    "TrainableModel",
    "fit",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "parse_augmentation",
    "progress_callback",
    "split_part",
]
