"""`report.html`, read as a browser reads it."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import ArgumentError, DataError
from pellucid.train import History
from pellucid.train.report.mistakes import Mistake, worst_mistakes
from pellucid.train.report.page import report_html
from train.report.samples import HOSTILE, evaluation, history, mistake, report, without_matplotlib

NOTHING = History((), 0, False)
VOID = {"meta", "img", "br", "hr", "link", "input"}
FETCHING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}


class Reader(HTMLParser):
    """Checks that elements nest, names are unique and nothing is fetched; keeps tags, texts and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert {link.removeprefix("#") for link in self.links if link.startswith("#")} <= set(self.ids)
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in self.links)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        assert not any(name.startswith("on") for name in names), (tag, names)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in FETCHING]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(report())


def test_the_page_has_every_part(page: str):
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert read.tags.count("svg") == 3 + 2 + 1
    headings = ("Course of training", "Classes: validation", "Classes: test", "Worst mistakes", "Gradients", "Timing")
    for heading in (*headings, "Settings and facts", "Problems"):
        assert read.words.count(heading) == 2  # above the section, and in the list of links
    for word in (
        "insects",
        "optimizer adamw",
        "ant taken for bee",
        "70.0%",
        "photos/a.png",
        "photos/b.png: zero bytes",
    ):
        assert word in read.words
    assert "6.00 s" in read.words
    assert "1 file was skipped" in read.words


def test_nothing_is_fetched_and_nothing_runs(page: str):
    read = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(read.tags)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in read.attributes
    without_names = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert "@import" not in page
    assert set(re.findall(r"url\(([^)]{1,5})", page)) <= {"#curv", "#grad", "#part"}


def test_drawings_within_the_page_are_xml(page: str):
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_the_same_bytes_each_time(page: str):
    assert report_html(report()) == page


@pytest.mark.parametrize("drawn", [True, False])
def test_names_of_others_are_words_only(drawn: bool):
    hostile = report(
        HOSTILE,
        title=HOSTILE[0],
        facts={one: {one: one} for one in HOSTILE},
        mistakes=tuple(replace(mistake(one, len(HOSTILE)), label=3) for one in HOSTILE),
        mistakes_of=HOSTILE[1],
        evaluations={one: evaluation(len(HOSTILE)) for one in HOSTILE[:3]},
        problems=HOSTILE,
        history=History(
            tuple(replace(row, gradient_norms=dict.fromkeys(HOSTILE, 1.0)) for row in history(2).epochs), 2, False
        ),
    )
    if drawn:
        page = report_html(hostile)
    else:
        with without_matplotlib():
            page = report_html(hostile)
    page.encode("utf-8")
    assert not set("\x00\x1b\r\u202e\u2066") & set(page)
    read = Reader(page)
    assert not {"script", "link", "iframe"} & set(read.tags)
    for words in (
        "<script>alert(1)</script>",
        "two\\nlines\\r\\tand \\x1b[31mred\\x00",
        "caf\\udce9",
        "日本語 العربية 🐈",
    ):
        assert words in read.words
    assert read.tags.count("img") == len(HOSTILE)


def test_without_matplotlib_tables_take_the_place_of_drawings():
    with without_matplotlib():
        page = report_html(report())
    read = Reader(page)
    assert "svg" not in read.tags
    assert "<details open>" in page
    assert "matplotlib is missing; pip install 'pellucid[plot]'" in read.words
    confusion = report().evaluations["test"].confusion
    matrix = page[page.index('id="part2"') :].split('class="matrix"')[1].split("</table>")[0]
    found = [re.findall(r"<td[^>]*>(\d*)</td>", line) for line in matrix.split("<tr>")[2:]]
    assert [[int(cell or 0) for cell in line] for line in found] == confusion.tolist()


def test_one_epoch_no_validation_no_mistakes():
    read = Reader(
        report_html(report(history=history(1, validation=False), evaluations={}, mistakes=(), problems=(), facts={}))
    )
    assert "epoch kept 1 of 1 the last" in read.words
    assert not {"Worst mistakes", "Gradients", "Problems", "Settings and facts"} & set(read.texts)
    assert "validation" not in read.words


@pytest.mark.parametrize("drawn", [True, False])
def test_a_regression(drawn: bool):
    run = report((), history=history(3, classes=False))
    if drawn:
        read = Reader(report_html(run))
    else:
        with without_matplotlib():
            read = Reader(report_html(run))
    assert "accuracy" not in read.words
    assert "validation loss" in read.words


def test_a_run_without_a_finished_epoch():
    read = Reader(report_html(report(history=NOTHING, evaluations={}, mistakes=())))
    assert "No epoch was finished." in read.words
    assert "Timing" not in read.texts


