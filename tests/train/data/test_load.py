"""The bundled digits, IDX folders and .npz files, whole and damaged."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.train import load, load_digits, load_idx, load_npz
from pellucid.train.data import load as load_module
from pellucid.train.data.idx import read_idx
from pellucid.train.data.npz import read_npz


def idx_bytes(array: np.ndarray) -> bytes:
    header = (0x0800 | array.ndim).to_bytes(4, "big") + b"".join(extent.to_bytes(4, "big") for extent in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (12, 5, 4), np.uint8),
        "y_train": np.arange(12, dtype=np.uint8) % 3,
        "x_test": random.integers(0, 256, (6, 5, 4), np.uint8),
        "y_test": np.arange(6, dtype=np.uint8) % 3,
    }


IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@pytest.fixture
def idx_folder(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    for key, name in IDX_NAMES.items():
        (tmp_path / name).write_bytes(idx_bytes(arrays[key]))
    return tmp_path


def test_digits_are_those_that_the_notice_describes():
    digits = load_digits()
    assert digits.image_shape == (28, 28, 1)
    assert digits.class_names == tuple("0123456789")
    assert np.bincount(digits.train.labels).tolist() == [400] * 10
    assert np.bincount(digits.test.labels).tolist() == [100] * 10
    assert digits.train.images.dtype == np.float32
    images = np.asarray(digits.train.images)
    assert images.min() == 0
    assert images.max() == 1
    # MNIST's images are centred by mass: the mean image is dark at its border and bright in its middle.
    mean = images.mean(axis=0)[..., 0]
    assert mean[0].max() < 0.01
    assert mean[12:16, 12:16].min() > 0.3
    both = {image.tobytes() for image in images} & {image.tobytes() for image in digits.test.images}
    assert not both, "an image stands in both parts"


def test_a_damaged_installation_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = bytearray(load_module.DIGITS_PATH.read_bytes())
    content[400_000] ^= 1
    damaged = tmp_path / "digits.npz"
    damaged.write_bytes(content)
    monkeypatch.setattr(load_module, "DIGITS_PATH", damaged)
    with pytest.raises(DataError, match=r"digits\.npz: is damaged: its SHA-256 is [0-9a-f]{64} and not c9afd7f8"):
        load_digits()
    monkeypatch.setattr(load_module, "DIGITS_PATH", tmp_path / "absent.npz")
    with pytest.raises(DataError, match=r"absent\.npz: cannot be read: "):
        load_digits()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["-", "."])
def test_idx_folder(tmp_path: Path, arrays: dict[str, np.ndarray], packed: bool, mark: str):
    for key, name in IDX_NAMES.items():
        content = idx_bytes(arrays[key])
        path = tmp_path / (name.replace("-idx", f"{mark}idx") + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(content) if packed else content)
    loaded = load(tmp_path)
    np.testing.assert_array_equal(loaded.train.images[..., 0], arrays["x_train"].astype(np.float32) / 255)
    np.testing.assert_array_equal(loaded.test.labels, arrays["y_test"])
    assert loaded.class_names == ("0", "1", "2")


def test_idx_folder_without_a_file(idx_folder: Path):
    (idx_folder / IDX_NAMES["y_test"]).unlink()
    with pytest.raises(DataError) as caught:
        load(idx_folder)
    assert str(caught.value) == (
        f"{idx_folder}: the test labels are missing: expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"
    )


def test_idx_counts_and_labels_must_fit(idx_folder: Path):
    (idx_folder / IDX_NAMES["y_train"]).write_bytes(idx_bytes(np.zeros(11, np.uint8)))
    with pytest.raises(DataError) as caught:
        load_idx(idx_folder)
    assert str(caught.value) == f"{idx_folder}: `train images` has 12 entries but `train labels` has 11"
    (idx_folder / IDX_NAMES["y_train"]).write_bytes(idx_bytes(np.arange(12) % 2))
    with pytest.raises(DataError) as caught:
        load_idx(idx_folder)
    assert str(caught.value) == f"{idx_folder}: `test` has the label 2, outside 0..1 (2 classes)"


IMAGE_FILE = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with 0x but an IDX file of 3 dimensions of unsigned bytes starts with 0x00000803"),
        (
            b"\x00\x00\x08\x01" + IMAGE_FILE[4:],
            "starts with 0x00000801 but an IDX file of 3 dimensions of unsigned bytes starts with 0x00000803",
        ),
        (IMAGE_FILE[:9], "the header is cut short: 9 of 16 bytes"),
        (IMAGE_FILE[:-1], "the header (2, 3, 4) promises 24 bytes of data but the file ends after 23"),
        (IMAGE_FILE + b"\x00", "the header (2, 3, 4) promises 24 bytes of data but more follow"),
        (
            b"\x00\x00\x08\x03" + b"\xff" * 12 + bytes(5),
            "the header (4294967295, 4294967295, 4294967295) promises 79228162458924105385300197375 bytes of data "
            "but the file ends after 5",
        ),
        (b"\x00\x00\x08\x03" + bytes(12), "the header (0, 0, 0) says that the file is empty"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_file(tmp_path: Path, content: bytes, message: str, packed: bool):
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as caught:
        read_idx(path, 3)
    assert str(caught.value) == f"{path}: {message}"


def test_damaged_gzip(tmp_path: Path):
    packed = gzip.compress(IMAGE_FILE)
    path = tmp_path / "images.gz"
    for content in (packed[:-4], packed[:12], b"no gzip at all", packed[:-5] + b"\x00" + packed[-4:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read: "):
            read_idx(path, 3)


def array_or_message(read: Callable[[], np.ndarray | None]) -> np.ndarray | str | None:
    """What `read` gives, or what its DataError says; any other exception fails the test."""
    try:
        return read()
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_with_flipped_bytes_load_or_say_why(tmp_path: Path, suffix: str):
    whole = gzip.compress(IMAGE_FILE, mtime=0) if suffix else IMAGE_FILE
    path = tmp_path / f"images{suffix}"
    outcomes = set[type]()
    for place in range(len(whole)):
        for value in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ value]) + whole[place + 1 :])
            outcome = array_or_message(lambda: read_idx(path, 3))
            outcomes.add(type(outcome))
            assert str(path) in outcome if isinstance(outcome, str) else outcome.shape == (2, 3, 4)
    assert outcomes == {np.ndarray, str}  # pixels may change unnoticed, the rest may not


def test_npz_with_a_test_part(tmp_path: Path, arrays: dict[str, np.ndarray]):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **arrays)
    loaded = load(path)
    np.testing.assert_array_equal(loaded.train.images[..., 0], arrays["x_train"].astype(np.float32) / 255)
    np.testing.assert_array_equal(loaded.train.labels, arrays["y_train"])
    assert loaded.train.labels.dtype == np.int64
    np.testing.assert_array_equal(loaded.test.images[..., 0], arrays["x_test"].astype(np.float32) / 255)


def test_npz_of_floats_in_colour_with_labels_as_a_column(tmp_path: Path):
    path = tmp_path / "set.npz"
    images = np.random.default_rng(0).random((20, 3, 4, 3))
    np.savez(path, images=np.asfortranarray(images), labels=(np.arange(20) % 2)[:, None])
    loaded = load(path)
    assert (len(loaded.train), len(loaded.test)) == (16, 4)
    assert np.bincount(loaded.test.labels).tolist() == [2, 2]
    every = np.concatenate([loaded.train.images, loaded.test.images])
    assert sorted(map(bytes, every)) == sorted(map(bytes, images.astype(np.float32)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_test": None},
            "has no `x_test`: an .npz file holds x_train, y_train, x_test, y_test, or images and labels",
        ),
        (
            {"x_train": None, "y_train": None, "x_test": None, "y_test": None},
            "has no `x_train` and no `y_train` and no `x_test` and no `y_test`: "
            "an .npz file holds x_train, y_train, x_test, y_test, or images and labels",
        ),
        ({"x_train": np.zeros((12, 5), np.uint8)}, "`x_train` (12, 5) must be (count, height, width) or "
         "(count, height, width, channels), none of them 0"),
        ({"x_train": np.full((12, 5, 4), 300)}, "whole-number pixels must be in 0..255, `x_train` has 300 to 300"),
        ({"x_train": np.full((12, 5, 4), 2.5)}, "floating pixels must be in 0..1, `x_train` has 2.5 to 2.5"),
        ({"x_train": np.full((12, 5, 4), np.nan)}, "floating pixels must be in 0..1, `x_train` has nan to nan"),
        ({"x_train": np.zeros((12, 5, 4), bool)}, "`x_train` must be whole or floating numbers, got bool"),
        ({"y_train": np.zeros(11, int)}, "`x_train` has 12 entries but `y_train` has 11"),
        ({"y_train": np.zeros(12)}, "`y_train` must be whole numbers of shape (count,), got float64 (12,)"),
        ({"y_train": np.arange(12) - 1}, "`y_train` has the label -1, outside 0..99999"),
        ({"y_test": np.full(6, 7)}, "`test` has the label 7, outside 0..2 (3 classes)"),
        ({"x_test": np.zeros((6, 4, 4), np.uint8)}, "the images of `test` (4, 4, 1) differ in shape from those of "
         "`train` (5, 4, 1)"),
        (
            {"y_train": np.array([1, "a"], object)},
            "`y_train.npy` has elements of type object; only numbers are read",
        ),
    ],
)  # fmt: skip
def test_npz_that_is_no_data_set(
    tmp_path: Path, arrays: dict[str, np.ndarray], changes: dict[str, np.ndarray | None], message: str
):
    path = tmp_path / "set.npz"
    kept = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
    np.savez(path, **kept)
    with pytest.raises(DataError) as caught:
        load_npz(path)
    assert str(caught.value) == f"{path}: {message}"


def test_npz_of_another_size_than_it_declares(tmp_path: Path, arrays: dict[str, np.ndarray]):
    path = tmp_path / "set.npz"
    member = io.BytesIO()
    np.save(member, np.zeros((2, 3), np.uint8))
    lying = member.getvalue().replace(b"(2, 3)", b"(9, 9)")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", lying)
    with pytest.raises(DataError) as caught:
        load_npz(path)
    assert str(caught.value) == f"{path}: `images.npy` (9, 9) of uint8 needs 81 bytes but the archive holds 6"


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_files_cut_short_or_with_flipped_bytes_load_or_say_why(tmp_path: Path, compressed: bool):
    whole = io.BytesIO()
    expected = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (np.savez_compressed if compressed else np.savez)(whole, images=expected)
    content, path = whole.getvalue(), tmp_path / "set.npz"
    damaged = [content[:length] for length in range(len(content))]
    damaged += [
        content[:place] + bytes([content[place] ^ value]) + content[place + 1 :]
        for place in range(len(content))
        for value in (0x01, 0x80, 0xFF)
    ]
    for version in damaged:
        path.write_bytes(version)
        outcome = array_or_message(lambda: read_npz(path, ("images",)).get("images"))
        # A flip in a field that nothing reads may pass; the array is then whole, or not found under its name.
        if isinstance(outcome, str):
            assert str(path) in outcome
        elif outcome is not None:
            np.testing.assert_array_equal(outcome, expected)


def test_names_that_are_nothing(tmp_path: Path):
    with pytest.raises(ArgumentError) as caught:
        load("digit")
    assert str(caught.value) == "no data set, folder or file is called 'digit'; did you mean 'digits'?"
    with pytest.raises(ArgumentError) as caught:
        load(tmp_path / "absent")
    assert str(caught.value).endswith("; data sets by name: digits")
    (tmp_path / "table.txt").write_text("1,2\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "table.txt")
    assert str(caught.value) == f"{tmp_path / 'table.txt'}: a file of data must be an .npz or a .csv file"
