"""Training: data sets, augmentation, the loop, its history and its reports."""

from pellucid.train.augmentation import AUGMENTATIONS, Augmentation, parse_augmentation
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.images import Images, Normalisation
from pellucid.train.data.load import DATASETS, load, load_digits, load_idx, load_npz
from pellucid.train.history import EpochResult, History
from pellucid.train.loggers import CsvLogger, JsonLinesLogger, Logger, TensorBoardLogger
from pellucid.train.fit import fit, resume
from pellucid.train.loop import TrainableModel
from pellucid.train.progress import EpochLines, ProgressBar, progress_callback

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Callback",
    "CsvLogger",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "History",
    "Images",
    "JsonLinesLogger",
    "Logger",
    "Normalisation",
    "Part",
    "ProgressBar",
    "RunStart",
    "TensorBoardLogger",
    "TrainableModel",
    "fit",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "parse_augmentation",
    "progress_callback",
    "resume",
    "split_part",
]
