"""Training: data sets, augmentation, the loop, its history and its reports."""

from pellucid.train.augmentation import Augmentation
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.folder import list_pictures
from pellucid.train.data.images import Images, Normalisation
from pellucid.train.data.load import DATASETS, LoadedPart, load, load_digits, load_idx, load_npz, load_part
from pellucid.train.data.split import Row, Split
from pellucid.train.history import EpochResult, History
from pellucid.train.log import JsonLinesLog
from pellucid.train.loop import TrainableModel, fit
from pellucid.train.progress import EpochLines, ProgressBar, progress_callback

__all__ = [
    "DATASETS",
    "Augmentation",
    "Callback",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "History",
    "Images",
    "JsonLinesLog",
    "LoadedPart",
    "Normalisation",
    "Part",
    "ProgressBar",
    "Row",
    "RunStart",
    "Split",
    "TrainableModel",
    "fit",
    "list_pictures",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "load_part",
    "progress_callback",
    "split_part",
]
