"""`load` of folders and tables of pictures, and of stored arrays with a split."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import ArgumentError, DataError
from pellucid.train import Dataset, Split, load, load_part
from pellucid.train.data.decode import PictureForm, decode
from pellucid.train.data.names import unescaped
from train.data.made import encoded, photograph, png_header, save, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 photographs each of two classes."""
    root = tmp_path / "photos"
    save(root, {f"{label}/{number}.png": 100 * place + number for place, label in enumerate(("2", "10"))
                for number in range(20)})  # fmt: skip
    return root


def message(call: Callable[[], object], kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def check_against_files(data: Dataset, root: Path, shape: tuple[int, int, int] = (24, 24, 3)) -> None:
    for name, part in data.parts():
        assert len(data.sources[name]) == len(part)
        for path, image, label in zip(data.sources[name], part.images, part.labels, strict=True):
            content = (Path(os.fsdecode(os.path.join(os.fsencode(root), os.fsencode(unescaped(path)))))).read_bytes()
            np.testing.assert_array_equal(np.rint(image * 255), decode(content, PictureForm(*shape), path))
            assert data.class_names[label] in path


def test_a_folder_of_classes(photos: Path):
    told = list[tuple[int, int]]()
    data = load(photos, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 40) for done in range(1, 41)]
    assert data.class_names == ("2", "10")
    assert {name: np.bincount(part.labels).tolist() for name, part in data.parts()} == {
        "train": [14, 14], "validation": [3, 3], "test": [3, 3],
    }  # fmt: skip
    assert data.image_shape == (24, 24, 3)
    assert data.problems == ()
    check_against_files(data, photos)


def test_the_split_depends_on_the_seed_alone(photos: Path):
    texts = {load(photos, seed=1, threads=threads).split.text() for threads in (1, 2, 5)}
    assert len(texts) == 1
    assert load(photos, seed=2).split.text() not in texts
    assert load(str(photos) + "/", seed=1, image_size=8, color="gray").split.text() in texts


def test_resumed_from_its_split(photos: Path, tmp_path: Path):
    first = load(photos, seed=5)
    path = tmp_path / "split.csv"
    path.write_text(first.split.text(), encoding="utf-8")
    save(photos, {"2/new.png": 999})
    for options in ({}, {"image_size": (24, 24), "color": "rgb"}):
        again = load(photos, split=Split.read(path), **options)
        assert again.sources == first.sources
        assert again.class_names == first.class_names
        for (_, one), (_, other) in zip(first.parts(), again.parts(), strict=True):
            np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(np.asarray(one.images), np.asarray(other.images))


@pytest.mark.parametrize("options", [{}, {"image_size": 24, "color": "rgb"}])
def test_changed_data_is_not_resumed(photos: Path, options: dict[str, object]):
    split = load(photos).split
    (photos / "10/7.png").unlink()
    assert message(lambda: load(photos, split=split, **options)) == (
        f"{photos}: is not the data of the split any more: 10/7.png is missing (1 of 40 images differ)"
    )
    save(photos, {"10/7.png": 1, "2/3.png": 2})
    assert message(lambda: load(photos, split=split, **options)) == (
        f"{photos}: is not the data of the split any more: 2/3.png is another file now (2 of 40 images differ)"
    )


def test_folders_of_parts(photos: Path, tmp_path: Path):
    root = tmp_path / "parts"
    save(root, {f"train/{label}/{number}.png": 10 * number + place for place, label in enumerate("ab")
                for number in range(10)})  # fmt: skip
    save(root, {f"test/{label}/{number}.png": 500 + 10 * number + place for place, label in enumerate("ab")
                for number in range(3)})  # fmt: skip
    data = load(root)
    assert {name: len(part) for name, part in data.parts()} == {"train": 16, "validation": 4, "test": 6}
    assert all(path.startswith("test/") for path in data.sources["test"])
    assert all(path.startswith("train/") for name in ("train", "validation") for path in data.sources[name])
    assert message(lambda: load(root, test=0.1), ArgumentError) == (
        "`test` (=0.1) cannot be drawn: the data has a test part of its own"
    )
    (root / "test").rename(root / "valid")
    data = load(root)
    assert {name: len(part) for name, part in data.parts()} == {"train": 20, "validation": 6}
    assert data.test is None
    (root / "train").rename(root / "test")
    (root / "valid" / "c").mkdir()
    assert message(lambda: load(root)) == f"{root}: has a validation part but none for training"


