"""The geometry of windows as nodes give it: kernel, strides, dilations, padding and the extent of the result."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.nn.equations.notation import SPATIAL_NAMES
from pellucid.nn.equations.window import Window
from pellucid.nn.layer import Shape

__all__ = ["kernel_shape", "spatial_rank", "transposed_windows", "window_kernel", "windows"]

AUTO_PADS = ("NOTSET", "SAME_LOWER", "SAME_UPPER", "VALID")

# Kernels, strides, dilations and pads beyond this are nonsense.
MOST = 2**31 - 1
# Each row of padding is code of its own: beyond this, making it takes seconds and gigabytes.
MOST_PADDING = 1024


def spatial_rank(node: Node, shape: Shape) -> int:
    """The number of spatial axes of (batch, channels, spatial ...): 1, 2 or 3."""
    rank = len(shape) - 2
    if rank < 1:
        node.damaged(f"input 0 {shape} must have at least 3 dimensions (batch, channels, spatial ...)")
    if rank not in SPATIAL_NAMES:
        node.refuse(f"input 0 {shape} has {rank} spatial dimensions; at most 3 are supported")
    return rank


def kernel_shape(node: Node, rank: int) -> Shape:
    """The attribute `kernel_shape`, which pools must have."""
    kernels = node.integers("kernel_shape", length=rank, least=1, most=MOST)
    node.program.check_size(kernels)
    return kernels


def window_kernel(node: Node, weights: Shape) -> Shape:
    """The extents of a convolution's window, which `kernel_shape` repeats if it is there."""
    kernels = weights[2:]
    if node.has("kernel_shape"):
        given = node.integers("kernel_shape", length=len(kernels), least=1, most=MOST)
        if given != kernels:
            node.damaged(f"attribute `kernel_shape` (={given}) must be that of input 1 {weights}: {kernels}")
    return kernels


def windows(node: Node, extents: Shape, kernels: Shape, *, ceil_mode: bool = False) -> tuple[Window, ...]:
    """The windows over an input with these spatial extents; ShapeError where none fits."""
    rank = len(extents)
    strides = node.integers("strides", (1,) * rank, length=rank, least=1, most=MOST)
    dilations = node.integers("dilations", (1,) * rank, length=rank, least=1, most=MOST)
    padding = sides(node, rank)
    auto_pad = node.text("auto_pad", "NOTSET", choices=AUTO_PADS)
    made: list[Window] = []
    for axis, name in enumerate(SPATIAL_NAMES[rank]):
        extent, kernel, stride, dilation = extents[axis], kernels[axis], strides[axis], dilations[axis]
        reach = dilation * (kernel - 1) + 1
        before, after = padding[axis]
        if auto_pad.startswith("SAME"):
            output = -(-extent // stride)
            before, after = _halves(
                max((output - 1) * stride + reach - extent, 0), more_before=auto_pad == "SAME_LOWER"
            )
        else:
            output = _output(extent, before, after, reach, stride, ceil_mode and auto_pad == "NOTSET")
        if output < 1:
            raise ShapeError(
                f"kernel {name} (={kernel}, with dilation {dilation} reaching over {reach}) must be at most the "
                f"padded input (={extent + before + after})"
            )
        made.append(Window(name, extent, kernel, stride, dilation, before, after, output))
    return tuple(made)


def transposed_windows(node: Node, extents: Shape, kernels: Shape) -> tuple[Window, ...]:
    """The windows of the convolution that is transposed: `Window.extent` is that of the result."""
    rank = len(extents)
    strides = node.integers("strides", (1,) * rank, length=rank, least=1, most=MOST)
    dilations = node.integers("dilations", (1,) * rank, length=rank, least=1, most=MOST)
    extra = node.integers("output_padding", (0,) * rank, length=rank, least=0, most=MOST)
    padding = sides(node, rank)
    auto_pad = node.text("auto_pad", "NOTSET", choices=AUTO_PADS)
    results = _output_shape(node, rank, extents)
    made: list[Window] = []
    for axis, name in enumerate(SPATIAL_NAMES[rank]):
        stride, dilation = strides[axis], dilations[axis]
        before, after = padding[axis]
        whole = (extents[axis] - 1) * stride + dilation * (kernels[axis] - 1) + 1 + extra[axis]
        if results is not None:
            size = results[axis]
        elif auto_pad.startswith("SAME"):
            size = extents[axis] * stride
        else:
            size = whole - before - after
        if results is not None or auto_pad.startswith("SAME"):
            before, after = _halves(max(whole - size, 0), more_before=auto_pad != "SAME_UPPER")
        if size < 1:
            raise ShapeError(f"output {name} (={size}) must be at least 1: `pads` (={before}, {after}) are too large")
        made.append(Window(name, size, kernels[axis], stride, dilation, before, after, extents[axis]))
    return tuple(made)


def sides(node: Node, rank: int) -> tuple[tuple[int, int], ...]:
    """The attribute `pads` as (before, after) for each axis; it must not stand beside `auto_pad`."""
    pads = node.integers("pads", (0,) * (2 * rank), length=2 * rank, least=0, most=MOST)
    if max(pads, default=0) > MOST_PADDING:
        node.refuse(f"attribute `pads` (={pads}) is supported up to {MOST_PADDING:,}")
    if any(pads) and node.text("auto_pad", "NOTSET", choices=AUTO_PADS) not in ("NOTSET", ""):
        node.damaged(f"attributes `pads` (={pads}) and `auto_pad` (={node.text('auto_pad')!r}) exclude each other")
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def _output_shape(node: Node, rank: int, extents: Sequence[int]) -> Shape | None:
    if not node.has("output_shape"):
        return None
    given = node.integers("output_shape", least=1, most=MOST)
    # Some writers put batch and channels in front.
    if len(given) not in (rank, rank + 2):
        node.damaged(f"attribute `output_shape` (={given}) must have {rank} numbers, has {len(given)}")
    return given[-rank:]


def _halves(total: int, *, more_before: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (large, small) if more_before else (small, large)


def _output(extent: int, before: int, after: int, reach: int, stride: int, ceil_mode: bool) -> int:
    """The number of windows; with `ceil_mode` also of those that begin within the input and end past it."""
    free = extent + before + after - reach
    if free < 0:
        return 0
    if not ceil_mode:
        return free // stride + 1
    output = -(-free // stride) + 1
    return output - 1 if (output - 1) * stride >= extent + before else output
