"""Training: data sets, augmentation, the loop, its history and its reports."""

from pellucid.train.augmentation import Augmentation
from pellucid.train.data import DATASETS, load, load_digits, load_idx, load_npz
from pellucid.train.dataset import Dataset, Normalisation, Part, split_part
from pellucid.train.history import EpochResult, History
from pellucid.train.log import JsonLinesLog
from pellucid.train.loop import TrainableModel, fit
from pellucid.train.observer import Observer, RunStart
from pellucid.train.progress import EpochLines, ProgressBar, progress_observer

__all__ = [
    "DATASETS",
    "Augmentation",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "History",
    "JsonLinesLog",
    "Normalisation",
    "Observer",
    "Part",
    "ProgressBar",
    "RunStart",
    "TrainableModel",
    "fit",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "progress_observer",
    "split_part",
]
