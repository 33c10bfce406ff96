"""Every equation of `nn.equations` as a function of standard operators, judged by its literal meaning."""

from __future__ import annotations

import numpy as np
import pytest

from exchange.onnx.export.running import check_function
from pellucid.language.parse import parse_system
from pellucid.language.system import System
from pellucid.nn import equations as e

rng = np.random.default_rng(5)


def r(*shape):
    return rng.standard_normal(shape)


def call(function, **attributes):
    return lambda *shapes: function(*shapes, **attributes)


X = (2, 6, 5, 4)
ELEMENTWISE = [
    e.identity, e.sigmoid, e.logsigmoid, e.tanh, e.relu, e.relu6, e.leaky_relu, e.elu, e.selu, e.softplus, e.softsign,
    e.silu, e.gelu, e.hardsigmoid, e.hardswish, e.mish, e.hardtanh,
]  # fmt: skip


@pytest.mark.parametrize("function", ELEMENTWISE, ids=lambda function: function.__name__)
def test_elementwise(function):
    # The plain evaluation of Erf is one in float32.
    check_function(function, {"x": 3 * r(2, 3, 4)}, {}, plain_tolerance=1e-6 if function is e.gelu else 1e-11)


LAYERS = {
    "conv1d": (e.conv1d, {"stride": 2, "padding": 1}, [(2, 7, 3)], {"w": (3, 3, 4), "b": (4,)}),
    "conv2d": (e.conv2d, {"stride": 2, "padding": "same"}, [X], {"w": (3, 3, 4, 5), "b": (5,)}),
    "conv2d groups": (e.conv2d, {"groups": 2, "dilation": 2, "padding": 1}, [X], {"w": (2, 2, 2, 6), "b": (6,)}),
    "conv2d flip": (e.conv2d, {"flip": True}, [X], {"w": (2, 3, 4, 3)}),
    "conv3d": (e.conv3d, {"padding": 1}, [(2, 4, 3, 4, 2)], {"w": (2, 3, 2, 2, 3), "b": (3,)}),
    "depthwise": (e.conv2d, {"groups": 4, "padding": 1}, [X], {"w": (3, 3, 1, 4)}),
    "transposed": (
        e.conv_transpose2d, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, [(2, 3, 4, 4)],
        {"w": (3, 3, 3, 4), "b": (6,)},
    ),
    "transposed1d": (e.conv_transpose1d, {"stride": 3}, [(2, 4, 2)], {"w": (2, 3, 2)}),
    "linear": (e.linear, {}, [(2, 3, 7)], {"w": (7, 4), "b": (4,)}),
    "transposed3d": (e.conv_transpose3d, {"stride": 2}, [(2, 2, 3, 2, 2)], {"w": (2, 2, 2, 3, 2)}),
    "max_pool": (e.max_pool, {"kernel_size": 3, "stride": 2, "padding": 1}, [X], {}),
    "max_pool ceil": (e.max_pool, {"kernel_size": 2, "ceil_mode": True, "dilation": 1}, [X], {}),
    "avg_pool": (e.avg_pool, {"kernel_size": 3, "stride": 2, "padding": 1}, [X], {}),
    "avg_pool counted": (
        e.avg_pool, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, [X],
        {},
    ),
    "lp_pool": (e.lp_pool, {"norm_type": 2, "kernel_size": 2}, [X], {}),
    "lp_pool 3": (e.lp_pool, {"norm_type": 3, "kernel_size": 2}, [X], {}),
    "adaptive_avg": (e.adaptive_avg_pool, {"output_size": (4, 3)}, [X], {}),
    "adaptive_max": (e.adaptive_max_pool, {"output_size": (4, 3)}, [X], {}),
    "global_avg": (e.global_avg_pool, {}, [X], {}),
    "global_max": (e.global_max_pool, {}, [X], {}),
    "batch_norm": (e.batch_norm, {}, [X], {"w": (4,), "b": (4,)}),
    "layer_norm": (e.layer_norm, {"normalized_shape": (5, 4)}, [X], {"w": (5, 4), "b": (5, 4)}),
    "local_response_norm": (e.local_response_norm, {"size": 4, "alpha": 0.3}, [X], {}),
    "softmax": (e.softmax, {"dim": 1}, [X], {}),
    "log_softmax": (e.log_softmax, {}, [X], {}),
    "prelu": (e.prelu, {}, [X], {"a": (4,)}),
    "prelu 1": (e.prelu, {}, [X], {"a": (1,)}),
    "maxout": (e.maxout, {"pieces": 2}, [X], {}),
    "flatten": (e.flatten, {}, [X], {}),
    "flatten from 2": (e.flatten, {"start_dim": 2}, [X], {}),
    "add": (e.add, {}, [X, X], {}),
    "concatenate": (lambda *s: e.concatenate(s), {}, [X, (2, 6, 5, 3)], {}),
    "upsample": (e.upsample_nearest, {"scale_factor": (2, 3)}, [X], {}),
    "depth_to_space": (e.depth_to_space, {"block": 2}, [X], {}),
    "pixel_shuffle": (e.pixel_shuffle, {"upscale_factor": 2}, [X], {}),
    "space_to_depth": (e.space_to_depth, {"block": 2}, [(2, 6, 4, 3)], {}),
    "dropout": (e.dropout, {"p": 0.3}, [X, X], {}),
}  # fmt: skip
NAMES = {"add": "xy", "dropout": "xm"}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str):
    function, attributes, sources, parameters = LAYERS[name]
    locals_ = NAMES.get(name, "x") if name != "concatenate" else ("x0", "x1")
    arrays = {local: r(*shape) for local, shape in zip(locals_, sources, strict=True)}
    own = {local: r(*shape) for local, shape in parameters.items()}
    shapes = [array.shape for array in own.values()]
    check_function(lambda *xs: function(*xs, *shapes, **attributes), arrays, own)


