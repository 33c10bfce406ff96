"""Folders and tables listed: classes, parts, links, odd names, and what is no picture."""

import os
import subprocess
from pathlib import Path

import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.folder import Listing, list_folder, list_pictures
from pellucid.train.data.names import unescaped
from pellucid.train.data.table import list_table
from train.data.made import write


def folder(root: Path, *names: str) -> Listing:
    for name in names:
        write(os.path.join(root, name), b"x")
    return list_folder(root)


def names(listing: Listing) -> list[str]:
    return [picture.name for picture in listing.pictures]


def test_classes_are_sorted_naturally_and_hold_what_lies_below(tmp_path: Path):
    listing = folder(
        tmp_path, "10/a.png", "2/deep/er/b.JPG", "2/a.webp", "1/x.tiff", "2/notes.txt", "1/Thumbs.db", ".git/a.png",
        "2/.hidden.png", "2/.deep/a.png", "README",
    )  # fmt: skip
    (tmp_path / "0").mkdir()
    listing = list_folder(tmp_path)
    assert listing.class_names == ("1", "2", "10")
    assert listing.empty_classes == ("0",)
    assert names(listing) == ["1/x.tiff", "2/a.webp", "2/deep/er/b.JPG", "10/a.png"]
    assert [picture.label for picture in listing.pictures] == ["1", "2", "2", "10"]
    assert listing.others == 3
    assert listing.parts == ()
    assert all(picture.part is None for picture in listing.pictures)


@pytest.mark.parametrize("validation", ["val", "valid", "Validation", "VAL"])
def test_parts(tmp_path: Path, validation: str):
    listing = folder(tmp_path, "Train/a/1.png", f"{validation}/a/1.png", "test/a/1.png", "test/b/2.png", "docs/x.txt")
    assert listing.parts == ("train", "validation", "test")
    assert {picture.name: picture.part for picture in listing.pictures} == {
        "Train/a/1.png": "train", f"{validation}/a/1.png": "validation", "test/a/1.png": "test", "test/b/2.png": "test",
    }  # fmt: skip
    assert listing.notes == ("docs/: is neither train, validation nor test; left out",)


def test_a_class_may_be_called_train(tmp_path: Path):
    assert folder(tmp_path, "train/1.png", "car/1.png", "bus/1.png").class_names == ("bus", "car", "train")
    assert folder(tmp_path / "other", "test/1.png", "car/1.png").class_names == ("car", "test")


