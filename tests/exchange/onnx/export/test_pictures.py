"""Pictures of any size into the file, judged by what training makes of them with Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exchange.onnx.export.exported import built, exported, operators, run
from pellucid import nn
from pellucid.exchange import Preprocessing
from pellucid.train.data.decode import PictureForm, decode
from pellucid.train.data.images import Normalisation
from pellucid.train.probabilities import probabilities_of

SIZES = [(16, 12), (16, 24), (31, 17), (9, 40), (75, 60), (300, 190)]


def picture(height: int, width: int) -> np.ndarray:
    """Red, green and blue bytes: a few waves and some noise."""
    random = np.random.default_rng(height)
    y, x = np.meshgrid(range(height), range(width), indexing="ij")
    waves = [128 + 90 * np.sin(y * f / 3 + x * g / 4) for f, g in ((1, 0.3), (0.2, 1), (0.7, 0.6))]
    return np.clip(np.stack(waves, -1) + random.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def as_trained(pixels: np.ndarray, form: PictureForm) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return decode(content.getvalue(), form, "picture")


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_pictures_become_what_training_made_of_them(resize: str, color: str, tmp_path: Path):
    channels = 3 if color == "rgb" else 1
    # The network gives its input, so that what stands before it is seen.
    network = nn.Sequential(nn.Identity())
    model = network.build((16, 12, channels), loss=nn.MSELoss())
    preparation = Preprocessing(color, resize, (0.0,) * channels, (1 / 255,) * channels)
    path = tmp_path / "out.onnx"
    exported(model, path, preprocessing=preparation, include_preprocessing=True, opset=13)
    for height, width in SIZES:
        pixels = picture(height, width)
        found = np.moveaxis(run(path, pixels[None])[0], 0, -1)
        wanted = as_trained(pixels, PictureForm(16, 12, channels, resize)).astype(np.float64)
        apart = np.abs(found - wanted)
        # One step of a byte: Pillow takes rows or columns first as it sees fit, and rounds between the two. Where a
        # picture shrinks six times or more it averages whole pixels before.
        near = min(height / 16, width / 12) < 6
        assert apart.max() <= (1.01 if near else 8), (height, width)
        assert apart.mean() <= (0.3 if near else 1.5), (height, width)


def test_probabilities_of_pictures(tmp_path: Path):
    model = built(nn.lenet5(3), (28, 28, 1), loss=nn.CrossEntropyLoss())
    preparation = Preprocessing("gray", "crop", (0.4,), (0.3,))
    path = tmp_path / "out.onnx"
    message = exported(model, path, preprocessing=preparation, include_preprocessing=True, class_names=("a", "b", "c"))
    assert operators(message)[-1] == "Softmax"
    pixels = picture(60, 45)
    x = as_trained(pixels, PictureForm(28, 28, 1, "crop"))[None].astype(np.float32) / np.float32(255)
    wanted = probabilities_of(model.predict(Normalisation((0.4,), (0.3,))(x)), model.loss)
    found = run(path, np.stack([pixels, pixels]))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[1], wanted[0], atol=2e-3)
