"""How much float32 loses in Winograd's convolution: tiles, points and lengths of chains against direct kernels.

    PYTHONPATH=src python tools/winograd_accuracy.py [--quick]

Every sum of products is a chain of fused multiply-adds in float32, which is what kernels do; transforms multiply by
matrices rounded to float32. A direct kernel sums the whole reduction in one chain, or, as this package's scheduler
does, in pieces. The error is against float64, relative to the largest (maximum) and to the root mean square (rms)
of the result, in units of 1e-7; the worst over the shapes is printed, Gaussian data (after a ReLU) and data that are
all positive apart. `chain` is the number of terms summed before the partial sum is added to the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pellucid.language.interpolation import matrices
from pellucid.schedule.ordering import CHAIN_ERROR_LIMIT

Array = NDArray[np.float32]
Points = tuple[Fraction, ...]

# channels that are summed over forward and for dx, height and width, images
SHAPES = ((32, 32, 8), (64, 16, 8), (128, 8, 8), (512, 4, 16))
OTHERS = 16  # channels that are not summed over
HALF, THIRD = Fraction(1, 2), Fraction(2, 3)
POINTS: dict[str, Points] = {
    "0,+-1": (Fraction(0), Fraction(1), Fraction(-1)),
    "0,+-1,-1/2": (Fraction(0), Fraction(1), Fraction(-1), -HALF),
    "0,+-1,+-2": tuple(map(Fraction, (0, 1, -1, 2, -2))),
    "0,+-1,+-1/2": (Fraction(0), Fraction(1), Fraction(-1), HALF, -HALF),
    "0,+-1,1/2,-2": (Fraction(0), Fraction(1), Fraction(-1), HALF, Fraction(-2)),
    "0,+-1/2,+-3/2": (Fraction(0), HALF, -HALF, 3 * HALF, -3 * HALF),
    "0,+-2/3,+-3/2": (Fraction(0), THIRD, -THIRD, 3 * HALF, -3 * HALF),
    "0,+-3/4,+-4/3": (Fraction(0), *(Fraction(a, b) for a, b in ((3, 4), (-3, 4), (4, 3), (-4, 3)))),
    "0,+-1/2,+-2": (Fraction(0), HALF, -HALF, Fraction(2), Fraction(-2)),
    "0,+-2/3,+-3/2,+-1": tuple(Fraction(a, b) for a, b in ((0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2), (1, 1), (-1, 1))),
    "0,+-1/2,+-2,+-1": tuple(Fraction(a, b) for a, b in ((0, 1), (1, 2), (-1, 2), (2, 1), (-2, 1), (1, 1), (-1, 1))),
}
TILES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, ("0,+-1",)),
    (3, ("0,+-1,-1/2",)),
    (4, tuple(name for name, points in POINTS.items() if len(points) == 5)),
    (6, tuple(name for name, points in POINTS.items() if len(points) == 7)),
)


@dataclass(frozen=True)
class Layer:
    """Random data of 3x3 convolutions with padding 1.

    `x` and `w` are for the forward pass, the upstream gradient `wide` and `turned` weights for dx, `x` and the upstream
    gradient `g` for dw.
    """

    x: Array
    w: Array
    wide: Array
    turned: Array
    g: Array

    @staticmethod
    def drawn(shape: tuple[int, int, int], positive: bool, seed: int) -> Layer:
        channels, size, images = shape
        rng = np.random.default_rng(seed)
        x = np.maximum(rng.standard_normal((images, size, size, channels)), 0)
        w, turned = rng.standard_normal((2, 3, 3, channels, OTHERS)) / np.sqrt(4.5 * channels)
        wide = rng.standard_normal((images, size, size, channels))
        g = rng.standard_normal((images, size, size, OTHERS))
        if positive:
            x, w, wide, turned, g = x + 0.1, np.abs(w), np.abs(wide), np.abs(turned), np.abs(g)
        return Layer(*(part.astype(np.float32) for part in (x, w, wide, turned, g)))


def chained(a: Array, b: Array, length: int) -> Array:
    """`a @ b` by fused multiply-adds, in chains of `length` that are added one to the other."""
    total: Array | None = None
    for start in range(0, a.shape[-1], length):
        chain = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        for k in range(start, min(start + length, a.shape[-1])):
            exact = chain.astype(np.float64) + a[..., k, None].astype(np.float64) * b[..., k, None, :]
            chain = exact.astype(np.float32)
        total = chain if total is None else total + chain
    assert total is not None
    return total


def windows(x: Array, tiles: tuple[int, int], steps: tuple[int, int], counts: tuple[int, int]) -> Array:
    """`[rows of tiles, columns of tiles, image, tile row, tile column, channel]` of x padded by 1 and by zeros."""
    images, height, width, channels = x.shape
    sizes = [step * (count - 1) + tile for tile, step, count in zip(tiles, steps, counts, strict=True)]
    padded = np.zeros((images, max(sizes[0], height + 1), max(sizes[1], width + 1), channels), np.float32)
    padded[:, 1 : height + 1, 1 : width + 1] = x
    rows = [padded[:, i * steps[0] : i * steps[0] + tiles[0]] for i in range(counts[0])]
    return np.stack(
        [np.stack([row[:, :, j * steps[1] : j * steps[1] + tiles[1]] for j in range(counts[1])]) for row in rows]
    )


def along(matrix: Array, x: Array, axis: int) -> Array:
    """The matrix applied to one axis: a chain of multiply-adds over the entries that are not 0."""
    moved = np.moveaxis(x, axis, -1)
    result = np.stack([_combined(row, moved) for row in matrix], -1)
    return np.moveaxis(result, -1, axis)


def _combined(row: Array, moved: Array) -> Array:
    total = np.zeros(moved.shape[:-1], np.float32)
    for number in np.flatnonzero(row):
        total = (total.astype(np.float64) + np.float64(row[number]) * moved[..., number]).astype(np.float32)
    return total


@dataclass(frozen=True)
class Winograd:
    """F(m1 x m2, 3x3) with those points, in chains of `chain`."""

    sizes: tuple[int, int]
    points: tuple[Points, Points]
    chain: int

    def _matrices(self, outputs: tuple[int, int], taps: tuple[int, int], at_outputs: bool) -> list[list[Array]]:
        found = [
            matrices(m, r, points, divide_outputs=at_outputs)
            for m, r, points in zip(outputs, taps, self.points, strict=True)
        ]
        return [
            [np.array(rows, np.float64).astype(np.float32) for rows in (one.outputs, one.taps, one.data)]
            for one in found
        ]

    def forward(self, x: Array, w: Array) -> Array:
        """The convolution."""
        _, height, width, _ = x.shape
        cells = (self.sizes[0] + 2, self.sizes[1] + 2)
        counts = (-(-height // self.sizes[0]), -(-width // self.sizes[1]))
        one, two = self._matrices(self.sizes, (3, 3), False)
        v = along(two[2], along(one[2], windows(x, cells, self.sizes, counts), 3), 4)
        u = along(two[1], along(one[1], w, 0), 1)
        flat = np.moveaxis(v, (3, 4), (0, 1)).reshape(*cells, -1, x.shape[3])
        m = chained(flat, u, self.chain).reshape(*cells, *counts, x.shape[0], -1)
        y = along(two[0], along(one[0], m, 0), 1)
        y = y.transpose(4, 2, 0, 3, 1, 5).reshape(x.shape[0], counts[0] * self.sizes[0], counts[1] * self.sizes[1], -1)
        return y[:, :height, :width]

    def weights(self, x: Array, g: Array) -> Array:
        """The gradient towards the weights: three outputs, tiles of the map as taps."""
        _, height, width, channels = x.shape
        cells = (self.sizes[0] + 2, self.sizes[1] + 2)
        counts = (-(-height // self.sizes[0]), -(-width // self.sizes[1]))
        one, two = self._matrices((3, 3), self.sizes, True)
        v = along(two[2], along(one[2], windows(x, cells, self.sizes, counts), 3), 4)
        u = along(two[1], along(one[1], _blocks(g, self.sizes, counts), 3), 4)
        rows = [np.moveaxis(part, (3, 4), (0, 1)).reshape(*cells, -1, part.shape[-1]) for part in (v, u)]
        m = chained(np.swapaxes(rows[0], 2, 3), rows[1], self.chain)
        return along(two[0], along(one[0], m, 0), 1).reshape(3, 3, channels, -1)


def _blocks(g: Array, sizes: tuple[int, int], counts: tuple[int, int]) -> Array:
    """Disjoint tiles of g, zeros beyond it, in the order of `windows`."""
    images, height, width, channels = g.shape
    whole = np.zeros((images, counts[0] * sizes[0], counts[1] * sizes[1], channels), np.float32)
    whole[:, :height, :width] = g
    return whole.reshape(images, counts[0], sizes[0], counts[1], sizes[1], channels).transpose(1, 3, 0, 2, 4, 5)


def _taps(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """`[image, row, column, 3, 3, channel]`."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, _ = x.shape
    rows = [np.stack([padded[:, s : s + height, t : t + width] for t in range(3)], 3) for s in range(3)]
    return np.stack(rows, 3)


