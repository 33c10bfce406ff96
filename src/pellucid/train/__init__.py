"""Training: data sets, augmentation, the loop, its history, run folders and reports."""

from pellucid.train.augmentation import AUGMENTATIONS, Augmentation, parse_augmentation
from pellucid.train.callback import Callback, RunStart
from pellucid.train.classifier import Classifier, Prediction, load_classifier
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.folder import list_pictures
from pellucid.train.data.images import Images, Normalisation
from pellucid.train.data.load import DATASETS, LoadedPart, load, load_digits, load_idx, load_npz, load_part
from pellucid.train.data.split import Row, Split
from pellucid.train.fit import fit, resume
from pellucid.train.history import EpochResult, History
from pellucid.train.loggers import CsvLogger, JsonLinesLogger, Logger, TensorBoardLogger
from pellucid.train.loop import TrainableModel
from pellucid.train.metrics import Evaluation
from pellucid.train.progress import EpochLines, ProgressBar, progress_callback, work_progress
from pellucid.train.settings import Settings

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Callback",
    "Classifier",
    "CsvLogger",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "Evaluation",
    "History",
    "Images",
    "JsonLinesLogger",
    "LoadedPart",
    "Logger",
    "Normalisation",
    "Part",
    "Prediction",
    "ProgressBar",
    "Row",
    "RunStart",
    "Settings",
    "Split",
    "TensorBoardLogger",
    "TrainableModel",
    "fit",
    "list_pictures",
    "load",
    "load_classifier",
    "load_digits",
    "load_idx",
    "load_npz",
    "load_part",
    "parse_augmentation",
    "progress_callback",
    "resume",
    "split_part",
    "work_progress",
]