def test_running_statistics():
    for function in (e.running_mean, e.running_variance):
        check_function(lambda x, function=function: function(x, (4,)), {"x": r(*X)}, {"running": r(4)})


def test_batch_norm_of_inference():
    own = {"mean": r(4), "variance": 0.5 + np.abs(r(4)), "w": r(4), "b": r(4)}
    check_function(lambda x: e.batch_norm_inference(x, *[(4,)] * 4), {"x": r(*X)}, own, opsets=(13, 18, 21))


LOSSES = [
    e.binary_cross_entropy_with_logits, e.huber_loss, e.l1_loss, e.mape_loss, e.mse_loss, e.smooth_l1_loss,
    e.squared_error_loss, e.hinge_loss,
]  # fmt: skip


@pytest.mark.parametrize("function", LOSSES, ids=lambda function: function.__name__)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_losses(function, reduction: str):
    check_function(call(function, reduction=reduction), {"y": r(4, 3), "t": r(4, 3)}, {})


POSITIVE = [e.binary_cross_entropy, e.categorical_cross_entropy, e.kl_div, e.msle_loss]


@pytest.mark.parametrize("function", POSITIVE, ids=lambda function: function.__name__)
def test_losses_of_probabilities(function):
    y, t = (0.1 + 0.8 * rng.random((4, 3)) for _ in range(2))
    check_function(call(function, reduction="none"), {"y": y, "t": t}, {})


def test_no_equation_is_left_out():
    tried = [*ELEMENTWISE, *LOSSES, *POSITIVE, *(entry[0] for entry in LAYERS.values())]
    others = ["Recurrent", "recurrent", "cross_entropy", "nll_loss", "batch_norm_inference", "concatenate"]
    others += ["running_mean", "running_variance"]
    assert {function.__name__ for function in tried} | {*others} - {"<lambda>"} >= set(e.__all__)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_of_labels(reduction: str):
    arrays = {"y": 3 * r(4, 5), "t": np.array([1, 0, 4, 2])}
    own = {"w": np.abs(r(5))}
    check_function(
        lambda y, t: e.cross_entropy(y, t, (5,), label_smoothing=0.1, ignore_index=4, reduction=reduction), arrays, own
    )
    check_function(lambda y, t: e.nll_loss(y, t, (5,), reduction=reduction), arrays, own)