def direct_forward(x: Array, w: Array, chain: int) -> Array:
    """The convolution tap by tap."""
    return chained(_taps(x).reshape(*x.shape[:3], -1), w.reshape(-1, w.shape[3]), chain)


def direct_weights(x: Array, g: Array, chain: int) -> Array:
    """The gradient towards the weights, image by image and row by row."""
    taps = _taps(x).reshape(-1, 9 * x.shape[3])
    return chained(np.ascontiguousarray(taps.T), g.reshape(-1, g.shape[3]), chain).reshape(3, 3, x.shape[3], -1)


def errors(found: Array, exact: NDArray[np.float64]) -> tuple[float, float]:
    """Largest and root-mean-square error, relative to the result's, in 1e-7."""
    difference = found - exact
    largest = np.abs(difference).max() / np.abs(exact).max()
    return largest * 1e7, float(np.sqrt((difference**2).mean() / (exact**2).mean())) * 1e7


def exactly(layer: Layer) -> tuple[NDArray[np.float64], ...]:
    """Forward, dx and dw in float64."""
    parts = (layer.x, layer.w, layer.wide, layer.turned, layer.g)
    x, w, wide, turned, g = (part.astype(np.float64) for part in parts)
    forward = _taps(x).reshape(*x.shape[:3], -1) @ w.reshape(-1, OTHERS)
    dx = _taps(wide).reshape(*x.shape[:3], -1) @ turned.reshape(-1, OTHERS)
    dw = (_taps(x).reshape(-1, 9 * x.shape[3]).T @ g.reshape(-1, g.shape[3])).reshape(w.shape)
    return forward, dx, dw


