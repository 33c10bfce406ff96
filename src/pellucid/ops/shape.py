"""Operations that move values: flatten, concatenate, upsample, channels to space and back; float32 or float64."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.nn import equations
from pellucid.ops.operation import Applied, Array, floats, operation

__all__ = ["depth_to_space", "flatten", "pixel_shuffle", "space_to_depth", "upsample_nearest"]


@operation
def flatten(x: Array, start_dim: int = 1) -> Applied:
    """All axes from `start_dim` on as one, in row-major order: (n, i, j, c) becomes (n, i*j*c)."""
    floats(x=x)
    return Applied(equations.flatten(x.shape, start_dim=start_dim), {"x": x})


@operation
def upsample_nearest(x: Array, scale_factor: int | Sequence[int]) -> Applied:
    """Every row and column repeated; x (n, height, width, channels)."""
    floats(x=x)
    return Applied(equations.upsample_nearest(x.shape, scale_factor=scale_factor), {"x": x})


@operation
def depth_to_space(x: Array, block: int) -> Applied:
    """The channels (row, column, c) of a cell become a block of cells (ONNX's mode DCR)."""
    floats(x=x)
    return Applied(equations.depth_to_space(x.shape, block=block), {"x": x})


@operation
def space_to_depth(x: Array, block: int) -> Applied:
    """A block of cells becomes the channels (row, column, c) of one cell."""
    floats(x=x)
    return Applied(equations.space_to_depth(x.shape, block=block), {"x": x})


@operation
def pixel_shuffle(x: Array, upscale_factor: int) -> Applied:
    """The channels (c, row, column) of a cell become a block of cells, channels last."""
    floats(x=x)
    return Applied(equations.pixel_shuffle(x.shape, upscale_factor=upscale_factor), {"x": x})
