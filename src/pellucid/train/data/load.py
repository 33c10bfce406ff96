"""Data sets by name, folder or file: the bundled digits, IDX folders, .npz files, folders and tables of pictures."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.arrays import Pool, array_dataset, check_form, joined
from pellucid.train.data.dataset import Dataset, Part
from pellucid.train.data.idx import FILES, find_idx_file, has_idx_file, read_idx
from pellucid.train.data.images import ArrayPixels, Images
from pellucid.train.data.npz import read_npz
from pellucid.train.data.split import Split, unknown_classes

if TYPE_CHECKING:
    from pellucid.train.data.folder import Listing
    from pellucid.train.data.scan import Progress

__all__ = [
    "COLORS",
    "DATASETS",
    "LoadedPart",
    "list_source",
    "load",
    "load_digits",
    "load_idx",
    "load_npz",
    "load_part",
]

DATASETS = ("digits",)
COLORS = ("auto", "gray", "rgb")

DIGITS_PATH = Path(__file__).parent / "digits" / "digits.npz"
DIGITS_SHA256 = "c9afd7f837eab85096ffd9e51113f1f22aba2adc6c9d46da1ef502dbf2788c0d"

# Names of the four arrays in an .npz file with a test part, and of the two in one without.
_SPLIT_NAMES = (("x_train", "y_train", "train"), ("x_test", "y_test", "test"))
_WHOLE_NAMES = (("images", "labels", None),)
_MOST_CLASSES = 100_000


def load(
    source: str | Path,
    *,
    image_size: tuple[int, int] | int | None = None,
    color: str = "auto",
    resize: str = "crop",
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    group: str | None = None,
    split: Split | None = None,
    threads: int = 2,
    cache_bytes: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The data set that `source` names: "digits", a folder of IDX files, an .npz file, a folder of pictures
    (`CLASS/*.png`, or `train/ val/ test/` with classes below), or a CSV table of path,label.

    Pictures become (height, width) = `image_size` (one number: both), by default their own size where all have one of
    at most 128, else 64x64; `color` is "gray", "rgb", or "auto": grey where all of them are. `resize` is "crop", "pad"
    or "stretch", see `PictureForm`. They are decoded in `threads` threads when they are asked for, and `cache_bytes` of
    them stay in memory, see `FilePixels`. Before, each is opened once, of which `progress(done, total)` is told.

    The parts are those of the source, or they are drawn with `seed`: fractions for `validation` and `test`, where None
    is 0.15 for pictures (no test part where the source has a validation part alone) and no validation part for arrays,
    and 0 is none. Identical and nearly identical pictures stay together, and those whose paths agree in what the
    regular expression `group` matches, or its first group. With `split` the parts are exactly that.

    Raises:
        ArgumentError: `source` is neither a known name nor a path that exists, which says what name is closest; or an
            argument is outside its rule.
        DataError: files are damaged or incomplete, a class has too few pictures, or the data is not that of `split`.
    """
    size = _size(image_size)
    if color not in COLORS:
        raise ArgumentError(f"`color` (={color!r}) must be one of {', '.join(COLORS)}")
    path = Path(source)
    pools = _pools(source)
    if pools is None:
        from pellucid.train.data.pictures import PictureOptions, load_pictures

        options = PictureOptions(size, color, resize, validation, test, seed, group, threads, cache_bytes)
        return load_pictures(path, lambda: list_source(path), options, split, progress)
    if group is not None:
        raise ArgumentError(f"`group` (={group!r}) is for pictures in files; {path} has none")
    check_form(path, pools[0].part.images.shape[1:], size, color)
    return array_dataset(path, pools, validation, test, seed, split)


@dataclass(frozen=True, eq=False)
class LoadedPart:
    """A part, the path of each of its images in order, and sentences about what was left out."""

    part: Part
    sources: tuple[str, ...]
    problems: tuple[str, ...] = ()


def load_part(
    source: str | Path,
    class_names: Sequence[str],
    *,
    image_size: tuple[int, int],
    color: str,
    resize: str = "crop",
    part: str | None = None,
    threads: int = 2,
    progress: Progress | None = None,
) -> LoadedPart:
    """All labelled images of `source`, or those of its part "train", "validation" or "test", as a trained network takes
    them: of that size and `color` ("gray" or "rgb"), their labels numbers of `class_names`.

    Raises:
        ArgumentError: as `load`; or stored images have another size.
        DataError: as `load`; or a class is not among `class_names`; or the source has no such part.
    """
    if color not in COLORS[1:]:
        raise ArgumentError(f"`color` (={color!r}) must be one of {', '.join(COLORS[1:])}")
    path = Path(source)
    pools = _pools(source)
    if pools is None:
        from pellucid.train.data.pictures import load_picture_part

        form = (*image_size, 1 if color == "gray" else 3)
        return LoadedPart(*load_picture_part(list_source(path), class_names, part, form, resize, threads, progress))
    check_form(path, pools[0].part.images.shape[1:], image_size, color)
    chosen = [pool for pool in pools if part in (None, pool.given)]
    if not chosen:
        raise DataError(f"{path}: has no {part} part")
    whole, names = joined(chosen)
    return LoadedPart(Part(whole.images, _renumbered(path, whole.labels, class_names)), names)