Passes = Callable[[Layer], tuple[Array, Array, Array]]


def scheduled(total: int) -> int:
    """The longest chain that the scheduler leaves in a sum of `total` products; see `schedule/ordering.py`."""
    for length in range(total, 1, -1):
        pieces = -(-total // length)
        if 0.25 * (np.sqrt(length / pieces) + np.sqrt(pieces)) <= CHAIN_ERROR_LIMIT:
            return length
    return 1


def direct(chain: Callable[[int], int]) -> Passes:
    """The three passes of a direct kernel, in chains of a length for each number of products."""
    return lambda layer: (
        direct_forward(layer.x, layer.w, chain(9 * layer.x.shape[3])),
        direct_forward(layer.wide, layer.turned, chain(9 * layer.x.shape[3])),
        direct_weights(layer.x, layer.g, chain(layer.x[..., 0].size)),
    )


def fast(one: Winograd) -> Passes:
    """The three passes by tiles."""
    return lambda layer: (
        one.forward(layer.x, layer.w),
        one.forward(layer.wide, layer.turned),
        one.weights(layer.x, layer.g),
    )


def candidates(quick: bool) -> Iterator[tuple[str, Passes]]:
    """What is compared."""
    yield "direct, one chain", direct(lambda total: total)
    yield "direct, as scheduled", direct(scheduled)
    named = [(size, name) for size, names in TILES for name in names]
    for (one, first), (two, second) in product(named, named):
        if one not in (2, two) or (one == two and first != second) or quick:
            continue
        for chain in (1 << 30, 32, 16):
            label = "one chain" if chain > 512 else f"chains of {chain}"
            yield (
                f"F({one}x{two}), {second}, {label}",
                fast(Winograd((one, two), (POINTS[first], POINTS[second]), chain)),
            )


def main() -> None:
    """Prints one line for each candidate: forward, dx and dw, maximum / rms, Gaussian then positive data."""
    parser = argparse.ArgumentParser(description="Errors of Winograd's convolution in float32.")
    parser.add_argument("--quick", action="store_true", help="direct kernels alone")
    quick = parser.parse_args().quick
    layers = [[Layer.drawn(shape, positive, seed) for seed, shape in enumerate(SHAPES)] for positive in (False, True)]
    exact = [[exactly(layer) for layer in kind] for kind in layers]
    print("| kernel | forward | dx | dw | positive: forward | dx | dw |\n|---|---|---|---|---|---|---|")
    for label, run in candidates(quick):
        cells: list[str] = []
        for kind, truths in zip(layers, exact, strict=True):
            found = [run(layer) for layer in kind]
            for number in range(3):
                pairs = [errors(one[number], truth[number]) for one, truth in zip(found, truths, strict=True)]
                cells.append(" / ".join(f"{max(pair[part] for pair in pairs):.2g}" for part in (0, 1)))
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
