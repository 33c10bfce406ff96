"""What is refused, and the words of it: argument, rule, numbers."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import errors, ops


def floats(*shape):
    return np.zeros(shape, np.float32)


IMAGE = floats(2, 6, 7, 4)
KERNEL = floats(3, 3, 4, 8)
SHAPE, ARGUMENT, DTYPE = errors.ShapeError, errors.ArgumentError, errors.DtypeError

REFUSED = [
    # convolution: arrays
    (
        lambda: ops.conv2d(floats(2, 6, 7), KERNEL),
        SHAPE,
        "`x` (2, 6, 7) must have 4 dimensions (n, height, width, channels), has 3",
    ),
    (
        lambda: ops.conv2d(IMAGE, floats(3, 3, 4)),
        SHAPE,
        "`w` (3, 3, 4) must have 4 dimensions (height, width, in_channels / groups, out_channels), has 3",
    ),
    (
        lambda: ops.conv1d(IMAGE, KERNEL, layout="NCHW"),
        SHAPE,
        "`x` (2, 6, 7, 4) must have 3 dimensions (n, channels, width), has 4",
    ),
    (lambda: ops.conv2d(floats(0, 6, 7, 4), KERNEL), SHAPE, "`x` (0, 6, 7, 4) is empty"),
    (lambda: ops.conv2d(IMAGE, floats(3, 0, 4, 8)), SHAPE, "`w` (3, 0, 4, 8) is empty"),
    (
        lambda: ops.conv2d(IMAGE, floats(3, 3, 5, 8)),
        SHAPE,
        "`w` (3, 3, 5, 8) must have `in_channels` / `groups` (=4 / 1) input channels, has 5",
    ),
    (lambda: ops.conv2d(IMAGE, KERNEL, floats(4)), SHAPE, "`b` (4,) must have shape (8,)"),
    (lambda: ops.conv2d(IMAGE, [[1.0]]), DTYPE, "`w` must be a NumPy array, is a list"),
    (
        lambda: ops.conv2d(IMAGE, KERNEL.astype(np.float64)),
        DTYPE,
        "`w` has dtype float64 and `x` float32; one type is needed",
    ),
    (
        lambda: ops.conv2d(IMAGE.astype(np.uint8), KERNEL),
        DTYPE,
        "`x` has dtype uint8; float32 or float64 is needed",
    ),
    (lambda: ops.relu(floats(3).astype(">f4")), DTYPE, "`x` has dtype >f4; float32 or float64 is needed"),
    # convolution: attributes
    (
        lambda: ops.conv2d(floats(1, 6, 7, 5), floats(3, 3, 2, 8), groups=2),
        ARGUMENT,
        "`in_channels` (=5) must be divisible by `groups` (=2)",
    ),
    (
        lambda: ops.conv2d(IMAGE, floats(3, 3, 2, 7), groups=2),
        ARGUMENT,
        "`out_channels` (=7) must be divisible by `groups` (=2)",
    ),
    (lambda: ops.conv2d(IMAGE, KERNEL, groups=0), ARGUMENT, "`groups` (=0) must be at least 1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=0), ARGUMENT, "`stride` (=0) must be at least 1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=2.0), ARGUMENT, "`stride` (=2.0) must be an integer"),
    (lambda: ops.conv2d(IMAGE, KERNEL, dilation=-1), ARGUMENT, "`dilation` (=-1) must be at least 1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding=-1), ARGUMENT, "`padding` (=-1) must be at least 0"),
    (
        lambda: ops.conv2d(IMAGE, KERNEL, stride=(1, 2, 3)),
        ARGUMENT,
        "`stride` (=(1, 2, 3)) must be an integer or 2 numbers, one for each spatial axis",
    ),
    (
        lambda: ops.conv2d(IMAGE, KERNEL, padding=(1, 2, 3)),
        ARGUMENT,
        "`padding` (=(1, 2, 3)) must be an integer, 2 numbers or 2 pairs (before, after), or a name",
    ),
    (
        lambda: ops.conv1d(floats(1, 6, 4), floats(3, 4, 8), padding=(1, 2)),
        ARGUMENT,
        "`padding` (=(1, 2)) must be an integer, 1 number or 1 pair (before, after), or a name",
    ),
    (
        lambda: ops.conv2d(IMAGE, KERNEL, padding="half"),
        ARGUMENT,
        "`padding` (='half') must be 'valid', 'same' or 'full' where it is a name",
    ),
    (lambda: ops.conv2d(IMAGE, KERNEL, layout="CHWN"), ARGUMENT, "`layout` (='CHWN') must be 'NHWC' or 'NCHW'"),
    (
        lambda: ops.conv2d(IMAGE, floats(9, 3, 4, 8), padding=1),
        SHAPE,
        "kernel height (=9, with dilation 1 reaching over 9) must be at most the padded input (=8)",
    ),
    (
        lambda: ops.conv2d(IMAGE, KERNEL, dilation=4),
        SHAPE,
        "kernel height (=3, with dilation 4 reaching over 9) must be at most the padded input (=6)",
    ),
    (
        lambda: ops.conv_transpose2d(IMAGE, KERNEL),
        SHAPE,
        "`w` (3, 3, 4, 8) must have `in_channels` (=4) in its last place, has 8",
    ),
    (
        lambda: ops.conv_transpose2d(IMAGE, floats(3, 3, 8, 4), stride=2, output_padding=2),
        ARGUMENT,
        "`output_padding` (=2) must be smaller than `stride` (=2) or `dilation` (=1)",
    ),
    (
        lambda: ops.conv_transpose2d(IMAGE, floats(3, 3, 8, 4), padding=4),
        SHAPE,
        "output height (=0) must be at least 1: `padding` (=4, 4) is too large",
    ),
    (
        lambda: ops.linear(IMAGE, floats(5, 3)),
        SHAPE,
        "`x` (2, 6, 7, 4) must have `in_features` (=5) in its last place, has 4",
    ),
    # pooling
    (lambda: ops.max_pool2d(IMAGE, 0), ARGUMENT, "`kernel_size` (=0) must be at least 1"),
    (
        lambda: ops.max_pool2d(IMAGE, 3, padding=2),
        ARGUMENT,
        "`padding` (=2) must be at most half of the window (=3)",
    ),
    (
        lambda: ops.max_pool2d(floats(1, 1, 5, 1), 2, stride=1, padding=(2, 0), dilation=(4, 1)),
        SHAPE,
        "window 0 along height lies wholly in the padding: it reads from -2 to 2 of an input of 1",
    ),
    (
        lambda: ops.avg_pool2d(IMAGE, 8),
        SHAPE,
        "kernel height (=8, with dilation 1 reaching over 8) must be at most the padded input (=6)",
    ),
    (
        lambda: ops.max_pool3d(IMAGE, 2),
        SHAPE,
        "`x` (2, 6, 7, 4) must have 5 dimensions (n, depth, height, width, channels), has 4",
    ),
    (lambda: ops.lp_pool2d(IMAGE, 0, 2), ARGUMENT, "`norm_type` (=0) must be greater than 0 and finite"),
    (lambda: ops.adaptive_avg_pool2d(IMAGE, 0), ARGUMENT, "`output_size` (=0) must be at least 1"),
    (
        lambda: ops.adaptive_max_pool2d(IMAGE, (1, 2, 3)),
        ARGUMENT,
        "`output_size` (=(1, 2, 3)) must be an integer or 2 integers",
    ),
    # activations
    (lambda: ops.relu(np.zeros((), np.float32)), SHAPE, "an array must have 1 to 8 dimensions, this one has 0"),
    (lambda: ops.relu(floats(0, 3)), SHAPE, "`x` (0, 3) is empty"),
    (lambda: ops.softmax(IMAGE, 4), ARGUMENT, "`dim` (=4) must be from -4 to 3"),
    (lambda: ops.maxout(IMAGE, 3), ARGUMENT, "`channels` (=4) must be divisible by `pieces` (=3)"),
    (lambda: ops.prelu(IMAGE, floats(3)), SHAPE, "`weight` (3,) must have shape (1,) or (4,)"),
    (lambda: ops.gelu(IMAGE, "fast"), ARGUMENT, "`approximate` (='fast') must be 'none' or 'tanh'"),
    (
        lambda: ops.hardtanh(IMAGE, 1.0, -1.0),
        ARGUMENT,
        "`min_val` (=1.0) must be smaller than `max_val` (=-1.0)",
    ),
    (lambda: ops.elu(IMAGE, float("nan")), ARGUMENT, "`alpha` (=nan) must be finite"),
    (lambda: ops.softplus(IMAGE, 0.0), ARGUMENT, "`beta` (=0.0) must be greater than 0"),
    # normalisation
    (
        lambda: ops.batch_norm(floats(1, 4), None, None, training=True),
        SHAPE,
        "`x` (1, 4) must have more than 1 value for each channel in training, has 1",
    ),
    (
        lambda: ops.batch_norm(IMAGE, None, None),
        ARGUMENT,
        "`running_mean` and `running_var` must be given unless `training` is true",
    ),
    (
        lambda: ops.batch_norm(IMAGE, floats(7), floats(4)),
        SHAPE,
        "`running_mean` (7,) must have shape (4,)",
    ),
    (lambda: ops.batch_norm(IMAGE, None, None, floats(3), training=True), SHAPE, "`weight` (3,) must have shape (4,)"),
    (lambda: ops.layer_norm(IMAGE, (7, 5)), SHAPE, "`x` (2, 6, 7, 4) must end with `normalized_shape` (7, 5)"),
    (lambda: ops.layer_norm(IMAGE, 4, eps=-1.0), ARGUMENT, "`eps` (=-1.0) must be at least 0 and finite"),
    (lambda: ops.dropout(IMAGE, mask=[1]), DTYPE, "`mask` must be a NumPy array, is a list"),
    (
        lambda: ops.dropout(IMAGE, mask=np.zeros(3, int)),
        DTYPE,
        "`mask` has dtype int64; bool or the floating type of `x` is needed",
    ),
    (lambda: ops.dropout(IMAGE, 1.5), ARGUMENT, "`p` (=1.5) must be from 0 to 1"),
    (lambda: ops.dropout(IMAGE, mask=floats(3)), SHAPE, "`mask` (3,) must have shape (2, 6, 7, 4)"),
    # losses
    (lambda: ops.mse_loss(floats(3), floats(4)), SHAPE, "`target` (4,) must have the shape of `input` (3,)"),
    (
        lambda: ops.mse_loss(floats(3), floats(3), "average"),
        ARGUMENT,
        "`reduction` (='average') must be 'mean', 'sum' or 'none'",
    ),
    (
        lambda: ops.cross_entropy(floats(3, 4), np.array([0, 4, 1])),
        ARGUMENT,
        "label 4 at position 1 is outside 0 .. 3",
    ),
    (
        lambda: ops.nll_loss(floats(2, 3, 4), np.array([[0, 1, 2], [3, 0, -1]])),
        ARGUMENT,
        "label -1 at position (1, 2) is outside 0 .. 3",
    ),
    (
        lambda: ops.cross_entropy(floats(3, 4), np.array([0, 1])),
        SHAPE,
        "`target` (2,) must have shape (3,) (labels) or (3, 4) (probabilities)",
    ),
    (
        lambda: ops.nll_loss(floats(3, 4), floats(3)),
        DTYPE,
        "`target` has dtype float32; an integer type is needed for labels",
    ),
    (
        lambda: ops.cross_entropy(floats(3, 4), np.array([0, 1, 2]), label_smoothing=1.0),
        ARGUMENT,
        "`label_smoothing` (=1.0) must be at least 0 and less than 1",
    ),
    (
        lambda: ops.cross_entropy(floats(3, 4), np.array([0, 1, 2]), floats(3)),
        SHAPE,
        "`weight` (3,) must have shape (4,)",
    ),
    (
        lambda: ops.huber_loss(floats(3), floats(3), delta=0.0),
        ARGUMENT,
        "`delta` (=0.0) must be greater than 0 and finite",
    ),
    (
        lambda: ops.msle_loss(np.array([0.0, -1.0]), np.zeros(2)),
        ARGUMENT,
        "`input` must be greater than -1, is -1.0 at (1,)",
    ),
    (
        lambda: ops.binary_cross_entropy(np.array([[0.5, 1.5]]), np.zeros((1, 2))),
        ARGUMENT,
        "`input` must be from 0 to 1, is 1.5 at (0, 1)",
    ),
    (
        lambda: ops.hinge_loss(np.zeros(2), np.array([1.0, 0.0])),
        ARGUMENT,
        "`target` must be 1 or -1, is 0.0 at (1,)",
    ),
    (lambda: ops.cross_entropy(floats(3, 4), [0, 1, 2]), DTYPE, "`target` must be a NumPy array, is a list"),
    # shape
    (lambda: ops.flatten(IMAGE, 4), ARGUMENT, "`start_dim` (=4) must be from -4 to 3"),
    (
        lambda: ops.pixel_shuffle(floats(1, 2, 2, 6), 2),
        ARGUMENT,
        "`channels` (=6) must be divisible by `upscale_factor` squared (=4)",
    ),
    (
        lambda: ops.space_to_depth(floats(1, 5, 4, 1), 2),
        ARGUMENT,
        "`height` (=5) must be divisible by `block` (=2)",
    ),
    # vjp
    (lambda: ops.vjp(np.tanh, IMAGE), ARGUMENT, "`function` (=tanh) must be one of pellucid.ops"),
    (
        lambda: ops.vjp(ops.relu, 2),
        ARGUMENT,
        "argument 1 of relu (=2) is no array; give attributes by their names",
    ),
    (
        lambda: ops.vjp(ops.conv2d, IMAGE, KERNEL, None, 2),
        ARGUMENT,
        "conv2d takes 3 arrays (x, w, b), 4 are given; attributes go by name",
    ),
    (
        lambda: ops.vjp(ops.conv2d, IMAGE, KERNEL, w=KERNEL),
        ARGUMENT,
        "`w` of conv2d is given by position and by name",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, kind, message):
    with pytest.raises(kind) as refusal:
        call()
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("g", "kind", "message"),
    [
        (np.zeros((1, 2), np.float32), SHAPE, "`g` (1, 2) must have the shape of the result (2, 6, 7, 4)"),
        (np.zeros(IMAGE.shape), DTYPE, "`g` has dtype float64; float32 is needed, as the result has"),
    ],
    ids=["shape", "dtype"],
)
def test_refused_gradients(g, kind, message):
    _, pullback = ops.vjp(ops.relu, IMAGE, backend="reference")
    with pytest.raises(kind) as refusal:
        pullback(g)
    assert str(refusal.value) == message


def test_ignored_labels_are_no_error(literally):
    labels = np.array([-100, 1])
    assert literally(ops.cross_entropy, np.zeros((2, 4)), labels) == pytest.approx(np.log(4), rel=1e-15)
