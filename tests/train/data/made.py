"""Pictures made for tests: whole ones of every kind, and hostile ones."""

from __future__ import annotations

import io
import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["encoded", "photograph", "png_header", "save", "write"]


def photograph(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A picture with the statistics of a photograph: noise whose amplitude falls with its frequency, in colour."""
    return _scene(seed).resize((width, height), Image.Resampling.LANCZOS)


@cache
def _scene(seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / 256)
    channels = []
    for _ in range(3):
        spectrum = amplitude * np.exp(2j * np.pi * random.random((256, 256)))
        channels.append(np.fft.ifft2(spectrum).real)
    pixels = np.stack([channels[0] * 2 + channel for channel in channels], axis=-1)
    pixels = (pixels - pixels.mean()) / pixels.std() * 50 + 128
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def write(path: str | Path, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)


def save(root: Path, names: dict[str, int]) -> None:
    """A photograph under each name, made from its seed."""
    for name, seed in names.items():
        write(os.path.join(root, name), encoded(photograph(seed, 24, 24)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of black RGB pixels that says how large it is, and holds `data` or as little as it can."""
    packed = data or zlib.compress(bytes(1 << 16))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
