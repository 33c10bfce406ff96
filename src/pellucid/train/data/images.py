"""Images as a data set holds them: kept as they were stored, made float32 when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import DataError

__all__ = ["ArrayPixels", "Images", "Normalisation", "Pixels"]

Shape: TypeAlias = tuple[int, int, int, int]
Numbers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]

# Mean and deviation are those of at most so many images, evenly spread: a set that streams is not read twice for them.
_MEASURED = 5_000
_BLOCK = 256


class Pixels(Protocol):
    """Where images are kept."""

    @property
    def shape(self) -> Shape:
        """(count, height, width, channels)."""
        ...

    @property
    def bytes_to_come(self) -> int:
        """How many bytes of memory will be taken beside those of now when all images have been read."""
        ...

    def read(self, numbers: Numbers) -> NDArray[np.uint8] | Floats:
        """The images of those numbers, an array that nobody else has: bytes 0..255, or floats as they are."""
        ...


class ArrayPixels:
    """Images in memory, (count, height, width, channels), uint8 or float32."""

    def __init__(self, array: NDArray[np.uint8] | Floats) -> None:
        self._array = array

    @property
    def shape(self) -> Shape:
        """See `Pixels`."""
        count, height, width, channels = self._array.shape
        return count, height, width, channels

    @property
    def bytes_to_come(self) -> int:
        """See `Pixels`."""
        return 0

    def read(self, numbers: Numbers) -> NDArray[np.uint8] | Floats:
        """See `Pixels`."""
        return self._array[numbers]


@dataclass(frozen=True)
class Normalisation:
    """`(x - mean) / deviation`, a number of each for every channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, images: Images) -> Normalisation:
        """Mean and standard deviation of each channel, of at most 5,000 of the images, evenly spread; a channel that
        is constant gets deviation 1."""
        count = len(images)
        numbers = np.linspace(0, count - 1, min(count, _MEASURED)).astype(np.int64)
        sums = np.zeros((2, images.shape[3]))
        for start in range(0, len(numbers), _BLOCK):
            block = images.plain(numbers[start : start + _BLOCK]).astype(np.float64)
            sums += block.sum(axis=(0, 1, 2)), (block * block).sum(axis=(0, 1, 2))
        mean, square = sums / (len(numbers) * images.shape[1] * images.shape[2])
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        # What rounding leaves of a constant channel is no deviation.
        deviation = np.where(deviation > 1e-7 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def __call__(self, images: Floats) -> Floats:
        """The normalised copy of images (..., channels), float32."""
        if images.shape[-1] != len(self.mean):
            raise DataError(f"`images` {images.shape} must have {len(self.mean)} channels, as the training images had")
        # A whole image at a time rather than a cell: NumPy is slow on an innermost axis of three.
        cells = images.reshape(len(images), -1) if images.ndim == 4 else images
        repeated = cells.shape[-1] // len(self.mean)
        mean, deviation = (np.tile(np.asarray(part, np.float32), repeated) for part in (self.mean, self.deviation))
        result = cells - mean
        result /= deviation
        return result.reshape(images.shape)


class Images:
    """An array of float32 images (count, height, width, channels) that is made piece by piece: an index along the
    first axis, a slice or an array of numbers gives those images, `numpy.asarray` all of them.

    Bytes become numbers in 0..1 (divided by 255); then `normalisation`, where there is one, is applied. `numbers` are
    the images of `pixels` that these are.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(
        self, pixels: Pixels, numbers: Numbers | None = None, normalisation: Normalisation | None = None
    ) -> None:
        self._pixels = pixels
        self._numbers = np.arange(pixels.shape[0]) if numbers is None else numbers
        self.normalisation = normalisation

    @property
    def shape(self) -> Shape:
        """(count, height, width, channels)."""
        return (len(self._numbers), *self._pixels.shape[1:])

    @property
    def bytes_to_come(self) -> int:
        """See `Pixels`: of all images that are kept in the same place."""
        return self._pixels.bytes_to_come

    def __len__(self) -> int:
        return len(self._numbers)

    def plain(self, numbers: Numbers) -> Floats:
        """Those images before normalisation; an array that nobody else has."""
        read = self._pixels.read(self._numbers[numbers])
        if read.dtype == np.uint8:
            return np.divide(read, np.float32(255), dtype=np.float32)
        return read.astype(np.float32, copy=False)

    def finish(self, plain: Floats) -> Floats:
        """Plain images, perhaps changed at random meanwhile, as the network takes them."""
        return plain if self.normalisation is None else self.normalisation(plain)

    def __getitem__(self, key: Any) -> Floats:
        if isinstance(key, tuple) and key[0] is Ellipsis:
            return self[:][key]
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        numbers = np.arange(len(self))[first]
        found = self.finish(self.plain(np.atleast_1d(numbers)))
        found = found.reshape(*numbers.shape, *found.shape[1:])
        return found[(*(slice(None),) * numbers.ndim, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("images are made when they are asked for: there is no array to share")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def subset(self, numbers: Numbers) -> Images:
        """Those of these images, in that order; nothing is read."""
        return Images(self._pixels, self._numbers[numbers], self.normalisation)

    def normalised(self, normalisation: Normalisation) -> Images:
        """The same images, normalised."""
        return Images(self._pixels, self._numbers, normalisation)