RECURRENT = {
    "rnn": e.Recurrent("tanh", 3),
    "relu, backwards": e.Recurrent("relu", 3, reverse=True),
    "lstm, two layers, both ways": e.Recurrent("lstm", 3, num_layers=2, bidirectional=True),
    "gru, last": e.Recurrent("gru", 3, output="last"),
    "gru, padding": e.Recurrent("gru", 3, bidirectional=True, padding=0.0),
    "lstm, state": e.Recurrent("lstm", 3, output="state", bias=False),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent(name: str):
    network, x = RECURRENT[name], r(2, 5, 2)
    x[1, 3:] = 0.0
    own = {local: r(*shape) / 2 for local, shape in network.shapes(2).items()}
    shapes = {local: array.shape for local, array in own.items()}
    check_function(lambda given: e.recurrent(network, given, shapes), {"x": x}, own)


def test_recurrent_with_lengths_and_states():
    network = e.Recurrent("lstm", 3, lengths=True)
    own = {local: r(*shape) / 2 for local, shape in network.shapes(2).items()}
    shapes = {local: array.shape for local, array in own.items()}
    arrays = {"x": r(2, 5, 2), "length": np.array([5, 2]), "state": r(2, 3), "cell": r(2, 3)}
    check_function(lambda x, length, state, cell: e.recurrent(network, x, shapes, length, state, cell), arrays, own)


def typed(text: str, constants=None, **extents):
    formulas = parse_system(text)
    return lambda *_: System(formulas, formulas[-1].output.tensor, constants or {}, extents)


TEXTS = {
    "triangle": (typed("y[n,i] = sum(j : j <= i) x[n,j]", i=4), {"x": r(2, 5)}, {}),
    "gather": (typed("z[n] = -x[n, t[n]]"), {"x": r(3, 5), "t": np.array([4, 0, 2])}, {}),
    "gather of a table": (typed("z[n,k] = w[t[n],k] + x[n,k]"), {"x": r(3, 2), "t": np.array([4, 0, 2])},
                          {"w": r(5, 2)}),
    "gather outside": (typed("z[n,i] = max(s) x[n, t[n]+s-i]", i=3, s=2), {"x": r(3, 5), "t": np.array([4, 0, 2])},
                       {}),
    "argmax": (typed("p[n,i] = x[n,i]*argmax(k) w[i,k]"), {"x": r(3, 4)}, {"w": r(4, 5)}),
    "argmin under a condition": (
        typed("p[n,i] = 1.0*argmin(k,j : k + j >= i) (x[n,k]*w[j,k])", i=3), {"x": r(3, 4)}, {"w": r(2, 4)}
    ),
    "three factors": (typed("z[n,k] = sum(i,j) x[n,i]*w[i,j,k]*x[n,j]"), {"x": r(3, 4)}, {"w": r(4, 4, 2)}),
    "diagonal": (typed("z[n,i] = x[n,i,i] - x[n,i,i//2]"), {"x": r(3, 4, 4)}, {}),
    "remainders": (
        typed("z[n,i] = x[n,i] % 0.7 + x[n,i] // 0.3 + (i - 2) // 2 + (i - 3) % 2 + expm1(x[n,i])"
              " + log1p(abs(x[n,i]))"),
        {"x": r(3, 4)}, {},
    ),
    "functions": (
        typed("z[n,i] = sin(x[n,i]) + cos(x[n,i])*sign(x[n,i]) + floor(x[n,i])**2 + sqrt(abs(x[n,i]))"
              " + where(x[n,i] > 0 and not (i == 1) or x[n,i] != x[n,i], 2, min(x[n,i], max(0.5, w[i])))"),
        {"x": r(3, 4)}, {"w": r(4)},
    ),
    "written elsewhere": (typed("z[n,2*i+1] = x[n,i]"), {"x": r(3, 4)}, {}),
    "number of an image": (typed("z[n,i] = x[n,i]*n + position(n,i) + (sum(m) x[m,i])"), {"x": r(3, 4)}, {}),
    "a state of its own": (
        typed("h[n,t] = tanh(x[n,t] + a*h[n,t-1])\nh[n,-1] = 0.5\nz[n,t] = h[n,t] - h[n,T-1-t]", {"T": 4}),
        {"x": r(3, 4)}, {"a": np.array(0.7)},
    ),
    "a sum in a recurrence": (
        typed("h[n,t,k] = x[n,t//2,k] + max(j) (h[n,t+1,j]*w[j,k])\nz[n,k] = sum(t) h[n,t,k]", t=6),
        {"x": r(3, 3, 2)}, {"w": r(2, 2)},
    ),
    "nothing of the input": (typed("z[n,k] = w[k]*[k > 1] + 0*(max(i) x[n,i])"), {"x": r(3, 4)}, {"w": r(4)}),
    "counts": (typed("z[n,i] = x[n,i] / (sum(s : i + s - 1 >= 0, i + s - 1 < 4) 1)", s=3), {"x": r(2, 4)}, {}),
    "outside of a maximum": (typed("z[n,i] = min(s) x[n,i+s-2]", s=3, i=7), {"x": r(2, 4)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str):
    make, sources, parameters = TEXTS[name]
    check_function(make, sources, parameters, opsets=(13, 21))