def test_tables(photos: Path):
    lines = [f"{label}/{number}.png,kind {label}" for label in ("2", "10") for number in range(20)]
    (photos / "table.csv").write_text("\n".join([*lines, "gone.png,kind 2"]))
    data = load(photos / "table.csv", validation=0.2, test=0)
    assert data.class_names == ("kind 2", "kind 10")
    assert {name: len(part) for name, part in data.parts()} == {"train": 32, "validation": 8}
    assert data.problems == (
        "1 of 41 pictures cannot be read:",
        "gone.png: cannot be read: No such file or directory; left out",
    )
    again = load(photos / "table.csv", split=data.split)
    np.testing.assert_array_equal(np.asarray(again.train.images), np.asarray(data.train.images))


def test_mixed_sizes_and_kinds_and_broken_files(photos: Path):
    write(photos / "2/empty.png", b"")
    write(photos / "2/text.jpg", b"hello")
    write(photos / "2/bomb.png", png_header(60_000, 60_000))
    write(photos / "10/notes.txt", b"")
    (photos / "3").mkdir()
    write(photos / "10/gray.tif", encoded(Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)), "TIFF"))
    write(photos / "10/cmyk.jpg", encoded(photograph(901).convert("CMYK"), "JPEG"))
    write(photos / "10/alpha.png", encoded(photograph(902).convert("RGBA")))
    write(photos / "10/palette.gif", encoded(photograph(903).quantize(64), "GIF"))
    data = load(photos)
    assert data.image_shape == (64, 64, 3)
    assert sum(len(part) for _, part in data.parts()) == 44
    assert data.problems == (
        "3 of 47 pictures cannot be read:",
        "2/bomb.png: has 60000x60000 pixels, more than 100000000; left out",
        "2/empty.png: is empty (0 bytes); left out",
        "2/text.jpg: is no picture of a format that is read (PNG, JPEG, WEBP, BMP, GIF, TIFF); left out",
        "class 3 has no pictures; left out",
        "1 files are no pictures by their names; left out",
    )
    check_against_files(data, photos, (64, 64, 3))


def test_size_and_colour(photos: Path, tmp_path: Path):
    assert load(photos, image_size=16).image_shape == (16, 16, 3)
    assert load(photos, image_size=(16, 20), color="gray").image_shape == (16, 20, 1)
    gray = tmp_path / "gray"
    for number in range(8):
        write(gray / f"{number % 2}/{number}.png", encoded(photograph(number, 129, 30).convert("L")))
    assert load(gray, validation=0).image_shape == (64, 64, 1)
    assert (
        message(lambda: load(photos, color="blue"), ArgumentError) == "`color` (='blue') must be one of auto, gray, rgb"
    )
    assert message(lambda: load(photos, resize="x"), ArgumentError) == (
        "`resize` (='x') must be one of crop, pad, stretch"
    )
    assert message(lambda: load(photos, threads=0), ArgumentError) == "`threads` (=0) must be at least 1"


def test_bad_folders(tmp_path: Path):
    (tmp_path / "none").mkdir()
    assert message(lambda: load(tmp_path / "none")).startswith(f"{tmp_path}/none: has no pictures (.png, ")
    save(tmp_path / "one", {f"a/{number}.png": number for number in range(5)})
    assert message(lambda: load(tmp_path / "one")) == f"{tmp_path}/one: has one class only, a; a classifier needs two"
    save(tmp_path / "few", {f"a/{number}.png": number for number in range(5)} | {"b/1.png": 9})
    assert message(lambda: load(tmp_path / "few")) == (
        f"{tmp_path}/few: class b has 1 picture: train, validation and test need one each"
    )
    write(tmp_path / "few/b/1.png", b"")
    assert message(lambda: load(tmp_path / "few")) == f"{tmp_path}/few: class b has no picture that can be read"
    write(tmp_path / "broken/a/1.png", b"")
    assert message(lambda: load(tmp_path / "broken")) == (
        f"{tmp_path}/broken: none of its 1 pictures can be read; the first: a/1.png: is empty (0 bytes)"
    )
    write(tmp_path / "file.xyz", b"")
    assert message(lambda: load(tmp_path / "file.xyz")) == (
        f"{tmp_path}/file.xyz: a file of data must be an .npz or a .csv file"
    )


