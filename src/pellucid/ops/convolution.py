"""Convolutions and the fully connected layer on arrays; the equations are in `nn/equations`."""

from __future__ import annotations

from pellucid.nn import equations
from pellucid.nn.equations.window import Integers, Padding
from pellucid.ops.operation import Applied, Array, floats, operation, shape_of

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"]


@operation
def conv1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """`z[n,i,k] = sum(s,c) x[n,i*S+s*D-P,c] * w[s,c,k] + b[k]`; x (n, width, channels), w (width, c, k).

    Attributes, errors and layouts as `conv2d`.
    """
    floats(x=x, w=w, b=b)
    system = equations.conv1d(
        x.shape, w.shape, shape_of(b),
        stride=stride, padding=padding, dilation=dilation, groups=groups, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The cross-correlation that is called convolution (MATHS.md, section 2), float32 or float64:

        z[n,i,j,k] = sum(s,t,c) x[n, i*SH+s*DH-PH, j*SW+t*DW-PW, c] * w[s,t,c,k] + b[k]

    `x` (n, height, width, in_channels), `w` (height, width, in_channels / groups, out_channels), `b`
    (out_channels,); with layout="NCHW" `x` (n, c, height, width) and `w` (k, c, height, width).
    `padding` is a number, one for each axis, a pair (before, after) for each axis, "valid", "same" (the output is
    ceil(N / stride), the odd cell of padding at the end) or "full". `flip` turns the kernel by 180 degrees.

    Raises ShapeError, DtypeError and ArgumentError with the argument, the rule and the numbers.
    """
    floats(x=x, w=w, b=b)
    system = equations.conv2d(
        x.shape, w.shape, shape_of(b),
        stride=stride, padding=padding, dilation=dilation, groups=groups, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def conv3d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    dilation: Integers = 1,
    groups: int = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """As `conv2d` over depth, height and width; x (n, depth, height, width, channels)."""
    floats(x=x, w=w, b=b)
    system = equations.conv3d(
        x.shape, w.shape, shape_of(b),
        stride=stride, padding=padding, dilation=dilation, groups=groups, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def conv_transpose1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The input gradient of `conv1d` used forward; as `conv_transpose2d`."""
    floats(x=x, w=w, b=b)
    system = equations.conv_transpose1d(
        x.shape, w.shape, shape_of(b), stride=stride, padding=padding, output_padding=output_padding,
        groups=groups, dilation=dilation, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The input gradient of `conv2d` used forward, with the same kernel array:

        z[n,p,q,c] = sum(i,j,s,t,k : i*SH+s*DH-PH == p, j*SW+t*DW-PW == q) x[n,i,j,k] * w[s,t,c,k] + b[c]

    So the last axis of `w` (height, width, out_channels / groups, in_channels) holds the channels of `x`; with
    layout="NCHW" the first one, as in PyTorch. `output_padding` adds cells at the end of the result, of which
    there are `(N-1)*stride - before - after + dilation*(kernel-1) + output_padding + 1` (`N*stride` with
    padding="same").
    """
    floats(x=x, w=w, b=b)
    system = equations.conv_transpose2d(
        x.shape, w.shape, shape_of(b), stride=stride, padding=padding, output_padding=output_padding,
        groups=groups, dilation=dilation, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def conv_transpose3d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Integers = 1,
    padding: Padding = 0,
    output_padding: Integers = 0,
    groups: int = 1,
    dilation: Integers = 1,
    flip: bool = False,
    layout: str = "NHWC",
) -> Applied:
    """The input gradient of `conv3d` used forward; as `conv_transpose2d`."""
    floats(x=x, w=w, b=b)
    system = equations.conv_transpose3d(
        x.shape, w.shape, shape_of(b), stride=stride, padding=padding, output_padding=output_padding,
        groups=groups, dilation=dilation, flip=flip, layout=layout,
    )  # fmt: skip
    return Applied(system, {"x": x, "w": w, "b": b})


@operation
def linear(x: Array, w: Array, b: Array | None = None) -> Applied:
    """`z[n,o] = sum(q) x[n,q] * w[q,o] + b[o]`; x (..., in_features), w (in_features, out_features)."""
    floats(x=x, w=w, b=b)
    return Applied(equations.linear(x.shape, w.shape, shape_of(b)), {"x": x, "w": w, "b": b})
