"""Pictures that are the same are found, and those that are not stay apart."""

import numpy as np
import pytest
from PIL import Image

from pellucid.train import load_digits
from pellucid.train.data.decode import examine
from pellucid.train.data.fingerprints import SIDE, Fingerprint, group_alike, hash_bytes, join_by_key
from train.data.made import encoded, photograph


def fingerprint(content: bytes) -> Fingerprint:
    return Fingerprint(hash_bytes(content), examine(content, SIDE, "p")[1].tobytes())


def versions(image: Image.Image) -> list[bytes]:
    """A photograph as people keep it several times."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    small = image.resize((128, 128 * image.height // image.width), Image.Resampling.LANCZOS)
    return [
        encoded(image), encoded(image, "BMP"), encoded(half), encoded(half, "TIFF"), encoded(small, "JPEG"),
        encoded(image, "WEBP", quality=60), encoded(image.quantize(256), "GIF"),
        *(encoded(image, "JPEG", quality=quality) for quality in (95, 75, 40, 20)),
    ]  # fmt: skip


def test_photographs_saved_again_are_one_group_and_different_ones_are_not():
    kept = [versions(photograph(seed, 400, 300)) for seed in range(12)]
    groups = group_alike([fingerprint(content) for copies in kept for content in copies])
    expected = [first * len(kept[0]) for first, copies in enumerate(kept) for _ in copies]
    assert groups == expected


def test_photographs_that_ship_with_scikit_image():
    data = pytest.importorskip("skimage.data")
    named = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "camera", "rocket")]
    kept = [versions(Image.fromarray(pixels).convert("RGB")) for pixels in named]
    groups = group_alike([fingerprint(content) for copies in kept for content in copies])
    assert groups == [first * len(kept[0]) for first, copies in enumerate(kept) for _ in copies]


def test_no_two_of_the_bundled_digits_are_joined():
    digits = load_digits()
    images = np.concatenate([np.asarray(digits.train.images), np.asarray(digits.test.images)])[..., 0]
    contents = [encoded(Image.fromarray(image)) for image in np.rint(images * 255).astype(np.uint8)]
    assert group_alike([fingerprint(content) for content in contents]) == list(range(5000))


def test_flat_pictures_are_the_same_by_their_bytes_alone():
    white, cream = Image.new("RGB", (40, 40), "white"), Image.new("RGB", (40, 40), (255, 255, 250))
    dotted = white.copy()
    dotted.putpixel((20, 20), (0, 0, 0))
    contents = [encoded(white), encoded(cream), encoded(dotted), encoded(white), encoded(white, "BMP")]
    assert group_alike([fingerprint(content) for content in contents]) == [0, 1, 2, 0, 4]


def test_the_same_in_another_colour_or_with_another_corner_is_another_picture():
    image = photograph(3, 200, 160)
    channels = image.split()
    swapped = Image.merge("RGB", channels[::-1])
    covered = image.copy()
    covered.paste((0, 0, 0), (0, 0, 30, 30))
    luma, blue, red = image.convert("YCbCr").split()
    tinted = Image.merge("YCbCr", (luma, blue.point(lambda level: level * 0.9 + 40), red)).convert("RGB")
    spotted = image.copy()
    cell = image.crop((100, 80, 113, 90))  # of the copy
    shift = 45 if np.asarray(cell).mean() < 128 else -45
    spotted.paste(cell.point(lambda level: level + shift), (100, 80))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    contents = [encoded(version) for version in (image, swapped, covered, mirrored, tinted, spotted)]
    assert group_alike([fingerprint(content) for content in contents]) == [0, 1, 2, 3, 4, 5]


def test_groups_do_not_depend_on_the_company():
    random = np.random.default_rng(0)
    pair = [fingerprint(content) for content in versions(photograph(1, 200, 150))[:2]]
    others = [
        Fingerprint(str(number), copy.tobytes())
        for number, copy in enumerate(random.integers(0, 256, (5000, 768), np.uint8))
    ]
    groups = group_alike([pair[0], *others, pair[1]])
    assert groups == [*range(5001), 0]


@pytest.mark.parametrize("noise", [0.5, 6])
def test_many_pictures_that_look_alike_are_grouped(noise: float):
    """Pairs would be 200 million, which no test waits for."""
    random = np.random.default_rng(0)
    base = random.integers(40, 215, 768)
    copies = np.rint(base + random.normal(0, noise, (20_000, 768))).astype(np.uint8)
    groups = group_alike([Fingerprint(str(number), copy.tobytes()) for number, copy in enumerate(copies)])
    assert len(set(groups)) == (1 if noise == 0.5 else 20_000)


def test_groups_of_a_key():
    assert join_by_key([0, 1, 0, 3, 4], [None, "a", "b", "a", "b"]) == [0, 1, 0, 1, 0]
    assert group_alike([]) == []
