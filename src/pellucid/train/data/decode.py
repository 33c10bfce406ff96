"""The bytes of a picture -> an array of the size and the channels that a network takes.

Foreign bytes are hostile: only six formats are opened, sizes are compared before memory is taken, and whatever a
decoder raises becomes a `DataError` that names the file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Resampling, Transpose
from PIL.ImageFile import ImageFile

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data.names import shown

__all__ = [
    "MOST_BYTES",
    "MOST_PIXELS",
    "RESIZES",
    "PictureFacts",
    "PictureForm",
    "decode",
    "examine",
    "read_picture",
]

MOST_PIXELS = 100_000_000
MOST_BYTES = 1 << 30
RESIZES = ("crop", "pad", "stretch")

# Importing them is what makes Pillow know these formats; all others stay unknown.
_PLUGINS = {
    "PNG": PngImagePlugin,
    "JPEG": JpegImagePlugin,
    "WEBP": WebPImagePlugin,
    "BMP": BmpImagePlugin,
    "GIF": GifImagePlugin,
    "TIFF": TiffImagePlugin,
}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("LA", "PA", "RGBA")
_ORIENTATION = 0x0112  # EXIF 2.3, table 4; what turns a picture upright for each of its values:
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
_SIDEWAYS = (Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90)
# A JPEG may be decoded smaller than it is, but not below twice the size that is wanted: the filter does the rest.
_DRAFT_MARGIN = 2
_REDUCING_GAP = 3.0  # Pillow's documentation: not to be told from the filter alone


class _Refusal(Exception):
    """Why a picture is not taken."""


@dataclass(frozen=True)
class PictureForm:
    """What pictures become: (height, width, channels) with 1 channel (grey) or 3 (red, green, blue).

    `resize` is the way there for a picture of other proportions: "crop" cuts out its middle, "pad" adds black bars,
    "stretch" distorts it.

    Raises:
        ArgumentError: an extent is below 1, channels are neither 1 nor 3, or there is no such way.
    """

    height: int
    width: int
    channels: int
    resize: str = "crop"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.height * self.width > MOST_PIXELS:
            raise ArgumentError(
                f"`image_size` (={self.height}x{self.width}) must be at least 1x1, and at most {MOST_PIXELS} pixels"
            )
        if self.channels not in (1, 3):
            raise ArgumentError(f"`channels` (={self.channels}) must be 1 or 3")
        if self.resize not in RESIZES:
            raise ArgumentError(f"`resize` (={self.resize!r}) must be one of {', '.join(RESIZES)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class PictureFacts:
    """What a picture is: its size when it stands upright, Pillow's name of its mode, and whether it has no colour."""

    height: int
    width: int
    mode: str
    gray: bool


def read_picture(path: str | Path, name: str | Path | None = None) -> bytes:
    """The bytes of a file, which a message calls `name`, or by its path.

    Raises:
        DataError: it is missing, unreadable, empty, no regular file (a pipe would never end), or over 1 GiB.
    """
    called = shown(path if name is None else name)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{called}: is no regular file")
        if status.st_size == 0:
            raise DataError(f"{called}: is empty (0 bytes)")
        if status.st_size > MOST_BYTES:
            raise DataError(f"{called}: has {status.st_size} bytes, more than {MOST_BYTES}")
        with open(path, "rb") as stream:
            return stream.read(MOST_BYTES)
    except OSError as error:
        raise DataError(f"{called}: cannot be read: {error.strerror or type(error).__name__}") from error
    except ValueError as error:  # a zero byte in the name
        if isinstance(error, DataError):
            raise
        raise DataError(f"{called}: cannot be read: {error}") from error


def decode(content: bytes, form: PictureForm, name: str | Path) -> NDArray[np.uint8]:
    """The first picture in `content` as (height, width, channels) uint8, upright, over white where it is transparent.

    16-bit grey is scaled to 8 bits. `name` is that of the file, for the message.

    Raises:
        DataError: it is not one of the six formats, has more than 100 million pixels, or cannot be decoded.
    """
    try:
        with _opened(content) as image:
            return np.asarray(_upright(image, form), np.uint8).reshape(form.shape)
    except Exception as error:
        raise _named(error, name) from error


def examine(content: bytes, side: int, name: str | Path) -> tuple[PictureFacts, NDArray[np.uint8]]:
    """What a picture is, decoded to its end, and a (side, side, 3) picture of it.

    Raises:
        DataError: as `decode`.
    """
    try:
        with _opened(content) as image:
            mode, (width, height) = image.mode, image.size
            small = _upright(image, PictureForm(side, side, 3, "stretch"))
            if image.format != "JPEG":  # TIFF's own turn comes with its pixels; a draft of a JPEG is smaller than it
                width, height = image.size
            if _turn(image) in _SIDEWAYS:
                width, height = height, width
            return PictureFacts(height, width, mode, _is_gray(image)), np.asarray(small, np.uint8)
    except Exception as error:
        raise _named(error, name) from error