def list_source(path: Path) -> Listing:
    """The pictures of a folder or a table, none of them opened yet.

    Raises:
        DataError: see `list_folder` and `list_table`; or it is another file.
    """
    from pellucid.train.data.folder import list_folder
    from pellucid.train.data.table import list_table

    if path.is_dir():
        return list_folder(path)
    if path.suffix.lower() == ".csv":
        return list_table(path)
    raise DataError(f"{path}: a file of data must be an .npz or a .csv file")


def _size(image_size: tuple[int, int] | int | None) -> tuple[int, int] | None:
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def _pools(source: str | Path) -> list[Pool] | None:
    """The stored arrays that `source` names; None where it has pictures in files."""
    path = Path(source)
    if str(source) in DATASETS:
        return _digits_pools()
    if path.is_dir():
        return _idx_pools(path) if has_idx_file(path) else None
    if path.is_file():
        return _npz_pools(path) if path.suffix == ".npz" else None
    close = difflib.get_close_matches(str(source), DATASETS, n=1)
    raise ArgumentError(
        f"no data set, folder or file is called {str(source)!r}"
        + (f"; did you mean {close[0]!r}?" if close else f"; data sets by name: {', '.join(DATASETS)}")
    )


def _renumbered(path: Path, labels: NDArray[np.generic], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Labels, whose names are their numbers, as numbers of `class_names`."""
    values, places = np.unique(labels, return_inverse=True)
    unknown = [str(value) for value in values.tolist() if str(value) not in class_names]
    if unknown:
        raise unknown_classes(str(path), unknown, class_names)
    return np.array([list(class_names).index(str(value)) for value in values.tolist()], np.int64)[places]


def load_digits() -> Dataset:
    """5,000 images of MNIST, 28x28x1: 4,000 for training and 1,000 for the test, of each class the same number.

    The split is part of the file, see `digits/NOTICE.md` for its making and for its licence (CC BY-SA 3.0).

    Raises:
        DataError: the file in the installed package is damaged.
    """
    return array_dataset(DIGITS_PATH, _digits_pools())


def load_idx(folder: Path) -> Dataset:
    """The four IDX files of a folder in the layout of MNIST and Fashion-MNIST, each gzip or not.

    Raises:
        DataError: a file is missing or damaged, or images and labels do not belong together.
    """
    return array_dataset(folder, _idx_pools(folder))


def load_npz(path: Path) -> Dataset:
    """An .npz file with `x_train`, `y_train`, `x_test`, `y_test`; or with `images` and `labels`, of which a fifth of
    each class (stratified, always the same) becomes the test part.

    Images are (count, height, width) or (count, height, width, channels), whole numbers 0..255 or floating numbers
    0..1; labels whole numbers from 0, (count,) or (count, 1).

    Raises:
        DataError: the file is damaged, an array is missing, or has another type, shape or range.
    """
    return array_dataset(path, _npz_pools(path))


def _digits_pools() -> list[Pool]:
    try:
        digest = hashlib.sha256(DIGITS_PATH.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{DIGITS_PATH}: cannot be read: {error}") from error
    if digest != DIGITS_SHA256:
        raise DataError(f"{DIGITS_PATH}: is damaged: its SHA-256 is {digest} and not {DIGITS_SHA256}")
    return _npz_pools(DIGITS_PATH)


def _idx_pools(folder: Path) -> list[Pool]:
    arrays = {
        content: read_idx(find_idx_file(folder, content), 3 if content.endswith("images") else 1) for content in FILES
    }
    return [
        _pool(folder, f"{part} images", arrays[f"{part} images"], f"{part} labels", arrays[f"{part} labels"], part)
        for part in ("train", "test")
    ]


def _npz_pools(path: Path) -> list[Pool]:
    names = tuple(name for images, labels, _ in _SPLIT_NAMES + _WHOLE_NAMES for name in (images, labels))
    arrays = read_npz(path, names)
    wanted = _SPLIT_NAMES if "x_train" in arrays or "images" not in arrays else _WHOLE_NAMES
    missing = [name for images, labels, _ in wanted for name in (images, labels) if name not in arrays]
    if missing:
        raise DataError(
            f"{path}: has no {' and no '.join(f'`{name}`' for name in missing)}: an .npz file holds "
            "x_train, y_train, x_test, y_test, or images and labels"
        )
    return [_pool(path, images, arrays[images], labels, arrays[labels], part) for images, labels, part in wanted]


def _pool(
    path: Path,
    images_name: str,
    images: NDArray[np.generic],
    labels_name: str,
    labels: NDArray[np.generic],
    given: str | None,
) -> Pool:
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
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return Pool(images_name, pixels, Part(Images(ArrayPixels(pixels)), labels.astype(np.int64)), given)


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
