"""Every operation once more: its compiled code against its equation, its gradient against differences."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import ops
from pellucid.reference.gradient_check import check_gradient


def pick(name, **attributes):
    return name, attributes


OPERATIONS = {
    "conv1d": (lambda r: [r(2, 7, 3), r(3, 3, 4), r(4)], pick("conv1d", stride=2, padding=1), 1e-12),
    "conv3d": (lambda r: [r(1, 4, 5, 4, 2), r(2, 3, 2, 2, 3), r(3)], pick("conv3d", padding=1), 1e-12),
    "flip": (lambda r: [r(2, 6, 5, 3), r(3, 2, 3, 4)], pick("conv2d", flip=True, stride=2), 1e-12),
    "NCHW": (lambda r: [r(2, 3, 6, 5), r(4, 3, 3, 2), r(4)], pick("conv2d", layout="NCHW", padding="same"), 1e-12),
    "transposed": (
        lambda r: [r(2, 4, 3, 4), r(3, 3, 3, 4), r(6)],
        pick("conv_transpose2d", stride=2, padding=1, output_padding=1, groups=2),
        1e-12,
    ),
    "linear": (lambda r: [r(5, 7), r(7, 19), r(19)], pick("linear"), 1e-12),
    "max_pool": (lambda r: [r(2, 7, 6, 5)], pick("max_pool2d", kernel_size=3, stride=2, padding=1), 0),
    "avg_pool": (
        lambda r: [r(2, 7, 6, 5)],
        pick("avg_pool2d", kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        1e-12,
    ),
    "lp_pool": (lambda r: [r(2, 6, 6, 5)], pick("lp_pool2d", norm_type=2, kernel_size=2), 1e-11),
    "lp_pool_3": (lambda r: [r(2, 6, 6, 5)], pick("lp_pool2d", norm_type=3, kernel_size=2), 1e-11),
    "adaptive_avg": (lambda r: [r(2, 7, 6, 5)], pick("adaptive_avg_pool2d", output_size=(3, 4)), 1e-12),
    "adaptive_max": (lambda r: [r(2, 7, 6, 5)], pick("adaptive_max_pool2d", output_size=(3, 4)), 0),
    "global_avg": (lambda r: [r(2, 7, 6, 5)], pick("global_avg_pool2d"), 1e-12),
    "global_max": (lambda r: [r(2, 7, 6, 5)], pick("global_max_pool2d"), 0),
    "batch_norm": (
        lambda r: [r(3, 4, 5, 6), None, None, r(6), r(6)],
        pick("batch_norm", training=True),
        1e-10,
    ),
    "batch_norm_inference": (
        lambda r: [r(3, 4, 5, 6), r(6), 0.5 + np.abs(r(6)), r(6), r(6)],
        pick("batch_norm", training=False),
        1e-10,
    ),
    "layer_norm": (lambda r: [r(3, 4, 6), r(4, 6), r(4, 6)], pick("layer_norm", normalized_shape=(4, 6)), 1e-10),
    "local_response_norm": (lambda r: [r(2, 3, 4, 6)], pick("local_response_norm", size=4, alpha=0.3), 1e-10),
    "softmax": (lambda r: [4 * r(3, 4, 5)], pick("softmax", dim=1), 1e-11),
    "log_softmax": (lambda r: [4 * r(7, 10)], pick("log_softmax"), 1e-11),
    "cross_entropy": (
        lambda r: [3 * r(6, 10), np.array([1, 9, 0, -100, 4, 4]), np.abs(r(10))],
        pick("cross_entropy", label_smoothing=0.1),
        1e-11,
    ),
    "cross_entropy_probabilities": (
        lambda r: [3 * r(6, 10), np.abs(r(6, 10))],
        pick("cross_entropy", reduction="sum"),
        1e-11,
    ),
    "nll_loss": (lambda r: [r(2, 3, 5), np.array([[0, 4, 2], [1, 1, -100]])], pick("nll_loss"), 1e-12),
    "prelu": (lambda r: [r(2, 3, 5), r(5)], pick("prelu"), 1e-12),
    "prelu_1": (lambda r: [r(2, 3, 5), r(1)], pick("prelu"), 1e-12),
    "maxout": (lambda r: [r(2, 3, 6)], pick("maxout", pieces=3), 0),
    "flatten": (lambda r: [r(2, 3, 4, 5)], pick("flatten"), 0),
    "upsample": (lambda r: [r(2, 3, 4, 5)], pick("upsample_nearest", scale_factor=2), 1e-12),
    "pixel_shuffle": (lambda r: [r(2, 3, 4, 8)], pick("pixel_shuffle", upscale_factor=2), 0),
    "depth_to_space": (lambda r: [r(2, 3, 4, 8)], pick("depth_to_space", block=2), 0),
    "space_to_depth": (lambda r: [r(2, 4, 6, 3)], pick("space_to_depth", block=2), 0),
    "rnn": (lambda r: [r(3, 6, 4), r(4, 5) / 2, r(5, 5) / 2, r(5), r(3, 5), np.array([6, 1, 4])], pick("rnn"), 1e-12),
    "rnn_relu": (
        lambda r: [r(3, 6, 4), r(4, 5) / 2, r(5, 5) / 2, r(5)],
        pick("rnn", nonlinearity="relu", reverse=True),
        1e-12,
    ),
    "lstm": (
        lambda r: [r(3, 6, 4), r(4, 4, 5) / 2, r(5, 4, 5) / 2, r(4, 5), r(3, 5), r(3, 5), np.array([6, 1, 4])],
        pick("lstm"),
        1e-12,
    ),
    "gru": (
        lambda r: [r(3, 6, 4), r(4, 3, 5) / 2, r(5, 3, 5) / 2, r(3, 5), r(3, 5), r(3, 5)],
        pick("gru", output="last"),
        1e-12,
    ),
    "binary_cross_entropy": (
        lambda r: [0.2 + 0.6 / (1 + np.exp(-r(4, 5))), 1 / (1 + np.exp(-r(4, 5)))],
        pick("binary_cross_entropy"),
        1e-11,
    ),
} | {
    name: (lambda r: [3 * r(3, 4, 5)], pick(name), 1e-11)
    for name in (
        "sigmoid", "logsigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "softplus", "softsign", "silu",
        "gelu", "hardsigmoid", "hardswish", "mish", "hardtanh",
    )
} | {
    name: (lambda r: [r(4, 5), 0.5 + np.abs(r(4, 5))], pick(name), 1e-11)
    for name in (
        "mse_loss", "squared_error_loss", "l1_loss", "mape_loss", "huber_loss", "smooth_l1_loss", "kl_div",
        "binary_cross_entropy_with_logits",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_compiled_code_does_what_its_equation_says(draw, name):
    """Compiled in float64 against the reference: results and all gradients. `apart` 0 is bit for bit."""
    make, (operation, attributes), apart = OPERATIONS[name]
    arrays = make(draw)
    results = []
    for backend in ("compiled", "reference"):
        y, pullback = ops.vjp(getattr(ops, operation), *arrays, backend=backend, **attributes)
        g = np.random.default_rng(7).standard_normal(y.shape)
        results.append((y, *pullback(g)))
    for compiled, reference in zip(*results, strict=True):
        if reference is None:
            assert compiled is None
            continue
        scale = np.max(np.abs(reference))
        assert np.max(np.abs(compiled - reference)) <= apart * scale


BILINEAR = ("conv1d", "conv3d", "flip", "NCHW", "transposed", "linear", "avg_pool", "adaptive_avg", "global_avg",
            "upsample", "flatten", "pixel_shuffle", "depth_to_space", "space_to_depth", "nll_loss")  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_central_differences(draw, literally, name):
    """Bilinear equations with eps = 1, where a difference has no truncation error, within 1e-12; others 1e-8."""
    make, (operation, attributes), _ = OPERATIONS[name]
    function = getattr(ops, operation)
    arrays = make(draw)
    y, pullback = ops.vjp(function, *arrays, backend="reference", **attributes)
    g = np.random.default_rng(8).standard_normal(y.shape)
    numbered = {str(number): array for number, array in enumerate(arrays)}
    names = function.operation.arrays[: len(arrays)]
    gradients = {str(number): d for number, d in enumerate(pullback(g)) if d is not None}
    report = check_gradient(
        lambda values: literally(function, **dict(zip(names, values.values(), strict=True)), **attributes),
        numbered,
        gradients,
        g,
        eps=1.0 if name in BILINEAR else 3e-5,
    )
    assert report.relative_error <= (1e-12 if name in BILINEAR else 1e-8), str(report)
