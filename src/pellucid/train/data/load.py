"""Data sets by name, folder or file: the bundled digits, IDX folders, .npz files."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.dataset import Dataset, Part, split_part
from pellucid.train.data.idx import FILES, find_idx_file, read_idx
from pellucid.train.data.images import ArrayPixels, Images
from pellucid.train.data.npz import read_npz

__all__ = [
    "DATASETS",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
]

DATASETS = ("digits",)

DIGITS_PATH = Path(__file__).parent / "digits" / "digits.npz"
DIGITS_SHA256 = "c9afd7f837eab85096ffd9e51113f1f22aba2adc6c9d46da1ef502dbf2788c0d"

# Names of the four arrays in an .npz file with a test part, and of the two in one without.
_SPLIT_NAMES = (("x_train", "y_train"), ("x_test", "y_test"))
_WHOLE_NAMES = (("images", "labels"),)
_TEST_FRACTION, _TEST_SEED = 0.2, 0
_MOST_CLASSES = 100_000


def load(source: str | Path) -> Dataset:
    """The data set that `source` names: "digits", a folder of IDX files, or an .npz file.

    Raises:
        ArgumentError: it is neither a known name nor a path that exists; says which name is closest.
        DataError: the files are damaged or incomplete.
    """
    path = Path(source)
    if str(source) in DATASETS:
        return load_digits()
    if path.is_dir():
        return load_idx(path)
    if path.is_file():
        if path.suffix == ".npz":
            return load_npz(path)
        raise DataError(f"{path}: a file of data must be an .npz file")
    close = difflib.get_close_matches(str(source), DATASETS, n=1)
    raise ArgumentError(
        f"no data set, folder or file is called {str(source)!r}"
        + (f"; did you mean {close[0]!r}?" if close else f"; data sets by name: {', '.join(DATASETS)}")
    )


def load_digits() -> Dataset:
    """5,000 images of MNIST, 28x28x1: 4,000 for training and 1,000 for the test, of each class the same number.

    The split is part of the file, see `digits/NOTICE.md` for its making and for its licence (CC BY-SA 3.0).

    Raises:
        DataError: the file in the installed package is damaged.
    """
    try:
        digest = hashlib.sha256(DIGITS_PATH.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{DIGITS_PATH}: cannot be read: {error}") from error
    if digest != DIGITS_SHA256:
        raise DataError(f"{DIGITS_PATH}: is damaged: its SHA-256 is {digest} and not {DIGITS_SHA256}")
    return load_npz(DIGITS_PATH)


def load_idx(folder: Path) -> Dataset:
    """The four IDX files of a folder in the layout of MNIST and Fashion-MNIST, each gzip or not.

    Raises:
        DataError: a file is missing or damaged, or images and labels do not belong together.
    """
    arrays = {
        content: read_idx(find_idx_file(folder, content), 3 if content.endswith("images") else 1) for content in FILES
    }
    train, test = (
        _part(folder, f"{part} images", arrays[f"{part} images"], f"{part} labels", arrays[f"{part} labels"])
        for part in ("train", "test")
    )
    return _dataset(folder, train, test)


def load_npz(path: Path) -> Dataset:
    """An .npz file with `x_train`, `y_train`, `x_test`, `y_test`; or with `images` and `labels`, of which a fifth of
    each class (stratified, always the same) becomes the test part.

    Images are (count, height, width) or (count, height, width, channels), whole numbers 0..255 or floating numbers
    0..1; labels whole numbers from 0, (count,) or (count, 1).

    Raises:
        DataError: the file is damaged, an array is missing, or has another type, shape or range.
    """
    names = tuple(name for pair in _SPLIT_NAMES + _WHOLE_NAMES for name in pair)
    arrays = read_npz(path, names)
    pairs = _SPLIT_NAMES if "x_train" in arrays or "images" not in arrays else _WHOLE_NAMES
    missing = [name for pair in pairs for name in pair if name not in arrays]
    if missing:
        raise DataError(
            f"{path}: has no {' and no '.join(f'`{name}`' for name in missing)}: an .npz file holds "
            "x_train, y_train, x_test, y_test, or images and labels"
        )
    parts = [_part(path, images, arrays[images], labels, arrays[labels]) for images, labels in pairs]
    train, test = parts if len(parts) == 2 else split_part(parts[0], _TEST_FRACTION, _TEST_SEED)
    return _dataset(path, train, test)


def _part(
    path: Path, images_name: str, images: NDArray[np.generic], labels_name: str, labels: NDArray[np.generic]
) -> Part:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{path}: `{images_name}` {images.shape} must be (count, height, width) or "
            "(count, height, width, channels), none of them 0"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{path}: `{labels_name}` must be whole numbers of shape (count,), got {labels.dtype} {labels.shape}"
        )
    if len(images) != len(labels):
        raise DataError(f"{path}: `{images_name}` has {len(images)} entries but `{labels_name}` has {len(labels)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise DataError(
            f"{path}: `{labels_name}` has the label {low if low < 0 else high}, outside 0..{_MOST_CLASSES - 1}"
        )
    pixels = _checked(path, images_name, images)
    stored = ArrayPixels(pixels[..., None] if pixels.ndim == 3 else pixels)
    return Part(Images(stored), labels.astype(np.int64))


def _checked(path: Path, name: str, images: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Pixels as bytes, or as float32 in [0, 1]; C-contiguous."""
    if images.dtype.kind == "b":
        raise DataError(f"{path}: `{name}` must be whole or floating numbers, got {images.dtype}")
    low, high = float(images.min()), float(images.max())
    most = 1.0 if images.dtype.kind == "f" else 255.0
    if not (low >= 0 and high <= most):  # also where one of them is NaN
        rule = "floating pixels must be in 0..1" if most == 1 else "whole-number pixels must be in 0..255"
        raise DataError(f"{path}: {rule}, `{name}` has {low:g} to {high:g}")
    return np.ascontiguousarray(images, np.float32) if most == 1 else np.ascontiguousarray(images, np.uint8)


def _dataset(path: Path, train: Part, test: Part) -> Dataset:
    class_count = int(train.labels.max()) + 1
    try:
        return Dataset(train, test, tuple(str(number) for number in range(class_count)))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
