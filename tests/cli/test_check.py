"""`pellucid check`: what it prints, and how it exits."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pellucid.cli.group import command_line
from train.data.made import encoded, photograph, png_header, save, write


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, ["check", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    save(root, {f"{label}/{number}.png": 100 * place + number for place, label in enumerate(("cat", "dog"))
                for number in range(4)})  # fmt: skip
    return root


def test_a_folder_in_order(photos: Path):
    result = check(photos)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{photos}: 8 pictures, 2 classes\n\n"
        "class    pictures\n"
        "cat             4\n"
        "dog             4\n\n"
        "sizes (width x height): smallest 24x24, median 24x24, largest 24x24\n"
        "kinds of pixels: RGB (8)\n\n"
        "Nothing is wrong: 8 pictures of 2 classes can be trained on.\n"
    )
    assert result.stderr == ""


def test_everything_that_is_wrong(photos: Path):
    write(photos / "cat/empty.png", b"")
    write(photos / "cat/bomb.png", png_header(60_000, 60_000))
    write(os.path.join(photos, "dog", "new\nline" + os.fsdecode(b"\xff") + ".png"), b"text")
    (photos / "emu").mkdir()
    write(photos / "fox/1.png", encoded(photograph(900, 30, 20).convert("L")))
    write(photos / "gnu/1.png", b"")
    write(photos / "dog/notes.txt", b"")
    save(photos, {"dog/again.png": 102, "dog/like-cat.png": 1})
    result = check(photos)
    assert result.exit_code == 1
    assert result.stdout == (
        f"{photos}: 11 pictures, 4 classes\n\n"
        "class    pictures\n"
        "cat             4\n"
        "dog             6\n"
        "fox             1\n"
        "gnu             0\n"
        "The largest class has 6.0 times as many pictures as the smallest.\n\n"
        "sizes (width x height): smallest 24x24, median 24x24, largest 30x20\n"
        "kinds of pixels: RGB (10), L (1)\n"
        "other files: 1; they are left out\n"
        "pictures that cannot be read: 4\n"
        "  cat/bomb.png: has 60000x60000 pixels, more than 100000000\n"
        "  cat/empty.png: is empty (0 bytes)\n"
        "  dog/new\\nline\\xff.png: is no picture of a format that is read (PNG, JPEG, WEBP, BMP, GIF, TIFF)\n"
        "  gnu/1.png: is empty (0 bytes)\n"
        "classes without pictures: 1\n"
        "  emu\n"
        "the same picture in several classes: 1\n"
        "  identical: cat/1.png, dog/like-cat.png\n"
        "the same picture more than once (kept on one side of a split): 1\n"
        "  identical: dog/2.png, dog/again.png\n\n"
        "5 things wrong: 4 pictures cannot be read; class emu has no pictures; class fox has one picture only; "
        "class gnu has no picture that can be read; 1 picture stands in several classes.\n"
    )


def test_leaks_between_parts_and_json(photos: Path, tmp_path: Path):
    root = tmp_path / "parts"
    root.mkdir()
    photos.rename(root / "train")
    save(root, {"test/cat/9.png": 50, "test/cat/8.png": 51})
    big = photograph(0, 24, 24).resize((96, 96))
    write(root / "test/cat/big.jpg", encoded(big, "JPEG", quality=90))
    result = check(root)
    assert result.exit_code == 1
    assert "class       train        test         all\ncat             4           3           7\n" in result.stdout
    assert "  nearly identical: test/cat/big.jpg, train/cat/0.png\n" in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "2 things wrong: class dog has no picture for test; 1 picture stands in several parts."
    )
    found = json.loads(check(root, "--json").stdout)
    assert found["classes"] == {"cat": {"train": 4, "test": 3}, "dog": {"train": 4, "test": 0}}
    assert found["wrong"] == ["class dog has no picture for test", "1 picture stands in several parts"]
    assert found["duplicates"] == [
        {"names": ["test/cat/big.jpg", "train/cat/0.png"], "exact": False, "classes": ["cat"],
         "parts": ["train", "test"]}
    ]  # fmt: skip
    assert (found["pictures"], found["sizes"][-1]) == (11, [96, 96])


def test_one_class_and_no_pictures(tmp_path: Path):
    save(tmp_path / "one", {"a/1.png": 1, "a/2.png": 2})
    result = check(tmp_path / "one")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "1 thing wrong: there is one class only, a."
    (tmp_path / "none").mkdir()
    result = check(tmp_path / "none")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"wrong: {tmp_path}/none: has no pictures (")
    result = check(tmp_path / "none", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["wrong"][0].startswith(f"{tmp_path}/none: has no pictures (")


def test_tables(photos: Path):
    (photos / "table.csv").write_text("cat/1.png,a\ncat/2.png,a\ndog/1.png,b\ndog/2.png,b\ngone.png,b\n")
    result = check(photos / "table.csv")
    assert result.exit_code == 1
    assert "  gone.png: cannot be read: No such file or directory\n" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 thing wrong: 1 picture cannot be read."


def test_usage_errors(tmp_path: Path):
    for arguments, message in (
        ((tmp_path / "absent",), f"error: no folder or file is called '{tmp_path}/absent'\n"),
        (("digits",), "error: digits has stored arrays; only pictures in files are checked\n"),
    ):
        result = check(*arguments)
        assert (result.exit_code, result.stderr) == (2, message)
    assert check().exit_code == 2
    assert check(tmp_path, "--threads", "0").exit_code == 2


def test_threads_change_nothing(photos: Path):
    write(photos / "cat/empty.png", b"")
    assert check(photos, "--threads", "1").stdout == check(photos, "--threads", "5").stdout
