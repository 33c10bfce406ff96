"""Decoding: every kind of picture against Pillow or by hand, and everything hostile refused by name."""

import io
import os
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.decode import MOST_PIXELS, PictureForm, decode, examine, read_picture
from train.data.made import encoded, photograph, png_header

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def pixels(content: bytes, height: int, width: int, channels: int = 3, resize: str = "crop") -> np.ndarray:
    found = decode(content, PictureForm(height, width, channels, resize), "p")
    assert (found.shape, found.dtype) == ((height, width, channels), np.uint8)
    return found


def refusal(content: bytes, name: str = "cat/1.png") -> str:
    """What is said of a file; the scan must say the same."""
    with pytest.raises(DataError) as caught:
        decode(content, PictureForm(8, 8, 3), name)
    with pytest.raises(DataError) as scanned:
        examine(content, 16, name)
    assert str(caught.value) == str(scanned.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_as_pillow_decodes_it(form: str):
    content = encoded(photograph(1), form)
    with Image.open(io.BytesIO(content)) as judge:
        expected = np.asarray(judge.convert("RGB"))
    np.testing.assert_array_equal(pixels(content, 72, 96), expected)
    facts, copy = examine(content, 16, "p")
    assert (facts.height, facts.width, facts.gray) == (72, 96, False)
    assert copy.shape == (16, 16, 3)


def test_gray_of_colour_is_pillows():
    image = photograph(2)
    np.testing.assert_array_equal(pixels(encoded(image), 72, 96, 1)[..., 0], np.asarray(image.convert("L")))


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    expected = np.rint(values / 257.0)
    for form in ("PNG", "TIFF"):
        content = encoded(Image.fromarray(values), form)
        np.testing.assert_array_equal(pixels(content, 64, 64, 1)[..., 0], expected)
        assert examine(content, 16, "p")[0].gray
    big_endian = encoded(Image.frombytes("I;16B", (64, 64), values.astype(">u2").tobytes()), "TIFF")
    np.testing.assert_array_equal(pixels(big_endian, 64, 64, 1)[..., 0], expected)


def test_floats_and_wide_integers_in_tiff():
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    content = encoded(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(pixels(content, 4, 4, 1)[..., 0], np.rint(values * np.float64(255)))
    for wrong, low, high in ((values * 2, "0", "2"), (values - 1, "-1", "0"), (values * np.nan, "nan", "nan")):
        message = refusal(encoded(Image.fromarray(wrong), "TIFF"))
        assert message == f"cat/1.png: has floating pixels, which must be in 0..1: they are {low} to {high}"
    message = refusal(encoded(Image.fromarray(np.arange(16, dtype=np.int32).reshape(4, 4)), "TIFF"))
    assert message == (
        "cat/1.png: has pixels of 32-bit whole numbers, whose range is not known: save it with 8 or 16 bits"
    )


def test_one_bit():
    bits = np.random.default_rng(0).random((5, 7)) < 0.5
    content = encoded(Image.fromarray(bits))
    np.testing.assert_array_equal(pixels(content, 5, 7, 1)[..., 0], bits * 255)
    facts = examine(content, 16, "p")[0]
    assert (facts.mode, facts.gray) == ("1", True)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_transparency_lies_over_white(mode: str, form: str):
    random = np.random.default_rng(3)
    layers = random.integers(0, 256, (6, 5, len(mode)), np.uint8)
    content = encoded(Image.fromarray(layers, mode), form)
    alpha = layers[..., -1:] / 255.0
    expected = layers[..., :-1] * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(content, 6, 5) - expected).max() <= 1
    assert examine(content, 16, "p")[0].gray == (mode == "LA")


def test_palettes_with_transparency():
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = np.array([[[10, 20, 30], [255, 255, 255]], [[70, 80, 90], [255, 255, 255]]])
    for form in ("PNG", "GIF"):
        np.testing.assert_array_equal(pixels(encoded(image, form, transparency=1), 2, 2), expected)
    half = pixels(encoded(image, "PNG", transparency=bytes([255, 128, 255])), 2, 2)
    assert np.abs(half[0, 1] - (np.array([40, 50, 60]) * 128 + 255 * 127) / 255).max() <= 1


def test_a_transparent_colour_key():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    np.testing.assert_array_equal(pixels(encoded(image, transparency=(1, 2, 3)), 1, 2), [[[255, 255, 255], [4, 5, 6]]])


def test_a_palette_of_grays_is_gray():
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    image.putpalette([9, 9, 9, 30, 30, 30, 90, 90, 90, 200, 200, 200])
    content = encoded(image)
    assert examine(content, 16, "p")[0].gray
    assert pixels(content, 2, 2, 1).ravel().tolist() == [9, 30, 90, 200]


def test_cmyk_jpeg():
    image = photograph(4)
    content = encoded(image.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels(content, 72, 96).astype(int) - np.asarray(image)).mean() < 3
    assert examine(content, 16, "p")[0].mode == "CMYK"


def test_animations_give_their_first_picture():
    frames = [photograph(seed, 20, 10) for seed in (5, 6, 7)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        moving = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
        alone = encoded(frames[0], form, **options)
        np.testing.assert_array_equal(pixels(moving, 10, 20), pixels(alone, 10, 20))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(form: str, orientation: int):
    image = photograph(8, 40, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, form, exif=exif, **({"quality": 95} if form in ("JPEG", "WEBP") else {}))
    with Image.open(io.BytesIO(content)) as stored:
        judge = ImageOps.exif_transpose(stored).convert("RGB")
    np.testing.assert_array_equal(pixels(content, judge.height, judge.width), np.asarray(judge))
    facts = examine(content, 16, "p")[0]
    assert (facts.height, facts.width) == judge.size[::-1]


def test_damaged_exif_says_nothing_about_how_a_picture_stands():
    image = photograph(9, 16, 8)
    content = encoded(image, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(20))
    np.testing.assert_array_equal(pixels(content, 8, 16), np.asarray(image))


def nearest(content: bytes, height: int, width: int, resize: str) -> np.ndarray:
    return pixels(content, height, width, 3, resize).astype(int)


def test_crop_cuts_out_the_middle():
    left, middle, right = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10], wide[:, 10:20], wide[:, 20:] = left, middle, right
    for image in (wide, wide.transpose(1, 0, 2)):
        content = encoded(Image.fromarray(image))
        np.testing.assert_array_equal(nearest(content, 10, 10, "crop"), np.broadcast_to(middle, (10, 10, 3)))
        assert np.abs(nearest(content, 5, 5, "crop") - middle).max() <= 32  # the filter reaches over the edges
    squeezed = nearest(encoded(Image.fromarray(wide)), 10, 3, "stretch")
    for place, colour in enumerate((left, middle, right)):
        assert np.abs(squeezed[:, place] - colour).max() <= 70
    padded = nearest(encoded(Image.fromarray(wide)), 30, 30, "pad")
    np.testing.assert_array_equal(padded[10:20], wide)
    assert not padded[:10].any()
    assert not padded[20:].any()


def test_reducing_does_not_alias():
    stripes = np.tile(np.array([[0, 255]], np.uint8), (256, 128))
    for form in ("PNG", "JPEG"):
        for resize in ("crop", "pad", "stretch"):
            small = nearest(encoded(Image.fromarray(stripes), form), 16, 16, resize)
            assert np.abs(small - 127.5).max() < 20


@pytest.mark.parametrize("size", [(451, 300), (500, 500), (803, 799), (97, 640)])
def test_a_jpeg_decoded_smaller_is_close_to_one_decoded_whole(size: tuple[int, int]):
    image = photograph(10, *size)
    content = encoded(image, "JPEG", quality=92)
    with Image.open(io.BytesIO(content)) as judge:
        whole = encoded(judge.convert("RGB"))
    for resize in ("crop", "pad", "stretch"):
        difference = np.abs(nearest(content, 32, 32, resize) - nearest(whole, 32, 32, resize))
        assert difference.mean() < 1.5
        assert difference.max() < 20
    facts = examine(content, 16, "p")[0]
    assert (facts.width, facts.height) == size


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from(["crop", "pad", "stretch"]), st.sampled_from(["PNG", "JPEG"]), st.sampled_from([1, 3]),
)  # fmt: skip
def test_every_size_becomes_every_size(
    width: int, height: int, to_width: int, to_height: int, resize: str, form: str, channels: int
):
    flat = encoded(Image.new("RGB", (width, height), (200, 200, 200)), form)
    found = pixels(flat, to_height, to_width, channels, resize)
    assert np.abs(found[(to_height - 1) // 2, (to_width - 1) // 2].astype(int) - 200).max() <= 2


def test_hostile_files_are_refused_with_a_reason():
    assert refusal(b"") == "cat/1.png: is empty (0 bytes)"
    no_picture = "cat/1.png: is no picture of a format that is read (PNG, JPEG, WEBP, BMP, GIF, TIFF)"
    assert refusal(b"a text that somebody called .png\n") == no_picture
    assert refusal(encoded(photograph(1), "ICO")) == no_picture
    assert refusal(encoded(photograph(1), "PPM")) == no_picture
    assert refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == no_picture


def test_a_jpeg_with_more_pictures_behind_it_is_its_first():
    """What telephones write: Pillow's own name for it is MPO."""
    first = photograph(1)
    several = encoded(first, "MPO", save_all=True, append_images=[photograph(2)])
    height, width = first.size[1], first.size[0]
    form = PictureForm(height, width, 3)
    np.testing.assert_array_equal(decode(several, form, "p"), decode(encoded(first, "JPEG"), form, "p"))


def test_names_are_escaped_in_messages():
    assert refusal(b"", "a\nb\udcff.png") == "a\\nb\\xff.png: is empty (0 bytes)"


@pytest.mark.parametrize("form", FORMATS)
def test_files_cut_short(form: str):
    content = encoded(photograph(11, 60, 60), form)
    for length in (1, 5, 20, len(content) // 2, len(content) - 30):
        assert refusal(content[:length]).startswith("cat/1.png: ")


def test_bombs_are_refused_before_memory_is_taken():
    bomb = png_header(50_000, 50_000, zlib.compress(bytes(4_000_000)))
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(bomb) == f"cat/1.png: has 50000x50000 pixels, more than {MOST_PIXELS}"
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    bitmap = bytearray(encoded(photograph(1), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 30_000, 30_000)
    assert refusal(bytes(bitmap)) == f"cat/1.png: has 30000x30000 pixels, more than {MOST_PIXELS}"
    # A frame that is larger than its screen: the check is one of Pillow's own.
    moving = bytearray(encoded(photograph(1, 8, 8), "GIF"))
    place = moving.index(b",", 13 + 3 * 2 ** ((moving[10] & 7) + 1))
    moving[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
    assert refusal(bytes(moving)) == f"cat/1.png: has more than {MOST_PIXELS} pixels"


def test_sizes_below_the_cap_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refusal(png_header(9_900, 10_000))
    assert message.startswith("cat/1.png: cannot be decoded: ")  # the data ends too early; the size is allowed


@pytest.mark.parametrize("form", FORMATS)
def test_flipped_bytes_decode_or_say_why(form: str):
    content = encoded(photograph(12, 12, 12), form)
    random = np.random.default_rng(0)
    outcomes = set[str]()
    for _ in range(150):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] ^= random.integers(1, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd tags
            try:
                outcome = "decoded" if decode(bytes(damaged), PictureForm(12, 12, 3), "p").any() else "black"
            except DataError as error:
                outcome = "refused" if str(error).startswith("p: ") and str(error).isprintable() else str(error)
        outcomes.add(outcome)
    assert outcomes <= {"decoded", "black", "refused"}
    assert len(outcomes) > 1 or form in ("PNG", "WEBP")  # which have checksums, or are one stream of bits


def test_files_that_cannot_be_read(tmp_path: Path):
    def message(path: Path, name: str | None = None) -> str:
        with pytest.raises(DataError) as caught:
            read_picture(path, name)
        return str(caught.value)

    (tmp_path / "empty.png").touch()
    assert message(tmp_path / "empty.png", "cat/empty.png") == "cat/empty.png: is empty (0 bytes)"
    assert message(tmp_path / "none.png") == f"{tmp_path}/none.png: cannot be read: No such file or directory"
    assert message(tmp_path) == f"{tmp_path}: is no regular file"
    os.mkfifo(tmp_path / "pipe.png")
    assert message(tmp_path / "pipe.png", "pipe.png") == "pipe.png: is no regular file"
    assert message(Path("a\0b.png")) == "a\\u0000b.png: cannot be read: embedded null byte"
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert message(tmp_path / "huge.png", "huge.png") == "huge.png: has 1073741825 bytes, more than 1073741824"


def test_forms_outside_their_rules():
    for wrong, message in (
        ((0, 8, 3), "`image_size` (=0x8) must be at least 1x1, and at most 100000000 pixels"),
        ((100_000, 100_000, 3), "`image_size` (=100000x100000) must be at least 1x1, and at most 100000000 pixels"),
        ((8, 8, 2), "`channels` (=2) must be 1 or 3"),
        ((8, 8, 3, "squash"), "`resize` (='squash') must be one of crop, pad, stretch"),
    ):
        with pytest.raises(ArgumentError) as caught:
            PictureForm(*wrong)
        assert str(caught.value) == message
