"""Training: data sets, augmentation, the loop, its history and its reports."""

from pellucid.train.augmentation import Augmentation
from pellucid.train.callback import Callback, RunStart
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.images import Images, Normalisation
from pellucid.train.data.load import DATASETS, load, load_digits, load_idx, load_npz
from pellucid.train.history import EpochResult, History
from pellucid.train.log import JsonLinesLog
from pellucid.train.loop import TrainableModel, fit
from pellucid.train.metrics import Evaluation
from pellucid.train.progress import EpochLines, ProgressBar, progress_callback, work_progress
from pellucid.train.report.card import CardLayer, ModelCard, model_card
from pellucid.train.report.drawing import plotting_missing
from pellucid.train.report.mistakes import Mistake, worst_mistakes
from pellucid.train.report.page import Report, report_html

__all__ = [
    "DATASETS",
    "Augmentation",
    "Callback",
    "CardLayer",
    "Dataset",
    "EpochLines",
    "EpochResult",
    "Evaluation",
    "History",
    "Images",
    "JsonLinesLog",
    "Mistake",
    "ModelCard",
    "Normalisation",
    "Part",
    "ProgressBar",
    "Report",
    "RunStart",
    "TrainableModel",
    "fit",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "model_card",
    "plotting_missing",
    "progress_callback",
    "report_html",
    "split_part",
    "work_progress",
    "worst_mistakes",
]