def test_a_hundred_classes():
    names = tuple(f"class {number}" for number in range(100))
    read = Reader(report_html(report(names, evaluations={"test": evaluation(100, 2000)})))
    assert "The 10 classes of least recall" in read.words
    assert "all 100 classes" in read.words


def test_states_of_recurrent_layers():
    rows = tuple(
        replace(row, gradient_norms={"0.weight": 1.0}, state_gradient_norms={"0.h": (0.125, 0.25, 0.5)})
        for row in history(2).epochs
    )
    read = Reader(report_html(report((), history=History(rows, 2, False))))
    assert "0.h 3 0.125 0.25 0.5" in read.words


@pytest.mark.parametrize(("shape", "mode", "shown"), [
    ((6, 8, 1), "L", (208, 156)), ((6, 8, 3), "RGB", (208, 156)), ((8, 6, 4), "RGBA", (156, 208)),
    ((6, 8, 2), "L", (208, 156)), ((100, 50, 3), "RGB", (100, 200)), ((300, 600, 3), "RGB", (208, 104)),
    ((1, 5000, 1), "L", (208, 1)),
])  # fmt: skip
def test_pictures_stand_in_the_page(shape: tuple[int, ...], mode: str, shown: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    page = report_html(report(mistakes=(replace(mistake(), image=pixels),), history=NOTHING, evaluations={}))
    found = re.search(r'<img( class="crisp")? src="data:image/png;base64,([^"]*)" width="(\d+)" height="(\d+)"', page)
    assert found is not None
    picture = Image.open(io.BytesIO(base64.b64decode(found[2])))
    assert (picture.format, picture.mode) == ("PNG", mode)
    assert (int(found[3]), int(found[4])) == shown
    assert bool(found[1]) == (max(shape) <= 208)
    if max(shape) <= 416:
        expected = pixels if shape[2] > 2 else pixels[..., 0]
        np.testing.assert_array_equal(np.asarray(picture), expected)
    else:
        assert max(picture.size) == 416


def test_many_problems_are_folded():
    read = Reader(
        report_html(
            report((), history=NOTHING, problems=tuple(f"photos/{number}.png: empty" for number in range(1234)))
        )
    )
    assert "1,234 files were skipped" in read.words
    assert "1,214 more" in read.words
    assert "photos/1233.png: empty" in read.words


def test_as_many_names_as_classes():
    with pytest.raises(ArgumentError, match="1 names, but 4 classes"):
        report_html(replace(report(), class_names=("one",)))


def test_the_surest_mistakes_come_first():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.2, 0.8]])
    labels = np.array([0, 1, 0, 0, 0])
    assert worst_mistakes(labels, probabilities, 3).tolist() == [2, 4, 3]
    assert worst_mistakes(labels, probabilities, 9).tolist() == [2, 4, 3, 1]
    assert worst_mistakes(labels, probabilities, 0).tolist() == []
    assert worst_mistakes(labels[:1], probabilities[:1], 5).tolist() == []
    empty = worst_mistakes(labels[:0], probabilities[:0], 5)
    assert (empty.tolist(), empty.dtype) == ([], np.int64)


def test_wrong_mistakes():
    with pytest.raises(ArgumentError) as caught:
        worst_mistakes(np.zeros(1, np.int64), np.zeros((1, 2)), -1)
    assert str(caught.value) == "`count` (=-1) must be 0 or more"
    with pytest.raises(DataError) as caught:
        worst_mistakes(np.zeros(2, np.int64), np.zeros((1, 2)), 1)
    assert str(caught.value) == (
        "`labels` must be (images,) and `probabilities` (images, classes), got (2,) and (1, 2)"
    )
    with pytest.raises(DataError) as caught:
        Mistake("a", np.zeros((2, 2), np.uint8), 0, np.zeros(2))
    assert str(caught.value) == "`image` must be uint8 (height, width, channels), got uint8 (2, 2)"
    with pytest.raises(DataError) as caught:
        Mistake("a", np.zeros((2, 2, 1), np.uint8), 2, np.zeros(2))
    assert str(caught.value) == "`label` (=2) has no entry in `probabilities` (2,)"


def test_the_true_class_is_always_among_the_likeliest():
    probabilities = np.array([0.1, 0.4, 0.4, 0.05, 0.05])
    found = Mistake("a", np.zeros((1, 1, 1), np.uint8), 4, probabilities)
    assert found.predicted == 1
    assert found.likeliest(2) == (1, 2, 4)
    assert found.likeliest(9) == (1, 2, 0, 3, 4)
