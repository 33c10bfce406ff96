"""Splits: their text, damage to it, and how pictures are dealt."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ArgumentError, DataError
from pellucid.train import Row, Split
from pellucid.train.data.draw import check_classes, draw_parts, wanted_fractions
from pellucid.train.data.names import escaped

HASH = "0123456789abcdef" * 4
NAMES = st.text(st.characters(exclude_categories=()), min_size=1, max_size=8)
BOTH = {"validation": 0.15, "test": 0.15}


@given(
    st.lists(
        st.tuples(NAMES, NAMES, st.sampled_from(["train", "validation", "test"])),
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_a_split_comes_back_from_its_text(tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, str]]):
    rows = [Row(escaped(path), escaped(label), part, HASH) for path, label, part in made if path != "first"]
    split = Split((Row("first", "a", "train", HASH), *rows))
    path = tmp_path_factory.mktemp("split") / "split.csv"
    path.write_text(split.text(), encoding="utf-8", newline="")
    assert Split.read(path) == split
    assert len(split.text().splitlines()) == len(split.rows) + 1


def test_the_text():
    split = Split((Row('a "1", é.png', "a", "train", HASH), Row("x\\n.png", "b", "test", HASH)))
    assert split.text() == (f'path,label,split,sha256\n"a ""1"", é.png",a,train,{HASH}\nx\\n.png,b,test,{HASH}\n')
    assert split.sources() == {"train": ('a "1", é.png',), "test": ("x\\n.png",)}


LINE = f"a.png,a,train,{HASH}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be path,label,split,sha256"),
        ("path,label,split\n", "line 1 must be path,label,split,sha256"),
        ("path,label,split,sha256\n", "the split has no row for `train`"),
        (f"path,label,split,sha256\nb,b,test,{HASH}\n", "the split has no row for `train`"),
        ("path,label,split,sha256\n" + LINE + LINE, "the split has 2 rows for a.png"),
        ("path,label,split,sha256\n" + LINE + "b.png,b\n", "line 3 has 2 fields, expected 4"),
        ("path,label,split,sha256\n" + LINE[:-20], "line 2 has no SHA-256 of 64 small hexadecimal digits"),
        (f"path,label,split,sha256\na,b,exam,{HASH}\n", "line 2 has the split 'exam', expected one of train, "
         "validation, test"),
        (f"path,label,split,sha256\n,b,train,{HASH}\n", "line 2 has an empty path or label"),
        (f"path,label,split,sha256\na\\q,b,train,{HASH}\n", "line 2 is not escaped: 'a\\\\q' has a backslash that "
         "begins no escape"),
        (f'path,label,split,sha256\n"a\nb",b,train,{HASH}\n', "line 2 has a path or label that cannot be printed"),
        (f'path,label,split,sha256\n"a,b,train,{HASH}\n', "unexpected end of data"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, text: str, message: str):
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        Split.read(path)
    assert str(caught.value) == f"{path}: is damaged: {message}"


def test_files_that_are_no_text_or_not_there(tmp_path: Path):
    path = tmp_path / "split.csv"
    path.write_bytes(b"path,label,split,sha256\n\xff\xfe")
    with pytest.raises(DataError, match=r"split\.csv: is damaged: 'utf-8' codec can't decode"):
        Split.read(path)
    with pytest.raises(DataError) as caught:
        Split.read(tmp_path / "none.csv")
    assert str(caught.value) == f"{tmp_path}/none.csv: cannot be read: No such file or directory"


@pytest.mark.parametrize("cut", range(0, 180, 7))
def test_files_cut_short_never_pass_as_whole_rows(tmp_path: Path, cut: int):
    whole = Split(tuple(Row(f"{name}.png", name, "train", HASH) for name in "ab"))
    path = tmp_path / "split.csv"
    path.write_text(whole.text()[:cut], encoding="utf-8")
    try:
        read = Split.read(path)
    except DataError:
        return
    assert read.rows == whole.rows[: len(read.rows)]


def test_classes_are_dealt_by_their_fractions():
    labels = ["a"] * 100 + ["b"] * 40 + ["c"] * 7
    parts = draw_parts("s", labels, range(len(labels)), {"validation": 0.15, "test": 0.2}, seed=3)
    counts = Counter(zip(labels, parts, strict=True))
    assert [counts[name, "validation"] for name in "abc"] == [15, 6, 1]
    assert [counts[name, "test"] for name in "abc"] == [20, 8, 1]
    assert parts == draw_parts("s", labels, range(len(labels)), {"validation": 0.15, "test": 0.2}, seed=3)
    assert parts != draw_parts("s", labels, range(len(labels)), {"validation": 0.15, "test": 0.2}, seed=4)
    # Which pictures are drawn has nothing to do with where they stand.
    assert {"validation", "test"} <= set(parts[:33]) & set(parts[33:66]) & set(parts[66:100])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1, max_size=80), st.integers(0, 9),
       st.sampled_from([BOTH, {"validation": 0.3}, {"test": 0.5}, {"validation": 0.45, "test": 0.45}]))  # fmt: skip
def test_groups_are_never_cut_and_every_part_has_every_class(
    pictures: list[tuple[str, int]], seed: int, fractions: dict[str, float]
):
    # Groups of one class each: whether a split is possible is then a matter of counting.
    labels, groups = [label for label, _ in pictures], [group * 3 + "abc".index(label) for label, group in pictures]
    of_class = defaultdict[str, set[int]](set)
    for label, group in zip(labels, groups, strict=True):
        of_class[label].add(group)
    if min(map(len, of_class.values())) <= len(fractions):
        with pytest.raises(DataError, match=r"^s: class [abc] has \d+ picture.* need one each$"):
            draw_parts("s", labels, groups, fractions, seed)
        return
    parts = draw_parts("s", labels, groups, fractions, seed)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
    assert set(zip(labels, parts, strict=True)) == {(name, part) for name in of_class for part in ("train", *fractions)}


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 1, 10), (5, 5, 1), (9, 8, 7, 1)])
@pytest.mark.parametrize("fractions", [BOTH, {"validation": 0.45, "test": 0.45}, {"validation": 0.05, "test": 0.9}])
def test_few_large_groups(sizes: tuple[int, ...], fractions: dict[str, float]):
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    for seed in range(5):
        parts = draw_parts("s", ["a"] * len(groups), groups, fractions, seed)
        assert set(parts) == {"train", "validation", "test"}
        assert len(set(zip(groups, parts, strict=True))) == len(sizes)


def test_groups_of_several_classes_stay_whole_and_balanced():
    labels = [str(number % 4) for number in range(400)]
    groups = [number // 8 for number in range(400)]  # 50 patients with two pictures of each class
    parts = draw_parts("s", labels, groups, BOTH, 0)
    assert len(set(zip(groups, parts, strict=True))) == 50
    counts = Counter(parts)
    assert abs(counts["test"] - 60) <= 8
    assert abs(counts["validation"] - 60) <= 8


@pytest.mark.parametrize(
    ("counts", "groups", "message"),
    [
        ({"a": 1, "b": 9}, None, "s: class a has 1 picture: train, validation and test need one each"),
        ({"a": 9, "b": 2}, None, "s: class b has 2 pictures: train, validation and test need one each"),
        ({"a": 9, "b": 4}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9], "s: class b has 4 pictures, which make 1 group "
         "that must stay together: train, validation and test need one each"),
        ({"a": 9, "b": 4}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10], "s: class b has 4 pictures, which make 2 groups "
         "that must stay together: train, validation and test need one each"),
    ],
)  # fmt: skip
def test_classes_that_are_too_small(counts: dict[str, int], groups: list[int] | None, message: str):
    labels = [name for name, count in counts.items() for _ in range(count)]
    with pytest.raises(DataError) as caught:
        draw_parts("s", labels, groups or range(len(labels)), BOTH, 0)
    assert str(caught.value) == message


def test_classes_that_a_part_lacks():
    with pytest.raises(DataError) as caught:
        check_classes("s", ["a", "a", "b"], ["train", "test", "train"])
    assert str(caught.value) == "s: class b has 1 for train, 0 for test: each part needs a picture of it"
    with pytest.raises(DataError) as caught:
        check_classes("s", ["a", "a"], ["train", "test"])
    assert str(caught.value) == "s: has one class only, a; a classifier needs two"


def test_what_is_drawn():
    assert wanted_fractions((), None, None) == {"validation": 0.15, "test": 0.15}
    assert wanted_fractions(("train", "test"), None, None) == {"validation": 0.15}
    assert wanted_fractions(("train", "validation"), None, None) == {}
    assert wanted_fractions(("train", "validation"), None, 0.2) == {"test": 0.2}
    assert wanted_fractions(("train", "validation", "test"), None, None) == {}
    assert wanted_fractions((), 0.3, 0.0) == {"validation": 0.3}
    for arguments, message in (
        ((("test",), None, 0.1), "`test` (=0.1) cannot be drawn: the data has a test part of its own"),
        (((), 1.0, None), "`validation` (=1) must be at least 0 and below 1"),
        (((), float("nan"), None), "`validation` (=nan) must be at least 0 and below 1"),
        (((), 0.5, 0.5), "`validation` and `test` (=0.5, 0.5) must be below 1 together: nothing is left for training"),
    ):
        with pytest.raises(ArgumentError) as caught:
            wanted_fractions(*arguments)
        assert str(caught.value) == message