def test_identical_pictures_stay_together(tmp_path: Path):
    root = tmp_path / "copies"
    for number in range(12):
        for place, label in enumerate("ab"):
            image = photograph(50 * place + number, 120, 90)
            write(root / f"{label}/{number}.png", encoded(image))
            write(root / f"{label}/{number}-copy.png", encoded(image))
            write(root / f"{label}/{number}-small.jpg", encoded(image.resize((80, 60)), "JPEG", quality=60))
    for seed in range(3):
        split = load(root, seed=seed).split
        part_of = {row.path.split(".")[0]: row.split for row in split.rows}
        for number in range(12):
            for label in "ab":
                assert len({part_of[f"{label}/{number}{end}"] for end in ("", "-copy", "-small")}) == 1
        assert {row.split for row in split.rows} == {"train", "validation", "test"}


def test_the_same_picture_in_two_parts_or_classes_is_told(tmp_path: Path):
    root = tmp_path / "leaks"
    save(root, {f"train/{label}/{number}.png": 10 * number + place for place, label in enumerate("ab")
                for number in range(8)})  # fmt: skip
    save(root, {"test/a/x.png": 0, "test/b/y.png": 777, "train/b/z.png": 20})
    assert load(root).problems == (
        "1 picture stands in several parts; the first: test/a/x.png, train/a/0.png",
        "1 picture stands in several classes; the first: train/a/2.png, train/b/z.png",
    )


def test_groups_by_a_pattern(photos: Path):
    save(photos, {f"{label}/patient{patient}-{number}.png": 2000 + 100 * patient + 10 * number + place
                  for place, label in enumerate(("2", "10")) for patient in range(8)
                  for number in range(3)})  # fmt: skip
    for group in (r"patient\d", r"patient(\d)-"):
        rows = [row for row in load(photos, group=group).split.rows if "patient" in row.path]
        parts = {(row.path.split("patient")[1][0], row.split) for row in rows}
        assert len(parts) == 8
    assert message(lambda: load(photos, group="x{3}y"), ArgumentError) == (
        "`group` (='x{3}y') matches no path; the first one is 2/0.png"
    )
    assert message(lambda: load(photos, group="("), ArgumentError).startswith(
        "`group` (='(') is no regular expression: "
    )
    assert message(lambda: load("digits", group="a"), ArgumentError) == (
        "`group` (='a') is for pictures in files; digits has none"
    )


def test_odd_names_go_all_the_way(tmp_path: Path):
    root = tmp_path / "odd"
    labels = [os.fsdecode(b"caf\xe9"), "new\nline"]
    for place, label in enumerate(labels):
        for number in range(6):
            name = os.path.join(root, label, f"{number}\n" + os.fsdecode(b"\xff") + ".png")
            write(name, encoded(photograph(10 * place + number, 24, 24)))
    data = load(root)
    assert data.class_names == ("caf\\xe9", "new\\nline")
    path = tmp_path / "split.csv"
    path.write_text(data.split.text(), encoding="utf-8")
    again = load(root, split=Split.read(path))
    np.testing.assert_array_equal(np.asarray(again.test.images), np.asarray(data.test.images))
    write(os.path.join(root, labels[0], "0\n" + os.fsdecode(b"\xff") + ".png"), b"")
    assert load(root).problems[1:] == ("caf\\xe9/0\\n\\xff.png: is empty (0 bytes); left out",)