def _named(error: Exception, name: str | Path) -> DataError:
    """What to say of whatever was raised while a file was decoded."""
    if isinstance(error, _Refusal):
        return DataError(f"{shown(name)}: {error}")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return DataError(f"{shown(name)}: has more than {MOST_PIXELS} pixels")
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{shown(name)}: cannot be decoded: {shown(reason) or type(error).__name__}")


def _opened(content: bytes) -> ImageFile:
    """As `Image.open(..., formats=...)`, which warns, by a setting of the whole process, of sizes below our limit."""
    if not content:
        raise _Refusal("is empty (0 bytes)")
    for name in _PLUGINS:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(content[:16]) is not True:
            continue
        # Telephones write JPEG files with more pictures behind the first, which Pillow's own factory calls MPO.
        image = JpegImagePlugin.JpegImageFile(BytesIO(content), "") if name == "JPEG" else factory(BytesIO(content), "")
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise _Refusal(f"has {width}x{height} pixels, more than {MOST_PIXELS}")
        return image
    raise _Refusal(f"is no picture of a format that is read ({', '.join(_PLUGINS)})")


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None:
        colors = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return image.mode in _GRAY_MODES


def _upright(image: Image.Image, form: PictureForm) -> Image.Image:
    """The picture decoded, fitted, and turned last, when it is small."""
    extent = _draft(image, form)
    image.load()
    width, height = extent or image.size
    turn = _turn(image)
    if turn in _SIDEWAYS:
        form = replace(form, height=form.width, width=form.height)
    fitted = _fitted(_plain(image, "L" if form.channels == 1 else "RGB"), form, width, height)
    return fitted if turn is None else fitted.transpose(turn)


def _draft(image: Image.Image, form: PictureForm) -> tuple[float, float] | None:
    """Let a JPEG be decoded at an eighth, a quarter or half of its size where that is still large enough.

    The width and height, in its pixels, that what is decoded has then: the last ones may stand over.
    """
    shorter = min(image.size)
    wanted = _DRAFT_MARGIN * max(form.height, form.width)
    if shorter <= wanted:
        return None
    draft = image.draft(None, (-(-image.width * wanted // shorter), -(-image.height * wanted // shorter)))
    return None if draft is None else draft[1][2:]


def _turn(image: Image.Image) -> Transpose | None:
    """What turns a picture, which is loaded, upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing about how the picture stands
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The picture as "L" or "RGB", 8 bits, over white where it is transparent."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif image.mode == "I":
        raise _Refusal("has pixels of 32-bit whole numbers, whose range is not known: save it with 8 or 16 bits")
    elif image.mode == "F":
        image = Image.fromarray(_from_floats(np.asarray(image)))
    elif image.mode in _ALPHA_MODES or "transparency" in image.info:
        colored = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(colored)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """0..65535 -> 0..255, rounded: 65535 is 255 * 257."""
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= 0xFFFF:
        raise _Refusal("has whole-number pixels outside 0..65535")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_floats(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where one of them is NaN
        raise _Refusal(f"has floating pixels, which must be in 0..1: they are {low:g} to {high:g}")
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)


def _fitted(image: Image.Image, form: PictureForm, width: float, height: float) -> Image.Image:
    """The picture, whose first `width` x `height` pixels count, in its new size."""
    if (width, height) == (form.width, form.height):
        return image
    if form.resize == "pad":
        return _padded(image, form, width, height)
    box = (0.0, 0.0, width, height)
    if form.resize == "crop":
        ratio = min(width / form.width, height / form.height)
        left, top = max(0.0, (width - form.width * ratio) / 2), max(0.0, (height - form.height * ratio) / 2)
        box = (left, top, width - left, height - top)
    return image.resize((form.width, form.height), Resampling.BILINEAR, box, _REDUCING_GAP)


def _padded(image: Image.Image, form: PictureForm, width: float, height: float) -> Image.Image:
    ratio = min(form.width / width, form.height / height)
    inner_width = min(form.width, max(1, round(width * ratio)))
    inner_height = min(form.height, max(1, round(height * ratio)))
    inner = image.resize((inner_width, inner_height), Resampling.BILINEAR, (0, 0, width, height), _REDUCING_GAP)
    whole = Image.new(image.mode, (form.width, form.height))
    whole.paste(inner, ((form.width - inner_width) // 2, (form.height - inner_height) // 2))
    return whole