def test_two_folders_of_one_part(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        folder(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/2.png")
    assert str(caught.value) == f"{tmp_path}: both val/ and valid/ are the validation part"


def test_pictures_of_no_class(tmp_path: Path):
    listing = folder(tmp_path, "a/1.png", "b/1.png", "9.png", "10.png")
    assert listing.notes == ("./: 2 pictures in no class's folder; left out, the first is 9.png",)
    with pytest.raises(DataError) as caught:
        folder(tmp_path / "flat", "1.png", "2.png")
    assert str(caught.value) == (
        f"{tmp_path}/flat: its pictures must be in folders, one a class: CLASS/*.png, or train/CLASS/*.png"
    )


def test_folders_without_pictures(tmp_path: Path):
    suffixes = ".png, .jpg, .jpeg, .jpe, .jfif, .webp, .bmp, .gif, .tif, .tiff"
    for made in ((), ("a", "b")):
        for name in made:
            (tmp_path / name).mkdir()
        with pytest.raises(DataError) as caught:
            list_folder(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: has no pictures ({suffixes}); expected CLASS/*.png, or train/CLASS/*.png"
        )


def test_links_in_a_circle_end(tmp_path: Path):
    folder(tmp_path, "a/1.png", "a/deep/2.png", "b/1.png")
    (tmp_path / "a" / "deep" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "all").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "b" / "gone.png").symlink_to("nowhere")
    for one in range(8):  # every path through them is another one: 8! of them
        (tmp_path / f"b/{one}").mkdir()
        for other in range(8):
            (tmp_path / f"b/{one}/{other}").symlink_to(tmp_path / f"b/{other}")
    listing = list_folder(tmp_path)
    assert names(listing) == ["a/1.png", "a/deep/2.png", "b/1.png", "b/gone.png"]
    assert "a/all/: is a link to a folder that was met already; left out" in listing.notes
    assert listing.empty_classes == ("loop",)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "x").symlink_to(tmp_path / "a")
    (linked / "y").symlink_to(tmp_path / "b")
    assert names(list_folder(linked))[0] == "x/1.png"


ODD = [b"new\nline", b"caf\xe9", b"back\\slash", b'quote",comma', "\N{PILE OF POO}".encode(), b" "]


def test_odd_names(tmp_path: Path):
    for name in ODD:
        write(os.path.join(tmp_path, os.fsdecode(name), os.fsdecode(name) + ".png"), b"x")
    listing = list_folder(tmp_path)
    assert {os.fsencode(unescaped(name)) for name in listing.class_names} == set(ODD)
    for picture in listing.pictures:
        assert picture.name.isprintable()
        assert os.path.join(tmp_path, unescaped(picture.name)) == picture.path
        assert Path(picture.path).read_bytes() == b"x"


def test_the_order_of_the_file_system_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = [f"{label}/{number}.png" for label in "abc" for number in range(20)]
    listing = folder(tmp_path, *made)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert list_folder(tmp_path) == listing


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder(tmp_path, "a/1.png", "b/1.png", "b/closed/2.png")
    scandir = os.scandir

    def refuse(path: str):
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_folder(tmp_path)
    assert listing.notes == (f"{tmp_path}/b/closed: cannot be read: Permission denied; left out",)
    assert names(listing) == ["a/1.png", "b/1.png"]


def test_folders_nested_deep(tmp_path: Path):
    deep = "d/" * 1100
    os.makedirs(tmp_path / "a")
    handle = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        for _ in range(1100):
            os.mkdir("d", dir_fd=handle)
            below = os.open("d", os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(os.open("1.png", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    finally:
        os.close(handle)
    write(tmp_path / "b/1.png", b"x")
    try:
        assert names(list_folder(tmp_path)) == [f"a/{deep}1.png", "b/1.png"]
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # Python's own removal recurses


def test_pictures_without_labels(tmp_path: Path):
    folder(tmp_path, "a/10.png", "a/9.png", "b/x/1.jpg", "b/notes.txt", "c/.hidden.png")
    found = list_pictures([tmp_path, str(tmp_path / "b/notes.txt"), tmp_path / "a"])
    assert found == [
        tmp_path / name for name in ("a/9.png", "a/10.png", "b/x/1.jpg", "b/notes.txt", "a/9.png", "a/10.png")
    ]
    with pytest.raises(ArgumentError) as caught:
        list_pictures([tmp_path / "none.png"])
    assert str(caught.value) == f"no file or folder is called '{tmp_path}/none.png'"
    with pytest.raises(DataError, match=r"/c: has no pictures \(\.png, "):
        list_pictures([tmp_path / "c"])


def table(root: Path, text: str | bytes) -> Listing:
    path = root / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list_table(path)


@pytest.mark.parametrize("head", ["", "path,label\n", "\ufeffPath, Label\n"])
def test_tables_of_path_and_label(tmp_path: Path, head: str):
    listing = table(tmp_path, head + 'b/10.png,dog\nb/9.png,cat\n\n"a,""b"".png", cat \r\n')
    assert [(picture.name, picture.label, picture.part) for picture in listing.pictures] == [
        ('a,"b".png', "cat", None), ("b/9.png", "cat", None), ("b/10.png", "dog", None),
    ]  # fmt: skip
    assert listing.pictures[1].path == str(tmp_path / "b/9.png")
    assert listing.class_names == ("cat", "dog")


def test_tables_with_splits_and_other_columns(tmp_path: Path):
    listing = table(tmp_path, "1.png,a,train\n2.png,b,Valid\n3.png,a,test\n")
    assert [picture.part for picture in listing.pictures] == ["train", "validation", "test"]
    assert listing.parts == ("train", "validation", "test")
    listing = table(tmp_path, "size,split,label,path\n3,val,a,1.png\n4,train,b,2.png\n")
    assert [(picture.name, picture.label, picture.part) for picture in listing.pictures] == [
        ("1.png", "a", "validation"), ("2.png", "b", "train"),
    ]  # fmt: skip


def test_tables_of_odd_names(tmp_path: Path):
    listing = table(tmp_path, b'"new\nline.png",a\ncaf\xe9.png,b\n')
    assert {os.path.basename(picture.path) for picture in listing.pictures} == {
        "new\nline.png",
        os.fsdecode(b"caf\xe9.png"),
    }
    assert {picture.name for picture in listing.pictures} == {"new\\nline.png", "caf\\xe9.png"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no pictures; expected lines of path,label"),
        ("path,label\n", "lists no pictures; expected lines of path,label"),
        ("a.png;cat\n", "line 1 has 1 fields, expected path,label"),
        ("1,2,3,4\n", "line 1 has 4 fields, expected path,label"),
        ("a.png,cat\nb.png\n", "line 2 has 1 fields, expected path,label"),
        ("a.png,cat\n,dog\n", "line 2 has no path"),
        ("a.png,cat\nb.png, \n", "line 2 has no label"),
        ("a.png,cat\nb.png,dog\na.png,dog\n", "a.png is listed twice, on lines 1 and 3"),
        ("a.png,cat,train\nb.png,dog,exam\n", "line 2 has the split exam, expected one of train, val, valid, "
         "validation, test"),
        ("a.png,cat,train\nb.png,dog,\n", "some lines have a split and some have none"),
        ('"a.png,cat\n', "is no CSV file: unexpected end of data"),
    ],
)  # fmt: skip
def test_tables_that_are_none(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError) as caught:
        table(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/table.csv: {message}"