def test_a_part_for_a_network_that_is_there(photos: Path, tmp_path: Path):
    found = load_part(photos, ("10", "1", "2"), image_size=(12, 10), color="gray")
    assert found.part.images.shape == (40, 12, 10, 1)
    assert found.part.labels.tolist() == [2] * 20 + [0] * 20
    assert found.sources[:2] == ("2/0.png", "2/1.png")
    assert message(lambda: load_part(photos, ("1", "2"), image_size=(8, 8), color="rgb")) == (
        f"{photos}: has a class that the network does not know: 10; it knows 1, 2"
    )
    assert message(lambda: load_part(photos, ("2", "10"), image_size=(8, 8), color="rgb", part="test")) == (
        f"{photos}: has no test part; it has no parts"
    )
    root = tmp_path / "parts"
    save(root, {"train/x/1.png": 1, "test/y/1.png": 2, "test/x/2.png": 3})
    found = load_part(root, ("x", "y"), image_size=(8, 8), color="rgb", part="test")
    assert (found.sources, found.part.labels.tolist()) == (("test/x/2.png", "test/y/1.png"), [0, 1])
    assert len(load_part(root, ("x", "y"), image_size=(8, 8), color="rgb").sources) == 3
    write(root / "test/y/1.png", b"")
    assert load_part(root, ("x", "y"), image_size=(8, 8), color="rgb", part="test").problems == (
        "1 of 2 pictures cannot be read:",
        "test/y/1.png: is empty (0 bytes); left out",
    )


def test_stored_arrays_have_splits_too(tmp_path: Path):
    data = load("digits", validation=0.1, seed=2)
    assert {name: len(part) for name, part in data.parts()} == {"train": 3600, "validation": 400, "test": 1000}
    assert data.sources["test"][17] == "x_test[17]"
    number = int(data.sources["validation"][5][8:-1])
    plain = load("digits")
    assert plain.validation is None
    np.testing.assert_array_equal(data.validation.images[5], plain.train.images[number])
    again = load("digits", split=data.split)
    assert again.sources == data.sources
    np.testing.assert_array_equal(again.train.labels, data.train.labels)
    path = tmp_path / "set.npz"
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    images[20:30] = images[0]  # the same ten times: they stay together
    labels = np.arange(40) % 2
    np.savez(path, images=images, labels=labels)
    data = load(path, validation=0.25)
    same = {row.split for number, row in enumerate(data.split.rows) if number == 0 or 20 <= number < 30}
    assert len(same) == 1
    images[7] += 1
    labels[8] = 1
    np.savez(path, images=images, labels=labels)
    assert message(lambda: load(path, split=data.split)) == (
        f"{path}: is not the data of the split any more: images[7] has other pixels now (2 of 40 images differ)"
    )


def test_stored_arrays_are_not_resized_and_have_parts(tmp_path: Path):
    assert message(lambda: load("digits", image_size=32), ArgumentError) == (
        "`image_size` (=32x32): the images of digits are 28x28, and only pictures in files are resized"
    )
    assert message(lambda: load("digits", color="rgb"), ArgumentError) == (
        "`color` (=rgb): the images of digits have 1 channels"
    )
    names = tuple("9876543210")
    found = load_part("digits", names, image_size=(28, 28), color="gray", part="test")
    plain = load("digits").test
    assert len(found.sources) == 1000
    assert found.part.labels.tolist() == [9 - label for label in plain.labels]
    assert len(load_part("digits", names, image_size=(28, 28), color="gray").sources) == 5000
    assert message(lambda: load_part("digits", tuple("01234567"), image_size=(28, 28), color="gray")) == (
        "digits: has classes that the network does not know: 8, 9; it knows 0, 1, 2, 3, 4, 5, 6, 7"
    )
    assert (
        message(lambda: load_part("digits", names, image_size=(28, 28), color="gray", part="validation"))
        == "digits: has no validation part"
    )


def test_with_validation_keeps_split_and_sources():
    data = load("digits").with_validation(0.1, seed=1)
    assert data.split.sources() == data.sources
    number = int(data.sources["validation"][3][8:-1])
    np.testing.assert_array_equal(data.validation.images[3], load("digits").train.images[number])
