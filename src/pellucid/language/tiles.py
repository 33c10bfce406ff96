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

The error of short chains hardly grows with a sum, that of a plain kernel does, so `standard` goes by the number of
terms: small tiles for short sums, and 6 x 6 cells from where they lose no more than a plain kernel, one sum after the
other. Root mean squares (`tests/network/accuracy.py` and, for the last column, `accuracy.py 32 24`):

                     terms   plain   standard               6 x 6 cells in chains of 32; 24
    forward            288   2.1     1.8   4 x 4 cells      5.1   4.2
                       576   3.0     3.0   4 x 6            4.9   4.4
                      1152   4.0     3.0   4 x 6            5.0   4.6
                      2304   5.6     5.6   6 x 6            5.6   5.4
                      4608   7.9     5.9   6 x 6            5.9   5.8
    dx                 288   3.0     2.9   4 x 6, by 11     6.1   5.2
                       576   4.2     3.7   4 x 6            6.1   5.6
                      1152   5.8     5.6   6 x 6, by 24     6.1   5.6
                      2304   8.1     6.8   6 x 6            6.8   6.5
                      4608   11.2    6.9   6 x 6            6.9   6.7

In dx a plain kernel loses more, for what it sums has passed no ReLU. `fast` has 6 x 6 cells everywhere and stays
within four times a plain kernel's error. Both sum the products of a point in chains: without, they would lose two to
four times as much. With data of one sign both are more accurate than plain kernels. `direct` cuts long sums, too, and
loses less than either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.correlation import Correlation
from pellucid.language.solve import Solved
from pellucid.language.winograd import Tile

__all__ = ["FORMS", "Form", "choose_form", "choose_tiles", "smaller_tiles"]


@dataclass(frozen=True)
class Form:
    """From `least` terms of a sum on: the cells of a tile along the last pair of axes and along the others, and how
    many products are summed in one chain before it is added to the others."""

    least: int
    last: int
    others: int
    chain: int


_SHORT, _LONGER = Form(0, 4, 4, 32), Form(576, 6, 4, 32)
_FAST = (Form(0, 6, 6, 128),)
# By mode and pass. A pass is told by its axes: towards the weights a pair has fewer outputs than taps; towards the
# input it is turned.
FORMS: Mapping[str, Mapping[str, tuple[Form, ...]]] = MappingProxyType(
    {
        "standard": {
            "forward": (_SHORT, _LONGER, Form(2304, 6, 6, 32)),
            "dx": (_SHORT, Form(288, 6, 4, 11), _LONGER, Form(1152, 6, 6, 24), Form(2304, 6, 6, 32)),
            "dw": (_SHORT, _LONGER),
        },
        "fast": {"forward": _FAST, "dx": _FAST, "dw": _FAST},
    }
)


def choose_form(solved: Solved, correlation: Correlation, mode: str) -> Form:
    """The size of tiles and the length of chains. ArgumentError where `mode` is unknown."""
    if mode not in FORMS:
        raise ArgumentError(f"`mode` (={mode!r}) must be one of {', '.join(FORMS)}")
    pair = correlation.pairs[-1]
    towards_weights = solved.extents[pair.output] <= solved.extents[pair.tap]
    forms = FORMS[mode]["dw" if towards_weights else "dx" if pair.is_turned else "forward"]
    terms = prod(solved.extents[axis] for axis in correlation.sum.axes)
    return next(form for form in reversed(forms) if terms >= form.least)


def choose_tiles(solved: Solved, correlation: Correlation, mode: str, most: int | None = None) -> dict[str, Tile]:
    """The tiles for `rewrite`, by the output axis of each pair; empty where none saves products, or the sum is short.

    Those of the mode's form, or where these have more than `most` points those of the smallest; none where they have,
    too. ArgumentError where `mode` is unknown.
    """
    steps = {pair.output: pair.steps for pair in correlation.pairs}
    for form in (choose_form(solved, correlation, mode), _SHORT):
        tiles = _tiles(solved, correlation, form)
        if most is None or prod(tile.products(steps[axis]) for axis, tile in tiles.items()) <= most:
            return tiles
    return {}


def smaller_tiles(
    solved: Solved, correlation: Correlation, mode: str, most: int
) -> Iterator[tuple[dict[str, Tile], int]]:
    """Tiles as `choose_tiles` gives them, with the chain of their form, then those of forms of fewer cells, which lose
    fewer digits. For weights that are transformed long before: then the size of their form counts."""
    chosen = choose_form(solved, correlation, mode)
    yield choose_tiles(solved, correlation, mode, most), chosen.chain
    for form in (_LONGER, _SHORT):
        if form.last * form.others < chosen.last * chosen.others:
            tiles = _tiles(solved, correlation, form)
            steps = {pair.output: pair.steps for pair in correlation.pairs}
            if prod(tile.products(steps[axis]) for axis, tile in tiles.items()) <= most:
                yield tiles, form.chain


def _tiles(solved: Solved, correlation: Correlation, form: Form) -> dict[str, Tile]:
    """The shorter axis of a pair is covered whole; the longer one gets what remains of the cells. With a stride that is
    as many as without: no residue then has more cells. With a dilation every residue gets two, since the points of all
    residues count. A pair that saves nothing so stays as it is."""
    tiles: dict[str, Tile] = {}
    for number, pair in enumerate(reversed(correlation.pairs)):
        outputs, taps = solved.extents[pair.output], solved.extents[pair.tap]
        room = (form.others if number else form.last) + 1
        if outputs > taps:
            outputs = min(outputs, _block(room - taps, pair.steps[1]))
        else:
            taps = min(taps, _block(room - outputs, pair.steps[0]))
        if min(outputs, taps) < 1:
            continue
        tile = Tile(outputs, taps)
        if tile.products(pair.steps) < outputs * taps:
            tiles[pair.output] = tile
    return tiles


def _block(length: int, step: int) -> int:
    """How many of the longer axis a tile has, where the shorter one takes steps."""
    return length if step == 1 else step * min(length, 2)
