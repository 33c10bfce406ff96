"""Which tiles a correlation gets: data, with the measurements that they rest on.

The more cells a tile has the fewer products an output needs, and the more digits are lost: that number and the points
decide the accuracy, whichever of the two axes is divided. Largest error and root mean square against float64, in units
of 1e-7, worst of four 3x3 layers of 32 to 512 channels with Gaussian data (`tools/winograd_accuracy.py`; all figures in
`docs/winograd.md`):

                                forward      dx           dw           products an output
    direct, one chain           13 / 7.5     18 / 11      19 / 11      9
    direct, as scheduled        4.1 / 3.4    7.4 / 4.8    4.3 / 3.7    9
    4 x 4 cells                 2.3 / 2.3    2.9 / 2.6    3.1 / 2.8    4
    4 x 6 cells                 6.4 / 3.8    7.6 / 4.6    5.6 / 4.0    3
    6 x 6 cells                 9.3 / 6.4    12 / 8.2     8.8 / 5.7    2.25
    8 x 8 cells                 50 / 21      75 / 28      42 / 23      1.8

The error of short chains hardly grows with a sum, that of a plain kernel does: Gaussian sums of 288 terms lose half as
much again with 4 x 6 cells as in a plain kernel, those of 576 as much, those of 1152 a quarter less; and with 6 x 6
cells those of 4608 a quarter less (`tests/network/accuracy.py`). So `standard` goes by the number of terms, and loses
nowhere more than a plain direct kernel; `fast` has 6 x 6 cells everywhere and stays within four times that error. Both
sum the products of a point in chains: without, they would lose two to four times as much. With data of one sign both
are more accurate than direct kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.correlation import Correlation
from pellucid.language.solve import Solved
from pellucid.language.winograd import Tile

__all__ = ["CELLS", "CHAINS", "choose_tiles"]

# From how many terms of a sum on, the cells of a tile along the last pair of axes and along the others; first where the
# outputs of a pair are more than the taps (forward, dx), then where they are fewer (dw).
CELLS: Mapping[str, tuple[tuple[int, tuple[int, int], tuple[int, int]], ...]] = MappingProxyType(
    {
        "standard": ((0, (4, 4), (4, 4)), (576, (6, 4), (6, 4)), (4608, (6, 6), (6, 4))),
        "fast": ((0, (6, 6), (6, 6)),),
    }
)
# The number of products that are summed in one chain before it is added to the others.
CHAINS: Mapping[str, int] = MappingProxyType({"standard": 32, "fast": 128})


def choose_tiles(solved: Solved, correlation: Correlation, mode: str) -> dict[str, Tile]:
    """The tiles for `rewrite`, by the output axis of each pair; empty where none saves products, or the sum is short.

    The shorter axis of a pair is covered whole; the longer one gets what remains of the cells. A pair of which that
    leaves a single step stays as it is. ArgumentError where `mode` is unknown.
    """
    if mode not in CELLS:
        raise ArgumentError(f"`mode` (={mode!r}) must be one of {', '.join(CELLS)}")
    tiles: dict[str, Tile] = {}
    terms = prod(solved.extents[axis] for axis in correlation.sum.axes)
    many, few = next((many, few) for least, many, few in reversed(CELLS[mode]) if terms >= least)
    for number, pair in enumerate(reversed(correlation.pairs)):
        outputs, taps = solved.extents[pair.output], solved.extents[pair.tap]
        room = (many if outputs > taps else few)[number > 0] + 1
        if outputs > taps:
            outputs = min(outputs, room - taps)
        else:
            taps = min(taps, room - outputs)
        if min(outputs, taps) > 1:
            tiles[pair.output] = Tile(outputs, taps)
    return tiles
