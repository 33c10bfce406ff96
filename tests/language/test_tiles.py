"""Which tiles are chosen, and that the sizes are those that were measured."""

from __future__ import annotations

import pytest

from pellucid.errors import ArgumentError
from pellucid.language.correlation import Correlation, recognise
from pellucid.language.gradient import derive
from pellucid.language.parse import parse
from pellucid.language.solve import Solved, solve
from pellucid.language.tiles import choose_tiles
from pellucid.language.winograd import Tile

CONV = parse("z[n,i,j,k] = sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]")


def chosen(mode: str, kernel: int, wrt: str = "", size: int = 12, channels: int = 256) -> dict[str, Tile]:
    extents = {"n": 8, "i": size, "j": size, "k": channels, "s": kernel, "t": kernel, "c": channels}
    formula = CONV
    if wrt:
        derived = derive(CONV, wrt)
        extents |= {copy: extents[origin] for copy, origin in derived.copies.items()} | {"y": size, "x": size}
        formula = derived.formula
    (solved,) = solve(formula, {"P": kernel // 2}, extents)
    return tiles_of(solved, mode)


def tiles_of(solved: Solved, mode: str) -> dict[str, Tile]:
    found = recognise(solved)
    assert isinstance(found, Correlation)
    return choose_tiles(solved, found, mode)


@pytest.mark.parametrize(
    ("mode", "wrt", "tiles"),
    [
        ("standard", "", {"i": Tile(4, 3), "j": Tile(4, 3)}),
        ("standard", "x", {"y": Tile(4, 3), "x": Tile(4, 3)}),
        ("standard", "w", {"s": Tile(3, 2), "t": Tile(3, 4)}),
        ("fast", "", {"i": Tile(4, 3), "j": Tile(4, 3)}),
        ("fast", "w", {"s": Tile(3, 4), "t": Tile(3, 4)}),
    ],
)
def test_three_taps(mode: str, wrt: str, tiles: dict[str, Tile]) -> None:
    assert chosen(mode, 3, wrt) == tiles


def test_other_kernels() -> None:
    assert chosen("standard", 5, channels=64) == {"j": Tile(2, 5)}
    assert chosen("standard", 5) == {"i": Tile(2, 5), "j": Tile(2, 5)}
    assert chosen("fast", 5) == {"i": Tile(2, 5), "j": Tile(2, 5)}
    assert chosen("standard", 2) == {"i": Tile(3, 2), "j": Tile(5, 2)}
    assert chosen("fast", 7) == chosen("fast", 1) == {}


def test_small_maps() -> None:
    assert chosen("fast", 3, size=3) == {"i": Tile(3, 3), "j": Tile(3, 3)}


def test_short_sums_get_small_tiles() -> None:
    """A plain kernel loses little in them, and `standard` may lose no more."""
    assert chosen("standard", 3, channels=63) == {"i": Tile(2, 3), "j": Tile(2, 3)}
    assert chosen("standard", 3, channels=64) == {"i": Tile(2, 3), "j": Tile(4, 3)}
    assert chosen("standard", 3, channels=255) == {"i": Tile(2, 3), "j": Tile(4, 3)}
    assert chosen("standard", 3, channels=256) == {"i": Tile(4, 3), "j": Tile(4, 3)}
    assert chosen("standard", 3, "x", channels=31) == {"y": Tile(2, 3), "x": Tile(2, 3)}
    assert chosen("standard", 3, "x", channels=32) == {"y": Tile(2, 3), "x": Tile(4, 3)}
    assert chosen("standard", 3, "x", channels=127) == {"y": Tile(2, 3), "x": Tile(4, 3)}
    assert chosen("standard", 3, "x", channels=128) == {"y": Tile(4, 3), "x": Tile(4, 3)}
    assert chosen("standard", 3, "w", size=8) == {"s": Tile(3, 2), "t": Tile(3, 2)}
    assert chosen("standard", 3, "w", size=9) == {"s": Tile(3, 2), "t": Tile(3, 4)}
    assert chosen("standard", 3, "w", size=36) == {"s": Tile(3, 2), "t": Tile(3, 4)}
    assert chosen("fast", 3, channels=1) == {"i": Tile(4, 3), "j": Tile(4, 3)}


def stepped(mode: str, stride: int, dilation: int, kernel: int = 3, wrt: str = "") -> dict[str, Tile]:
    extents = {"n": 8, "i": 12, "j": 12, "k": 64, "s": kernel, "t": kernel, "c": 64}
    formula = parse("z[n,i,j,k] = sum(s,t,c) x[n,S*i+D*s-1,S*j+D*t-1,c] * w[s,t,c,k]")
    if wrt:
        derived = derive(formula, wrt)
        extents |= {copy: extents[origin] for copy, origin in derived.copies.items()}
        formula = derived.formula
    (solved,) = solve(formula, {"S": stride, "D": dilation}, extents)
    return tiles_of(solved, mode)


def test_a_stride_leaves_tiles_as_large() -> None:
    """Each residue has one or two of the three taps."""
    assert stepped("standard", 2, 1) == {"i": Tile(2, 3), "j": Tile(4, 3)}
    assert stepped("fast", 2, 1) == {"i": Tile(4, 3), "j": Tile(4, 3)}
    assert stepped("fast", 2, 1, wrt="w") == {"s": Tile(3, 4), "t": Tile(3, 4)}


@pytest.mark.parametrize("mode", ["standard", "fast"])
def test_a_dilation_gives_every_residue_two(mode: str) -> None:
    assert stepped(mode, 1, 2) == {"i": Tile(4, 3), "j": Tile(4, 3)}
    assert stepped(mode, 1, 3) == {"i": Tile(6, 3), "j": Tile(6, 3)}
    assert stepped(mode, 1, 2, wrt="w") == {"s": Tile(3, 4), "t": Tile(3, 4)}


def test_what_saves_nothing_with_steps() -> None:
    """Two taps at a stride of 2 fall into residues of one."""
    assert stepped("fast", 2, 1, kernel=2) == stepped("fast", 3, 1) == {}


@pytest.mark.parametrize("mode", ["standard", "fast"])
def test_three_dimensions_get_small_tiles(mode: str) -> None:
    """Six points in three directions would be 216; what is too large even with four gets none."""
    volume = parse("z[n,h,i,j,k] = sum(r,s,t,c) x[n,h+r-1,i+s-1,j+t-1,c] * w[r,s,t,c,k]")
    extents = {"n": 2, "h": 8, "i": 8, "j": 8, "k": 64, "r": 3, "s": 3, "t": 3, "c": 64}
    (solved,) = solve(volume, {}, extents)
    found = recognise(solved)
    assert isinstance(found, Correlation)
    assert choose_tiles(solved, found, mode, 64) == {axis: Tile(2, 3) for axis in "hij"}
    assert choose_tiles(solved, found, mode, 63) == {}


def test_an_unknown_mode() -> None:
    with pytest.raises(ArgumentError) as caught:
        chosen("exact", 3)
    assert str(caught.value) == "`mode` (='exact') must be one of standard, fast"
