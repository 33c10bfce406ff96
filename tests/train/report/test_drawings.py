"""Curves, confusion matrices and gradients as SVG."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from math import inf, nan
from xml.etree import ElementTree

import numpy as np
import pytest

from pellucid.errors import ArgumentError
from pellucid.train import EpochResult, Evaluation, History
from pellucid.train.report.confusion import STRONG, confusion_svg, strength
from pellucid.train.report.curves import curve_panels, curves_svg
from pellucid.train.report.drawing import PALETTE, inlined, plotting_missing
from pellucid.train.report.gradients import SCALE as LAYERS
from pellucid.train.report.gradients import gradients_svg, layer_norms
from train.report.samples import HOSTILE, evaluation, history, svg_words, without_matplotlib


def test_curves_have_what_is_known():
    words = svg_words(curves_svg(history()))
    assert {"loss", "accuracy", "learning rate", "training", "validation", "balanced", "epoch"} <= set(words)
    assert words.count("best: epoch 3") == 2


def test_no_validation():
    words = svg_words(curves_svg(history(validation=False)))
    assert {"loss", "accuracy", "training"} <= set(words)
    assert not {"validation", "balanced"} & set(words)
    assert not any("best" in word for word in words)


def test_a_regression_has_no_accuracy():
    words = svg_words(curves_svg(history(classes=False)))
    assert {"loss", "learning rate"} <= set(words)
    assert not {"accuracy", "balanced"} & set(words)
    assert len(curve_panels(history(classes=False))) == 2


@pytest.mark.parametrize("epochs", [1, 2, 31, 1000])
def test_any_number_of_epochs(epochs: int):
    words = svg_words(curves_svg(history(epochs)))
    assert str(epochs) in words or epochs > 2


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_accuracies_stay_between_0_and_100(share: float):
    measured = {"accuracy": share, "validation_accuracy": share, "validation_balanced_accuracy": share}
    rows = tuple(replace(row, **measured) for row in history(3).epochs)
    figures = [word for word in svg_words(curves_svg(History(rows, 3, stopped_early=False))) if word.endswith("%")]
    assert f"{100 * share:g}%" in figures
    assert all(0 <= float(figure[:-1]) <= 100 for figure in figures)


def test_losses_that_are_not_finite_are_left_out():
    rows = history(3).epochs
    damaged = (replace(rows[0], loss=inf), replace(rows[1], loss=nan, validation_loss=nan), rows[2])
    drawn = curves_svg(History(damaged, 3, stopped_early=False))
    assert "nan" not in drawn.lower().replace("resonance", "")
    assert "loss" in svg_words(drawn)


def test_losses_of_many_magnitudes_are_drawn_on_a_logarithmic_scale():
    rows = tuple(replace(row, loss=10.0**-row.epoch, validation_loss=None) for row in history(5).epochs)
    assert {"0.1", "0.001", "0.0001"} <= set(svg_words(curves_svg(History(rows, 5, stopped_early=False))))


def test_two_classes_with_counts():
    found = Evaluation(0.0, np.array([[70, 3], [11, 900]]))
    words = svg_words(confusion_svg(found, ("cat", "dog")))
    assert {"70", "3", "11", "900", "cat", "dog", "true class", "predicted class"} <= set(words)
    assert words.count("cat") == 2


@pytest.mark.parametrize("classes", [2, 20, 21, 100, 250])
def test_any_number_of_classes(classes: int):
    names = tuple(f"class {number}" for number in range(classes))
    drawn = confusion_svg(evaluation(classes, 3000), names)
    words = svg_words(drawn)
    assert len(drawn) < 300_000
    assert ("<image" in drawn) == (classes > 20)
    shown = [name for name in names if name in words]
    assert len(shown) == classes if classes <= 100 else 80 <= len(shown) <= 100


def test_pixels_of_many_classes_are_their_shares():
    """The picture within the drawing, decoded by Pillow."""
    import base64
    import io
    import re

    from PIL import Image

    counts = np.zeros((30, 30), np.int64)
    np.fill_diagonal(counts, 4)
    counts[3, 7], counts[29] = 12, 0
    drawn = confusion_svg(Evaluation(0.0, counts), [str(number) for number in range(30)])
    data = re.search(r'href="data:image/png;base64,([^"]*)"', drawn)
    assert data is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGBA"))
    assert pixels.shape == (30, 30, 4)
    opacity = pixels[..., 3] / 255
    np.testing.assert_allclose(opacity, strength(counts), atol=0.005)
    assert opacity[3, 7] > opacity[3, 3] > 0 == opacity[0, 1]
    assert pixels[3, 7, 0] > pixels[3, 7, 2]  # red
    assert pixels[5, 5, 0] < pixels[5, 5, 2]  # blue


def test_names_of_others_are_words_only():
    drawn = confusion_svg(evaluation(len(HOSTILE)), HOSTILE)
    words = svg_words(drawn)
    assert "<script>aler…ript>" in words
    assert "$\\frac{1$ &…b&gt;" in words
    assert "日本語 العربية 🐈" in words
    assert any(word.startswith("xxx") and "…" in word for word in words)
    tags = {element.tag.split("}")[-1] for element in ElementTree.fromstring(drawn.encode()).iter()}
    assert not tags & {"script", "img", "b"}


def test_as_many_names_as_classes():
    with pytest.raises(ArgumentError, match="1 names, but 2 classes"):
        confusion_svg(evaluation(2), ["one"])


def test_norms_of_a_layer_are_those_of_its_parameters_together():
    rows = tuple(
        EpochResult(number, 1.0, None, None, None, 0.1, 1.0, 1.0, gradient_norms=norms)
        for number, norms in enumerate(({"a.0.weight": 3.0, "a.0.bias": 4.0, "scale": 1.0}, {"a.0.weight": 2.0}), 1)
    )
    found = layer_norms(History(rows, 2, stopped_early=False))
    assert found == {"a.0": (5.0, 2.0), "scale": (1.0, None)}
    assert list(found) == ["a.0", "scale"]


@pytest.mark.parametrize("layers", [1, 12, 60])
def test_gradients_of_any_number_of_layers(layers: int):
    words = svg_words(gradients_svg(history(6, layers=layers)))
    named = [str(layer) for layer in range(layers) if str(layer) in words]
    assert {"0", str(layers - 1)} <= set(named)
    assert ("layer" in words) == (layers <= 12)


def test_norms_within_one_power_of_ten_have_figures_beside_them():
    rows = tuple(replace(row, gradient_norms={"0.weight": 0.3 + 0.1 * row.epoch}) for row in history(2).epochs)
    assert {"0.4", "0.5"} <= set(svg_words(gradients_svg(History(rows, 2, stopped_early=False))))


def test_gradients_of_zero_are_left_out():
    rows = tuple(replace(row, gradient_norms={"0.weight": 0.0, "1.weight": inf}) for row in history(2).epochs)
    assert "layer" in svg_words(gradients_svg(History(rows, 2, stopped_early=False)))


_DRAW = """
import hashlib, sys
from train.report.samples import evaluation, history
from pellucid.train.report.confusion import confusion_svg
from pellucid.train.report.curves import curves_svg
from pellucid.train.report.gradients import gradients_svg
drawn = curves_svg(history()) + gradients_svg(history(layers=3)) + confusion_svg(evaluation(30), list("abcde" * 6))
assert "matplotlib.pyplot" not in sys.modules
print(hashlib.sha256(drawn.encode()).hexdigest())
"""


def test_the_same_bytes_in_every_process(tmp_path):
    """Whatever the hash seed and the user's own settings of matplotlib are."""
    (tmp_path / "matplotlibrc").write_text("axes.linewidth: 5\nlines.linestyle: --\n")
    changes = ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "MATPLOTLIBRC": str(tmp_path)})
    paths = os.pathsep.join(path for path in sys.path if path)
    found = [
        subprocess.run(
            [sys.executable, "-c", _DRAW], env={**os.environ, "PYTHONPATH": paths, **change},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for change in changes
    ]  # fmt: skip
    assert found[0] == found[1] != ""


def test_drawings_leave_the_users_settings_alone():
    import matplotlib

    before = matplotlib.rcParams.copy()
    before["axes.facecolor"] = matplotlib.rcParams["axes.facecolor"] = "red"
    try:
        curves_svg(history())
        assert matplotlib.rcParams.copy() == before
    finally:
        matplotlib.rcParams["axes.facecolor"] = "white"


def test_within_a_page_colours_are_variables_and_names_are_apart():
    drawn = curves_svg(history())
    one, other = inlined(drawn, "one", "loss"), inlined(drawn, "other", "loss")
    assert 'aria-label="loss"' in one
    assert "<metadata" not in one
    assert not any(light in one for light, _ in PALETTE.values())
    ids = [[element.get("id") for element in ElementTree.fromstring(svg).iter()] for svg in (one, other)]
    assert not {name for name in ids[0] if name} & {name for name in ids[1] if name}
    used = [
        value.removeprefix("#")
        for element in ElementTree.fromstring(one).iter()
        for key, value in element.attrib.items()
        if key.endswith("href")
    ]
    assert used
    assert set(used) <= set(ids[0])


def test_colours_can_be_told_from_their_ground():
    for scheme in (0, 1):
        colours = {name: _rgb(pair[scheme]) for name, pair in PALETTE.items()}
        for name in ("ink", "muted", "training", "validation", "balanced"):
            assert _contrast(colours[name], colours["paper"]) >= 4.4, (name, scheme)
        for name, part in product(("right", "wrong"), np.linspace(0.16, 1, 43)):
            ground = part * colours[name] + (1 - part) * colours["paper"]
            words = colours["on-strong" if part > STRONG else "ink"]
            assert _contrast(words, ground) >= 3.5, (name, part, scheme)


def test_layers_can_be_told_from_their_ground():
    for paper in PALETTE["paper"]:
        assert all(_contrast(_rgb(paint), _rgb(paper)) >= 3 for paint in LAYERS)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2.2's ratio."""

    def light(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_what_to_do_without_matplotlib():
    assert plotting_missing() is None
    with without_matplotlib():
        assert plotting_missing() == (
            "curves.svg, gradients.svg and confusion_matrix.svg are not drawn: matplotlib is missing; "
            "pip install 'pellucid[plot]'"
        )
        with pytest.raises(ImportError):
            curves_svg(history())
